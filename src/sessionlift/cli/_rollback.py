"""``sessionlift rollback``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from sessionlift.cli._common import Command, json_option, quiet_option, tell
from sessionlift.cli._options import backup_dir_option, no_backup_option, report_file_option
from sessionlift.runs import BackupOptions, Interrupts, Progress, RollbackOptions, RollbackResult
from sessionlift.runs import rollback as run_rollback

_SHOWN = 50
_WORDS = {
    "carry": "goes back",
    "there": "goes back; its rows lie there already",
    "remove": "was deleted in the new store; deleted in the legacy store, too",
    "discard": "goes back without what was written since",
    "settled": "has left the target before",
    "aside": "lies in quarantine; the legacy store has it",
    "conflict": "CONFLICT",
    "refused": "REFUSED",
}
_WEIGHT = {"conflict": 0, "refused": 0, "settled": 2, "aside": 2}


@click.command(cls=Command)
@click.argument("target")
@click.option("--run", metavar="ID", default=None, help="Take back what this run moved.")
@click.option("--session", "sessions", metavar="ID", multiple=True, help="This session; may be given many times.")
@click.option("--all", "everything", is_flag=True, help="Every session, those that the application began included.")
@click.option("--since", metavar="TIME", default=None, help="What was moved at TIME (UTC unless it says) or later.")
@click.option(
    "--to",
    metavar="STORE",
    default=None,
    help="The legacy store; a file that is not there is made.  [default: the one that the sessions came from]",
)
@click.option("--dry-run", is_flag=True, help="Say what would be carried back, session by session; write to no store.")
@click.option("--discard-new", is_flag=True, help="Leave behind what was written since the move; it is counted.")
@click.option("--keep-target", is_flag=True, help="Carry back and verify, and leave the sessions in TARGET, too.")
@click.option(
    "--on-conflict",
    type=click.Choice(["refuse", "keep-legacy"]),
    default="refuse",
    show_default=True,
    help="A session that the legacy store has changed since: stays where it is, or leaves TARGET as legacy has it.",
)
@no_backup_option
@backup_dir_option
@report_file_option
@json_option
@quiet_option
def rollback(
    target: str,
    run: str | None,
    sessions: tuple[str, ...],
    everything: bool,
    since: str | None,
    to: str | None,
    dry_run: bool,
    discard_new: bool,
    keep_target: bool,
    on_conflict: Literal["refuse", "keep-legacy"],
    no_backup: bool,
    backup_dir: Path | None,
    report_file: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Take sessions of TARGET back into the legacy store, with what was written to them since they moved.

    Say which in one way: --run, --session, --since or --all. Each is written there, verified there, and only then
    leaves TARGET. Running bridges serve it from the legacy store at once. `sessionlift migrate` moves it again. Both
    stores are copied before the first change.
    """
    options = RollbackOptions(
        run=run,
        sessions=sessions,
        everything=everything,
        since=since,
        to=to,
        discard_new=discard_new,
        keep_target=keep_target,
        on_conflict=on_conflict,
    )
    with Interrupts().listening() as interrupts:
        result = run_rollback(
            target,
            options,
            dry_run=dry_run,
            report_file=report_file,
            progress=Progress(quiet=quiet or as_json),
            interrupts=interrupts,
            backup=BackupOptions(not no_backup, backup_dir),
            own_process=True,
        )
    if dry_run and not as_json and not quiet:
        _tell_sessions(result)
    also = {"sessions": result.sessions, "more_sessions": result.more}
    tell(result.report, result.path, as_json=as_json, quiet=quiet, also=also)


def _tell_sessions(result: RollbackResult) -> None:
    # what needs a look comes first: of many sessions only the first are shown
    lines = sorted(result.sessions, key=lambda line: (_WEIGHT.get(line["action"], 1), line["found"] == "unchanged"))
    for line in lines[:_SHOWN]:
        click.echo(f"{line['session_id']!r}: {_said(line)}")
    more = len(result.sessions) - _SHOWN + result.more
    if more > 0:
        click.echo(f"... and {more:,} more; --json has them")
    click.echo("")


def _said(line: dict[str, Any]) -> str:
    parts = [_WORDS[line["action"]] + (f" ({line['error']})" if "error" in line else "")]
    if line.get("rebuilt"):
        parts.append("written to since it moved, and rebuilt whole")
    elif line["found"] not in ("unchanged", "quarantined"):
        for name in ("added", "changed", "deleted", "linked"):
            parts += [f"{count:,} {table} {name}" for table, count in line[name].items()]
    return "; ".join(parts)
