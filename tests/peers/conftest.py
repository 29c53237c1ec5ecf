"""Fixtures of the peer tests: the two releases, and legacy stores moved by our own command line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.peers import environments, swarm
from tests.peers.environments import Peer
from tests.peers.swarm import SwarmV1, SwarmV2


@pytest.fixture(scope="session")
def synth_0_2_16() -> Peer:
    """The last release with the 0.2.10 schema: the libSQL manager, and the `filter` command."""
    return environments.build("0.2.16", decodes=False)


@pytest.fixture(scope="session")
def synth_0_2_8() -> Peer:
    """The last release with the SQLAlchemy manager."""
    return environments.build("0.2.8", decodes=True)


@pytest.fixture(scope="session", params=["0.2.16", "0.2.8"])
def peer(request: pytest.FixtureRequest) -> Peer:
    """Each release in turn."""
    fixture: Peer = request.getfixturevalue("synth_" + request.param.replace(".", "_"))
    return fixture


@pytest.fixture(scope="session")
def swarm_v1() -> SwarmV1:
    """The real LangSwarm with V1's sessions."""
    return swarm.build_v1()


@pytest.fixture(scope="session")
def swarm_v2() -> SwarmV2:
    """The real LangSwarm with V2's sessions."""
    return swarm.build_v2()


Move = Callable[[Path], tuple[Path, Path]]


@pytest.fixture(scope="session")
def move(tmp_path_factory: pytest.TempPathFactory) -> Move:
    """Copies a legacy store, migrates the copy with the command line, and gives (legacy copy, target).

    A store is moved once, however many tests ask for it.
    """
    moved: dict[Path, tuple[Path, Path]] = {}

    def migrate(store: Path) -> tuple[Path, Path]:
        if store not in moved:
            folder = tmp_path_factory.mktemp("moved")
            legacy, target = folder / store.name, folder / "v3.db"
            for source in store.parent.glob(store.name + "*"):
                if source.name in (store.name, store.name + ".wal"):
                    shutil.copyfile(source, folder / source.name)
            done = subprocess.run(
                [sys.executable, "-c", "from sessionlift.cli import main; main()", "migrate", legacy, target],
                capture_output=True,
                text=True,
                check=False,
                cwd=folder,
            )
            assert done.returncode in (0, 1), done.stdout + done.stderr
            moved[store] = (legacy, target)
        return moved[store]

    return migrate
