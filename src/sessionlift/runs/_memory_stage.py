"""The stage of one session that is moved inside the application: rows in memory, written by short statements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sessionlift.stores import Store

STATEMENT_BYTES = 64_000
"""About how many bytes of values go into one statement: the libsql driver holds the interpreter while it runs."""


class MemoryRows:
    """Takes rows as ``StageWriter`` does, and gives them back."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._columns: dict[str, tuple[str, ...]] = {}
        self._rows: dict[str, list[tuple[Any, ...]]] = {}

    def rows(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Append rows of ``table``; the columns must be the same on every call for it."""
        self._columns.setdefault(table, tuple(columns))
        self._rows.setdefault(table, []).extend(rows)
        self.counts[table] = self.counts.get(table, 0) + len(rows)

    def columns(self) -> dict[str, list[str]]:
        """The tables that got rows, in the order they came, and their columns."""
        return {table: list(columns) for table, columns in self._columns.items()}

    def held(self) -> dict[str, list[dict[str, Any]]]:
        """The rows by table, each as values by column."""
        return {
            table: [dict(zip(self._columns[table], row, strict=True)) for row in rows]
            for table, rows in self._rows.items()
        }


class MemoryStage(MemoryRows):
    """Copies the rows that it took into ``target`` as a stage file's are."""

    def __init__(self, target: Store) -> None:
        super().__init__()
        self._target = target

    def copy(
        self,
        table: str,
        columns: Sequence[str],
        *,
        exclude: Sequence[str] = (),
        session_column: str = "session_id",
    ) -> int:
        """See Staged."""
        rows = self._rows.get(table, [])
        if exclude:
            key, left = self._columns[table].index(session_column), set(exclude)
            rows = [row for row in rows if row[key] not in left]
        for part in _parts(rows):
            self._target.insert_rows(table, columns, part)
        return len(rows)


def _parts(rows: Sequence[tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    """``rows`` in runs of about ``STATEMENT_BYTES``, or one row that has more."""
    first, size = 0, 0
    for place, row in enumerate(rows):
        weight = sum(len(value) if isinstance(value, (str, bytes)) else 8 for value in row)
        if size and size + weight > STATEMENT_BYTES:
            yield rows[first:place]
            first, size = place, 0
        size += weight
    if first < len(rows):
        yield rows[first:]
