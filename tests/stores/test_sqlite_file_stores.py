"""Transactions, stages and bulk work on a local file, through both SQLite libraries."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sessionlift.errors import StoreConstraintError, StoreError, UsageError
from sessionlift.stores import Engine, Store, StoreURL, open_store

Stage = Callable[..., Path]


@pytest.fixture(params=["libsql", "sqlite"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.param}://{tmp_path}/x.db"


@pytest.fixture
def store(where: str) -> Iterator[Store]:
    with open_store(where, mode="create", role="target") as opened:
        opened.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, session_id TEXT, n INTEGER NOT NULL CHECK (n > 0))")
        opened.execute("CREATE UNIQUE INDEX u ON t (session_id, n)")
        yield opened


def files(store: Store) -> list[str]:
    assert store.url.path is not None
    return sorted(path.name for path in store.url.path.parent.iterdir() if path.name.startswith("x.db"))


def delete_and_raise(store: Store, error: BaseException) -> None:
    with store.transaction():
        store.execute("DELETE FROM t")
        raise error


def test_a_transaction_is_all_or_nothing(store: Store) -> None:
    with store.transaction():
        store.insert_rows("t", ["session_id", "n"], [("a", 1), ("a", 2)])
    with pytest.raises(RuntimeError, match="on purpose"):
        delete_and_raise(store, RuntimeError("on purpose"))
    assert store.query("SELECT count(*) FROM t") == [(2,)]


def test_an_interrupt_rolls_back_too(store: Store) -> None:
    store.insert_rows("t", ["session_id", "n"], [("a", 1)])
    with pytest.raises(KeyboardInterrupt):
        delete_and_raise(store, KeyboardInterrupt())
    with store.transaction():
        assert store.query("SELECT count(*) FROM t") == [(1,)]


def test_transactions_do_not_nest(store: Store) -> None:
    with store.transaction(), pytest.raises(UsageError), store.transaction():
        pytest.fail("it nested")


def test_execute_counts_the_rows_it_changed(store: Store) -> None:
    store.insert_rows("t", ["session_id", "n"], [("a", n) for n in range(1, 8)])
    assert store.execute("UPDATE t SET n = n + 100 WHERE n < ?", (4,)) == 3
    assert store.execute("CREATE TABLE other (a)") == 0
    assert store.execute("INSERT INTO other SELECT n FROM t") == 7
    assert store.execute("WITH w AS (SELECT 1 AS a) INSERT INTO other SELECT a FROM w") == 1
    assert store.execute("DELETE FROM other") == 8
    assert store.execute("DELETE FROM other") == 0


@pytest.mark.parametrize(
    ("row", "constraint", "columns"),
    [
        (("a", 1), "UNIQUE", ["session_id", "n"]),
        (("b", None), "NOT NULL", ["n"]),
        (("b", -1), "CHECK", None),
    ],
)
def test_a_broken_rule_names_table_and_column(
    store: Store, row: tuple[Any, ...], constraint: str, columns: list[str] | None
) -> None:
    store.insert_rows("t", ["session_id", "n"], [("a", 1)])
    with pytest.raises(StoreConstraintError) as caught, store.transaction():
        store.insert_rows("t", ["session_id", "n"], [("ok", 5), row])
    fields = caught.value.fields
    assert (fields["table"], fields["constraint"], fields.get("columns")) == ("t", constraint, columns)
    assert not caught.value.transient
    assert store.query("SELECT session_id, n FROM t") == [("a", 1)]


def test_a_broken_rule_is_told_apart_from_a_wrong_statement(store: Store) -> None:
    with pytest.raises(StoreError, match="no such table") as caught:
        store.query("SELECT * FROM none")
    assert type(caught.value) is StoreError
    with pytest.raises(UsageError, match="2 values"):
        store.insert_rows("t", ["session_id", "n"], [("a",)])


def test_foreign_keys_are_not_enforced(store: Store) -> None:
    store.execute("CREATE TABLE child (t INTEGER REFERENCES t (id) ON DELETE CASCADE)")
    store.insert_rows("child", ["t"], [(999,)])
    store.insert_rows("t", ["id", "n"], [(1, 1)])
    store.insert_rows("child", ["t"], [(1,)])
    store.execute("DELETE FROM t")
    assert store.query("SELECT count(*) FROM child") == [(2,)]


def test_reading_filters_and_sorts(store: Store) -> None:
    store.insert_rows("t", ["session_id", "n"], [("b", 2), ("a", 2), ("a", 1), ("c", 9)])
    rows = store.read_table("t", ["session_id", "n"], where="n < ?", params=(9,), order_by=["session_id", "n"])
    assert list(rows) == [("a", 1), ("a", 2), ("b", 2)]


def test_a_query_keeps_its_order_and_its_computed_values(store: Store) -> None:
    store.insert_rows("t", ["session_id", "n"], [(f"s{n}", n) for n in (3, 1, 2)])
    assert store.query("SELECT n, n * 0.5 AS n, session_id || ? FROM t ORDER BY n DESC LIMIT 2;", ("\0x",)) == [
        (3, 1.5, "s3\0x"),
        (2, 1.0, "s2\0x"),
    ]
    assert store.query("WITH w(a) AS (VALUES (1), (2)) SELECT * FROM w -- with a comment") == [(1,), (2,)]
    assert store.query("INSERT INTO t (session_id, n) VALUES ('r', 7) RETURNING n") == [(7,)]
    assert store.query("PRAGMA table_info(t)")[0][1] == "id"


def test_staged_rows_come_in_the_order_they_were_staged(store: Store, make_stage: Stage) -> None:
    rows = [("z", 3), ("a", 1), ("m", 2)]
    with store.staged(make_stage("t", ["session_id", "n"], rows)) as staged, store.transaction():
        assert staged.copy("t", ["session_id", "n"]) == 3
    assert store.query("SELECT session_id, n FROM t ORDER BY id") == rows


def test_excluded_sessions_stay_in_the_stage(store: Store, make_stage: Stage) -> None:
    odd = ["", "a\0b", "a", "a'b", "é😀", "null", "\\u0000", '"']
    rows = [*[(name, 1) for name in odd], ("kept", 1), (None, 1), ("a\0c", 1)]
    with store.staged(make_stage("t", ["session_id", "n"], rows)) as staged, store.transaction():
        assert staged.copy("t", ["session_id", "n"], exclude=odd) == 3
    found = list(store.read_table("t", ["session_id", "n"], order_by=["id"]))
    assert found == [("kept", 1), (None, 1), ("a\0c", 1)]


def test_many_sessions_can_be_excluded_by_another_column(store: Store, make_stage: Stage) -> None:
    store.execute("CREATE TABLE units (key TEXT)")
    with store.staged(make_stage("units", ["key"], [(str(n),) for n in range(50_000)])) as staged:
        exclude = [str(n) for n in range(49_998)]
        with store.transaction():
            assert staged.copy("units", ["key"], exclude=exclude, session_column="key") == 2


def test_a_rule_broken_by_a_stage_leaves_the_store_as_it_was(store: Store, make_stage: Stage) -> None:
    stage = make_stage("t", ["session_id", "n"], [("a", 1), ("a", 1)])
    with pytest.raises(StoreConstraintError) as caught, store.staged(stage) as staged, store.transaction():
        staged.copy("t", ["session_id", "n"])
    assert caught.value.fields["table"] == "t"
    assert store.query("SELECT count(*) FROM t") == [(0,)]
    with store.staged(make_stage("t", ["session_id", "n"], [("a", 1)])) as staged, store.transaction():
        staged.copy("t", ["session_id", "n"])
    assert store.query("SELECT count(*) FROM t") == [(1,)], "the next stage can be attached"


def test_a_trigger_of_the_application_keeps_its_own_way_to_fail(store: Store, make_stage: Stage) -> None:
    store.execute("CREATE TABLE seen (n INTEGER PRIMARY KEY)")
    store.execute("CREATE TRIGGER noted AFTER INSERT ON t BEGIN INSERT OR REPLACE INTO seen VALUES (new.n); END")
    with store.staged(make_stage("t", ["session_id", "n"], [("a", 1), ("b", 1)])) as staged, store.transaction():
        assert staged.copy("t", ["session_id", "n"]) == 2
    assert store.query("SELECT n FROM seen") == [(1,)]


def test_a_missing_or_broken_stage_is_an_error(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not there"), store.staged(tmp_path / "none.db"):
        pytest.fail("a missing stage was attached")
    (tmp_path / "text.db").write_text("no stage\n" * 500)
    with pytest.raises(StoreError), store.staged(tmp_path / "text.db") as staged, store.transaction():
        staged.copy("t", ["session_id", "n"])
    assert not (tmp_path / "none.db").exists()


def test_bulk_work_leaves_one_file_in_the_journal_mode_of_the_real_program(store: Store) -> None:
    store.begin_bulk()
    assert store.query("PRAGMA journal_mode") == [("wal",)]
    with store.transaction():
        store.insert_rows("t", ["session_id", "n"], [("a", n) for n in range(1, 5000)])
    assert "x.db-wal" in files(store)
    store.end_bulk()
    assert store.query("PRAGMA journal_mode") == [("delete",)]
    assert files(store) == ["x.db"]
    store.begin_bulk()
    store.end_bulk()
    assert store.query("SELECT count(*) FROM t") == [(4999,)]


@pytest.mark.parametrize(("size", "page"), [(1_000_000, 4096), (200_000_000, 16384), (2_000_000_000, 8192)])
def test_a_new_store_gets_larger_pages_where_they_pay(where: str, size: int, page: int) -> None:
    with open_store(where, mode="create", role="target") as store:
        store.expect(size)
        store.execute("CREATE TABLE t (a)")
        store.begin_bulk()
        store.flush()
        store.end_bulk()
        assert store.query("PRAGMA page_size") == [(page,)]
    with open_store(where, mode="rw", role="target") as store:
        store.expect(200_000_000)
        store.execute("CREATE TABLE u (a)")
        assert store.query("PRAGMA page_size") == [(page,)], "a store with content stays as it is"


def test_a_killed_bulk_run_is_taken_up_again(where: str, tmp_path: Path) -> None:
    code = f"""
