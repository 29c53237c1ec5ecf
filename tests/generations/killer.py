"""A program that runs one schema operation again and again, killed at every boundary in turn.

Started by the tests as ``python killer.py FOLDER NAME OPERATION ARGUMENT..``. ``FOLDER/start`` holds the
store to begin with, if any. It opens no store itself: a forked child works, is killed by SIGKILL at its n-th
boundary, and another child looks at what is left. One line of JSON per boundary; the last one is the run that
was not killed.

A boundary is every statement that goes to the store, the BEGIN and the COMMIT: the kill comes just before it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from sessionlift import generations
from sessionlift.errors import StoreError
from sessionlift.generations import _connect, _structure
from sessionlift.generations._detect import read_shape

OPERATIONS: dict[str, Callable[..., Any]] = {
    "upgrade": generations.schema_upgrade,
    "downgrade": generations.schema_downgrade,
    "prepare": generations.prepare_target,
}


def catalog(url: str) -> dict[str, Any]:
    """Everything the store's own catalog says, and its stamps. Opened for writing, as the next run would."""
    with _connect.connect(url, mode="create") as connection:
        query = _structure.queries(connection)
        if connection.dialect.name == "duckdb":
            kinds = {"table": "duckdb_tables()", "view": "duckdb_views()", "index": "duckdb_indexes()"}
            objects = [
                [kind, name, sql]
                for kind, source in kinds.items()
                for name, sql in query(
                    f"SELECT {kind}_name, sql FROM {source}" + (" WHERE NOT internal" if kind != "index" else "")
                )
            ]
            objects += [["sequence", name, ""] for (name,) in query("SELECT sequence_name FROM duckdb_sequences()")]
        else:
            objects = [
                list(row)
                for row in query("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite^_%' ESCAPE '^'")
            ]
            assert query("PRAGMA integrity_check") == [("ok",)]
        engine = "duckdb" if connection.dialect.name == "duckdb" else "libsql"
        shape = read_shape(query, engine)
        stamps = generations._schema.stamps_in(connection)
    return {"objects": sorted(objects), "stamps": stamps, "tables": sorted(shape)}


def read_only(url: str) -> str:
    """What a program meets that only looks, before anyone has opened the store for writing."""
    try:
        generations.schema_current(url)
    except StoreError as error:
        return error.code
    return "ok"


def killed_at(boundary: int) -> None:
    """Kill this process just before its ``boundary``-th step."""
    steps = 0

    def step(*_: Any, **__: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == boundary:
            os.kill(os.getpid(), signal.SIGKILL)

    for name in ("begin", "before_cursor_execute", "commit"):
        event.listen(Engine, name, step)


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


def main(folder: Path, name: str, operation: str, *arguments: str) -> None:
    engine = "duckdb" if name.endswith(".duckdb") else "libsql"
    for boundary in range(1, 10_000):
        work = folder / f"at{boundary}"
        work.mkdir()
        for file in (folder / "start").glob("*"):
            shutil.copy(file, work)
        url = f"{engine}://{work / name}"

        def run(url: str = url, boundary: int = boundary) -> None:
            killed_at(boundary)
            OPERATIONS[operation](url, *arguments)

        def look(url: str = url, boundary: int = boundary, ended: int = 0) -> None:
            reader = read_only(url)
            left = catalog(url)
            OPERATIONS[operation](url, *arguments)
            again = catalog(url)
            line = {
                "boundary": boundary,
                "killed": bool(ended),
                "reader": reader,
                "left": left,
                "again": again,
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
