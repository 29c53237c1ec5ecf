"""Stores that are files: opened, and copied whole while others may use them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sessionlift.errors import StoreFormatError, StoreReadOnlyError, UsageError
from sessionlift.stores import Mode, Role, SqliteFileStore, StoreURL, may_write, open_store, parse_store_url, sniff


def in_place_url(text: str) -> StoreURL:
    """The store that ``text`` names. A plain path is opened by the library that the real program uses: ``sqlite3``."""
    where = parse_store_url(text)
    if where.engine == "libsql" and "://" not in text:
        where = replace(where, engine="sqlite")
    file_of(where)
    return where


def file_of(where: StoreURL) -> Path:
    """The file of a store. Raises UsageError for a server."""
    if where.path is None:
        raise UsageError(
            f"{where.redacted} is a server; only a file can be changed in place or copied so",
            hint="stop the server and name its file",
        )
    return where.path


def refuse_empty(where: StoreURL) -> None:
    """Raise StoreFormatError where an empty file lies in the store's place: what is changed in place is not made."""
    path = file_of(where)
    if sniff(path) == "empty":
        raise StoreFormatError(
            f"{path} is an empty file, not a store",
            hint="an empty file is often what is left of an interrupted copy: copy the store again, or "
            "`sessionlift restore` its backup",
            store=where.redacted,
            role="target",
            found="empty",
        )


def refuse_read_only(where: StoreURL) -> None:
    """Raise StoreReadOnlyError where this user may not write to the store, or not make it, and its journal."""
    path = file_of(where)
    if not may_write(path):
        raise StoreReadOnlyError(
            f"{path} may not be written: it or its directory is read-only; nothing was changed",
            hint="check the permissions of the file and of its directory",
            store=where.redacted,
            role="target",
        )


def open_file(where: StoreURL, *, mode: Mode, role: Role) -> SqliteFileStore:
    """Open a SQLite file by the library that its URL names. Raises UsageError for a store of another engine."""
    store = open_store(where, mode=mode, role=role)
    if not isinstance(store, SqliteFileStore):
        store.close()
        raise UsageError(f"{where.redacted} is no SQLite file", hint="name a SQLite or libSQL file")
    return store


def snapshot(where: StoreURL, path: Path) -> None:
    """Copy what is committed in a store to ``path``, through a connection of its own that only reads.

    The copy can be written to, whatever the permissions of the store: something is tried in it, or it is led up.
    """
    with open_file(where, mode="ro", role="source") as store:
        store.copy_to(path)
    path.chmod(path.stat().st_mode | 0o600)
