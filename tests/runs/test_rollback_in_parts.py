"""A rollback goes part by part: while one is looked at, the next is read and the one before leaves. Nothing of that
shows in the stores, and whoever writes to them meanwhile loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.made import make_moved, make_synth_v2
from tests.support.moved import change, query
from tests.support.roads_back import SWARM, SYNTH, Lying, System
from tests.support.taken_back import V2_MESSAGE, ledger

from sessionlift._demo import make_langswarm_v1
from sessionlift.errors import StoreLockedError
from sessionlift.reports import Report, check_file
from sessionlift.runs import RollbackOptions, TransferOptions, _rollback_rounds, migrate, rollback
from sessionlift.runs._rollback_check import Check
from sessionlift.runs._rollback_leave import Leaver

pytestmark = pytest.mark.slow

SESSIONS = 5
V3_MESSAGE = (
    "INSERT INTO messages (session_id, message_type, content, timestamp, event_time, metadata) "
    "VALUES (?, 'user', ?, '2031-05-06T07:08:09.123456+00:00', 1900000000.5, '{}')"
)


@dataclass
class Moved:
    system: System
    source: Path
    target: Path
    before: Lying
    ids: list[str]

    def say(self, session_id: str, content: str = "said after the move") -> None:
        if self.system is SWARM:
            change(self.target, V2_MESSAGE, session_id, content.replace(" ", "_"), content)
        else:
            change(self.target, V3_MESSAGE, session_id, content)

    def said(self, session_id: str, content: str = "said after the move") -> int:
        """How often the legacy store has it."""
        return repr(self.system.legacy(self.source)[session_id]).count(content)

    def take_back(self, **options: Any) -> Report:
        result = rollback(str(self.target), RollbackOptions(everything=True, **options), own_process=True)
        assert result.path is not None
        assert check_file(result.path) == []
        report = result.report
        assert report.total_sessions == report.migrated_sessions + report.skipped_sessions + report.failed_sessions
        return report

    @property
    def living(self) -> Lying:
        return self.system.living(self.target)


@pytest.fixture(params=["synth", "langswarm"])
def moved(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Moved:
    monkeypatch.setattr(_rollback_rounds, "PART", 2)
    monkeypatch.setattr(_rollback_rounds, "BATCH", 1)
    system = {"synth": SYNTH, "langswarm": SWARM}[request.param]
    source, target = tmp_path / ("v2.duckdb" if system is SYNTH else "v1.db"), tmp_path / "new.db"
    make = make_synth_v2 if system is SYNTH else make_langswarm_v1
    make_moved(source, target, make=make, sessions=SESSIONS, seed=5, traps="none")
    before = system.legacy(source)
    ids = [key for (key,) in query(target, f"SELECT session_id FROM {system.home} ORDER BY rowid")]
    return Moved(system, source, target, before, ids)


def test_every_part_comes_back_and_leaves(moved: Moved) -> None:
    report = moved.take_back()
    assert (report.migrated_sessions, report.verification.status) == (SESSIONS, "passed")
    assert report.verification.checked_sessions == SESSIONS
    assert moved.living == {}
    assert moved.system.legacy(moved.source) == moved.before
    assert set(ledger(moved.target).values()) == {"rolled_back"}
    assert [line.store for line in report.backups] == [f"libsql://{moved.target}"], "the legacy store was not changed"


def test_the_first_change_of_the_legacy_store_may_be_in_a_later_part(moved: Moved) -> None:
    for session_id in moved.ids[3:5]:
        moved.say(session_id)
    report = moved.take_back()
    assert (report.migrated_sessions, report.verification.status) == (SESSIONS, "passed")
    assert moved.living == {}
    after = moved.system.legacy(moved.source)
    assert {key for key in after if after[key] != moved.before[key]} == set(moved.ids[3:5])
    assert [moved.said(session_id) for session_id in moved.ids[3:5]] == [1, 1]
    assert [line.state for line in report.backups] == ["taken", "taken"]


def test_sessions_of_every_part_are_rebuilt_in_a_new_store(moved: Moved) -> None:
    new = moved.source.with_name(f"rebuilt{moved.source.suffix}")
    away = moved.source.rename(moved.source.with_name("away"))
    assert moved.take_back(to=str(new)).migrated_sessions == SESSIONS
    assert moved.system.legacy(new) == moved.system.legacy(away) == moved.before


@pytest.mark.parametrize("place", [0, 2], ids=["in this part", "in the next part"])
def test_what_is_said_while_a_part_is_looked_at_comes_back_too(
    moved: Moved, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    """The first to be looked at is the first part: so the second has been read when it leaves."""
    session_id = moved.ids[place]
    before_a_look(monkeypatch, [lambda: moved.say(session_id)])
    report = moved.take_back()
    assert (report.migrated_sessions, report.failed_sessions) == (SESSIONS, 0)
    assert report.verification.status == "passed"
    assert moved.living == {}
    assert moved.said(session_id) == 1
    after = moved.system.legacy(moved.source)
    assert {key for key in after if after[key] != moved.before[key]} == {session_id}


def test_what_was_looked_at_twice_is_counted_once(moved: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    legacy, target = (each.with_name(f"other_{each.name}") for each in (moved.source, moved.target))
    for path, copy in ((moved.source, legacy), (moved.target, target)):
        copy.write_bytes(path.read_bytes())
    once = rollback(str(target), RollbackOptions(everything=True, to=str(legacy)), own_process=True).report.verification
    before_a_look(monkeypatch, [lambda: change(moved.target, "CREATE TABLE of_somebody_else (id INTEGER)")])
    twice = moved.take_back().verification
    assert (twice.checked_rows, twice.checked_values) == (once.checked_rows, once.checked_values)
    assert (twice.checked_sessions, twice.status) == (SESSIONS, "passed")


@pytest.mark.parametrize("gone", [False, True], ids=["written", "deleted"])
def test_a_run_that_begins_again_tells_of_what_it_had_written(
    moved: Moved, monkeypatch: pytest.MonkeyPatch, *, gone: bool
) -> None:
    for session_id in moved.ids[:2]:
        moved.say(session_id)
    if gone:
        change(moved.target, f"DELETE FROM {moved.system.home} WHERE session_id = ?", moved.ids[1])
    before_a_look(monkeypatch, [lambda: change(moved.target, "CREATE TABLE of_somebody_else (id INTEGER)")])
    result = rollback(str(moved.target), RollbackOptions(everything=True), own_process=True)
    assert result.report.migrated_sessions == SESSIONS
    told = {line["session_id"]: line for line in result.sessions}
    assert [told[session_id]["action"] for session_id in moved.ids[:2]] == ["carry", "remove" if gone else "carry"]
    assert all(any(told[session_id][name] for name in ("added", "changed", "deleted")) for session_id in moved.ids[:2])
    counts = {fact.code: fact.count for fact in result.report.source_facts}
    expected = {"carried_added" if moved.system is SYNTH else "carried_changed": 1 if gone else 2}
    assert {**counts, **expected, **({"carried_deleted": 1} if gone else {})} == counts


def test_a_session_that_is_never_left_alone_stays_and_is_told(moved: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rollback_rounds, "ROUNDS", 2)
    session_id = moved.ids[3]
    said = iter(range(1_000))
    before_a_look(monkeypatch, [lambda: moved.say(session_id, f"message {next(said)}")] * 100)
    report = moved.take_back()
    assert [(line.session_id, line.code) for line in report.errors] == [(session_id, "target_busy")]
    assert (report.migrated_sessions, report.failed_sessions) == (SESSIONS - 1, 1)
    assert set(moved.living) == {session_id}
    assert ledger(moved.target)[session_id] == "moved"
    monkeypatch.undo()
    assert moved.take_back().migrated_sessions == 1
    assert [moved.said(session_id, f'message {number}"') for number in range(next(said))].count(1) == next(said) - 1


def test_a_row_that_somebody_adds_to_a_session_that_left_is_told(moved: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Leaver.leave

    def leave(leaver: Leaver, turns: Sequence[Any], *arguments: Any) -> Any:
        left = real(leaver, turns, *arguments)
        if moved.ids[0] in [turn.session_id for turn in left.done]:
            moved.say(moved.ids[0], "too late")
        return left

    monkeypatch.setattr(Leaver, "leave", leave)
    assert moved.take_back().migrated_sessions == SESSIONS
    monkeypatch.undo()
    report = moved.take_back()
    assert [(line.session_id, line.code) for line in report.errors] == [(moved.ids[0], "rows_left")]
    assert set(moved.living) == {moved.ids[0]}


def test_a_lock_of_its_own_readers_is_waited_for(moved: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = leaving_meets_a_lock(monkeypatch, only_beside_readers=True)
    assert moved.take_back().migrated_sessions == SESSIONS
    assert moved.living == {}
    assert locked, "no part left while the next was looked at"


def test_a_lock_of_somebody_else_ends_the_run_and_the_next_goes_on(
    moved: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving_meets_a_lock(monkeypatch, only_beside_readers=False)
    with pytest.raises(StoreLockedError):
        moved.take_back()
    monkeypatch.undo()
    assert set(moved.living) == set(moved.ids)
    assert moved.take_back().migrated_sessions == SESSIONS
    assert moved.system.legacy(moved.source) == moved.before


def test_what_another_run_has_written_since_is_no_change_of_the_old_program(
    moved: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what was said after that run would be left behind in favour of it."""
    session_id = moved.ids[4]

    def in_between() -> None:
        moved.say(session_id)
        with monkeypatch.context() as patch:
            patch.setattr(Leaver, "leave", _interrupted)
            with pytest.raises(KeyboardInterrupt):
                rollback(str(moved.target), RollbackOptions(sessions=(session_id,)), own_process=True)
        moved.say(session_id, "said later still")

    before_a_look(monkeypatch, [in_between])
    report = moved.take_back(on_conflict="keep-legacy")
    assert (report.migrated_sessions, report.failed_sessions) == (SESSIONS, 0)
    assert [loss.code for loss in report.losses if loss.code == "new_writes_discarded"] == []
    assert (moved.said(session_id), moved.said(session_id, "said later still")) == (1, 1)
    assert moved.living == {}


