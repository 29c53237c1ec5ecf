"""``sessionlift upgrade`` and ``sessionlift downgrade``: a store changed in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sessionlift.cli._common import Command, json_option, quiet_option, tell
from sessionlift.runs import InPlaceOptions, Interrupts, Progress, change_in_place

dry_run_option = click.option("--dry-run", is_flag=True, help="Do everything to a private copy; STORE is not touched.")
backup_option = click.option(
    "--backup-dir",
    "backup",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Directory for the copy that is made before the change.  [default: STORE.backups beside the store]",
)
wait_option = click.option(
    "--wait",
    type=click.FloatRange(0, 3600),
    default=10.0,
    show_default=True,
    help="Seconds to wait for another process that writes to STORE.",
)
report_option = click.option(
    "--report-file",
    type=click.Path(path_type=Path),
    default=None,
    help="File or directory for the report.  [default: STORE.reports/ beside the store]",
)


@click.command(cls=Command)
@click.argument("store")
@click.option("--to", metavar="GENERATION", default=None, help="Such as session_buddy.v4.  [default: the newest]")
@dry_run_option
@backup_option
@wait_option
@report_option
@json_option
@quiet_option
def upgrade(store: str, to: str | None, as_json: bool, quiet: bool, report_file: Path | None, **options: Any) -> None:
    """Lead STORE up its chain of generations, in place: checked, backed up, changed, verified, reported.

    One transaction: killed or failed at any point, STORE is what it was. What an earlier downgrade kept comes
    back. A store that no run of ours has seen is taken over as what its structure says it is.
    """
    _run("upgrade", store, InPlaceOptions(to=to, **options), report_file, as_json, quiet)


@click.command(cls=Command)
@click.argument("store")
@click.option("--to", metavar="GENERATION", required=True, help="Such as session_buddy.v3.")
@click.option(
    "--let-dangle",
    is_flag=True,
    help="Go on although your own objects need what goes; they are named either way.",
)
@dry_run_option
@backup_option
@wait_option
@report_option
@json_option
@quiet_option
def downgrade(store: str, to: str, as_json: bool, quiet: bool, report_file: Path | None, **options: Any) -> None:
    """Lead STORE back down its chain of generations, in place, and keep what only the newer one can hold.

    The rows, row id counters and times that go are kept in STORE itself (table sessionlift_kept) and come back with
    the next upgrade. One transaction: killed or failed at any point, STORE is what it was.
    """
    _run("downgrade", store, InPlaceOptions(to=to, **options), report_file, as_json, quiet)


def _run(verb: Any, store: str, options: InPlaceOptions, report_file: Path | None, as_json: bool, quiet: bool) -> None:
    with Interrupts().listening() as interrupts:
        result = change_in_place(
            store,
            verb,
            options,
            report_file=report_file,
            progress=Progress(quiet=quiet or as_json),
            interrupts=interrupts,
        )
    backup = None if result.backup is None else str(result.backup)
    lines = [] if backup is None else [f"Backup: {backup}"]
    tell(result.report, result.path, as_json=as_json, quiet=quiet, also={"backup": backup}, lines=lines)
