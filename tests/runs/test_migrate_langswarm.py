"""LangSwarm's stores from end to end: every command over the real fixtures and over made-up stores."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.support.moved import change, query, snapshot

from sessionlift._demo import make_langswarm_dump, make_langswarm_enhanced, make_langswarm_v1
from sessionlift.errors import UsageError, WrongGenerationError
from sessionlift.reports import Report, check_file
from sessionlift.runs import MigrateResult, TransferOptions, VerifyResult, migrate, plan, status, verify

pytestmark = pytest.mark.slow

ROWS = {
    "sessions": "SELECT * FROM sessions ORDER BY session_id",
    "session_messages": (
        "SELECT session_id, message_id, role, content, timestamp, metadata, provider_message_id, token_count, "
        "finish_reason FROM session_messages ORDER BY session_id, id"
    ),
    "session_metrics": "SELECT * FROM session_metrics ORDER BY session_id",
}


def move(source: Path, target: Path, **options: Any) -> MigrateResult:
    return migrate(str(source), str(target), TransferOptions(**options))


def content(target: Path) -> dict[str, list[tuple[Any, ...]]]:
    return {table: query(target, sql) for table, sql in ROWS.items()}


def counts(report: Report) -> dict[str, tuple[int, int, int, int, int]]:
    return {
        table: (each.read, each.written, each.quarantined, each.excluded, each.derived)
        for table, each in report.tables.items()
    }


def truths(path: Path) -> dict[str, dict[str, Any]]:
    """What the real V1 reader returns, by the key of the row."""
    return {line["session_id"]: line for line in map(json.loads, path.read_text("utf-8").splitlines())}


def assert_verifies(result: MigrateResult) -> None:
    """The run's own verification passed, and both forms of verify find nothing."""
    assert result.report.verification.status == "passed", result.report.verification.differences
    assert result.path is not None
    assert check_file(result.path) == []
    assert result.report.source is not None
    assert result.report.target is not None
    stores = result.report.source.url, result.report.target.url
    for again in (verify(*stores), verify(None, None, report_file=result.path)):
        assert again.report.errors == []
        assert again.report.verification.status == "passed"


# --- the real stores ---------------------------------------------------------------------------------------------


@pytest.fixture
def fixture(real_stores: Path, tmp_path: Path) -> Any:
    """Copies a fixture, with the truth beside it."""

    def copy(name: str) -> Path:
        for each in (real_stores / "langswarm").glob(f"{name}*"):
            shutil.copy(each, tmp_path / each.name)
        path = tmp_path / name
        path.chmod(0o644)
        return path

    return copy


@pytest.mark.fixtures
def test_a_real_store_moves_whole_and_is_left_as_it_was(fixture: Any, tmp_path: Path) -> None:
    source = fixture("v1_small.db")
    before = source.read_bytes()
    result = move(source, tmp_path / "v2.db")
    assert not result.report.has_findings
    assert counts(result.report) == {
        "sessions": (20, 20, 0, 0, 0),
        "session_messages": (1091, 1091, 0, 0, 0),
        "session_metrics": (0, 0, 0, 0, 20),
    }
    assert_verifies(result)
    assert source.read_bytes() == before
    assert not list(tmp_path.glob("v1_small.db-*"))


@pytest.mark.fixtures
def test_every_row_of_a_corrupt_store_is_accounted_for(fixture: Any, tmp_path: Path) -> None:
    source, target = fixture("v1_corrupt.db"), tmp_path / "v2.db"
    result = move(source, target)
    assert result.report.has_findings
    assert counts(result.report)["sessions"] == (14, 4, 10, 0, 0)
    assert_verifies(result)
    kept = {row[0] for row in query(target, "SELECT session_id FROM sessions")}
    aside = {row[0] for row in query(target, "SELECT session_id FROM sessionlift_quarantine")}
    with closing(sqlite3.connect(source)) as db:
        every = {row[0] for row in db.execute("SELECT session_id FROM sessions")}
    assert kept | aside == every
    assert not kept & aside


