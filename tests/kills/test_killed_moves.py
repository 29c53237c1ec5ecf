"""Moves that are killed at their writes: migrate, the first use through the bridge, backfill and catch-up."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.kills.conftest import Kill
from tests.support import left
from tests.support.kills import Operation, State
from tests.support.made import make_synth_v2
from tests.support.moved import change, change_source, content, difference, query, session_ids
from tests.support.taken_back import V2_MESSAGE
from tests.support.uses import use_all

from sessionlift._demo import make_langswarm_v1, make_session_buddy
from sessionlift.bridge import BridgeCore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.torture,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
]

USE = "tests.support.uses:use_all"
Make = Callable[[Path], None]


def moved(folder: Path) -> State:
    return left.target(folder / "new.db")


def but_for_late_indexes(folder: Path) -> State:
    """The same, as if the indexes were there of which the ledger says that they come last."""
    found = moved(folder)
    noted = late(folder / "new.db")
    if noted and "the schema" in found:
        there = [(kind.decode(), name.decode()) for kind, name, _ in found["the schema"]]
        assert not {name for _, name in there} & set(noted), "what is noted is left out"
        found["the schema"] = sorted([*there, *(("index", name) for name in noted)])
    elif "the schema" in found:
        found["the schema"] = sorted((kind.decode(), name.decode()) for kind, name, _ in found["the schema"])
    return found


def late(target: Path) -> list[str]:
    """The indexes that the ledger says come last."""
    with left.opened(target) as db:
        if b"sessionlift_runs" not in {name for (name,) in db.execute("SELECT name FROM sqlite_master")}:
            return []
        listed = "SELECT e.value FROM sessionlift_runs AS r, json_each(r.options, '$.late_indexes') AS e"
        return [name.decode() for (name,) in db.execute(listed)]


def synth(folder: Path) -> None:
    make_synth_v2(folder / "legacy.duckdb", sessions=4, traps="all")


def plain_synth(folder: Path) -> None:
    make_synth_v2(folder / "legacy.duckdb", sessions=3, traps="none")


def swarm(folder: Path) -> None:
    make_langswarm_v1(folder / "legacy.db", sessions=3, traps="none")


def buddy(folder: Path) -> None:
    make_session_buddy(folder / "legacy.db", generation="session_buddy.v3", invocations=30)


def prepared(make: Make) -> Make:
    """The stores of an application that runs: the target is there, and nothing is in it."""

    def made(folder: Path) -> None:
        make(folder)
        (source,) = folder.glob("legacy.*")
        with BridgeCore(str(source), str(folder / "new.db")):
            pass

    return made


def late_swarm(folder: Path) -> None:
    """Sessions that have moved: to one the old program wrote since, to one both programs, to one nobody."""
    swarm(folder)
    source, target = folder / "legacy.db", folder / "new.db"
    use_all(str(source), str(target))
    one, two, _ = (str(key) for (key,) in query(source, "SELECT session_id FROM sessions ORDER BY rowid"))
    for key in (one, two):
        v1_writes(source, key, "late")
    change(target, V2_MESSAGE, two, "msg_new", "said in the new store")


def v1_writes(path: Path, session_id: str, text: str) -> None:
    """What V1 does: the whole session again, with one message more."""
    with closing(sqlite3.connect(path)) as db, db:
        where = "WHERE session_id = ?"
        found = db.execute(f"SELECT metadata, history FROM sessions {where}", (session_id,)).fetchone()
        metadata, history = map(json.loads, found)
        at = "2026-11-20T12:00:00"
        metadata.update(updated_at=at, last_activity=at, message_count=metadata["message_count"] + 1)
        message = {**(history["messages"] or [{}])[-1], "id": f"msg_{text}", "role": "user", "content": text}
        history["messages"].append({**message, "timestamp": at})
        db.execute(
            f"UPDATE sessions SET metadata = ?, history = ?, updated_at = ?, last_activity = ? {where}",
            (json.dumps(metadata), json.dumps(history), at, at, session_id),
        )


def late_synth(folder: Path) -> None:
    plain_synth(folder)
    source, target = folder / "legacy.duckdb", folder / "new.db"
    use_all(str(source), str(target))
    for key in session_ids(source)[:2]:
        change_source(source, f"UPDATE session_traces SET num_timesteps = 77 WHERE session_id = '{key}'")


MIGRATE = Operation(
    name="migrate: synth.v2 to synth.v3",
    make=synth,
    command=("migrate", "legacy.duckdb", "new.db", "--json"),
    look=moved,
    code=1,  # rows without a session are in quarantine
    limits={"max_rows": 120},
    intact=("legacy.duckdb",),
    short=4,
)
INDEXES_LAST = replace(
    MIGRATE,
    name="migrate: synth.v2 to synth.v3, with indexes that come last",
    look=but_for_late_indexes,
    limits={"max_rows": 120, "late_from": 0},
)
OPERATIONS = [
    Operation(
        name="migrate: langswarm.v1 to langswarm.v2",
        make=swarm,
        command=("migrate", "legacy.db", "new.db", "--json"),
        look=moved,
        limits={"max_rows": 40},
        intact=("legacy.db",),
    ),
    Operation(
        name="migrate: session_buddy.v3 to a session_buddy.v4 of its own",
        make=buddy,
        command=("migrate", "legacy.db", "new.db", "--json"),
        look=lambda folder: left.whole(folder / "new.db"),
        intact=("legacy.db",),
    ),
    Operation(
        name="first use of each session: langswarm",
        make=prepared(swarm),
        command=("legacy.db", "new.db"),
        call=USE,
        look=moved,
        intact=("legacy.db",),
    ),
    Operation(
        name="first use of each session: synth",
        make=prepared(plain_synth),
        command=("legacy.duckdb", "new.db"),
        call=USE,
        look=moved,
        intact=("legacy.duckdb",),
    ),
    Operation(
        name="backfill: langswarm",
        make=swarm,
        command=("backfill", "legacy.db", "new.db", "--json"),
        look=moved,
        intact=("legacy.db",),
    ),
    Operation(
        name="catch-up: langswarm",
        make=late_swarm,
        command=("catch-up", "legacy.db", "new.db", "--on-conflict", "append_legacy", "--json"),
        look=moved,
        intact=("legacy.db",),
    ),
    Operation(
        name="catch-up: synth",
        make=late_synth,
        command=("catch-up", "legacy.duckdb", "new.db", "--json"),
        look=moved,
        intact=("legacy.duckdb",),
    ),
    Operation(
        name="next use of sessions that old programs went on with: langswarm",
        make=late_swarm,
        command=("legacy.db", "new.db", "append_legacy"),
        call=USE,
        look=moved,
        intact=("legacy.db",),
    ),
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_move_killed_at_its_writes_leaves_each_session_whole_and_goes_on(kill: Kill, operation: Operation) -> None:
    kill(operation)


@pytest.mark.parametrize("operation", [MIGRATE, INDEXES_LAST], ids=lambda operation: operation.name)
def test_a_migration_killed_at_its_writes_ends_with_the_same_target_and_ledger(
    kill: Kill, operation: Operation
) -> None:
    ended: list[dict[str, object]] = []

    def also(folder: Path, _: State) -> None:
        """Every run's target, its ledger included, is that of the first, which nobody disturbed."""
        target = folder / "new.db"
        ended.append(content(target))
        assert difference(ended[0], ended.pop() if len(ended) > 1 else ended[0]) == ""
        assert query(target, "PRAGMA journal_mode") == [("delete",)]
        assert late(target) == []

    sweep = kill(replace(operation, also=also))

    seen = " ".join(sweep.boundaries)
    for expected in ("BEGIN IMMEDIATE", "CREATE TABLE", "ATTACH", "INSERT OR FAIL INTO main", "COMMIT", "DETACH"):
        assert expected in seen
    for expected in ("journal_mode = WAL", "journal_mode = DELETE", "remove batch", "rename", "fsync", "rmtree"):
        assert expected in seen
    batches = sum(boundary.startswith("ATTACH") for boundary in sweep.boundaries)
    assert batches >= 3, "the catalog and two batches of sessions at least"
