"""The moments at which a process changes something, counted; at one of them it can be killed.

A *boundary* is the moment just before a change: a statement to a store that is no mere reading (the BEGIN and the
COMMIT among them), the closing of a store that was open for writing, a question to a server, a file that is opened
for writing, synced, renamed, linked or removed, a directory that is made, a tree of files that is removed. What lies
in the private directories of a run (the driver's probe, DuckDB's spill files) is nobody's data and not counted.

Statements are seen in our stores, through which everything goes; files by Python's own audit events, which no call
escapes. The counter is shared by a process and the ones it forks after ``Boundaries`` was made.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import shutil
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

READING = re.compile(
    r"\s*(SELECT|FROM|DESCRIBE|SHOW|EXPLAIN|SET\b|WITH(?!.*\b(INSERT INTO|UPDATE|DELETE FROM)\b)"
    r"|PRAGMA (?!journal_mode\s*=|wal_checkpoint|synchronous\s*=))",
    re.IGNORECASE | re.DOTALL,
)
PRIVATE = ("sessionlift-probe-", "sessionlift-duckdb-", "/dev/null", "/dev/tty", "/proc/")
_FILES = {
    "os.mkdir": "make the directory",
    "os.rename": "rename",
    "os.link": "link",
    "os.symlink": "link",
    "os.remove": "remove",
    "os.rmdir": "remove the directory",
    "os.truncate": "truncate",
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Boundaries:
    """Counts the boundaries of this process and of the workers that watch, too, and acts at the ``at``-th.

    ``do`` is a signal and who gets it: the process that made this (``"SIGKILL"``), a worker by its name or any
    process by its number (``"SIGKILL converter"``). A worker that meets the boundary dies with the process it works
    for. ``log`` gets a line of JSON for each boundary.
    """

    def __init__(self, at: int, do: str, log: Path, workers: Callable[[], dict[str, int]]) -> None:
        self._at, self._log, self._workers = at, log, workers
        self._signal, _, self._whom = do.partition(" ")
        self._main = os.getpid()
        self._count = mmap.mmap(-1, 8)
        self._local = threading.local()

    @property
    def _quiet(self) -> bool:
        return getattr(self._local, "quiet", False)

    @_quiet.setter
    def _quiet(self, quiet: bool) -> None:
        self._local.quiet = quiet

    def meet(self, what: str) -> None:
        """Count a boundary, and act if it is the one."""
        if self._quiet:
            return
        self._quiet = True  # what this does itself is no boundary
        try:
            (seen,) = struct.unpack("q", self._count[:8])
            self._count[:8] = struct.pack("q", seen + 1)
            with self._log.open("a") as log:
                log.write(json.dumps(what) + "\n")
            if seen + 1 == self._at:
                self._act()
        finally:
            self._quiet = False

    def _act(self) -> None:
        number = int(self._whom) if self._whom.isdigit() else {"": self._main, **self._workers()}[self._whom]
        os.kill(number, signal.Signals[self._signal])
        if number == self._main != os.getpid() and self._signal == "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._whom.isdigit():
            time.sleep(0.2)  # until it is gone

    # --- where they are met

    def watch(self) -> None:
        """Count from now on, in this process."""
        self._watch_sqlite()
        self._watch_duckdb()
        self._watch_server()
        self._watch_files()

    def _watch_sqlite(self) -> None:
        from sessionlift.stores import LibsqlStore, SqliteStore
        from sessionlift.stores._sqlfile import SqliteFileStore

        run, rows, close = SqliteFileStore._run, SqliteFileStore._rows, SqliteFileStore.close

        def met(store: Any, sql: str) -> None:
            if store.mode != "ro" and _counts(store._path) and not READING.match(sql):
                self.meet(" ".join(sql.split())[:60])

        def watched(store: Any, sql: str, params: Any = (), **options: Any) -> Any:
            met(store, sql)
            return run(store, sql, params, **options)

        def waiting(store: Any, sql: str, params: Any = ()) -> Any:
            # a store that waits by itself does not pass on what it asks for rows
            if store._patience and store._connection is not None:
                met(store, sql)
            return rows(store, sql, params)

        def closed(store: Any) -> None:
            if store._connection is not None and store.mode != "ro" and _counts(store._path):
                self.meet("close SQLite")
            close(store)

        _replace(SqliteFileStore, _run=watched, _rows=waiting, close=closed)
        for driver in (LibsqlStore, SqliteStore):
            _replace(driver, copy_to=self._copying(driver.copy_to))

    def _copying(self, copy_to: Callable[..., None]) -> Callable[..., None]:
        def copying(store: Any, path: Path) -> None:
            if _counts(path):
                self.meet(f"copy a store to {_name(path)}")
            copy_to(store, path)

        return copying

    def _watch_duckdb(self) -> None:
        from sessionlift.stores import DuckdbStore

        given, close = DuckdbStore.connection, DuckdbStore.close

        def connection(store: Any) -> Any:
            found = given.__get__(store)
            return found if store.mode == "ro" or not _counts(store.url.path) else _Duck(found, self.meet)

        def closed(store: Any) -> None:
            if store._connection is not None and store.mode != "ro" and _counts(store.url.path):
                self.meet("close DuckDB")
            close(store)

        _replace(DuckdbStore, connection=property(connection), close=closed)

    def _watch_server(self) -> None:
        from sessionlift.stores._sqld_client import Client

        asked = Client._pipeline

        def counted(client: Any, requests: Any) -> Any:
            self.meet("ask the server")
            return asked(client, requests)

        _replace(Client, _pipeline=counted)

    def _watch_files(self) -> None:
        sync, remove_tree = os.fsync, shutil.rmtree

        def synced(handle: Any) -> None:
            self.meet("fsync a file")
            sync(handle)

        def removed(path: Any, *arguments: Any, **options: Any) -> None:
            with self._as_one(f"rmtree {_name(path)}", counts=_counts(path)):
                remove_tree(path, *arguments, **options)

        _replace(os, fsync=synced)
        _replace(shutil, rmtree=removed)

        def heard(event: str, arguments: tuple[Any, ...]) -> None:
            if self._quiet:
                return
            if event == "open":
                path, _, flags = arguments
                if isinstance(path, (str, bytes)) and flags & _WRITES and _counts(path):
                    self.meet(f"open {_name(path)} for writing")
            elif event in _FILES and _counts(arguments[0]) and not _in_vain(event, arguments):
                self.meet(f"{_FILES[event]} {_name(arguments[0])}")

        sys.addaudithook(heard)

    @contextlib.contextmanager
    def _as_one(self, what: str, *, counts: bool) -> Iterator[None]:
        """One boundary for everything inside."""
        if counts:
            self.meet(what)
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before


class _Duck:
    """DuckDB's connection (or a cursor of it), whose statements are told before they run."""

    def __init__(self, real: Any, meet: Callable[[str], None]) -> None:
        self._real, self._meet = real, meet

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def _tell(self, sql: str) -> None:
        self._meet(f"{' '.join(sql.split())[:60]} in DuckDB")

    def cursor(self) -> _Duck:
        return _Duck(self._real.cursor(), self._meet)

    def execute(self, sql: str, *arguments: Any, **options: Any) -> Any:
        if not READING.match(sql):
            self._tell(sql)
        return self._real.execute(sql, *arguments, **options)

    def executemany(self, sql: str, *arguments: Any, **options: Any) -> Any:
        self._tell(sql)
        return self._real.executemany(sql, *arguments, **options)

    def begin(self) -> Any:
        self._tell("BEGIN")
        return self._real.begin()

    def commit(self) -> Any:
        self._tell("COMMIT")
        return self._real.commit()


def _replace(owner: Any, **functions: Any) -> None:
    for name, function in functions.items():
        setattr(owner, name, function)


def _in_vain(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether a file is asked for that is there already, or gone: nothing will change."""
    path, *_, folder = arguments
    if folder != -1:  # it is named by its place in an open folder
        return False
    if event == "os.mkdir":
        return Path(path).is_dir()
    return event == "os.remove" and not os.path.lexists(path)


def _name(path: Any) -> str:
    return Path(os.fsdecode(path)).name


def _counts(path: Any) -> bool:
    return not isinstance(path, int) and not any(private in os.fsdecode(path) for private in PRIVATE)
