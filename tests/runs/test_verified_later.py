"""What an earlier run moved without comparing it is compared by the next one, but for what has changed since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.made import make_synth_v2
from tests.support.moved import change, change_source, query, session_ids

from sessionlift._demo import make_langswarm_v1
from sessionlift.reports import Report
from sessionlift.runs import RollbackOptions, TransferOptions, catch_up, migrate, rollback

pytestmark = pytest.mark.slow


@pytest.fixture(params=["synth", "langswarm"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A store of which every session was moved, and not compared."""
    if request.param == "synth":
        source = make_synth_v2(tmp_path / "old.duckdb", sessions=4, traps="none").path
    else:
        source = make_langswarm_v1(tmp_path / "old.db", sessions=4, traps="none").path
    migrate(str(source), str(tmp_path / "new.db"), TransferOptions(), verify=False)
    return source, tmp_path / "new.db"


def move(stores: tuple[Path, Path], **options: Any) -> Report:
    source, target = map(str, stores)
    return migrate(source, target, TransferOptions(**options)).report


def told(report: Report) -> list[str]:
    return [line for line in report.assumptions if "changed since" in line]


def application_writes(target: Path) -> None:
    table, column = ("session_traces", "metadata") if "session_traces" in _tables(target) else ("sessions", "model")
    change(target, f"UPDATE {table} SET {column} = '{{\"a\": 1}}' WHERE rowid = (SELECT min(rowid) FROM {table})")


def _tables(target: Path) -> set[str]:
    return {name for (name,) in query(target, "SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_what_the_application_has_changed_since_is_no_difference(stores: tuple[Path, Path]) -> None:
    application_writes(stores[1])
    report = move(stores)
    assert (report.status, report.verification.status) == ("completed", "passed")
    assert report.verification.checked_sessions == 3
    assert told(report)[0].startswith("1 sessions")
    # and it comes to rest
    assert told(move(stores)) == []


def test_what_nobody_has_changed_is_compared(stores: tuple[Path, Path]) -> None:
    report = move(stores)
    assert (report.verification.status, report.verification.checked_sessions) == ("passed", 4)
    assert told(report) == []


@pytest.mark.parametrize("stores", ["synth"], indirect=True)
def test_what_was_written_otherwise_than_it_must_be_is_a_difference(stores: tuple[Path, Path]) -> None:
    # no digest covers a column that a move does not fill
    change(stores[1], "UPDATE events SET embedding = 1 WHERE id = (SELECT min(id) FROM events)")
    report = move(stores)
    assert report.verification.status == "failed"
    assert [each.column for each in report.verification.differences] == ["embedding"]


@pytest.mark.parametrize("stores", ["synth"], indirect=True)
def test_what_the_old_program_has_changed_since_is_no_difference_where_other_sessions_move(
    stores: tuple[Path, Path],
) -> None:
    first, *others = session_ids(stores[0])
    change_source(stores[0], f"UPDATE messages SET message_time = 7 WHERE session_id = '{first}'")
    report = move(stores, only=(others[0],))
    assert (report.status, report.verification.status) == ("completed", "passed")
    assert told(report)[0].startswith("1 sessions")
    after = move(stores)
    assert (after.migrated_sessions, after.verification.status) == (1, "passed")


@pytest.mark.parametrize("stores", ["synth"], indirect=True)
def test_a_catch_up_that_the_application_went_on_after_is_no_difference(stores: tuple[Path, Path]) -> None:
    first = session_ids(stores[0])[0]
    change_source(stores[0], f"UPDATE messages SET message_time = 7 WHERE session_id = '{first}'")
    catch_up(str(stores[0]), str(stores[1]))
    change(stores[1], f"UPDATE messages SET metadata = '{{}}' WHERE session_id = '{first}'")
    report = move(stores)
    assert (report.status, report.verification.status) == ("completed", "passed")
    assert told(report)[0].startswith("1 sessions")
    rollback(str(stores[1]), RollbackOptions(everything=True))
    assert move(stores).verification.status == "passed"
