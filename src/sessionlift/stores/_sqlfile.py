"""A local SQLite file, through whichever SQLite library; the two drivers differ in a few methods only."""

from __future__ import annotations

import abc
import itertools
import os
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from sessionlift.errors import StoreError, StoreLockedError, UsageError
from sessionlift.stores import _registry
from sessionlift.stores._base import BUSY_SECONDS, Mode, Role, Staged, Store
from sessionlift.stores._files import file_uri, real_file, side_file
from sessionlift.stores._placeholders import expand
from sessionlift.stores._sniff import check_openable
from sessionlift.stores._sqlite_errors import map_sqlite_error, writable_directory
from sessionlift.stores._stage import stage_select
from sessionlift.stores._url import StoreURL
from sessionlift.stores._value import Row, Value, column_list, quote_identifier

_CHUNK_ROWS = 250  # rows may hold a megabyte each
_MAX_VARIABLES = 30_000  # SQLite's own limit is 32,766
_MAX_ROWS_PER_INSERT = 200  # more does not get faster
_PAGES = ((512 << 20, 8 << 10), (32 << 20, 16 << 10))  # from so many bytes on, a store gets such pages
_SORTED_IN_MEMORY = 1_000_000  # rows of an index, each with some sixty bytes of its own
_LOG = 128 << 20  # the bytes that a bulk's log may hold
_CHANGES = re.compile(r"\s*(insert|update|delete|replace)\b", re.IGNORECASE)
_WITH = re.compile(r"\s*with\b", re.IGNORECASE)
_STAGE = "sessionlift_stage"
_POLL_SECONDS = 0.02
_BUSY_MS = 5
_Done = TypeVar("_Done")
_OPEN_MODES: dict[Mode, str] = {"ro": "ro", "rw": "rw", "create": "rwc"}


