"""The target as the verifier reads it: through apsw or over HTTP, not the writer's driver."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain, islice, starmap
from typing import Any, Protocol

import apsw

from sessionlift.errors import StoreCorruptError, StoreError, StoreLockedError
from sessionlift.stores import StoreURL, file_uri, quote_identifier
from sessionlift.stores._hrana import HranaReader

Rows = list[tuple[Any, ...]]

_FLAGS = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_NOMUTEX
"""One thread reads: without a lock around each of its values, reading takes half the time."""
_BUSY_MS = 30_000


class Stream(Protocol):
    """Rows that come a few at a time."""

    def fetch(self, most: int) -> Rows:
        """The next rows, at most ``most``; none at the end."""

    def close(self) -> None: ...


class TargetReader(Protocol):
    """Reads rows with exact values; writes nothing."""

    def read(
        self,
        table: str,
        columns: Sequence[str],
        where: str = "",
        params: Sequence[Any] = (),
        order_by: Sequence[str] = (),
    ) -> Rows: ...

    def stream(
        self, table: str, columns: Sequence[str], where: str, params: Sequence[Any], order_by: Sequence[str]
    ) -> Stream: ...

    def tables(self) -> set[str]: ...

    def count(self, table: str) -> int: ...

    def close(self) -> None: ...


class _FileStream:
    """The rows of a query of a file. Text that is not in the file's encoding comes as bytes."""

    def __init__(self, reader: FileReader, columns: Sequence[str], rest: str, params: Sequence[Any]) -> None:
        self._reader, self._columns, self._rest, self._params = reader, columns, rest, params
        self._cursor = reader.execute(f"SELECT {', '.join(columns)} {rest}", params)
        self._given = 0
        self._encoding: str | None = None

    def fetch(self, most: int) -> Rows:
        try:
            rows = list(islice(self._cursor, most))
        except UnicodeDecodeError:
            self._go_on_in_bytes()
            return self.fetch(most)
        except apsw.Error as error:
            raise self._reader.mapped(error) from error
        self._given += len(rows)
        if self._encoding is None:
            return rows
        return [tuple(starmap(self._decoded, zip(row[::2], row[1::2], strict=True))) for row in rows]

    def _go_on_in_bytes(self) -> None:
        """Read the rest as what lies in the file, and with each value whether it is text."""
        self._encoding = self._reader.encoding()
        self.close()
        columns = ", ".join(
            f"CASE typeof({column}) WHEN 'text' THEN CAST({column} AS BLOB) ELSE {column} END, "
            f"typeof({column}) = 'text'"
            for column in self._columns
        )
        sql = f"SELECT {columns} {self._rest} LIMIT -1 OFFSET ?"
        self._cursor = self._reader.execute(sql, (*self._params, self._given))

    def _decoded(self, value: Any, is_text: int) -> Any:
        assert self._encoding is not None  # noqa: S101 - bytes were asked for
        try:
            return value.decode(self._encoding) if is_text else value
        except UnicodeDecodeError:
            return value

    def close(self) -> None:
        self._cursor.close(force=True)


