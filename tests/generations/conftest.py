"""What the tests of generations share: targets made by our revisions, and copies of the real stores."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.run_fixtures import sessionlift

from sessionlift.generations import schema_upgrade

__all__ = ["sessionlift"]

RealCopy = Callable[[str], Path]


@pytest.fixture
def real_copy(real_stores: Path, tmp_path: Path) -> RealCopy:
    """A function that copies one real store, with its .wal, and returns the path of the copy."""

    def copy(name: str) -> Path:
        source = real_stores / name
        folder = tmp_path / "copies"
        folder.mkdir(exist_ok=True)
        target = folder / source.name
        shutil.copyfile(source, target)
        target.chmod(target.stat().st_mode | stat.S_IWUSR)
        wal = source.with_name(source.name + ".wal")
        if wal.exists():
            shutil.copyfile(wal, target.with_name(target.name + ".wal"))
        return target

    return copy


@pytest.fixture
def v3(tmp_path: Path) -> Path:
    """An empty synth.v3 store of ours, without a ledger."""
    path = tmp_path / "v3.db"
    schema_upgrade(f"libsql://{path}", "synth_v3")
    return path


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    """An empty synth.v2 store of ours, in its final form."""
    path = tmp_path / "v2.duckdb"
    schema_upgrade(f"duckdb://{path}", "synth_v2")
    return path
