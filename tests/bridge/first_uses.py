"""A program that uses sessions for the first time and is killed: at a write of our choice, or from outside.

``python first_uses.py boundaries FOLDER``: FOLDER holds ``v1.db`` and the prepared ``v2.db``. A forked child opens a
bridge, uses two sessions and closes it, and is killed by SIGKILL just before its n-th statement that changes
something; another child looks at what is left, and a third does the same unharmed. One line of JSON per boundary; the
last one is the child that was not killed.

``python first_uses.py mixed SOURCE TARGET SEED``: uses all sessions in an order of its own, and prints how many moves
it made.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support.warm import READING

from sessionlift.bridge import BridgeCore, Rollout
from sessionlift.converters import SESSION
from sessionlift.ledger import Ledger
from sessionlift.stores._sqlfile import SqliteFileStore


def ids_in(source: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as db:
        return [key for (key,) in db.execute("SELECT session_id FROM sessions ORDER BY rowid")]


def killed_at(boundary: int) -> None:
    """From now on, die just before the ``boundary``-th statement that changes something in the target."""
    left = [boundary]

    def hook(name: str, counts: Callable[[Any], bool]) -> None:
        real = getattr(SqliteFileStore, name)

        def counted(store: Any, sql: str, *args: Any, **kwargs: Any) -> Any:
            if store.url.path.name == "v2.db" and counts(store) and not READING.match(sql):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(store, sql, *args, **kwargs)

        setattr(SqliteFileStore, name, counted)

    hook("_run", lambda _: True)
    # a store that waits by itself runs these apart
    hook("_rows", lambda store: bool(store._patience))


def in_child(work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - a forked child may never return into the loop of its parent
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitpid(child, 0)[1]


def use(folder: Path, ids: list[str]) -> None:
    with BridgeCore(str(folder / "v1.db"), str(folder / "v2.db")) as core:
        for each in ids:
            assert core.ensure(each).where == "new"


def places(folder: Path, ids: list[str], rollout: Rollout) -> dict[str, Any]:
    """By session where it is, and whether its rows are those that the ledger names (None: no rows, no ledger row)."""
    with BridgeCore(str(folder / "v1.db"), str(folder / "v2.db"), rollout=rollout) as core:
        found: dict[str, Any] = {each: [core.ensure(each).where, None] for each in ids}

        def look(store: Any) -> None:
            units = Ledger(store).units(SESSION, ids)
            digests = core.road.rows.digests(store, SESSION, ids)
            nothing = core.road.rows.digests(store, SESSION, ["no such"])["no such"]
            for each in ids:
                if each in units:
                    found[each][1] = digests[each] == units[each].target_digest
                else:
                    found[each][1] = None if digests[each] == nothing else "rows without a ledger row"

        core.run(look)
    return found


def boundaries(folder: Path) -> None:
    ids = ids_in(folder / "v1.db")[:2]
    for boundary in range(1, 1_000):
        work = folder / f"at{boundary}"
        work.mkdir()
        for name in ("v1.db", "v2.db"):
            shutil.copy(folder / name, work)

        def run(work: Path = work, boundary: int = boundary) -> None:
            killed_at(boundary)
            use(work, ids)

        def look(work: Path = work, boundary: int = boundary) -> None:
            left = places(work, ids, Rollout(mode="off"))
            again = places(work, ids, Rollout())
            with closing(sqlite3.connect(work / "v2.db")) as db:
                whole = db.execute("PRAGMA integrity_check").fetchone()[0]
                runs = db.execute("SELECT status FROM sessionlift_runs ORDER BY started_at, rowid").fetchall()
            line = {"boundary": boundary, "left": left, "again": again, "integrity": whole, "runs": runs}
            print(json.dumps(line))  # noqa: T201 - its output is what the test reads

        ended = in_child(run)
        if ended not in (0, signal.SIGKILL):
            raise SystemExit(f"boundary {boundary}: the child ended with {ended}")
        if in_child(look) != 0:
            raise SystemExit(f"boundary {boundary}: what was left could not be used")
        shutil.rmtree(work)
        if ended == 0:
            return


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
    if sys.argv[1] == "boundaries":
        boundaries(Path(sys.argv[2]))
    else:
        mixed(*sys.argv[2:])
