"""The stage: a temporary SQLite file that carries one batch from the converter to the writer.

Its columns have no type, so each value is in it exactly as the converter made it, and the writer's engine copies
them without a driver in between. It belongs to one batch, and is removed as soon as that is committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw

from sessionlift.errors import StoreError, StoreFullError
from sessionlift.stores import file_size_limit, open_stage, quote_identifier

_PRAGMAS = ("page_size = 32768", "journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE")
"""Large pages, since a stage is written once from its beginning to its end and read the same way."""


class StageWriter:
    """Makes a stage file at ``path``. Not a store: losing it loses nothing, so it never waits for the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: dict[str, int] = {}
        self._columns: dict[str, tuple[str, ...]] = {}
        self._inserts: dict[str, str] = {}
        try:
            self._connection = open_stage(path, make=True)
        except apsw.Error as error:
            raise _mapped(error, path) from error
        try:
            for pragma in _PRAGMAS:
                self._connection.execute(f"PRAGMA {pragma}")
            self._connection.execute("BEGIN")
        except apsw.Error as error:
            self._connection.close()
            raise _mapped(error, path) from error

    def rows(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Append rows of ``table``; the columns must be the same on every call for it."""
        try:
            if table not in self._columns:
                self._begin(table, tuple(columns))
            self._connection.executemany(self._inserts[table], rows)
        except apsw.Error as error:
            raise _mapped(error, self.path) from error
        self.counts[table] = self.counts.get(table, 0) + len(rows)

    def _begin(self, table: str, columns: tuple[str, ...]) -> None:
        names = ", ".join(quote_identifier(column) for column in columns)
        self._connection.execute(f"CREATE TABLE {quote_identifier(table)} ({names})")
        self._columns[table] = columns
        marks = ", ".join("?" * len(columns))
        self._inserts[table] = f"INSERT INTO {quote_identifier(table)} VALUES ({marks})"

    def columns(self) -> dict[str, list[str]]:
        """The tables that got rows, in the order they came, and their columns."""
        return {table: list(columns) for table, columns in self._columns.items()}

    def close(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")
        except apsw.Error as error:
            raise _mapped(error, self.path) from error
        finally:
            self._connection.close()


def _mapped(error: apsw.Error, path: Path) -> StoreError:
    if isinstance(error, apsw.FullError) or (isinstance(error, apsw.IOError) and file_size_limit() is not None):
        return StoreFullError(
            f"there is no space left for temporary files in {path.parent}",
            hint="free some, or set TMPDIR to a directory with more (a limit is raised by ulimit -f); nothing was "
            "written for this batch",
            role="target",
        )
    return StoreError(
        f"a temporary file in {path.parent} could not be written: {error}",
        hint="set TMPDIR to a directory on a disk that works; nothing was written for this batch",
        role="target",
    )
