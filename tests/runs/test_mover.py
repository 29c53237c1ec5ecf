"""One session at a time, inside the application: once, whole, and by the same ledger as a run."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.made import make_synth_v2

from sessionlift.converters.synth import V3_SESSION_TABLES
from sessionlift.errors import StoreLockedError, VerificationError
from sessionlift.runs import SessionMover, TransferOptions, migrate, verify
from sessionlift.stores import Store, open_store

pytestmark = pytest.mark.slow


@pytest.fixture
def stores(tmp_path: Path) -> tuple[str, str]:
    source = tmp_path / "old.duckdb"
    make_synth_v2(source, sessions=6, seed=7)
    return str(source), str(tmp_path / "new.db")


def ids_of(source: str) -> list[str]:
    with duckdb.connect(source, read_only=True) as store:
        return [row[0] for row in store.execute("SELECT session_id FROM session_traces ORDER BY rowid").fetchall()]


def rows_of(target: str) -> dict[str, list[str]]:
    """All rows by table; outcome rewards without the id, which the target gives in the order they come."""
    with open_store(target, mode="ro", role="target") as store:
        found = {table: store.query(f"SELECT * FROM {table}") for table in V3_SESSION_TABLES}
    return {
        table: sorted(repr(row[1:] if table == "outcome_rewards" else row) for row in rows)
        for table, rows in found.items()
    }


def test_a_session_is_moved_once_and_then_known(stores: tuple[str, str]) -> None:
    first = ids_of(stores[0])[0]
    with SessionMover(*stores, TransferOptions()) as mover:
        assert mover.state(first) is None
        assert (mover.move(first).state, mover.move(first).now) == ("moved", False)
        assert mover.move(first, again=True).now is False, "its source is the same"
        assert mover.move("no such session").state == "absent"


def test_what_is_moved_one_by_one_verifies_and_a_run_moves_the_rest(stores: tuple[str, str], tmp_path: Path) -> None:
    source, target = stores
    ids = ids_of(source)
    with SessionMover(source, target, TransferOptions()) as mover:
        moved = [mover.move(each) for each in ids[::2]]
    assert all(each.now for each in moved)
    assert not verify(source, target).report.has_findings
    report = migrate(source, target, TransferOptions()).report
    assert (report.skipped_sessions, report.migrated_sessions) == (3, 3)
    migrate(source, str(tmp_path / "whole.db"), TransferOptions())
    assert rows_of(target) == rows_of(str(tmp_path / "whole.db"))


def _move_all(source: str, target: str, ids: list[str], queue: Any) -> None:
    with SessionMover(source, target, TransferOptions()) as mover:
        queue.put(sum(mover.move(each).now for each in ids))


def test_processes_that_move_the_same_sessions_move_each_once(stores: tuple[str, str]) -> None:
    source, target = stores
    ids = ids_of(source)
    with SessionMover(source, target, TransferOptions()):
        pass  # the target is there before the race
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    movers = [spawn.Process(target=_move_all, args=(source, target, ids, queue)) for _ in range(2)]
    for each in movers:
        each.start()
    counts = [queue.get(timeout=60) for _ in movers]
    for each in movers:
        each.join()
    assert sum(counts) == len(ids)
    assert not verify(source, target).report.has_findings


def test_a_target_that_gives_back_other_values_gets_nothing(
    stores: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = stores
    first = ids_of(source)[0]
    with SessionMover(source, target, TransferOptions()) as mover:
        real = type(mover.store).insert_rows

        def wrong(store: Store, table: str, columns: Any, rows: Any) -> int:
            if table == "messages":
                rows = [(*row[:-1], "{}") for row in rows]
            return real(store, table, columns, rows)

        monkeypatch.setattr(type(mover.store), "insert_rows", wrong)
        with pytest.raises(VerificationError, match="does not read back"):
            mover.move(first)
        monkeypatch.undo()
        assert mover.state(first) is None
        assert mover.move(first).now


def test_a_target_that_another_writer_keeps_is_left_alone(
    stores: tuple[str, str],
) -> None:
    source, target = stores
    first = ids_of(source)[0]
    with (
        SessionMover(source, target, TransferOptions(), wait=0.2) as mover,
        open_store(target, mode="rw", role="target") as other,
    ):
        with other.transaction(), pytest.raises(StoreLockedError):
            mover.move(first)
        assert mover.move(first).now
