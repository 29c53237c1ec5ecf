"""The columns of v3 as the verifier reads them, and how it reads those of v2.

The first of two lists (``_PLAIN``) holds what passes unchanged or through a plain rule of SQL, in the same
order on both sides, so that whole rows compare at once; the second (``_MADE``) is worked out in Python.
"""

from __future__ import annotations


def micros(column: str) -> str:
    """SQL for a TIMESTAMP as microseconds since 1970, NULL for an infinite one."""
    return f"CASE WHEN isfinite({column}) THEN epoch_us({column}) END"


def present(column: str) -> str:
    """SQL for JSON text, NULL for JSON null as the real writers spell it."""
    return f"nullif({column}::VARCHAR, 'null')"


def number(column: str) -> str:
    return f"CASE WHEN isnan({column}) THEN NULL ELSE {column} END"


STEP_PLAIN = (
    "id",
    "session_id",
    "step_id",
    "step_index",
    "completed_at",
    "num_events",
    "num_messages",
    "step_metadata",
)
STEP_MADE = ("turn_number", "started_at")
STEP_SOURCE = (
    "id, session_id, step_id, step_index, NULL, num_events, num_messages, "
    f"coalesce({present('step_metadata')}, '{{}}'), {micros('timestamp')}"
)

EVENT_PLAIN = (
    "id", "session_id", "system_instance_id", "message_time", "model_name", "provider", "input_tokens",
    "output_tokens", "total_tokens", "span_id", "trace_id", "latency_ms", "reward", "terminated",
    "system_state_before", "system_state_after", "event_metadata", "call_records", "truncated", "embedding",
)  # fmt: skip
EVENT_MADE = ("timestep_id", "event_type", "event_time", "created_at", "cost_usd", "metadata")
EVENT_SOURCE = (
    "id, session_id, system_instance_id, message_time, model_name, provider, prompt_tokens, "
    f"completion_tokens, total_tokens, span_id, trace_id, {number('latency_ms')}, {number('reward')}, "
    f"CAST(terminated AS INTEGER), {present('system_state_before')}, {present('system_state_after')}, "
    f"{present('event_metadata')}, NULL, NULL, NULL, "
    f"timestep_id, event_type, {micros('event_time')}, cost, metadata::VARCHAR"
)
EVENT_REWARD, EVENT_HOOKS = EVENT_PLAIN.index("reward"), EVENT_PLAIN.index("event_metadata")

MESSAGE_PLAIN = ("id", "session_id", "message_time", "embedding")
MESSAGE_MADE = ("timestep_id", "message_type", "content", "timestamp", "event_time", "metadata")
MESSAGE_SOURCE = (
    "id, session_id, message_time, NULL, timestep_id, message_type, content::VARCHAR, "
    f"{micros('timestamp')}, {micros('event_time')}"
)

REWARD = (
    "id", "session_id", "event_id", "message_id", "turn_number", "reward_value", "reward_type", "key",
    "annotation", "source", "created_at",
)  # fmt: skip

TRACE = (
    "session_id",
    "created_at",
    "num_timesteps",
    "num_events",
    "num_messages",
    "metadata",
    "experiment_id",
    "embedding",
)
OUTCOME = ("session_id", "total_reward", "achievements_count", "total_steps", "created_at", "reward_metadata")
