"""The old program writes to its store at the very moment at which a rollback does."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from tests.support.swarm_bridge import Stores, make_stores
from tests.support.taken_back import V2_MESSAGE, ledger, v1_messages

from sessionlift.converters.langswarm import LangswarmLegacyRows
from sessionlift.errors import NotTakenBackError, StoreOvertakenError
from sessionlift.reports import check_file
from sessionlift.runs import RollbackOptions, RollbackResult, TransferOptions, downgrade_schema, migrate, rollback
from sessionlift.runs._rollback_carry import Carrier

pytestmark = pytest.mark.slow


@pytest.fixture
def stores(tmp_path: Any) -> Stores:
    made = make_stores(tmp_path, sessions=3)
    migrate(*made.both, TransferOptions())
    made.change(V2_MESSAGE, made.ids[0], "new", "said in the new store")
    return made


def taken_back(stores: Stores) -> RollbackResult:
    result = rollback(str(stores.target), RollbackOptions(everything=True))
    assert result.path is not None
    assert check_file(result.path) == []
    return result


def before_each(monkeypatch: pytest.MonkeyPatch, name: str, work: Callable[[], None]) -> None:
    """Let the old program do ``work`` after the rollback's look and before its write."""
    real = getattr(LangswarmLegacyRows, name)

    def late(rows: Any, store: Any, *arguments: Any) -> Any:
        work()
        return real(rows, store, *arguments)

    monkeypatch.setattr(LangswarmLegacyRows, name, late)


def once(work: Callable[[], None]) -> Callable[[], None]:
    left = [work]
    return lambda: left.pop()() if left else None


def test_what_the_old_program_writes_between_look_and_write_is_a_conflict(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = stores.ids[0]
    before_each(monkeypatch, "write", once(lambda: stores.say_in_v1(one, "late")))
    result = taken_back(stores)
    assert [(line.session_id, line.code) for line in result.report.errors] == [(one, "legacy_changed")]
    assert v1_messages(stores.source, one) == [*stores.contents(one), "late"]
    assert ledger(stores.target)[one] == "moved"


def test_what_the_new_store_has_deleted_stays_where_the_old_program_goes_on_with_it(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = stores.ids[1]
    stores.change("DELETE FROM sessions WHERE session_id = ?", two)
    before_each(monkeypatch, "remove", once(lambda: stores.say_in_v1(two, "late")))
    result = taken_back(stores)
    assert [(line.session_id, line.code) for line in result.report.errors] == [(two, "legacy_changed")]
    assert v1_messages(stores.source, two) == [*stores.contents(two), "late"]


def test_an_old_program_that_never_stops_ends_the_rollback(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = stores.ids[:2]
    # what both sides changed is a conflict at the second look; here another session is in the way each time
    for key in stores.ids:
        stores.change(V2_MESSAGE, key, f"new {key}", "said in the new store")

    def refuse() -> None:
        raise StoreOvertakenError("another writer", session_id=two)

    before_each(monkeypatch, "write", refuse)
    with pytest.raises(StoreOvertakenError):
        rollback(str(stores.target), RollbackOptions(everything=True))
    assert v1_messages(stores.source, one) == stores.contents(one)
    assert set(ledger(stores.target).values()) == {"moved"}


def test_what_was_left_in_both_stores_is_not_written_over_by_the_next_rollback(stores: Stores) -> None:
    one = stores.ids[0]
    stores.say_in_v1(one, "late")
    both = RollbackOptions(sessions=(one,), keep_target=True, on_conflict="keep-legacy")
    assert rollback(str(stores.target), both).report.losses == []
    result = taken_back(stores)
    assert [(line.session_id, line.code) for line in result.report.errors] == [(one, "legacy_changed")]
    assert v1_messages(stores.source, one) == [*stores.contents(one), "late"]


def test_what_another_rollback_takes_back_at_that_moment_is_not_deleted_in_the_legacy_store(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = stores.ids[0]
    real = Carrier._make

    def late(carrier: Carrier, *arguments: Any) -> Any:
        # before its first write the run begins again: its look comes to nothing there
        if carrier.may_write:
            other()
        return real(carrier, *arguments)

    def take_back() -> None:
        taken_back(stores)

    other = once(take_back)
    monkeypatch.setattr(Carrier, "_make", late)
    result = taken_back(stores)
    assert result.report.errors == []
    assert v1_messages(stores.source, one)[-1] == "said in the new store"
    assert [len(v1_messages(stores.source, key)) for key in stores.ids] == [
        len(stores.contents(key)) + (key == one) for key in stores.ids
    ]
    assert set(ledger(stores.target).values()) == {"rolled_back"}


def test_rows_that_come_after_the_session_has_left_are_told_and_stay(stores: Stores) -> None:
    one = stores.ids[0]
    assert taken_back(stores).report.errors == []
    stores.change(V2_MESSAGE, one, "late", "said to a session that is not there")
    result = taken_back(stores)
    assert [(line.session_id, line.code) for line in result.report.errors] == [(one, "rows_left")]
    with pytest.raises(NotTakenBackError) as refused:
        downgrade_schema(str(stores.target), "base", drop_kept=True)
    assert refused.value.fields["sessions"] == 1
    stores.change("DELETE FROM session_messages WHERE message_id = 'late'")
    assert downgrade_schema(str(stores.target), "base", drop_kept=True) == []


def test_rows_of_no_session_keep_the_schema(stores: Stores) -> None:
    taken_back(stores)
    stores.change(V2_MESSAGE, "nobody", "late", "said to a session that never was")
    with pytest.raises(NotTakenBackError, match="nobody"):
        downgrade_schema(str(stores.target), "base", drop_kept=True)


def test_what_a_killed_program_left_half_written_in_the_legacy_store_is_undone_first(stores: Stores) -> None:
    half = stores.source.with_name("half.db")
    half.write_bytes(stores.source.read_bytes())
    with closing(sqlite3.connect(half, isolation_level=None)) as db:
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN")
        db.execute("UPDATE sessions SET history = ?", ("x" * 100_000,))
        # the file and its journal as they would lie there had the program been killed now
        for end in ("", "-journal"):
            shutil.copy(f"{half}{end}", f"{stores.source}{end}")
    assert stores.source.with_name(f"{stores.source.name}-journal").stat().st_size
    report = taken_back(stores).report
    assert (report.migrated_sessions, report.failed_sessions) == (3, 0)
    assert v1_messages(stores.source, stores.ids[0]) == [*stores.contents(stores.ids[0]), "said in the new store"]
    assert v1_messages(stores.source, stores.ids[1]) == stores.contents(stores.ids[1])
