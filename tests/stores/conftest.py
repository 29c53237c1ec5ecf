"""What the tests of the stores share: copies of real stores, and stages."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sessionlift.stores import Value

Copier = Callable[[str], Path]


@pytest.fixture
def copied(real_stores: Path, tmp_path: Path) -> Copier:
    """Copies a real store with its .wal into a folder of its own, writable, and gives the copy's path."""

    def copy(name: str) -> Path:
        folder = tmp_path / "copied"
        folder.mkdir(exist_ok=True)
        for source in (real_stores / "synth").glob(name + "*"):
            if source.name == name or source.name == name + ".wal":
                shutil.copyfile(source, folder / source.name)
        return folder / name

    return copy


@pytest.fixture
def make_stage(tmp_path: Path) -> Callable[..., Path]:
    """Writes a stage file as a converter's process does."""

    def make(table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> Path:
        path = tmp_path / "stage.db"
        path.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
            marks = ", ".join("?" * len(columns))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        return path

    return make
