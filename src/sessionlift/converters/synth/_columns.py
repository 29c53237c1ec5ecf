"""The columns of both generations, in the order that digests and rows use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

V2_COLUMNS: dict[str, tuple[str, ...]] = {
    "session_traces": (
        "session_id",
        "created_at",
        "num_timesteps",
        "num_events",
        "num_messages",
        "metadata",
        "experiment_id",
    ),
    "session_timesteps": (
        "id",
        "session_id",
        "step_id",
        "step_index",
        "timestamp",
        "num_events",
        "num_messages",
        "step_metadata",
    ),
    "events": (
        "id",
        "session_id",
        "timestep_id",
        "event_type",
        "system_instance_id",
        "event_time",
        "message_time",
        "span_id",
        "trace_id",
        "model_name",
        "provider",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "cost",
        "latency_ms",
        "reward",
        "terminated",
        "system_state_before",
        "system_state_after",
        "metadata",
        "event_metadata",
    ),
    "messages": (
        "id",
        "session_id",
        "timestep_id",
        "message_type",
        "content",
        "timestamp",
        "event_time",
        "message_time",
    ),
    "systems": ("id", "name", "description"),
    "system_versions": ("id", "system_id", "branch", "commit", "created_at", "description"),
    "experiments": ("id", "name", "description", "created_at", "updated_at"),
    "experimental_systems": ("experiment_id", "system_id", "system_version_id"),
}
"""Legacy tables and their columns, as the final form of v2 declares them."""

V2_TEXT = frozenset(
    [
        "session_id",
        "metadata",
        "experiment_id",
        "step_id",
        "step_metadata",
        "event_type",
        "system_instance_id",
        "span_id",
        "trace_id",
        "model_name",
        "provider",
        "system_state_before",
        "system_state_after",
        "event_metadata",
        "message_type",
        "content",
        "id",
        "name",
        "description",
        "system_id",
        "branch",
        "commit",
        "system_version_id",
    ]
)
"""Columns whose text is free, so that a digest must say where it ends (``id`` is text in the catalog only)."""

V3_COLUMNS: dict[str, tuple[str, ...]] = {
    "session_traces": (
        "session_id",
        "created_at",
        "num_timesteps",
        "num_events",
        "num_messages",
        "metadata",
        "experiment_id",
    ),
    "session_timesteps": (
        "id",
        "session_id",
        "step_id",
        "step_index",
        "turn_number",
        "started_at",
        "completed_at",
        "num_events",
        "num_messages",
        "step_metadata",
    ),
    "events": (
        "id",
        "session_id",
        "timestep_id",
        "event_type",
        "system_instance_id",
        "event_time",
        "message_time",
        "created_at",
        "model_name",
        "provider",
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "cost_usd",
        "latency_ms",
        "span_id",
        "trace_id",
        "reward",
        "terminated",
        "system_state_before",
        "system_state_after",
        "metadata",
        "event_metadata",
    ),
    "messages": (
        "id",
        "session_id",
        "timestep_id",
        "message_type",
        "content",
        "timestamp",
        "event_time",
        "message_time",
        "metadata",
    ),
    "outcome_rewards": (
        "session_id",
        "total_reward",
        "achievements_count",
        "total_steps",
        "created_at",
        "reward_metadata",
    ),
    "event_rewards": (
        "id",
        "event_id",
        "session_id",
        "turn_number",
        "reward_value",
        "reward_type",
        "annotation",
        "source",
        "created_at",
    ),
    "systems": ("system_id", "name", "system_type", "description", "created_at", "metadata"),
    "system_versions": (
        "version_id",
        "system_id",
        "version_number",
        "commit_hash",
        "created_at",
        "configuration",
        "metadata",
    ),
    "experiments": (
        "experiment_id",
        "name",
        "description",
        "created_at",
        "updated_at",
        "configuration",
        "metadata",
    ),
    "experimental_systems": ("experiment_id", "system_id", "version_id"),
}
"""Target tables and the columns that a move fills; every other column stays NULL (call_records, truncated,
embedding: v2 has no source for them)."""

V3_LEFT_NULL: dict[str, tuple[str, ...]] = {
    "session_traces": ("embedding",),
    "events": ("call_records", "truncated", "embedding"),
    "messages": ("embedding",),
    "event_rewards": ("message_id", "key"),
}
"""Columns that a move never fills: a value in one of them is the application's."""

V3_SESSION_TABLES = (
    "session_traces",
    "session_timesteps",
    "events",
    "messages",
    "event_rewards",
    "outcome_rewards",
)
V3_CATALOG_TABLES = ("systems", "system_versions", "experiments", "experimental_systems")
V2_SESSION_TABLES = ("session_traces", "session_timesteps", "events", "messages")
V2_CATALOG_TABLES = ("systems", "system_versions", "experiments", "experimental_systems")
DERIVED_TABLES: tuple[str, ...] = ("event_rewards", "outcome_rewards")

REAL_IN_DIGEST = {"events": ("cost_usd", "latency_ms"), "outcome_rewards": ("total_reward",)}
"""INTEGER columns that hold fractions too: hashed as ``as_double`` has them."""

V3_KEYS = {
    "session_traces": "session_id",
    "session_timesteps": "id",
    "events": "id",
    "messages": "id",
    "event_rewards": "id",
    "outcome_rewards": "id",
    "systems": "system_id",
    "system_versions": "version_id",
    "experiments": "experiment_id",
    "experimental_systems": "id",
}
"""The order of rows within a table for digests and comparisons."""


def row_key(table: str, row: Sequence[Any]) -> Any:
    """The key of a row of V3's catalog, given in the order of ``V3_COLUMNS``: that of a link is what it links."""
    return tuple(row[:2]) if table == "experimental_systems" else row[0]
