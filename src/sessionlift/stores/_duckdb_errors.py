"""What DuckDB says, as errors of our own tree."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import duckdb

from sessionlift.errors import (
    StoreConstraintError,
    StoreCorruptError,
    StoreError,
    StoreFormatError,
    StoreFullError,
    StoreLockedError,
    StoreReadOnlyError,
    StoreTooNewError,
)
from sessionlift.stores._duckdb_header import read_header
from sessionlift.stores._sniff import BAD_DISK, sniff, wrong_format
from sessionlift.stores._spill import is_about_spilling

_NEWER = re.compile(r"version number (\d+), but we can only read versions? (?:between )?(\d+)(?: and (\d+))?")
_HOLDER = re.compile(r"Conflicting lock is held in (.*?) ?\(PID (\d+)\)")
# the first release that reads each storage version
_FIRST_RELEASE = {64: "0.9.0", 65: "1.2.0", 66: "1.3.0", 67: "1.4.0", 68: "1.5.0", 69: "2.0.0"}
_DAMAGED = "restore it from a backup, or copy it again together with its .wal"
_REFUSED = "open the store with DuckDB itself: what it refuses there, too, is damage; restore it from a backup"


def map_duckdb_error(
    error: BaseException, *, store: str, role: str | None, path: Path, table: str | None = None
) -> StoreError:
    """Our error for what DuckDB raised."""
    text = str(error)
    low = text.lower()
    common: dict[str, Any] = {"store": store, "role": role}
    newer = _NEWER.search(text)
    if newer is not None:
        return _version(int(newer.group(1)), int(newer.group(3) or newer.group(2)), path, common)
    if "could not set lock" in low or "conflicting lock" in low or "being used by another process" in low:
        return _locked(text, path, common)
    if "different configuration than existing connections" in low:
        return StoreLockedError(
            f"{path} is already open in this process, in another way",
            hint="close that connection first, or open it in a process of its own",
            holder_pid=os.getpid(),
            **common,
        )
    if "file too large" in low:
        return StoreFullError(
            f"a file of {path}, or of its temporary ones, would become larger than this process may write",
            hint="raise the limit (`ulimit -f`), then run the same command again",
            **common,
        )
    if "no space left" in low or "disk quota" in low or "could not write all bytes" in low:
        return StoreFullError(
            f"no space is left on the disk that holds {path} or its temporary files",
            hint="make room, then run the same command again",
            **common,
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return StoreError(
            f"memory is too short for {path}: {text.splitlines()[0]}",
            hint="end other programs, or use a machine with more memory",
            **common,
        )
    if is_about_spilling(text):
        return StoreError(
            f"a temporary file of the engine is damaged or gone: {_first_line(text)}",
            hint="set TMPDIR to a directory of a disk that works, which nobody tidies, and run the same command again",
            store=store,
            role="target",
        )
    if isinstance(error, duckdb.ConstraintException):
        return StoreConstraintError(
            f"a row breaks a rule of the table: {text.splitlines()[0]}",
            hint="nothing of its transaction was written",
            table=table,
            **common,
        )
    if "not a valid duckdb database" in low or "sqlite_scanner" in low or "file type is not" in low:
        found = sniff(path)
        if found != "duckdb":
            return wrong_format(path, "duckdb", found, store=store, role=role)
        return StoreCorruptError("the file's header is damaged", hint=_DAMAGED, found=text, **common)
    if "permission denied" in low or "read-only file system" in low:
        return StoreReadOnlyError(
            f"{path} may not be opened so: {text.splitlines()[0]}",
            hint="check the permissions of the file and of its directory",
            **common,
        )
    if "read-only" in low and ("cannot" in low or "attached in read-only" in low):
        return StoreReadOnlyError(f"{path} was opened read-only", hint="open it for writing", **common)
    if _looks_damaged(error, low):
        return StoreCorruptError(f"{path} is damaged or cut short", hint=_DAMAGED, found=_first_line(text), **common)
    if isinstance(error, duckdb.IOException):
        return StoreError("the disk could not be read or written", hint=BAD_DISK, found=_first_line(text), **common)
    return StoreError(f"DuckDB refused: {text.strip()[:500]}", hint=_REFUSED, table=table, **common)


_HEADERS = 3 * 4096  # the file's own header and two database headers


def looks_short(path: Path) -> int | None:
    """The file's length, if that is less than its header counts. Call it before DuckDB opens the file: closing
    another handle would drop DuckDB's lock."""
    header, size = read_header(path), path.stat().st_size
    return size if header is not None and header.needed is not None and size < header.needed else None


def refuse_cut_short(
    connection: duckdb.DuckDBPyConnection, path: Path, size: int, *, store: str, role: str | None
) -> None:
    """Raise StoreCorruptError for a file that lacks blocks in use; DuckDB itself notices only when it reads there.

    A file may be shorter than its header counts and be whole: DuckDB cuts free blocks off its end after it has
    written the header. So the blocks in use are what must have room.
    """
    block, used = connection.execute("SELECT block_size, used_blocks FROM pragma_database_size()").fetchall()[0]
    needed = _HEADERS + used * block
    if size >= needed:
        return
    raise StoreCorruptError(
        f"{path} is cut short: its blocks in use take {needed} bytes, the file has {size}",
        hint=_DAMAGED,
        store=store,
        role=role,
        needed_bytes=needed,
        found_bytes=size,
    )


def _looks_damaged(error: BaseException, low: str) -> bool:
    kinds = (duckdb.SerializationException, duckdb.FatalException, duckdb.InternalException)
    if isinstance(error, kinds):
        return True
    marks = (
        "checksum",
        "corrupt",
        "could not read enough bytes",
        "failed to read",
        "out of range of the file",
    )
    return any(mark in low for mark in marks)


def _version(found: int, newest: int, path: Path, common: dict[str, Any]) -> StoreError:
    header = read_header(path)
    written_by = header.release if header else None
    if found < newest:
        return StoreFormatError(
            f"{path} has DuckDB's old storage version {found}, which {duckdb.__version__} no longer reads",
            hint="open it with DuckDB 0.9 or 1.x and EXPORT it, then IMPORT it with a newer one",
            found=f"storage version {found}",
            installed=duckdb.__version__,
            **common,
        )
    needed = _FIRST_RELEASE.get(found) or (written_by or "a newer release").lstrip("v")
    python = ""
    if needed.startswith("2.") or not needed[0].isdigit():
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        python = f"; wheels of DuckDB 2 need Python 3.12 or newer (this is {here})"
    return StoreTooNewError(
        f"{path} was written by a newer DuckDB ({written_by or f'storage version {found}'}); "
        f"the installed {duckdb.__version__} cannot read it",
        hint=f"install duckdb>={needed}{python}",
        found=f"storage version {found}",
        written_by=written_by,
        needed=needed,
        installed=duckdb.__version__,
        **common,
    )


def _locked(text: str, path: Path, common: dict[str, Any]) -> StoreLockedError:
    match = _HOLDER.search(text)
    pid = int(match.group(2)) if match else None
    program = match.group(1).strip() or None if match else None
    who = f"process {pid}" + (f" ({program})" if program else "") if pid else "another process"
    return StoreLockedError(
        f"{path} is held open by {who}",
        hint=f"end it; where the store is only to be read, a snapshot does: stop its writes for a moment and copy "
        f"{path.name} and {path.name}.wal together, then name the copy",
        holder_pid=pid,
        holder=program,
        **common,
    )


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:300]
