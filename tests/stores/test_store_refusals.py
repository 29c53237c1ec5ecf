"""Bad input: what is found is said, what to do next is said, and no driver's error gets out."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import sys
from pathlib import Path

import duckdb
import pytest
from tests.stores.conftest import Copier
from tests.support.surroundings import another_process, small_disk

from sessionlift.errors import (
    StoreCorruptError,
    StoreError,
    StoreFormatError,
    StoreFullError,
    StoreLockedError,
    StoreNotFoundError,
    StoreReadOnlyError,
    StoreTextError,
    StoreTooNewError,
    UsageError,
)
from sessionlift.stores import Store, open_store, parse_store_url

LOCAL = ["libsql", "sqlite", "duckdb"]


def refused(text: str, *, mode: str = "ro", role: str = "source") -> StoreError:
    with pytest.raises(StoreError) as caught, open_store(text, mode=mode, role=role):  # type: ignore[arg-type]
        pytest.fail(f"{text} was opened")
    error = caught.value
    assert error.hint, "an error must say what to do next"
    assert error.fields["store"] == parse_store_url(text).redacted
    assert error.exit_code == (4 if role == "target" else 3)
    return error


@pytest.mark.parametrize("engine", LOCAL)
def test_a_missing_file(engine: str, tmp_path: Path) -> None:
    error = refused(f"{engine}://{tmp_path}/none")
    assert isinstance(error, StoreNotFoundError)
    assert f"there is no file {tmp_path}/none" in str(error)
    assert list(tmp_path.iterdir()) == [], "a refusal must not make files"


@pytest.mark.parametrize("engine", LOCAL)
def test_a_missing_directory_even_for_a_new_store(engine: str, tmp_path: Path) -> None:
    error = refused(f"{engine}://{tmp_path}/none/new", mode="create", role="target")
    assert isinstance(error, StoreNotFoundError)
    assert "there is no directory" in str(error)


@pytest.mark.parametrize("engine", LOCAL)
@pytest.mark.parametrize(("content", "found"), [(b"", "empty"), (b"hello\n" * 2000, "text"), (None, "directory")])
def test_something_that_is_no_store(engine: str, content: bytes | None, found: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.mkdir() if content is None else path.write_bytes(content)
    error = refused(f"{engine}://{path}")
    assert isinstance(error, StoreFormatError)
    assert error.fields["found"] == found
    assert str(path) in str(error)
    assert {"empty": "an empty file", "text": "a text file", "directory": "a directory"}[found] in str(error)


@pytest.mark.parametrize("engine", ["libsql", "sqlite"])
def test_a_duckdb_file_in_place_of_sqlite(engine: str, tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "x")).close()
    error = refused(f"{engine}://{tmp_path}/x")
    assert isinstance(error, StoreFormatError)
    assert f"duckdb://{tmp_path}/x" in error.hint


def test_a_sqlite_file_in_place_of_duckdb(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "x.duckdb")
    connection.execute("CREATE TABLE t (a)")
    connection.close()
    error = refused(f"duckdb://{tmp_path}/x.duckdb")
    assert isinstance(error, StoreFormatError)
    assert error.fields["found"] == "sqlite"
    assert "libsql://" in error.hint


def test_a_wal_without_its_duckdb_file(tmp_path: Path) -> None:
    (tmp_path / "x.duckdb.wal").write_bytes(b"wal")
    for mode in ("ro", "create"):
        error = refused(f"duckdb://{tmp_path}/x.duckdb", mode=mode)
        assert isinstance(error, StoreNotFoundError)
        assert "x.duckdb.wal" in str(error)
    assert [path.name for path in tmp_path.iterdir()] == ["x.duckdb.wal"]


@pytest.mark.fixtures
@pytest.mark.skipif(int(duckdb.__version__.split(".")[0]) >= 2, reason="the installed DuckDB reads 2.0")
def test_a_file_of_a_newer_duckdb(copied: Copier) -> None:
    error = refused(f"duckdb://{copied('w_2.0.0.duckdb')}")
    assert isinstance(error, StoreTooNewError)
    assert error.fields["installed"] == duckdb.__version__
    assert error.fields["written_by"] == "v2.0.0"
    assert "duckdb>=2.0.0" in error.hint
    assert "Python 3.12" in error.hint
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in error.hint


@pytest.mark.fixtures
@pytest.mark.parametrize("size", [20, 4096, 5000, 12288, 100_000, 300_000, 7_000_000])
def test_a_duckdb_file_that_is_cut_short(size: int, copied: Copier) -> None:
    path = copied("small.duckdb")
    os.truncate(path, size)
    error = refused(f"duckdb://{path}")
    assert isinstance(error, StoreCorruptError)
    assert "cut short" in str(error)
    assert error.fields["found_bytes"] == size


def test_a_duckdb_file_that_shrank_is_whole_though_its_header_counts_more(tmp_path: Path) -> None:
    path = tmp_path / "shrunk.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE big AS SELECT range AS i, repeat('x', 200) AS t FROM range(50000)")
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        connection.execute("CHECKPOINT")
        connection.execute("DROP TABLE big")
    with open_store(str(path), mode="ro", role="source") as store:
        assert store.query("SELECT answer FROM kept") == [(42,)]


@pytest.mark.parametrize("engine", ["libsql", "sqlite"])
@pytest.mark.parametrize("size", [100, 3000, 4096, 8192, 20_000])
def test_a_sqlite_file_that_is_cut_short(engine: str, size: int, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (a)")
    connection.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,)] * 100)
    connection.commit()
    connection.close()
    os.truncate(path, size)
    with (
        pytest.raises(StoreCorruptError) as caught,
        open_store(f"{engine}://{path}", mode="ro", role="source") as s,
    ):
        list(s.read_table("t", ["a"]))
    assert "cut short" in str(caught.value)


@pytest.mark.parametrize("engine", ["libsql", "sqlite"])
@pytest.mark.parametrize("sound", [0, 1, 600], ids=["in the first row", "in the second", "much later"])
def test_a_text_that_is_not_utf8_is_told_as_one_and_leaves_no_lock(engine: str, sound: int, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (a)")
        connection.executemany("INSERT INTO t VALUES (?)", [("x",)] * sound)
        connection.execute("INSERT INTO t VALUES (CAST(x'ff61' AS TEXT))")
        connection.executemany("INSERT INTO t VALUES (?)", [("x",)] * 600)
    # the error keeps what it passed through alive, a cursor among it
    with (
        pytest.raises(StoreTextError) as caught,
        open_store(f"{engine}://{path}", mode="ro", role="target") as store,
    ):
        list(store.read_table("t", ["a"]))
    assert caught.value.code == "store_text"
    with contextlib.closing(sqlite3.connect(path, timeout=0)) as connection, connection:
        connection.execute("INSERT INTO t VALUES (1)")


def test_a_duckdb_file_that_another_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    code = f"import duckdb, time; c = duckdb.connect({str(path)!r}); print('ready', flush=True); time.sleep(60)"
    with another_process(code) as holder:
        error = refused(f"duckdb://{path}")
        assert isinstance(error, StoreLockedError)
        assert error.transient
        assert error.fields["holder_pid"] == holder.pid
        assert "snapshot" in error.hint
        assert "x.duckdb.wal" in error.hint


@pytest.mark.parametrize("engine", ["libsql", "sqlite"])
def test_a_sqlite_file_that_another_process_writes(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessionlift.stores._sqlfile.BUSY_SECONDS", 0.2)
    path = tmp_path / "x.db"
    code = (
        f"import sqlite3, time; c = sqlite3.connect({str(path)!r}, isolation_level=None);"
        "c.execute('CREATE TABLE t (a)'); c.execute('BEGIN IMMEDIATE');"
        "print('ready', flush=True); time.sleep(60)"
    )
    with another_process(code), open_store(f"{engine}://{path}", mode="rw", role="target") as store:
        with pytest.raises(StoreLockedError, match="another process is writing"), store.transaction():
            pytest.fail("a second writer got in")
        assert store.query("SELECT count(*) FROM t") == [(0,)], "reading goes on"


def test_one_file_is_not_opened_through_two_libraries(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with open_store(f"libsql://{path}", mode="create", role="target") as store:
        store.execute("CREATE TABLE t (a)")
        link = tmp_path / "link.db"
        link.symlink_to(path)
        error = refused(f"sqlite://{link}")
        assert isinstance(error, StoreLockedError)
        assert "libsql" in str(error)
        with open_store(f"libsql://{link}", mode="ro", role="source") as again:
            assert again.query("SELECT count(*) FROM t") == [(0,)]
    with open_store(f"sqlite://{path}", mode="ro", role="source") as later:
        assert later.query("SELECT count(*) FROM t") == [(0,)]


def fill(store: Store, written: list[int]) -> None:
    """Write until the disk is full; ``written`` gets the rows of each transaction that was committed."""
    for number in range(1000):
        # no two alike, or DuckDB would keep them in next to nothing
        rows = [(os.urandom(5000).hex(),) for _ in range(number % 5 + 1)]
        with store.transaction():
            store.insert_rows("t", ["a"], rows)
        written.append(len(rows))


@pytest.mark.parametrize("engine", LOCAL)
def test_a_full_disk(engine: str, tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk", "1m") as disk,
        open_store(f"{engine}://{disk}/x.db", mode="create", role="target") as store,
    ):
        store.execute("CREATE TABLE t (a VARCHAR)")
        written: list[int] = []
        with pytest.raises(StoreFullError, match="no space is left") as caught:
            fill(store, written)
        assert caught.value.exit_code == 4
        if engine != "duckdb":  # DuckDB takes no statement after it
            assert store.query("SELECT count(*) FROM t") == [(sum(written),)]


@pytest.mark.parametrize("engine", ["libsql", "sqlite"])
def test_a_disk_that_fills_up_in_bulk_keeps_what_was_committed(engine: str, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        written: list[int] = []
        with open_store(f"{engine}://{disk}/x.db", mode="create", role="target") as store:
            store.execute("CREATE TABLE t (a)")
            store.begin_bulk()
            with pytest.raises(StoreFullError):
                fill(store, written)
            committed = sum(written)
            assert store.query("SELECT count(*) FROM t") == [(committed,)]
        # a larger disk, and the same command again
        shutil.copytree(disk, tmp_path / "larger")
    with open_store(f"{engine}://{tmp_path}/larger/x.db", mode="rw", role="target") as store:
        store.begin_bulk()
        store.end_bulk()
        assert store.query("SELECT count(*) FROM t") == [(committed,)]
    assert [path.name for path in (tmp_path / "larger").iterdir()] == ["x.db"]


@pytest.mark.parametrize("engine", LOCAL)
def test_a_read_only_directory(engine: str, tmp_path: Path) -> None:
    def fill() -> None:
        with open_store(f"{engine}://{tmp_path}/disk/x.db", mode="create", role="target") as store:
            store.execute("CREATE TABLE t (a VARCHAR)")

    with small_disk(tmp_path / "disk", "2m", read_only_after=fill) as disk:
        new = refused(f"{engine}://{disk}/new.db", mode="create", role="target")
        assert isinstance(new, StoreReadOnlyError)
        assert "permissions" in new.hint
        with (
            pytest.raises(StoreReadOnlyError),
            open_store(f"{engine}://{disk}/x.db", mode="rw", role="target") as store,
            store.transaction(),
        ):
            store.insert_rows("t", ["a"], [("x",)])
        with open_store(f"{engine}://{disk}/x.db", mode="ro", role="source") as store:
            assert store.query("SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize("engine", ["libsql", "sqlite"])
def test_a_store_in_wal_mode_is_read_from_a_read_only_directory(engine: str, tmp_path: Path) -> None:
    def fill() -> None:
        connection = sqlite3.connect(tmp_path / "disk" / "x.db")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (a)")
        connection.close()

    with (
        small_disk(tmp_path / "disk", "2m", read_only_after=fill) as disk,
        open_store(f"{engine}://{disk}/x.db", mode="ro", role="source") as store,
    ):
        assert store.query("SELECT count(*) FROM t") == [(0,)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
@pytest.mark.parametrize("engine", LOCAL)
def test_a_directory_without_permission(engine: str, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    assert isinstance(refused(f"{engine}://{folder}/new.db", mode="create", role="target"), StoreReadOnlyError)


@pytest.mark.parametrize("engine", LOCAL)
def test_a_store_opened_read_only_cannot_be_written(engine: str, tmp_path: Path) -> None:
    where = f"{engine}://{tmp_path}/x.db"
    with open_store(where, mode="create", role="target") as store:
        store.execute("CREATE TABLE t (a VARCHAR)")
    with open_store(where, mode="ro", role="source") as store, pytest.raises(StoreReadOnlyError):
        store.execute("INSERT INTO t VALUES ('x')")


@pytest.mark.parametrize("engine", LOCAL)
def test_a_closed_store_says_so(engine: str, tmp_path: Path) -> None:
    store = open_store(f"{engine}://{tmp_path}/x.db", mode="create", role="target")
    store.close()
    store.close()
    with pytest.raises(UsageError, match="closed"):
        store.query("SELECT 1")
