"""Made-up legacy stores, and a server that runs the command line fast."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.made import make_synth_v2
from tests.support.warm import Warm, warm

Legacy = Callable[..., Path]


@pytest.fixture(scope="session")
def sessionlift() -> Iterator[Warm]:
    """Runs ``sessionlift`` with the arguments given, in a fork of a process that has everything imported."""
    with warm() as server:
        yield server


@pytest.fixture(scope="session")
def legacy_store(tmp_path_factory: pytest.TempPathFactory) -> Legacy:
    """Makes a legacy store (the same arguments: the same file); ask ``legacy`` for a copy of your own."""
    folder = tmp_path_factory.mktemp("legacy")

    def make(sessions: int = 8, dress: str = "final", traps: str = "all", seed: int = 1) -> Path:
        path = folder / f"{sessions}-{dress}-{traps}-{seed}.duckdb"
        if not path.exists():
            make_synth_v2(path, sessions=sessions, dress=dress, traps=traps, seed=seed)
        return path

    return make


@pytest.fixture
def legacy(legacy_store: Legacy, tmp_path: Path) -> Legacy:
    """Makes a legacy store that is the test's own, in a folder of its own."""

    def make(**choices: object) -> Path:
        path = tmp_path / "source" / "legacy.duckdb"
        path.parent.mkdir(exist_ok=True)
        shutil.copy(legacy_store(**choices), path)
        return path

    return make


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A target that is not there yet, alone in its folder."""
    folder = tmp_path / "target"
    folder.mkdir()
    return folder / "v3.db"
