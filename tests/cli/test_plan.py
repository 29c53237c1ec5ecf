"""``sessionlift plan``: changes nothing, and refuses what the run would refuse."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.moved import change_source, snapshot
from tests.support.run_fixtures import Legacy
from tests.support.warm import Warm


@pytest.mark.slow
def test_a_plan_makes_no_file(sessionlift: Warm, legacy: Legacy, tmp_path: Path) -> None:
    source = legacy(sessions=4)
    before = snapshot(tmp_path)
    for arguments in ((source,), (source, tmp_path / "v3.db"), (source, "--json")):
        assert sessionlift("plan", *arguments, cwd=tmp_path).code == 0
        assert snapshot(tmp_path) == before
        assert not (tmp_path / "v3.db").exists()


def test_a_plan_as_text_and_as_json(sessionlift: Warm, legacy: Legacy) -> None:
    source = legacy(sessions=4)
    text = sessionlift("plan", source)
    assert "4 of 4 sessions would be moved" in text.out
    assert "Nothing was changed" in text.out
    plan = json.loads(sessionlift("plan", source, "--json").out)["report"]
    assert (plan["kind"], plan["status"], plan["total_sessions"]) == ("plan", "completed_with_findings", 4)
    assert {line["code"] for line in plan["errors"]} == {"orphan_row"}


@pytest.mark.slow
def test_a_plan_is_a_report_that_can_be_kept(sessionlift: Warm, legacy: Legacy, tmp_path: Path) -> None:
    kept = tmp_path / "plan.json"
    source = legacy(sessions=4)
    for change in ("SELECT 1", "UPDATE session_traces SET created_at = 'infinity'::TIMESTAMP"):
        change_source(source, change)
        assert sessionlift("plan", source, "--report-file", kept).code == 0
        checked = sessionlift("report", "check", kept)
        assert checked.code == 0, checked.out


@pytest.mark.slow
def test_a_plan_from_a_source_that_was_moved_to_another_place(
    sessionlift: Warm, legacy: Legacy, tmp_path: Path, target: Path
) -> None:
    source = legacy(sessions=4, traps="none")
    assert sessionlift("migrate", source, target).code == 0
    there = source.rename(tmp_path / "there.duckdb")
    refused = sessionlift("plan", there, target)
    assert refused.code == 4
    assert "say --same-source" in refused.err
    found = sessionlift("plan", there, target, "--same-source", "--json")
    assert found.code == 0, found.err
    assert json.loads(found.out)["report"]["skipped_sessions"] == 4


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--same-source",), 2, "name the target"),
        (("--only", "none"), 2, "no session 'none'"),
        (("--timezone", "Nowhere/Land"), 2, "Nowhere/Land"),
        (("--mapping", "/nowhere/mapping.json"), 2, "does not exist"),
    ],
)
def test_a_call_that_is_wrong(
    sessionlift: Warm, legacy: Legacy, options: tuple[str, ...], code: int, said: str
) -> None:
    outcome = sessionlift("plan", legacy(sessions=4), *options)
    assert outcome.code == code
    assert said in outcome.err
    assert "Traceback" not in outcome.err


def test_a_source_that_cannot_be_read(sessionlift: Warm, tmp_path: Path) -> None:
    outcome = sessionlift("plan", tmp_path / "none.duckdb")
    assert (outcome.code, "Error [store_not_found]" in outcome.err) == (3, True)


@pytest.mark.slow
def test_a_target_that_the_run_would_refuse(sessionlift: Warm, legacy: Legacy, target: Path, tmp_path: Path) -> None:
    source = legacy(sessions=4)
    with closing(sqlite3.connect(target)) as db:
        db.execute("CREATE TABLE notes (text)")
        db.commit()
    refused = (target, tmp_path, source, tmp_path / "nowhere" / "v3.db")
    for goal, code in zip(refused, (4, 4, 2, 4), strict=True):
        planned, done = sessionlift("plan", source, goal), sessionlift("migrate", source, goal)
        assert planned.code == done.code == code, planned.err + done.err
        assert planned.err.split("]")[0] == done.err[done.err.index("Error [") :].split("]")[0]
