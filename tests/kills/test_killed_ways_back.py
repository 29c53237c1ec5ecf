"""Rollbacks that are killed at their writes: each session is whole, in the one place that the ledger names."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.kills.conftest import Kill
from tests.support import left
from tests.support.kills import Operation, State
from tests.support.made import make_synth_v2
from tests.support.roads_back import SWARM, SYNTH, System
from tests.support.taken_back import notes
from tests.support.uses import use_all

pytestmark = [
    pytest.mark.slow,
    pytest.mark.torture,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
]


FEW_TRACES = replace(SYNTH, make=lambda path: make_synth_v2(path, sessions=2, traps="none"))


def moved(system: System, legacy: str) -> Callable[[Path], None]:
    """Sessions that have moved, and what the application wrote in the new store since."""

    def make(folder: Path) -> None:
        system.make(folder / legacy)
        use_all(str(folder / legacy), str(folder / "new.db"))
        system.change(folder / "new.db")

    return make


def stores(folder: Path, legacy: str) -> State:
    """By session its rows in the legacy store and in the new one, and what the ledger says of it."""
    path = folder / legacy
    old = (left.v2(path) if path.suffix == ".duckdb" else left.v1(path)) if path.exists() else {}
    return left.both(old, left.target(folder / "new.db"))


def carried_but_not_left(found: Any, old: Any, new: Any) -> bool:
    """Whole in both stores, while the ledger still names the new one; the next run takes it out there."""
    return None not in (found, old, new) and found == (new[0], old[1])


def settled(folder: Path, _: State) -> None:
    assert notes(folder / "new.db") == [], "an intent of the rollback is left"


ROLLBACK = ("rollback", "new.db", "--all", "--json")
OPERATIONS = [
    Operation(
        name="rollback: langswarm.v2 to langswarm.v1",
        make=moved(SWARM, "legacy.db"),
        command=ROLLBACK,
        look=lambda folder: stores(folder, "legacy.db"),
        between=carried_but_not_left,
        also=settled,
        short=3,
    ),
    Operation(
        name="rollback: synth.v3 to synth.v2",
        make=moved(FEW_TRACES, "legacy.duckdb"),
        command=ROLLBACK,
        look=lambda folder: stores(folder, "legacy.duckdb"),
        between=carried_but_not_left,
        also=settled,
        short=3,
    ),
    Operation(
        name="rollback into a new langswarm.v1 store",
        make=moved(SWARM, "legacy.db"),
        command=(*ROLLBACK, "--to", "back.db"),
        look=lambda folder: stores(folder, "back.db"),
        between=carried_but_not_left,
        intact=("legacy.db",),
        also=settled,
    ),
    Operation(
        name="rollback into a new synth.v2 store",
        make=moved(FEW_TRACES, "legacy.duckdb"),
        command=(*ROLLBACK, "--to", "back.duckdb"),
        look=lambda folder: stores(folder, "back.duckdb"),
        between=carried_but_not_left,
        intact=("legacy.duckdb",),
        also=settled,
    ),
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_rollback_killed_at_its_writes_leaves_each_session_whole_and_goes_on(
    kill: Kill, operation: Operation
) -> None:
    kill(operation)
