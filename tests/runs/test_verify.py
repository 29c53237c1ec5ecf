"""The verify run: what the ledger names, and what a report claims, against both stores as they are now."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.laws import TORTURE
from tests.support.made import make_synth_v2
from tests.support.moved import change, query

from sessionlift.converters import TypeMapping
from sessionlift.errors import StoreCorruptError, StoreFormatError, StoreNotFoundError, UsageError, WrongGenerationError
from sessionlift.reports import Report, check_file, load
from sessionlift.runs import RollbackOptions, TransferOptions, VerifyResult, migrate, rollback, verify
from sessionlift.runs.verifier import open_reader
from sessionlift.runs.verifier._digests import target_digests
from sessionlift.stores import parse_store_url

pytestmark = pytest.mark.slow


class Road:
    """A source, its target, and the report of the run between them."""

    def __init__(self, folder: Path, source: Path, target: Path, report: Path) -> None:
        self.folder, self.source, self.target, self.report = folder, source, target, report

    def copy(self, folder: Path) -> Road:
        source, target = folder / "legacy.duckdb", folder / "v3.db"
        shutil.copy(self.source, source)
        shutil.copy(self.target, target)
        shutil.copytree(self.report.parent, folder / "v3.db.reports")
        return Road(folder, source, target, folder / "v3.db.reports" / self.report.name)

    def in_target(self, *statements: str) -> list[Any]:
        with closing(sqlite3.connect(self.target)) as connection:
            rows = [connection.execute(statement).fetchall() for statement in statements][-1]
            connection.commit()
        return rows

    def in_source(self, *statements: str) -> list[Any]:
        with duckdb.connect(str(self.source)) as connection:
            return [connection.execute(statement).fetchall() for statement in statements][-1]

    def verify(self, **more: Any) -> VerifyResult:
        return verify(str(self.source), str(self.target), **more)

    def verify_report(self) -> VerifyResult:
        return verify(str(self.source), str(self.target), report_file=self.report)

    def rewrite(self, change: Callable[[dict[str, Any]], None]) -> None:
        data = json.loads(self.report.read_text("utf-8"))
        change(data)
        self.report.write_text(json.dumps(data), "utf-8")


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Road:
    folder = tmp_path_factory.mktemp("moved")
    source, target = folder / "legacy.duckdb", folder / "v3.db"
    make_synth_v2(source, sessions=12, seed=9, dress="mixed", traps="all")
    result = migrate(str(source), str(target), TransferOptions())
    assert result.path is not None
    return Road(folder, source, target, result.path)


@pytest.fixture
def road(moved: Road, tmp_path: Path) -> Road:
    return moved.copy(tmp_path)


def codes(result: VerifyResult) -> set[str]:
    return {line.code for line in result.report.errors}


def notes(report: Report) -> dict[tuple[str, str | None], int]:
    return {(fact.code, fact.table): fact.count for fact in report.source_facts}


# --- what the ledger names ---------------------------------------------------------------------------------------


def test_a_whole_target_has_no_findings_and_the_report_keeps_its_contract(road: Road) -> None:
    result = road.verify()
    report = result.report
    assert (report.kind, report.status, report.errors) == ("verify", "completed", [])
    assert report.verification.status == "passed"
    assert report.verification.checked_sessions == report.total_sessions == 12
    assert result.path is not None
    assert result.path.parent == road.folder / "v3.db.reports"
    assert check_file(result.path) == []


def test_verifying_changes_neither_store(road: Road) -> None:
    before = road.source.read_bytes(), road.target.read_bytes()
    road.verify()
    road.verify_report()
    assert (road.source.read_bytes(), road.target.read_bytes()) == before
    assert sorted(path.name for path in road.folder.iterdir()) == ["legacy.duckdb", "v3.db", "v3.db.reports"]


def test_a_change_in_the_target_is_told_as_such_and_with_its_place(road: Road) -> None:
    row, session = road.in_target("SELECT id, session_id FROM messages LIMIT 1")[0]
    road.in_target(f"UPDATE messages SET content = content || ' ' WHERE id = {row}")
    result = road.verify()
    assert [(line.code, line.session_id) for line in result.report.errors] == [("changed_in_target", session)]
    (difference,) = result.report.verification.differences
    assert (difference.table, difference.row, difference.column) == ("messages", str(row), "content")
    assert "changed in the target since the move" in difference.message
    assert result.report.failed_sessions == 1
    assert result.path is not None
    assert check_file(result.path) == []


def test_rows_that_the_application_added_to_a_moved_session_are_told_as_changed_since(road: Road) -> None:
    session = road.in_target("SELECT session_id FROM messages LIMIT 1")[0][0]
    road.in_target(f"INSERT INTO messages (session_id, message_type, content) VALUES ('{session}', 'user', 'one more')")
    result = road.verify()
    assert codes(result) == {"changed_in_target"}
    assert all("since the move" in each.message for each in result.report.verification.differences)


CHANGES = (
    "INSERT INTO messages (session_id, message_type, content) VALUES ('{0}', 'user', 'one more')",
    "DELETE FROM messages WHERE session_id = '{0}'",
    "DELETE FROM event_rewards WHERE session_id = '{0}'",
    "UPDATE events SET session_id = 'another' WHERE session_id = '{0}'",
)


def test_a_report_is_not_blamed_for_what_the_application_did_since(road: Road) -> None:
    sessions = [row[0] for row in road.in_target(f"SELECT DISTINCT session_id FROM event_rewards LIMIT {len(CHANGES)}")]
    road.in_target(*(change.format(session) for change, session in zip(CHANGES, sessions, strict=True)))
    result = road.verify_report()
    told = [(line.code, line.session_id) for line in result.report.errors]
    assert sorted(told) == sorted(("changed_in_target", session) for session in sessions)
    assert result.report.failed_sessions == len(CHANGES)


def test_a_report_that_overstates_is_found_out_beside_what_the_application_did(road: Road) -> None:
    session = road.in_target("SELECT session_id FROM messages LIMIT 1")[0][0]
    road.in_target(f"INSERT INTO messages (session_id, message_type, content) VALUES ('{session}', 'user', 'one more')")
    data = json.loads(road.report.read_text("utf-8"))
    # what it would have to say if the row of the application were the run's
    for count in ("read", "written"):
        data["tables"]["messages"][count] += 1
    road.report.write_text(json.dumps(data), "utf-8")
    assert codes(road.verify_report()) == {"changed_in_target", "claim_read", "claim_written"}


def test_what_differs_although_nothing_changed_since_is_told_apart(road: Road) -> None:
    """As a fault of the converter would: the target is what the ledger says was written, and wrong."""
    row, session = road.in_target("SELECT id, session_id FROM events WHERE embedding IS NULL LIMIT 1")[0]
    # no digest covers a column that a move does not fill
    road.in_target(f"UPDATE events SET embedding = 1 WHERE id = {row}")
    result = road.verify()
    assert [(line.code, line.session_id) for line in result.report.errors] == [("differs_from_source", session)]


def test_a_session_that_changed_in_the_source_is_told_as_such(road: Road) -> None:
    session = road.in_source(
        "UPDATE messages SET message_time = coalesce(message_time, 0) + 1 WHERE id = (SELECT min(id) FROM messages)",
        "SELECT session_id FROM messages ORDER BY id LIMIT 1",
    )[0][0]
    result = road.verify()
    assert ("changed_in_source", session) in {(line.code, line.session_id) for line in result.report.errors}
    assert "changed_in_target" not in codes(result)


def test_a_session_that_the_source_no_longer_has_is_told(road: Road) -> None:
    session = road.in_source("SELECT session_id FROM session_traces ORDER BY rowid LIMIT 1")[0][0]
    where = f"WHERE session_id = '{session}'"
    road.in_source(*(f"DELETE FROM {t} {where}" for t in ("messages", "events", "session_timesteps", "session_traces")))
    result = road.verify()
    assert [(line.code, line.session_id) for line in result.report.errors] == [("gone_from_source", session)]
    assert result.report.verification.status == "passed"


def test_a_source_that_the_target_was_not_filled_from_is_told(tmp_path: Path) -> None:
    source, other, target = tmp_path / "old.duckdb", tmp_path / "other.duckdb", tmp_path / "new.db"
    make_synth_v2(source, sessions=2)
    make_synth_v2(other, sessions=2, seed=9)
    migrate(str(source), str(target), TransferOptions(), verify=False)
    (told,) = verify(str(other), str(target)).report.assumptions
    assert f"filled from duckdb://{source}, and not from duckdb://{other}" in told
    assert verify(str(source), str(target)).report.assumptions == []


def test_sessions_that_were_not_moved_yet_are_counted_and_are_no_finding(tmp_path: Path) -> None:
    source, target = tmp_path / "legacy.duckdb", tmp_path / "v3.db"
    make_synth_v2(source, sessions=6)
    with duckdb.connect(str(source), read_only=True) as db:
        ids = [row[0] for row in db.execute("SELECT session_id FROM session_traces").fetchall()]
    migrate(str(source), str(target), TransferOptions(only=(ids[0], ids[3])), verify=False)
    result = verify(str(source), str(target))
    assert result.report.errors == []
    assert notes(result.report)["not_moved", "session_traces"] == 4
    assert result.report.total_sessions == 2


def test_sessions_of_the_new_program_are_counted_and_are_no_finding(road: Road) -> None:
    road.in_target(
        "INSERT INTO session_traces (session_id, created_at, num_timesteps, num_events, num_messages) "
        "VALUES ('new', '2026-01-01T00:00:00.000000+00:00', 0, 0, 1)",
        "INSERT INTO messages (session_id, message_type, content) VALUES ('new', 'user', 'hello')",
        "INSERT INTO systems (system_id, name) VALUES ('new', 'of the new program')",
    )
    result = road.verify()
    assert result.report.errors == []
    assert notes(result.report) == {("native_session", "session_traces"): 1, ("native_rows", "messages"): 1}


NATIVE = (
    "INSERT INTO session_traces (session_id, created_at, num_timesteps, num_events, num_messages) "
    "VALUES (?, '2026-01-01T00:00:00.000000+00:00', 0, 0, 1)"
)
NATIVE_MESSAGE = "INSERT INTO messages (session_id, message_type, content) VALUES (?, 'user', 'hello')"


def test_a_session_that_the_ledger_has_forgotten_is_a_finding_and_no_native_one(road: Road) -> None:
    one, other = [row[0] for row in road.in_target("SELECT session_id FROM session_traces ORDER BY rowid LIMIT 2")]
    for session in (one, other):
        change(road.target, "DELETE FROM sessionlift_units WHERE session_id = ?", session)
        change(road.target, "DELETE FROM sessionlift_complement WHERE session_id = ?", session)
    change(road.target, "UPDATE messages SET content = 'changed' WHERE session_id = ?", one)
    report = road.verify().report
    found = {(line.code, line.session_id) for line in report.errors}
    assert found == {("not_in_ledger", one), ("not_in_ledger", other)}
    assert notes(report) == {}
    assert report.failed_sessions == 2
    (chosen,) = road.verify(only=[one]).report.errors
    assert (chosen.code, chosen.session_id) == ("not_in_ledger", one)


def test_what_the_ledger_keeps_of_a_session_that_it_does_not_name_is_a_finding(partly: Road) -> None:
    ((session,),) = partly.in_target("SELECT session_id FROM sessionlift_quarantine")
    change(partly.target, "DELETE FROM sessionlift_units WHERE session_id = ?", session)
    for table in TARGET_TABLES:
        change(partly.target, f"DELETE FROM {table} WHERE session_id = ?", session)
    found = {(line.code, line.session_id) for line in partly.verify().report.errors}
    assert found == {("complement_unknown", session), ("quarantine_unknown", session)}


def test_a_session_of_the_application_under_an_id_of_the_source_is_told_as_its_own(tmp_path: Path) -> None:
    """Before the source's is moved it cannot be told from a lost one; then the target has refused the source's."""
    source, target = tmp_path / "legacy.duckdb", tmp_path / "v3.db"
    make_synth_v2(source, sessions=4)
    with duckdb.connect(str(source), read_only=True) as db:
        first, second, *_ = [row[0] for row in db.execute("SELECT session_id FROM session_traces").fetchall()]
    migrate(str(source), str(target), TransferOptions(only=(first,)), verify=False)
    change(target, NATIVE, second)
    change(target, NATIVE_MESSAGE, second)
    (line,) = verify(str(source), str(target)).report.errors
    assert (line.code, line.session_id) == ("not_in_ledger", second)
    assert "or the application has a session of its own under this id" in line.error
    rest = migrate(str(source), str(target), TransferOptions())
    assert {(line.code, line.session_id) for line in rest.report.errors} == {("target_refused", second)}
    whole = verify(str(source), str(target)).report
    for found in (whole, verify(None, None, report_file=rest.path).report):
        assert (found.errors, found.verification.differences) == ([], [])
        assert notes(found)["own_session", "session_traces"] == 1
    told = notes(whole)
    assert (told["native_session", "session_traces"], told["native_rows", "messages"]) == (1, 1)
    change(target, "DELETE FROM session_traces WHERE session_id = ?", second)
    (stray,) = verify(str(source), str(target)).report.errors
    assert (stray.code, stray.session_id) == ("rows_of_quarantined", second)


def test_rows_of_a_session_in_quarantine_are_told(tmp_path: Path) -> None:
    source, target = tmp_path / "legacy.duckdb", tmp_path / "v3.db"
    make_synth_v2(source, sessions=4)
    with duckdb.connect(str(source)) as db:
        db.execute("UPDATE session_traces SET created_at = 'infinity' WHERE rowid = 1")
        bad = db.execute("SELECT session_id FROM session_traces WHERE created_at = 'infinity'").fetchall()[0][0]
    result = migrate(str(source), str(target), TransferOptions())
    assert result.report.failed_sessions == 1
    assert verify(None, None, report_file=result.path).report.errors == []
    whole = verify(str(source), str(target)).report
    assert (whole.errors, whole.verification.differences) == ([], [])
    assert notes(whole)["in_quarantine", "session_traces"] == 1
    copy = tmp_path / "copy.db"
    shutil.copy(target, copy)
    for alter in (
        "UPDATE sessionlift_quarantine SET row = '{}' WHERE table_name = 'messages'",
        "UPDATE sessionlift_quarantine SET row = replace(row, 'infinity', '2020-01-01')",
        "DELETE FROM sessionlift_quarantine WHERE table_name = 'events'",
        "INSERT INTO sessionlift_quarantine (run_id, unit, session_id, table_name, row_id, code, reason, row) "
        "SELECT run_id, unit, session_id, table_name, '999999', code, reason, row FROM sessionlift_quarantine "
        "WHERE table_name = 'session_timesteps' LIMIT 1",
    ):
        change(copy, alter)
    differences = verify(str(source), str(copy)).report.verification.differences
    assert {each.table for each in differences} == {"session_traces", "session_timesteps", "events", "messages"}
    assert [each.row for each in differences if each.table == "session_timesteps"] == ["999999"]
    with closing(sqlite3.connect(target)) as db3:
        db3.execute("INSERT INTO messages (session_id, message_type, content) VALUES (?, 'user', 'x')", (bad,))
        db3.commit()
    found = verify(str(source), str(target)).report.errors
    assert [(line.code, line.session_id) for line in found] == [("rows_of_quarantined", bad)]


QUARANTINED = (
    "INSERT INTO sessionlift_quarantine (run_id, unit, session_id, table_name, row_id, code, reason, row) "
    "SELECT run_id, 'session', session_id, ?, ?, ?, 'x', ? FROM sessionlift_units WHERE session_id = ?"
)
TARGET_TABLES = ("event_rewards", "outcome_rewards", "messages", "events", "session_timesteps", "session_traces")


def put_aside(road: Road, session: str, code: str, *tables: str) -> None:
    """Put a session's rows of ``tables`` into quarantine, as the converter would."""
    with duckdb.connect(str(road.source), read_only=True) as db:
        for table in tables:
            kinds = db.execute(f"DESCRIBE {table}").fetchall()
            cells = ", ".join(
                f'"{name}"' + ("" if kind in ("INTEGER", "BIGINT") and name != "id" else "::VARCHAR")
                for name, kind, *_ in kinds
            )
            for row in db.execute(f"SELECT {cells} FROM {table} WHERE session_id = ?", [session]).fetchall():
                whole = dict(zip([kind[0] for kind in kinds], row, strict=True))
                key = str(whole.get("id", whole["session_id"]))
                change(road.target, QUARANTINED, table, key, code, json.dumps(whole), session)


