"""The digests of v2 sessions straight from their tables, for those who only ask whether something has changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import duckdb

from sessionlift.converters._digest import UnitDigests
from sessionlift.converters.synth import _sql
from sessionlift.converters.synth._columns import V2_SESSION_TABLES
from sessionlift.converters.synth._inventory import Group

_TOGETHER = 64
"""Sessions whose text is in memory at a time."""


def source_digests(connection: duckdb.DuckDBPyConnection, group: Group, ids: Iterable[str]) -> dict[str, str]:
    """By session the digest that ``Gathered.digests`` gives it, of those that the temporary table ``sl_b`` names.

    ``ids`` are these sessions, and ``group`` one that holds them. Takes half the time, since nothing is copied for
    whatever comes after it.
    """
    digests = UnitDigests(ids)
    for table in V2_SESSION_TABLES:
        digests.table(table)
        key = "rowid" if table == "session_traces" else "id"
        low, high = group.ranges[table]
        lines = (
            f"SELECT r.session_id, r.{key} AS pos, {_sql.source_text(table, 'r')} AS line FROM {table} AS r "
            f"WHERE r.session_id IN (SELECT session_id FROM sl_b) AND r.{key} BETWEEN {int(low)} AND {int(high)}"
        )
        for session_id, text in _in_parts(connection, lines) if group.is_large else _together(connection, lines):
            digests.add(session_id, text.encode())
    return digests.hexdigests()


def _in_parts(connection: duckdb.DuckDBPyConnection, lines: str) -> Iterator[tuple[str, str]]:
    """Line by line: nothing of such a session is ever put together in memory."""
    result = connection.execute(f"SELECT session_id, line FROM ({lines}) ORDER BY pos")
    while rows := result.fetchmany(_TOGETHER):
        yield from rows


def _together(connection: duckdb.DuckDBPyConnection, lines: str) -> Iterator[tuple[str, str]]:
    """Each session's lines as one text. They mostly come in their order; where they did not, they are sorted."""
    result = connection.execute(
        "SELECT session_id, line, places = list_sort(places) FROM (SELECT session_id, string_agg(line, '') AS line, "
        f"list(pos) AS places FROM ({lines}) GROUP BY session_id)"
    )
    otherwise = []
    while rows := result.fetchmany(_TOGETHER):
        for session_id, text, in_order in rows:
            if in_order:
                yield session_id, text
            else:
                otherwise.append(session_id)
    if otherwise:
        yield from connection.execute(
            f"SELECT session_id, string_agg(line, '' ORDER BY pos) FROM ({lines}) "
            f"WHERE session_id IN ({_sql.texts()}) GROUP BY session_id",
            [_sql.bind_texts(otherwise)],
        ).fetchall()