class FileReader:
    """A SQLite file through ``apsw``, which brings an engine of its own; read-only."""

    def __init__(self, url: StoreURL) -> None:
        self._name = url.redacted
        # as a URI, in which any name of a file can be spelled
        assert url.path is not None  # noqa: S101 - a file's URL always has one
        uri = f"{file_uri(url.path)}?mode=ro"
        self._connection: apsw.Connection = self._guarded(lambda: apsw.Connection(uri, flags=_FLAGS))
        self._connection.set_busy_timeout(_BUSY_MS)

    def read(
        self,
        table: str,
        columns: Sequence[str],
        where: str = "",
        params: Sequence[Any] = (),
        order_by: Sequence[str] = (),
    ) -> Rows:
        with closing(self.stream(table, columns, where, params, order_by)) as stream:
            return list(chain.from_iterable(iter(lambda: stream.fetch(1_000), [])))

    def stream(
        self, table: str, columns: Sequence[str], where: str, params: Sequence[Any], order_by: Sequence[str]
    ) -> Stream:
        rest = f"FROM {quote_identifier(table)}"
        rest += f" WHERE {where}" if where else ""
        rest += f" ORDER BY {', '.join(map(quote_identifier, order_by))}" if order_by else ""
        return _FileStream(self, [quote_identifier(column) for column in columns], rest, params)

    def tables(self) -> set[str]:
        return {row[0] for row in self.read("sqlite_master", ("name",), "type = 'table'")}

    def count(self, table: str) -> int:
        return int(self._one(f"SELECT count(*) FROM {quote_identifier(table)}"))

    def encoding(self) -> str:
        """The encoding of the file's text, by a name that Python knows."""
        return str(self._one("PRAGMA encoding"))

    def _one(self, sql: str) -> Any:
        with closing(self.execute(sql, ())) as cursor:
            return self._guarded(lambda: next(cursor))[0]

    def execute(self, sql: str, params: Sequence[Any]) -> apsw.Cursor:
        cursor: apsw.Cursor = self._guarded(lambda: self._connection.execute(sql, tuple(params)))
        return cursor

    def _guarded(self, call: Any) -> Any:
        try:
            return call()
        except apsw.Error as error:
            raise self.mapped(error) from error

    def mapped(self, error: apsw.Error) -> StoreError:
        """The error of our tree that ``error`` is."""
        if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
            return StoreCorruptError(f"{self._name} could not be read: {error}", store=self._name, role="target")
        if isinstance(error, (apsw.BusyError, apsw.LockedError)):
            return StoreLockedError(
                f"{self._name} is locked by another program",
                hint="close it and verify again",
                store=self._name,
                role="target",
            )
        return StoreError(f"{self._name} could not be read: {error}", store=self._name, role="target")

    def close(self) -> None:
        self._connection.close(force=True)


class _ServerStream:
    def __init__(self, rows: Iterator[tuple[Any, ...]]) -> None:
        self._rows = rows

    def fetch(self, most: int) -> Rows:
        return list(islice(self._rows, most))

    def close(self) -> None:
        close = getattr(self._rows, "close", None)
        if close is not None:
            close()


class ServerReader:
    """A server, over plain HTTP."""

    def __init__(self, url: StoreURL) -> None:
        assert url.url is not None  # noqa: S101 - a server's URL always has one
        self._reader = HranaReader(url.url, url.token)

    def read(
        self,
        table: str,
        columns: Sequence[str],
        where: str = "",
        params: Sequence[Any] = (),
        order_by: Sequence[str] = (),
    ) -> Rows:
        return list(self._reader.read_table(table, columns, where=where, params=params, order_by=order_by))

    def stream(
        self, table: str, columns: Sequence[str], where: str, params: Sequence[Any], order_by: Sequence[str]
    ) -> Stream:
        return _ServerStream(self._reader.read_table(table, columns, where=where, params=params, order_by=order_by))

    def tables(self) -> set[str]:
        return {row[0] for row in self.read("sqlite_master", ("name",), "type = 'table'")}

    def count(self, table: str) -> int:
        return int(self._reader.query(f"SELECT count(*) FROM {quote_identifier(table)}")[0][0])

    def close(self) -> None:
        self._reader.close()


def open_reader(url: StoreURL) -> TargetReader:
    """The reader for a target's URL."""
    if url.engine == "sqld":
        return ServerReader(url)
    return FileReader(url)


def id_list(ids: Sequence[str]) -> tuple[str, list[str]]:
    """A subquery for session ids, and its parameters."""
    odd = [each for each in ids if "\0" in each]
    return (
        "SELECT value FROM json_each(?)" + " UNION ALL SELECT ?" * len(odd),
        [json.dumps([each for each in ids if "\0" not in each]), *odd],
    )
