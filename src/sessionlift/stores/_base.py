"""What every opened store can do, whatever its engine."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, TypeVar

from sessionlift.stores._url import StoreURL
from sessionlift.stores._value import Row, Value

Role = Literal["source", "target"]
Mode = Literal["ro", "rw", "create"]

BUSY_SECONDS = 10.0


class Staged(Protocol):
    """A stage file whose rows can be copied into the store."""

    def copy(
        self,
        table: str,
        columns: Sequence[str],
        *,
        exclude: Sequence[str] = (),
        session_column: str = "session_id",
    ) -> int:
        """Append the stage's rows of ``table`` in the order they were staged; returns how many.

        Rows whose ``session_column`` is one of ``exclude`` are left out. Call it inside ``transaction()``, which
        has to be undone when a row is refused: those before it may have been copied.
        """


_Store = TypeVar("_Store", bound="Store")


class Store(abc.ABC):
    """An opened store. Values go through it exactly; its driver's own errors never leave it.

    One thread at a time. A context manager: leaving it closes the store.
    """

    url: StoreURL
    role: Role
    mode: Mode

    @property
    def engine(self) -> str:
        """``duckdb``, ``libsql``, ``sqlite`` or ``sqld``."""
        return self.url.engine

    @property
    @abc.abstractmethod
    def driver(self) -> str:
        """The driver and its version, as it stands in reports."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close the store. An open transaction is rolled back. Closing twice does nothing."""

    @abc.abstractmethod
    def query(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """All rows of a query, with exact values. ``?`` stands for a parameter, bound exactly."""

    @abc.abstractmethod
    def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        """Run one statement; returns the number of rows it changed (0 for anything but DML)."""

    @abc.abstractmethod
    def read_table(
        self,
        table: str,
        columns: Sequence[str],
        *,
        where: str = "",
        params: Sequence[Value] = (),
        order_by: Sequence[str] = (),
    ) -> Iterator[Row]:
        """The table's rows one by one, exact, without holding them all.

        ``where`` is SQL of our own with ``?`` for its ``params``; ``order_by`` names columns.
        """

    @abc.abstractmethod
    def insert_rows(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> int:
        """Insert rows, exact and in order; returns how many. Open a ``transaction()`` around it."""

    @abc.abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """``BEGIN IMMEDIATE`` .. ``COMMIT``, or ``ROLLBACK`` when the block raises anything."""

    @abc.abstractmethod
    def staged(self, stage: Path) -> AbstractContextManager[Staged]:
        """Make the rows of a stage file ready for copying. Enter it before ``transaction()``."""

    def be_patient(self, seconds: float) -> None:  # noqa: B027 - a server waits by itself
        """From now on wait for so long where another writer is in the way, and let other threads run meanwhile."""

    def others_commits(self) -> int | None:
        """A number that changes whenever another connection has committed; None where the engine has none.

        Ask before reading, and again within a transaction: with the same number, what was read is what is there.
        """
        return None

    def expect(self, size: int) -> None:  # noqa: B027 - most engines need nothing
        """Say that about ``size`` bytes are to come, before the first of them; a store with content stays as it is."""

    def expect_changes(self) -> None:  # noqa: B027 - a server knows by itself
        """Say that many rows all over the store are about to be changed."""

    def expect_indexes(self, rows: int) -> None:  # noqa: B027 - a server, and DuckDB, know by themselves
        """Say that rows all over the store are about to be sorted for indexes, at most so many for one."""

    def begin_bulk(self) -> None:  # noqa: B027 - most engines need nothing
        """Get ready for many large transactions. May be called on a store that a killed run left so."""

    def flush(self) -> None:  # noqa: B027
        """Between ``begin_bulk`` and ``end_bulk``: do now what can be done of the latter while others read."""

    def end_bulk(self) -> None:  # noqa: B027
        """Undo ``begin_bulk``; no file but the store itself stays behind."""

    def __enter__(self: _Store) -> _Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
