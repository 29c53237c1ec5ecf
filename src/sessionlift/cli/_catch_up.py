"""``sessionlift catch-up``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import click

from sessionlift.cli._common import Command, json_option, quiet_option, tell
from sessionlift.cli._options import mapping_option, report_file_option, timezone_option, transfer_options
from sessionlift.errors import SessionConflictError
from sessionlift.runs import Interrupts, Progress
from sessionlift.runs import catch_up as run_catch_up


@click.command("catch-up", cls=Command)
@click.argument("source")
@click.argument("target")
@click.option(
    "--on-conflict",
    type=click.Choice(["raise", "append_legacy", "keep_new"]),
    default="raise",
    show_default=True,
    help="What becomes of a session that both sides went on with: left and shown, its legacy messages put behind "
    "the new ones, or its legacy messages kept in quarantine.",
)
@timezone_option
@mapping_option
@report_file_option
@json_option
@quiet_option
def catch_up(
    source: str,
    target: str,
    on_conflict: Literal["raise", "append_legacy", "keep_new"],
    timezone: str | None,
    mapping_file: Path | None,
    report_file: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Bring into TARGET what old programs wrote into SOURCE after its sessions had moved.

    Every session that has moved is compared by the digest of its legacy rows. Where both sides went on, both tails
    are shown, and nothing is touched unless --on-conflict says how.
    """
    with Interrupts().listening() as interrupts:
        result = run_catch_up(
            source,
            target,
            transfer_options(timezone, mapping_file, ()),
            on_conflict=on_conflict,
            report_file=report_file,
            progress=Progress(quiet=quiet or as_json),
            interrupts=interrupts,
        )
    also = {"conflicts": [error.to_dict() for error in result.conflicts]}
    lines = [line for error in result.conflicts for line in _tails(error)]
    tell(result.report, result.path, as_json=as_json, quiet=quiet, also=also, lines=lines)


def _tails(error: SessionConflictError) -> list[str]:
    lines = [f"Conflict: {error.what}"]
    for side in ("legacy", "new"):
        tail: list[dict[str, Any]] | None = error.fields.get(side)
        if tail is None:
            continue  # a system whose sides cannot be laid together counts none
        lines.append(f"  {side}: {len(tail):,} message(s) that the other side lacks")
        lines += [f"    {each['timestamp']}  {each['role']}: {json.dumps(each['content'])[:70]}" for each in tail]
    return lines
