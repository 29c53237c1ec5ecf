"""More memory for the source's engine, where rows do not fit into the verifier's own limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import duckdb

ROOM = "4GB"
"""What the engine may use where a session's rows do not fit into the process's own limit."""
T = TypeVar("T")


@contextmanager
def room(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Within this the engine may use more memory, for rows that do not fit otherwise."""
    row = connection.execute("SELECT current_setting('memory_limit')").fetchone()
    connection.execute(f"SET memory_limit = '{ROOM}'")
    try:
        yield
    finally:
        if row is not None:
            with suppress(duckdb.Error):
                # it was told cut to one decimal: in the middle between two it is told as the same again
                size, unit = str(row[0]).split()
                connection.execute("SET memory_limit = ?", [f"{float(size) + 0.05:.2f} {unit}"])


def roomy(connection: duckdb.DuckDBPyConnection, call: Callable[[], T]) -> T:
    """Call again with more memory where the engine has too little. So ``call`` must leave nothing behind."""
    try:
        return call()
    except duckdb.OutOfMemoryException:
        with room(connection):
            return call()


class _Rows:
    def __init__(self, rows: list[Any]) -> None:
        self._rows = iter(rows)

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)


class RoomyEngine:
    """The engine for statements about all sessions: each is done again with more memory where it needs that."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def execute(self, query: str, parameters: Any = (), /) -> _Rows:
        return _Rows(roomy(self._connection, lambda: self._connection.execute(query, list(parameters)).fetchall()))
