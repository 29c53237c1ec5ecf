"""Where a session does not lie in the legacy store as it must after a rollback, its rows and columns are named."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.made import make_moved, make_synth_v2
from tests.support.moved import change, query, session_ids
from tests.support.roads_back import synth_change
from tests.support.taken_back import V2_MESSAGE, ledger

from sessionlift._demo import make_langswarm_v1
from sessionlift.reports import Difference, Report, check_file
from sessionlift.runs import RollbackOptions, TransferOptions, migrate, rollback
from sessionlift.runs._rollback_check import Check
from sessionlift.stores import open_store

pytestmark = pytest.mark.slow


def take_back(target: Path, **options: Any) -> Report:
    result = rollback(str(target), RollbackOptions(everything=True, **options), own_process=True)
    assert result.path is not None
    assert check_file(result.path) == []
    return result.report


def spoil_before_the_look(monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> None:
    """Have ``work`` done when everything was carried and is about to be looked at."""
    real, left = Check.begin, [work]

    def begin(check: Check, turns: Sequence[Any]) -> None:
        if left:
            left.pop()()
        real(check, turns)

    monkeypatch.setattr(Check, "begin", begin)


def places(report: Report) -> set[tuple[str | None, str | None, str | None]]:
    return {(each.table, each.row, each.column) for each in report.verification.differences}


def only(report: Report) -> Difference:
    (found,) = report.verification.differences
    return found


@pytest.fixture
def synth(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "v2.duckdb", tmp_path / "v3.db"
    make_moved(source, target, sessions=3, traps="none")
    return source, target


@pytest.fixture
def swarm(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "v1.db", tmp_path / "v2.db"
    make_moved(source, target, make=make_langswarm_v1, sessions=3, traps="none")
    return source, target


@pytest.mark.parametrize("written_to", [False, True], ids=["as it was moved", "written to since"])
def test_a_trace_that_lies_there_otherwise_is_told_by_its_rows_and_columns(
    synth: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, *, written_to: bool
) -> None:
    source, target = synth
    ((one,), *others) = query(target, "SELECT session_id FROM session_traces ORDER BY rowid")
    if written_to:
        synth_change(target)
    (event, gone), (cost,) = (
        query(target, "SELECT min(id), max(id) FROM events WHERE session_id = ?", one)[0],
        query(target, "SELECT cost_usd FROM events WHERE session_id = ? ORDER BY id", one)[0],
    )

    def spoil() -> None:
        with duckdb.connect(str(source)) as db:
            db.execute("UPDATE events SET cost = 7.25, span_id = 'https://me:hidden@host/' WHERE id = ?", [event])
            db.execute("DELETE FROM events WHERE id = ?", [gone])
            db.execute(
                "INSERT INTO messages (id, session_id, message_type, content) VALUES (999999, ?, 'user', '\"new\"')",
                [one],
            )

    spoil_before_the_look(monkeypatch, spoil)
    report = take_back(target)
    assert [(line.session_id, line.code) for line in report.errors] == [(one, "not_verified")]
    assert ledger(target)[one] == "moved"
    assert report.migrated_sessions == len(others)
    assert {each.session_id for each in report.verification.differences} == {one}
    assert places(report) == {
        ("events", str(event), "cost"),
        ("events", str(event), "span_id"),
        ("events", str(gone), None),
        ("messages", "999999", None),
    }
    told = {each.column: each for each in report.verification.differences if each.column}
    assert told["cost"].found == "7.25"
    assert told["cost"].expected in (None, repr(cost / 100) if cost is not None else None)
    assert "must be" in told["cost"].message
    rows = {each.row: (each.expected, each.found) for each in report.verification.differences if not each.column}
    assert rows == {str(gone): ("a row", None), "999999": (None, "a row")}


def test_the_report_on_disk_names_what_differs_without_credentials(
    synth: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = synth

    def spoil() -> None:
        with duckdb.connect(str(source)) as db:
            db.execute("UPDATE session_traces SET experiment_id = 'https://me:hidden@host/' || repeat('x', 9000)")

    spoil_before_the_look(monkeypatch, spoil)
    result = rollback(str(target), RollbackOptions(everything=True), own_process=True)
    assert result.path is not None
    text = result.path.read_text("utf-8")
    assert "hidden" not in text
    assert "https://***@host/" in text
    assert "x" * 2_100 not in text
    assert {each["column"] for each in json.loads(text)["verification"]["differences"]} == {"experiment_id"}


def test_zeros_that_the_engine_mixes_up_are_named_where_they_lie(tmp_path: Path) -> None:
    """DuckDB takes a whole segment of nothing but zeros of both signs for one of a single value."""
    source, target, new = tmp_path / "v2.duckdb", tmp_path / "v3.db", tmp_path / "again.duckdb"
    make_synth_v2(source, sessions=2, traps="none")
    one = session_ids(source)[0]
    zeros = "CASE WHEN session_id <> ? THEN 1.5 WHEN id % 2 = 0 THEN 0.0 ELSE '-0.0'::DOUBLE END"
    with open_store(f"duckdb://{source}", mode="rw", role="source") as store:
        store.execute(f"UPDATE events SET reward = {zeros}", (one,))
    migrate(str(source), str(target), TransferOptions())
    result = rollback(str(target), RollbackOptions(sessions=(one,), to=str(new)), own_process=True)
    found = result.report.verification.differences
    assert found, "the engine keeps the sign of zeros by now: docs/stores.md must say so"
    assert {(each.session_id, each.table, each.column) for each in found} == {(one, "events", "reward")}
    assert {(each.expected, each.found) for each in found} <= {("0.0", "-0.0"), ("-0.0", "0.0")}
    assert [line.code for line in result.report.errors] == ["not_verified"]


@pytest.mark.parametrize("written_to", [False, True], ids=["as it was moved", "written to since"])
def test_a_session_that_lies_there_otherwise_is_told_by_its_columns(
    swarm: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, *, written_to: bool
) -> None:
    source, target = swarm
    one = query(target, "SELECT session_id FROM sessions ORDER BY rowid")[0][0]
    if written_to:
        change(target, V2_MESSAGE, one, "new", "said after the move")
    (text,) = query(source, "SELECT history FROM sessions WHERE session_id = ?", one)[0]
    last = len(json.loads(text)["messages"]) - 1 + written_to

    def spoil() -> None:
        with closing(sqlite3.connect(source)) as db, db:
            (text,) = db.execute("SELECT history FROM sessions WHERE session_id = ?", (one,)).fetchone()
            history = json.loads(text)
            history["messages"][-1]["content"] = "something else"
            db.execute(
                "UPDATE sessions SET history = ?, last_activity = 12.5 WHERE session_id = ?", (json.dumps(history), one)
            )

    spoil_before_the_look(monkeypatch, spoil)
    report = take_back(target)
    assert [(line.session_id, line.code) for line in report.errors] == [(one, "not_verified")]
    assert places(report) == {("sessions", one, "history"), ("sessions", one, "last_activity")}
    told = {each.column: each for each in report.verification.differences}
    assert told["history"].message == f"sessions row {one}: history differs at $.messages[{last}].content"
    assert "something else" in told["history"].found
    assert "something else" not in told["history"].expected


def test_a_session_that_is_not_there_is_told_as_one_row(
    synth: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = synth
    one = query(target, "SELECT session_id FROM session_traces ORDER BY rowid")[0][0]

    def spoil() -> None:
        with duckdb.connect(str(source)) as db:
            for table in ("messages", "events", "session_timesteps", "session_traces"):
                db.execute(f"DELETE FROM {table} WHERE session_id = ?", [one])

    spoil_before_the_look(monkeypatch, spoil)
    found = only(take_back(target))
    assert (found.session_id, found.table, found.row, found.expected, found.found) == (
        one, "session_traces", one, "a row", None,
    )  # fmt: skip
    assert found.message == f"session_traces row {one} is missing in the legacy store"


def test_a_deleted_session_that_somebody_wrote_again_is_told_as_the_row_that_is_there(
    swarm: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = swarm
    one = query(target, "SELECT session_id FROM sessions ORDER BY rowid")[0][0]
    for table in ("session_messages", "session_metrics", "sessions"):
        change(target, f"DELETE FROM {table} WHERE session_id = ?", one)
    row = query(source, "SELECT * FROM sessions WHERE session_id = ?", one)[0]
    marks = ", ".join("?" * len(row))
    spoil_before_the_look(monkeypatch, lambda: change(source, f"INSERT INTO sessions VALUES ({marks})", *row))
    found = only(take_back(target))
    assert (found.table, found.row, found.expected, found.found) == ("sessions", one, None, "a row")


def test_nothing_is_made_again_where_nothing_differs(synth: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Check, "name")
    _, target = synth
    synth_change(target)
    report = take_back(target)
    assert (report.verification.status, report.verification.differences) == ("passed", [])
