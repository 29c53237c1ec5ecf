"""A report is not blamed for what the old program does with rows of no session later, and still held to the rest."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.made import make_synth_v2
from tests.support.moved import change, query

from sessionlift._demo import make_langswarm_v1
from sessionlift.runs import RollbackOptions, TransferOptions, migrate, rollback, verify

pytestmark = pytest.mark.slow

NEW_SYSTEM = "INSERT INTO systems (id, name) VALUES ('new', 'new')"
CHANGES = {
    "a system": [NEW_SYSTEM],
    "a version": [
        NEW_SYSTEM,
        "INSERT INTO system_versions (id, system_id, branch, commit, created_at) "
        "VALUES ('v', 'new', 'main', 'abc', now()::TIMESTAMP)",
    ],
    "a row of no session": [
        "INSERT INTO messages SELECT * REPLACE (9999 AS id, 'nobody' AS session_id) FROM messages LIMIT 1"
    ],
    "one less": ["DELETE FROM experimental_systems WHERE rowid = (SELECT min(rowid) FROM experimental_systems)"],
}


@dataclass
class Road:
    source: Path
    target: Path
    report: Path

    def in_source(self, *statements: str) -> None:
        with duckdb.connect(str(self.source)) as db:
            for statement in statements:
                db.execute(statement)

    def rewrite(self, work: Callable[[dict[str, Any]], None]) -> None:
        told = json.loads(self.report.read_text("utf-8"))
        work(told)
        self.report.write_text(json.dumps(told), "utf-8")

    def codes(self) -> set[str]:
        return {code for code, _ in self.places()}

    def places(self) -> set[tuple[str, str | None]]:
        found = verify(str(self.source), str(self.target), report_file=self.report).report
        return {(line.code, line.table) for line in found.errors}


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Road:
    folder = tmp_path_factory.mktemp("moved")
    source, target = folder / "legacy.duckdb", folder / "v3.db"
    make_synth_v2(source, sessions=4, seed=9, dress="final", traps="all")
    with duckdb.connect(str(source)) as db:
        db.execute("INSERT INTO messages SELECT * REPLACE (9998 AS id, 'none' AS session_id) FROM messages LIMIT 1")
    path = migrate(str(source), str(target), TransferOptions()).path
    assert path is not None
    return Road(source, target, path)


@pytest.fixture
def road(moved: Road, tmp_path: Path) -> Road:
    for path in (moved.source, moved.target):
        shutil.copy(path, tmp_path)
    shutil.copytree(moved.report.parent, tmp_path / moved.report.parent.name)
    reports = tmp_path / moved.report.parent.name
    return Road(tmp_path / moved.source.name, tmp_path / moved.target.name, reports / moved.report.name)


@pytest.mark.parametrize("what", CHANGES)
def test_what_the_old_program_has_changed_since_is_told_as_that_alone(road: Road, what: str) -> None:
    road.in_source(*CHANGES[what])
    assert road.codes() == {"changed_in_source"}


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO messages SELECT * REPLACE (9999 AS id) FROM messages WHERE session_id <> 'none' LIMIT 1",
        "DELETE FROM messages WHERE id = (SELECT min(id) FROM messages)",
        "UPDATE messages SET message_type = 'system' WHERE id = (SELECT min(id) FROM messages)",
    ],
    ids=["a message more", "one less", "another one"],
)
def test_a_session_that_the_old_program_went_on_with_is_not_blamed_on_the_report(road: Road, statement: str) -> None:
    road.in_source(statement)
    assert {"changed_in_source"} <= road.codes() <= {"changed_in_source", "differs_from_source"}
    road.rewrite(fewer_losses)
    road.rewrite(less_written)
    assert {"claim_losses", "claim_written"} <= road.codes()


def test_a_langswarm_session_that_the_old_program_went_on_with_is_not_blamed_on_the_report(tmp_path: Path) -> None:
    source, target = tmp_path / "v1.db", tmp_path / "v2.db"
    make_langswarm_v1(source, sessions=12, seed=2, traps="all")
    path = migrate(str(source), str(target), TransferOptions()).path
    assert path is not None
    road = Road(source, target, path)
    one = "(SELECT session_id FROM sessionlift_units WHERE state = 'moved' ORDER BY session_id LIMIT 1)"
    (key,) = query(target, f"SELECT session_id FROM session_messages WHERE session_id = {one} LIMIT 1")[0]
    (text,) = query(source, "SELECT history FROM sessions WHERE session_id = ?", key)[0]
    history = json.loads(text)
    history["messages"].append({**history["messages"][-1], "id": "later", "content": None})
    change(source, "UPDATE sessions SET history = ? WHERE session_id = ?", json.dumps(history), key)
    assert {"changed_in_source"} <= road.codes() <= {"changed_in_source", "differs_from_source"}
    road.rewrite(lambda told: told["tables"]["session_messages"].update(written=1))
    assert "claim_written" in road.codes()


def more_written(told: dict[str, Any]) -> None:
    told["tables"]["systems"]["read"] += 1
    told["tables"]["systems"]["written"] += 1


def less_written(told: dict[str, Any]) -> None:
    told["tables"]["messages"]["read"] -= 2
    told["tables"]["messages"]["written"] -= 2


def another_read(told: dict[str, Any]) -> None:
    told["tables"]["systems"]["read"] += 1


def less_aside(told: dict[str, Any]) -> None:
    told["tables"]["messages"]["read"] -= 1
    told["tables"]["messages"]["quarantined"] -= 1


def fewer_losses(told: dict[str, Any]) -> None:
    next(loss for loss in told["losses"] if loss["table"] == "messages").update(count=1, examples=[])


def more_losses_than_rows(told: dict[str, Any]) -> None:
    next(loss for loss in told["losses"] if loss["table"] == "system_versions").update(count=999, examples=[])


@pytest.mark.parametrize(
    ("forged", "told"),
    [
        (
            [more_written, less_written],
            {("claim_written", "systems"), ("claim_written", "messages"), ("claim_read", "messages")},
        ),
        ([another_read], {("report_contract", None)}),
        ([less_aside], {("claim_quarantined", "messages")}),
        ([fewer_losses, more_losses_than_rows], {("claim_losses", "messages"), ("claim_losses", "system_versions")}),
    ],
)
def test_a_forged_count_is_found_though_the_old_program_has_changed_the_catalog(
    road: Road, forged: list[Callable[[dict[str, Any]], None]], told: set[tuple[str, str | None]]
) -> None:
    road.in_source(*CHANGES["a version"])
    for forge in forged:
        road.rewrite(forge)
    assert told <= road.places()


def test_a_forged_count_of_a_catalog_that_has_not_changed_is_found_exactly(road: Road) -> None:
    catalog = ("systems", "system_versions", "experiments", "experimental_systems")
    for table in catalog:
        road.rewrite(lambda told, table=table: told["tables"][table].update(read=told["tables"][table]["read"] + 1))  # type: ignore[misc]
    told = road.places()
    assert {place for place in told if place[0] == "claim_read"} == {("claim_read", table) for table in catalog}
    assert {code for code, _ in told} == {"report_contract", "claim_read"}


def test_a_row_of_no_session_that_the_old_langswarm_has_written_since_is_told_as_that_alone(tmp_path: Path) -> None:
    source, target = tmp_path / "v1.db", tmp_path / "v2.db"
    make_langswarm_v1(source, sessions=3, traps="none")
    with closing(sqlite3.connect(source)) as db:
        listed = ", ".join(row[1] for row in list(db.execute("PRAGMA table_info(sessions)"))[1:])
    of_none = f"INSERT INTO sessions (session_id, {listed}) SELECT ?, {listed} FROM sessions LIMIT 1"
    change(source, of_none, b"\0")
    path = migrate(str(source), str(target), TransferOptions()).path
    assert path is not None
    assert Road(source, target, path).codes() == set()
    change(source, of_none, b"\1")
    assert Road(source, target, path).codes() == {"changed_in_source"}


@pytest.mark.parametrize("system", ["synth", "langswarm"])
def test_a_session_that_both_stores_have_lost_by_a_way_back_is_no_fault_of_a_report(
    tmp_path: Path, system: str
) -> None:
    target = tmp_path / "new.db"
    tables: tuple[str, ...]
    if system == "synth":
        source, tables = tmp_path / "old.duckdb", ("events", "messages", "session_timesteps", "session_traces")
        make_synth_v2(source, sessions=3, traps="none")
    else:
        source, tables = tmp_path / "old.db", ("session_messages", "session_metrics", "sessions")
        make_langswarm_v1(source, sessions=3)
    reports = [migrate(str(source), str(target), TransferOptions()).path for _ in range(2)]
    ((one,),) = query(target, f"SELECT min(session_id) FROM {tables[-1]}")
    for table in ("event_rewards", "outcome_rewards", *tables) if system == "synth" else tables:
        change(target, f"DELETE FROM {table} WHERE session_id = ?", one)
    taken = rollback(str(target), RollbackOptions(everything=True)).report
    assert ("carried_deleted", 1) in {(fact.code, fact.count) for fact in taken.source_facts}
    reports.append(migrate(str(source), str(target), TransferOptions()).path)

    for report in reports:
        assert verify(str(source), str(target), report_file=report).report.errors == []
