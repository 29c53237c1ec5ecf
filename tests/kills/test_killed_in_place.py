"""Changes in place that are killed at their writes: the store is the old generation whole, or the new one whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.kills.conftest import Kill
from tests.support import left
from tests.support.buddy_stores import invoke, shift
from tests.support.kills import Operation, State

from sessionlift._demo import make_session_buddy
from sessionlift.errors import BackupError
from sessionlift.runs import check_backup, read_backup

pytestmark = [
    pytest.mark.slow,
    pytest.mark.torture,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
]
Make = Callable[[Path], None]


def buddy(generation: str, *, kept: bool = False, filled: bool = True) -> Make:
    def make(folder: Path) -> None:
        path = folder / "s.db"
        make_session_buddy(path, generation=generation, invocations=30, filled=filled)
        if not filled:
            invoke(path, 20)
        if kept:  # the way up brings back what a way down kept, and counts in what was written since
            shift(path, "session_buddy_v3")
            invoke(path, 7)

    return make


def store(folder: Path) -> State:
    return left.whole(folder / "s.db")


def backed_up(folder: Path, old: State) -> None:
    """There is a whole backup of the store as it was, and none of anything else."""
    found = left.backups(folder)
    assert found, "before the change was committed a backup was there, or was made again"
    assert all(each == old["the store"] for each in found), "a backup is not the store"
    for path in folder.glob("s.db.backups/*"):
        if path.suffix == ".backup":
            check_backup(path)
        else:
            with pytest.raises(BackupError):
                read_backup(path)


CHANGES = [
    Operation(
        name="upgrade: session_buddy.v1 to session_buddy.v4",
        make=buddy("session_buddy.v1"),
        command=("upgrade", "s.db", "--json"),
        look=store,
        also=backed_up,
        short=3,
    ),
    Operation(
        name="downgrade: session_buddy.v4 to session_buddy.v1",
        make=buddy("session_buddy.v4"),
        command=("downgrade", "s.db", "--to", "session_buddy.v1", "--json"),
        look=store,
        also=backed_up,
        short=3,
    ),
    Operation(
        name="upgrade: session_buddy.v3 to session_buddy.v4, with what a downgrade kept",
        make=buddy("session_buddy.v4", kept=True),
        command=("upgrade", "s.db", "--json"),
        look=store,
        also=backed_up,
        short=3,
    ),
]
STEPS = [
    Operation(
        name=f"session-buddy {step}",
        make=buddy("session_buddy.v4", filled=False),
        command=("session-buddy", step, "s.db", "--json"),
        look=store,
    )
    for step in ("taxonomy", "backfill", "dependencies", "baselines")
]


@pytest.mark.parametrize("operation", CHANGES, ids=lambda operation: operation.name)
def test_the_store_is_the_old_generation_whole_or_the_new_one_whole(kill: Kill, operation: Operation) -> None:
    kill(operation)


@pytest.mark.parametrize("operation", STEPS, ids=lambda operation: operation.name)
def test_a_step_of_the_guide_is_done_whole_or_not_at_all(kill: Kill, operation: Operation) -> None:
    kill(operation)
