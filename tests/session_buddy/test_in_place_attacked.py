"""A change in place in awkward surroundings: what it says of the store is true, and what is the user's own stays."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.support.buddy_stores import ask, rows, schema, tell

from sessionlift import reports
from sessionlift._demo import make_session_buddy
from sessionlift.errors import SessionliftError, VerificationError
from sessionlift.runs import InPlaceOptions, InPlaceResult, _in_place, _locks, change_in_place
from sessionlift.runs._interrupts import Interrupts

pytestmark = pytest.mark.slow


def up(path: Path, to: str | None = None, **options: Any) -> InPlaceResult:
    return change_in_place(str(path), "upgrade", InPlaceOptions(to=to, **options))


def stamp(path: Path) -> list[Any]:
    return ask(path, "SELECT version_num FROM sessionlift_version")


# --- after the commit


def test_a_report_that_cannot_be_written_does_not_make_a_done_change_a_failed_one(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db").path
    path.with_name("s.db.reports").write_text("a file lies where the reports would go")
    done = up(path)
    assert (done.report.status, done.path) == ("completed", None)
    assert stamp(path) == [("session_buddy_v4",)]


def test_an_interrupt_that_comes_with_the_commit_does_not_say_that_nothing_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_session_buddy(tmp_path / "s.db").path
    plain = _locks.commit

    def interrupted(held: Any) -> None:
        plain(held)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(_in_place, "commit", interrupted)
    interrupts = Interrupts()
    with interrupts.listening():
        done = change_in_place(str(path), "upgrade", InPlaceOptions(), interrupts=interrupts)
    assert done.report.status == "completed"
    assert stamp(path) == [("session_buddy_v4",)]


def test_a_fault_after_the_commit_says_that_the_change_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_session_buddy(tmp_path / "s.db").path

    def broken(*_: Any) -> None:
        raise SessionliftError("something else")

    monkeypatch.setattr(_in_place.InPlaceRun, "_count_own", broken)
    with pytest.raises(SessionliftError, match=r"was led to session_buddy\.v4, whole and for good; only then") as told:
        up(path)
    report = reports.load(told.value.fields["report"])
    assert report.status == "failed"
    assert report.migrated_sessions == report.total_sessions
    assert stamp(path) == [("session_buddy_v4",)]


# --- places


def test_a_backup_goes_into_directories_that_are_not_there_yet(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db").path
    done = up(path, backup=tmp_path / "a" / "b" / "c")
    assert done.backup is not None
    assert done.backup.parent == tmp_path / "a" / "b" / "c"


def test_a_link_to_a_store_that_was_killed_leads_to_its_log_too(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db").path
    leave_unclean(path)
    path.with_name("s.db-shm").unlink()
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    done = up(link)
    assert link.is_symlink()
    assert done.backup is not None
    for store in (path, link, done.backup / "store.db"):
        assert ask(store, "SELECT count(*) FROM skill_invocation WHERE skill_name = 'in the log'") == [(1,)]


def leave_unclean(path: Path) -> None:
    """A row that lies only in the write-ahead log of a process that was killed."""
    script = (
        "import os, sqlite3, sys; connection = sqlite3.connect(sys.argv[1]); "
        "connection.execute('PRAGMA wal_autocheckpoint = 0'); "
        'connection.execute("INSERT INTO skill_invocation (skill_name, invoked_at, session_id) '
        "VALUES ('in the log', '2026-11-20T00:00:00', 's')\"); connection.commit(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert path.with_name("s.db-wal").stat().st_size


@pytest.mark.parametrize(("encoding", "page", "vacuum"), [("UTF-16le", 512, 1), ("UTF-16be", 65536, 2)])
def test_a_store_of_another_make_keeps_its_make(tmp_path: Path, encoding: str, page: int, vacuum: int) -> None:
    made = make_session_buddy(tmp_path / "made.db").path
    path = tmp_path / "s.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        for pragma, value in (("encoding", f"'{encoding}'"), ("page_size", page), ("auto_vacuum", vacuum)):
            connection.execute(f"PRAGMA {pragma} = {value}")
        connection.execute("PRAGMA application_id = 77")
        copy_by_rows(made, connection)
    pragmas = ("encoding", "page_size", "auto_vacuum", "application_id", "journal_mode")
    before = [ask(path, f"PRAGMA {name}") for name in pragmas], schema(path), rows(path)
    assert before[0][0] == [(encoding,)]
    up(path)
    change_in_place(str(path), "downgrade", InPlaceOptions(to="session_buddy.v3"))
    assert ([ask(path, f"PRAGMA {name}") for name in pragmas], schema(path), rows(path)) == before


def copy_by_rows(source: Path, target: sqlite3.Connection) -> None:
    objects = ask(source, "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
    inner = ("sqlite_", "skill_invocation_fts")
    for kind in ("table", "index", "view"):
        for one, name, sql in objects:
            if one == kind and (not name.startswith(inner) or name == "skill_invocation_fts"):
                target.execute(sql)
    for kind, name, _ in objects:
        if kind == "table" and not name.startswith(inner):
            for row in ask(source, f"SELECT * FROM {name}"):
                target.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(row))})", row)
    for kind, _, sql in objects:
        if kind == "trigger":
            target.execute(sql)


# --- what is the user's own

REFUSING = {
    "aborts": (
        "CREATE TRIGGER mine BEFORE INSERT ON skill_invocation WHEN NEW.session_id NOT IN "
        "(SELECT session_id FROM session_skills) BEGIN SELECT RAISE(ABORT, 'an unknown session'); END"
    ),
    "rolls back": (
        "CREATE TRIGGER mine BEFORE INSERT ON skill_invocation WHEN NEW.session_id NOT IN "
        "(SELECT session_id FROM session_skills) BEGIN SELECT RAISE(ROLLBACK, 'an unknown session'); END"
    ),
    "ignores": (
        "CREATE TRIGGER mine BEFORE INSERT ON skill_invocation WHEN NEW.session_id NOT IN "
        "(SELECT session_id FROM session_skills) BEGIN SELECT RAISE(IGNORE); END"
    ),
    "is unique": "CREATE UNIQUE INDEX mine ON skill_invocation (skill_name, session_id, invoked_at)",
}


@pytest.mark.parametrize("how", REFUSING)
def test_a_rule_of_yours_that_refuses_our_trial_is_told_and_stops_nothing(tmp_path: Path, how: str) -> None:
    path = make_session_buddy(tmp_path / "s.db", traps="none").path
    tell(path, REFUSING[how])
    before = schema(path), rows(path)
    done = up(path)
    assert done.report.verification.status == "passed"
    told = [line for line in done.report.verification.cannot_see if "your own triggers and unique indexes" in line]
    assert any(line.startswith("an invocation can be written and read") for line in told)
    assert any(name == "mine" for _, name, *_ in schema(path))
    change_in_place(str(path), "downgrade", InPlaceOptions(to="session_buddy.v3"))
    assert (schema(path), rows(path)) == before


def test_a_trigger_of_the_programs_that_does_not_count_is_found_all_the_same(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db").path
    tell(
        path,
        REFUSING["aborts"],
        "DROP TRIGGER trg_session_skills_after_insert",
        "CREATE TRIGGER trg_session_skills_after_insert AFTER INSERT ON skill_invocation BEGIN SELECT 1; END",
    )
    with pytest.raises(VerificationError, match="the trigger counts it in session_skills: no"):
        up(path)


def test_what_was_deleted_in_between_is_told_with_the_column_that_waits(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", traps="none").path
    change_in_place(str(path), "downgrade", InPlaceOptions(to="session_buddy.v1"))
    tell(path, "DELETE FROM skill_invocation WHERE id < 5")
    done = up(path, "session_buddy.v3")
    held = {(loss.code, loss.column): loss.count for loss in done.report.losses}
    counted = "SELECT count(*) FROM sessionlift_kept WHERE column_name = ?"
    for column in ("embedding", "workflow_phase", "workflow_step_id"):
        assert [(held["withheld", column],)] == ask(path, counted, column)
    assert all("with a later upgrade" in loss.original_kept_in for loss in done.report.losses)
    assert any("the next way up tries them again" in text for text in done.report.assumptions)
