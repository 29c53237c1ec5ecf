"""``sessionlift status``."""

from __future__ import annotations

import click

from sessionlift.bridge import read_setting
from sessionlift.cli._common import Command, emit_json, json_option
from sessionlift.cli._rollout import lines_of
from sessionlift.runs import TargetStatus
from sessionlift.runs import status as read_status

_STATES = {
    "moved": "moved",
    "partial": "partial",
    "quarantined": "quarantined",
    "deleted": "deleted",
    "rolled_back": "rolled back: they live in the legacy store",
}


@click.command(cls=Command)
@click.argument("target")
@click.argument("source", required=False)
@json_option
def status(target: str, source: str | None, as_json: bool) -> None:
    """Say what was moved into TARGET, by which runs, and what waits in quarantine.

    With SOURCE, the legacy store, it also counts the sessions that are left there.
    """
    found = read_status(target, source)
    if as_json:
        emit_json({"ok": True, **found.to_dict()})
        return
    click.echo(f"{found.target}: {found.generation}")
    for state, said in _STATES.items():
        if found.sessions.get(state) or state in ("moved", "partial", "quarantined"):
            click.echo(f"  {found.sessions.get(state, 0):>10,} sessions {said}")
    for store, count in found.taken_back.items():
        click.echo(f"  {count:>12,} in {store}")
    if found.native:
        click.echo(f"  {found.native:>10,} sessions that the application began in here")
    click.echo(f"  {found.quarantined_rows:>10,} rows in quarantine")
    if found.late_indexes:
        click.echo(f"  {len(found.late_indexes):>10,} indexes left out until the run that fills it comes to its end")
    for line in _waiting(found):
        click.echo(line)
    if any(run.kind == "bridge" for run in found.runs):
        click.echo(f"  rollout of {lines_of(read_setting(target))[0]}")
    for place, run in enumerate(found.runs):
        moved = run.summary.get("migrated_sessions")
        skipped = run.summary.get("skipped_sessions", 0)
        verb = "taken back" if run.kind == "rollback" else "moved"
        told = "" if moved is None else f", {moved:,} sessions {verb}, {skipped:,} skipped"
        open_for = "is open, or was killed"
        if run.kind != "bridge":
            later = [each for each in found.runs[place + 1 :] if (each.kind, each.source) == (run.kind, run.source)]
            gone_on = any(each.status.startswith("completed") for each in later)
            what = "a later run has gone on from there" if gone_on else "run the same command again"
            open_for = f"never came to its end; {what}"
        click.echo(f"  {run.run_id}  {run.status}  {run.started_at} to {run.finished_at or open_for}{told}")


def _waiting(found: TargetStatus) -> list[str]:
    waiting = found.waiting
    lines = [] if waiting.left is None else [f"  {waiting.left:>10,} sessions left in the legacy store, never moved"]
    for code, count in waiting.failed.items():
        lines.append(f"  {count:>10,} sessions failed to move ({code}); they are served from the legacy store")
    if waiting.conflicts:
        lines.append(f"  {waiting.conflicts:>10,} sessions in conflict: both sides went on with them")
    if waiting.shadow:
        lines.append(f"  {waiting.shadow:>10,} sessions compared in shadow, {waiting.mismatching:,} of them mismatch")
        lines += [f"  {count:>12,} in {field}" for field, count in waiting.mismatches.items()]
    return lines
