"""What DuckDB keeps in memory from one piece of work to the next."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from sessionlift.stores import DuckdbStore, keep_rows, parse_store_url

LARGE = "CREATE OR REPLACE TEMP TABLE t AS SELECT range AS n, 'text ' || range AS x FROM range(20_000) ORDER BY x"


@pytest.fixture
def store(tmp_path: Path) -> DuckdbStore:
    with DuckdbStore(parse_store_url(str(tmp_path / "old.duckdb")), mode="create", memory_limit="40MB") as made:
        made.execute("CREATE TABLE s AS SELECT range AS n FROM range(100)")
    return DuckdbStore(parse_store_url(str(tmp_path / "old.duckdb")), memory_limit="40MB", threads=1)


def limit(store: DuckdbStore) -> str:
    return str(store.query("SELECT current_setting('memory_limit')")[0][0])


def in_use() -> int:
    """What the C library has given out and not got back, in bytes."""

    class Told(ctypes.Structure):
        _fields_ = [(f"n{place}", ctypes.c_size_t) for place in range(10)]

    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        pytest.skip("this C library does not say how much memory is in use")
    library.mallinfo2.restype = Told
    return int(library.mallinfo2().n7)


@pytest.mark.slow
def test_pieces_of_work_leave_nothing_behind_in_memory(store: DuckdbStore) -> None:
    with store:
        # to the end of a round, so that both looks come at the same place of one
        for _ in range(64):
            store.with_room(lambda: store.execute(LARGE))
        before = in_use()
        for _ in range(320):
            store.with_room(lambda: store.execute(LARGE))
        left = in_use() - before
        assert left < 320 * 1_000, f"{left} bytes after 320 pieces of work"
        assert store.query("SELECT count(*), sum(n) FROM t") == [(20_000, 199_990_000)]


def test_forgetting_leaves_the_limit_as_it_was(store: DuckdbStore) -> None:
    with store:
        usual = limit(store)
        for _ in range(100):
            store.tidy()
            assert limit(store) == usual


def test_what_is_forgotten_is_never_somebody_elses(store: DuckdbStore, tmp_path: Path) -> None:
    with store, DuckdbStore(parse_store_url(str(tmp_path / "old.duckdb")), memory_limit="40MB", threads=1) as other:
        for _ in range(100):
            other.with_room(lambda: other.execute(LARGE))
            assert limit(store) == limit(other) == "38.1 MiB"


@pytest.mark.parametrize("many", [False, True])
def test_kept_rows_come_in_their_order_and_again(store: DuckdbStore, many: bool) -> None:
    with store:
        for most in (9_000, 5):
            query = f"SELECT range AS n, 'x' || range AS x FROM range({most}) ORDER BY n DESC"
            keep_rows(store.connection, "kept", query, many=many)
            assert store.query("SELECT n, x FROM kept") == [(n, f"x{n}") for n in reversed(range(most))]
            assert store.query("SELECT x FROM kept WHERE n BETWEEN 2 AND 3") == [("x3",), ("x2",)]
        keep_rows(store.connection, "kept", "SELECT * FROM kept WHERE n <> ?", [3])
        assert store.query("SELECT n FROM kept") == [(4,), (2,), (1,), (0,)]
