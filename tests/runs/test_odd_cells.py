"""Cells that no release is known to have written: the verifier must read them as the converter does, on its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.moved import query
from tests.support.synth_stores import LegacyStore

from sessionlift.reports import Report, check_file
from sessionlift.runs import TransferOptions, migrate, verify

Moved = Callable[..., Report]


@pytest.fixture
def source(tmp_path: Path) -> Iterator[LegacyStore]:
    """A legacy store for hand-written rows; moving it closes it."""
    store = LegacyStore(tmp_path / "v2.duckdb")
    yield store
    store.close()


@pytest.fixture
def move(source: LegacyStore, tmp_path: Path, target: Path) -> Moved:
    """Moves the store, and gives the move's report; whatever was moved must then be found whole and unchanged."""

    def run(zone: str = "UTC") -> Report:
        source.close()
        legacy = str(tmp_path / "v2.duckdb")
        moved = migrate(legacy, str(target), TransferOptions(timezone=zone, timezone_given=True))
        assert [each.message for each in moved.report.verification.differences] == []
        again = verify(legacy, str(target))
        assert [each.error for each in again.report.errors] == []
        for result in (moved, again):
            assert result.path is not None
            assert check_file(result.path) == []
        return moved.report

    return run


@pytest.mark.parametrize("total", ["-0.0", "-0", "-0e0", "29.0", "1e18"])
def test_an_outcome_of_any_spelling_is_not_taken_for_changed(
    source: LegacyStore, move: Moved, target: Path, total: str
) -> None:
    source.session("s", metadata=f'[{{"metadata_type": "episode_results", "data": {{"total_reward": {total}}}}}]')
    assert move().status == "completed"
    assert query(target, "SELECT total_reward, typeof(total_reward) FROM outcome_rewards") == [
        (int(float(total)), "integer")
    ]
