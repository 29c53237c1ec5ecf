"""Source rows whole, for the quarantine: integers as such, every other column and the id as the engine's text of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb

from sessionlift.converters.synth._columns import V2_COLUMNS
from sessionlift.stores import quote_identifier

_INTEGERS = frozenset(
    [
        "step_index",
        "num_events",
        "num_messages",
        "num_timesteps",
        "timestep_id",
        "message_time",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
    ]
)


def raw_rows(
    connection: duckdb.DuckDBPyConnection, table: str, relation: str, where: str
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(session id, row id, row) of each row of ``relation`` (shaped as ``table``) that ``where`` picks."""
    columns = V2_COLUMNS[table]
    cells = ", ".join(
        f"r.{quote_identifier(c)}" if c in _INTEGERS else f"r.{quote_identifier(c)}::VARCHAR" for c in columns
    )
    order = "r.id" if "id" in columns else "r.session_id"
    for row in connection.execute(f"SELECT {cells} FROM {relation} AS r WHERE {where} ORDER BY {order}").fetchall():
        values = dict(zip(columns, row, strict=True))
        yield values["session_id"], str(values.get("id", values["session_id"])), values
