"""Sessions whose time is NULL: v3 gets the earliest of their rows in UTC, the verifier finds the same, NULL comes back.

What it must be is worked out here by plain Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.laws import TORTURE, tries
from tests.support.moved import query
from tests.support.synth_stores import LegacyStore

from sessionlift.runs import BackupOptions, RollbackOptions, TransferOptions, migrate, rollback

pytestmark = pytest.mark.slow

Rows = tuple[Sequence[str], Sequence[str], Sequence[str]]
"""The times of a session's timesteps, events and messages."""

NONE = "1970-01-01T00:00:00.000000+00:00"
NOT_HELD = (
    "infinity",
    "-infinity",
    "0044-03-15 (BC) 12:00:00",
    "290309-12-22 (BC) 00:00:00",
    "20000-01-01 00:00:00",
    "294247-01-10 04:00:54.775806",
)


def filled(path: Path, sessions: Sequence[Rows]) -> Path:
    with closing(LegacyStore(path)) as store:
        for number, (timesteps, events, messages) in enumerate(sessions):
            store.session(
                f"s{number:03d}",
                created_at=None,
                timesteps=[{"timestamp": moment} for moment in timesteps],
                # without a time of its own, a reward is dated by its session
                events=[
                    {"event_time": None, "event_type": "environment", "reward": 1.0},
                    *({"event_time": moment} for moment in events),
                ],
                messages=[{"timestamp": moment} for moment in messages],
            )
    return path


def options(zone: str) -> TransferOptions:
    return TransferOptions(timezone=zone, timezone_given=True)


def dated(folder: Path, zone: str, sessions: Sequence[Rows]) -> list[str]:
    """What v3 has for each session, once both programs agree on it."""
    source, target = filled(folder / "legacy.duckdb", sessions), folder / "v3.db"
    report = migrate(str(source), str(target), options(zone), backup=BackupOptions(wanted=False)).report
    assert report.verification.differences == []
    assert report.verification.status == "passed"
    rewards = query(target, "SELECT session_id, created_at FROM event_rewards ORDER BY session_id")
    traces = query(target, "SELECT session_id, created_at FROM session_traces ORDER BY session_id")
    assert rewards == traces
    return [moment for _, moment in traces]


def text(moment: str, zone: ZoneInfo) -> str | None:
    """v3's text of a local time, None where it has none."""
    if moment in NOT_HELD:
        return None
    local = datetime.fromisoformat(moment)
    within = min(max(local, datetime(1850, 1, 1)), datetime(2200, 1, 1))
    offset = within.replace(tzinfo=zone).utcoffset() or timedelta()
    try:
        utc = local - timedelta(seconds=round(offset.total_seconds()))
    except OverflowError:
        return None
    return utc.isoformat(timespec="microseconds") + "+00:00"


SKIPPED = {
    "America/New_York": ("2025-03-09 02:30:00", "2025-03-09 03:10:00", "2025-03-09T07:10:00.000000+00:00"),
    "Pacific/Apia": ("2011-12-30 12:00:00", "2011-12-31 01:00:00", "2011-12-30T11:00:00.000000+00:00"),
}


@pytest.mark.parametrize("zone", SKIPPED)
def test_the_earliest_is_that_in_utc_where_the_clock_left_times_out(tmp_path: Path, zone: str) -> None:
    """The time that never was comes first on the clock, and later in UTC."""
    first, second, earliest = SKIPPED[zone]
    one_table, two_tables = ((), (first, second), ()), ((first,), (), (second,))
    assert dated(tmp_path, zone, [one_table, two_tables]) == [earliest, earliest]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
def test_a_time_that_v3_cannot_hold_does_not_hide_the_others(tmp_path: Path, zone: str) -> None:
    sessions: list[Rows] = []
    for far in NOT_HELD:
        both = (far, "2025-01-01 00:00:00")
        sessions += [(both, (), ()), ((), both, ()), ((), (), both)]
    expected = text("2025-01-01 00:00:00", ZoneInfo(zone))
    assert dated(tmp_path, zone, [*sessions, (NOT_HELD, NOT_HELD, NOT_HELD)]) == [expected] * len(sessions) + [NONE]


EDGES = (
    "0001-01-01 00:00:00",
    "0001-01-01 03:00:00",
    "9999-12-31 23:00:00",
    "1850-01-01 00:00:00",
    "2199-07-01 00:00:00",
    "2400-07-01 00:00:00",
    "1969-12-31 23:59:59.999999",
    *(f"2025-03-09 0{hour}" for hour in ("1:59:59.999999", "2:00:00", "2:30:00", "3:00:00", "3:29:00")),
    *(f"2025-11-02 0{hour}" for hour in ("0:59:00", "1:00:00", "1:59:00", "2:00:00")),
    *(f"2011-12-{day}" for day in ("29 23:00:00", "30 00:30:00", "30 23:30:00", "31 00:10:00")),
)
TIMES = st.one_of(st.sampled_from(EDGES), st.sampled_from(NOT_HELD), st.datetimes().map(str))
ROWS = st.tuples(*[st.lists(TIMES, max_size=3)] * 3)


@pytest.mark.slow
@pytest.mark.torture
@pytest.mark.parametrize("zone", ["Pacific/Apia", *(["UTC", "America/New_York", "Asia/Kathmandu"] if TORTURE else [])])
@tries(4)
@given(sessions=st.lists(ROWS, min_size=1, max_size=12))
def test_both_programs_date_a_session_by_its_earliest_row_and_null_comes_back(
    tmp_path_factory: pytest.TempPathFactory, zone: str, sessions: list[Rows]
) -> None:
    folder, clock = tmp_path_factory.mktemp("dated"), ZoneInfo(zone)
    held = [[text(moment, clock) for rows in session for moment in rows] for session in sessions]
    expected = [min(filter(None, texts), default=NONE) for texts in held]
    assert dated(folder, zone, sessions) == expected
    source, target, again = folder / "legacy.duckdb", folder / "v3.db", folder / "again.duckdb"
    taken = RollbackOptions(everything=True, to=str(again))
    report = rollback(str(target), taken, backup=BackupOptions(wanted=False)).report
    assert report.verification.differences == []
    for table, column in (
        ("session_traces", "created_at"),
        ("session_timesteps", "timestamp"),
        ("events", "event_time"),
        ("messages", "timestamp"),
    ):
        assert cells(again, table, column) == cells(source, table, column)


def cells(path: Path, table: str, column: str) -> list[tuple[str, str | None]]:
    with duckdb.connect(str(path), read_only=True) as db:
        return db.execute(f"SELECT session_id, {column}::VARCHAR FROM {table} ORDER BY ALL").fetchall()
