"""The tables of both generations: their columns, in the order of rows, cells and digests."""

from __future__ import annotations

V1_COLUMNS = (
    "session_id",
    "user_id",
    "provider",
    "model",
    "status",
    "session_control",
    "created_at",
    "updated_at",
    "last_activity",
    "metadata",
    "history",
)
"""V1's table ``sessions``; the last two hold JSON, the others only filter and sort."""

METADATA_KEYS = (
    "user_id",
    "session_id",
    "provider",
    "model",
    "created_at",
    "updated_at",
    "status",
    "session_control",
    "provider_thread_id",
    "provider_conversation_id",
    "provider_agent_id",
    "context_limit",
    "auto_truncate",
    "summarization_enabled",
    "message_count",
    "total_tokens",
    "last_activity",
    "tags",
    "custom_metadata",
)
"""V1's metadata object, in the order in which V1 writes it."""

HISTORY_KEYS = ("session_id", "messages", "summary", "total_tokens", "truncated_at")
"""V1's history object, in the order in which V1 writes it."""

MESSAGE_KEYS = (
    "id",
    "role",
    "content",
    "timestamp",
    "metadata",
    "tool_calls",
    "tool_call_id",
    "provider_message_id",
)
"""V1's message, in the order in which V1 writes it."""

CONTEXT_FROM_METADATA = (
    "status",
    "session_control",
    "created_at",
    "updated_at",
    "last_activity",
    "provider",
    "provider_thread_id",
    "provider_conversation_id",
    "provider_agent_id",
    "context_limit",
    "auto_truncate",
    "summarization_enabled",
    "message_count",
    "total_tokens",
    "tags",
    "custom_metadata",
)
CONTEXT_FROM_HISTORY = {"summary": "summary", "truncated_at": "truncated_at", "total_tokens": "history_total_tokens"}
"""Keys of V1's history, and the names under which they stand in V2's ``provider_context``."""

V2_COLUMNS: dict[str, tuple[str, ...]] = {
    "sessions": (
        "session_id",
        "user_id",
        "provider",
        "model",
        "backend",
        "context_data",
        "created_at",
        "updated_at",
    ),
    "session_messages": (
        "session_id",
        "message_id",
        "role",
        "content",
        "timestamp",
        "metadata",
        "provider_message_id",
        "token_count",
        "finish_reason",
    ),
    "session_metrics": (
        "session_id",
        "message_count",
        "total_tokens",
        "session_duration",
        "last_activity",
        "created_at",
    ),
}
"""V2's tables in the order of the target digest. A message's ``id`` is the target's own."""

SESSION_TABLES = tuple(V2_COLUMNS)
DERIVED_TABLES = ("session_metrics",)

OUR_KEY = "sessionlift"
TOOL_KEYS = ("tool_calls", "tool_call_id")
ROOM = 10_000
"""How many messages may come after the move before V2's send deletes old ones."""
