"""What tells that somebody else has written to a file; and which files Python's own library leaves to libSQL."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from sessionlift.stores import open_store, parse_store_url, through_stdlib

ENGINES = ["libsql", "sqlite"]
OTHER = "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as db: db.execute(sys.argv[2])"


def made(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, vector BLOB)")
        for statement in statements:
            db.execute(statement)
        db.commit()
    return path


def elsewhere(path: Path, statement: str) -> None:
    """Another program's write."""
    subprocess.run([sys.executable, "-c", OTHER, str(path), statement], check=True)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX near ON notes (vector)",
        "CREATE TRIGGER t AFTER INSERT ON notes BEGIN SELECT vector32('[1]'); END",
    ],
    ids=["an index over vectors", "a trigger that calls libSQL"],
)
def test_what_may_need_libsql_stays_with_it(tmp_path: Path, statement: str) -> None:
    url = parse_store_url(f"libsql://{made(tmp_path / 'a.db', statement)}")
    assert through_stdlib(url) == url


@pytest.mark.parametrize("content", [None, b"", b"SQLite format 3\0 and then nothing"])
def test_what_is_no_store_is_left_to_whoever_opens_it(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.db").write_bytes(content)
    url = parse_store_url(f"libsql://{tmp_path / 'a.db'}")
    assert through_stdlib(url) == url


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
@pytest.mark.parametrize("engine", ENGINES)
def test_commits_of_others_are_seen_and_ones_own_are_not(tmp_path: Path, engine: str, mode: str) -> None:
    path = made(tmp_path / "a.db", f"PRAGMA journal_mode = {mode}")
    with open_store(f"{engine}://{path}", mode="rw", role="target") as store:
        first = store.others_commits()
        assert first is not None
        with store.transaction():
            store.execute("INSERT INTO notes (id) VALUES (1)")
        assert store.others_commits() == first
        elsewhere(path, "INSERT INTO notes (id) VALUES (2)")
        with store.transaction():
            second = store.others_commits()
            assert second != first
            store.execute("DELETE FROM notes")
            assert store.others_commits() == second
        assert store.others_commits() == second
        elsewhere(path, "VACUUM")
        elsewhere(path, "INSERT INTO notes (id) VALUES (3)")
        with store.transaction():
            assert store.others_commits() not in (first, second)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_read_is_what_is_there_as_long_as_no_one_else_commits(tmp_path: Path, engine: str) -> None:
    """The number is asked for first: a commit between it and the reading shows, too."""
    path = made(tmp_path / "a.db")
    with open_store(f"{engine}://{path}", mode="rw", role="target") as store:
        before = store.others_commits()
        elsewhere(path, "INSERT INTO notes (id) VALUES (1)")
        assert store.query("SELECT count(*) FROM notes") == [(1,)]
        with store.transaction():
            assert store.others_commits() != before
