"""Indexes that a large first move leaves out until its rows are there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.moved import change, content, difference, query
from tests.support.run_fixtures import Legacy
from tests.support.warm import Outcome, Warm

from sessionlift.bridge import BridgeCore
from sessionlift.errors import GenerationError, StoreFullError
from sessionlift.generations import late_indexes, leave_out_indexes, schema_upgrade, schema_verify
from sessionlift.runs import RollbackOptions, TransferOptions, migrate, plan, rollback, status
from sessionlift.runs._roads import road_from
from sessionlift.stores import open_store

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")]

LATE = sorted(road_from("synth.v2").late_indexes)
LIMITS = {"max_rows": 120, "late_from": 0}


def indexes(target: Path) -> set[str]:
    return {name for (name,) in query(target, "SELECT name FROM sqlite_master WHERE type = 'index'")}


def noted(target: Path) -> list[Any]:
    options = query(target, "SELECT options FROM sessionlift_runs ORDER BY rowid")
    return [json.loads(text).get("late_indexes") for (text,) in options]


def moved(source: Path, target: Path, **limits: int) -> Path:
    migrate(str(source), str(target), TransferOptions(), limits={**LIMITS, **limits})
    return target


@dataclass(frozen=True)
class Left:
    """The source and the target of a run that was killed, and what a run does that nobody kills, into ``calm.db``."""

    source: Path
    target: Path
    calm: Outcome


@pytest.fixture(scope="module")
def killed(sessionlift: Warm, legacy_store: Legacy, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Left]:
    """Gives what a run left that ended as it laid down the messages of a ``batch``: its rows are half there.

    Each is killed once; who asks again finds the same files, at the same place, as they were.
    """
    made: dict[int, Left] = {}

    def get(batch: int = 0) -> Left:
        if batch not in made:
            folder = tmp_path_factory.mktemp("killed") / "here"
            source, target = folder / "source" / "legacy.duckdb", folder / "target" / "v3.db"
            source.parent.mkdir(parents=True)
            target.parent.mkdir()
            shutil.copy(legacy_store(sessions=6), source)
            calm = sessionlift("migrate", source, target.with_name("calm.db"), "--json", limits=LIMITS)
            at = [place for place, what in enumerate(calm.boundaries, 1) if 'main."messages"' in what][batch]
            ended = sessionlift("migrate", source, target, "--json", limits=LIMITS, at=at)
            assert ended.code == -signal.SIGKILL, ended.err
            shutil.copytree(folder, folder.with_name("kept"))
            made[batch] = Left(source, target, calm)
        folder = made[batch].target.parent.parent
        shutil.rmtree(folder)
        shutil.copytree(folder.with_name("kept"), folder)
        return made[batch]

    return get


def test_they_are_no_unique_ones_and_those_of_the_road_s_own_tables() -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        from sessionlift.alembic.versions.synth import synth_v3

        statements = {name: statement for name, (_, statement) in synth_v3.INDEXES.items()}
        for table in synth_v3._REVISION.tables.values():
            db.execute(table)
        for name in LATE:
            db.execute(statements[name])
            (table,) = db.execute("SELECT tbl_name FROM sqlite_master WHERE name = ?", (name,)).fetchone()
            unique = dict(db.execute('SELECT name, "unique" FROM pragma_index_list(?)', (table,)))
            assert not unique[name]


def test_a_target_whose_indexes_came_last_is_the_same_as_another(legacy: Legacy, target: Path) -> None:
    source = legacy(sessions=6)
    late = moved(source, target)
    other = moved(source, target.with_name("other.db"), late_from=1 << 40)
    assert difference(content(other), content(late)) == ""
    assert indexes(late) == indexes(other)
    assert noted(late) == noted(other) == [None]
    assert schema_verify(str(late)) == ["ledger_2", "synth_v3"]
    assert query(late, "PRAGMA integrity_check") == [("ok",)]


def test_while_the_rows_come_the_ledger_says_what_is_left_out(killed: Callable[..., Left]) -> None:
    left = killed()
    target, calm = left.target, left.calm
    assert not indexes(target) & set(LATE)
    assert noted(target) == [LATE_AS_LEFT_OUT]
    places = [place for place, what in enumerate(calm.boundaries) if "INDEX" in what and "session" in what]
    rows = [place for place, what in enumerate(calm.boundaries) if 'INSERT OR FAIL INTO main."messages"' in what]
    assert places[0] < rows[0] < rows[-1] < places[-1], "they are made when the last row is there"


LATE_AS_LEFT_OUT = list(road_from("synth.v2").late_indexes)


def test_the_run_after_a_kill_makes_them_first_and_ends_with_the_same_target(
    killed: Callable[..., Left], sessionlift: Warm
) -> None:
    left = killed()
    source, target = left.source, left.target
    again = sessionlift("migrate", source, target, "--json", limits=LIMITS)
    made = [place for place, what in enumerate(again.boundaries) if "CREATE INDEX idx_message_session_step" in what]
    rows = [place for place, what in enumerate(again.boundaries) if 'INTO main."messages"' in what]
    assert len(made) == 1
    assert made[0] < rows[0]
    assert difference(content(target.with_name("calm.db")), content(target)) == ""
    assert indexes(target) == indexes(target.with_name("calm.db"))
    assert noted(target) == [None, None]


def test_who_looks_at_a_target_that_lacks_them_is_told(killed: Callable[..., Left], sessionlift: Warm) -> None:
    left = killed()
    source, target = left.source, left.target
    assert status(str(target)).late_indexes == LATE
    said = sessionlift("status", target)
    assert "4 indexes left out until the run that fills it comes to its end" in said.out
    with pytest.raises(GenerationError, match="index idx_event_session_step: missing") as refused:
        schema_verify(str(target))
    assert "run the same `sessionlift migrate` again" in str(refused.value.hint)
    # a plan is for the run that makes them
    assert plan(str(source), str(target), TransferOptions()).total_sessions == 6


def test_an_index_that_somebody_else_took_away_is_still_missed(killed: Callable[..., Left]) -> None:
    left = killed()
    source, target = left.source, left.target
    change(target, "DROP INDEX idx_event_type")
    with pytest.raises(GenerationError, match="index idx_event_type: missing"):
        plan(str(source), str(target), TransferOptions())
    with pytest.raises(GenerationError, match="index idx_event_type: missing"):
        moved(source, target)


def test_a_bridge_that_opens_such_a_target_makes_them(killed: Callable[..., Left]) -> None:
    left = killed()
    source, target = left.source, left.target
    with BridgeCore(str(source), str(target)):
        assert indexes(target) >= set(LATE)
    assert noted(target)[0] is None


def test_a_rollback_of_such_a_target_makes_them_before_it_writes(killed: Callable[..., Left]) -> None:
    target = killed().target
    rollback(str(target), RollbackOptions(everything=True))
    assert indexes(target) >= set(LATE)
    assert schema_verify(str(target)) == ["ledger_2", "synth_v3"]


def test_a_run_that_fails_makes_them_all_the_same(legacy: Legacy, target: Path, monkeypatch: Any) -> None:
    from sessionlift.runs import _migrate

    def breaks(_self: Any, _ledger: Any) -> None:
        raise StoreFullError("there is no room", role="target")

    with monkeypatch.context() as patched:
        patched.setattr(_migrate._Run, "_verify_earlier", breaks)
        with pytest.raises(StoreFullError):
            moved(legacy(sessions=6), target)
    assert indexes(target) >= set(LATE)
    assert noted(target) == [None]


def test_where_they_cannot_be_made_the_report_says_so_and_the_next_run_makes_them(
    legacy: Legacy, target: Path, monkeypatch: Any
) -> None:
    from sessionlift import generations

    def full(store: Any, **_: Any) -> None:
        if late_indexes(store):
            raise StoreFullError("there is no room", role="target")

    source = legacy(sessions=6)
    with monkeypatch.context() as patched:
        patched.setattr(generations, "make_late_indexes", full, raising=False)
        with pytest.raises(StoreFullError):
            moved(source, target)
    (path,) = target.with_name("v3.db.reports").glob("migrate-*Z-????????.json")
    report = json.loads(path.read_text())
    assert report["status"] == "failed"
    assert any("without indexes over the sessions' ids" in each for each in report["assumptions"])
    assert noted(target) == [LATE_AS_LEFT_OUT]
    moved(source, target)
    assert indexes(target) >= set(LATE)
    assert noted(target) == [None, None]


def test_a_small_store_a_used_target_and_one_that_another_run_uses_keep_theirs(
    sessionlift: Warm, legacy: Legacy, target: Path
) -> None:
    source = legacy(sessions=6)
    small = sessionlift("migrate", source, target, "--json", limits={"max_rows": 120})
    assert not [what for what in small.boundaries if "DROP INDEX" in what]
    query_of_one = query(target, "SELECT session_id FROM session_traces ORDER BY 1 LIMIT 1")[0][0]
    used = target.with_name("used.db")
    sessionlift("migrate", source, used, "--only", query_of_one, "--json", limits=LIMITS)
    rest = sessionlift("migrate", source, used, "--json", limits=LIMITS)
    assert rest.code == 1
    assert not [what for what in rest.boundaries if "DROP INDEX" in what]
    with open_store(str(target), mode="rw", role="target") as store:
        # the runs of others would go on reading by them
        change(target, "INSERT INTO sessionlift_runs (run_id, kind, status) VALUES ('bridge-1', 'bridge', 'running')")
        leave_out_indexes(store, "bridge-1", LATE)
        assert late_indexes(store) == []
    assert indexes(target) >= set(LATE)


@pytest.mark.parametrize(
    "refused",
    [
        ("migrate", "SOURCE", "TARGET", "--timezone", "Europe/Berlin"),
        ("migrate", "OTHER", "TARGET"),
        ("migrate", "SOURCE", "TARGET", "--backup-dir", "no/such/place"),
        ("catch-up", "SOURCE", "TARGET", "--timezone", "Europe/Berlin"),
        ("catch-up", "OTHER", "TARGET"),
        ("backfill", "SOURCE", "TARGET", "--timezone", "Europe/Berlin"),
        ("rollback", "TARGET", "--all", "--backup-dir", "no/such/place"),
    ],
    ids=" ".join,
)
def test_a_refused_command_makes_none(
    killed: Callable[..., Left], sessionlift: Warm, legacy_store: Legacy, refused: tuple[str, ...]
) -> None:
    left = killed(batch=-1)
    source, target, other = left.source, left.target, left.target.with_name("other.duckdb")
    shutil.copy(legacy_store(sessions=3, seed=2), other)
    # so that it is copied before it is changed
    change(
        target,
        "INSERT INTO session_traces (session_id, created_at, num_timesteps, num_events, num_messages) "
        "VALUES ('native', '2026-01-01', 0, 0, 0)",
    )
    (target.parent / "no").write_text("a file")
    before = content(target), indexes(target), noted(target)
    names = {"SOURCE": source, "TARGET": target, "OTHER": other}
    ended = sessionlift(*(names.get(each, each) for each in refused), cwd=target.parent)
    assert ended.code in (2, 4), ended.out + ended.err
    assert (content(target), indexes(target), noted(target)) == before


@pytest.mark.parametrize("after", [0, 1, 4, 5])
def test_an_interrupt_while_they_are_left_out_ends_with_all_of_them(
    sessionlift: Warm, legacy: Legacy, killed: Callable[..., Left], target: Path, after: int
) -> None:
    first = next(place for place, what in enumerate(killed().calm.boundaries, 1) if "DROP INDEX" in what)
    ended = sessionlift("migrate", legacy(sessions=6), target, "--json", limits=LIMITS, at=first + after, do="SIGINT")
    assert ended.code == 130, ended.err
    assert indexes(target) >= set(LATE)
    assert noted(target) == [None]
    assert query(target, "SELECT status FROM sessionlift_runs") == [("interrupted",)]


def test_a_ledger_of_another_form_is_told_as_what_it_is(killed: Callable[..., Left], sessionlift: Warm) -> None:
    left = killed()
    source, target = left.source, left.target
    change(target, "ALTER TABLE sessionlift_runs RENAME COLUMN target_generation TO other")
    with pytest.raises(GenerationError, match="column target_generation: missing"):
        schema_verify(str(target))
    change(target, "UPDATE sessionlift_version SET version_num = 'ledger_9' WHERE version_num = 'ledger_2'")
    for command in ("plan", "migrate"):
        ended = sessionlift(command, source, target)
        assert (ended.code, "target_newer" in ended.err) == (4, True), ended.err


def test_a_note_of_a_generation_that_is_newer_is_told_as_what_it_is(
    killed: Callable[..., Left], sessionlift: Warm
) -> None:
    left = killed()
    source, target = left.source, left.target
    change(target, "UPDATE sessionlift_version SET version_num = 'synth_v9' WHERE version_num = 'synth_v3'")
    change(target, "UPDATE sessionlift_runs SET target_generation = 'synth.v9'")
    ended = sessionlift("migrate", source, target)
    assert (ended.code, "target_newer" in ended.err) == (4, True), ended.err


def test_an_index_that_was_made_in_other_words_stays(sessionlift: Warm, target: Path, legacy: Legacy) -> None:
    schema_upgrade(str(target), "synth_v3")
    change(target, "DROP INDEX idx_message_session_step")
    mine = "CREATE INDEX idx_message_session_step /* mine */ ON messages (session_id, timestep_id)"
    change(target, mine)
    ended = sessionlift("migrate", legacy(sessions=6), target, "--json", limits=LIMITS)
    assert sum("DROP INDEX" in what for what in ended.boundaries) == len(LATE) - 1
    assert query(target, "SELECT sql FROM sqlite_master WHERE name = 'idx_message_session_step'") == [(mine,)]


def test_a_dry_run_leaves_them_out_of_its_throwaway_target_too(sessionlift: Warm, legacy: Legacy, target: Path) -> None:
    dry = sessionlift("migrate", legacy(sessions=6), target, "--dry-run", "--json", limits=LIMITS)
    assert dry.code == 1, dry.err
    assert [what for what in dry.boundaries if "DROP INDEX" in what]
    assert not target.exists()


def test_a_name_in_the_ledger_that_is_no_index_of_the_generation_is_refused(legacy: Legacy, target: Path) -> None:
    source = legacy(sessions=6)
    moved(source, target)
    strange = json.dumps({"late_indexes": ["x ON y; DROP TABLE events"]})
    change(target, "UPDATE sessionlift_runs SET options = ?", strange)
    with pytest.raises(GenerationError, match="there is none of that name"):
        moved(source, target)
    assert query(target, "SELECT count(*) FROM events")[0][0]


def test_tables_that_went_with_a_downgrade_come_back_with_their_indexes(killed: Callable[..., Left]) -> None:
    left = killed()
    source, target = left.source, left.target
    calm = target.with_name("calm.db")
    # as a hand would leave it: the ledger with its note, and none of the other tables
    with closing(sqlite3.connect(target)) as db, db:
        for (view,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall():
            db.execute(f'DROP VIEW "{view}"')
        for table in ("event_rewards", "outcome_rewards", "messages", "events", "session_timesteps", "session_traces",
                      "experimental_systems", "system_versions", "systems", "experiments"):  # fmt: skip
            db.execute(f"DROP TABLE {table}")
        for table in ("units", "complement", "quarantine"):
            db.execute(f"DELETE FROM sessionlift_{table}")
        db.execute("DELETE FROM sessionlift_version WHERE version_num = 'synth_v3'")
    moved(source, target)
    assert indexes(target) == indexes(calm)
    assert schema_verify(str(target)) == ["ledger_2", "synth_v3"]