def as_written(road: Road, session: str, state: str) -> None:
    """Have the ledger say that this is how the session was moved."""
    reader = open_reader(parse_store_url(str(road.target)))
    digest = target_digests(reader, [session])[session]
    reader.close()
    told = "UPDATE sessionlift_units SET target_digest = ?, state = ? WHERE session_id = ?"
    change(road.target, told, digest, state, session)


def test_an_event_that_could_have_been_moved_must_not_be_in_quarantine(road: Road) -> None:
    ((session,),) = query(road.target, "SELECT session_id FROM events WHERE event_type = 'cais' LIMIT 1")
    put_aside(road, session, "event_type_unknown", "events")
    for table in ("event_rewards", "events"):
        change(road.target, f"DELETE FROM {table} WHERE session_id = ?", session)
    as_written(road, session, "partial")
    report = road.verify().report
    assert {(line.code, line.session_id) for line in report.errors} == {("differs_from_source", session)}
    assert any("is mapped to 'cais'" in each.message for each in report.verification.differences)


NO_REASON = {
    "metadata_unreadable": "though its metadata can be read",
    "time_out_of_range": "though the target can hold its time",
    "event_type_unknown": "which keeps no whole session out",
    "made_up": "which keeps no whole session out",
}


def test_a_session_that_could_have_been_moved_must_not_be_in_quarantine(road: Road) -> None:
    ids = [row[0] for row in road.in_target("SELECT session_id FROM session_traces ORDER BY rowid LIMIT 5")]
    for session, code in zip(ids, [*NO_REASON, "target_refused"], strict=True):
        put_aside(road, session, code, "session_traces", "session_timesteps", "events", "messages")
        for table in TARGET_TABLES:
            change(road.target, f"DELETE FROM {table} WHERE session_id = ?", session)
        as_written(road, session, "quarantined")
    differences = road.verify().report.verification.differences
    # whether a target had a reason to refuse rows, nobody can tell later
    assert {each.session_id for each in differences} == set(ids[:-1])
    for session, why in zip(ids, NO_REASON.values(), strict=False):
        assert any(why in each.message for each in differences if each.session_id == session), why