@pytest.mark.fixtures
def test_what_can_be_read_of_a_broken_history_is_moved_when_that_is_asked_for(fixture: Any, tmp_path: Path) -> None:
    """Also when an earlier run has put the sessions into quarantine, and the source is the same since."""
    source = fixture("v1_corrupt.db")
    at_once = move(source, tmp_path / "once.db", salvage=True)
    assert counts(at_once.report)["history"] == (7, 0, 7, 0, 0)
    assert_verifies(at_once)
    assert move(source, tmp_path / "twice.db").report.failed_sessions == 10
    later = move(source, tmp_path / "twice.db", salvage=True)
    assert later.report.migrated_sessions == 7
    assert later.report.verification.status == "passed"
    assert content(tmp_path / "once.db") == content(tmp_path / "twice.db")
    # and it is left alone by a run that does not ask for it
    third = move(source, tmp_path / "twice.db")
    assert (third.report.migrated_sessions, third.report.failed_sessions) == (0, 3)
    assert content(tmp_path / "once.db") == content(tmp_path / "twice.db")
    assert verify(str(source), str(tmp_path / "twice.db")).report.errors == []


@pytest.mark.fixtures
def test_a_dump_and_an_enhanced_store_of_the_same_sessions_give_the_same_rows(fixture: Any, tmp_path: Path) -> None:
    results = {}
    for name in ("v1_mem.json", "v1_mem.db.enhanced"):
        results[name] = move(fixture(name), tmp_path / f"{name}.v2.db")
        assert not results[name].report.has_findings
        assert_verifies(results[name])
    assert content(tmp_path / "v1_mem.json.v2.db") == content(tmp_path / "v1_mem.db.enhanced.v2.db")
    assert counts(results["v1_mem.db.enhanced"].report)["memory"] == (350, 0, 0, 350, 0)


# --- made-up stores ----------------------------------------------------------------------------------------------

MAKERS = {"sqlite": make_langswarm_v1, "dump": make_langswarm_dump, "enhanced": make_langswarm_enhanced}


@pytest.mark.parametrize("dress", MAKERS)
@pytest.mark.parametrize(("zone", "salvage"), [("UTC", False), ("America/New_York", True)])
def test_every_trap_in_every_dress_is_moved_and_verified(dress: str, zone: str, salvage: bool, tmp_path: Path) -> None:
    source = tmp_path / f"legacy.{dress}"
    made = MAKERS[dress](source, sessions=75, seed=2, traps="all")
    result = move(source, tmp_path / "v2.db", timezone=zone, timezone_given=True, salvage=salvage)
    assert result.report.total_sessions == sum(1 for _ in made.made())
    assert_verifies(result)
    states: dict[str, str] = dict(
        query(tmp_path / "v2.db", "SELECT session_id, state FROM sessionlift_units WHERE unit = 'session'")
    )
    assert {key for key, state in states.items() if state == "moved"} == set(made.truth)
    assert {key for key, state in states.items() if state != "moved"} == set(made.unreadable)


