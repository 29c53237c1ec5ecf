"""What a source has beside all that a move knows of is told, in a plan and in a run, and stays where it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.made import make_synth_v2
from tests.support.moved import change, change_source, query

from sessionlift._demo import make_langswarm_v1
from sessionlift.bridge import backfill
from sessionlift.generations import detect
from sessionlift.reports import Report
from sessionlift.runs import RollbackOptions, TransferOptions, migrate, plan, rollback

pytestmark = pytest.mark.slow

OWN = (
    "CREATE TABLE notes (text VARCHAR)",
    "INSERT INTO notes VALUES ('a'), ('b')",
    "CREATE TABLE no_rows (text VARCHAR)",
    "ALTER TABLE {0} ADD COLUMN colour VARCHAR",
    "ALTER TABLE {0} ADD COLUMN never_filled VARCHAR",
    "UPDATE {0} SET colour = 'red' WHERE session_id = (SELECT min(session_id) FROM {0})",
)


@pytest.fixture(params=["synth", "langswarm"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A store with a table and a column of its owner's, and the table that has the column."""
    if request.param == "synth":
        path = make_synth_v2(tmp_path / "old.duckdb", sessions=3, traps="none").path
        change_source(path, *(each.format("session_traces") for each in OWN))
        return path, "session_traces"
    path = make_langswarm_v1(tmp_path / "old.db", sessions=3, traps="none").path
    for each in OWN:
        change(path, each.format("sessions"))
    return path, "sessions"


def beside(report: Report) -> dict[tuple[str, str | None], int]:
    facts = ("table_not_moved", "column_not_moved")
    return {(fact.code, fact.table): fact.count for fact in report.source_facts if fact.code in facts}


def test_it_is_counted_by_table(source: tuple[Path, str], tmp_path: Path) -> None:
    path, table = source
    told = {("table_not_moved", "notes"): 2, ("column_not_moved", table): 1}
    assert beside(plan(str(path), None, TransferOptions())) == told
    report = migrate(str(path), str(tmp_path / "new.db"), TransferOptions()).report
    assert beside(report) == told
    assert (report.status, report.has_findings) == ("completed", False)
    (named,) = [fact.examples for fact in report.source_facts if fact.code == "column_not_moved"]
    assert named == [{"column": "colour", "values": 1}]
    assert detect(str(path)).to_dict()["beside"] == {"notes": 2, f"{table}.colour": 1}


def test_a_table_in_another_schema_of_the_file_is_named_with_it(tmp_path: Path) -> None:
    path = make_synth_v2(tmp_path / "old.duckdb", sessions=1, traps="none").path
    change_source(path, "CREATE SCHEMA extra", "CREATE TABLE extra.notes AS SELECT 1 AS n")
    told = {("table_not_moved", "extra.notes"): 1}
    assert beside(plan(str(path), None, TransferOptions())) == told
    assert beside(migrate(str(path), str(tmp_path / "new.db"), TransferOptions()).report) == told
    assert detect(str(path)).to_dict()["beside"] == {"extra.notes": 1}


def test_a_move_one_by_one_tells_of_it_once(source: tuple[Path, str], tmp_path: Path) -> None:
    path, table = source
    told = {("table_not_moved", "notes"): 2, ("column_not_moved", table): 1}
    assert beside(backfill(str(path), str(tmp_path / "new.db")).report) == told


def test_a_rollback_leaves_it_as_it_is(source: tuple[Path, str], tmp_path: Path) -> None:
    path, table = source
    target = tmp_path / "new.db"
    migrate(str(path), str(target), TransferOptions())
    home = "session_traces" if table == "session_traces" else "sessions"
    (key,) = query(target, f"SELECT min(session_id) FROM {home}")[0]
    if home == "sessions":
        change(target, "DELETE FROM session_messages WHERE session_id = ?", key)
    else:
        change(target, "UPDATE session_traces SET num_messages = 99 WHERE session_id = ?", key)
    assert rollback(str(target), RollbackOptions(everything=True)).report.status == "completed"
    assert detect(str(path)).to_dict()["beside"] == {"notes": 2, f"{table}.colour": 1}