def test_no_row_of_a_moved_session_but_events_is_in_quarantine(road: Road) -> None:
    cases = list(product(("session_traces", "session_timesteps", "messages"), ("target_refused", "event_type_unknown")))
    ids = [row[0] for row in road.in_target(f"SELECT DISTINCT session_id FROM messages LIMIT {len(cases)}")]
    for session, (table, code) in zip(ids, cases, strict=True):
        put_aside(road, session, code, table)
    report = road.verify().report
    for session, (table, code) in zip(ids, cases, strict=True):
        told = [each.message for each in report.verification.differences if each.session_id == session]
        assert any("though its session was moved" in each for each in told), (table, code)
    told_of = [(line.code, line.session_id) for line in report.errors]
    assert sorted(told_of) == sorted(("differs_from_source", session) for session in ids)


@pytest.fixture(scope="module")
def moved_in_part(tmp_path_factory: pytest.TempPathFactory) -> Road:
    folder = tmp_path_factory.mktemp("partly")
    source, target = folder / "legacy.duckdb", folder / "v3.db"
    make_synth_v2(source, sessions=3)
    with duckdb.connect(str(source)) as db:
        db.execute("UPDATE events SET event_type = 'other' WHERE id = (SELECT min(id) FROM events)")
    result = migrate(str(source), str(target), TransferOptions())
    assert result.path is not None
    return Road(folder, source, target, result.path)