def test_rows_are_counted_by_the_legacy_store_s_tables_whether_they_were_made_again_or_not(moved: Moved) -> None:
    new = str(moved.source.with_name(f"rebuilt{moved.source.suffix}"))
    made = rollback(str(moved.target), RollbackOptions(everything=True, to=new), dry_run=True, own_process=True).report
    assert moved.take_back().tables == made.tables != {}


def test_a_legacy_store_that_holds_all_is_not_written_to(tmp_path: Path) -> None:
    """It has an id that its sequence has not come to, and the application wrote what it has no place for."""
    source, target = tmp_path / "v2.duckdb", tmp_path / "new.db"
    make_synth_v2(source, sessions=2, seed=5, traps="none")
    with duckdb.connect(str(source)) as db:
        db.execute("UPDATE messages SET id = id + 1000 WHERE id = (SELECT max(id) FROM messages)")
    migrate(str(source), str(target), TransferOptions())
    change(target, "UPDATE messages SET embedding = x'01'")
    before = SYNTH.legacy(source)
    result = rollback(str(target), RollbackOptions(everything=True), own_process=True)
    assert (result.report.migrated_sessions, result.report.failed_sessions) == (2, 0)
    assert [line.store for line in result.report.backups] == [f"libsql://{target}"]
    assert SYNTH.legacy(source) == before


