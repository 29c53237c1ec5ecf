"""Backups and their return, killed at their writes: nothing half is ever taken for a store or for a backup."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.kills.conftest import Kill
from tests.support import left
from tests.support.kills import Operation, State
from tests.support.made import make_synth_v2

from sessionlift._demo import make_langswarm_v1
from sessionlift.errors import BackupError
from sessionlift.runs import check_backup, read_backup, take_backup

pytestmark = [
    pytest.mark.slow,
    pytest.mark.torture,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
]


def swarm(folder: Path) -> None:
    make_langswarm_v1(folder / "s.db", sessions=3)


def synth(folder: Path) -> None:
    make_synth_v2(folder / "s.duckdb", sessions=3)


def kept(folder: Path) -> State:
    """Whether there is a whole backup, and of what."""
    found = left.backups(folder)
    assert all(each == found[0] for each in found)
    return {"the backup": found[0]} if found else {}


def is_the_store(name: str) -> Any:
    def also(folder: Path, _: State) -> None:
        assert kept(folder)["the backup"] == left.dump(folder / name)
        for path in folder.glob("*.backups/*"):
            if path.suffix == ".backup":
                check_backup(path)
            else:
                with pytest.raises(BackupError, match="never finished"):
                    read_backup(path)

    return also


def swarm_and_backup(folder: Path) -> None:
    """A backup, and the store that it was taken of, emptied since."""
    swarm(folder)
    take_backup(str(folder / "s.db"), folder / "kept").path.rename(folder / "one.backup")
    with closing(sqlite3.connect(folder / "s.db")) as db, db:
        db.execute("DELETE FROM sessions")


def synth_and_backup(folder: Path) -> None:
    synth(folder)
    take_backup(str(folder / "s.duckdb"), folder / "kept").path.rename(folder / "one.backup")
    with duckdb.connect(str(folder / "s.duckdb")) as db:
        for table in ("messages", "events", "session_timesteps", "session_traces"):
            db.execute(f"DELETE FROM {table}")


def in_place_and_aside(folder: Path) -> State:
    """What has the store's name, and what was set aside."""
    name = "s.db" if (folder / "one.backup" / "store.db").exists() else "s.duckdb"
    aside = [path for path in folder.glob(f"{name}.before-restore-*") if path.suffix != ".wal"]
    return {"the store": (left.dump(folder / name), *(left.dump(path) for path in aside))}


def on_the_way(found: Any, old: Any, new: Any) -> bool:
    """The old store under both names, or aside alone."""
    (emptied,) = old
    return found in ((emptied, emptied), ([], emptied)) and emptied in new


def in_the_end(state: State) -> Any:
    """A second run sets aside what it finds: the old store under one more name, or what the first brought back."""
    store, *aside = state["the store"]
    return store, {tuple(each) for each in aside if each != store}


OPERATIONS = [
    Operation(
        name="backup: a SQLite store",
        make=swarm,
        command=("backup", "s.db", "--json"),
        look=kept,
        intact=("s.db",),
        also=is_the_store("s.db"),
        short=3,
    ),
    Operation(
        name="backup: a DuckDB store",
        make=synth,
        command=("backup", "s.duckdb", "--json"),
        look=kept,
        intact=("s.duckdb",),
        also=is_the_store("s.duckdb"),
        short=3,
    ),
    Operation(
        name="restore: a SQLite store",
        make=swarm_and_backup,
        command=("restore", "one.backup", "--to", "s.db", "--replace", "--json"),
        look=in_place_and_aside,
        between=on_the_way,
        final=in_the_end,
        short=3,
    ),
    Operation(
        name="restore: a DuckDB store",
        make=synth_and_backup,
        command=("restore", "one.backup", "--to", "s.duckdb", "--replace", "--json"),
        look=in_place_and_aside,
        between=on_the_way,
        final=in_the_end,
        short=3,
    ),
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_backup_or_its_return_killed_anywhere_is_whole_or_none(kill: Kill, operation: Operation) -> None:
    kill(operation)
