"""The least a loop must do to fit v2 rows into the v3 tables: rename, rescale, squeeze the types. No more.

No metadata is reshaped, no step is rebuilt, no reward is derived, nothing is kept of what does not fit: this
is what people write first, and what the measured road is compared with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb

_KINDS = "('user', 'assistant', 'system', 'tool_use', 'tool_result')"


def _date(column: str) -> str:
    return f"strftime({column}, '%Y-%m-%dT%H:%M:%S.%f+00:00')"


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


# table -> target column -> the DuckDB expression that fills it
COLUMNS: dict[str, dict[str, str]] = {
    "experiments": {
        "experiment_id": "id",
        **_same("name", "description"),
        "created_at": _date("created_at"),
        "updated_at": _date("updated_at"),
    },
    "systems": {"system_id": "id", **_same("name", "description")},
    "system_versions": {
        "version_id": "id",
        "system_id": "system_id",
        "version_number": "id",
        "commit_hash": '"commit"',
        "created_at": _date("created_at"),
    },
    "experimental_systems": {**_same("experiment_id", "system_id"), "version_id": "system_version_id"},
    "session_traces": {
        "session_id": "session_id",
        "created_at": _date("created_at"),
        **_same("num_timesteps", "num_events", "num_messages", "metadata", "experiment_id"),
    },
    "session_timesteps": {
        **_same("id", "session_id", "step_id", "step_index"),
        "started_at": _date("timestamp"),
        **_same("num_events", "num_messages", "step_metadata"),
    },
    "events": {
        **_same("id", "session_id", "timestep_id", "event_type", "system_instance_id"),
        "event_time": "epoch(event_time)",
        **_same("message_time", "model_name", "provider"),
        "input_tokens": "prompt_tokens",
        "output_tokens": "completion_tokens",
        "total_tokens": "total_tokens",
        "cost_usd": "cost * 100",
        **_same("latency_ms", "span_id", "trace_id", "reward", "terminated"),
        **_same("system_state_before", "system_state_after", "metadata", "event_metadata"),
    },
    "messages": {
        **_same("id", "session_id", "timestep_id"),
        "message_type": f"CASE WHEN message_type IN {_KINDS} THEN message_type ELSE 'system' END",
        "content": "content",
        "timestamp": _date("timestamp"),
        "event_time": "epoch(event_time)",
        "message_time": "message_time",
    },
}


def batches(connection: duckdb.DuckDBPyConnection, table: str, size: int) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of one table, ``size`` at a time."""
    cursor = connection.execute(f"SELECT {', '.join(COLUMNS[table].values())} FROM {table}")
    while rows := cursor.fetchmany(size):
        yield rows
