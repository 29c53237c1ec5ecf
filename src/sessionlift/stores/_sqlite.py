"""A local SQLite file through the standard library's ``sqlite3``, which is exact by itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sessionlift.errors import UsageError
from sessionlift.stores._registry import LocalEngine
from sessionlift.stores._sqlfile import SqliteFileStore
from sessionlift.stores._sqlite_errors import unstorable
from sessionlift.stores._value import Row, Value


class SqliteStore(SqliteFileStore):
    """A SQLite file, for applications that open the same file with ``sqlite3`` in the same process."""

    @property
    def driver(self) -> str:
        return f"sqlite3 {sqlite3.sqlite_version}"

    @property
    def connection(self) -> sqlite3.Connection:
        """The driver's own connection. Its errors are the driver's too: put ``mapped()`` around its use."""
        if self._connection is None:
            raise UsageError(f"{self.url.redacted} is closed")
        found: sqlite3.Connection = self._connection
        return found

    @contextmanager
    def mapped(self) -> Iterator[None]:
        """Turn the driver's errors inside the block into ours."""
        try:
            yield
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise self._mapped(error) from error

    def _connect(self, uri: str) -> Any:
        return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)

    def _local_engine(self) -> LocalEngine:
        return "sqlite"

    def _is_driver_error(self, error: BaseException) -> bool:
        return isinstance(error, (sqlite3.Error, sqlite3.Warning, UnicodeEncodeError, OverflowError))

    @staticmethod
    def _special(value: Value) -> tuple[str, tuple[Value, ...]] | None:
        # the driver would take a memoryview, or whatever an adapter was registered for: those are not Values
        if value is not None and not isinstance(value, (int, float, str, bytes)):
            refused = unstorable((value,))
            if refused is not None:
                raise refused
        return None

    def _exact_select(self, columns: Sequence[str], tail: str) -> str:
        return f"SELECT {', '.join(columns)} {tail}"

    def _exact_rows(self, rows: list[Any]) -> list[Row]:
        return rows

    def copy_to(self, path: Path) -> None:
        try:
            with closing(sqlite3.connect(path)) as copy:
                self._connection.backup(copy)
        except sqlite3.Error as error:
            path.unlink(missing_ok=True)
            raise self._mapped(error) from error
        self._settle_copy(path)
