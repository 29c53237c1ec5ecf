"""Whatever a rollback has to leave alone, its report names what to do next, and that takes it back."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.laws import TORTURE
from tests.support.made import make_moved, make_synth_v2
from tests.support.moved import change, query, snapshot
from tests.support.roads_back import SWARM, SYNTH, System
from tests.support.taken_back import V2_MESSAGE, ledger

from sessionlift.errors import NotTakenBackError
from sessionlift.ledger import Ledger
from sessionlift.reports import Report, render_text
from sessionlift.runs import (
    RollbackOptions,
    TransferOptions,
    _rollback_rounds,
    downgrade_schema,
    migrate,
    rollback,
)
from sessionlift.runs._readable import UNREADABLE
from sessionlift.runs._rollback_check import Check
from sessionlift.runs._rollback_rows import Watched
from sessionlift.stores import open_store

pytestmark = pytest.mark.slow


@dataclass
class Moved:
    system: System
    source: Path
    target: Path
    ids: list[str] = field(default_factory=list)

    @property
    def new(self) -> Path:
        return self.source.with_name(f"new{self.source.suffix}")

    def begin(self, make: Callable[..., Any] | None = None, **choices: Any) -> None:
        make_moved(self.source, self.target, make=make or self.system.make, **choices)
        self._look()

    def move(self) -> None:
        migrate(str(self.source), str(self.target), TransferOptions(), verify=False)
        self._look()

    def _look(self) -> None:
        self.ids = [key for (key,) in query(self.target, f"SELECT session_id FROM {self.system.home} ORDER BY rowid")]

    def take_back(self, *sessions: str, **options: Any) -> Report:
        chosen = RollbackOptions(sessions=sessions, everything=not sessions, **options)
        return rollback(str(self.target), chosen, own_process=True).report

    def say(self, session_id: str) -> None:
        if self.system is SWARM:
            change(self.target, V2_MESSAGE, session_id, "new", "said after the move")
            return
        change(
            self.target,
            "INSERT INTO messages (session_id, message_type, content, timestamp, event_time, metadata) "
            "VALUES (?, 'user', 'said after the move', '2031-05-06T07:08:09.123456+00:00', 1900000000.5, '{}')",
            session_id,
        )

    def in_legacy(self, sql: str) -> None:
        if self.system is SWARM:
            change(self.source, sql)
            return
        with duckdb.connect(str(self.source)) as db:
            db.execute(sql)

    def lose(self, session_id: str) -> None:
        """Take a session out of the legacy store, as the old program might."""
        tables = (
            ("sessions",) if self.system is SWARM else ("messages", "events", "session_timesteps", "session_traces")
        )
        for table in tables:
            self.in_legacy(f"DELETE FROM {table} WHERE session_id = '{session_id}'")

    def go_on(self, session_id: str) -> None:
        column, value = ("updated_at", "2031-01-01T00:00:00") if self.system is SWARM else ("experiment_id", "other")
        self.in_legacy(f"UPDATE {self.system.home} SET {column} = '{value}' WHERE session_id = '{session_id}'")

    def has_taken_back(self, report: Report, session_id: str, store: Path) -> bool:
        assert report.errors == []
        assert not report.has_findings
        assert ledger(self.target)[session_id] == "rolled_back"
        return session_id in self.system.legacy(store)


@pytest.fixture(params=["synth", "langswarm"])
def moved(request: pytest.FixtureRequest, tmp_path: Path) -> Moved:
    system = {"synth": SYNTH, "langswarm": SWARM}[request.param]
    found = Moved(system, tmp_path / ("v2.duckdb" if system is SYNTH else "v1.db"), tmp_path / "target.db")
    found.begin()
    return found


@pytest.fixture
def swarm(tmp_path: Path) -> Moved:
    found = Moved(SWARM, tmp_path / "v1.db", tmp_path / "v2.db")
    found.begin()
    return found


def codes(report: Report) -> list[tuple[str | None, str]]:
    return [(line.session_id, line.code) for line in report.errors]


def commands(report: Report) -> set[str]:
    """The commands under "Next", without what stands for the target and the session."""
    text = " ".join(render_text(report).split("\nNext\n")[1].split())
    return {found.removeprefix("sessionlift rollback TARGET ") for found in re.findall(r"`([^`]*)`", text)}


def test_a_session_that_the_legacy_store_has_lost_is_rebuilt_elsewhere(moved: Moved) -> None:
    one = moved.ids[0]
    moved.say(one)
    moved.lose(one)
    for discard_new in (True, False):
        report = moved.take_back(discard_new=discard_new)
        assert codes(report) == [(one, "legacy_lacks_session")]
        assert "--session ID --to NEW" in commands(report)
        assert ("without --discard-new" in render_text(report)) is discard_new
    assert moved.has_taken_back(moved.take_back(one, to=str(moved.new)), one, moved.new)
    assert "said after the move" in repr(moved.system.legacy(moved.new)[one])


@pytest.mark.parametrize("elsewhere", [False, True], ids=["in its own store", "in another one"])
def test_a_session_that_both_sides_have_changed_can_be_left_as_the_legacy_store_has_it(
    moved: Moved, *, elsewhere: bool
) -> None:
    one, options = moved.ids[0], {}
    if elsewhere:
        assert not moved.take_back(to=str(moved.new)).has_findings
        moved.source, options = moved.new, {"to": str(moved.new)}
        moved.move()
    moved.say(one)
    moved.go_on(one)
    report = moved.take_back(**options)
    assert codes(report) == [(one, "legacy_changed")]
    there = f" --to {moved.new}" if elsewhere else ""
    assert f"--session ID{there} --on-conflict keep-legacy" in commands(report)
    before = snapshot(moved.source.parent)[moved.source.name]
    assert moved.has_taken_back(moved.take_back(one, on_conflict="keep-legacy", **options), one, moved.source)
    assert snapshot(moved.source.parent)[moved.source.name] == before


def test_a_session_that_the_legacy_store_refuses_is_rebuilt_elsewhere(tmp_path: Path) -> None:
    moved = Moved(SYNTH, tmp_path / "v2.duckdb", tmp_path / "v3.db")
    moved.begin(make_synth_v2, sessions=1, seed=5, traps="none")
    full = tmp_path / "full.duckdb"
    make_synth_v2(full, sessions=1, seed=6, traps="none")
    report = moved.take_back(to=str(full))
    assert (moved.ids[0], "legacy_refused") in codes(report)
    assert "--session ID --to NEW" in commands(report)
    assert moved.has_taken_back(moved.take_back(moved.ids[0], to=str(moved.new)), moved.ids[0], moved.new)


def test_a_session_that_does_not_lie_there_as_it_must_is_rebuilt_elsewhere(
    moved: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = moved.ids[0]
    moved.say(one)
    before_each_look(monkeypatch, lambda: moved.go_on(one))
    report = moved.take_back()
    assert codes(report) == [(one, "not_verified")]
    assert "--session ID --to NEW" in commands(report)
    monkeypatch.undo()
    assert moved.has_taken_back(moved.take_back(one, to=str(moved.new)), one, moved.new)


def test_what_no_session_owns_is_made_elsewhere_where_it_does_not_lie_there_as_it_must(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = Moved(SYNTH, tmp_path / "v2.duckdb", tmp_path / "v3.db")
    moved.begin()
    change(moved.target, "UPDATE systems SET description = 'changed in the new store'")
    real = Check.catalog_lies

    def lies(check: Check, digest: str) -> bool:
        moved.in_legacy("UPDATE systems SET description = 'changed meanwhile'")
        return real(check, digest)

    monkeypatch.setattr(Check, "catalog_lies", lies)
    report = moved.take_back()
    assert codes(report) == [(None, "not_verified")]
    assert "--all --to NEW" in commands(report)
    monkeypatch.undo()
    moved.move()
    assert not moved.take_back(to=str(moved.new)).has_findings
    with open_store(str(moved.new), mode="ro", role="source") as store:
        assert {row[0] for row in store.query("SELECT description FROM systems")} == {"changed in the new store"}


def test_a_session_of_which_rows_were_left_is_settled_once_they_are_gone(moved: Moved) -> None:
    one = moved.ids[0]
    assert not moved.take_back().has_findings
    moved.say(one)
    report = moved.take_back()
    assert codes(report) == [(one, "rows_left")]
    assert "save what is wanted of them, and delete them" in " ".join(render_text(report).split())
    change(
        moved.target, f"DELETE FROM {moved.system.tables[1 if moved.system is SWARM else 3]} WHERE session_id = ?", one
    )
    assert moved.has_taken_back(moved.take_back(), one, moved.source)


def test_a_session_that_came_to_rest_is_taken_by_the_same_command(
    moved: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_rollback_rounds, "ROUNDS", 2)
    one = moved.ids[0]
    said = iter(range(100))
    if moved.system is SWARM:
        before_each_look(monkeypatch, lambda: change(moved.target, V2_MESSAGE, one, f"m{next(said)}", "again"))
    else:
        before_each_look(monkeypatch, lambda: moved.say(one))
    report = moved.take_back()
    assert codes(report) == [(one, "target_busy")]
    assert "stop the application that writes to it" in " ".join(render_text(report).split())
    monkeypatch.undo()
    assert moved.has_taken_back(moved.take_back(), one, moved.source)


@pytest.mark.parametrize(
    ("code", "broken"),
    [("target_unreadable", "no JSON"), ("nested_too_deeply", f'{{"a": {"[" * 100_000}{"]" * 100_000}}}')],
)
def test_a_session_that_nothing_can_read_is_taken_once_its_row_is_mended(swarm: Moved, code: str, broken: str) -> None:
    one = swarm.ids[0]
    ((whole,),) = query(swarm.target, "SELECT context_data FROM sessions WHERE session_id = ?", one)
    change(swarm.target, "UPDATE sessions SET context_data = ? WHERE session_id = ?", broken, one)
    report = swarm.take_back()
    assert codes(report) == [(one, code)]
    assert "mend the row that is named" in " ".join(render_text(report).split())
    change(swarm.target, "UPDATE sessions SET context_data = ? WHERE session_id = ?", whole, one)
    assert swarm.has_taken_back(swarm.take_back(), one, swarm.source)


NO_TEXT = "CAST(x'61ff62' AS TEXT)"
"""A text that is not UTF-8, as a program may write it that looks at none."""


def test_a_text_that_is_not_utf8_keeps_its_own_session_alone(moved: Moved) -> None:
    one, others = moved.ids[0], moved.ids[1:]
    table, column = "session_messages" if moved.system is SWARM else "messages", "content"
    ((row, whole),) = query(
        moved.target, f"SELECT rowid, {column} FROM {table} WHERE session_id = ? ORDER BY rowid LIMIT 1", one
    )
    change(moved.target, f"UPDATE {table} SET {column} = {NO_TEXT} WHERE rowid = ?", row)
    for _ in range(2):  # those that are back already change nothing
        report = moved.take_back()
        assert codes(report) == [(one, "target_unreadable")]
        assert report.errors[0].error == f"{table}.{column} is a text that is not UTF-8, where its rowid is {row}"
        assert "mend the row that is named" in " ".join(render_text(report).split())
        assert [ledger(moved.target)[key] for key in (one, *others)] == ["moved", *["rolled_back"] * len(others)]
    assert {key for (key,) in query(moved.target, f"SELECT session_id FROM {moved.system.home}")} == {one}
    change(moved.target, f"UPDATE {table} SET {column} = ? WHERE rowid = ?", whole, row)
    assert moved.has_taken_back(moved.take_back(), one, moved.source)


def test_what_the_application_wrote_into_a_column_that_it_has_added_stays_in_the_ledger(moved: Moved) -> None:
    """No legacy store has a place for it, and it leaves the target with the rows."""
    one, other, *_ = moved.ids
    table = "session_messages" if moved.system is SWARM else "messages"
    change(moved.target, f"ALTER TABLE {moved.system.home} ADD COLUMN note TEXT")
    change(moved.target, f"ALTER TABLE {table} ADD COLUMN score REAL")
    change(moved.target, f"UPDATE {moved.system.home} SET note = 'kept' WHERE session_id = ?", one)
    change(moved.target, f"UPDATE {table} SET score = -0.5 WHERE session_id = ?", other)
    ((many,),) = query(moved.target, f"SELECT count(score) FROM {table}")
    told = sorted([("added_column_kept", moved.system.home, "note", 1), ("added_column_kept", table, "score", many)])

    stays = rollback(str(moved.target), RollbackOptions(everything=True, keep_target=True), dry_run=True).report
    dry = rollback(str(moved.target), RollbackOptions(everything=True), dry_run=True).report
    report = moved.take_back()

    assert stays.losses == []
    for each in (dry, report):
        assert [(loss.code, loss.table, loss.column, loss.count) for loss in each.losses] == told
        assert each.migrated_sessions == len(moved.ids)
    with open_store(str(moved.target), mode="ro", role="target") as store:
        kept = {key: Ledger(store).complement(key).get("discarded", {}) for key in moved.ids}
    assert [row["note"] for row in kept[one][moved.system.home]] == ["kept"]
    assert [row["score"] for row in kept[other][table]] == [-0.5] * many
    assert [key for key in moved.ids if kept[key]] == [one, other]
    with pytest.raises(NotTakenBackError, match="2 sessions"):
        downgrade_schema(str(moved.target), "base")


def test_so_does_a_session_with_a_text_there_that_is_not_utf8(moved: Moved) -> None:
    one = moved.ids[0]
    change(moved.target, f"ALTER TABLE {moved.system.home} ADD COLUMN note TEXT")
    change(moved.target, f"UPDATE {moved.system.home} SET note = {NO_TEXT} WHERE session_id = ?", one)
    report = moved.take_back()
    assert codes(report) == [(one, "target_unreadable")]
    assert f"{moved.system.home}.note is a text that is not UTF-8" in report.errors[0].error
    assert [key for key, state in ledger(moved.target).items() if state == "moved"] == [one]


@pytest.mark.torture
def test_so_it_does_in_every_column_of_every_table(moved: Moved) -> None:
    one, others = moved.ids[0], moved.ids[1:]
    # of each table it has a row, and what a move leaves NULL is read too
    if moved.system is SYNTH:
        (event,) = query(moved.target, "SELECT max(id) FROM events")[0]
        reward = "INSERT INTO event_rewards (event_id, session_id, reward_value, created_at) VALUES (?, ?, 1, '')"
        change(moved.target, reward, event, one)
    tried, run = 0, set()
    for table in moved.system.tables:
        assert query(moved.target, f"SELECT 1 FROM {table} WHERE session_id = ?", one)
        for column in [name for _, name, *_ in query(moved.target, f"PRAGMA table_info({table})")]:
            whole = query(moved.target, f"SELECT rowid, {column} FROM {table} WHERE session_id = ? LIMIT 1", one)
            if column == "session_id":
                continue
            with suppress(sqlite3.IntegrityError):  # some types have a CHECK, and numbers that count rows are numbers
                change(moved.target, f"UPDATE {table} SET {column} = {NO_TEXT} WHERE rowid = ?", whole[0][0])
                where = f"{('libsql', 'sqlite')[tried % 2]}://{moved.target}"
                with open_store(where, mode="ro", role="target") as store:
                    watched = Watched(store, moved.system.tables, {})
                    seen, why = watched.digests(moved.ids), watched.unreadable(moved.ids)
                assert [key for key in moved.ids if seen[key] == UNREADABLE] == [one] == [*why], f"{table}.{column}"
                assert f"{table}.{column} is" in why[one]
                # a run asks this of the rows, whatever the column: one of each table tells that it does
                if TORTURE or table not in run:
                    report = rollback(where, RollbackOptions(everything=True), dry_run=True).report
                    assert codes(report) == [(one, "target_unreadable")], f"{table}.{column}"
                    assert why[one] == report.errors[0].error
                    assert report.migrated_sessions == len(others)
                    run.add(table)
                change(moved.target, f"UPDATE {table} SET {column} = ? WHERE rowid = ?", whole[0][1], whole[0][0])
                tried += 1
    assert tried >= (20 if moved.system is SWARM else 50)
    assert run == set(moved.system.tables)
    assert moved.take_back().errors == []


def test_so_does_one_of_the_catalog_which_stays(tmp_path: Path) -> None:
    found = Moved(SYNTH, tmp_path / "v2.duckdb", tmp_path / "v3.db")
    found.begin()
    change(found.target, f"UPDATE systems SET description = {NO_TEXT}")
    report = found.take_back()
    assert codes(report) == [(None, "target_unreadable")]
    assert report.errors[0].table == "systems"
    assert set(ledger(found.target).values()) == {"rolled_back"}
    change(found.target, "UPDATE systems SET description = 'mended'")
    assert found.take_back().errors == []
    with duckdb.connect(str(found.source)) as db:
        assert set(db.execute("SELECT description FROM systems").fetchall()) == {("mended",)}


def before_each_look(monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> None:
    """Have something done each time when everything was carried and is about to be looked at."""
    real = Check.begin

    def begin(check: Check, turns: Sequence[Any]) -> None:
        if turns:
            work()
        real(check, turns)

    monkeypatch.setattr(Check, "begin", begin)
