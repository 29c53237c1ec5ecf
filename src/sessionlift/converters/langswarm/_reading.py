"""What V1's own reader makes of a session's two JSON documents, and what it cannot read.

The rules are those of the oldest Python that V1 runs on, whichever runs here; docs/langswarm.md numbers them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sessionlift.converters.langswarm._row import LegacyRow, NotUtf8, Unreadable, texts_of

STATUSES = ("active", "inactive", "archived", "expired")
CONTROLS = ("native", "langswarm", "hybrid")
ROLES = ("system", "user", "assistant", "tool", "function")

_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:.[0-9]{2}(?::[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{3}(?:[0-9]{3})?)?)?)?"
    r"(?:[+-][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{6})?)?)?)?",
    re.DOTALL,
)

REMEMBERED = 4096
"""Times kept as read: each is looked at when it is checked, when it is converted, and on the way back."""


@dataclass(frozen=True)
class Parsed:
    """A session that V1 can read: its two objects as parsed, and its list of messages."""

    metadata: dict[str, Any]
    history: dict[str, Any]
    messages: list[dict[str, Any]]


def read_time(value: Any) -> datetime:
    """The time that V1 reads from ``value``, naive or aware. Raises ValueError where it reads none."""
    if not isinstance(value, str):
        raise ValueError(f"not a time that V1 reads: {_short(value)}")
    return _time_in(value)


@lru_cache(maxsize=REMEMBERED)
def _time_in(text: str) -> datetime:
    if _TIME.fullmatch(text) is None:
        raise ValueError(f"not a time that V1 reads: {_short(text)}")
    return datetime.fromisoformat(text if len(text) == 10 else f"{text[:10]}T{text[11:]}")


def read(row: LegacyRow) -> Parsed:
    """The session in ``row``. Raises Unreadable with the code and reason for its quarantine."""
    texts = texts_of(row)
    metadata = read_metadata(texts.metadata)
    return read_history(texts.history, metadata)


def read_metadata(cell: Any) -> dict[str, Any]:
    """Rules 1 and 2."""
    metadata = _document(cell, "metadata")
    try:
        _demand(metadata, ("user_id", "session_id", "provider", "model", "created_at", "updated_at"))
        _one_of(metadata, "status", STATUSES)
        _one_of(metadata, "session_control", CONTROLS)
        for key in ("created_at", "updated_at"):
            read_time(metadata[key])
        if metadata.get("last_activity"):
            read_time(metadata["last_activity"])
    except ValueError as error:
        raise Unreadable("metadata_unreadable", f"metadata: {error}") from None
    return metadata


def read_history(cell: Any, metadata: dict[str, Any]) -> Parsed:
    """Rules 1, 3 and 4."""
    history = _document(cell, "history")
    try:
        _demand(history, ("session_id",))
        messages = history.get("messages", [])
        if messages in ("", {}):
            messages = []
        if not isinstance(messages, list):
            raise ValueError(f"messages is no list: {_short(messages)}")
        for place, message in enumerate(messages):
            try:
                check_message(message)
            except ValueError as error:
                raise ValueError(f"message {place}: {error}") from None
        if history.get("truncated_at"):
            read_time(history["truncated_at"])
    except ValueError as error:
        raise Unreadable("history_unreadable", f"history: {error}") from None
    return Parsed(metadata, history, messages)


def check_message(message: Any) -> None:
    """Rule 4. Raises ValueError with what is wrong."""
    if not isinstance(message, dict):
        raise ValueError(f"no object: {_short(message)}")
    _demand(message, ("id", "role", "content", "timestamp"))
    _one_of(message, "role", ROLES)
    read_time(message["timestamp"])


def _document(cell: Any, name: str) -> dict[str, Any]:
    code = f"{name}_unreadable"
    if isinstance(cell, NotUtf8):
        raise Unreadable(code, f"{name} is a text that is no UTF-8")
    if not isinstance(cell, (str, bytes)):
        raise Unreadable(code, f"there is no {name}")
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError) as error:
        raise Unreadable(code, f"{name} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise Unreadable(code, f"{name} is no JSON object")
    return found


def _demand(document: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    for key in keys:
        if key not in document:
            raise ValueError(f"{key} is missing")


def _one_of(document: Mapping[str, Any], key: str, values: tuple[str, ...]) -> None:
    if key not in document:
        raise ValueError(f"{key} is missing")
    if document[key] not in values:
        raise ValueError(f"{key} is {_short(document[key])}, not one of {', '.join(values)}")


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
