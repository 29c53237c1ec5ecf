"""Backups: whole copies of stores, and their return; nothing half is ever taken for one."""

from __future__ import annotations

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.moved import snapshot
from tests.support.run_fixtures import Legacy

from sessionlift._demo import make_langswarm_v1, make_session_buddy
from sessionlift.converters import load_mapping
from sessionlift.errors import (
    BackupError,
    StoreFormatError,
    StoreFullError,
    StoreLockedError,
    StoreNotFoundError,
    UsageError,
    WorkerLostError,
)
from sessionlift.runs import (
    BackupOptions,
    InPlaceOptions,
    RollbackOptions,
    TransferOptions,
    _backup,
    change_in_place,
    check_backup,
    migrate,
    plan,
    read_backup,
    restore_backup,
    rollback,
    take_backup,
    verify,
)
from sessionlift.runs._backup_worker import file_digest
from sessionlift.runs._content import content_of
from sessionlift.runs._protocol import Worker
from sessionlift.stores import StoreURL, open_store

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A SQLite store with values that copies spoil."""
    path = tmp_path / "live" / "app.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE a (id INTEGER PRIMARY KEY, t TEXT, d REAL, b BLOB)")
        db.execute("CREATE TABLE w (k TEXT PRIMARY KEY, v) WITHOUT ROWID")
        db.execute("CREATE INDEX i ON a (t)")
        rows = [("x\0y", 0.1 + 0.2, b"\0\xff"), (None, float("inf"), None), ("\u6f22", -1e-300, b"")] * 50
        db.executemany("INSERT INTO a (t, d, b) VALUES (?, ?, ?)", rows)
        db.execute("INSERT INTO w VALUES ('k', 9007199254740993)")
        db.execute("DELETE FROM a WHERE id = 7")
        db.execute("PRAGMA user_version = 12")
    return path


def rows_of(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT rowid, * FROM a ORDER BY rowid").fetchall()
        return [*found, *db.execute("SELECT * FROM w").fetchall(), db.execute("PRAGMA user_version").fetchone()]


def duckdb_rows(path: Path) -> list[Any]:
    with duckdb.connect(str(path)) as db:
        return db.execute("SELECT columns(*)::VARCHAR FROM events ORDER BY id").fetchall()


@contextmanager
def program(text: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Another program that says something when it is ready, and waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", text, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


WRITER_IN_WAL = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA journal_mode = WAL"); db.execute("PRAGMA wal_autocheckpoint = 0")
db.execute("INSERT INTO a (t) VALUES ('only in the log')")
db.execute("BEGIN"); db.execute("INSERT INTO a (t) VALUES ('not committed')")
print("ready", flush=True); time.sleep(600)
"""
WRITER_WITH_JOURNAL = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size = 1"); db.execute("PRAGMA cache_spill = 1")
db.execute("BEGIN IMMEDIATE"); db.execute("UPDATE a SET t = 'half' || hex(zeroblob(3000))")
print("ready", flush=True); time.sleep(600)
"""
DUCKDB_WRITER = """
import duckdb, sys, time
db = duckdb.connect(sys.argv[1])
print("ready", flush=True); time.sleep(600)
"""


def test_a_sqlite_store_comes_back_as_it_was(store: Path, tmp_path: Path) -> None:
    before, rows = snapshot(store.parent), rows_of(store)
    info = take_backup(str(store), tmp_path / "kept")
    assert snapshot(store.parent) == before, "the store was changed"
    assert info.path.parent == tmp_path / "kept"
    assert info.content["rows"] == {"a": 149, "w": 1}
    assert check_backup(info.path) == read_backup(info.path) == info
    done = restore_backup(info.path, f"sqlite://{tmp_path / 'again.db'}")
    assert done.aside is None
    assert rows_of(tmp_path / "again.db") == rows
    assert not list(tmp_path.glob(".*restoring*"))


@pytest.mark.slow
def test_paths_may_be_strings(store: Path, tmp_path: Path) -> None:
    before = rows_of(store)
    taken = take_backup(str(store), str(tmp_path / "safe"))
    assert taken.path.parent == tmp_path / "safe"
    assert check_backup(str(taken.path)) == read_backup(str(taken.path))
    assert restore_backup(str(taken.path), str(tmp_path / "back.db")).backup == taken.path
    assert rows_of(tmp_path / "back.db") == before
    assert take_backup(store).path.parent == store.with_name("app.db.backups")
    restore_backup(taken.path, tmp_path / "again.db")
    assert rows_of(tmp_path / "again.db") == before


def test_paths_of_a_run_may_be_strings(tmp_path: Path) -> None:
    make_langswarm_v1(tmp_path / "v1.db", sessions=2, seed=1, traps="none")
    stores = str(tmp_path / "v1.db"), str(tmp_path / "v2.db")
    plan(*stores, TransferOptions(), report_file=str(tmp_path / "plan.json"))
    (tmp_path / "reports").mkdir()
    moved = migrate(stores[0], stores[1], TransferOptions(only=("support-0",)), report_file=str(tmp_path / "reports"))
    assert moved.path == tmp_path / "reports" / f"{moved.report.run_id}.json"
    kept = BackupOptions(directory=str(tmp_path / "copies"))
    assert migrate(*stores, TransferOptions(), backup=kept).report.backups
    checked = verify(None, None, report_file=str(moved.path), out=str(tmp_path / "checked.json"))
    assert checked.path == tmp_path / "checked.json"
    back = rollback(stores[1], RollbackOptions(everything=True), report_file=str(tmp_path / "back.json"), backup=kept)
    assert back.path == tmp_path / "back.json"
    (tmp_path / "map.json").write_text('{"message_types": {"policy_call": "tool_use"}}')
    assert load_mapping(str(tmp_path / "map.json")) == load_mapping(tmp_path / "map.json")
    buddy = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v3").path
    up = InPlaceOptions(backup=str(tmp_path / "copies"))
    done = change_in_place(str(buddy), "upgrade", up, report_file=str(tmp_path / "up.json"))
    assert done.backup is not None
    assert (done.backup.parent, done.path) == (tmp_path / "copies", tmp_path / "up.json")


def test_a_duckdb_store_comes_back_with_its_log(legacy: Legacy, tmp_path: Path) -> None:
    path = legacy(sessions=6)
    with duckdb.connect(str(path)) as db:
        db.execute("SET checkpoint_threshold = '1GB'")
        db.execute("PRAGMA disable_checkpoint_on_shutdown")
        db.execute("UPDATE events SET model_name = 'only in the log'")
    wal = path.with_name(path.name + ".wal")
    assert wal.stat().st_size > 0
    before = snapshot(path.parent)
    info = take_backup(str(path))
    kept = path.with_name(path.name + ".backups")
    assert info.path.parent == kept
    assert {k: v for k, v in snapshot(path.parent).items() if not k.startswith(kept.name)} == before
    assert [file["name"] for file in info.files] == ["store.duckdb", "store.duckdb.wal"]
    assert info.generation == "synth.v2"
    restore_backup(info.path, str(tmp_path / "again.duckdb"))
    assert duckdb_rows(tmp_path / "again.duckdb") == duckdb_rows(path)
    assert ("only in the log",) in duckdb.connect(str(path)).execute("SELECT model_name FROM events").fetchall()


@pytest.mark.parametrize("engine", ["duckdb", "sqlite"])
def test_a_store_that_a_link_names_is_copied_with_its_log_and_put_back_where_the_link_leads(
    engine: str, tmp_path: Path
) -> None:
    real, link = tmp_path / "real" / "r.db", tmp_path / "named.db"
    real.parent.mkdir()
    link.symlink_to("real/r.db")
    with open_store(f"{engine}://{real}", mode="create", role="target") as made:
        made.execute("CREATE TABLE t (a VARCHAR)")
        if engine == "duckdb":
            made.execute("PRAGMA disable_checkpoint_on_shutdown")
        made.execute("INSERT INTO t VALUES ('only in the log')")
    info = take_backup(f"{engine}://{link}")
    assert info.path.parent == tmp_path / "named.db.backups"
    assert info.content["rows"] == {"t": 1}
    with pytest.raises(UsageError, match=f"^{link} is there already"):
        restore_backup(info.path)
    done = restore_backup(info.path, replace=True)
    assert link.is_symlink()
    assert done.aside is not None
    assert done.aside.parent == real.parent
    for path in (real, done.aside):
        with open_store(f"{engine}://{path}", mode="ro", role="source") as store:
            assert store.query("SELECT a FROM t") == [("only in the log",)]


def test_what_waits_in_the_log_is_in_the_backup_and_what_is_not_committed_is_not(store: Path, tmp_path: Path) -> None:
    with program(WRITER_IN_WAL, store):
        info = take_backup(f"libsql://{store}", tmp_path / "kept")
    restore_backup(info.path, str(tmp_path / "again.db"))
    texts = [row[2] for row in rows_of(tmp_path / "again.db") if len(row) == 5]
    assert "only in the log" in texts
    assert "not committed" not in texts


def test_a_store_that_a_killed_program_left_is_mended_in_the_copy_only(store: Path, tmp_path: Path) -> None:
    rows = rows_of(store)
    with program(WRITER_WITH_JOURNAL, store):
        pass
    assert Path(f"{store}-journal").stat().st_size > 0
    store.chmod(0o400)
    before = snapshot(store.parent)
    info = take_backup(str(store), tmp_path / "kept")
    assert snapshot(store.parent) == before
    assert (info.path / "store.db").stat().st_mode & 0o777 == 0o600, "nobody else may read it"
    restore_backup(info.path, str(tmp_path / "again.db"))
    assert rows_of(tmp_path / "again.db") == rows
    store.chmod(0o600)
    assert rows_of(store) == rows


def test_a_log_that_a_killed_program_left_is_in_the_backup(store: Path, tmp_path: Path) -> None:
    with program(WRITER_IN_WAL, store):
        pass
    Path(f"{store}-shm").unlink()
    before = snapshot(store.parent)
    info = take_backup(str(store), tmp_path / "kept")
    assert snapshot(store.parent) == before
    restore_backup(info.path, str(tmp_path / "again.db"))
    assert rows_of(tmp_path / "again.db") == rows_of(store)


def test_a_store_that_this_process_has_open_can_be_backed_up(store: Path, tmp_path: Path) -> None:
    with open_store(f"libsql://{store}", mode="rw", role="target") as opened:
        opened.execute("INSERT INTO a (t) VALUES ('new')")
        info = take_backup(f"libsql://{store}", tmp_path / "kept")
        with opened.transaction():
            opened.execute("INSERT INTO a (t) VALUES ('its locks still hold')")
    assert info.content["rows"]["a"] == 150


@pytest.mark.slow
def test_a_duckdb_store_that_another_process_writes_is_refused(legacy: Legacy, tmp_path: Path) -> None:
    path = legacy(sessions=4)
    with program(DUCKDB_WRITER, path) as writer, pytest.raises(StoreLockedError) as refused:
        take_backup(str(path), tmp_path / "kept")
    assert refused.value.fields["holder_pid"] == writer.pid
    assert not (tmp_path / "kept").exists()


def test_servers_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="files are the server's own"):
        take_backup("libsql+http://localhost:1", tmp_path)
    with pytest.raises(StoreNotFoundError):
        take_backup(str(tmp_path / "nothing.db"), tmp_path / "kept")
    text = tmp_path / "text.db"
    text.write_text("no database")
    with pytest.raises((StoreFormatError, UsageError)):
        take_backup(str(text), tmp_path / "kept")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: (p / "store.db").write_bytes(b"x" + (p / "store.db").read_bytes()[1:]), "not as it was written"),
        (lambda p: (p / "store.db").write_bytes((p / "store.db").read_bytes()[:-1]), "bytes, the manifest says"),
        (lambda p: (p / "store.db").unlink(), "is missing"),
        (lambda p: (p / "manifest.json").unlink(), "has no manifest.json"),
        (lambda p: (p / "manifest.json").write_text("{"), "cannot be read"),
        (lambda p: (p / "manifest.json").write_text('{"backup_version": 1}'), "not whole"),
        (lambda p: (p / "manifest.json").write_text('{"backup_version": 2}'), "this build reads 1"),
    ],
)
def test_a_spoiled_backup_is_refused(store: Path, tmp_path: Path, spoil: Callable[[Path], object], said: str) -> None:
    info = take_backup(str(store), tmp_path / "kept")
    spoil(info.path)
    with pytest.raises(BackupError, match=said):
        restore_backup(info.path, replace=True)
    assert [path.name for path in store.parent.iterdir()] == ["app.db"]


@pytest.mark.parametrize("name", ["../app.db", "other.db"])
def test_a_manifest_cannot_name_other_files(store: Path, tmp_path: Path, name: str) -> None:
    info = take_backup(str(store), tmp_path / "kept")
    manifest = json.loads((info.path / "manifest.json").read_text())
    manifest["files"][0]["name"] = name
    (info.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BackupError, match="files that no backup has"):
        read_backup(info.path)


def test_other_content_than_the_manifest_says_is_refused(store: Path, tmp_path: Path) -> None:
    info = take_backup(str(store), tmp_path / "kept")
    with closing(sqlite3.connect(info.path / "store.db")) as db, db:
        db.execute("UPDATE a SET t = 'other' WHERE id = 1")
    manifest = json.loads((info.path / "manifest.json").read_text())
    copy = info.path / "store.db"
    manifest["files"][0].update(bytes=copy.stat().st_size, sha256=file_digest(copy))
    (info.path / "manifest.json").write_text(json.dumps(manifest))
    before = snapshot(store.parent)
    with pytest.raises(BackupError, match="does not hold what"):
        restore_backup(info.path, replace=True)
    assert snapshot(store.parent) == before


def test_a_store_that_is_there_is_kept_aside(store: Path, tmp_path: Path) -> None:
    info = take_backup(str(store), tmp_path / "kept")
    old = rows_of(store)
    with program(WRITER_IN_WAL, store):
        pass
    with pytest.raises(UsageError, match="is there already"):
        restore_backup(info.path)
    done = restore_backup(info.path, replace=True)
    assert rows_of(store) == old
    assert done.aside is not None
    assert "only in the log" in [row[2] for row in rows_of(done.aside) if len(row) == 5], "its log came along"


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="locks of others are asked for on Linux only")
def test_a_store_in_use_is_not_replaced(store: Path, legacy: Legacy, tmp_path: Path) -> None:
    info = take_backup(str(store), tmp_path / "kept")
    with program(WRITER_WITH_JOURNAL, store) as writer, pytest.raises(StoreLockedError) as refused:
        restore_backup(info.path, replace=True)
    assert refused.value.fields["holder_pid"] == writer.pid
    path = legacy(sessions=4)
    info = take_backup(str(path), tmp_path / "kept")
    with program(DUCKDB_WRITER, path), pytest.raises(StoreLockedError):
        restore_backup(info.path, replace=True)


def test_no_room_leaves_nothing(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_backup, "_write_manifest", full)
    with pytest.raises(StoreFullError):
        take_backup(str(store), tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_copying_process_that_is_killed_leaves_nothing(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Worker):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            os.kill(self.pid, signal.SIGKILL)

    monkeypatch.setattr(_backup, "Worker", Killed)
    with pytest.raises(WorkerLostError):
        take_backup(str(store), tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_large_rows_are_hashed_one_after_the_other(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "large.db")) as db:
        db.execute("CREATE TABLE t (v TEXT)")
        db.executemany("INSERT INTO t VALUES (?)", (("x" * 500_000,) for _ in range(60)))
        db.commit()
    tracemalloc.start()
    try:
        assert content_of(StoreURL("sqlite", tmp_path / "large.db")).rows == {"t": 60}
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
