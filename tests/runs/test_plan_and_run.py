"""What a plan foresees is what the run then reports."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.laws import TORTURE
from tests.support.moved import change_source, session_ids, snapshot
from tests.support.run_fixtures import Legacy

from sessionlift.converters import TypeMapping
from sessionlift.runs import TransferOptions, migrate, plan, verify

pytestmark = pytest.mark.slow

REAL = (
    "small.duckdb",
    "small_mid.duckdb",
    "partial.duckdb",
    "w_1.0.0.duckdb",
    "crash_1.1.3.duckdb",
    "crash_1.5.6.duckdb",
)


def assert_foreseen(source: Path, target: Path, options: TransferOptions | None = None) -> None:
    """Plan and run; compare every count. Outcome rewards come from parsed metadata and are not foreseen."""
    options = options or TransferOptions()
    before = snapshot(source.parent)
    planned = plan(str(source), str(target), options).to_dict()
    assert not list(target.parent.iterdir()), "the plan made a file"
    run = migrate(str(source), str(target), options, verify=False).report.to_dict()
    assert snapshot(source.parent) == before
    for name in ("total_sessions", "migrated_sessions", "skipped_sessions", "failed_sessions"):
        assert planned[name] == run[name], name
    assert tables(planned) == tables(run)
    assert losses(planned) == losses(run)


def tables(report: dict[str, Any]) -> dict[str, Any]:
    found = {
        name: counts for name, counts in report["tables"].items() if any(counts.values()) and name != "outcome_rewards"
    }
    assert found
    return found


def losses(report: dict[str, Any]) -> dict[tuple[str, str, str], int]:
    return {(loss["code"], loss["table"], loss["column"]): loss["count"] for loss in report["losses"]}


# one of each kind; in torture each with each
STORES = [("final", "none"), ("mid", "usual"), ("mixed", "all")]
if TORTURE:
    STORES = list(product(*zip(*STORES, strict=True)))


@pytest.mark.torture
@pytest.mark.parametrize(("dress", "traps"), STORES)
def test_made_up_stores_of_every_dress(legacy: Legacy, target: Path, dress: str, traps: str) -> None:
    assert_foreseen(legacy(sessions=8, dress=dress, traps=traps), target)


def test_rows_in_quarantine_lose_no_timestep(legacy: Legacy, target: Path) -> None:
    source = legacy(sessions=4, traps="none")
    one, other = session_ids(source)[:2]
    change_source(
        source,
        "UPDATE session_timesteps SET num_events = NULL "
        f"WHERE session_id IN ('{one}', '{other}') OR session_id = (SELECT max(session_id) FROM session_traces)",
        "UPDATE events SET event_type = 'billing' WHERE id IN "
        f"(SELECT id FROM events WHERE session_id = '{one}' ORDER BY id LIMIT 2)",
    )
    with duckdb.connect(str(source), read_only=True) as db:
        sql = (
            "SELECT count(*) FROM events WHERE event_type <> 'billing' AND session_id IN (SELECT session_id FROM "
            "session_timesteps WHERE num_events IS NULL)"
        )
        unknown = db.execute(sql).fetchall()[0][0]
    assert_foreseen(source, target)
    found = verify(str(source), str(target), only=None).report
    assert found.errors == []
    with closing(sqlite3.connect(target)) as db:
        assert db.execute("SELECT count(*) FROM events WHERE timestep_id IS NULL").fetchall() == [(unknown,)]
    again = migrate(str(source), str(target.with_name("again.db")), TransferOptions())
    assert losses(again.report.to_dict())["timestep_unknown", "events", "timestep_id"] == unknown
    assert verify(None, None, report_file=again.path).report.errors == []


@pytest.mark.slow
@pytest.mark.fixtures
@pytest.mark.parametrize("name", REAL)
def test_stores_of_the_real_program(real_stores: Path, tmp_path: Path, target: Path, name: str) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    for path in (real_stores / "synth").glob(f"{name}*"):
        if not path.name.endswith(".json"):
            shutil.copy(path, folder)
            (folder / path.name).chmod(0o644)
    assert_foreseen(folder / name, target)


@pytest.mark.parametrize("chosen", [1, 3])
def test_chosen_sessions(legacy: Legacy, target: Path, chosen: int) -> None:
    source = legacy(sessions=8, traps="all")
    assert_foreseen(source, target, TransferOptions(only=tuple(session_ids(source)[:chosen])))


def test_sessions_and_rows_that_cannot_be_converted(legacy: Legacy, target: Path) -> None:
    source = legacy(sessions=8, traps="all")
    first, second = session_ids(source)[:2]
    change_source(
        source,
        f"UPDATE session_traces SET created_at = 'infinity'::TIMESTAMP WHERE session_id = '{first}'",
        f"UPDATE events SET event_type = 'no such type' WHERE session_id = '{second}'",
    )
    assert_foreseen(source, target)


def test_a_mapping_and_a_time_zone_are_foreseen(legacy: Legacy, target: Path) -> None:
    mapping = TypeMapping(message_types={"observation": "user"}, event_types={"odd": "cais"})
    source = legacy(sessions=8, dress="mixed")
    change_source(
        source,
        "UPDATE events SET event_type = 'odd' WHERE id % 7 = 0",
        "UPDATE events SET event_type = 'odder' WHERE id % 11 = 0",
    )
    assert_foreseen(source, target, TransferOptions(timezone="Europe/Berlin", timezone_given=True, mapping=mapping))


def test_sessions_that_moved_before_are_foreseen_as_skipped(legacy: Legacy, target: Path) -> None:
    source = legacy(sessions=8, traps="usual")
    chosen = session_ids(source)[3]
    migrate(str(source), str(target), TransferOptions(only=(chosen,)), verify=False)
    before = target.read_bytes()
    planned = plan(str(source), str(target), TransferOptions())
    assert (planned.total_sessions, planned.skipped_sessions, planned.migrated_sessions) == (8, 1, 7)
    assert target.read_bytes() == before


METADATA = (
    '[{"metadata_type": "a", "data": {"x": 1,}}]',
    '[{"metadata_type": "a", "data": -inf}]',
    '[{"metadata_type": "a", "data": ' + "[" * 2_000 + "]" * 2_000 + "}]",
    '[{"metadata_type": "a", "data": ' + "9" * 5_000 + "}]",
    '[{"metadata_type": "a", "data": "nan, [inf,] is a text"}]',
)


def test_metadata_that_python_may_not_read(legacy: Legacy, target: Path) -> None:
    source = legacy(sessions=6)
    with duckdb.connect(str(source)) as store:
        for place, metadata in enumerate(METADATA):
            store.execute("UPDATE session_traces SET metadata = ? WHERE rowid = ?", [metadata, place])
    assert_foreseen(source, target)
