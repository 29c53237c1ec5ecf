"""The values of the old API, under the names, with the fields and the texts that LangSwarm V1 gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from sessionlift.errors import SessionNotFoundError, UsageError


class SessionStatus(Enum):
    ACTIVE = "active"
    INACTIVE = "inactive"
    ARCHIVED = "archived"
    EXPIRED = "expired"


class SessionControl(Enum):
    NATIVE = "native"
    LANGSWARM = "langswarm"
    HYBRID = "hybrid"


class MessageRole(Enum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    FUNCTION = "function"


class UnknownSessionError(SessionNotFoundError, ValueError):
    """V1's ``send_message`` raises ValueError for a session that is not there, and so does the old API here."""


class UnknownProviderError(UsageError, ValueError):
    """V1's ``create_session`` raises ValueError for a provider that it has no adapter for."""


def _time(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


@dataclass
class ConversationMessage:
    """One message. ``timestamp`` is local time of the legacy store's zone, as V1 has it."""

    id: str
    role: MessageRole
    content: Any
    timestamp: datetime = field(default_factory=datetime.now)
    metadata: dict[str, Any] = field(default_factory=dict)
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    provider_message_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**values, "role": self.role.value, "timestamp": self.timestamp.isoformat()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ConversationMessage:
        """From V1's JSON; keys that V1 does not know are passed over, as V1 does."""
        values = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        values["role"] = MessageRole(data["role"])
        values["timestamp"] = datetime.fromisoformat(data["timestamp"])
        return cls(**values)


@dataclass
class SessionMetadata:
    """What V1 knows of a session besides its messages. Times are local times of the legacy store's zone."""

    user_id: str
    session_id: str
    provider: str
    model: str
    created_at: datetime = field(default_factory=datetime.now)
    updated_at: datetime = field(default_factory=datetime.now)
    status: SessionStatus = SessionStatus.ACTIVE
    session_control: SessionControl = SessionControl.HYBRID
    provider_thread_id: str | None = None
    provider_conversation_id: str | None = None
    provider_agent_id: str | None = None
    context_limit: int | None = None
    auto_truncate: bool = True
    summarization_enabled: bool = True
    message_count: int = 0
    total_tokens: int = 0
    last_activity: datetime | None = None
    tags: list[Any] = field(default_factory=list)
    custom_metadata: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            **values,
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
            "status": self.status.value,
            "session_control": self.session_control.value,
            "last_activity": self.last_activity.isoformat() if self.last_activity else None,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SessionMetadata:
        """From V1's JSON; keys that V1 does not know are passed over, as V1 does."""
        values = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        for name in ("created_at", "updated_at", "last_activity"):
            if name in values:
                values[name] = _time(values[name])
        values["status"] = SessionStatus(data["status"])
        values["session_control"] = SessionControl(data["session_control"])
        return cls(**values)


@dataclass
class ConversationHistory:
    """A session's messages. ``total_tokens`` counts words, as V1's does."""

    session_id: str
    messages: list[ConversationMessage] = field(default_factory=list)
    summary: str | None = None
    total_tokens: int = 0
    truncated_at: datetime | None = None

    def get_recent_messages(self, limit: int = 10) -> list[ConversationMessage]:
        return self.messages[-limit:]

    def get_messages_since(self, timestamp: datetime) -> list[ConversationMessage]:
        return [message for message in self.messages if message.timestamp > timestamp]

    def to_dict(self) -> dict[str, Any]:
        return {
            "session_id": self.session_id,
            "messages": [message.to_dict() for message in self.messages],
            "summary": self.summary,
            "total_tokens": self.total_tokens,
            "truncated_at": self.truncated_at.isoformat() if self.truncated_at else None,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ConversationHistory:
        return cls(
            data["session_id"],
            [ConversationMessage.from_dict(message) for message in data.get("messages") or []],
            data.get("summary"),
            data.get("total_tokens", 0),
            _time(data.get("truncated_at")),
        )
