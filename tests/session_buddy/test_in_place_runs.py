"""A change in place as a run: adopted, checked, backed up, verified, reported; or refused with the store as it was."""

from __future__ import annotations

import hashlib
import math
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.support.buddy_stores import V4_TABLES, ask, invoke, rows, schema, tell
from tests.support.laws import TORTURE

from sessionlift import generations, reports
from sessionlift._demo import make_session_buddy
from sessionlift.errors import (
    DependentObjectsError,
    GenerationError,
    MixedGenerationError,
    SessionliftError,
    StoreCorruptError,
    StoreFullError,
    StoreLockedError,
    UsageError,
    VerificationError,
)
from sessionlift.runs import InPlaceOptions, InPlaceResult, _in_place, _in_place_check, change_in_place

pytestmark = pytest.mark.slow


def up(path: Path, to: str | None = None, **options: Any) -> InPlaceResult:
    return change_in_place(str(path), "upgrade", InPlaceOptions(to=to, **options))


def down(path: Path, to: str, **options: Any) -> InPlaceResult:
    return change_in_place(str(path), "downgrade", InPlaceOptions(to=to, **options))


def state(path: Path) -> tuple[Any, Any]:
    return schema(path), rows(path)


def report_of(error: SessionliftError) -> reports.Report:
    return reports.load(error.fields["report"])


# --- what a run does


@pytest.mark.parametrize("scheme", ["", "sqlite://", "libsql://"])
def test_a_store_that_no_run_has_seen_is_upgraded_and_comes_back(tmp_path: Path, scheme: str) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v2", traps="all").path
    before = state(path)

    done = change_in_place(f"{scheme}{path}", "upgrade", InPlaceOptions())

    assert done.report.status == "completed"
    assert (done.report.source.generation, done.report.target.generation) == (  # type: ignore[union-attr]
        "session_buddy.v2",
        "session_buddy.v4",
    )
    assert done.report.verification.status == "passed"
    assert done.report.verification.checked_rows >= 119
    assert done.path is not None
    assert reports.check_file(done.path) == []
    assert set(ask(path, "SELECT version_num FROM sessionlift_version")) == {("session_buddy_v4",)}
    down(path, "session_buddy.v2")
    assert state(path) == before


