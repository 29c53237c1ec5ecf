"""The time that a plan foretells, by a clock that the test holds: no machine's speed decides anything here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionlift._demo import make_synth_v2
from sessionlift.converters import Forward, Inventory
from sessionlift.runs import _plan

ROWS = 20  # of each session


@dataclass
class Some:
    """The sessions from one number to another."""

    first: int
    last: int

    @property
    def rows(self) -> int:
        return (self.last - self.first + 1) * ROWS


@dataclass
class Clocked:
    """A converter that takes ``batch`` seconds for each batch, and ``each`` for a row; its first batch is small."""

    sessions: int
    batch: float
    each: float
    now: float = 0.0

    def groups(self, *, max_rows: int) -> Iterator[Some]:
        full = max(1, max_rows // ROWS)
        first = 1
        while first <= self.sessions:
            size = max(1, full // 4) if first == 1 and self.sessions > 4 * full else full
            last = min(self.sessions, first + size - 1)
            yield Some(first, last)
            first = last + 1

    def singles(self, group: Some) -> Iterator[Some]:
        return (Some(place, place) for place in range(group.first, group.last + 1))

    def convert(self, group: Some, _sink: Any) -> None:
        self.now += self.batch + self.each * group.rows


def foretold(converter: Clocked, patch: pytest.MonkeyPatch) -> float:
    patch.setattr("sessionlift.runs._plan.time.perf_counter", lambda: converter.now)
    inventory = Inventory(converter.sessions, {"messages": converter.sessions * ROWS}, {}, 1)
    return _plan._estimate(cast(Forward, converter), inventory)


@given(st.integers(1, 100_000), st.floats(0, 1), st.floats(1e-6, 1e-3))
def test_what_a_batch_takes_anyway_is_not_counted_for_each_row(sessions: int, batch: float, each: float) -> None:
    converter = Clocked(sessions, batch, each)
    with pytest.MonkeyPatch.context() as patch:
        seconds = foretold(converter, patch)
    rows = sessions * ROWS
    # one session has nothing to tell the two apart
    a_row = each if sessions > 1 else each + batch / ROWS
    assert seconds == pytest.approx(_plan._START + batch + each * ROWS + a_row * rows / _plan._CONVERTING, rel=1e-3)


def test_a_store_without_sessions_takes_what_starting_up_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert foretold(Clocked(0, 1.0, 1.0), monkeypatch) == _plan._START


@pytest.mark.slow
def test_a_plan_into_a_new_target_does_not_wait_for_alembic(tmp_path: Path) -> None:
    """It takes longer to load than a small store takes to be counted."""
    source = tmp_path / "old.duckdb"
    make_synth_v2(source, sessions=2)
    script = (
        "import sys; from sessionlift.runs import TransferOptions, plan; "
        "plan(sys.argv[1], sys.argv[2], TransferOptions()); sys.exit('alembic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, str(source), str(tmp_path / "new.db")], check=True)
