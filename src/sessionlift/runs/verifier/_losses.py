"""The losses that a run must have told of, counted again from the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from sessionlift.runs.verifier import _rules
from sessionlift.runs.verifier._metadata import ENVELOPE

NOT_COUNTED = ("time_ambiguous", "time_nonexistent", "time_out_of_range")
"""Losses whose counts depend on a zone's clock changes, which are not worked out a second time."""

_MINE = "session_id IN (SELECT session_id FROM v_units WHERE run_id = $1 AND state <> 'quarantined')"
_OURS = f"contains(metadata::VARCHAR, '\"{_rules.OURS}\"')"
_TEXT = "(metadata::VARCHAR)"
_OPEN = (
    f"({_TEXT}[1] = '{{' AND {_TEXT}[-1] = '}}' AND NOT {_OURS} AND NOT regexp_matches({_TEXT}, ',[ \\t\\n\\r]*\\}}$'))"
)

Loss = tuple[str, str, str, int]


def count(
    db: duckdb.DuckDBPyConnection,
    run_id: str,
    message_types: Mapping[str, str],
    event_types: Mapping[str, str],
    unlinked: Mapping[str, int],
    *,
    versions: Sequence[str] | None,
) -> list[Loss]:
    """(code, table, column, count) of every loss that can be counted without a clock."""
    found: list[Loss] = []

    def tell(code: str, table: str, column: str, number: int) -> None:
        if number:
            found.append((code, table, column, number))

    def one(table: str, condition: str) -> int:
        row = db.execute(f"SELECT count(*) FROM {table} WHERE {_MINE} AND ({condition})", [run_id]).fetchone()
        return 0 if row is None else int(row[0])

    known, mapped = [], 0
    for kind, number in db.execute(
        f"SELECT event_type, count(*) FROM events WHERE {_MINE} GROUP BY 1", [run_id]
    ).fetchall():
        new = _rules.event_type_of(kind, event_types)
        if new is not None:
            known.append(kind)
            mapped += number if new != kind else 0
    tell("event_type_mapped", "events", "event_type", mapped)
    here = _in(known)
    for column in ("cost", "latency_ms", "reward"):
        odd = f"isnan({column}) OR ({column} = 0 AND ({column}::VARCHAR)[1] = '-')"
        if column == "cost":
            odd += f" OR (isfinite(cost) AND abs(cost) > {_rules.MOST_DOLLARS!r})"
        tell("double_not_storable", "events", column, one("events", f"{here} AND ({odd})"))
    for column in ("system_state_before", "system_state_after", "metadata", "event_metadata"):
        tell("json_null_mapped", "events", column, one("events", f"{here} AND {column}::VARCHAR = 'null'"))
    wrapped = f"{here} AND {_TEXT} <> 'null' AND NOT {_OPEN}"
    tell("metadata_wrapped", "events", "metadata", one("events", wrapped))
    tell(
        "json_null_mapped", "session_timesteps", "step_metadata",
        one("session_timesteps", "step_metadata IS NULL OR step_metadata::VARCHAR = 'null'"),
    )  # fmt: skip
    tell("message_type_mapped", "messages", "message_type", _messages(db, run_id, message_types))
    tell("created_at_missing", "session_traces", "created_at", one("session_traces", "created_at IS NULL"))
    reshaped = "metadata IS NULL OR ltrim(metadata::VARCHAR, chr(32) || chr(9) || chr(10) || chr(13))[1] <> '{'"
    tell("metadata_reshaped", "session_traces", "metadata", one("session_traces", reshaped))
    for column in ("num_timesteps", "num_events", "num_messages"):
        tell("counter_missing", "session_traces", column, one("session_traces", f"{column} IS NULL"))
    for table, number in unlinked.items():
        tell("timestep_unknown", table, "timestep_id", number)
    if versions is not None:
        row = db.execute(
            "SELECT count(*) FROM system_versions WHERE (branch IS NOT NULL OR description IS NOT NULL) "
            "AND NOT list_contains(?, id)",
            [list(versions)],
        ).fetchone()
        tell("column_to_metadata", "system_versions", "branch, description", int(row[0]) if row else 0)
    return found


def _messages(db: duckdb.DuckDBPyConnection, run_id: str, overrides: Mapping[str, str]) -> int:
    """Messages whose type v3 does not allow; an envelope's real type is inside."""
    number = 0
    for kind, inside, rows in db.execute(
        "SELECT message_type, CASE WHEN message_type = $2 AND json_exists(content, '$.content') "
        "AND (content::VARCHAR)[1] = '{' THEN coalesce(content ->> '$.message_type', 'unknown') "
        "END, count(*) "
        f"FROM messages WHERE {_MINE} GROUP BY ALL",
        [run_id, ENVELOPE],
    ).fetchall():
        real = kind if inside is None else inside
        if _rules.message_type_of(real, overrides) != real:
            number += rows
    return number


def _in(kinds: list[Any]) -> str:
    quoted = ", ".join("'" + str(kind).replace("'", "''") + "'" for kind in kinds)
    return f"event_type IN ({quoted})" if kinds else "FALSE"
