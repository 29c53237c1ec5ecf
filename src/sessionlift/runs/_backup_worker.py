"""The process that copies stores for backups, and looks into copies.

It is one of its own because the application, or the run that asks, may have the file open through another SQLite
library, or DuckDB: a second one in the same process would drop the first one's locks.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import sys
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from sessionlift.errors import GenerationError, SessionliftError, StoreError, StoreLockedError
from sessionlift.generations import detect
from sessionlift.runs._content import content_of
from sessionlift.runs._protocol import Message, receive, say, send
from sessionlift.stores import (
    DuckdbStore,
    SqliteStore,
    StoreURL,
    copy_with_side_files,
    needs_recovery,
    no_room,
    parse_store_url,
    side_file,
)

_CHUNK = 1 << 20
_PENDING, _SHARED_END = 0x40000000, 510 + 2
"""Where SQLite's locks lie in a file, and how many bytes of them."""


def main() -> int:
    request = receive(sys.stdin)
    if request is None:
        return 0
    try:
        send(sys.stdout, {"type": "done", **_DO[request["do"]](request)})
    except SessionliftError as error:
        return say(error)
    except OSError as error:
        return say(no_room(error))
    return 0


def _copy(request: Message) -> Message:
    """Copy a store into the directory ``into`` as ``name`` (and ``name.wal``), and say what the copy holds."""
    where, into = parse_store_url(request["store"]), Path(request["into"])
    copy = into / str(request["name"])
    if where.engine == "duckdb":
        _copy_duckdb(where, copy)
    else:
        _copy_sqlite(StoreURL("sqlite", where.path), copy)
    generation = _generation(StoreURL("duckdb" if where.engine == "duckdb" else "sqlite", copy))
    content = content_of(StoreURL(where.engine, copy))
    files = [_described(path) for path in (copy, Path(f"{copy}.wal")) if path.exists()]
    _sync_directory(into)
    return {"files": files, "content": asdict(content), "generation": generation}


def _generation(copy: StoreURL) -> str | None:
    """What the copy holds, if a schema is known that fits."""
    try:
        return detect(copy).generation
    except GenerationError:
        return None


def _copy_duckdb(where: StoreURL, copy: Path) -> None:
    """Both files as they lie, while our own reading keeps every writer out.

    The files stay open until DuckDB has closed them: closing one before would drop its lock.
    """
    assert where.path is not None  # noqa: S101 - it names a file
    with ExitStack() as stack, DuckdbStore(where, mode="ro"):
        for end in ("", ".wal"):
            path = side_file(where.path, end)
            if path.exists():
                source = stack.enter_context(path.open("rb"))
                _copy_bytes(source, Path(f"{copy}{end}"))
                shutil.copymode(path, f"{copy}{end}")


def _copy_bytes(source: BinaryIO, copy: Path) -> None:
    with copy.open("xb") as file:
        while part := source.read(_CHUNK):
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def _copy_sqlite(where: StoreURL, copy: Path) -> None:
    """What is committed, by SQLite's backup API; a store that a killed program left is recovered in the copy only."""
    assert where.path is not None  # noqa: S101 - it names a file
    if not needs_recovery(where.path):
        try:
            with SqliteStore(where, mode="ro", role="source") as store:
                store.copy_to(copy)
            return
        except StoreLockedError:
            raise
        except StoreError:
            if not side_file(where.path, "-journal").exists():
                raise
            copy.unlink(missing_ok=True)
    copy_with_side_files(where.path, copy)
    with SqliteStore(StoreURL("sqlite", copy), mode="rw", role="source") as store:
        store.query("PRAGMA wal_checkpoint(TRUNCATE)")
        journal = store.query("PRAGMA journal_mode")[0][0]
        if journal == "wal":
            # without its side files; the mode is the store's own, and set again
            store.query("PRAGMA journal_mode = DELETE")
    if journal == "wal":
        with closing(sqlite3.connect(copy)) as db:
            db.execute("PRAGMA journal_mode = WAL").fetchall()
    for end in ("-journal", "-wal", "-shm"):
        Path(f"{copy}{end}").unlink(missing_ok=True)
    with copy.open("rb") as file:
        os.fsync(file.fileno())


def _look(request: Message) -> Message:
    """What a database file holds."""
    return {"content": asdict(content_of(parse_store_url(request["store"])))}


def _hold(request: Message) -> Message:
    """Raise StoreLockedError where another process has the store open, as far as its locks tell."""
    where = parse_store_url(request["store"])
    assert where.path is not None  # noqa: S101 - it names a file
    if where.engine == "duckdb":
        with DuckdbStore(where, mode="ro", role="target"):
            return {}
    holder = _lock_holder(where.path)
    if holder:
        raise StoreLockedError(
            f"{where.path} is open in process {holder}",
            hint="end it, then run the same command again",
            store=where.redacted,
            role="target",
            holder_pid=holder,
        )
    return {}


def _lock_holder(path: Path) -> int:
    """The process that holds one of SQLite's locks on a file, 0 for none. Takes no lock itself."""
    if not sys.platform.startswith("linux"):
        return 0
    import fcntl
    import struct

    form = "hhqqi"
    with path.open("rb") as file:
        asked = struct.pack(form, fcntl.F_WRLCK, os.SEEK_SET, _PENDING, _SHARED_END, 0)
        kind, _, _, _, pid = struct.unpack(form, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    return 0 if kind == fcntl.F_UNLCK else int(pid)


def _described(path: Path) -> dict[str, Any]:
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": file_digest(path)}


def file_digest(path: Path) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_CHUNK):
            digest.update(part)
    return digest.hexdigest()


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_DO = {"copy": _copy, "look": _look, "hold": _hold}


if __name__ == "__main__":
    sys.exit(main())
