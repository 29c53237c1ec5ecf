"""A libSQL file is read through the standard library's driver where nobody loses anything by it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import libsql_experimental
import pytest

from sessionlift.stores import StoreURL, open_store, through_stdlib

_LOCK = """
import sqlite3, sys
try:
    sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as error:
    print(error)
"""


@pytest.fixture
def url(tmp_path: Path) -> StoreURL:
    with closing(sqlite3.connect(tmp_path / "x.db")) as db:
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)")
    return StoreURL("libsql", tmp_path / "x.db")


@pytest.fixture
def application(url: StoreURL) -> Iterator[Any]:
    """This process has the file open through libSQL by itself, and writes."""
    connection = libsql_experimental.connect(str(url.path), isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO t (v) VALUES (x'01')")
    yield connection
    connection.close()


def test_a_file_that_nobody_has_open_here_is_read_through_the_standard_library(url: StoreURL) -> None:
    assert through_stdlib(url) == StoreURL("sqlite", url.path)


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="the system does not list what a process has open")
def test_an_application_that_has_the_file_open_in_this_process_keeps_its_lock(url: StoreURL, application: Any) -> None:
    assert through_stdlib(url) == url
    asked = [sys.executable, "-c", _LOCK, str(url.path)]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == "database is locked\n"
    application.execute("COMMIT")


@pytest.mark.parametrize(("engine", "expected"), [("libsql", "libsql"), ("sqlite", "sqlite")])
def test_a_store_that_is_open_here_keeps_its_library(url: StoreURL, engine: Any, expected: str) -> None:
    with open_store(StoreURL(engine, url.path), mode="ro", role="target"):
        assert through_stdlib(url).engine == expected


def test_an_index_that_only_libsql_can_keep_is_left_to_it(url: StoreURL) -> None:
    with open_store(url, mode="rw", role="target") as store:
        store.execute("CREATE TABLE e (id INTEGER PRIMARY KEY, v F32_BLOB(2))")
        store.execute("CREATE INDEX by_v ON e (libsql_vector_idx(v))")
    assert through_stdlib(url) == url


def test_a_file_that_is_none_or_on_a_server_is_named_as_before(tmp_path: Path) -> None:
    for url in (StoreURL("libsql", tmp_path / "none.db"), StoreURL("duckdb", tmp_path / "x.duckdb")):
        assert through_stdlib(url) == url


def test_an_old_library_is_not_taken(url: StoreURL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 26, 0))
    assert through_stdlib(url) == url