@pytest.fixture
def partly(moved_in_part: Road, tmp_path: Path) -> Road:
    """One event of one session is in quarantine."""
    return moved_in_part.copy(tmp_path)


@pytest.mark.parametrize("unit", ["session", "catalog"])
def test_a_blob_in_place_of_a_table_in_quarantine_is_a_finding(partly: Road, unit: str) -> None:
    assert partly.in_target("SELECT unit FROM sessionlift_quarantine") == [("session",)]
    partly.in_target(f"UPDATE sessionlift_quarantine SET unit = '{unit}', table_name = CAST(table_name AS BLOB)")
    assert partly.verify().report.has_findings
    assert partly.verify_report().report.has_findings


@pytest.mark.parametrize("written", ["'{'", "'[1]'", "x'ff'", "7"])
@pytest.mark.parametrize("column", ["options", "summary"])
def test_a_ledger_that_someone_else_has_written_to_is_told_as_one(road: Road, column: str, written: str) -> None:
    road.in_target(f"UPDATE sessionlift_runs SET {column} = {written}")
    for check in (road.verify, road.verify_report):
        with pytest.raises(StoreCorruptError) as caught:
            check()
        assert caught.value.what == f"the ledger's sessionlift_runs.{column} is not what a run writes there"
        assert caught.value.exit_code == 4


NOBODYS = "INSERT INTO messages (session_id, message_type, content) VALUES ('nobody', 'user', '1')"
"""A row of no session."""


def moved_with(folder: Path, *statements: str) -> tuple[Path, Path]:
    """A store of two sessions, changed by ``statements``, and the target that it was moved into."""
    source, target = folder / "legacy.duckdb", folder / "v3.db"
    make_synth_v2(source, sessions=2)
    with duckdb.connect(str(source)) as db:
        for statement in statements:
            db.execute(statement)
    migrate(str(source), str(target), TransferOptions(), verify=False)
    return source, target


@pytest.mark.parametrize("unit", ["session", "catalog"])
def test_a_row_is_in_quarantine_once(tmp_path: Path, unit: str) -> None:
    other = "UPDATE events SET event_type = 'other' WHERE id = (SELECT min(id) FROM events)"
    source, target = moved_with(tmp_path, NOBODYS, other)
    change(
        target,
        "INSERT INTO sessionlift_quarantine (run_id, unit, session_id, table_name, row_id, code, reason, row) "
        "SELECT run_id, unit, session_id, table_name, row_id, code, reason, row FROM sessionlift_quarantine "
        "WHERE unit = ?",
        unit,
    )
    (found,) = verify(str(source), str(target)).report.verification.differences
    assert "more than once" in found.message


def test_rows_that_come_under_a_session_and_leave_it_are_in_quarantine_once(tmp_path: Path) -> None:
    source, target = tmp_path / "legacy.duckdb", tmp_path / "v3.db"
    make_synth_v2(source, sessions=2)
    session = "INSERT INTO session_traces (session_id, created_at) VALUES ('nobody', '2025-01-01')"
    gone = "DELETE FROM session_traces WHERE session_id = 'nobody'"
    # its rows are in quarantine with it, and stay there when it is lost
    unreadable = "INSERT INTO session_traces (session_id, created_at) VALUES ('nobody', 'infinity')"
    expected = [["catalog"], ["session"] * 2, ["catalog", "session", "session"], [], ["catalog"]]
    for change_made, units in zip((NOBODYS, unreadable, gone, session, gone), expected, strict=True):
        with duckdb.connect(str(source)) as db:
            db.execute(change_made)
        moved = migrate(str(source), str(target), TransferOptions())
        assert moved.report.verification.differences == [], change_made
        found = query(target, "SELECT unit FROM sessionlift_quarantine ORDER BY unit")
        assert [unit for (unit,) in found] == units, change_made


@pytest.mark.parametrize(("state", "other"), [("moved", "partial"), ("partial", "moved")])
def test_the_state_of_a_moved_session_says_whether_rows_are_in_quarantine(partly: Road, state: str, other: str) -> None:
    mine = f"unit = 'session' AND state = '{state}'"
    ((session,),) = query(partly.target, f"SELECT session_id FROM sessionlift_units WHERE {mine} LIMIT 1")
    change(partly.target, "UPDATE sessionlift_units SET state = ? WHERE session_id = ?", other, session)
    (found,) = partly.verify().report.verification.differences
    assert (found.session_id, found.column, found.expected, found.found) == (session, "state", state, other)


@pytest.mark.parametrize("column", ["read_counts", "written_counts"])
def test_the_counts_of_a_session_in_the_ledger_are_held_against_its_rows(partly: Road, column: str) -> None:
    units = query(partly.target, f"SELECT session_id, {column} FROM sessionlift_units WHERE unit = 'session'")
    other = json.dumps({**json.loads(units[1][1]), "events": 999})
    made = {session: text for (session, _), text in zip(units, ("{}", other, "no JSON"), strict=True)}
    for session, text in made.items():
        change(partly.target, f"UPDATE sessionlift_units SET {column} = ? WHERE session_id = ?", text, session)
    report = partly.verify().report
    assert {(each.table, each.column, each.session_id, each.found) for each in report.verification.differences} == {
        ("sessionlift_units", column, session, text) for session, text in made.items()
    }
    assert {line.code for line in report.errors} == {"differs_from_source"}


