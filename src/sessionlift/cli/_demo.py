"""``sessionlift demo-store``: a made-up legacy store to try things on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import click

from sessionlift.cli._common import Command, emit_json, json_option, quiet_option
from sessionlift.errors import UsageError

if TYPE_CHECKING:
    from sessionlift._demo import DemoStore, Dress, SwarmDress, SwarmStore, Traps

System = Literal["synth", "langswarm"]
# the first is the one that is made where none is named
_DRESSES: dict[System, tuple[str, ...]] = {
    "synth": ("final", "mid", "mixed"),
    "langswarm": ("sqlite", "dump", "enhanced"),
}


@click.command("demo-store", cls=Command)
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--system",
    type=click.Choice(list(_DRESSES)),
    default="synth",
    show_default=True,
    help="Whose store: Synth-AI tracing v2 on DuckDB, or LangSwarm V1 sessions.",
)
@click.option("--sessions", type=click.IntRange(1), default=200, show_default=True, help="How many sessions.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same rows.")
@click.option(
    "--dress",
    type=click.Choice([dress for dresses in _DRESSES.values() for dress in dresses]),
    help="Synth-AI: which releases to imitate, final (the default) or mid; mixed has rows of both. "
    "LangSwarm: sqlite (the default), a JSON dump from memory, or the enhanced store.",
)
@click.option(
    "--traps",
    type=click.Choice(["none", "usual", "all"]),
    default="usual",
    show_default=True,
    help="How many awkward values: none; those of real stores; also rows that other hands spoiled.",
)
@quiet_option
@json_option
def demo_store(
    path: Path, system: System, sessions: int, seed: int, dress: str | None, traps: Traps, quiet: bool, as_json: bool
) -> None:
    """Make a legacy store of made-up sessions at PATH.

    About 46 rows a session for Synth-AI (its timesteps, events and messages), about ten messages a session for
    LangSwarm, with the values in a share of them that careless converters spoil. PATH must not exist yet.
    Nothing else is written.
    """
    # it needs Alembic, which takes long to load: no other command shall wait for it
    from sessionlift._demo import make_langswarm, make_synth_v2

    chosen = dress or _DRESSES[system][0]
    if chosen not in _DRESSES[system]:
        raise UsageError(
            f"--dress {chosen} is not one of --system {system}",
            hint=f"one of {', '.join(_DRESSES[system])}",
        )
    made: DemoStore | SwarmStore
    if system == "synth":
        made = make_synth_v2(path, sessions=sessions, seed=seed, dress=cast("Dress", chosen), traps=traps)
    else:
        made = make_langswarm(path, sessions=sessions, seed=seed, dress=cast("SwarmDress", chosen), traps=traps)
    if as_json:
        emit_json({"ok": True, **asdict(made), "path": str(made.path), "total_rows": made.total_rows})
    elif not quiet:
        click.echo(f"{made.path}: {made.sessions:,} sessions, {made.total_rows:,} rows")
