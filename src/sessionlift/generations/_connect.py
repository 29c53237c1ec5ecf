"""A store as a SQLAlchemy connection, whatever its engine; the only way by which Alembic reaches one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
from duckdb_sqlalchemy import ConnectionWrapper
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from sessionlift.generations import _dialect
from sessionlift.stores import DuckdbStore, Mode, Role, Store, StoreURL, open_store


@contextmanager
def connect(url: StoreURL | str, *, mode: Mode, role: Role = "target") -> Iterator[Connection]:
    """Open the store and yield a connection; both are closed at the end, an open transaction rolled back.

    Errors of the store are errors of the package's tree, never SQLAlchemy's or a driver's.
    """
    with open_store(url, mode=mode, role=role) as store, over(store) as connection:
        yield connection


@contextmanager
def over(store: Store) -> Iterator[Connection]:
    """A connection over a store that is open already and stays open afterwards."""
    engine = _engine(store)
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        if isinstance(store, DuckdbStore) and isinstance(error.orig, duckdb.Error):
            with store.mapped():
                raise error.orig from error
        raise
    except duckdb.Error as error:
        # a COMMIT fails outside of SQLAlchemy's care
        if isinstance(store, DuckdbStore):
            with store.mapped():
                raise error
        raise


def _engine(store: Store) -> Engine:
    if isinstance(store, DuckdbStore):
        connection = store.connection
        return create_engine("duckdb:///:memory:", creator=lambda: ConnectionWrapper(connection), poolclass=StaticPool)
    return create_engine(
        f"sqlite+{_dialect.StoreDialect.driver}://",
        creator=lambda: _dialect.StoreConnection(store),
        poolclass=StaticPool,
    )