def _interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def before_a_look(monkeypatch: pytest.MonkeyPatch, work: list[Callable[[], None]]) -> None:
    """Have something done each time when a part was carried and is about to be looked at."""
    real, left = Check.begin, list(work)

    def begin(check: Check, turns: Sequence[Any]) -> None:
        if left:
            left.pop()()
        real(check, turns)

    monkeypatch.setattr(Check, "begin", begin)


def leaving_meets_a_lock(monkeypatch: pytest.MonkeyPatch, *, only_beside_readers: bool) -> list[bool]:
    """Have leaving the target meet a lock: always, or once while the run's own processes read it."""
    real, begin, reading, met = Leaver.leave, Check.begin, [False], list[bool]()

    def watch(check: Check, turns: Sequence[Any]) -> None:
        begin(check, turns)
        reading[0] = check.is_reading

    def leave(leaver: Leaver, turns: Sequence[Any], *arguments: Any) -> Any:
        if not only_beside_readers or (reading[0] and not met):
            met.append(True)
            raise StoreLockedError("the store is locked")
        return real(leaver, turns, *arguments)

    monkeypatch.setattr(Check, "begin", watch)
    monkeypatch.setattr(Leaver, "leave", leave)
    return met


def test_a_new_store_that_a_killed_run_had_only_begun_to_make_is_made(moved: Moved) -> None:
    if moved.system is not SYNTH:
        pytest.skip("SQLite leaves an empty file")
    new = moved.source.with_name("rebuilt.duckdb")
    duckdb.connect(str(new)).close()
    assert moved.take_back(to=str(new)).migrated_sessions == SESSIONS
    assert moved.system.legacy(new) == moved.before
