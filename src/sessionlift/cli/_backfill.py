"""``sessionlift backfill``."""

from __future__ import annotations

from pathlib import Path

import click

from sessionlift.bridge import backfill as run_backfill
from sessionlift.cli._common import Command, json_option, quiet_option, tell
from sessionlift.cli._options import mapping_option, report_file_option, timezone_option, transfer_options
from sessionlift.runs import Interrupts, Progress


@click.command(cls=Command)
@click.argument("source")
@click.argument("target")
@click.option("--rate", type=float, default=None, metavar="N", help="At most N sessions a second.  [default: no limit]")
@timezone_option
@mapping_option
@report_file_option
@json_option
@quiet_option
def backfill(
    source: str,
    target: str,
    rate: float | None,
    timezone: str | None,
    mapping_file: Path | None,
    report_file: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Move the sessions of SOURCE that are not in TARGET yet, one by one, beside running applications.

    It waits while the rollout is paused (`sessionlift rollout TARGET --pause`), and leaves the sessions on its deny
    list. Interrupt it whenever you like: the same command goes on.
    """
    with Interrupts().listening() as interrupts:
        result = run_backfill(
            source,
            target,
            transfer_options(timezone, mapping_file, ()),
            rate=rate,
            report_file=report_file,
            progress=Progress(quiet=quiet or as_json),
            interrupts=interrupts,
        )
    lines = [f"Left in the legacy store: {result.left:,} sessions, {result.denied:,} of them by the deny list."]
    if result.left > result.denied:
        lines.append("`sessionlift status TARGET SOURCE` says what became of the others.")
    also = {"left": result.left, "denied": result.denied}
    tell(result.report, result.path, as_json=as_json, quiet=quiet, also=also, lines=lines)
