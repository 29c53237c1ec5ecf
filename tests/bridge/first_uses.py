"""A program that uses sessions for the first time while others do: ``python first_uses.py SOURCE TARGET SEED``.

It uses all sessions in an order of its own, and prints how many moves it made.
"""

from __future__ import annotations

import random
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from sessionlift.bridge import BridgeCore


def ids_in(source: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as db:
        return [key for (key,) in db.execute("SELECT session_id FROM sessions ORDER BY rowid")]


def mixed(source: str, target: str, seed: str) -> None:
    ids = ids_in(Path(source))
    order = random.Random(seed)  # noqa: S311 - the same order each time
    order.shuffle(ids)
    moved = 0
    with BridgeCore(source, target, wait=30) as core:
        for each in ids:
            place = core.ensure(each)
            assert (place.where, place.error) == ("new", None), place
            moved += place.moved_now
    print(moved)  # noqa: T201


if __name__ == "__main__":
    mixed(*sys.argv[1:])
