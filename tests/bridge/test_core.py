"""Where a session lives, and its first use: moved once, or served from the legacy store and told."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.support.made import make_synth_v2
from tests.support.moved import change_source, session_ids

from sessionlift.bridge import AsyncBridgeCore, BridgeCore, Rollout
from sessionlift.bridge._signature import LegacyWatch
from sessionlift.converters import SESSION
from sessionlift.errors import (
    FidelityError,
    SessionConflictError,
    SessionliftError,
    StoreFullError,
    StoreLockedError,
    UsageError,
    VerificationError,
)
from sessionlift.ledger import Attempts, Ledger
from sessionlift.reports import check_file
from sessionlift.runs import status, verify
from sessionlift.stores import Fidelity, Store, open_store, parse_store_url

pytestmark = pytest.mark.slow

Stores = tuple[str, str]
IDS: dict[str, list[str]] = {}


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    source = tmp_path / "old.duckdb"
    make_synth_v2(source, sessions=5, seed=7)
    IDS[str(source)] = session_ids(source)
    return str(source), str(tmp_path / "new.db")


def ids_of(stores: Stores) -> list[str]:
    """Known from the start: while a bridge has the store open, this process may not open it in another way."""
    return IDS[stores[0]]


def report_of(core: BridgeCore) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(core.report.read_text())
    return found


def test_the_first_use_moves_a_session_and_the_next_finds_it(stores: Stores) -> None:
    first = ids_of(stores)[0]
    with BridgeCore(*stores) as core:
        place = core.ensure(first)
        assert (place.where, place.moved_now, place.error) == ("new", True, None)
        place = core.ensure(first)
        assert (place.where, place.moved_now) == ("new", False)
        assert core.ensure("nobody's").where == "absent"
    assert not verify(*stores).report.has_findings


def test_a_window_leaves_a_report_that_balances_and_a_finished_run(stores: Stores) -> None:
    with BridgeCore(*stores) as core:
        for each in ids_of(stores)[:5]:
            core.ensure(each)
    assert check_file(core.report) == []
    report = report_of(core)
    assert (report["kind"], report["migrated_sessions"], report["total_sessions"]) == ("bridge", 5, 5)
    assert report["digests"]["sessions"] == 5
    assert "sessionlift_version" in report["ledger"]["tables"]
    (run,) = status(stores[1]).runs
    assert (run.run_id, run.kind, run.status) == (core.run_id, "bridge", report["status"])


def test_a_window_that_is_open_writes_its_report_every_so_often(stores: Stores) -> None:
    with BridgeCore(*stores, report_every=0.0) as core:
        core.ensure(ids_of(stores)[0])
        report = report_of(core)
        assert (report["status"], report["migrated_sessions"]) == ("running", 1)
        assert check_file(core.report) == []


def test_a_window_tells_of_one_that_never_came_to_its_end(stores: Stores) -> None:
    left = BridgeCore(*stores)
    with BridgeCore(*stores) as core:
        pass
    assert any(left.run_id in text for text in report_of(core)["assumptions"])
    left.close()


def test_what_is_not_chosen_stays_and_what_has_moved_is_served(stores: Stores) -> None:
    first, second, *_ = ids_of(stores)
    with BridgeCore(*stores) as core:
        core.ensure(first)
    for rollout, where in (
        (Rollout(mode="off"), "legacy"),
        (Rollout(share=0.0), "legacy"),
        (Rollout(paused=True), "legacy"),
        (Rollout(mode="shadow"), "legacy"),
        (Rollout(), "new"),
    ):
        with BridgeCore(*stores, rollout=rollout) as core:
            assert core.ensure(first).where == "new"
            assert core.ensure(second).where == where, rollout
            assert core.ensure("nobody's").where == "absent"


def test_lists_stand_above_the_share(stores: Stores) -> None:
    first, second, third, *_ = ids_of(stores)
    with BridgeCore(*stores, rollout=Rollout(share=0.0, allow=frozenset({first}))) as core:
        assert [core.ensure(each).where for each in (first, second)] == ["new", "legacy"]
    with BridgeCore(*stores, rollout=Rollout(allow=frozenset({second}), deny=frozenset({second}))) as core:
        assert [core.ensure(each).where for each in (second, third)] == ["legacy", "new"]


def test_threads_that_use_one_session_at_once_move_it_once(stores: Stores) -> None:
    ids = ids_of(stores)
    with BridgeCore(*stores) as core, ThreadPoolExecutor(8) as threads:
        places = list(threads.map(core.ensure, ids * 8))
    assert {place.where for place in places} == {"new"}
    assert sum(place.moved_now for place in places) == len(ids)
    assert report_of(core)["migrated_sessions"] == len(ids)


def test_coroutines_that_use_one_session_at_once_move_it_once(stores: Stores) -> None:
    ids = ids_of(stores)

    async def use() -> list[bool]:
        async with await AsyncBridgeCore.open(*stores) as core:
            places = await asyncio.gather(*(core.ensure(each) for each in ids * 8))
            assert {place.where for place in places} == {"new"}
            assert await core.run(lambda store: store.query("SELECT count(*) FROM session_traces")) == [(len(ids),)]
        return [place.moved_now for place in places]

    assert sum(asyncio.run(use())) == len(ids)


# --- moves that fail -------------------------------------------------------------------------------------------


def locked(stores: Stores, _: pytest.MonkeyPatch) -> Callable[[], None]:
    other = open_store(stores[1], mode="rw", role="target")
    transaction = other.transaction()
    transaction.__enter__()

    def free() -> None:
        transaction.__exit__(None, None, None)
        other.close()

    return free


def failing(error: SessionliftError) -> Callable[[Stores, pytest.MonkeyPatch], Callable[[], None]]:
    def fail(_: Stores, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
        from sessionlift.stores._libsql import LibsqlStore

        real = LibsqlStore.insert_rows

        def refuse(store: Store, table: str, columns: Any, rows: Any) -> int:
            raise error

        monkeypatch.setattr(LibsqlStore, "insert_rows", refuse)
        return lambda: monkeypatch.setattr(LibsqlStore, "insert_rows", real)

    return fail


def wrong(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    from sessionlift.stores._libsql import LibsqlStore

    real = LibsqlStore.insert_rows

    def other_values(store: LibsqlStore, table: str, columns: Any, rows: Any) -> int:
        return real(store, table, columns, [(*row[:-1], "{}") for row in rows] if table == "messages" else rows)

    monkeypatch.setattr(LibsqlStore, "insert_rows", other_values)
    return lambda: monkeypatch.setattr(LibsqlStore, "insert_rows", real)


FAULTS: dict[str, tuple[Callable[[Stores, pytest.MonkeyPatch], Callable[[], None]], type[SessionliftError]]] = {
    "locked": (locked, StoreLockedError),
    "full": (failing(StoreFullError("no room", role="target")), StoreFullError),
    "wrong": (wrong, VerificationError),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_move_that_fails_is_served_from_legacy_and_told(
    stores: Stores, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ids_of(stores)[0]
    breaks, kind = FAULTS[fault]
    with BridgeCore(*stores, wait=0.1, retry_after=0.2) as core:
        mend = breaks(stores, monkeypatch)
        place = core.ensure(first)
        assert place.where == "legacy"
        assert isinstance(place.error, kind)
        assert isinstance(core.ensure(first).error, kind), "it is not tried again before a pause"
        mend()
        assert core.ensure(first).where == "legacy", "nor when the cause is gone"
        if fault != "locked":
            assert core.run(lambda store: Attempts(store).counts()) == {kind.code: 1}
        with open_store(stores[1], mode="ro", role="target") as look:
            assert look.query("SELECT count(*) FROM session_traces") == [(0,)]
        threading.Event().wait(0.25)
        assert core.ensure(first).moved_now
        assert core.run(lambda store: Attempts(store).counts()) == {}
    assert report_of(core)["failed_sessions"] == 0
    assert check_file(core.report) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_move_that_fails_is_raised_where_that_was_asked_for(
    stores: Stores, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ids_of(stores)[0]
    breaks, kind = FAULTS[fault]
    with BridgeCore(*stores, wait=0.1, on_error="raise") as core:
        mend = breaks(stores, monkeypatch)
        with pytest.raises(kind):
            core.ensure(first)
        mend()
        assert core.ensure(first).moved_now


def test_a_failure_that_lasts_is_in_the_report(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, *_ = ids_of(stores)
    with BridgeCore(*stores) as core:
        core.ensure(second)
        mend = wrong(stores, monkeypatch)
        core.ensure(first)
    mend()
    report = report_of(core)
    assert (report["failed_sessions"], report["migrated_sessions"], report["total_sessions"]) == (1, 1, 2)
    assert [(line["session_id"], line["code"]) for line in report["errors"]] == [(first, "verification")]
    assert check_file(core.report) == []


def test_the_pause_after_a_failure_holds_in_the_next_process_too(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ids_of(stores)[0]
    with BridgeCore(*stores, retry_after=60) as core:
        mend = wrong(stores, monkeypatch)
        core.ensure(first)
        mend()
    with BridgeCore(*stores, retry_after=60) as core:
        place = core.ensure(first)
        assert (place.where, place.error is not None) == ("legacy", True)
    with BridgeCore(*stores, retry_after=0.001) as core:
        assert core.ensure(first).moved_now


def test_a_driver_that_changes_values_moves_nothing(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ids_of(stores)[0]
    bad = Fidelity("libsql", "a driver", {"integers": "changed: 1 became 2"})
    with monkeypatch.context() as patch:
        patch.setattr("sessionlift.runs._mover.probe_fidelity", lambda _: bad)
        with pytest.raises(FidelityError):
            BridgeCore(*stores, on_error="raise")
        with BridgeCore(*stores, retry_after=0.1) as core:
            place = core.ensure(first)
            assert place.where == "legacy"
            assert isinstance(place.error, FidelityError)
            assert not Path(stores[1]).exists()
            patch.undo()
            threading.Event().wait(0.25)
            assert core.ensure(first).moved_now
            assert core.ensure(first).where == "new"
    assert check_file(core.report) == []


def test_a_delete_neither_waits_for_the_end_of_the_bridge_nor_keeps_it(stores: Stores) -> None:
    first = ids_of(stores)[0]
    core, inside = BridgeCore(*stores), threading.Event()

    def delete(store: Store) -> None:
        with store.transaction():
            inside.set()
            time.sleep(0.3)
            core.delete(store, first)

    def close() -> None:
        inside.wait()
        core.close()

    work = [threading.Thread(target=core.run, args=(delete,), daemon=True), threading.Thread(target=close, daemon=True)]
    for each in work:
        each.start()
    for each in work:
        each.join(30)
    assert not any(each.is_alive() for each in work), "each waits for the other"
    assert status(stores[1]).sessions == {"deleted": 1}


def test_a_delete_does_not_wait_for_a_move_that_waits_for_it(stores: Stores) -> None:
    first, second, *_ = ids_of(stores)
    with BridgeCore(*stores, wait=20.0) as core, ThreadPoolExecutor(1) as threads:

        def delete(store: Store) -> float:
            with store.transaction():
                moving = threads.submit(core.write, lambda _: None)
                time.sleep(0.3)
                begun = time.monotonic()
                core.delete(store, first)
                assert not moving.done(), "it waits for this transaction"
                return time.monotonic() - begun

        assert core.run(delete) < 10
        assert core.ensure(second).where == "new"


def test_threads_may_compare_with_the_legacy_store_at_once(tmp_path: Path) -> None:
    watch = LegacyWatch(parse_store_url(str(tmp_path / "v1.db")))

    def compare(name: int) -> None:
        for at in range(5_000):
            watch.compared(str(name), (at // 5,) if at % 3 else None)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(compare, range(4)))
    finally:
        sys.setswitchinterval(before)


def test_a_write_into_the_log_of_a_store_that_a_link_names_is_seen(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        for end in ("", "-wal"):
            file = tmp_path / place / f"v1.db{end}"
            file.write_bytes(b"x")
            os.utime(file, (1, 1))
    link = tmp_path / "v1.db"
    link.symlink_to("one/v1.db")
    watch = LegacyWatch(parse_store_url(str(link)))
    watch.compared("s", watch.signature())
    assert watch.fresh("s")
    with (tmp_path / "one" / "v1.db-wal").open("ab") as log:
        log.write(b"late")
    assert not watch.fresh("s")
    os.utime(log.name, (2, 2))
    watch.compared("s", watch.signature())
    link.unlink()
    link.symlink_to("two/v1.db")
    assert not watch.fresh("s"), "the link leads elsewhere now"


# --- sessions that are gone, late writes -----------------------------------------------------------------------


def test_a_deleted_session_stays_away_moved_or_not(stores: Stores) -> None:
    first, second, third, *_ = ids_of(stores)
    with BridgeCore(*stores) as core:
        core.ensure(first)
        for each in (first, second):

            def delete(store: Store, each: str = each) -> None:
                with store.transaction():
                    core.delete(store, each)

            core.run(delete)
        assert [core.ensure(each).where for each in (first, second, third)] == ["deleted", "deleted", "new"]
    with BridgeCore(*stores) as core:
        assert [core.ensure(each).where for each in (first, second)] == ["deleted", "deleted"]
    assert status(stores[1]).sessions == {"moved": 1, "deleted": 2}


def test_a_session_that_was_taken_back_is_served_from_legacy_at_once(stores: Stores) -> None:
    first = ids_of(stores)[0]
    with BridgeCore(*stores) as core:
        assert core.ensure(first).where == "new"
        with open_store(stores[1], mode="rw", role="target") as other, other.transaction():
            core.road.rows.remove(other, SESSION, [first])
            other.execute("UPDATE sessionlift_units SET state = 'rolled_back' WHERE session_id = ?", (first,))
        assert [core.ensure(first).where for _ in range(2)] == ["legacy", "legacy"]


def test_a_session_that_another_program_deleted_does_not_come_back(stores: Stores) -> None:
    first = ids_of(stores)[0]
    with BridgeCore(*stores) as core:
        core.ensure(first)
        with open_store(stores[1], mode="rw", role="target") as other, other.transaction():
            core.road.rows.remove(other, SESSION, [first])
        assert core.ensure(first).where == "deleted"


def test_what_the_new_program_made_is_the_new_stores(stores: Stores) -> None:
    with BridgeCore(*stores) as core:
        first = ids_of(stores)[0]
        core.ensure(first)
        with open_store(stores[1], mode="rw", role="target") as other, other.transaction():
            columns = [row[1] for row in other.query("PRAGMA table_info(session_traces)")]
            row = list(other.query("SELECT * FROM session_traces")[0])
            row[columns.index("session_id")] = "native"
            for place, column in enumerate(columns):
                if column == "id":
                    row[place] = None
            other.insert_rows("session_traces", columns, [row])
        assert core.ensure("native").where == "new"


def test_a_late_legacy_write_is_taken_up_at_the_next_use(stores: Stores) -> None:
    first = ids_of(stores)[0]
    with BridgeCore(*stores) as core:
        core.ensure(first)
    change_source(
        Path(stores[0]), f"UPDATE messages SET message_type = 'user', content = '\"late\"' WHERE session_id = '{first}'"
    )
    with BridgeCore(*stores) as core:
        assert core.ensure(first).moved_now
        assert not core.ensure(first).moved_now
        late = core.run(lambda store: store.query("SELECT content FROM messages WHERE session_id = ?", (first,)))
        assert all("late" in str(content) for (content,) in late)


def test_a_session_that_both_sides_changed_is_a_conflict_that_stands(stores: Stores) -> None:
    first = ids_of(stores)[0]
    with BridgeCore(*stores) as core:
        core.ensure(first)
        with open_store(stores[1], mode="rw", role="target") as other, other.transaction():
            other.execute("UPDATE messages SET content = 'new' WHERE session_id = ?", (first,))
    change_source(Path(stores[0]), f"UPDATE messages SET content = '\"late\"' WHERE session_id = '{first}'")
    with BridgeCore(*stores) as core:
        place = core.ensure(first)
        assert place.where == "new"
        assert isinstance(place.error, SessionConflictError)
        assert core.run(lambda store: Attempts(store).counts()) == {"session_conflict": 1}
        sql = "SELECT DISTINCT content FROM messages WHERE session_id = ?"
        assert core.run(lambda store: store.query(sql, (first,))) == [("new",)]
    assert [line["code"] for line in report_of(core)["errors"]] == ["session_conflict"]
    assert check_file(core.report) == []


def test_a_closed_bridge_says_so(stores: Stores) -> None:
    core = BridgeCore(*stores)
    core.close()
    core.close()
    with pytest.raises(UsageError, match="closed"):
        core.ensure("any")


def test_the_ledger_says_what_the_bridge_moved(stores: Stores) -> None:
    first = ids_of(stores)[0]
    with BridgeCore(*stores) as core:
        core.ensure(first)
        unit = core.run(lambda store: Ledger(store).units(SESSION, [first]))[first]
        assert (unit.run_id, unit.state) == (core.run_id, "moved")
