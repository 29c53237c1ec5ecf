"""Legacy rows into DuckDB: one bound JSON text for each column of thousands of rows, cast by the engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import orjson

from sessionlift.converters.synth._columns import V2_COLUMNS
from sessionlift.stores import quote_identifier

_ROWS = 5_000
_BYTES = 16_000_000

_TIMES = frozenset(["created_at", "updated_at", "timestamp", "event_time"])
_NUMBERS = frozenset(["cost", "latency_ms", "reward"])
_JSON = frozenset(
    ["metadata", "step_metadata", "system_state_before", "system_state_after", "event_metadata", "content"]
)
_INTEGERS = frozenset(
    [
        "num_timesteps",
        "num_events",
        "num_messages",
        "step_index",
        "timestep_id",
        "message_time",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
    ]
)
_NUMBERED = frozenset(["session_timesteps", "events", "messages"])


def kind_of(table: str, column: str) -> str:
    """The legacy type of a column."""
    if column in _INTEGERS or (column == "id" and table in _NUMBERED):
        return "INTEGER"
    if column in _TIMES:
        return "TIMESTAMP"
    if column in _NUMBERS:
        return "DOUBLE"
    if column in _JSON:
        return "JSON"
    return "BOOLEAN" if column == "terminated" else "VARCHAR"


def create(table: str) -> str:
    """SQL that makes ``table`` with the types of its columns, and with nothing else: no keys, no indexes."""
    columns = ", ".join(f"{quote_identifier(name)} {kind_of(table, name)}" for name in V2_COLUMNS[table])
    return f"CREATE TABLE {quote_identifier(table)} ({columns})"


def insert(db: duckdb.DuckDBPyConnection, table: str, into: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows in the order of ``table``'s columns into ``into``, which has them.

    A time is the engine's text, or microseconds since 1970 behind ``@``.
    """
    columns = V2_COLUMNS[table]
    names = ", ".join(quote_identifier(column) for column in columns)
    cells = ", ".join(_cast(f"c{place}", kind_of(table, column)) for place, column in enumerate(columns))
    lists = ", ".join(f"unnest(from_json(?, '[\"VARCHAR\"]')) AS c{place}" for place in range(len(columns)))
    sql = f"INSERT INTO {quote_identifier(into)} ({names}) SELECT {cells} FROM (SELECT {lists})"
    for at in range(0, len(rows), _ROWS):
        for part in _parts(rows[at : at + _ROWS]):
            db.execute(sql, part)


def _cast(cell: str, kind: str) -> str:
    if kind == "VARCHAR":
        return cell
    if kind == "TIMESTAMP":
        return (
            f"CASE WHEN starts_with({cell}, '@') THEN make_timestamp(TRY_CAST(substr({cell}, 2) AS BIGINT)) "
            f"ELSE {cell}::TIMESTAMP END"
        )
    return f"{cell}::{kind}"


def _parts(rows: Sequence[tuple[Any, ...]]) -> Iterator[list[str]]:
    """``rows`` as one JSON array for each column, in halves where that would be too much text at once."""
    part: list[str] = []
    size = 0
    for column in zip(*rows, strict=True):
        part.append(orjson.dumps(column).decode())
        size += len(part[-1])
        if size > _BYTES and len(rows) > 1:
            half = len(rows) // 2
            yield from _parts(rows[:half])
            yield from _parts(rows[half:])
            return
    yield part
