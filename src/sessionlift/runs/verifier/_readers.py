"""The target as the verifier reads it: through the stdlib's sqlite3 or over HTTP, not the writer's driver."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain, islice
from typing import Any, Protocol
from urllib.parse import quote

from sessionlift.errors import StoreCorruptError, StoreError, StoreLockedError
from sessionlift.stores import StoreURL, quote_identifier
from sessionlift.stores._hrana import HranaReader

Rows = list[tuple[Any, ...]]


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
    def __init__(self, reader: FileReader, sql: str, params: Sequence[Any]) -> None:
        self._reader, self._sql, self._params = reader, sql, params
        self._cursor = reader.execute(sql, params)
        self._given = 0

    def fetch(self, most: int) -> Rows:
        try:
            rows = self._cursor.fetchmany(most)
        except sqlite3.DatabaseError as error:
            if not self._reader.takes_bytes(error):
                raise self._reader.mapped(error) from error
            self._cursor.close()
            self._cursor = self._reader.execute(f"{self._sql} LIMIT -1 OFFSET {self._given}", self._params)
            return self.fetch(most)
        self._given += len(rows)
        return rows

    def close(self) -> None:
        self._cursor.close()


class FileReader:
    """A SQLite file through the standard library, read-only."""

    def __init__(self, url: StoreURL) -> None:
        self._name = url.redacted
        self._connection = sqlite3.connect(f"file:{quote(str(url.path))}?mode=ro", uri=True, timeout=30)

    def read(
        self,
        table: str,
        columns: Sequence[str],
        where: str = "",
        params: Sequence[Any] = (),
        order_by: Sequence[str] = (),
    ) -> Rows:
        stream = _FileStream(self, _select(table, columns, where, order_by), params)
        with closing(stream):
            return list(chain.from_iterable(iter(lambda: stream.fetch(1_000), [])))

    def stream(
        self, table: str, columns: Sequence[str], where: str, params: Sequence[Any], order_by: Sequence[str]
    ) -> Stream:
        return _FileStream(self, _select(table, columns, where, order_by), params)

    def tables(self) -> set[str]:
        return {row[0] for row in self.read("sqlite_master", ("name",), "type = 'table'")}

    def count(self, table: str) -> int:
        with closing(self.execute(f"SELECT count(*) FROM {quote_identifier(table)}", ())) as cursor:
            return int(self._guarded(cursor.fetchone)[0])

    def takes_bytes(self, error: sqlite3.DatabaseError) -> bool:
        """Read text that is no UTF-8 as bytes from now on; False where ``error`` is another one, or that is so."""
        if "decode to UTF-8" not in str(error) or self._connection.text_factory is _text_or_bytes:
            return False
        self._connection.text_factory = _text_or_bytes
        return True

    def execute(self, sql: str, params: Sequence[Any]) -> sqlite3.Cursor:
        cursor: sqlite3.Cursor = self._guarded(lambda: self._connection.execute(sql, tuple(params)))
        return cursor

    def _guarded(self, call: Any) -> Any:
        try:
            return call()
        except sqlite3.DatabaseError as error:
            raise self.mapped(error) from error

    def mapped(self, error: sqlite3.DatabaseError) -> StoreError:
        """The error of our tree that ``error`` is."""
        if not isinstance(error, sqlite3.OperationalError):
            return StoreCorruptError(f"{self._name} could not be read: {error}", store=self._name, role="target")
        if "lock" in str(error):
            return StoreLockedError(
                f"{self._name} is locked by another program",
                hint="close it and verify again",
                store=self._name,
                role="target",
            )
        return StoreError(f"{self._name} could not be read: {error}", store=self._name, role="target")

    def close(self) -> None:
        self._connection.close()


def _text_or_bytes(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _select(table: str, columns: Sequence[str], where: str, order_by: Sequence[str]) -> str:
    sql = f"SELECT {', '.join(map(quote_identifier, columns))} FROM {quote_identifier(table)}"
    sql += f" WHERE {where}" if where else ""
    return sql + (f" ORDER BY {', '.join(map(quote_identifier, order_by))}" if order_by else "")


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
