"""A DuckDB file, together with its ``.wal``; read-only unless asked otherwise."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from sessionlift.errors import StoreError, UsageError
from sessionlift.stores import _duckdb_room, _registry
from sessionlift.stores._base import Mode, Role, Staged, Store
from sessionlift.stores._duckdb_errors import looks_short, map_duckdb_error, refuse_cut_short
from sessionlift.stores._files import real_file
from sessionlift.stores._sniff import check_openable
from sessionlift.stores._spill import enter_spill, leave_spill
from sessionlift.stores._sqlite_errors import unstorable
from sessionlift.stores._url import StoreURL
from sessionlift.stores._value import Row, Value, column_list, quote_identifier

Made = TypeVar("Made")

_CHUNK_ROWS = 250  # rows may hold a megabyte each
_VALUES_PER_INSERT = 2000
# these come to Python as they are; any other type is read as the text that DuckDB itself reads back the same
_PLAIN_TYPES = {
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
    "HUGEINT", "UHUGEINT", "DOUBLE", "FLOAT", "VARCHAR", "BLOB",
}  # fmt: skip


class DuckdbStore(Store):
    """A DuckDB store. ``connection`` is the driver's own, for set-based reading.

    Its spill files go into a private directory: DuckDB's default is beside the source.
    No extension is ever downloaded. ``NaN`` and ``-0.0`` are held exactly here.
    """

    def __init__(
        self,
        url: StoreURL,
        *,
        mode: Mode = "ro",
        role: Role = "source",
        memory_limit: str = "512MB",
        threads: int = 2,
    ) -> None:
        if url.path is None:
            raise UsageError(f"{url.redacted} names no file")
        self.url, self.mode, self.role, self._path = url, mode, role, url.path
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._key: tuple[int, int] | str | None = None
        self._in_transaction = False
        self._usual, self._asked = _duckdb_room.megabytes(memory_limit), False
        self._types: dict[str, dict[str, str]] = {}
        check_openable(self._path, "duckdb", create=mode == "create", store=url.redacted, role=role)
        alone = mode == "ro" and _registry.open_engine(self._path) is None
        short = looks_short(self._path) if alone else None
        # the same for every store: DuckDB opens one file twice in a process only with the same settings
        config: dict[str, Any] = {
            "temp_directory": str(enter_spill()),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        try:
            self._connection = duckdb.connect(str(real_file(self._path)), read_only=mode == "ro", config=config)
            self._key = _registry.enter(self._path, "duckdb")
            if short is not None:
                refuse_cut_short(self._connection, self._path, short, store=url.redacted, role=role)
            # it draws on standard output, even into a pipe, over whatever else is said there
            self._connection.execute("SET enable_progress_bar = false")
            _duckdb_room.ask(self._connection, self._key, self._usual)
            self._asked = True
            self._connection.execute("SET threads = ?", [threads])
            # it takes 0.0 and -0.0 for one value, and every zero of a run in the file becomes the first one
            self._connection.execute("SET disabled_compression_methods = 'rle'")
        except BaseException as error:
            self._drop()
            if self._key is not None:
                _registry.leave(self._key)
            if isinstance(error, duckdb.Error):
                mapped = self._mapped(error)
                if short is not None:
                    mapped.fields.setdefault("found_bytes", short)
                raise mapped from error
            raise

    @property
    def driver(self) -> str:
        return f"duckdb {duckdb.__version__}"

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The driver's own connection. Its errors are the driver's too: put ``mapped()`` around its use."""
        if self._connection is None:
            raise UsageError(f"{self.url.redacted} is closed")
        return self._connection

    @contextmanager
    def mapped(self, *, table: str | None = None, params: Sequence[Value] = ()) -> Iterator[None]:
        """Turn DuckDB's errors inside the block into ours."""
        try:
            yield
        except duckdb.Error as error:
            raise self._mapped(error, table=table) from error
        except (RuntimeError, UnicodeError) as error:
            # a lone surrogate ends in the driver's own binding code
            refused = unstorable(params, store=self.url.redacted, role=self.role)
            if refused is None:
                raise
            raise refused from error

    def with_room(self, work: Callable[[], Made], need: _duckdb_room.Need | None = None) -> Made:
        """Do ``work``; if it needs more memory than this store was opened with, or than ``need`` says, do it again with
        more.

        What it gave away before it failed is its own affair: it begins anew each time.
        """
        if self._key is None:
            raise UsageError(f"{self.url.redacted} is closed")
        return _duckdb_room.with_room(self.connection, self._key, self._usual, work, need)

    def allow(self, megabytes: int) -> None:
        """Let this store have so much memory from now on."""
        if self._key is not None:
            _duckdb_room.ask(self.connection, self._key, megabytes)
            _duckdb_room.release(self.connection, self._key, self._usual)
            self._usual = megabytes

    def tidy(self) -> None:
        """Say that a piece of work begins, as ``with_room`` does by itself, so that what those before it have left in
        memory is given back from time to time."""
        if self._key is not None:
            _duckdb_room.tidy(self.connection, self._key)

    def close(self) -> None:
        if self._connection is None:
            return
        self._drop()
        if self._key is not None:
            _registry.leave(self._key)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._asked and self._key is not None:
                _duckdb_room.release(connection, self._key, self._usual)
                self._asked = False
            connection.close()
        leave_spill()

    def expect_changes(self) -> None:
        # else every few sessions the file has the blocks written again that it got with those before
        self.execute("SET wal_autocheckpoint = '64MB'")

    def query(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """All rows as DuckDB gives them: times are ``datetime``, decimals ``Decimal``."""
        with self.mapped(params=params):
            return self.connection.execute(sql, list(params)).fetchall()

    def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        with self.mapped(params=params):
            rows = self.connection.execute(sql, list(params)).fetchall()
        # DuckDB gives the count of changed rows as the one row of its result
        return int(rows[0][0]) if len(rows) == 1 and len(rows[0]) == 1 and isinstance(rows[0][0], int) else 0

    def read_table(
        self,
        table: str,
        columns: Sequence[str],
        *,
        where: str = "",
        params: Sequence[Value] = (),
        order_by: Sequence[str] = (),
    ) -> Iterator[Row]:
        """Rows in which a type that Python cannot hold exactly (a time, a decimal) is DuckDB's text of it."""
        types = self._column_types(table)
        parts = [self._read_expression(column, types) for column in columns]
        sql = f"SELECT {', '.join(parts)} FROM {quote_identifier(table)}"
        sql += f" WHERE {where}" if where else ""
        sql += f" ORDER BY {column_list(order_by)}" if order_by else ""
        with self.mapped(table=table, params=params):
            # a cursor of its own: another statement on the connection would end this one's rows
            cursor = self.connection.cursor() if not self._in_transaction else self.connection
            cursor.execute(sql, list(params))
            while rows := cursor.fetchmany(_CHUNK_ROWS):
                yield from rows

    @staticmethod
    def _read_expression(column: str, types: dict[str, str]) -> str:
        name = quote_identifier(column)
        return name if types.get(column, "VARCHAR") in _PLAIN_TYPES else f"CAST({name} AS VARCHAR)"

    def _column_types(self, table: str) -> dict[str, str]:
        if table not in self._types:
            rows = self.query(
                "SELECT column_name, data_type FROM duckdb_columns() "
                "WHERE table_name = ? AND schema_name = current_schema() "
                "AND database_name = current_database()",
                (table,),
            )
            self._types[table] = {str(name): str(kind) for name, kind in rows}
        return self._types[table]

    def insert_rows(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> int:
        width = len(columns)
        head = f"INSERT INTO {quote_identifier(table)} ({column_list(columns)}) VALUES "
        plain = "(" + ", ".join("?" * width) + ")"
        per_statement = max(1, _VALUES_PER_INSERT // width)
        done = 0
        iterator = iter(rows)
        while chunk := list(itertools.islice(iterator, per_statement)):
            if any(len(row) != width for row in chunk):
                raise UsageError(f"a row for {table} does not have {width} values", table=table)
            values = [value for row in chunk for value in row]
            with self.mapped(table=table, params=values):
                self.connection.execute(head + ", ".join([plain] * len(chunk)), values)
            done += len(chunk)
        return done

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self._in_transaction:
            raise UsageError("a transaction is already open on this store")
        with self.mapped():
            self.connection.execute("BEGIN")
        self._in_transaction = True
        try:
            yield
            with self.mapped():
                self.connection.execute("COMMIT")
        except BaseException:
            if self._connection is not None:
                # a failed COMMIT has rolled back already
                with suppress(duckdb.TransactionException):
                    self._connection.execute("ROLLBACK")
            raise
        finally:
            self._in_transaction = False

    @contextmanager
    def staged(self, stage: Path) -> Iterator[Staged]:
        raise StoreError(
            f"rows cannot be staged into DuckDB ({stage})",
            hint="use insert_rows",
            store=self.url.redacted,
            role=self.role,
        )
        yield  # pragma: no cover - makes this a generator, as the context manager needs

    def _mapped(self, error: BaseException, *, table: str | None = None) -> StoreError:
        return map_duckdb_error(error, store=self.url.redacted, role=self.role, path=self._path, table=table)