ODD_METADATA = (
    '[{"metadata_type": "k", "data": 1,}]',
    '[{"metadata_type": "k", "data": nan}]',
    '[{"metadata_type": "k", "data": [1,],}]',
    f'[{{"metadata_type": "k", "data": {"9" * 5_000}}}]',
    f'[{{"metadata_type": "k", "data": {"9" * 700}}}]',
    f'[{{"metadata_type": "k", "data": {"[" * 190}{"]" * 190}}}]',
    f'[{{"metadata_type": "k", "data": {"[" * 990}{"]" * 990}}}]',
    "[1,]",
    '{"a": 1,}',
)
ODD_TIMES = (
    "infinity", "-infinity", "0001-01-01", "0001-01-01 14:00:00", "9999-12-31 10:00:00", "9999-12-31 19:00:01",
    "10000-01-01", "0001-12-31 (BC)", "290001-01-01", None,
)  # fmt: skip
ODD_TYPES = ("lmcais", "cais ", "", "RUNTIME", "xEnvironment", "caıs", "runtime\0", "custom")


# one of each kind; in torture each with each
CLOCKS_AND_TYPES: list[Any] = [("UTC", {}), ("America/New_York", {"custom": "runtime"}), ("Pacific/Kiritimati", {})]
if TORTURE:
    CLOCKS_AND_TYPES = list(product([zone for zone, _ in CLOCKS_AND_TYPES], ({}, {"custom": "runtime"})))


@pytest.mark.torture
@pytest.mark.parametrize(("zone", "event_types"), CLOCKS_AND_TYPES)
def test_what_the_converter_put_aside_could_not_be_moved(
    tmp_path: Path, zone: str, event_types: dict[str, str]
) -> None:
    source, target = tmp_path / "legacy.duckdb", tmp_path / "v3.db"
    make_synth_v2(source, sessions=30, seed=4, dress="mixed", traps="all")
    with duckdb.connect(str(source)) as db:
        ids = [row[0] for row in db.execute("SELECT session_id FROM session_traces ORDER BY rowid").fetchall()]
        for session, metadata in zip(ids, ODD_METADATA, strict=False):
            db.execute("UPDATE session_traces SET metadata = ? WHERE session_id = ?", [metadata, session])
        for session, moment in zip(ids[len(ODD_METADATA) :], ODD_TIMES, strict=False):
            db.execute("UPDATE session_traces SET created_at = ?::TIMESTAMP WHERE session_id = ?", [moment, session])
        rest = ids[len(ODD_METADATA) + len(ODD_TIMES) :]
        events = "SELECT id FROM events WHERE list_contains(?, session_id) ORDER BY id LIMIT ?"
        for (event,), kind in zip(db.execute(events, [rest, len(ODD_TYPES)]).fetchall(), ODD_TYPES, strict=True):
            db.execute("UPDATE events SET event_type = ? WHERE id = ?", [kind, event])
    mapping = TypeMapping(message_types={}, event_types=event_types)
    result = migrate(str(source), str(target), TransferOptions(timezone=zone, timezone_given=True, mapping=mapping))
    aside = {code for (code,) in query(target, "SELECT DISTINCT code FROM sessionlift_quarantine")}
    assert aside >= {"event_type_unknown", "time_out_of_range", "metadata_unreadable"}
    assert result.report.verification.differences == []
    for report in (verify(str(source), str(target)).report, verify(None, None, report_file=result.path).report):
        assert (report.errors, report.verification.differences) == ([], [])


def test_each_unit_is_checked_with_the_options_of_the_run_that_moved_it(tmp_path: Path) -> None:
    """Two runs with different mappings; a verify needs no option of theirs."""
    source, target = tmp_path / "legacy.duckdb", tmp_path / "v3.db"
    make_synth_v2(source, sessions=6)
    with duckdb.connect(str(source), read_only=True) as db:
        ids = [row[0] for row in db.execute("SELECT session_id FROM session_traces ORDER BY rowid").fetchall()]
    mapped = TypeMapping(message_types={"observation": "tool_result"}, event_types={})
    migrate(str(source), str(target), TransferOptions(only=tuple(ids[:3]), mapping=mapped), verify=False)
    migrate(str(source), str(target), TransferOptions(), verify=False)
    result = verify(str(source), str(target))
    assert result.report.errors == []
    assert result.report.total_sessions == 6


@pytest.mark.parametrize("again", [False, True], ids=["only", "then all"])
def test_rows_of_no_session_that_a_run_of_chosen_sessions_put_aside_may_not_be_missing(
    tmp_path: Path, *, again: bool
) -> None:
    source, target = tmp_path / "legacy.duckdb", tmp_path / "v3.db"
    make_synth_v2(source, sessions=4)
    with duckdb.connect(str(source)) as db:
        one = db.execute("SELECT session_id FROM session_traces LIMIT 1").fetchall()[0][0]
        ghost = "SELECT max(id) + 1, 'ghost', 'user', '\"boo\"', TIMESTAMP '2025-01-01' FROM messages"
        db.execute(f"INSERT INTO messages (id, session_id, message_type, content, timestamp) {ghost}")
    result = migrate(str(source), str(target), TransferOptions(only=(one,)))
    assert result.report.tables["messages"].quarantined == 1
    if again:
        migrate(str(source), str(target), TransferOptions())
    road = Road(tmp_path, source, target, target)
    assert codes(road.verify()) == set()
    road.in_target("DELETE FROM sessionlift_quarantine WHERE code = 'orphan_row'")
    (difference,) = road.verify().report.verification.differences
    assert (difference.table, difference.session_id) == ("messages", "ghost")


def test_only_picks_sessions(road: Road) -> None:
    ids = [row[0] for row in road.in_target("SELECT session_id FROM session_traces LIMIT 3")]
    result = road.verify(only=ids)
    assert result.report.verification.checked_sessions == 3
    assert result.report.options["only"] == ids


def test_a_changed_catalog_is_told(road: Road) -> None:
    road.in_target("UPDATE systems SET description = 'changed' WHERE rowid = 1")
    result = road.verify()
    assert codes(result) == {"changed_in_target"}
    assert [(each.table, each.column) for each in result.report.verification.differences] == [
        ("systems", "description")
    ]


# --- what a report claims ----------------------------------------------------------------------------------------


