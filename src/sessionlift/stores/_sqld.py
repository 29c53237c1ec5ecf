"""A libSQL store behind a sqld server, over HTTP."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import apsw

from sessionlift.errors import StoreError, StoreReadOnlyError, UsageError
from sessionlift.stores._base import Mode, Role, Staged, Store
from sessionlift.stores._placeholders import expand
from sessionlift.stores._sqld_client import Client, Statement, decode_row, statement
from sessionlift.stores._sqld_rows import insert_statements, select_statement
from sessionlift.stores._sqlite_errors import map_sqlite_error, unstorable
from sessionlift.stores._stage import open_stage, stage_select
from sessionlift.stores._url import StoreURL
from sessionlift.stores._value import Row, Value, column_list, quote_identifier

_CHANGES = re.compile(r"\s*(insert|update|delete|replace|with)\b", re.IGNORECASE)
_READS = re.compile(r"\s*(select|with|values|pragma|explain)\b", re.IGNORECASE)
# the real programs do not enforce foreign keys; a server does, unless each stream says otherwise
_NO_FOREIGN_KEYS = statement("PRAGMA foreign_keys = OFF", want_rows=False)


class SqldStore(Store):
    """A store on a server. Outside ``transaction()`` each call is a stream of its own."""

    def __init__(self, url: StoreURL, *, mode: Mode, role: Role) -> None:
        self.url, self.mode, self.role = url, mode, role
        self._client = Client(url, role=role)
        self._closed = False
        try:
            self._sqlite = str(self.query("SELECT sqlite_version()")[0][0])
            self._server = self._client.version()
        except BaseException:
            self.close()
            raise

    @property
    def driver(self) -> str:
        return f"{self._server or 'sqld'}, SQLite {self._sqlite}, over HTTP"

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with suppress(StoreError):
            self._client.close_stream()
        self._client.close()

    def query(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        self._open()
        if self.mode == "ro" and not _READS.match(sql):
            self._read_only()
        text, bound = expand(sql, params, self._special)
        width, rows = self._fetch(statement(text, bound))
        if any(isinstance(value, float) and math.isnan(value) for row in rows for value in row):
            # an infinity, whose sign has to be asked for
            _width, rows = self._fetch(statement(_around(text, width), bound))
            return [_restore_signs(row, width) for row in rows]
        return [tuple(row) for row in rows]

    def _fetch(self, one: Statement) -> tuple[int, list[list[Value]]]:
        """Width and rows of a query, an infinity as NaN. A large answer is asked for again, in pieces."""
        try:
            result = self._client.run([one])[-1]
        except StoreError as error:
            if error.fields.get("server_code") != "RESPONSE_TOO_LARGE":
                raise
            rows = list(self._client.stream_rows(one))
            return (len(rows[0]) if rows else 0), rows
        return len(result["cols"]), [decode_row(cells) for cells in result["rows"]]

    def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        self._writable()
        text, bound = expand(sql, params, self._special)
        statements = [statement(text, bound)]
        if not self._client.in_stream:
            statements.insert(0, _NO_FOREIGN_KEYS)
        result = self._client.run(statements)[-1]
        return int(result["affected_row_count"]) if _CHANGES.match(sql) else 0

    def read_table(
        self,
        table: str,
        columns: Sequence[str],
        *,
        where: str = "",
        params: Sequence[Value] = (),
        order_by: Sequence[str] = (),
    ) -> Iterator[Row]:
        """Rows as the server sends them; inside ``transaction()`` they are all held first."""
        self._open()
        names = [quote_identifier(column) for column in columns]
        sql = f"SELECT {_with_signs(names)} FROM {quote_identifier(table)}"
        sql += f" WHERE {where}" if where else ""
        sql += f" ORDER BY {column_list(order_by)}" if order_by else ""
        text, bound = expand(sql, params, self._special)
        for cells in self._client.stream_rows(statement(text, bound), table=table):
            yield _restore_signs(cells, len(columns))

    def insert_rows(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> int:
        self._writable()
        return self._send(table, columns, self._checked(table, len(columns), rows))

    def _send(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> int:
        done = 0
        for one, count in insert_statements(table, columns, rows):
            before = [] if self._client.in_stream else [_NO_FOREIGN_KEYS]
            written = int(self._client.run([*before, one], table=table)[-1]["affected_row_count"])
            if written != count:
                raise StoreError(
                    f"the server wrote {written} rows of {count}",
                    store=self.url.redacted,
                    role=self.role,
                    table=table,
                )
            done += count
        return done

    def echo(self, values: Sequence[Value]) -> list[Value]:
        """The values as a bulk INSERT would store them, asked back without storing them."""
        found: list[Value] = []
        for start in range(0, len(values), 500):
            rows = list(self._checked("", 1, [(value,) for value in values[start : start + 500]]))
            one = select_statement(rows, 1)
            _width, cells = self._fetch({**one, "sql": _around(one["sql"], 1)})
            found += [_restore_signs(row, 1)[0] for row in cells]
        return found

    def _checked(self, table: str, width: int, rows: Iterable[Sequence[Value]]) -> Iterator[Sequence[Value]]:
        for row in rows:
            if len(row) != width:
                raise UsageError(f"a row for {table} does not have {width} values", table=table)
            refused = unstorable(row, store=self.url.redacted, role=self.role)
            if refused is not None:
                raise refused
            yield row

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._writable()
        if self._client.in_stream:
            raise UsageError("a transaction is already open on this store")
        begin = statement("BEGIN IMMEDIATE", want_rows=False)
        try:
            self._client.run([_NO_FOREIGN_KEYS, begin], open_stream=True)
            yield
            self._client.run([statement("COMMIT", want_rows=False)])
        finally:
            # closing the stream rolls back what was not committed; a lost one expires by itself
            try:
                self._client.close_stream()
            except StoreError:
                self._client.forget_stream()

    @contextmanager
    def staged(self, stage: Path) -> Iterator[Staged]:
        if not stage.is_file():
            raise StoreError(f"the stage {stage} is not there", store=self.url.redacted, role=self.role)
        with closing(open_stage(stage)) as connection:
            yield _SentStage(self, connection)

    # --- what is refused here, before the server

    @staticmethod
    def _special(value: Value) -> tuple[str, tuple[Value, ...]] | None:
        refused = unstorable((value,))
        if refused is not None:
            raise refused
        if isinstance(value, float) and math.isinf(value):
            return ("9e999" if value > 0 else "-9e999", ())
        return None

    def _open(self) -> None:
        if self._closed:
            raise UsageError(f"{self.url.redacted} is closed")

    def _writable(self) -> None:
        self._open()
        if self.mode == "ro":
            self._read_only()

    def _read_only(self) -> NoReturn:
        raise StoreReadOnlyError(
            f"{self.url.redacted} was opened read-only",
            hint="open it for writing",
            store=self.url.redacted,
            role=self.role,
        )


class _SentStage:
    """The stage, read here and sent to the server."""

    def __init__(self, store: SqldStore, connection: apsw.Connection) -> None:
        self._store, self._connection = store, connection

    def copy(
        self,
        table: str,
        columns: Sequence[str],
        *,
        exclude: Sequence[str] = (),
        session_column: str = "session_id",
    ) -> int:
        select, params = stage_select(quote_identifier(table), columns, exclude=exclude, session_column=session_column)
        try:
            rows = self._connection.execute(select, params)
            return self._store._send(table, columns, rows)
        except apsw.Error as error:
            raise map_sqlite_error(error, store="the stage", role=self._store.role) from error


def _around(sql: str, width: int) -> str:
    names = [f"c{index}" for index in range(width)]
    inner = sql.strip().rstrip(";")
    return (
        f"WITH sessionlift_exact({', '.join(names)}) AS MATERIALIZED (\n{inner}\n) "
        f"SELECT {_with_signs(names)} FROM sessionlift_exact"
    )


def _with_signs(names: Sequence[str]) -> str:
    """The columns, and after them which hold minus infinity: JSON sends either infinity as null."""
    signs = []
    for start in range(0, len(names), 60):
        bits = [f"({name} IS -9e999) * {1 << bit}" for bit, name in enumerate(names[start : start + 60])]
        signs.append(" + ".join(bits))
    return ", ".join([*names, *signs])


def _restore_signs(cells: list[Value], width: int) -> Row:
    row = cells[:width]
    for index, value in enumerate(row):
        if isinstance(value, float) and math.isnan(value):
            signs = cells[width + index // 60]
            assert isinstance(signs, int)  # noqa: S101 - our own SQL
            row[index] = -math.inf if signs >> (index % 60) & 1 else math.inf
    return tuple(row)