def test_the_backup_is_the_store_as_it_was_the_write_ahead_log_included(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db").path
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_autocheckpoint = 0")
        other.execute("INSERT INTO skill_invocation (skill_name, invoked_at, session_id) VALUES ('late', 'x', 's')")
        other.commit()
        assert path.with_name("s.db-wal").stat().st_size
        before = state(path)
        done = up(path)
    assert done.backup is not None
    assert done.backup.parent == path.with_name("s.db.backups")
    assert state(done.backup / "store.db") == before
    assert done.report.options["backup"] == str(done.backup)
    ((line,),) = [done.report.backups]
    assert (line.state, line.path) == ("taken", str(done.backup))


def test_the_report_says_where_every_row_went(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v4", filled=True).path
    counted = {table: ask(path, f"SELECT count(*) FROM {table}")[0][0] for table in V4_TABLES}

    went = down(path, "session_buddy.v3").report
    for table in V4_TABLES:
        assert (went.tables[table].read, went.tables[table].excluded) == (counted[table], counted[table])
    assert {loss.table: loss.count for loss in went.losses} == counted
    assert {loss.code for loss in went.losses} == {"kept_aside"}
    assert all("sessionlift_kept" in loss.original_kept_in for loss in went.losses)

    invoke(path, 7)
    came = up(path).report
    for table in V4_TABLES:
        assert (came.tables[table].read, came.tables[table].written) == (counted[table], counted[table])
    assert came.tables["skill_metrics_cache"].derived == 3
    assert came.losses == []
    assert any(text.startswith("7 invocations were written") for text in came.assumptions)
    assert came.ledger.tables == ["sessionlift_version", "sessionlift_steps"]


def test_rows_that_cannot_come_back_are_told(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v4", filled=True).path
    down(path, "session_buddy.v3")
    tell(path, "DELETE FROM skill_metrics WHERE skill_name = 'git-push'")
    came = up(path).report
    held = {loss.table: loss.count for loss in came.losses}
    assert {loss.code for loss in came.losses} == {"withheld"}
    assert held["skill_modalities"] == 1
    assert came.tables["skill_modalities"].excluded == 1
    assert "sessionlift_kept" in came.ledger.tables


def test_a_dry_run_says_the_same_and_leaves_the_store_byte_identical(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", traps="all").path
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    done = up(path, dry_run=True)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert done.backup is None
    assert done.report.dry_run
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.db", "s.db.reports"]
    real = up(path).report
    assert real.tables == done.report.tables
    assert real.source_facts == done.report.source_facts


def test_a_store_that_stands_there_already_is_only_stamped_and_then_left_alone(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v4").path
    before = state(path)
    first = up(path)
    assert first.backup is None
    assert first.report.skipped_sessions == first.report.total_sessions == 10
    assert ask(path, "SELECT version_num FROM sessionlift_version") == [("session_buddy_v4",)]
    raw = path.read_bytes()
    up(path)
    assert path.read_bytes() == raw
    assert state(path) == before


def test_the_oddities_of_a_store_are_told_and_not_repaired(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", traps="all").path
    tell(path, "UPDATE skill_migrations SET applied_at = '2026-02-10 00:00:00'")
    facts = {fact.code: fact for fact in up(path).report.source_facts}
    assert facts["record_ties"].count == 2
    assert facts["time_unreadable"].count == 5
    assert "yesterday" in facts["time_unreadable"].examples or facts["time_unreadable"].count > 3
    assert facts["skill_without_metrics"].table == "skill_invocation"
    assert facts["own_objects"].count == 3
    assert facts["time_naive"].count


# --- the program's own record


def test_an_empty_record_is_told_and_the_structure_decides(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v1").path
    tell(path, "DELETE FROM skill_migrations")
    done = up(path)
    assert "record_empty" in {fact.code for fact in done.report.source_facts}
    assert [v[:2] for (v,) in ask(path, "SELECT version FROM skill_migrations ORDER BY 1")] == ["V2", "V3", "V4"]


@pytest.mark.parametrize(
    "wrong",
    [
        "INSERT INTO skill_migrations (version, applied_at) VALUES ('V4__phase4_extensions', '2026-03-01 00:00:00')",
        "DELETE FROM skill_migrations WHERE version LIKE 'V3%'",
        "INSERT INTO skill_migrations (version, applied_at) VALUES ('V5__later', '2026-03-01 00:00:00')",
    ],
)
def test_a_record_that_contradicts_the_structure_is_refused_with_what_was_found(tmp_path: Path, wrong: str) -> None:
    path = make_session_buddy(tmp_path / "s.db").path
    tell(path, wrong)
    before = state(path)
    with pytest.raises(MixedGenerationError, match="has the structure of session_buddy") as refused:
        up(path)
    assert refused.value.exit_code == 4
    assert refused.value.fields["found"]
    assert state(path) == before
    assert report_of(refused.value).status == "failed"


@pytest.mark.parametrize(
    "wrong",
    [
        "CREATE TABLE skill_dependencies (skill_a TEXT)",
        "DROP INDEX idx_invocation_skill",
        "DROP TRIGGER trg_session_skills_after_insert",
        "DROP VIEW v_top_skills",
        "ALTER TABLE skill_invocation ADD COLUMN more TEXT",
    ],
)
def test_a_hybrid_is_refused_with_each_difference(tmp_path: Path, wrong: str) -> None:
    path = make_session_buddy(tmp_path / "s.db").path
    tell(path, wrong)
    before = state(path)
    with pytest.raises(GenerationError) as refused:
        up(path)
    assert refused.value.fields["found"]
    assert state(path) == before
    assert not path.with_name("s.db.backups").exists() or not list(path.with_name("s.db.backups").iterdir())


def test_a_store_that_the_real_program_changed_after_us_is_taken_as_it_stands(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db").path
    up(path)
    tell(path, "UPDATE sessionlift_version SET version_num = 'session_buddy_v3'")
    done = up(path)
    assert "stamp_is_old" in {fact.code for fact in done.report.source_facts}
    assert ask(path, "SELECT version_num FROM sessionlift_version") == [("session_buddy_v4",)]


# --- refusals


@pytest.mark.parametrize("to", ["session_buddy.v9", "session_buddy", "v0"])
def test_an_unknown_generation_is_a_wrong_call(tmp_path: Path, to: str) -> None:
    path = make_session_buddy(tmp_path / "s.db").path
    with pytest.raises(UsageError, match="names no generation"):
        up(path, to)


def test_the_wrong_direction_says_the_right_command(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db").path
    with pytest.raises(UsageError) as refused:
        up(path, "session_buddy.v1")
    assert "downgrade" in refused.value.hint
    with pytest.raises(UsageError) as refused:
        down(path, "session_buddy.v4")
    assert "upgrade" in refused.value.hint


def test_a_damaged_store_is_refused(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", invocations=400).path
    with closing(sqlite3.connect(path)) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'idx_invocation_session'").fetchone()
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        connection.execute("PRAGMA journal_mode = DELETE")
    with path.open("r+b") as file:
        file.seek((root[0] - 1) * size + 12)
        file.write(b"\x5a" * (size - 12))
    raw = path.read_bytes()
    with pytest.raises(StoreCorruptError):
        up(path)
    assert path.read_bytes() == raw


def test_too_little_room_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_session_buddy(tmp_path / "s.db").path
    raw = path.read_bytes()
    monkeypatch.setattr(_in_place_check, "_SPARE", 1 << 62)
    with pytest.raises(StoreFullError, match="bytes free"):
        up(path)
    assert path.read_bytes() == raw


def test_a_fault_found_by_the_verification_takes_everything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_session_buddy(tmp_path / "s.db").path
    before = state(path)
    plain = generations.change

    def spoiling(connection: Any, *arguments: Any, **more: Any) -> None:
        plain(connection, *arguments, **more)
        connection.exec_driver_sql("UPDATE skill_invocation SET duration_seconds = duration_seconds + 1e-9")

    monkeypatch.setattr(_in_place, "change", spoiling)
    with pytest.raises(VerificationError, match="skill_invocation") as refused:
        up(path)
    assert state(path) == before
    assert report_of(refused.value).verification.differences[0].table == "skill_invocation"


# --- the user's own objects

OWN = {
    "a view over a table that goes": "CREATE VIEW mine AS SELECT * FROM skill_anomalies",
    "a view over such a view": "CREATE VIEW mine AS SELECT test_name FROM v_ab_test_summary",
    "a trigger that writes there": (
        "CREATE TRIGGER mine AFTER INSERT ON skill_invocation BEGIN INSERT INTO skill_anomalies "
        "(skill_name, detected_at, anomaly_type) VALUES (NEW.skill_name, 'now', 'mine'); END"
    ),
    "a trigger on it": "CREATE TRIGGER mine AFTER INSERT ON skill_anomalies BEGIN SELECT 1; END",
    "an index on it": "CREATE INDEX mine ON skill_anomalies (baseline_value)",
    "a table that refers to it": "CREATE TABLE mine (id INTEGER REFERENCES skill_anomalies (id))",
}


@pytest.mark.parametrize("name", OWN)
def test_an_object_that_would_dangle_is_named_before_anything_is_done(tmp_path: Path, name: str) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v4", filled=True).path
    tell(path, OWN[name])
    before = state(path)
    with pytest.raises(DependentObjectsError, match=" mine: ") as refused:
        down(path, "session_buddy.v3")
    assert len(refused.value.fields["found"]) == 1
    assert state(path) == before


# as far as one goes back, and one that stops on the way; in torture each
WAYS = [
    *((name, "session_buddy.v1") for name in OWN),
    *((name, "session_buddy.v3") for name in list(OWN)[: 99 if TORTURE else 1]),
]


@pytest.mark.torture
@pytest.mark.parametrize(("name", "to"), WAYS)
def test_it_is_let_dangle_on_demand_and_comes_back(tmp_path: Path, name: str, to: str) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v4", filled=True).path
    tell(path, OWN[name])
    before = state(path)
    report = down(path, to, let_dangle=True).report
    kept = [each for loss in report.losses if loss.table == "sqlite_master" for each in loss.examples]
    dangling = [each for fact in report.source_facts if fact.code == "dangling" for each in fact.examples]
    assert len(kept + dangling) == 1
    assert " mine: " in (kept + dangling)[0]
    stays = "mine" in {one[1] for one in schema(path)}
    assert (bool(dangling), bool(kept)) == (stays, not stays)
    invoke(path, 1)  # the program can go on
    tell(path, "DELETE FROM skill_invocation WHERE session_id = 'late-0'")
    up(path)
    after = state(path)
    assert [one[:3] for one in after[0]] == [one[:3] for one in before[0]]
    assert after[1]["skill_anomalies"] == before[1]["skill_anomalies"]


def test_objects_that_need_nothing_of_it_are_not_in_the_way(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v4", traps="all", filled=True).path
    own = [one for one in schema(path) if one[1] in ("user_notes", "v_user_custom", "user_trigger")]
    assert len(own) == 3
    down(path, "session_buddy.v1")
    assert [one for one in schema(path) if one[1] in ("user_notes", "v_user_custom", "user_trigger")] == own


# --- others at the same time

UPGRADE = "import sys; from sessionlift.cli import main; main()"


def started(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", UPGRADE, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_of_two_upgrades_at_once_one_does_it_and_the_other_finds_it_done(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v1", invocations=2_000).path
    both = [started("upgrade", path, "--json", "--wait", 60) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    written = [reports.load(file) for file in path.with_name("s.db.reports").glob("upgrade*.json")]
    assert sorted(report.migrated_sessions for report in written) == [0, 10]
    assert ask(path, "SELECT count(*) FROM sessionlift_steps WHERE direction = 'up'") == [(3,)]
    assert len(list(path.with_name("s.db.backups").glob("*.backup"))) == 1


def test_a_writer_that_does_not_end_is_told_after_the_time_to_wait(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db").path
    before = state(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreLockedError, match=r"writing to .* within 0.1 seconds; nothing was changed") as told:
            up(path, wait=0.1)
        assert told.value.transient
        assert "--wait" in told.value.hint
        for none in (math.nan, -1, math.inf):
            with pytest.raises(UsageError, match="is no time to wait"):
                up(path, wait=none)
    assert state(path) == before
    assert up(path).report.status == "completed"


def test_a_reader_that_holds_the_file_is_told_and_nothing_was_changed(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db").path
    tell(path, "PRAGMA journal_mode = DELETE")  # in WAL mode a reader is in nobody's way
    before = state(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM skill_invocation").fetchall()
        with pytest.raises(StoreLockedError, match="another program is reading"):
            up(path, wait=0.1)
        other.execute("COMMIT")
    assert state(path) == before
    assert up(path).report.status == "completed"


def test_a_reader_in_wal_mode_is_in_nobodys_way(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db").path
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        count = other.execute("SELECT count(*) FROM skill_invocation").fetchall()
        assert up(path, wait=0.1).report.status == "completed"
        assert other.execute("SELECT count(*) FROM skill_invocation").fetchall() == count
        other.execute("COMMIT")
        other.execute("SELECT count(*) FROM skill_anomalies")
