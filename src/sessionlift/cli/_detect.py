"""``sessionlift detect``: what a store is."""

from __future__ import annotations

import click

from sessionlift import generations
from sessionlift.cli._common import Command, emit_json, json_option
from sessionlift.errors import TargetNewerError
from sessionlift.generations import LED_UP, MOVED, Detection
from sessionlift.generations import detect as detect_store
from sessionlift.stores import parse_store_url


@click.command(cls=Command)
@click.argument("store")
@json_option
def detect(store: str, as_json: bool) -> None:
    """Say which system and generation STORE holds, and by what evidence.

    STORE is a path or a URL. Nothing is changed. A store that no known schema fits, or that holds parts of
    several, is refused with exit code 3.
    """
    found, named = detect_store(store), parse_store_url(store).redacted
    if as_json:
        emit_json({"ok": True, "store": named, **found.to_dict()})
    else:
        click.echo("\n".join(_lines(found, named)))


def _lines(found: Detection, store: str) -> list[str]:
    lines = [f"system      {found.system}", f"generation  {found.described}", f"engine      {found.engine}"]
    if found.dress:
        lines.append(f"dress       {found.dress}")
    if found.rows:
        rows = ", ".join(f"{table} {count:,}" for table, count in found.rows.items())
        lines.append(f"rows        {rows}")
    lines += [f"{'evidence' if not at else '':<10}  {said}" for at, said in enumerate(found.evidence)]
    lines.append(f"ledger      {'yes' if found.ledger else 'no'}")
    lines.append(f"this build  {_next(found, store)}")
    return lines


def _next(found: Detection, store: str) -> str:
    try:
        generations.refuse_newer(found.stamps, store=store)
    except TargetNewerError as error:
        return f"leaves it alone: {error.what}"
    if found.unlike:
        return f"moves such stores to {found.moves_to}, but not this one: it is not as its program makes it"
    if found.generation in LED_UP:
        return (
            f"leads it up to {found.moves_to}: sessionlift upgrade STORE, or as a copy: sessionlift migrate STORE NEW"
        )
    if found.generation in LED_UP.values():
        return "leads stores up to this generation, and back: sessionlift downgrade STORE --to GENERATION"
    if found.moves_to:
        return f"moves it to {found.moves_to}: sessionlift migrate STORE TARGET"
    if found.generation in MOVED.values() and not found.lacks and not found.newer:
        return "moves stores into this generation"
    return "recognises it, and moves it nowhere"
