"""What a path holds, by its first bytes."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Literal

from sessionlift.errors import StoreError, StoreFormatError, StoreNotFoundError
from sessionlift.stores._files import real_file, side_file

Found = Literal["duckdb", "sqlite", "json", "empty", "text", "directory", "missing", "unknown"]

_SQLITE_MAGIC = b"SQLite format 3\0"
_DUCKDB_MAGIC = b"DUCK"
_DUCKDB_MAGIC_OFFSET = 8  # after the block's checksum
_HEAD = 512
BAD_DISK = (
    "see what the system's log says of the disk, and of limits (ulimit -f); then run the same command again: "
    "what was committed stays"
)
_BOM = b"\xef\xbb\xbf"


def sniff(path: Path) -> Found:
    """What is at ``path``. Reads its first 512 bytes and nothing else.

    Do not call it on a file that this process has open through a driver: closing the handle that reads the
    bytes drops the driver's locks.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError:
        return "unknown"
    if stat.S_ISDIR(mode):
        return "directory"
    if not stat.S_ISREG(mode):
        return "unknown"
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return "unknown"
    return sniff_bytes(head)


def may(path: Path, mode: int) -> bool:
    """Whether this process may use the path so, by its effective user where the system can say."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def sniff_bytes(head: bytes) -> Found:
    """The same for the first bytes of a file. A text that begins like a JSON object or list is ``json``."""
    if not head:
        return "empty"
    if head.startswith(_SQLITE_MAGIC):
        return "sqlite"
    if head[_DUCKDB_MAGIC_OFFSET : _DUCKDB_MAGIC_OFFSET + 4] == _DUCKDB_MAGIC:
        return "duckdb"
    text = head.removeprefix(_BOM)
    if not _is_text(text, cut=len(head) == _HEAD):
        return "unknown"
    return "json" if text.lstrip(b" \t\r\n").startswith((b"{", b"[")) else "text"


def _is_text(head: bytes, *, cut: bool) -> bool:
    if b"\0" in head:
        return False
    try:
        text = head[:-3].decode("utf-8") if cut else head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 8:
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\r\n\t\f\x1b" for character in text)


_NAMES: dict[Found, str] = {
    "duckdb": "a DuckDB database",
    "sqlite": "a SQLite/libSQL database",
    "json": "a JSON text file",
    "empty": "an empty file",
    "text": "a text file",
    "directory": "a directory",
    "missing": "nothing",
    "unknown": "a file of an unknown kind",
}
_ENGINES = {
    "duckdb": "a DuckDB database",
    "libsql": "a SQLite/libSQL database",
    "sqlite": "a SQLite/libSQL database",
    "json": "a JSON text file",
}


def wrong_format(path: Path, engine: str, found: Found, *, store: str, role: str | None) -> StoreError:
    """The error for a path that holds something else than ``engine`` needs."""
    if found == "missing":
        return _missing(path, store=store, role=role)
    if found == "unknown" and (why := _unreadable(path)) is not None:
        return StoreError(f"{path} cannot be read: {why}", hint=BAD_DISK, store=store, role=role, found=why)
    hints: dict[Found, str] = {
        "duckdb": f"open it as duckdb://{path}",
        "sqlite": f"open it as libsql://{path}",
        "empty": "an empty file is often what is left of an interrupted copy: copy the store again"
        + ("" if role == "source" else ", or restore its backup"),
        "json": "name the database file itself, not a text that belongs to it",
        "text": "name the database file itself, not a text that belongs to it",
        "directory": "name a file inside it",
    }
    what = f"{path} is {_NAMES[found]}"
    what += f", not {_ENGINES[engine]}" if found in {"duckdb", "sqlite"} else ", not a store"
    return StoreFormatError(
        what,
        hint=hints.get(found, "check the path"),
        store=store,
        role=role,
        found=found,
        expected=engine,
    )


def _unreadable(path: Path) -> str | None:
    """What the system says of a file whose first byte cannot be read; None where it can."""
    try:
        if stat.S_ISREG(path.stat().st_mode):
            with path.open("rb") as file:
                file.read(1)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _missing(path: Path, *, store: str, role: str | None) -> StoreError:
    wal = side_file(path, ".wal")
    if wal.exists():
        return StoreNotFoundError(
            f"{path} is missing, but its write-ahead log {wal.name} is there",
            hint="a DuckDB store is both files together: put the main file back beside its .wal",
            store=store,
            role=role,
            found="wal_only",
        )
    if not (parent := real_file(path).parent).is_dir():
        what, hint = f"there is no directory {parent}", "create it, or check the path"
    else:
        what, hint = f"there is no file {path}", "check the path"
    return StoreNotFoundError(what, hint=hint, store=store, role=role, found="missing")


def _refuse_log_beside_link(path: Path, *, store: str, role: str | None) -> None:
    """Older releases of DuckDB keep the log of a store beside the link by which they opened it; newer ones pass it
    over, and what waits in it with it."""
    left, right = path.with_name(f"{path.name}.wal"), side_file(path, ".wal")
    if not left.exists() or (right.exists() and left.samefile(right)):
        return
    raise StoreError(
        f"{path} is a link, and a write-ahead log {left.name} lies beside it that DuckDB does not look for there",
        hint="if it belongs to this store, open and close the store with the DuckDB that wrote it, or move it to "
        f"{right}; if not, move it away",
        store=store,
        role=role,
        found="wal_beside_link",
    )


def check_openable(path: Path, engine: str, *, create: bool, store: str, role: str | None) -> None:
    """Refuse what can be refused before the driver sees it, by ``stat`` alone.

    The bytes are not read: a driver in this process may have the file open. What they are comes out when the
    driver refuses them.
    """
    try:
        info = path.stat()
    except FileNotFoundError:
        wal = side_file(path, ".wal")
        if create and real_file(path).parent.is_dir() and not (engine == "duckdb" and wal.exists()):
            return
        raise _missing(path, store=store, role=role) from None
    except NotADirectoryError:
        raise _missing(path, store=store, role=role) from None
    except OSError as error:
        raise StoreNotFoundError(
            f"{path} cannot be looked at: {error.strerror}",
            hint="check the permissions",
            store=store,
            role=role,
        ) from error
    if stat.S_ISDIR(info.st_mode):
        raise wrong_format(path, engine, "directory", store=store, role=role)
    if engine == "duckdb":
        _refuse_log_beside_link(path, store=store, role=role)
    if info.st_size == 0 and not create:
        raise wrong_format(path, engine, "empty", store=store, role=role)
    if not may(path, os.R_OK):
        raise StoreError(
            f"{path} may not be read by this user",
            hint="check the file's permissions",
            store=store,
            role=role,
        )
