"""What the SQLite drivers say, as errors of our own tree."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sessionlift.errors import (
    StoreConstraintError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreLockedError,
    StoreNotFoundError,
    StoreReadOnlyError,
    StoreTextError,
)
from sessionlift.stores._files import real_file, side_file
from sessionlift.stores._private import file_size_limit
from sessionlift.stores._sniff import BAD_DISK, may, sniff, wrong_format
from sessionlift.stores._value import INT64_MAX, INT64_MIN, Value

_CONSTRAINT = re.compile(r"(UNIQUE|NOT NULL|CHECK|FOREIGN KEY) constraint failed(?:: (.*))?", re.DOTALL)
_STRICT = re.compile(r"cannot store (\w+) value in (\w+) column (\S+)")
_LITTLE_SPACE = 1 << 20


def constraint_error(text: str, *, store: str, role: str | None, table: str | None) -> StoreConstraintError | None:
    """The constraint that SQLite's message names, or None if it names none."""
    match = _CONSTRAINT.search(text)
    if match is not None:
        kind, detail = match.group(1), (match.group(2) or "").strip()
        columns: list[str] = []
        if kind in {"UNIQUE", "NOT NULL"} and detail and not detail.startswith("index"):
            names = [part.strip() for part in detail.split(",")]
            columns = [name.rpartition(".")[2] for name in names]
            table = names[0].rpartition(".")[0] or table
        where = f" of {table}" if table else ""
        rule = f"({', '.join(columns)})" if columns else detail
        return StoreConstraintError(
            f"a row breaks the {kind} rule{where}: {rule}" if rule else f"a row breaks a {kind} rule{where}",
            hint="nothing of its transaction was written",
            store=store,
            role=role,
            table=table,
            constraint=kind,
            columns=columns or None,
            rule=detail or None,
        )
    strict = _STRICT.search(text)
    if strict is not None or "datatype mismatch" in text:
        return StoreConstraintError(
            f"a value has a type that its column refuses: {text}",
            hint="nothing of its transaction was written",
            store=store,
            role=role,
            table=table or (strict.group(3).rpartition(".")[0] if strict else None) or None,
            constraint="TYPE",
        )
    return None


def map_sqlite_error(
    error: BaseException,
    *,
    store: str,
    role: str | None,
    path: Path | None = None,
    engine: str = "libsql",
    table: str | None = None,
    params: Sequence[Value] = (),
) -> StoreError:
    """Our error for what a SQLite driver raised. Every libsql error is a ValueError: its text decides."""
    text = str(error)
    low = text.lower()
    common: dict[str, Any] = {"store": store, "role": role}
    refused = unstorable(params, **common)
    if refused is not None:
        return refused
    constraint = constraint_error(text, store=store, role=role, table=table)
    if constraint is not None:
        return constraint
    if "is locked" in low or "busy" in low or "locking protocol" in low:
        return StoreLockedError(
            f"{path or store} is locked: another process is writing to it",
            hint="wait for it to end, or stop it; then run the same command again",
            **common,
        )
    if "is full" in low or "no space left" in low:
        return _full(path, common)
    if "readonly database" in low or "read-only" in low:
        return _read_only(path, common)
    if "not a database" in low or "file is encrypted" in low:
        found = sniff(path) if path is not None else "unknown"
        if path is not None and found != "sqlite":
            return wrong_format(path, engine, found, store=store, role=role)
        return StoreCorruptError("the file's header is damaged", hint=_DAMAGED, found=text, **common)
    if ("malformed" in low and "json" not in low) or "disk image" in low or "short_read" in low:
        return StoreCorruptError("the database is damaged or cut short", hint=_DAMAGED, found=text, **common)
    if "utf8error" in low or "decode to utf-8" in low or "invalid utf-8" in low:
        return StoreTextError(
            "a text in the store is not UTF-8",
            hint="another program wrote it so; find it with hex(), and mend or remove it",
            found=text,
            table=table,
            **common,
        )
    if "unable to open" in low:
        return _cannot_open(path, text, common)
    if "disk i/o error" in low:
        if path is not None and (_free_bytes(path) < _LITTLE_SPACE or file_size_limit() is not None):
            return _full(path, common)
        return StoreError("the disk could not be read or written", hint=BAD_DISK, found=text, **common)
    return StoreError(f"the database refused a statement: {text}", hint=_REFUSED, table=table, **common)


