"""DuckDB as a source: nothing beside it, nothing in it changes, and its .wal belongs to it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from tests.stores.conftest import Copier

from sessionlift.errors import StoreConstraintError, StoreError, UsageError
from sessionlift.stores import open_store


def state(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in sorted(folder.iterdir())}


@pytest.mark.fixtures
@pytest.mark.parametrize(
    ("name", "sessions"),
    [
        ("small.duckdb", 20),
        ("small_mid.duckdb", 20),
        ("partial.duckdb", 5),
        ("w_1.0.0.duckdb", 14),
        # these live in their .wal
        ("crash_1.1.3.duckdb", 5),
        ("crash_1.5.6.duckdb", 5),
    ],
)
def test_reading_leaves_the_store_and_its_wal_as_they_were(name: str, sessions: int, copied: Copier) -> None:
    path = copied(name)
    before, stamped = state(path.parent), times(path.parent)
    with open_store(f"duckdb://{path}", mode="ro", role="source") as store:
        (count,) = store.query("SELECT count(*) FROM session_traces")[0]
        for table in ("session_traces", "session_timesteps", "events", "messages"):
            names = [
                row[0] for row in store.query("SELECT column_name FROM duckdb_columns() WHERE table_name = ?", (table,))
            ]
            assert len(list(store.read_table(table, names))) == store.query(f"SELECT count(*) FROM {table}")[0][0]
    assert count == sessions
    assert state(path.parent) == before
    assert times(path.parent) == stamped


@pytest.mark.fixtures
def test_every_session_of_a_crashed_store_is_there(copied: Copier) -> None:
    path = copied("crash_1.5.6.duckdb")
    assert path.stat().st_size == 12288, "the main file is empty: all rows are in the .wal"
    with open_store(f"duckdb://{path}", mode="ro", role="source") as store:
        assert store.query("SELECT count(DISTINCT session_id) FROM messages") == [(5,)]


@pytest.mark.slow
def test_spilling_goes_to_a_private_directory_that_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    connection = duckdb.connect(str(path))
    connection.execute(
        "CREATE TABLE t AS SELECT range AS a, random() AS b, repeat('x', 99) || range AS c FROM range(400000)"
    )
    connection.close()
    # a process of its own: the directory is one for all stores of a process, and goes with the last of them
    told = subprocess.run(
        [sys.executable, "-c", _SPILLING, str(path)], capture_output=True, text=True, check=True
    ).stdout.split()
    spill = Path(told[0])
    assert not spill.is_relative_to(tmp_path)
    assert told[1:] == ["x.duckdb", "True"]
    assert not spill.exists()


_SPILLING = """
import sys
from pathlib import Path
from sessionlift.stores import DuckdbStore, parse_store_url
path = Path(sys.argv[1])
with DuckdbStore(parse_store_url(f"duckdb://{path}"), memory_limit="50MB", threads=1) as store:
    (spill,) = store.query("SELECT value FROM duckdb_settings() WHERE name = 'temp_directory'")[0]
    store.query("SELECT count(*) FROM (SELECT * FROM t ORDER BY b, c OFFSET 1)")
    print(spill, *[entry.name for entry in path.parent.iterdir()], Path(spill).is_dir())
"""


def test_no_extension_is_fetched(tmp_path: Path) -> None:
    with open_store(f"duckdb://{tmp_path}/x.duckdb", mode="create", role="target") as store:
        settings: dict[str, str] = dict(
            store.query("SELECT name, value FROM duckdb_settings() WHERE name LIKE 'auto%known_extensions'")
        )
        assert settings == {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
        with pytest.raises(StoreError):
            store.query("SELECT * FROM sqlite_scan('a.db', 't')")


def test_transactions_roll_back(tmp_path: Path) -> None:
    with open_store(f"duckdb://{tmp_path}/x.duckdb", mode="create", role="target") as store:
        store.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a VARCHAR)")
        with pytest.raises(StoreConstraintError) as caught, store.transaction():
            store.insert_rows("t", ["id", "a"], [(1, "a"), (2, "b"), (1, "c")])
        assert caught.value.fields["table"] == "t"
        assert store.query("SELECT count(*) FROM t") == [(0,)]
        with store.transaction(), pytest.raises(UsageError), store.transaction():
            pytest.fail("it nested")
        assert store.execute("INSERT INTO t SELECT range, 'x' FROM range(5)") == 5
        assert store.execute("DELETE FROM t WHERE id < ?", (2,)) == 2


def test_a_lone_surrogate_is_refused(tmp_path: Path) -> None:
    with open_store(f"duckdb://{tmp_path}/x.duckdb", mode="create", role="target") as store:
        store.execute("CREATE TABLE t (a VARCHAR)")
        with pytest.raises(StoreConstraintError, match="lone surrogate"):
            store.insert_rows("t", ["a"], [("ok",), ("\ud800",)])
        with pytest.raises(StoreConstraintError, match="lone surrogate"):
            store.query("SELECT ?", ("\ud800",))


def test_a_stage_is_refused(tmp_path: Path) -> None:
    with (
        open_store(f"duckdb://{tmp_path}/x.duckdb", mode="create", role="target") as store,
        pytest.raises(StoreError, match="staged"),
        store.staged(tmp_path / "stage.db"),
    ):
        pytest.fail("it was staged")


def test_reading_does_not_hold_the_table(tmp_path: Path) -> None:
    with open_store(f"duckdb://{tmp_path}/x.duckdb", mode="create", role="target") as store:
        store.execute("CREATE TABLE t AS SELECT range AS a FROM range(10000)")
        rows = store.read_table("t", ["a"], order_by=["a"])
        assert next(rows) == (0,)
        assert store.query("SELECT max(a) FROM t") == [(9999,)], "another statement between two rows"
        assert sum(1 for _ in rows) == 9999


def test_the_same_file_may_be_read_twice(tmp_path: Path) -> None:
    where = f"duckdb://{tmp_path}/x.duckdb"
    open_store(where, mode="create", role="target").close()
    with (
        open_store(where, mode="ro", role="source") as one,
        open_store(where, mode="ro", role="source") as other,
    ):
        assert one.query("SELECT 1") == other.query("SELECT 1")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.duckdb"]


def test_zeros_of_both_signs_keep_theirs_in_the_file(tmp_path: Path) -> None:
    where = f"duckdb://{tmp_path}/x.duckdb"
    numbers = [-0.0, 0.0, None, 0.0, 1.5, -0.0, -0.0, 0.0]
    with open_store(where, mode="create", role="target") as store:
        store.execute("CREATE TABLE t (id INTEGER, number DOUBLE)")
        store.insert_rows("t", ["id", "number"], list(enumerate(numbers)))
        store.execute("CHECKPOINT")
    with open_store(where, mode="ro", role="source") as store:
        found = store.query("SELECT number FROM t ORDER BY id")
    assert [repr(number) for (number,) in found] == [repr(number) for number in numbers]