class SqliteFileStore(Store):
    """What the libsql driver and the stdlib's sqlite3 have in common over one local file.

    Foreign keys are off: the real programs do not enforce them, and a link that leads nowhere is a fact of
    the store that has to be moved as it is.
    """

    def __init__(self, url: StoreURL, *, mode: Mode, role: Role) -> None:
        if url.path is None:
            raise UsageError(f"{url.redacted} names no file")
        self.url, self.mode, self.role, self._path = url, mode, role, url.path
        # every file of the store is found by this name, also where a link is given another end meanwhile
        self._real = real_file(url.path)
        self._connection: Any = None
        self._patience = 0.0
        check_openable(self._path, self.engine, create=mode == "create", store=url.redacted, role=role)
        uri = f"{file_uri(self._real)}?mode={_OPEN_MODES[mode]}"
        self._clean_before = mode == "ro" and not side_file(self._real, "-wal").exists()
        if self._clean_before and not writable_directory(self._real.parent):
            # a store in WAL mode could not be opened there otherwise: it needs a -shm file beside it
            uri += "&immutable=1"
        try:
            self._connection = self._connect(uri)
            # the inode is known only now, if the file had to be made
            self._key = _registry.enter(self._path, self._local_engine())
        except StoreError:
            self._drop()
            raise
        except BaseException as error:
            self._drop()
            if not self._is_driver_error(error):
                raise
            raise self._mapped(error) from error
        self._prepare()

    def _prepare(self) -> None:
        try:
            self._rows(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
            self._rows("PRAGMA foreign_keys = OFF")
            # nothing is read before this: it meets a file of another kind, or a damaged one
            self._rows("SELECT count(*) FROM sqlite_master")
        except BaseException:
            self.close()
            raise

    # --- what the two drivers do differently

    @abc.abstractmethod
    def _connect(self, uri: str) -> Any:
        """A connection of the driver in autocommit mode."""

    @abc.abstractmethod
    def _local_engine(self) -> _registry.LocalEngine:
        """The name under which the open file is noted."""

    @abc.abstractmethod
    def _is_driver_error(self, error: BaseException) -> bool:
        """Whether the driver raised it (and not, say, the user's Ctrl-C)."""

    @staticmethod
    @abc.abstractmethod
    def _special(value: Value) -> tuple[str, tuple[Value, ...]] | None:
        """The expression for a value that the driver would not bind exactly."""

    @abc.abstractmethod
    def _exact_select(self, columns: Sequence[str], tail: str) -> str:
        """``SELECT columns tail`` in the form whose rows ``_exact_row`` can decode."""

    @abc.abstractmethod
    def _exact_rows(self, rows: list[Any]) -> list[Row]:
        """Rows of an ``_exact_select`` as values."""

    # --- Store

    def close(self) -> None:
        if self._connection is None:
            return
        self._drop()
        if self._clean_before and side_file(self._real, "-wal").exists():
            self._tidy_after_reading()
        _registry.leave(self._key)

    def _tidy_after_reading(self) -> None:
        """Let SQLite remove the empty side files that reading a store in WAL mode leaves behind.

        A reader may not remove them; a connection that may write does so when it is the last to close.
        """
        try:
            connection = self._connect(f"{file_uri(self._real)}?mode=rw")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
            connection.close()
        except BaseException as error:
            if not self._is_driver_error(error):
                raise

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def query(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        return self._rows(sql, params)

    def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        if _WITH.match(sql):
            # neither driver counts these
            before = self._rows("SELECT total_changes()")[0][0]
            self._rows(sql, params)
            return int(self._rows("SELECT total_changes()")[0][0] - before)
        cursor = self._run(sql, params)
        # some statements run only as far as their rows are fetched
        try:
            cursor.fetchall()
        except BaseException as error:  # noqa: BLE001 - raised again there
            self._raise(error, params=params)
        return max(int(cursor.rowcount), 0) if _CHANGES.match(sql) else 0

    def read_table(
        self,
        table: str,
        columns: Sequence[str],
        *,
        where: str = "",
        params: Sequence[Value] = (),
        order_by: Sequence[str] = (),
    ) -> Iterator[Row]:
        tail = f"FROM {quote_identifier(table)}"
        tail += f" WHERE {where}" if where else ""
        tail += f" ORDER BY {column_list(order_by)}" if order_by else ""
        sql = self._exact_select([quote_identifier(column) for column in columns], tail)
        cursor, rows = self._first_rows(sql, params, table)
        try:
            while rows:
                yield from self._exact_rows(rows)
                rows = self._next_rows(cursor, table)
        finally:
            # one that is not read to its end keeps its lock, even past the end of the connection
            if self._connection is not None:
                cursor.close()

    def _first_rows(self, sql: str, params: Sequence[Value], table: str | None = None) -> tuple[Any, list[Any]]:
        """The cursor of a query and its first rows: where it meets a lock, it does so there."""

        def begin() -> tuple[Any, list[Any]]:
            cursor = self._connection.execute(text, bound)
            return cursor, _rows_or_close(cursor)

        if self._patience and self._connection is not None:
            text, bound = expand(sql, params, self._special) if params else (sql, ())
            return self._patiently(begin, table=table, params=params)
        cursor = self._run(sql, params, table=table)
        return cursor, self._next_rows(cursor, table)

    def _next_rows(self, cursor: Any, table: str | None) -> list[Any]:
        try:
            return _rows_or_close(cursor)
        except BaseException as error:  # noqa: BLE001 - raised again there
            self._raise(error, table=table)

    def insert_rows(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> int:
        width = len(columns)
        head = f"INSERT INTO {quote_identifier(table)} ({column_list(columns)}) VALUES "
        plain = "(" + ", ".join("?" * width) + ")"
        per_statement = max(1, min(_MAX_ROWS_PER_INSERT, _MAX_VARIABLES // width))
        done = 0
        iterator = iter(rows)
        while chunk := list(itertools.islice(iterator, per_statement)):
            if any(len(row) != width for row in chunk):
                raise UsageError(f"a row for {table} does not have {width} values", table=table)
            values = [value for row in chunk for value in row]
            self._run(head + ", ".join([plain] * len(chunk)), values, table=table)
            done += len(chunk)
        return done

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self._connection is None or self._connection.in_transaction:
            raise UsageError("the store is closed, or a transaction is already open on it")
        self._run("BEGIN IMMEDIATE")
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            if self._connection is not None and self._connection.in_transaction:
                self._run("ROLLBACK")
            raise

    @abc.abstractmethod
    def copy_to(self, path: Path) -> None:
        """Make ``path``, which must not exist, a whole copy of what is committed, the write-ahead log included.

        The copy is on the disk when this returns. Call it outside of a transaction of this store's own.
        """

    def _settle_copy(self, path: Path) -> None:
        """Give the copy the permissions of the store, and see it to the disk."""
        path.chmod(self._path.stat().st_mode & 0o777)
        for place in (path, path.parent):
            handle = os.open(place, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    @contextmanager
    def staged(self, stage: Path) -> Iterator[Staged]:
        if not stage.is_file():
            raise StoreError(f"the stage {stage} is not there", store=self.url.redacted, role=self.role)
        self._run(f"ATTACH ? AS {_STAGE}", (str(stage.absolute()),))
        try:
            yield _AttachedStage(self)
        finally:
            if self._connection is not None:
                self._run(f"DETACH {_STAGE}")

    def be_patient(self, seconds: float) -> None:
        """See Store. The wait is ours: inside the libsql driver it would hold the interpreter as well."""
        self._patience = seconds
        self._rows(f"PRAGMA busy_timeout = {_BUSY_MS}")

    def others_commits(self) -> int | None:
        return int(str(self._rows("PRAGMA data_version")[0][0]))

    def expect(self, size: int) -> None:
        # a fifth of the work less. In a small store every table and index would take such a page for itself; in a
        # larger one each session meets pages of its own in the ledger, and they are written whole
        page = next((page for least, page in _PAGES if size >= least), None)
        if page is not None:
            self._rows(f"PRAGMA page_size = {int(page)}")

    def expect_changes(self) -> None:
        # index pages are met in no order, again and again
        self._rows("PRAGMA cache_size = -16384")

    def expect_indexes(self, rows: int) -> None:
        # the libsql driver keeps all of it in memory, up to twice; that takes a third less time
        if rows > _SORTED_IN_MEMORY:
            self._rows("PRAGMA temp_store = FILE")
            # what is read is sorted beside the reading
            self._rows("PRAGMA threads = 1")

    def begin_bulk(self) -> None:
        mode = self._rows("PRAGMA journal_mode = WAL")
        if mode != [("wal",)]:
            raise StoreLockedError(
                f"the store could not be put into WAL mode (it stays in {mode[0][0] if mode else '?'})",
                hint="close the other programs that use it, and keep it on a local disk",
                store=self.url.redacted,
                role=self.role,
            )
        self._rows("PRAGMA synchronous = NORMAL")
        # such pages are written many times over, too; a longer log lets the file have each of them once
        page = int(str(self._rows("PRAGMA page_size")[0][0]))
        self._rows(f"PRAGMA wal_autocheckpoint = {_LOG // page}")
        self.expect_changes()

    def flush(self) -> None:
        self._rows("PRAGMA wal_checkpoint(PASSIVE)")

    def end_bulk(self) -> None:
        self._rows("PRAGMA wal_checkpoint(TRUNCATE)")
        mode = self._rows("PRAGMA journal_mode = DELETE")
        self._rows("PRAGMA synchronous = FULL")
        if mode != [("delete",)]:
            raise StoreLockedError(
                "the store could not be put back out of WAL mode: another program has it open",
                hint="close it; the next run puts the store back",
                store=self.url.redacted,
                role=self.role,
            )

    # --- one way to the driver

    def _run(self, sql: str, params: Sequence[Value] = (), *, table: str | None = None) -> Any:
        if self._connection is None:
            raise UsageError(f"{self.url.redacted} is closed")
        text, bound = expand(sql, params, self._special) if params else (sql, ())
        if self._patience:
            return self._patiently(lambda: self._connection.execute(text, bound), table=table, params=params)
        try:
            return self._connection.execute(text, bound)
        except BaseException as error:  # noqa: BLE001 - raised again there
            self._raise(error, table=table, params=params)

    def _rows(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        if self._patience and self._connection is not None:
            text, bound = expand(sql, params, self._special) if params else (sql, ())
            return self._patiently(lambda: self._connection.execute(text, bound).fetchall(), params=params) or []
        cursor = self._run(sql, params)
        try:
            return cursor.fetchall() or []  # libsql gives None for a statement without columns
        except BaseException as error:  # noqa: BLE001 - raised again there
            self._raise(error)

    def _patiently(
        self, attempt: Callable[[], _Done], *, table: str | None = None, params: Sequence[Value] = ()
    ) -> _Done:
        """Try again while another connection is in the way. A statement that met a lock has changed nothing, and a
        COMMIT that met one leaves its transaction open."""
        deadline, pause = time.monotonic() + self._patience, 0.0005
        while True:
            try:
                return attempt()
            except BaseException as error:
                if not self._is_driver_error(error):
                    raise
                ours = self._mapped(error, table=table, params=params)
                if not isinstance(ours, StoreLockedError) or time.monotonic() >= deadline:
                    raise ours from error
            # not in step with the others that wait
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            pause = min(2 * pause, _POLL_SECONDS)

    def _raise(self, error: BaseException, *, table: str | None = None, params: Sequence[Value] = ()) -> NoReturn:
        if not self._is_driver_error(error):
            raise error
        raise self._mapped(error, table=table, params=params) from error

    def _mapped(self, error: BaseException, *, table: str | None = None, params: Sequence[Value] = ()) -> StoreError:
        return map_sqlite_error(
            error,
            store=self.url.redacted,
            role=self.role,
            path=self._path,
            engine=self.engine,
            table=table,
            params=params,
        )


def _rows_or_close(cursor: Any) -> list[Any]:
    """The next rows of a query. One that breaks off would keep its lock otherwise."""
    try:
        found: list[Any] = cursor.fetchmany(_CHUNK_ROWS)
    except BaseException:
        cursor.close()
        raise
    return found


class _AttachedStage:
    """The stage as a second database of the same connection: its values are copied inside SQLite."""

    def __init__(self, store: SqliteFileStore) -> None:
        self._store = store

    def copy(
        self,
        table: str,
        columns: Sequence[str],
        *,
        exclude: Sequence[str] = (),
        session_column: str = "session_id",
    ) -> int:
        name = quote_identifier(table)
        select, params = stage_select(f"{_STAGE}.{name}", columns, exclude=exclude, session_column=session_column)
        # else every page that a statement touches is copied first, to undo that statement alone; here the whole
        # transaction is undone. A trigger's own statements would take over how to fail, so there it stays as it was
        triggers = "SELECT 1 FROM main.sqlite_master WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE LIMIT 1"
        insert = "INSERT" if self._store._rows(triggers, (table,)) else "INSERT OR FAIL"
        cursor = self._store._run(f"{insert} INTO main.{name} ({column_list(columns)}) {select}", params, table=table)
        return max(int(cursor.rowcount), 0)
