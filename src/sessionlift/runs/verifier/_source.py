"""Which rows of the source belong to which session, so that every batch reads its own blocks only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import duckdb

from sessionlift.runs.verifier._readers import Rows
from sessionlift.runs.verifier._room import roomy
from sessionlift.stores import keep_rows

CHILDREN = ("session_timesteps", "events", "messages")
"""The tables of a session's rows."""

MAX_ROWS = 65_000
MAX_BYTES = 12_000_000
"""Of the sessions' own metadata, which is compared at once. Rows of theirs are held a few at a time."""
MAX_CHUNK_ROWS = 512
"""Rows held at once: both sides of them fit into a processor's cache, which counts more than the calls."""
CHUNK_BYTES = 1_000_000
"""And about how much text, so that few rows are held where rows are large."""
_NEAR = 4
"""Sessions are looked for first among so many times as many that follow those before them."""
_AS_MANY_AGAIN = 4
"""Rows of other sessions are read, and passed over, where they are at most so many times as many as a batch's own."""


@dataclass(frozen=True)
class Batch:
    """Sessions that are compared together.

    ``ranges`` bounds the ids of their rows by table (None: no rows), ``counts`` has by table the number of
    each session's rows, ``alone`` whether no other rows lie within the range. ``places`` bounds the row ids of
    the sessions themselves. ``missing`` are ids that the source does not have.
    """

    ids: list[str]
    missing: list[str]
    places: tuple[int, int]
    ranges: dict[str, tuple[int, int] | None]
    counts: dict[str, dict[str, int]]
    alone: dict[str, bool]

    def is_near(self, table: str) -> bool:
        """Whether its rows of ``table`` are worth being read by their range of ids, and those of others between them
        passed over."""
        bounds = self.ranges[table]
        own = sum(self.counts[table].values())
        return bounds is None or self.alone[table] or bounds[1] - bounds[0] < _AS_MANY_AGAIN * own

    @property
    def lies_together(self) -> bool:
        """Whether all of its rows are read by their ranges of ids."""
        return all(map(self.is_near, self.ranges))


class SourceIndex:
    """The temporary view ``v_index`` (one row a session) and table ``v_ids`` (the sessions of the batch)."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._db = connection
        # one table of all sessions in memory, not one for each of theirs
        parts, counts, columns = [], [], []
        for table in CHILDREN:
            places = ", ".join(f"{'id' if each == table else 'NULL::BIGINT'} AS {each}" for each in CHILDREN)
            parts.append(f"SELECT session_id, {places} FROM {table}")
            counts.append(f"count({table}) AS {table}_c, min({table}) AS {table}_lo, max({table}) AS {table}_hi")
            columns.append(f"coalesce(i.{table}_c, 0) AS {table}_c, i.{table}_lo, i.{table}_hi")
        index = (
            f"SELECT t.rowid AS n, t.session_id, {', '.join(columns)}, "
            "coalesce(strlen(t.metadata::VARCHAR), 0) AS size FROM session_traces AS t "
            f"LEFT JOIN (SELECT session_id, {', '.join(counts)} FROM ({' UNION ALL '.join(parts)}) GROUP BY session_id)"
            " AS i ON i.session_id = t.session_id"
        )
        keep_rows(connection, "v_index", f"{index} ORDER BY n", many=True)
        self._next = 0
        self.ordered = {table: self._is_ordered(table) for table in CHILDREN}

    def _is_ordered(self, table: str) -> bool:
        """True where rows lie in the order of their ids, as every writer leaves them: then none sorts."""
        row = self._db.execute(
            f"SELECT count(*) FROM (SELECT id, lag(id) OVER () AS before FROM {table}) WHERE id <= before"
        ).fetchone()
        return row is not None and row[0] == 0

    def batches(self, ids: Sequence[str]) -> Iterator[Batch]:
        """``ids`` in batches of about ``MAX_ROWS`` and ``MAX_BYTES``; while one is out, ``v_ids`` has its sessions."""
        some: list[tuple[Any, ...]] = []
        rows = size = 0
        for row in self._lines(ids):
            own, large = (1 + sum(row[2:-1:3]), row[-1]) if row[1] is not None else (1, 0)
            if some and (rows + own > MAX_ROWS or size + large > MAX_BYTES):
                yield self._batch(some)
                some, rows, size = [], 0, 0
            some.append(row)
            rows += own
            size += large
        if some:
            yield self._batch(some)

    def _lines(self, ids: Sequence[str]) -> Rows:
        """What the index has of ``ids``, in the source's order; of what it has not the id and nothing."""
        asked = list(dict.fromkeys(ids))
        # whoever asks in the order of the source, as a run does, finds them where those before them ended
        near = self._look(asked, "WHERE i.n BETWEEN ? AND ?", [self._next, self._next + _NEAR * len(asked)])
        there = {row[0] for row in near}
        others = [session for session in asked if session not in there]
        found = sorted(near + self._look(others, "", []), key=itemgetter(1)) if others else near
        there.update(row[0] for row in found)
        if found:
            self._next = int(found[-1][1]) + 1
        return [*found, *((session, None) for session in asked if session not in there)]

    def _look(self, ids: Sequence[str], which: str, params: Sequence[int]) -> Rows:
        columns = ", ".join(f"i.{t}_c, i.{t}_lo, i.{t}_hi" for t in CHILDREN)
        query = (
            f"SELECT i.session_id, i.n, {columns}, i.size FROM v_index AS i "
            "JOIN (SELECT unnest(from_json(?, '[\"VARCHAR\"]')) AS id) AS w ON w.id = i.session_id "
            f"{which} ORDER BY i.n"
        )
        bound = [json.dumps(list(ids)), *params]
        return roomy(self._db, lambda: self._db.execute(query, bound).fetchall())

    def _batch(self, rows: list[tuple[Any, ...]]) -> Batch:
        ids = [str(row[0]) for row in rows]
        self._db.execute("CREATE OR REPLACE TEMP TABLE v_ids (session_id VARCHAR)")
        self._db.execute("INSERT INTO v_ids SELECT unnest(from_json(?, '[\"VARCHAR\"]'))", [json.dumps(ids)])
        there = [row for row in rows if row[1] is not None]
        places = [int(row[1]) for row in there] or [0]
        missing = [str(row[0]) for row in rows if row[1] is None]
        batch = Batch(ids, missing, (min(places), max(places)), {}, {}, {})
        for place, table in enumerate(CHILDREN):
            at = 2 + 3 * place
            counts = {str(row[0]): int(row[at] or 0) for row in there}
            total = sum(counts.values())
            batch.counts[table] = counts
            batch.ranges[table], batch.alone[table] = None, True
            if not total:
                continue
            low = min(int(row[at + 1]) for row in there if row[at + 1] is not None)
            high = max(int(row[at + 2]) for row in there if row[at + 2] is not None)
            within = self._db.execute(
                f"SELECT count(*) FROM {table} WHERE id BETWEEN {int(low)} AND {int(high)}"
            ).fetchone()
            batch.ranges[table] = low, high
            batch.alone[table] = within is not None and within[0] == total
        return batch


def pace(rows: Rows) -> int:
    """How many rows to hold next, from the size of those that came last."""
    some = rows[:8]
    size = sum(len(value) for row in some for value in row if isinstance(value, str)) // max(1, len(some))
    return max(16, min(MAX_CHUNK_ROWS, CHUNK_BYTES // max(1, size)))