def test_every_claim_of_an_honest_report_holds(road: Road) -> None:
    report = road.verify_report().report
    assert report.errors == []
    assert report.options["report"] == load(road.report).run_id


def test_the_stores_are_those_that_the_report_names(moved: Road) -> None:
    assert verify(None, None, report_file=moved.report).report.errors == []


@pytest.mark.parametrize("which", ["source_digest", "target_digest"])
def test_a_digest_that_is_not_that_of_the_rows_is_told(road: Road, which: str) -> None:
    from sessionlift.reports import file_sha256

    digests = road.report.with_name(load(road.report).digests.path)  # type: ignore[union-attr]
    lines = [json.loads(line) for line in digests.read_text("utf-8").splitlines()]
    line = next(line for line in lines if line["unit"] == "session")
    line[which] = "0" * 64
    digests.write_text("".join(json.dumps(each) + "\n" for each in lines), "utf-8")
    # a forger would mend the file's own digest as well
    road.rewrite(lambda data: data["digests"].update(sha256=file_sha256(digests)))
    code = "changed_in_source" if which == "source_digest" else "changed_in_target"
    found = road.verify_report().report.errors
    assert [(each.code, each.session_id) for each in found] == [(code, line["session_id"])]


def test_a_digests_file_that_is_not_the_reports_is_told_and_the_rest_is_checked(road: Road) -> None:
    digests = road.report.with_name(load(road.report).digests.path)  # type: ignore[union-attr]
    digests.write_text(digests.read_text("utf-8").replace("a", "b", 1), "utf-8")
    result = road.verify_report()
    assert codes(result) == {"report_contract", "digests_file"}
    assert result.report.verification.checked_sessions == 12


def test_a_count_that_is_not_the_stores_is_told(road: Road) -> None:
    counts = {"read": "messages", "written": "events", "quarantined": "session_timesteps", "derived": "event_rewards"}

    def lie(data: dict[str, Any]) -> None:
        for name, table in counts.items():
            data["tables"][table][name] += 1

    road.rewrite(lie)
    told = {(line.code, line.table) for line in road.verify_report().report.errors}
    assert told >= {(f"claim_{name}", table) for name, table in counts.items()}


def test_a_table_that_the_report_passes_over_is_told(road: Road) -> None:
    road.rewrite(lambda data: data["tables"].pop("events"))
    assert {"claim_read", "claim_written"} <= codes(road.verify_report())


def test_a_loss_that_the_report_passes_over_or_makes_smaller_is_told(road: Road) -> None:
    losses = json.loads(road.report.read_text("utf-8"))["losses"]
    assert {"message_type_mapped", "json_null_mapped", "metadata_reshaped"} <= {loss["code"] for loss in losses}
    # every second one is left out, and the others are one less than they were
    fewer = [{**loss, "count": loss["count"] - 1} for loss in losses[1::2] if loss["count"] > 1]
    road.rewrite(lambda data: data.update(losses=fewer))
    told = [line.error for line in road.verify_report().report.errors if line.code == "claim_losses"]
    assert len(told) == len(losses)
    for loss in losses:
        place = f"values of {loss['table']}.{loss['column'] or ''} with the loss {loss['code']};"
        assert [f"are {loss['count']:,}" in each for each in told if place in each] == [True], place


def test_a_total_that_is_not_the_stores_is_told(road: Road) -> None:
    road.rewrite(lambda data: data.update({name: data[name] + 1 for name in ("migrated_sessions", "total_sessions")}))
    assert codes(road.verify_report()) >= {"claim_sessions", "claim_total"}


def test_sessions_that_a_later_run_moved_again_are_told_and_not_blamed_on_the_first(road: Road) -> None:
    road.in_source("UPDATE messages SET message_time = 77 WHERE id = (SELECT min(id) FROM messages)")
    later = migrate(str(road.source), str(road.target), TransferOptions(same_source=True))
    assert later.report.migrated_sessions == 1
    report = road.verify_report().report
    assert report.errors == []
    assert notes(report) == {("moved_again", "session_traces"): 1}
    assert any("moved some of its sessions again" in each for each in report.verification.cannot_see)
    assert verify(None, None, report_file=later.path).report.errors == []


def test_rows_of_no_session_that_a_later_run_moved_again_are_not_blamed_on_the_first(road: Road) -> None:
    road.in_source("INSERT INTO systems (id, name) VALUES ('new', 'of the old program')")
    later = migrate(str(road.source), str(road.target), TransferOptions(same_source=True))
    assert later.report.migrated_sessions == 0
    report = road.verify_report().report
    assert report.errors == []
    assert any("rows of no session" in each for each in report.verification.cannot_see)
    assert verify(None, None, report_file=later.path).report.errors == []
    # what the catalog has no part in is held as exactly as before
    road.rewrite(lambda data: data["tables"]["session_traces"].update(read=11, written=11))
    assert codes(road.verify_report()) >= {"claim_read", "claim_written"}


def test_counts_of_sessions_rows_stay_exact_though_the_catalog_was_moved_again(road: Road) -> None:
    road.in_source("INSERT INTO systems (id, name) VALUES ('new', 'of the old program')")
    migrate(str(road.source), str(road.target), TransferOptions(same_source=True), verify=False)
    data = json.loads(road.report.read_text("utf-8"))
    for name in ("read", "written"):
        data["tables"]["events"][name] += 1000
    data["tables"]["messages"]["read"] += 1
    road.report.write_text(json.dumps(data), "utf-8")
    told = {(line.code, line.table) for line in road.verify_report().report.errors}
    assert told >= {("claim_read", "events"), ("claim_read", "messages")}


def test_a_forged_line_of_the_catalog_is_compared_though_a_rollback_came_after(road: Road) -> None:
    ids = [session_id for (session_id,) in query(road.target, "SELECT session_id FROM session_traces")]
    rollback(str(road.target), RollbackOptions(sessions=(ids[0],), keep_target=True, to=str(road.source)))
    change(road.target, "UPDATE systems SET name = 'forged' WHERE rowid = 1")
    data = json.loads(road.report.read_text("utf-8"))
    digests = road.report.with_name(data["digests"]["path"])
    lines = [json.loads(line) for line in digests.read_text("utf-8").splitlines()]
    for line in lines:
        if line["unit"] == "catalog":
            line["source_digest"] = "0" * 64
    digests.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines), "utf-8")
    data["digests"]["sha256"] = hashlib.sha256(digests.read_bytes()).hexdigest()
    road.report.write_text(json.dumps(data), "utf-8")
    report = road.verify_report().report
    assert report.verification.status == "failed"
    assert "changed_in_target" in {line.code for line in report.errors}