import os, signal
from sessionlift.stores import open_store
store = open_store({where!r}, mode="create", role="target")
store.execute("CREATE TABLE t (a)")
store.begin_bulk()
with store.transaction():
    store.insert_rows("t", ["a"], [(n,) for n in range(100)])
with store.transaction():
    store.insert_rows("t", ["a"], [(n,) for n in range(100000)])
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "x.db-wal").exists()
    with open_store(where, mode="rw", role="target") as store:
        store.begin_bulk()
        assert store.query("SELECT count(*) FROM t") == [(100,)]
        store.end_bulk()
        assert files(store) == ["x.db"]


def test_reading_a_store_in_wal_mode_leaves_no_file_behind(where: str, tmp_path: Path) -> None:
    with open_store(where, mode="create", role="target") as store:
        store.execute("CREATE TABLE t (a)")
        store.query("PRAGMA journal_mode = WAL")
    before = (tmp_path / "x.db").read_bytes()
    with open_store(where, mode="ro", role="source") as store:
        assert store.query("SELECT count(*) FROM t") == [(0,)]
    assert [path.name for path in tmp_path.iterdir()] == ["x.db"]
    assert (tmp_path / "x.db").read_bytes() == before


def test_a_path_with_odd_letters_is_opened_itself(tmp_path: Path) -> None:
    engines: tuple[Engine, Engine] = ("libsql", "sqlite")
    for engine in engines:
        path = tmp_path / f"{engine} ?mode=memory&x#y%41 é.db"
        with open_store(StoreURL(engine=engine, path=path), mode="create", role="target") as store:
            store.execute("CREATE TABLE t (a)")
        assert path.stat().st_size > 0


def test_text_that_is_not_utf8_is_reported_not_guessed(store: Store) -> None:
    store.execute("CREATE TABLE broken (a)")
    store.execute("INSERT INTO broken VALUES (CAST(x'ff61' AS TEXT))")
    with pytest.raises(StoreError, match="not UTF-8"):
        list(store.read_table("broken", ["a"]))
    with pytest.raises(StoreError, match="not UTF-8"):
        store.query("SELECT a FROM broken")
    assert store.query("SELECT hex(a) FROM broken") == [("FF61",)]


def test_the_driver_is_named_with_its_version(store: Store) -> None:
    name, _, version = store.driver.partition(" ")
    assert name in {"libsql-experimental", "sqlite3"}
    assert version[0].isdigit()


def test_errors_are_ready_for_a_report(store: Store) -> None:
    with pytest.raises(StoreConstraintError) as caught:
        store.insert_rows("t", ["n"], [(-5,)])
    told = json.loads(json.dumps(caught.value.to_dict()))
    assert told["code"] == "store_constraint"
    assert told["store"] == store.url.redacted
