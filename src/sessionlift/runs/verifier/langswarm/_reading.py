"""Which of V1's documents can be read, by the rules in docs/langswarm.md."""

from __future__ import annotations

import json
from typing import Any

from sessionlift.runs.verifier.langswarm._store import BadText, Cell
from sessionlift.runs.verifier.langswarm._times import is_time

METADATA = (
    "user_id", "session_id", "provider", "model", "created_at", "updated_at", "status", "session_control",
    "provider_thread_id", "provider_conversation_id", "provider_agent_id", "context_limit", "auto_truncate",
    "summarization_enabled", "message_count", "total_tokens", "last_activity", "tags", "custom_metadata",
)  # fmt: skip
HISTORY = ("session_id", "messages", "summary", "total_tokens", "truncated_at")
MESSAGE = (
    "id", "role", "content", "timestamp", "metadata", "tool_calls", "tool_call_id", "provider_message_id",
)  # fmt: skip
"""V1's keys in the order in which it writes them."""

_STATUSES = ("active", "inactive", "archived", "expired")
_CONTROLS = ("native", "langswarm", "hybrid")
_ROLES = ("system", "user", "assistant", "tool", "function")


class UnreadableError(ValueError):
    """V1 cannot read the document."""


def document(cell: Cell) -> dict[str, Any]:
    """The JSON object in a cell. Raises UnreadableError."""
    if cell is None or isinstance(cell, (int, float, BadText)):
        raise UnreadableError("it is no text")
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(str(error)) from error
    if not isinstance(value, dict):
        raise UnreadableError("it is no object")
    return value


def metadata_of(cell: Cell) -> dict[str, Any]:
    """V1's metadata. Raises UnreadableError."""
    value = document(cell)
    _need(value, "user_id", "session_id", "provider", "model", "created_at", "updated_at", "status", "session_control")
    _need_time(value, "created_at")
    _need_time(value, "updated_at")
    _need_one(value, "status", _STATUSES)
    _need_one(value, "session_control", _CONTROLS)
    if value.get("last_activity"):
        _need_time(value, "last_activity")
    return value


def history_of(cell: Cell) -> dict[str, Any]:
    """V1's history, with ``messages`` as a list. Raises UnreadableError."""
    value = document(cell)
    _need(value, "session_id")
    entries = value.get("messages", [])
    if not isinstance(entries, list) and entries not in ("", {}):
        raise UnreadableError("messages is no list")
    for entry in entries:
        need_message(entry)
    if value.get("truncated_at"):
        _need_time(value, "truncated_at")
    return value


def need_message(value: Any) -> None:
    """Raises UnreadableError for what is no message that V1 reads."""
    if not isinstance(value, dict):
        raise UnreadableError("a message is no object")
    _need(value, "id", "role", "content", "timestamp")
    _need_one(value, "role", _ROLES)
    _need_time(value, "timestamp")


def is_message(value: Any) -> bool:
    try:
        need_message(value)
    except UnreadableError:
        return False
    return True


def _need(value: dict[str, Any], *keys: str) -> None:
    for key in keys:
        if key not in value:
            raise UnreadableError(f"it has no {key}")


def _need_one(value: dict[str, Any], key: str, known: tuple[str, ...]) -> None:
    if not isinstance(value[key], str) or value[key] not in known:
        raise UnreadableError(f"{key} is none that V1 knows")


def _need_time(value: dict[str, Any], key: str) -> None:
    if not is_time(value[key]):
        raise UnreadableError(f"{key} is no time")
