"""What a plan foresees is what the run then reports."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.moved import change_source, session_ids, snapshot
from tests.support.run_fixtures import Legacy
from tests.support.warm import Warm

pytestmark = pytest.mark.slow

REAL = (
    "small.duckdb",
    "small_mid.duckdb",
    "partial.duckdb",
    "w_1.0.0.duckdb",
    "crash_1.1.3.duckdb",
    "crash_1.5.6.duckdb",
)


def assert_foreseen(sessionlift: Warm, source: Path, target: Path, *options: object) -> None:
    """Plan and run; compare every count. Outcome rewards come from parsed metadata and are not foreseen."""
    before = snapshot(source.parent)
    foreseen = sessionlift("plan", source, target, "--json", *options)
    assert foreseen.code == 0, foreseen.err + foreseen.out
    assert not list(target.parent.iterdir()), "the plan made a file"
    done = sessionlift("migrate", source, target, "--json", *options)
    assert done.code in (0, 1), done.err + done.out
    assert snapshot(source.parent) == before
    plan, run = (json.loads(each.out)["report"] for each in (foreseen, done))
    for name in ("total_sessions", "migrated_sessions", "skipped_sessions", "failed_sessions"):
        assert plan[name] == run[name], name
    assert tables(plan) == tables(run)
    assert losses(plan) == losses(run)


def tables(report: dict[str, Any]) -> dict[str, Any]:
    found = {
        name: counts for name, counts in report["tables"].items() if any(counts.values()) and name != "outcome_rewards"
    }
    assert found
    return found


def losses(report: dict[str, Any]) -> dict[tuple[str, str, str], int]:
    return {(loss["code"], loss["table"], loss["column"]): loss["count"] for loss in report["losses"]}


@pytest.mark.parametrize(
    ("dress", "traps"),
    [
        pytest.param(dress, traps, marks=[] if traps == "all" else [pytest.mark.slow])
        for dress in ("final", "mid", "mixed")
        for traps in ("none", "usual", "all")
    ],
)
def test_made_up_stores_of_every_dress(sessionlift: Warm, legacy: Legacy, target: Path, dress: str, traps: str) -> None:
    assert_foreseen(sessionlift, legacy(sessions=20, dress=dress, traps=traps), target)


@pytest.mark.slow
@pytest.mark.fixtures
@pytest.mark.parametrize("name", REAL)
def test_stores_of_the_real_program(
    sessionlift: Warm, real_stores: Path, tmp_path: Path, target: Path, name: str
) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    for path in (real_stores / "synth").glob(f"{name}*"):
        if not path.name.endswith(".json"):
            shutil.copy(path, folder)
            (folder / path.name).chmod(0o644)
    assert_foreseen(sessionlift, folder / name, target)


@pytest.mark.parametrize("chosen", [1, 3])
def test_chosen_sessions(sessionlift: Warm, legacy: Legacy, target: Path, chosen: int) -> None:
    source = legacy(sessions=20, traps="all")
    only = [word for session_id in session_ids(source)[:chosen] for word in ("--only", session_id)]
    assert_foreseen(sessionlift, source, target, *only)


def test_sessions_and_rows_that_cannot_be_converted(sessionlift: Warm, legacy: Legacy, target: Path) -> None:
    source = legacy(sessions=20, traps="all")
    first, second = session_ids(source)[:2]
    change_source(
        source,
        f"UPDATE session_traces SET created_at = 'infinity'::TIMESTAMP WHERE session_id = '{first}'",
        f"UPDATE events SET event_type = 'no such type' WHERE session_id = '{second}'",
    )
    assert_foreseen(sessionlift, source, target)


def test_a_mapping_and_a_time_zone_are_foreseen(
    sessionlift: Warm, legacy: Legacy, target: Path, tmp_path: Path
) -> None:
    mapping = tmp_path / "mapping.json"
    mapping.write_text('{"message_types": {"observation": "user"}, "event_types": {"odd": "cais"}}')
    source = legacy(sessions=20, dress="mixed")
    change_source(
        source,
        "UPDATE events SET event_type = 'odd' WHERE id % 7 = 0",
        "UPDATE events SET event_type = 'odder' WHERE id % 11 = 0",
    )
    assert_foreseen(sessionlift, source, target, "--mapping", mapping, "--timezone", "Europe/Berlin")


def test_sessions_that_moved_before_are_foreseen_as_skipped(sessionlift: Warm, legacy: Legacy, target: Path) -> None:
    source = legacy(sessions=20, traps="usual")
    chosen = session_ids(source)[3]
    assert sessionlift("migrate", source, target, "--only", chosen, "--json").code == 0
    before = target.read_bytes()
    plan = json.loads(sessionlift("plan", source, target, "--json").out)["report"]
    assert (plan["total_sessions"], plan["skipped_sessions"], plan["migrated_sessions"]) == (20, 1, 19)
    assert target.read_bytes() == before


@pytest.mark.parametrize(
    "metadata",
    [
        '[{"metadata_type": "a", "data": {"x": 1,}}]',
        '[{"metadata_type": "a", "data": -inf}]',
        '[{"metadata_type": "a", "data": ' + "[" * 2_000 + "]" * 2_000 + "}]",
        '[{"metadata_type": "a", "data": ' + "9" * 5_000 + "}]",
        '[{"metadata_type": "a", "data": "nan, [inf,] is a text"}]',
    ],
)
def test_metadata_that_python_may_not_read(sessionlift: Warm, legacy: Legacy, target: Path, metadata: str) -> None:
    source = legacy(sessions=6)
    with duckdb.connect(str(source)) as store:
        store.execute(
            "UPDATE session_traces SET metadata = ? WHERE session_id = (SELECT max(session_id) FROM session_traces)",
            [metadata],
        )
    assert_foreseen(sessionlift, source, target)
