"""The fixture by which an operation is killed at its boundaries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.kills import COUNTED, Operation, Sweep, documented, told
from tests.support.run_fixtures import sessionlift
from tests.support.warm import Warm

__all__ = ["sessionlift"]

Kill = Callable[[Operation], Sweep]


@pytest.fixture
def kill(
    sessionlift: Warm,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> Kill:
    """Kills an operation at its boundaries and tells how many they are, which are no fewer than documented."""

    def kill(operation: Operation) -> Sweep:
        sweep = Sweep(operation, sessionlift, tmp_path)
        chosen = sweep.chosen()
        record_property(COUNTED, told(operation.name, len(sweep.boundaries), len(chosen)))
        stated = documented().get(operation.name)
        assert stated is not None, f"docs/reliability.md does not tell of {operation.name!r}"
        assert stated <= len(sweep.boundaries), f"docs/reliability.md: {stated}, but {len(sweep.boundaries)} were met"
        for boundary in chosen:
            sweep.check(boundary)
        return sweep

    return kill
