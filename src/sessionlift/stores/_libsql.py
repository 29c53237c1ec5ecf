"""A local libSQL file through the ``libsql-experimental`` driver, exact where the driver is not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import libsql_experimental

from sessionlift.errors import StoreError, StoreLockedError
from sessionlift.stores._registry import LocalEngine
from sessionlift.stores._sqlfile import SqliteFileStore
from sessionlift.stores._sqlite_errors import unstorable
from sessionlift.stores._value import INT32_MAX, INT32_MIN, Row, Value

_READS = re.compile(r"\s*(select|with|values)\b", re.IGNORECASE)
_SHAPES_KEPT = 256
_MANY = 500


def exact_columns(columns: Sequence[str]) -> str:
    """The columns of a SELECT whose rows :func:`exact_rows` can decode.

    First the types, one letter for each column; text comes as a blob, since the driver cuts text at a NUL.
    """
    letters = " || ".join(f"substr(typeof({column}), 1, 1)" for column in columns)
    values = ", ".join(f"CASE typeof({column}) WHEN 'text' THEN CAST({column} AS BLOB) ELSE {column} END"
                       for column in columns)  # fmt: skip
    return f"{letters}, {values}"


def exact_rows(rows: list[Any]) -> list[Row]:
    """Rows of a SELECT of :func:`exact_columns` as values. Raises UnicodeDecodeError."""
    return [
        tuple([v.decode() if kind == "t" else v for kind, v in zip(row[0], row[1:], strict=True)])
        if "t" in row[0]
        else tuple(row[1:])
        for row in rows
    ]


class LibsqlStore(SqliteFileStore):
    """A libSQL file. The default for a new target."""

    @property
    def driver(self) -> str:
        return f"libsql-experimental {version('libsql-experimental')}"

    def _connect(self, uri: str) -> Any:
        self._shapes: dict[str, str | None] = {}
        return libsql_experimental.connect(uri, isolation_level=None, check_same_thread=False)

    def copy_to(self, path: Path) -> None:
        # the driver has no backup API; row ids that no column names may differ in the copy
        try:
            self._rows("VACUUM INTO ?", (str(path),))
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._settle_copy(path)

    def _local_engine(self) -> LocalEngine:
        return "libsql"

    def _is_driver_error(self, error: BaseException) -> bool:
        # the driver's Rust part panics on text that is not UTF-8; that is no Exception
        return isinstance(error, ValueError) or type(error).__name__ == "PanicException"

    @staticmethod
    def _special(value: Value) -> tuple[str, tuple[Value, ...]] | None:
        """The driver stores an integer outside 32 bits as REAL; its text, cast by SQLite, keeps every bit.

        It would also take a larger integer or a Decimal, and store a rounded REAL: those are refused here.
        """
        kind = type(value)
        if value is None or kind is str or kind is float or kind is bytes or kind is bool:
            return None
        refused = unstorable((value,))
        if refused is not None:
            raise refused
        if isinstance(value, int) and not INT32_MIN <= value <= INT32_MAX:
            return ("CAST(? AS INTEGER)", (str(int(value)),))
        return None

    def round_trip_of_the_driver_alone(self, values: Sequence[Value]) -> list[Value]:
        """What the driver makes of the values without any of the ways round. For the probe only."""
        found: list[Value] = []
        for start in range(0, len(values), _MANY):
            some = tuple(values[start : start + _MANY])
            try:
                found += self._connection.execute("SELECT " + ", ".join("?" * len(some)), some).fetchone()
            except ValueError as error:
                raise self._mapped(error) from error
        return found

    def query(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        exact = self._exact_form(sql, params) if _READS.match(sql) else None
        return self._rows(sql, params) if exact is None else self._exact_rows(self._rows(exact, params))

    def _exact_form(self, sql: str, params: Sequence[Value]) -> str | None:
        """The query around ``sql`` that keeps text whole; None for one that is no plain reading query."""
        if sql in self._shapes:
            return self._shapes[sql]
        inner = sql.strip().rstrip(";")
        form: str | None = None
        try:
            shape, _ = self._first_rows(f"SELECT * FROM (\n{inner}\n) LIMIT 0", params)
        except StoreLockedError:
            raise  # it says nothing of the query
        except StoreError:
            shape = None  # WITH .. INSERT, or an error that the query itself will name better
        if shape is not None:
            names = [f"c{index}" for index in range(len(shape.description))]
            form = (
                f"WITH sessionlift_exact({', '.join(names)}) AS MATERIALIZED (\n{inner}\n) "
                f"SELECT {exact_columns(names)} FROM sessionlift_exact"
            )
        if len(self._shapes) >= _SHAPES_KEPT:
            self._shapes.clear()
        self._shapes[sql] = form
        return form

    def _exact_select(self, columns: Sequence[str], tail: str) -> str:
        return f"SELECT {exact_columns(columns)} {tail}"

    def _exact_rows(self, rows: list[Any]) -> list[Row]:
        try:
            return exact_rows(rows)
        except UnicodeDecodeError as error:
            raise self._mapped(ValueError(f"invalid utf-8: {error}")) from error
