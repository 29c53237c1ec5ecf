"""The command line, on a disk that fails when it is told to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.failing_disk import FailingDisk
from tests.support.run_fixtures import legacy, legacy_store, sessionlift, target
from tests.support.warm import Warm, warm

__all__ = ["legacy", "legacy_store", "sessionlift", "target"]


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FailingDisk]:
    made = FailingDisk(tmp_path_factory.mktemp("failing"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def on_disk(disk: FailingDisk) -> Iterator[Warm]:
    """Runs ``sessionlift`` on that disk."""
    with warm(disk.environment) as server:
        yield server