def test_the_report_of_a_run_that_was_refused_claims_nothing(road: Road) -> None:
    with pytest.raises(UsageError, match="--timezone") as refused:
        migrate(str(road.source), str(road.target), TransferOptions(timezone="Asia/Tokyo", same_source=True))
    with pytest.raises(UsageError, match="claims nothing"):
        verify(None, None, report_file=Path(str(refused.value.fields["report"])))


def test_a_total_is_right_though_the_old_program_has_deleted_a_session_since(road: Road) -> None:
    for table in ("messages", "events", "session_timesteps", "session_traces"):
        road.in_source(f"DELETE FROM {table} WHERE session_id = (SELECT max(session_id) FROM {table})")
    assert "claim_total" not in codes(road.verify_report())


def test_what_is_impossible_is_told_though_a_later_run_moved_sessions_again(moved_twice: Road) -> None:
    road = moved_twice
    assert road.verify_report().report.errors == []

    def overstate(data: dict[str, Any]) -> None:
        data["tables"]["messages"].update(written=10**9)
        data["tables"]["events"].update(read=1, written=1)
        data["losses"][0].update(count=10**9)
        data.update(migrated_sessions=13)

    road.rewrite(overstate)
    told = {(line.code, line.table) for line in road.verify_report().report.errors}
    table = json.loads(road.report.read_text("utf-8"))["losses"][0]["table"]
    assert told >= {("claim_written", "messages"), ("claim_read", "events"), ("claim_losses", table)}
    assert "claim_sessions" in {code for code, _ in told}


@pytest.fixture
def moved_twice(road: Road) -> Road:
    """The report is that of the first run; the second moved one session again, one that is new, and no catalog."""
    road.in_source(
        "UPDATE messages SET message_time = 77 WHERE id = (SELECT min(id) FROM messages)",
        "INSERT INTO session_traces SELECT 'new', * EXCLUDE (session_id) FROM session_traces LIMIT 1",
    )
    second = migrate(str(road.source), str(road.target), TransferOptions(same_source=True))
    assert second.report.migrated_sessions == 2
    assert verify(None, None, report_file=second.path).report.errors == []
    return road


def test_a_report_of_a_run_that_the_ledger_does_not_know_is_told(road: Road) -> None:
    road.rewrite(lambda data: data.update(run_id="migrate-20250101T000000Z-00000000"))
    report = road.verify_report().report
    assert {line.code for line in report.errors} == {"claim_run"}
    assert report.verification.checked_sessions == 12
    assert ("moved_again", "session_traces") not in notes(report)


def test_a_mistyped_session_is_refused(road: Road) -> None:
    with pytest.raises(UsageError, match="no-such-session") as caught:
        road.verify(only=["no-such-session"])
    assert caught.value.exit_code == 2


def test_a_ledger_that_has_lost_its_catalog_is_told(road: Road, tmp_path: Path) -> None:
    lost = "DELETE FROM sessionlift_units WHERE unit = 'catalog'"
    road.in_target(lost, "UPDATE systems SET name = 'forged'")
    assert codes(road.verify()) == {"catalog_not_in_ledger"}
    session = road.in_target("SELECT session_id FROM session_traces LIMIT 1")[0][0]
    assert codes(road.verify(only=[session])) == set()
    # a source that has no such rows leaves nothing to compare
    source, target = tmp_path / "plain.duckdb", tmp_path / "plain.db"
    make_synth_v2(source, sessions=2)
    with duckdb.connect(str(source)) as db:
        for table in ("experimental_systems", "system_versions", "experiments", "systems"):
            db.execute(f"DELETE FROM {table}")
    migrate(str(source), str(target), TransferOptions(), verify=False)
    change(target, lost)
    assert verify(str(source), str(target)).report.errors == []


def test_a_catalog_whose_run_the_ledger_does_not_know_is_told(road: Road) -> None:
    """As a session's is; its rows are compared all the same, since no option of a run says what they become."""
    road.in_target("UPDATE sessionlift_units SET run_id = 'gone' WHERE unit = 'catalog'")
    (found,) = road.verify().report.errors
    assert (found.code, found.session_id) == ("run_unknown", None)
    assert "'gone'" in found.error
    road.in_target("UPDATE systems SET name = 'forged'")
    assert codes(road.verify()) == {"run_unknown", "changed_in_target"}


@pytest.mark.parametrize("code", ["orphan_row ", "event_type_unknown"])
def test_a_row_of_no_session_is_in_quarantine_as_such_a_row(tmp_path: Path, code: str) -> None:
    source, target = moved_with(tmp_path, NOBODYS)
    assert verify(str(source), str(target)).report.verification.differences == []
    change(target, "UPDATE sessionlift_quarantine SET code = ? WHERE unit = 'catalog'", code)
    (found,) = verify(str(source), str(target)).report.verification.differences
    assert (found.table, found.session_id) == ("messages", "nobody")
    assert repr(code) in found.message


# --- what cannot be verified -------------------------------------------------------------------------------------


def test_a_dry_run_left_nothing_to_verify(road: Road, tmp_path: Path) -> None:
    dry = migrate(str(road.source), str(tmp_path / "dry.db"), TransferOptions(), dry_run=True)
    with pytest.raises(UsageError, match="dry run"):
        verify(None, None, report_file=dry.path)


def test_the_report_of_a_verify_claims_nothing(road: Road) -> None:
    with pytest.raises(UsageError, match="claims nothing"):
        verify(None, None, report_file=road.verify().path)


def test_stores_have_to_be_named(road: Road) -> None:
    with pytest.raises(UsageError, match="a source and a target"):
        verify(str(road.source), None)


def test_a_target_without_a_ledger_is_refused_and_the_report_says_so(road: Road) -> None:
    tables = road.in_target("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'sessionlift%'")
    road.in_target(*(f"DROP TABLE {row[0]}" for row in tables))
    with pytest.raises(WrongGenerationError, match="no ledger") as caught:
        road.verify()
    assert caught.value.exit_code == 4
    assert load(caught.value.fields["report"]).status == "failed"


