"""The target as the verifier reads it: through the stdlib's sqlite3 or over HTTP, never through the writer's driver."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Protocol
from urllib.parse import quote

from sessionlift.errors import StoreCorruptError, StoreError, StoreLockedError
from sessionlift.stores import StoreURL
from sessionlift.stores._hrana import HranaReader

Rows = list[tuple[Any, ...]]


class TargetReader(Protocol):
    """Reads rows with exact values; writes nothing."""

    def read(
        self, table: str, columns: Sequence[str], where: str = "", params: Sequence[Any] = (), order_by: Sequence[str] = ()
    ) -> Rows: ...

    def close(self) -> None: ...


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


class FileReader:
    """A SQLite file through the standard library, read-only."""

    def __init__(self, url: StoreURL) -> None:
        self._name = url.redacted
        self._connection = sqlite3.connect(f"file:{quote(str(url.path))}?mode=ro", uri=True, timeout=30)

    def read(
        self, table: str, columns: Sequence[str], where: str = "", params: Sequence[Any] = (), order_by: Sequence[str] = ()
    ) -> Rows:
        sql = f"SELECT {', '.join(map(_name, columns))} FROM {_name(table)}"
        sql += f" WHERE {where}" if where else ""
        sql += f" ORDER BY {', '.join(map(_name, order_by))}" if order_by else ""
        try:
            with closing(self._connection.execute(sql, tuple(params))) as cursor:
                return cursor.fetchall()
        except sqlite3.OperationalError as error:
            if "lock" in str(error):
                raise StoreLockedError(
                    f"{self._name} is locked by another program",
                    hint="close it and verify again",
                    store=self._name,
                    role="target",
                ) from error
            raise StoreError(f"{self._name} could not be read: {error}", store=self._name, role="target") from error
        except sqlite3.DatabaseError as error:
            raise StoreCorruptError(
                f"{self._name} could not be read: {error}", store=self._name, role="target"
            ) from error

    def close(self) -> None:
        self._connection.close()


class ServerReader:
    """A server, over plain HTTP."""

    def __init__(self, url: StoreURL) -> None:
        assert url.url is not None  # noqa: S101 - a server's URL always has one
        self._reader = HranaReader(url.url, url.token)

    def read(
        self, table: str, columns: Sequence[str], where: str = "", params: Sequence[Any] = (), order_by: Sequence[str] = ()
    ) -> Rows:
        return list(self._reader.read_table(table, columns, where=where, params=params, order_by=order_by))

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