def test_what_stands_between_the_messages_of_a_broken_history_is_judged_alike_by_both_programs(tmp_path: Path) -> None:
    """An entry of letters outside ASCII among it, which the ledger spells in its own way."""
    source, target = tmp_path / "legacy.db", tmp_path / "v2.db"
    make_langswarm_v1(source, sessions=2, seed=5, traps="none")
    with closing(sqlite3.connect(source)) as db, db:
        (messages,) = db.execute("SELECT sum(json_array_length(history, '$.messages')) FROM sessions").fetchone()
        for rowid, between in ((1, "},, {"), (2, "},\xa0\xe9, {")):
            sql = "UPDATE sessions SET history = replace(history, '}, {', ?) WHERE rowid = ?"
            db.execute(sql, (between, rowid))
    assert_verifies(move(source, target, salvage=True))
    assert query(target, "SELECT count(*) FROM session_messages") == [(messages,)]
    entries = query(target, "SELECT DISTINCT \"row\" FROM sessionlift_quarantine WHERE code = 'message_unreadable'")
    assert [json.loads(row)["entry"] for (row,) in entries] == ["\xa0\xe9"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "legacy.db"
    make_langswarm_v1(path, sessions=30, seed=3)
    return path


def test_a_plan_foresees_what_the_run_does(source: Path, tmp_path: Path) -> None:
    foreseen = plan(str(source), str(tmp_path / "v2.db"), TransferOptions())
    result = move(source, tmp_path / "v2.db")
    assert counts(foreseen) == counts(result.report)
    losses = [
        sorted((each.code, each.table, each.column, each.count) for each in report.losses)
        for report in (foreseen, result.report)
    ]
    assert losses[0] == losses[1]
    again = plan(str(source), str(tmp_path / "v2.db"), TransferOptions())
    assert again.skipped_sessions == 30


def test_a_dry_run_writes_nothing_but_its_report(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    result = migrate(str(source), str(tmp_path / "out" / "v2.db"), TransferOptions(), dry_run=True)
    assert result.report.verification.status == "passed"
    assert result.report.migrated_sessions == 30
    assert not (tmp_path / "out" / "v2.db").exists()


def test_a_dry_run_over_a_filled_target_says_what_it_does_not_look_at(source: Path, tmp_path: Path) -> None:
    move(source, tmp_path / "v2.db")
    result = migrate(str(source), str(tmp_path / "v2.db"), TransferOptions(), dry_run=True)
    assert any("a run leaves it alone" in each for each in result.report.assumptions)


def test_chosen_sessions_move_alone_and_the_rest_follows(source: Path, tmp_path: Path) -> None:
    whole = move(source, tmp_path / "whole.db")
    ids = [row[0] for row in query(tmp_path / "whole.db", "SELECT session_id FROM sessions ORDER BY rowid")]
    some = move(source, tmp_path / "v2.db", only=(ids[4], ids[7]))
    assert (some.report.total_sessions, some.report.migrated_sessions) == (2, 2)
    rest = verify(str(source), str(tmp_path / "v2.db"))
    assert [(fact.code, fact.count) for fact in rest.report.source_facts] == [("not_moved", 28)]
    assert move(source, tmp_path / "v2.db").report.migrated_sessions == 28
    assert content(tmp_path / "v2.db") == content(tmp_path / "whole.db")
    assert whole.report.migrated_sessions == 30
    with pytest.raises(UsageError, match="no session 'nobody'"):
        move(source, tmp_path / "v2.db", only=("nobody",))


def test_a_second_run_moves_what_is_new_or_changed(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "v2.db"
    move(source, target)
    change(source, "UPDATE sessions SET metadata = replace(metadata, 'active', 'archived') WHERE rowid = 5")
    change(source, "DELETE FROM sessions WHERE rowid = 6")
    again = move(source, target, same_source=True)
    assert (again.report.migrated_sessions, again.report.skipped_sessions) == (1, 28)
    assert again.report.verification.status == "passed"
    found = verify(str(source), str(target))
    assert {each.code for each in found.report.errors} == {"gone_from_source"}


def test_a_row_without_a_usable_key_is_told_as_no_session_s(source: Path, tmp_path: Path) -> None:
    """It goes with the catalog, whose rows are not those of the session with the empty id."""
    change(source, "UPDATE sessions SET session_id = NULL WHERE rowid = 1")
    change(source, "UPDATE sessions SET session_id = '' WHERE rowid = 2")
    found = move(source, tmp_path / "v2.db").report.errors
    assert [(line.session_id, line.row, line.code) for line in found] == [(None, "1", "session_id_unusable")]
    assert query(tmp_path / "v2.db", "SELECT count(*) FROM sessions WHERE session_id = ''") == [(1,)]


def test_the_status_of_a_target_counts_its_sessions(source: Path, tmp_path: Path) -> None:
    move(source, tmp_path / "v2.db")
    found = status(str(tmp_path / "v2.db"))
    assert found.sessions == {"moved": 30}


def test_a_session_that_lives_on_in_the_target_is_no_finding(source: Path, tmp_path: Path) -> None:
    """As during a rollout: the application has moved sessions and goes on with them."""
    target = tmp_path / "v2.db"
    result = move(source, target)
    session = query(target, "SELECT session_id FROM session_messages LIMIT 1")[0][0]
    change(
        target,
        "INSERT INTO session_messages (session_id, message_id, role, content, timestamp, metadata) "
        "VALUES (?, 'new', 'user', 'one more', '2030-01-01 00:00:00', NULL)",
        session,
    )
    change(target, "UPDATE sessions SET updated_at = '2030-01-01 00:00:00' WHERE session_id = ?", session)
    for found in (verify(str(source), str(target)), verify(None, None, report_file=result.path)):
        assert found.report.errors == []
        notes = {fact.code: fact.examples for fact in found.report.source_facts}
        assert notes["continued_in_target"] == [{"session_id": session, "messages": 1}]
    assert not move(source, target).report.has_findings


@pytest.mark.parametrize("state", ["deleted", "rolled_back"])
def test_a_session_that_has_left_the_target_is_told_of(source: Path, tmp_path: Path, state: str) -> None:
    target = tmp_path / "v2.db"
    result = move(source, target)
    session = query(target, "SELECT session_id FROM sessions LIMIT 1")[0][0]
    for table in ROWS:
        change(target, f"DELETE FROM {table} WHERE session_id = ?", session)
    change(target, "UPDATE sessionlift_units SET state = ? WHERE session_id = ?", state, session)
    notes = {fact.code: fact.count for fact in verified(source, target).report.source_facts}
    assert notes == {"deleted_in_target" if state == "deleted" else "rolled_back": 1}
    claimed = verify(None, None, report_file=result.path).report
    assert claimed.errors == []
    assert {fact.code: fact.count for fact in claimed.source_facts} == {"gone_since": 1}
    change(target, "INSERT INTO session_metrics (session_id) VALUES (?)", session)
    found = verify(str(source), str(target)).report
    assert [(each.code, each.session_id) for each in found.errors] == [("came_back", session)]


def verified(source: Path, target: Path) -> VerifyResult:
    found = verify(str(source), str(target))
    assert found.report.errors == []
    return found


def test_every_claim_of_a_report_is_counted_again(tmp_path: Path) -> None:
    source = tmp_path / "legacy.enhanced"
    make_langswarm_enhanced(source, sessions=75, seed=2, traps="all")
    result = move(source, tmp_path / "v2.db")
    assert result.path is not None
    original = result.path.read_text("utf-8")
    assert {"provider_mapped", "search_index", "time_shifted"} <= {loss.code for loss in result.report.losses}
    lies: list[tuple[str, Any, str, str]] = [
        ("losses", place, "count", "claim_losses") for place in range(len(result.report.losses))
    ]
    lies += [
        ("tables", "sessions", "read", "claim_read"),
        ("tables", "session_messages", "written", "claim_written"),
        ("tables", "session_metrics", "derived", "claim_derived"),
        ("tables", "sessions", "quarantined", "claim_quarantined"),
        ("tables", "memory", "excluded", "claim_excluded"),
    ]
    # a few processes each: the rarest losses and every kind of count
    for part, place, name, code in lies[:3] + lies[-5:]:
        data = json.loads(original)
        data[part][place][name] += 1
        result.path.write_text(json.dumps(data), "utf-8")
        found = verify(None, None, report_file=result.path).report
        assert code in {each.code for each in found.errors}, (part, place, name)
    result.path.write_text(original, "utf-8")


def test_what_an_application_writes_to_the_source_meanwhile_is_neither_moved_nor_a_difference(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read is what is compared: the snapshot, though the store has gone on."""
    from sessionlift.runs import _migrate

    take = _migrate._Run._take_inventory

    def write_then_take(self: Any, message: Any) -> None:
        change(source, "UPDATE sessions SET metadata = replace(metadata, 'active', 'archived')")
        take(self, message)

    monkeypatch.setattr(_migrate._Run, "_take_inventory", write_then_take)
    result = move(source, tmp_path / "v2.db")
    assert result.report.verification.status == "passed"
    found = verify(str(source), str(tmp_path / "v2.db"))
    assert {each.code for each in found.report.errors} == {"changed_in_source", "differs_from_source"}


def test_a_store_that_a_killed_program_left_is_verified_and_not_mended(source: Path, tmp_path: Path) -> None:
    """Its log belongs to it; nothing is written beside it."""
    left = tmp_path / "left"
    left.mkdir()
    with closing(sqlite3.connect(source)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        model = '"model": "'
        db.execute("UPDATE sessions SET metadata = replace(metadata, ?, ?) WHERE rowid = 1", (model, f"{model}late "))
        db.commit()
        for suffix in ("", "-wal"):
            shutil.copy(f"{source}{suffix}", left / f"legacy.db{suffix}")
    before = snapshot(left)
    result = migrate(str(left / "legacy.db"), str(tmp_path / "v2.db"), TransferOptions())
    assert_verifies(result)
    assert snapshot(left) == before
    assert len(query(tmp_path / "v2.db", "SELECT 1 FROM sessions WHERE model LIKE 'late %'")) == 1


def test_a_source_that_the_new_program_wrote_is_refused(tmp_path: Path, source: Path) -> None:
    move(source, tmp_path / "v2.db")
    with pytest.raises(WrongGenerationError):
        verify(str(tmp_path / "v2.db"), str(tmp_path / "v2.db"))
    with pytest.raises(WrongGenerationError):
        verify(str(source), str(source))
