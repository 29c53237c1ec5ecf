"""Which sessions a v2 store holds, in which order they move, and how they are cut into batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import duckdb

from sessionlift.converters._forward import Inventory
from sessionlift.converters.synth._sql import bind_texts, texts
from sessionlift.stores import forget_rows, keep_rows

CHILD_BYTES = {
    "session_timesteps": "coalesce(strlen(step_metadata::VARCHAR), 0) + 60",
    "events": "coalesce(strlen(system_state_before::VARCHAR), 0) + coalesce(strlen(system_state_after::VARCHAR), 0) "
    "+ coalesce(strlen(metadata::VARCHAR), 0) + coalesce(strlen(event_metadata::VARCHAR), 0) + 150",
    "messages": "strlen(content::VARCHAR) + 80",
}
"""Child tables of a session, and SQL for about how many bytes a row of theirs takes."""


MAX_ROWS = 45_000
MAX_BYTES = 12_000_000


@dataclass(frozen=True)
class Group:
    """Consecutive sessions that move in one batch: their places, and the id ranges of their rows by table.

    The ranges (for ``session_traces`` of row ids) are only there so that the engine can skip blocks; rows are
    chosen by session id.
    """

    first: int
    last: int
    rows: int
    bytes: int
    ranges: dict[str, tuple[int, int]]

    @property
    def is_large(self) -> bool:
        """One session that is larger than a batch should be: nothing of it is ever put together in memory."""
        return self.bytes > 2 * MAX_BYTES


def take_inventory(connection: duckdb.DuckDBPyConnection, only: Iterable[str] | None) -> Inventory:
    """Number the sessions in the order they were written and count what belongs to each.

    Makes the temporary view ``sl_units`` (n, row id, session_id, rows, bytes, and by child table a count and an id
    range). Sessions are numbered by row id: unique, and stable for a store that nobody writes to.
    """
    chosen = ""
    if only is not None:
        connection.execute("CREATE OR REPLACE TEMP TABLE sl_only (session_id VARCHAR)")
        connection.execute(f"INSERT INTO sl_only {texts()}", [bind_texts(only)])
        chosen = "WHERE session_id IN (SELECT session_id FROM sl_only)"
    # one table of all sessions in memory, not one for each of theirs
    parts, counts, columns = [], [], []
    for table, weight in CHILD_BYTES.items():
        places = ", ".join(f"{'id' if each == table else 'NULL::BIGINT'} AS {each}" for each in CHILD_BYTES)
        parts.append(f"SELECT session_id, {places}, {weight} AS size FROM {table} {chosen}")
        counts.append(f"count({table}) AS {table}_rows, min({table}) AS {table}_lo, max({table}) AS {table}_hi")
        columns.append(f"coalesce(c.{table}_rows, 0) AS {table}_rows, c.{table}_lo, c.{table}_hi")
    counted = (
        f"SELECT session_id, {', '.join(counts)}, sum(size) AS size FROM ({' UNION ALL '.join(parts)}) "
        "GROUP BY session_id"
    )
    if only is None:
        # of all sessions, what is counted is put down before it is joined: the engine would hold both at once
        keep_rows(connection, "sl_counts", counted, many=True)
        counted = "FROM sl_counts"
    units = (
        f"SELECT t.n, t.place, t.session_id, {', '.join(columns)}, "
        f"({' + '.join(f'coalesce(c.{table}_rows, 0)' for table in CHILD_BYTES)} + 1)::BIGINT AS all_rows, "
        "(coalesce(c.size, 0) + t.size)::BIGINT AS all_bytes "
        "FROM (SELECT row_number() OVER (ORDER BY rowid) AS n, rowid AS place, session_id, "
        f"coalesce(strlen(metadata::VARCHAR), 0) * 2 + 150 AS size FROM session_traces {chosen}) AS t "
        f"LEFT JOIN ({counted}) AS c ON c.session_id = t.session_id"
    )
    keep_rows(connection, "sl_units", f"{units} ORDER BY n", many=only is None)
    if only is None:
        forget_rows(connection, "sl_counts")
    return count_units(connection, whole=only is None)


def leave_out(connection: duckdb.DuckDBPyConnection, ids: Iterable[str]) -> None:
    """Take sessions out of ``sl_units`` again."""
    rest = f"SELECT * FROM sl_units WHERE session_id NOT IN ({texts()}) ORDER BY n"
    keep_rows(connection, "sl_units", rest, [bind_texts(ids)])


def count_units(connection: duckdb.DuckDBPyConnection, *, whole: bool) -> Inventory:
    """The inventory of the sessions in ``sl_units``. Rows of no session are counted only where these are the
    ``whole`` store."""
    totals = _row(
        connection,
        "SELECT count(*), coalesce(sum(all_bytes), 0)::BIGINT, "
        + ", ".join(f"coalesce(sum({table}_rows), 0)::BIGINT" for table in CHILD_BYTES)
        + " FROM sl_units",
    )
    counted = {"session_traces": totals[0], **dict(zip(CHILD_BYTES, totals[2:], strict=True))}
    orphans = {}
    if whole:
        for table in CHILD_BYTES:
            every = _row(connection, f"SELECT count(*) FROM {table}")[0]
            orphans[table] = every - counted[table]
    return Inventory(totals[0], counted, orphans, totals[1])


def groups(
    connection: duckdb.DuckDBPyConnection,
    *,
    max_rows: int = MAX_ROWS,
    max_bytes: int = MAX_BYTES,
    between: tuple[int, int] | None = None,
) -> Iterator[Group]:
    """The batches, each of at most about ``max_rows`` rows and ``max_bytes`` bytes, or one session that has more.

    Where there are many, the first is a quarter of one: the writer and the verifier have nothing to do before it.
    """
    ranges = ", ".join(["min(place), max(place)", *(f"min({table}_lo), max({table}_hi)" for table in CHILD_BYTES)])
    chosen = "" if between is None else f" WHERE n BETWEEN {int(between[0])} AND {int(between[1])}"
    found = connection.execute(
        f"SELECT min(n), max(n), sum(all_rows)::BIGINT, sum(all_bytes)::BIGINT, {ranges} FROM ("
        "SELECT *, floor(sum(share) OVER (ORDER BY n) - share + CASE WHEN sum(share) OVER () > 4 THEN 0.75 ELSE 0 END) "
        "AS batch FROM ("
        f"SELECT *, greatest(all_rows / {int(max_rows)}, all_bytes / {int(max_bytes)}) AS share FROM sl_units{chosen})"
        ") GROUP BY batch ORDER BY 1"
    ).fetchall()
    for first, last, rows, size, *bounds in found:
        yield Group(
            first,
            last,
            rows,
            size,
            {
                table: (bounds[2 * i], bounds[2 * i + 1]) if bounds[2 * i] is not None else (0, -1)
                for i, table in enumerate(("session_traces", *CHILD_BYTES))
            },
        )


def _row(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    row = connection.execute(sql).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always gives a row
    return row
