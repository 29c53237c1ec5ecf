"""A catch-up finds what the old program changed many sessions at a time, and believes who deletes in the new store."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from tests.support.moved import change, change_source, query, session_ids
from tests.support.run_fixtures import Legacy
from tests.support.warm import Warm

from sessionlift.reports import check_file
from sessionlift.runs import Progress, SessionMover, TransferOptions, catch_up, migrate, status, verify

pytestmark = pytest.mark.slow
TABLES = ("outcome_rewards", "event_rewards", "messages", "events", "session_timesteps", "session_traces")


@pytest.fixture
def moved(legacy: Legacy, target: Path) -> tuple[Path, Path, list[str]]:
    source = legacy(sessions=6, traps="none")
    migrate(str(source), str(target), TransferOptions())
    return source, target, session_ids(source)


def delete(target: Path, session_id: str) -> None:
    """What a program does that knows no ledger."""
    for table in TABLES:
        if table == "event_rewards":
            of_its_events = "event_id IN (SELECT id FROM events WHERE session_id = ?)"
            change(target, f"DELETE FROM event_rewards WHERE {of_its_events}", session_id)
        change(target, f"DELETE FROM {table} WHERE session_id = ?", session_id)


def test_only_sessions_that_changed_are_looked_at_by_themselves(
    moved: tuple[Path, Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target, ids = moved
    change_source(source, f"UPDATE session_traces SET num_messages = 77 WHERE session_id = '{ids[1]}'")
    for table in ("session_timesteps", "events", "messages", "session_traces"):
        change_source(source, f"DELETE FROM {table} WHERE session_id = '{ids[2]}'")
    asked: list[str] = []
    one = SessionMover.changed

    def changed(mover: SessionMover, session_id: str, digest: str) -> bool:
        asked.append(session_id)
        return one(mover, session_id, digest)

    monkeypatch.setattr(SessionMover, "changed", changed)
    result = catch_up(str(source), str(target))
    assert asked == [ids[1]]
    report = result.report
    assert (result.looked_at, report.total_sessions, report.migrated_sessions, report.skipped_sessions) == (6, 6, 1, 5)
    assert query(target, "SELECT num_messages FROM session_traces WHERE session_id = ?", ids[1]) == [(77,)]
    asked.clear()
    assert catch_up(str(source), str(target)).report.skipped_sessions == 6
    assert asked == []


def test_no_rate_of_rows_is_told_where_no_row_was_written(moved: tuple[Path, Path, list[str]]) -> None:
    told = io.StringIO()
    progress = Progress(stream=told)
    progress._terminal = True
    catch_up(str(moved[0]), str(moved[1]), progress=progress)
    assert "looked at 6 of 6 sessions" in told.getvalue()
    assert "rows" not in told.getvalue()


def test_a_session_deleted_in_the_new_store_stays_deleted_though_the_old_one_went_on(
    moved: tuple[Path, Path, list[str]],
) -> None:
    source, target, ids = moved
    delete(target, ids[0])
    change_source(source, f"UPDATE session_traces SET num_messages = 77 WHERE session_id = '{ids[0]}'")
    result = catch_up(str(source), str(target))
    report = result.report
    assert result.conflicts == []
    assert [(line.session_id, line.code) for line in report.errors] == [(ids[0], "deleted_but_changed")]
    assert (report.total_sessions, report.skipped_sessions, report.failed_sessions) == (6, 5, 1)
    assert result.path is not None
    assert check_file(result.path) == []
    assert status(str(target)).sessions == {"moved": 5, "deleted": 1}
    assert query(target, "SELECT count(*) FROM session_traces WHERE session_id = ?", ids[0]) == [(0,)]
    again = catch_up(str(source), str(target)).report
    assert (again.total_sessions, again.errors) == (5, []), "it was told, and is settled"
    assert [line.code for line in migrate(str(source), str(target), TransferOptions()).report.errors] == [
        "deleted_but_changed"
    ]
    assert verify(str(source), str(target)).report.errors == []


def test_a_conflict_without_tails_tells_no_counts_of_messages(
    moved: tuple[Path, Path, list[str]], sessionlift: Warm
) -> None:
    source, target, ids = moved
    change_source(source, f"UPDATE session_traces SET num_messages = 77 WHERE session_id = '{ids[0]}'")
    change(target, "INSERT INTO messages (session_id, message_type, content) VALUES (?, 'user', 'new')", ids[0])
    told = sessionlift("catch-up", source, target)
    assert f"Conflict: session '{ids[0]}'" in told.out
    assert "message(s)" not in told.out
