"""The values of the new API, under the names and with the fields that LangSwarm V2 gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from typing import Any, TypeVar

from sessionlift.errors import UsageError


class SessionStatus(Enum):
    """What V2 can say of a session; the store keeps it as ``provider_context["status"]``."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    ARCHIVED = "archived"
    ERROR = "error"


class MessageRole(Enum):
    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    FUNCTION = "function"
    TOOL = "tool"


class SessionBackend(Enum):
    PROVIDER_NATIVE = "provider_native"
    LOCAL_MEMORY = "local_memory"
    LOCAL_SQLITE = "local_sqlite"
    EXTERNAL_DB = "external_db"
    HYBRID = "hybrid"


_OF_V1 = {"inactive": SessionStatus.PAUSED, "expired": SessionStatus.ARCHIVED}


def status_of(stored: Any) -> SessionStatus:
    """V2's status for what ``provider_context["status"]`` holds: V1's ``inactive`` is a paused session, ``expired`` an
    archived one; anything unknown, and nothing at all, is active."""
    if stored in _OF_V1:
        return _OF_V1[stored]
    try:
        return SessionStatus(stored)
    except ValueError:
        return SessionStatus.ACTIVE


_Member = TypeVar("_Member", bound=Enum)


def member(kind: type[_Member], value: Any, what: str) -> _Member:
    """``value`` as one of ``kind``: a member of it, the text of one, or a member of another program's enum of the same
    text (the real V1 and V2 each have their own). Raises UsageError."""
    text = value.value if isinstance(value, Enum) else value
    try:
        return kind(text)
    except ValueError:
        known = ", ".join(str(each.value) for each in kind)
        raise UsageError(f"{value!r} is no {what}", hint=f"one of {known}") from None


def require_kinds(fields: Mapping[str, Any]) -> None:
    """Raises UsageError for values of a context that its readers could not use: every later send would fail."""
    for name, value in fields.items():
        if name == "max_messages" and (type(value) is not int or value < 0):
            raise UsageError(f"max_messages must be a number of messages, not {value!r}", hint="nothing was stored")
        if name in ("auto_archive", "persist_messages") and not isinstance(value, bool):
            raise UsageError(f"{name} must be true or false, not {value!r}", hint="nothing was stored")
        if name == "provider_session_id" and not (value is None or isinstance(value, str)):
            raise UsageError(f"{name} must be text or None, not {value!r}", hint="nothing was stored")
        if name == "provider_context" and not isinstance(value, Mapping):
            raise UsageError(f"{name} must be a mapping, not {value!r}", hint="nothing was stored")


def utc_now() -> datetime:
    """Now as V2 has its times: UTC without a zone."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


@dataclass
class SessionMessage:
    """One message. ``timestamp`` is UTC without a zone. ``metadata`` of a message that was moved from V1 holds V1's,
    and under ``sessionlift`` what V1's message had that V2 has no place for."""

    id: str
    role: MessageRole
    content: str
    timestamp: datetime
    metadata: dict[str, Any] = field(default_factory=dict)
    provider_message_id: str | None = None
    token_count: int | None = None
    finish_reason: str | None = None


@dataclass
class SessionContext:
    """What V2 keeps of a session besides its messages. What V1 kept stands in ``provider_context``, by V1's names."""

    session_id: str
    user_id: str
    provider: str
    model: str
    backend: SessionBackend
    max_messages: int = 100
    auto_archive: bool = True
    persist_messages: bool = True
    provider_session_id: str | None = None
    provider_context: dict[str, Any] = field(default_factory=dict)


@dataclass
class SessionMetrics:
    """Times are UTC without a zone; ``session_duration`` is in seconds."""

    message_count: int = 0
    total_tokens: int = 0
    session_duration: float = 0.0
    last_activity: datetime | None = None
    created_at: datetime | None = None