_REFUSED = "PRAGMA integrity_check of the sqlite3 program says whether the store is damaged; then restore a backup"
_DAMAGED = "restore it from a backup, or copy it again; a copy of a store in use is made with VACUUM INTO, not cp"


def unstorable(params: Sequence[Value], **common: Any) -> StoreError | None:
    """The first value that no SQLite store can hold (a lone surrogate, too large an integer)."""
    for index, value in enumerate(params):
        if isinstance(value, str):
            try:
                value.encode("utf-8")
            except UnicodeEncodeError as error:
                return StoreConstraintError(
                    f"value {index + 1} holds a lone surrogate (U+{ord(value[error.start]):04X}), "
                    "which is no text that a store can hold",
                    hint="converters keep such a value in the complement",
                    constraint="TEXT",
                    position=index,
                    **common,
                )
        elif isinstance(value, int) and not INT64_MIN <= value <= INT64_MAX:
            return StoreConstraintError(
                f"value {index + 1} is an integer outside 64 bits: {value}",
                hint="converters keep such a value in the complement",
                constraint="INTEGER",
                position=index,
                **common,
            )
        elif value is not None and not isinstance(value, (int, float, bytes)):
            return StoreConstraintError(
                f"value {index + 1} is a {type(value).__name__}, which is none of the types that move",
                hint="give None, int, float, str or bytes",
                constraint="TYPE",
                position=index,
                **common,
            )
    return None


def _free_bytes(path: Path) -> int:
    try:
        info = os.statvfs(path if path.exists() else real_file(path).parent)
    except OSError:
        return 1 << 62
    return info.f_bavail * info.f_frsize


def _full(path: Path | None, common: dict[str, Any]) -> StoreFullError:
    where = f" on the disk that holds {path}" if path is not None else ""
    limit = file_size_limit()
    if limit is not None:
        where += f", or a file has reached this user's limit of {limit:,} bytes"
    raised = "" if limit is None else " (or raise the limit: ulimit -f)"
    return StoreFullError(
        f"no space is left{where}",
        hint=f"make room{raised}, then run the same command again: what was committed stays",
        free_bytes=_free_bytes(path) if path is not None else None,
        **common,
    )


def _read_only(path: Path | None, common: dict[str, Any]) -> StoreReadOnlyError:
    where = str(path) if path is not None else "the store"
    if path is not None and may_write(path) and (journal := side_file(path, "-journal")).exists():
        return StoreReadOnlyError(
            f"{where} was left half-changed: {journal.name} must be rolled back first, which a reader may not do",
            hint=f"a program that wrote to it was killed: open the store with that program once, or say "
            f"`sqlite3 {shlex.quote(str(path))} .schema`; then run the same command again",
            **common,
        )
    return StoreReadOnlyError(
        f"{where} may not be written: it was opened read-only, or it or its directory is read-only",
        hint="check the permissions of the file and of its directory",
        **common,
    )


def _cannot_open(path: Path | None, text: str, common: dict[str, Any]) -> StoreError:
    if path is not None and not (parent := real_file(path).parent).is_dir():
        return StoreNotFoundError(f"there is no directory {parent}", hint="create it first", **common)
    if path is not None and not may_write(path):
        return _read_only(path, common)
    if path is not None and _free_bytes(path) < _LITTLE_SPACE:
        return _full(path, common)
    return StoreError(
        "the database could not be opened",
        hint="check the path and the disk; then run the same command again: what was committed stays",
        found=text,
        **common,
    )


def writable_directory(path: Path) -> bool:
    """Whether this user may make files in the directory."""
    if not may(path, os.W_OK):
        return False
    try:
        return not os.statvfs(path).f_flag & os.ST_RDONLY
    except OSError:
        return False


def may_write(path: Path) -> bool:
    """Whether this user may write to the file, or make it, with its journal beside it."""
    return writable_directory(real_file(path).parent) and (not path.exists() or may(path, os.W_OK))
