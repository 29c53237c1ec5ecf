"""Schema operations that are killed at their writes: each is one transaction, and happened or did not."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.kills.conftest import Kill
from tests.support import left
from tests.support.kills import Operation, State

from sessionlift.generations import prepare_target, schema_upgrade

pytestmark = [
    pytest.mark.slow,
    pytest.mark.torture,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
]
PREPARE = "tests.support.uses:prepare"


def nothing(_folder: Path) -> None:
    pass


def store(folder: Path) -> State:
    (path,) = [*folder.glob("t.db"), *folder.glob("t.duckdb")] or [folder / "t.db"]
    return left.whole(path)


def upgrade(name: str, revision: str) -> Operation:
    return Operation(
        name=f"schema upgrade: {revision}",
        make=nothing,
        command=("schema", "upgrade", name, revision),
        look=store,
    )


def downgrade(name: str, generation: str) -> Operation:
    def make(folder: Path) -> None:
        prepare_target(str(folder / name), generation)

    return Operation(
        name=f"schema downgrade: {generation} and its ledger" if name == "t.db" else f"schema downgrade: {generation}",
        make=make,
        command=("schema", "downgrade", name, "base"),
        look=store,
        reader=("schema", "current", name),
    )


def prepared(name: str, generation: str, make: Callable[[Path], None] = nothing) -> Operation:
    return Operation(
        name=name,
        make=make,
        command=("t.db", generation),
        call=PREPARE,
        look=store,
    )


def applications_own(folder: Path) -> None:
    """A V2 store that the application made itself: no stamp, and a session in it."""
    schema_upgrade(str(folder / "t.db"), "langswarm_v2")
    with closing(sqlite3.connect(folder / "t.db")) as db, db:
        db.execute("DROP TABLE sessionlift_version")
        db.execute(
            "INSERT INTO sessions (session_id, user_id, provider, model, backend, context_data) "
            "VALUES ('new', 'u', 'openai', 'gpt-4o', 'hybrid', '{}')"
        )


def earlier_ledger(folder: Path) -> None:
    """A target of an earlier build, with the largest rows of its ledger."""
    schema_upgrade(str(folder / "t.db"), "ledger_1")
    with closing(sqlite3.connect(folder / "t.db")) as db, db:
        for session in ("b", "a"):
            db.execute(
                "INSERT INTO sessionlift_units (unit, session_id, run_id, state) VALUES ('session', ?, 'r', 'moved')",
                (session,),
            )
            db.execute("INSERT INTO sessionlift_complement VALUES ('session', ?, '{}')", (session,))


def without_ledger(folder: Path) -> None:
    schema_upgrade(str(folder / "t.db"), "synth_v3")


OPERATIONS = [
    upgrade("t.db", "synth_v3"),
    upgrade("t.db", "langswarm_v1"),
    upgrade("t.db", "langswarm_v2"),
    upgrade("t.db", "ledger_2"),
    Operation(
        name="schema upgrade: ledger_1 to ledger_2",
        make=earlier_ledger,
        command=("schema", "upgrade", "t.db", "ledger_2"),
        look=store,
        reader=("schema", "current", "t.db"),
    ),
    upgrade("t.duckdb", "synth_v2"),
    downgrade("t.db", "synth.v3"),
    downgrade("t.duckdb", "synth.v2"),
    prepared("a target prepared: synth.v3 and its ledger", "synth.v3"),
    prepared("an application's own langswarm.v2 store adopted", "langswarm.v2", applications_own),
    prepared("a ledger added to a synth.v3 store", "synth.v3", without_ledger),
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_schema_operation_killed_at_its_statements_leaves_nothing_or_all(kill: Kill, operation: Operation) -> None:
    kill(operation)
