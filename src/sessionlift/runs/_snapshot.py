"""Stores that are files: opened, and copied whole while others may use them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from sessionlift.errors import StoreFormatError, StoreReadOnlyError, UsageError
from sessionlift.stores import (
    Mode,
    PrivateDirectory,
    Role,
    SqliteFileStore,
    StoreURL,
    copy_with_side_files,
    may_write,
    needs_recovery,
    no_room,
    open_store,
    parse_store_url,
    side_file,
    sniff,
)


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


@contextmanager
def reading(where: StoreURL, *, role: Role) -> Iterator[SqliteFileStore]:
    """Open a SQLite file to read it; one that a killed program left half-changed is recovered in a private copy."""
    path = file_of(where)
    with ExitStack() as stack:
        store = None if needs_recovery(path) else _as_it_lies(where, role)
        if store is None:
            copy = stack.enter_context(PrivateDirectory("recovery")) / "store.db"
            try:
                copy_with_side_files(path, copy)
            except OSError as error:
                raise no_room(error) from error
            store = open_file(replace(where, path=copy), mode="rw", role=role)
        yield stack.enter_context(store)


def _as_it_lies(where: StoreURL, role: Role) -> SqliteFileStore | None:
    """None for a store with a journal that must be rolled back, which a reader may not do."""
    try:
        return open_file(where, mode="ro", role=role)
    except StoreReadOnlyError:
        if not side_file(file_of(where), "-journal").exists():
            raise
        return None


def snapshot(where: StoreURL, path: Path) -> None:
    """Copy what is committed in a store to ``path``; the store is only read.

    The copy can be written to, whatever the permissions of the store: something is tried in it, or it is led up.
    """
    with reading(where, role="source") as store:
        store.copy_to(path)
    path.chmod(path.stat().st_mode | 0o600)
