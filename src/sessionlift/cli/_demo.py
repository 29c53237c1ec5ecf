"""``sessionlift demo-store``: a made-up legacy store to try things on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from sessionlift._demo import Dress, Traps, make_synth_v2
from sessionlift.cli._common import Command, emit_json, json_option, quiet_option


@click.command("demo-store", cls=Command)
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--sessions", type=click.IntRange(1), default=200, show_default=True, help="How many sessions.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same rows.")
@click.option(
    "--dress",
    type=click.Choice(["final", "mid", "mixed"]),
    default="final",
    show_default=True,
    help="Which releases of tracing v2 to imitate; mixed has rows of both.",
)
@click.option(
    "--traps",
    type=click.Choice(["none", "usual", "all"]),
    default="usual",
    show_default=True,
    help="How many awkward values: none; those of real stores; also rows without a session, NaN and -0.0.",
)
@quiet_option
@json_option
def demo_store(path: Path, sessions: int, seed: int, dress: Dress, traps: Traps, quiet: bool, as_json: bool) -> None:
    """Make a Synth-AI tracing v2 store (DuckDB) of made-up sessions at PATH.

    About 46 rows a session: its timesteps, events and messages, with the values in a share of the rows that
    careless converters spoil. PATH must not exist yet. Nothing else is written.
    """
    made = make_synth_v2(path, sessions=sessions, seed=seed, dress=dress, traps=traps)
    if as_json:
        emit_json({"ok": True, **asdict(made), "path": str(made.path), "total_rows": made.total_rows})
    elif not quiet:
        click.echo(f"{made.path}: {made.sessions:,} sessions, {made.total_rows:,} rows")
