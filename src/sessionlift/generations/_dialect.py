"""SQLAlchemy's SQLite dialect over one of our stores, so that Alembic reaches libSQL files and servers.

The smallest DBAPI that does: one store is one connection, ``BEGIN`` is ``BEGIN IMMEDIATE``, and the errors
are the store's own, which SQLAlchemy passes on untouched because none is a subclass of :class:`Error`.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.base import SQLiteDialect

from sessionlift.stores import Store

apilevel = "2.0"
threadsafety = 0
paramstyle = "qmark"
# the oldest that any driver here brings; the dialect chooses its SQL by it
sqlite_version = "3.37.0"
sqlite_version_info = (3, 37, 0)

_READS = re.compile(r"\s*(select|with|values|pragma|explain)\b", re.IGNORECASE)


class Error(Exception):
    """The root that the DBAPI asks for. Never raised: a store raises errors of the package's own tree."""


DatabaseError = IntegrityError = OperationalError = ProgrammingError = InterfaceError = Error


class _Rollback(Exception):  # noqa: N818 - a signal to the transaction, not an error
    pass


class StoreConnection:
    """A DBAPI connection over a store that stays the caller's to close."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._transaction: AbstractContextManager[None] | None = None

    def begin(self) -> None:
        # a reader needs no lock, and SQLite would refuse it one
        if self.store.mode != "ro" and self._transaction is None:
            transaction = self.store.transaction()
            transaction.__enter__()
            self._transaction = transaction

    def commit(self) -> None:
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            transaction.__exit__(None, None, None)

    def rollback(self) -> None:
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            transaction.__exit__(_Rollback, _Rollback(), None)

    def close(self) -> None:
        self.rollback()

    def cursor(self) -> StoreCursor:
        return StoreCursor(self.store)


class StoreCursor:
    """A DBAPI cursor that holds its rows. Column names are not known to it: rows are read by position."""

    arraysize = 1
    lastrowid = None

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: list[tuple[Any, ...]] = []
        self.description: list[tuple[Any, ...]] | None = None
        self.rowcount = -1

    def execute(self, sql: str, params: Sequence[Any] = ()) -> None:
        self._rows, self.description = [], None
        if _READS.match(sql):
            self._rows = self._store.query(sql, tuple(params))
            width = len(self._rows[0]) if self._rows else 1
            self.description = [(f"column_{at}", *[None] * 6) for at in range(width)]
            self.rowcount = -1
        else:
            self.rowcount = self._store.execute(sql, tuple(params))

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        changed = sum(self._store.execute(sql, tuple(row)) for row in rows)
        self._rows, self.description, self.rowcount = [], None, changed

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows.pop(0) if self._rows else None

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        taken, self._rows = self._rows[: size or 1], self._rows[size or 1 :]
        return taken

    def fetchall(self) -> list[tuple[Any, ...]]:
        taken, self._rows = self._rows, []
        return taken

    def close(self) -> None:
        self._rows = []


class StoreDialect(SQLiteDialect):
    """``sqlite+sessionlift``: for engines that are given a ``creator``, never for a URL of its own."""

    driver = "sessionlift"
    default_paramstyle = "qmark"
    supports_statement_cache = True
    # an INSERT of Alembic's stamp must not come back with rows: a store's execute() gives a count
    insert_returning = update_returning = delete_returning = False

    @classmethod
    def import_dbapi(cls) -> Any:
        import sys

        return sys.modules[__name__]

    def _get_server_version_info(self, connection: Any) -> tuple[int, ...]:  # noqa: ARG002 - the dialect's own signature
        return sqlite_version_info

    def do_begin(self, dbapi_connection: Any) -> None:
        dbapi_connection.begin()

    def get_isolation_level(self, dbapi_connection: Any) -> Any:  # noqa: ARG002 - the dialect's own signature
        return "SERIALIZABLE"


def Binary(value: bytes) -> bytes:  # noqa: N802 - the DBAPI's own name
    return value


version = sqlite3.sqlite_version
registry.register("sqlite.sessionlift", __name__, "StoreDialect")
