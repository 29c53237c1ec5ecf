"""A private copy of a SQLite file at one moment, so that a program that goes on writing is neither seen nor held up."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from sessionlift.errors import StoreCorruptError, StoreError, StoreFormatError, StoreLockedError
from sessionlift.stores import file_uri

_TRIES = 5
_SIDES = ("", "-journal", "-wal")
_WAL = b"\x02\x02"
"""What bytes 18 and 19 of a SQLite file say where it is used with a write-ahead log."""


def copy_of(path: Path, folder: Path) -> Path:
    """Copy the store at ``path`` into ``folder``; nothing is written beside it, whatever state it was left in."""
    copy = folder / "legacy.db"
    try:
        if _is_clean(path):
            try:
                _backed_up(path, copy)
            except sqlite3.OperationalError:
                # a writer has begun meanwhile
                _copied(path, copy)
        else:
            _copied(path, copy)
    except sqlite3.DatabaseError as error:
        raise _mapped(error, path) from error
    return copy


def _is_clean(path: Path) -> bool:
    """True where a reader needs no log and no index beside the file."""
    with path.open("rb") as file:
        head = file.read(20)
    return head[18:20] != _WAL and not any(_beside(path, side).exists() for side in _SIDES[1:])


def _backed_up(path: Path, copy: Path) -> None:
    with (
        closing(sqlite3.connect(f"{file_uri(path)}?mode=ro", uri=True, timeout=30)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)


def _copied(path: Path, copy: Path) -> None:
    """Copy the file and its log as they lie, and let SQLite recover the copy."""
    for _ in range(_TRIES):
        before = [_state(_beside(path, side)) for side in _SIDES]
        for side in _SIDES:
            _beside(copy, side).unlink(missing_ok=True)
            if _beside(path, side).exists():
                shutil.copyfile(_beside(path, side), _beside(copy, side))
        if before == [_state(_beside(path, side)) for side in _SIDES]:
            with closing(sqlite3.connect(copy)) as database:
                database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            return
    raise StoreLockedError(
        f"{path} changes faster than it can be copied",
        hint="another program writes to it without end; try again, or stop it",
        store=str(path),
        role="source",
    )


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


def _beside(path: Path, side: str) -> Path:
    # SQLite follows a link first: its logs lie beside the real file
    return Path(f"{os.path.realpath(path)}{side}")


def _mapped(error: sqlite3.DatabaseError, path: Path) -> StoreError:
    common = {"store": str(path), "role": "source"}
    if "locked" in str(error):
        return StoreLockedError(f"{path} is locked by another program", hint="try again when it is done", **common)
    if "not a database" in str(error):
        return StoreFormatError(f"{path} is no SQLite file", **common)
    return StoreCorruptError(f"{path} could not be read: {error}", **common)
