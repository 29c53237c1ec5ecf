"""V1's answers for sessions of either store, and what V1's callers change as changes of the new store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple
from uuid import uuid4

from sessionlift.bridge.langswarm._new_store import Key, Stored, context_of
from sessionlift.bridge.langswarm._provider import Reply
from sessionlift.bridge.langswarm._texts import json_object, json_text, storable
from sessionlift.bridge.langswarm._values import MessageRole, SessionContext, SessionMessage, member, utc_now
from sessionlift.bridge.langswarm.v1._values import SessionControl, SessionMetadata, SessionStatus
from sessionlift.converters.langswarm import (
    Aside,
    LangswarmOptions,
    LegacyRow,
    backend_of,
    backward,
    forward,
    provider_of,
    provider_session_of,
)
from sessionlift.errors import UsageError

_IDS = ("provider_thread_id", "provider_conversation_id")
_SETTABLE = (
    "status",
    "session_control",
    "provider_agent_id",
    *_IDS,
    "context_limit",
    "auto_truncate",
    "summarization_enabled",
    "total_tokens",
    "tags",
    "custom_metadata",
)
"""V1's fields that stand under their own names in ``provider_context``."""
_PREFIXES = {"openai": "openai", "anthropic": "claude", "mistral": "mistral", "cohere": "cohere", "gemini": "gemini"}


class Document(NamedTuple):
    """A session in V1's own JSON."""

    metadata: dict[str, Any]
    history: dict[str, Any]


def document_of(stored: Stored, options: LangswarmOptions) -> Document:
    """What V1's reader would find, had it the session as it is now. Raises ConversionError where nobody can read it."""
    kept = json.loads(stored.complement) if stored.complement else None
    cells = backward(stored.rows, kept, options.timezone).cells
    return Document(json.loads(cells["metadata"]), json.loads(cells["history"]))


def status_in(key: Key) -> SessionStatus:
    """V1's status of a session in a list. Raises StoreFormatError."""
    context = json_object(key.context, session_id=key.session_id, column="context_data")
    try:
        return SessionStatus((context.get("provider_context") or {}).get("status"))
    except ValueError:
        return SessionStatus.ACTIVE


def context_for(metadata: SessionMetadata, options: LangswarmOptions) -> SessionContext:
    """The context of a session that V1's caller begins: what a move would make of V1's row."""
    document = metadata.to_dict()
    for name in ("user_id", "provider", "model"):
        storable(document[name], name)
    cells = {
        "metadata": json_text(document, "the session's metadata"),
        "history": json.dumps({"session_id": metadata.session_id, "messages": [], "summary": None, "total_tokens": 0,
                               "truncated_at": None}),
    }  # fmt: skip
    made = forward(LegacyRow(metadata.session_id, cells), options)
    if isinstance(made, Aside):
        raise UsageError(f"no such session can be made: {made.reason}")
    return context_of(json.loads(made.rows.session[5]), metadata.session_id)


def message_from(content: Any, role: Any, extra: Mapping[str, Any]) -> SessionMessage:
    """The message that V1's ``add_message(content, role, **extra)`` asks for. Raises UsageError."""
    values = dict(extra)
    metadata = dict(values.pop("metadata", None) or {})
    for name in ("tool_calls", "tool_call_id"):
        value = values.pop(name, None)
        if value is not None:
            metadata[name] = value
    message = SessionMessage(
        values.pop("id", f"msg_{uuid4().hex[:8]}"),
        member(MessageRole, role, "role of a message"),
        storable(content, "a message's content"),
        utc_now(),
        metadata,
        values.pop("provider_message_id", None),
    )
    values.pop("timestamp", None)  # the store gives it, so that the order holds
    if values:
        raise UsageError(f"a message of V1 has no {', '.join(map(repr, values))}")
    return message


def answer_name(stored: Stored, reply: Reply) -> str:
    """The id that V1 gives an answer: the provider's own behind the provider's name."""
    prefix = _PREFIXES.get(stored.context.provider)
    if prefix is None or reply.provider_message_id is None:
        return f"msg_{uuid4().hex[:8]}"
    return f"{prefix}_{reply.provider_message_id}"


def changes_for(changes: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """V1's metadata fields as changes of V2's context; ``now`` is V1's metadata as it stands. Raises UsageError."""
    made: dict[str, Any] = {}
    inner: dict[str, Any] = {}
    for name, value in changes.items():
        if name == "status":
            inner[name] = member(SessionStatus, value, "status of V1").value
        elif name == "session_control":
            inner[name] = member(SessionControl, value, "session control of V1").value
        elif name in ("user_id", "model"):
            made[name] = storable(value, name)
        elif name == "provider":
            inner[name] = storable(value, name)
            made[name] = provider_of(value)[0]
        elif name in _SETTABLE:
            inner[name] = value.value if isinstance(value, Enum) else value
        else:
            raise UsageError(
                f"V1's {name} cannot be set", hint="it follows from the messages, or is the session's name"
            )
    if {"provider", *_IDS} & changes.keys():
        provider = made.get("provider", provider_of(now["provider"])[0])
        thread, conversation = (inner.get(name, now.get(name)) for name in _IDS)
        found = provider_session_of(provider, thread, conversation)
        made["provider_session_id"] = None if found is None else storable(found, "a provider's session id")
        made["backend"] = backend_of(made["provider_session_id"])
    return {**made, "provider_context": inner}
