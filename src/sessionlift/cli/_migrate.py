"""``sessionlift migrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from sessionlift.cli._common import Command, json_option, quiet_option, tell
from sessionlift.cli._options import (
    backup_dir_option,
    mapping_option,
    no_backup_option,
    only_option,
    report_file_option,
    salvage_option,
    same_source_option,
    timezone_option,
    transfer_options,
)
from sessionlift.runs import BackupOptions, Interrupts, Progress
from sessionlift.runs import migrate as run_migrate


@click.command(cls=Command)
@click.argument("source")
@click.argument("target")
@timezone_option
@mapping_option
@only_option
@salvage_option
@click.option("--dry-run", is_flag=True, help="Write into a throwaway target; the named one is not touched.")
@click.option(
    "--on-error",
    type=click.Choice(["quarantine", "stop"]),
    default="quarantine",
    show_default=True,
    help="A row that cannot be converted goes to quarantine whole, or ends the run before its session is written. The "
    "exit code is 1 either way.",
)
@click.option("--no-verify", is_flag=True, help="Do not compare the target with the source; the report says so.")
@same_source_option
@no_backup_option
@backup_dir_option
@report_file_option
@json_option
@quiet_option
def migrate(
    source: str,
    target: str,
    timezone: str | None,
    mapping_file: Path | None,
    only: tuple[str, ...],
    salvage: bool,
    dry_run: bool,
    on_error: Literal["quarantine", "stop"],
    no_verify: bool,
    same_source: bool,
    no_backup: bool,
    backup_dir: Path | None,
    report_file: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Move the sessions of SOURCE into TARGET, verify every value, and write a report.

    SOURCE is a legacy store (a path or a URL), opened read-only. TARGET is made if it is missing. Run the same
    command again to move what is new or changed, or to go on after a run that ended early. A TARGET that holds data
    is copied before its first change.
    """
    with Interrupts().listening() as interrupts:
        result = run_migrate(
            source,
            target,
            transfer_options(timezone, mapping_file, only, on_error, same_source, salvage),
            dry_run=dry_run,
            verify=not no_verify,
            report_file=report_file,
            progress=Progress(quiet=quiet or as_json),
            interrupts=interrupts,
            backup=BackupOptions(not no_backup, backup_dir),
        )
    tell(result.report, result.path, as_json=as_json, quiet=quiet)
