"""Rows of both stores side by side, a chunk at a time, in the order of their ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import duckdb

from sessionlift.runs.verifier._compare import Comparison
from sessionlift.runs.verifier._outside import Outside
from sessionlift.runs.verifier._readers import Rows, TargetReader, id_list
from sessionlift.runs.verifier._source import MAX_CHUNK_ROWS, Batch, SourceIndex, pace

ID, SESSION = 0, 1
"""Where the id and the session id of a row stand, in what is read from either store."""


class TargetRows:
    """The rows of a batch in one table of the target, given out up to an id.

    Read are the rows within the source's range of ids, and, so that none hides, those of the batch's sessions
    beyond it; what is ``put_off`` is to be looked for later.
    """

    def __init__(
        self,
        reader: TargetReader,
        table: str,
        columns: Sequence[str],
        batch: Batch,
        of: str,
        sessions: set[str],
        put_off: Outside | None = None,
    ) -> None:
        self._reader, self._table = reader, table
        self._sessions = sessions
        self._buffer: Rows = []
        self._ended = False
        some, params = id_list(batch.ids)
        bounds, self._beyond = batch.ranges[of], list[Any]()
        if put_off is not None:
            put_off.add(table, batch.ids, bounds)
        if bounds is None:
            self._stream, self._ended = None, True
            if put_off is None:
                self._beyond = reader.read(table, columns, f"session_id IN ({some})", params, ("id",))
            return
        if put_off is None:
            outside = f"session_id IN ({some}) AND NOT +id BETWEEN ? AND ?"
            self._beyond = reader.read(table, columns, outside, (*params, *bounds), ("id",))
        where: str
        bound: list[Any]
        if batch.alone[of]:
            where, bound = "id BETWEEN ? AND ?", list(bounds)
        elif batch.is_near(of):
            where, bound = f"id BETWEEN ? AND ? AND +session_id IN ({some})", [*bounds, *params]
        else:
            where, bound = f"session_id IN ({some}) AND +id BETWEEN ? AND ?", [*params, *bounds]
        self._stream = reader.stream(table, columns, where, bound, ("id",))

    def through(self, last: int, about: int) -> Rows:
        """The rows up to id ``last`` that were not given out yet; there should be ``about`` as many."""
        buffer = self._buffer
        while not self._ended and (not buffer or buffer[-1][ID] < last):
            assert self._stream is not None  # noqa: S101 - there is one until the end
            more = self._stream.fetch(max(16, about - len(buffer)))
            if not more:
                self._ended = True
            buffer = buffer + more if buffer else more
        if not buffer or buffer[-1][ID] <= last:
            self._buffer = []
            return buffer
        cut = next(place for place, row in enumerate(buffer) if row[ID] > last)
        self._buffer = buffer[cut:]
        return buffer[:cut]

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def rest(self) -> Rows:
        """What is left when the source has no more rows, and the sessions' rows outside of the range."""
        left = self._buffer
        while not self._ended and self._stream is not None and (more := self._stream.fetch(MAX_CHUNK_ROWS)):
            left = left + more
        self._buffer, self._ended = [], True
        return left + self._beyond

    def elsewhere(self, row_id: int) -> str | None:
        """The session that the row ``row_id`` lies in instead of its own, None where there is no such row."""
        found = self._reader.read(self._table, ("session_id",), "id = ?", (row_id,))
        return str(found[0][0]) if found else None

    def is_ours(self, row: tuple[Any, ...]) -> bool:
        """False for a row of a session that is not in this batch, which lies between ours by its id only."""
        return row[SESSION] in self._sessions


def source_chunks(
    db: duckdb.DuckDBPyConnection, index: SourceIndex, table: str, columns: str, batch: Batch
) -> Iterator[Rows]:
    """The batch's rows of a source table in the order of their ids."""
    bounds = batch.ranges[table]
    if bounds is None:
        return
    sql = f"SELECT {columns} FROM {table} WHERE id BETWEEN {int(bounds[0])} AND {int(bounds[1])}"
    if not batch.alone[table]:
        # a join gives rows in no order of its own
        sql += " AND session_id IN (SELECT session_id FROM v_ids) ORDER BY id"
    elif not index.ordered[table]:
        sql += " ORDER BY id"
    result = db.execute(sql)
    most = 32
    while rows := result.fetchmany(most):
        yield rows
        most = pace(rows)


def matched(
    result: Comparison, table: str, ids: list[int], sessions: Sequence[str], target: TargetRows, found: Rows
) -> tuple[list[int] | None, Rows]:
    """Tell of rows without a partner.

    Returns the places of source rows that have one (None: all) and their partners.
    """
    result.found(table, len(found))
    if ids == [row[ID] for row in found]:
        return None, found
    have = {row[ID]: row for row in found}
    wanted = set(ids)
    for place, key in enumerate(ids):
        if key not in have:
            other = target.elsewhere(key)
            if other is None:
                result.row(sessions[place], table, key, missing=True)
            else:
                result.value(sessions[place], table, key, "session_id", sessions[place], other)
    for row in found:
        if row[ID] not in wanted:
            extra(result, table, target, row)
    places = [place for place, key in enumerate(ids) if key in have]
    return places, [have[ids[place]] for place in places]


def extra(result: Comparison, table: str, target: TargetRows, row: tuple[Any, ...]) -> None:
    """Tell of a target row that follows from no row of the source."""
    if target.is_ours(row):
        result.row(str(row[SESSION]), table, row[ID], missing=False)
    else:
        result.found(table, -1)


def picked(columns: Sequence[Sequence[Any]], places: list[int] | None) -> list[list[Any]]:
    """Columns with only the rows at ``places``."""
    if places is None:
        return [column if isinstance(column, list) else list(column) for column in columns]
    return [[column[place] for place in places] for column in columns]
