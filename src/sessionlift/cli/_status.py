"""``sessionlift status``."""

from __future__ import annotations

import click

from sessionlift.cli._common import Command, emit_json, json_option
from sessionlift.runs import status as read_status


@click.command(cls=Command)
@click.argument("target")
@json_option
def status(target: str, as_json: bool) -> None:
    """Say what was moved into TARGET, by which runs, and what waits in quarantine."""
    found = read_status(target)
    if as_json:
        emit_json({"ok": True, **found.to_dict()})
        return
    click.echo(f"{found.target}: {found.generation}")
    for state in ("moved", "partial", "quarantined"):
        click.echo(f"  {found.sessions.get(state, 0):>10,} sessions {state}")
    click.echo(f"  {found.quarantined_rows:>10,} rows in quarantine")
    for run in found.runs:
        moved = run.summary.get("migrated_sessions")
        skipped = run.summary.get("skipped_sessions", 0)
        told = "" if moved is None else f", {moved:,} sessions moved, {skipped:,} skipped"
        ended = run.finished_at or "never came to its end; run the same command again"
        click.echo(f"  {run.run_id}  {run.status}  {run.started_at} to {ended}{told}")