def test_a_missing_target_and_a_text_file_are_refused(road: Road, tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError):
        verify(str(road.source), str(tmp_path / "nothing.db"), out=tmp_path)
    (tmp_path / "text.db").write_text("just text\n" * 100)
    with pytest.raises((StoreFormatError, WrongGenerationError)):
        verify(str(road.source), str(tmp_path / "text.db"), out=tmp_path)


# --- odd data ----------------------------------------------------------------------------------------------------


def deep(depth: int) -> str:
    return '{"x": ' + "[" * depth + "]" * depth + ', "turn_number": 7}'


def test_what_only_the_sources_engine_takes_for_json_does_not_end_the_check(tmp_path: Path) -> None:
    source, target = tmp_path / "legacy.duckdb", tmp_path / "v3.db"
    make_synth_v2(source, sessions=6)
    odd = ('{"turn_number": 5,}', '{"turn_number": nan}', '{"turn_number": ' + "9" * 5_000 + "}", deep(900))
    with duckdb.connect(str(source)) as db:
        for place, text in enumerate(odd):
            db.execute(
                "UPDATE session_timesteps SET step_metadata = ? "
                "WHERE id = (SELECT id FROM session_timesteps ORDER BY id LIMIT 1 OFFSET ?)",
                [text, place],
            )
        db.execute(
            "UPDATE session_traces SET metadata = ? WHERE rowid = 1",
            ['[{"metadata_type": "k", "data":  1}, {"metadata_type": "l", "data": 2 }]'],
        )
    result = migrate(str(source), str(target), TransferOptions())
    assert result.report.verification.differences == []
    assert verify(str(source), str(target)).report.errors == []


def test_a_damaged_complement_is_a_finding(road: Road) -> None:
    road.in_target("UPDATE sessionlift_complement SET data = substr(data, 1, 9) WHERE unit = 'catalog'")
    assert "complement_damaged" in codes(road.verify())


def test_text_that_is_no_utf8_is_named_by_its_place(road: Road) -> None:
    places = [("messages", "content"), ("events", "metadata"), ("systems", "name"), ("session_traces", "metadata")]
    for table, column in places:
        road.in_target(
            f"UPDATE {table} SET {column} = CAST(x'61ff62' AS TEXT) WHERE rowid = (SELECT max(rowid) FROM {table})"
        )
    report = road.verify().report
    assert sorted((each.table, each.column) for each in report.verification.differences) == sorted(places)
    assert all(each.row is not None for each in report.verification.differences)
    assert report.verification.checked_sessions == 12


def test_what_cannot_be_compared_is_told_of_its_session(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    from sessionlift.runs.verifier import SynthVerifier, open_reader
    from sessionlift.stores import DuckdbStore, parse_store_url

    ids = [str(row[0]) for row in road.in_target("SELECT session_id FROM session_traces")]
    bad, compare = ids[5], SynthVerifier._check

    def fail(self: SynthVerifier, batch: Any) -> None:
        compare(self, batch)
        if bad in batch.ids:
            raise ZeroDivisionError("odd")

    monkeypatch.setattr(SynthVerifier, "_check", fail)
    reader = open_reader(parse_store_url(str(road.target)))
    with DuckdbStore(parse_store_url(str(road.source)), threads=1) as source:
        verifier = SynthVerifier(source.connection, reader, zone="UTC", message_types={}, event_types={})
        verifier.check(ids)
    reader.close()
    (difference,) = verifier.result.differences
    assert difference.message == f"session {bad} could not be compared: ZeroDivisionError: odd"
    assert verifier.result.sessions == 12


def test_rows_larger_than_the_memory_limit_are_compared(tmp_path: Path) -> None:
    source, target = tmp_path / "legacy.duckdb", tmp_path / "v3.db"
    make_synth_v2(source, sessions=3)
    with duckdb.connect(str(source)) as db:
        db.execute(
            "UPDATE messages SET content = to_json(repeat('x', 45000000)) WHERE id = (SELECT min(id) FROM messages)"
        )
    migrate(str(source), str(target), TransferOptions(), verify=False)
    result = verify(str(source), str(target))
    assert result.report.errors == []
    assert result.report.verification.checked_sessions == 3


def test_the_rules_at_the_ends_of_what_can_be_held(tmp_path: Path) -> None:
    """Cents beyond any double, bound times that are numbers of any spelling, times that have no UTC."""
    source, target = tmp_path / "legacy.duckdb", tmp_path / "v3.db"
    make_synth_v2(source, sessions=6, dress="mid")
    with duckdb.connect(str(source)) as db:
        (dress,) = db.execute("SELECT message_type FROM messages LIMIT 1").fetchall()[0]
        assert dress == "SessionEventMessage"
        ids = [row[0] for row in db.execute("SELECT id FROM messages ORDER BY id LIMIT 3").fetchall()]
        for key, number in zip(ids, ("-5", "1.7e9", "1700000000"), strict=True):
            content = f'{{"message_type": "user", "content": "x", "time_record": {{"event_time": {number}}}}}'
            db.execute("UPDATE messages SET content = ? WHERE id = ?", [content, key])
        events = [row[0] for row in db.execute("SELECT id FROM events ORDER BY id LIMIT 3").fetchall()]
        for key, cost in zip(events, (1.8e306, -1.7976931348623157e306, 1e308), strict=True):
            db.execute("UPDATE events SET cost = ? WHERE id = ?", [cost, key])
        db.execute("UPDATE events SET event_time = TIMESTAMP '290001-01-01' WHERE id = ?", [events[0]])
        db.execute("UPDATE events SET event_time = TIMESTAMP '20000-01-01' WHERE id = ?", [events[1]])
    result = migrate(str(source), str(target), TransferOptions(timezone="America/New_York", timezone_given=True))
    assert result.report.verification.differences == []
    assert verify(None, None, report_file=result.path).report.errors == []


def test_a_session_that_was_deleted_in_the_target_is_told_as_deleted(road: Road) -> None:
    ((one,),) = query(road.target, "SELECT session_id FROM session_traces ORDER BY rowid LIMIT 1")
    for table in ("outcome_rewards", "event_rewards", "messages", "events", "session_timesteps", "session_traces"):
        change(road.target, f"DELETE FROM {table} WHERE session_id = ?", one)
    (finding,) = [line for line in road.verify().report.errors if line.session_id == one]
    assert (finding.code, "was deleted in the target" in finding.error) == ("changed_in_target", True)
