"""A program that changes a store in place again and again, killed at every boundary in turn.

Started by the tests as ``python in_place_killer.py START VERB GENERATION``. It opens no store itself: a forked child
works on a copy of ``START`` and is killed by SIGKILL just before its n-th step, and another child looks at what is
left. A step is every statement that may write, the BEGIN and the COMMIT, and every file that is made beside the
store (the backup, its directory, the digests, the report). One line of JSON per boundary; the last one is the run
that was not killed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sessionlift.generations import chain_of
from sessionlift.runs import InPlaceOptions, _in_place, change_in_place
from sessionlift.runs._snapshot import snapshot
from sessionlift.stores import SqliteFileStore, StoreURL

_READS = re.compile(r"\s*(select|pragma|values)\b", re.IGNORECASE)
# what differs from run to run: our own account, and the times at which a generation was recorded
_CLOCKED = re.compile(r"INSERT INTO \"(sessionlift_steps|skill_migrations)\" VALUES|.*'\(mark\)',0,'at'")
_SECOND = re.compile(r"'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d'")
_RUN = re.compile(r"(up|down)grade-\w+-\w{8}")


def dump(path: Path) -> list[str]:
    """The whole store as statements, but for the times of the runs."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        lines = sorted(unclocked(line) for line in connection.iterdump() if not _CLOCKED.match(line))
        records = connection.execute("SELECT version FROM skill_migrations ORDER BY version").fetchall()
    return [*lines, *(f"recorded {version}" for (version,) in records)]


def unclocked(line: str) -> str:
    """A line of a dump without ids of runs and without the time at which the cache was brought up to date."""
    line = _RUN.sub("RUN", line)
    return _SECOND.sub("NOW", line) if line.startswith('INSERT INTO "skill_metrics_cache"') else line


def killed_at(boundary: int) -> None:
    """Kill this process just before its ``boundary``-th step."""
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == boundary:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(owner: Any, name: str, when: Callable[..., bool]) -> None:
        plain = getattr(owner, name)

        def stepping(*arguments: Any, **more: Any) -> Any:
            if when(*arguments):
                step()
            return plain(*arguments, **more)

        setattr(owner, name, stepping)

    before(SqliteFileStore, "_run", lambda _store, sql, *_: not _READS.match(sql))
    before(Path, "mkdir", lambda *_: True)
    before(Path, "rename", lambda *_: True)
    before(Path, "replace", lambda *_: True)


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked child; returns how it ended."""
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


def plain_backup(where: StoreURL, directory: Path) -> SimpleNamespace:
    """The same copy without a process of its own, which is killed in tests of its own."""
    place = directory / f"{os.getpid()}.partial"
    place.mkdir(parents=True)
    snapshot(where, place / "store.db")
    return SimpleNamespace(path=place.rename(place.with_suffix(".backup")))


def main(start: Path, verb: Any, to: str) -> None:
    options = InPlaceOptions(to=to)
    setattr(_in_place, "take_backup", plain_backup)  # noqa: B010 - not exported from there
    chain_of(to)  # loaded once, before the first fork
    for boundary in range(1, 10_000):
        work = start.parent / f"at{boundary}"
        work.mkdir()
        store = work / "s.db"
        shutil.copy(start, store)

        def run(store: Path = store, boundary: int = boundary) -> None:
            killed_at(boundary)
            change_in_place(str(store), verb, options)

        def look(store: Path = store, boundary: int = boundary, ended: int = 0) -> None:
            left = dump(store)
            again = boundary % 4 == 1 or not ended
            if again:
                change_in_place(str(store), verb, options)
            backups = [dump(copy) for copy in (store.parent / "s.db.backups").glob("*.backup/*.db")]
            line = {
                "boundary": boundary,
                "killed": bool(ended),
                "left": left,
                "again": dump(store) if again else None,
                "backups": backups,
            }
            print(json.dumps(line))  # noqa: T201 - its output is what the test reads

        ended = in_child(run)
        if ended not in (0, signal.SIGKILL):
            raise SystemExit(f"boundary {boundary}: the run ended with {ended}")
        if in_child(lambda: look(ended=ended)) != 0:  # noqa: B023 - called at once
            raise SystemExit(f"boundary {boundary}: what was left could not be read")
        shutil.rmtree(work)
        if ended == 0:
            return
    raise SystemExit("no end after 10,000 boundaries")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
