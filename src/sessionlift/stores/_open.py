"""Open the store that a URL names."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from sessionlift.errors import SessionliftError, StoreError, UsageError
from sessionlift.stores._base import Mode, Role, Store
from sessionlift.stores._duckdb import DuckdbStore
from sessionlift.stores._libsql import LibsqlStore
from sessionlift.stores._registry import has_descriptor, open_engine
from sessionlift.stores._sniff import sniff, wrong_format
from sessionlift.stores._sqld import SqldStore
from sessionlift.stores._sqlite import SqliteStore
from sessionlift.stores._url import StoreURL, parse_store_url

_SINCE = (3, 35)
"""The release of SQLite from which on all is there that libSQL can: before, a statement took 999 values."""


def open_store(url: StoreURL | str, *, mode: Mode, role: Role) -> Store:
    """Open a database: ``ro`` writes nothing, ``rw`` needs it to be there, ``create`` makes it if it is not.

    ``role`` goes into every error that the store raises, and decides the exit code.

    Raises StoreNotFoundError, StoreFormatError, StoreTooNewError, StoreCorruptError, StoreLockedError,
    StoreReadOnlyError, StoreAuthError, StoreUnavailableError or UsageError.
    """
    where = parse_store_url(url) if isinstance(url, str) else url
    if where.engine == "duckdb":
        return DuckdbStore(where, mode=mode, role=role)
    if where.engine == "libsql":
        return LibsqlStore(where, mode=mode, role=role)
    if where.engine == "sqlite":
        return SqliteStore(where, mode=mode, role=role)
    if where.engine == "sqld":
        return SqldStore(where, mode=mode, role=role)
    raise not_a_database(where, role=role)


def through_stdlib(url: StoreURL) -> StoreURL:
    """The same libSQL file by the standard library's driver, which reads several times as fast.

    ``url`` as it is where that cannot be: it names no file that is there, another library has the file open in this
    process, its schema has what only libSQL knows, or the library is an old one. Whoever asks keeps to the answer as
    long as the file is open. A library that opens the file later, and not through us, cannot be seen.
    """
    if url.engine != "libsql" or url.path is None or sqlite3.sqlite_version_info < _SINCE:
        return url
    held = open_engine(url.path)
    if held != "sqlite" and (held is not None or has_descriptor(url.path)):
        return url
    found = replace(url, engine="sqlite")
    try:
        # reading anything parses the whole schema
        with SqliteStore(found, mode="ro", role="target") as store:
            own = store.query(
                "SELECT 1 FROM sqlite_master WHERE type IN ('index', 'trigger') "
                "AND (sql LIKE '%libsql%' OR sql LIKE '%vector%') LIMIT 1"
            )
    except StoreError:
        return url
    return url if own else found


def not_a_database(url: StoreURL, *, role: Role) -> SessionliftError:
    """The error for a path that a database or a dump was looked for at, by what is there."""
    if url.path is None:
        return UsageError(f"unknown engine {url.engine!r}")
    return wrong_format(url.path, url.engine, sniff(url.path), store=url.redacted, role=role)
