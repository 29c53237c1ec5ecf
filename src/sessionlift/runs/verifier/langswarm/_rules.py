"""What V2 must hold of a session, worked out from V1's documents by the rules in docs/langswarm.md."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sessionlift.runs.verifier.langswarm._reading import MESSAGE
from sessionlift.runs.verifier.langswarm._times import LATEST, Clock, text_of

OURS = "sessionlift"
"""The only key that a move adds to a message's metadata."""
SESSION = ("session_id", "user_id", "provider", "model", "backend", "context_data", "created_at", "updated_at")
MESSAGES = (
    "session_id", "message_id", "role", "content", "timestamp", "metadata", "provider_message_id", "token_count",
    "finish_reason",
)  # fmt: skip
METRICS = ("session_id", "message_count", "total_tokens", "session_duration", "last_activity", "created_at")
ROOM = 10_000
"""How many more messages than it has a session may get before V2 deletes any."""

_PROVIDERS = {"gpt": "openai", "claude": "anthropic"}
_KNOWN = ("openai", "anthropic", "gemini", "mistral", "cohere")
_FROM_METADATA = (
    "status", "session_control", "created_at", "updated_at", "last_activity", "provider", "provider_thread_id",
    "provider_conversation_id", "provider_agent_id", "context_limit", "auto_truncate", "summarization_enabled",
    "message_count", "total_tokens", "tags", "custom_metadata",
)  # fmt: skip
_FROM_HISTORY = (
    ("summary", "summary"),
    ("truncated_at", "truncated_at"),
    ("total_tokens", "history_total_tokens"),
)
_ABSENT: Any = object()
_SURROGATES = re.compile("[\ud800-\udfff]")
Row = tuple[Any, ...]


class BeyondAllTimesError(ValueError):
    """The messages' times cannot be made to rise any further."""


@dataclass
class Expected:
    """The rows of one session, and how often which loss must have been told: by code, table and column."""

    session: Row
    messages: list[Row]
    metrics: Row
    losses: Counter[tuple[str, str, str]] = field(default_factory=Counter)


def text_of_value(value: Any) -> str:
    """A string without its lone surrogates; nothing for null; the JSON text of anything else."""
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    return "" if value is None else json.dumps(value)


def provider_of(value: Any) -> str:
    """V2's spelling of a provider."""
    text = text_of_value(value)
    low = text.lower()
    new = _PROVIDERS.get(low, low)
    return new if new in _KNOWN else text


def expected(key: str, metadata: Mapping[str, Any], history: Mapping[str, Any], clock: Clock) -> Expected:
    """The rows of session ``key``. ``history`` has its messages as a list; all is readable.

    Raises BeyondAllTimesError.
    """
    return _Session(key, metadata, history, clock).rows()


class _Session:
    def __init__(self, key: str, metadata: Mapping[str, Any], history: Mapping[str, Any], clock: Clock) -> None:
        self._key, self._metadata, self._history, self._clock = key, metadata, history, clock
        self._losses: Counter[tuple[str, str, str]] = Counter()

    def rows(self) -> Expected:
        metadata = self._metadata
        entries: Sequence[dict[str, Any]] = self._history.get("messages") or []
        user = self._text(metadata["user_id"], "sessions", "user_id")
        model = self._text(metadata["model"], "sessions", "model")
        provider = self._provider()
        thread = self._provider_session(provider)
        backend = "local_sqlite" if thread is None else "hybrid"
        context = {
            "session_id": self._key,
            "user_id": user,
            "provider": provider,
            "model": model,
            "backend": backend,
            "max_messages": len(entries) + ROOM,
            "auto_archive": True,
            "persist_messages": True,
            "provider_session_id": thread,
            "provider_context": self._context(),
        }
        created = self._time(metadata["created_at"], "sessions", "created_at")
        updated = self._time(metadata["updated_at"], "sessions", "updated_at")
        active = metadata.get("last_activity")
        last = self._time(active, "session_metrics", "last_activity") if active else None
        metrics = (self._key, len(entries), self._tokens(), 0.0, last, created)
        messages = self._messages(entries)
        session = (self._key, user, provider, model, backend, json.dumps(context), created, updated)
        return Expected(session, messages, metrics, self._losses)

    def _lose(self, code: str, table: str, column: str) -> None:
        self._losses[code, table, column] += 1

    def _text(self, value: Any, table: str, column: str) -> str:
        text = text_of_value(value)
        if text != value:
            self._lose("text_surrogate" if isinstance(value, str) else "value_reshaped", table, column)
        return text

    def _time(self, text: str, table: str, column: str) -> str:
        moment = self._clock.moment(text)
        if moment.loss is not None:
            self._lose(moment.loss, table, column)
        return text_of(moment.micros)

    def _provider(self) -> str:
        value = self._metadata["provider"]
        text = self._text(value, "sessions", "provider")
        new = provider_of(value)
        if new not in _KNOWN:
            self._lose("provider_unknown", "sessions", "provider")
        elif new != text:
            self._lose("provider_mapped", "sessions", "provider")
        return new

    def _provider_session(self, provider: str) -> str | None:
        thread = self._metadata.get("provider_thread_id")
        conversation = self._metadata.get("provider_conversation_id")
        named = {"openai": [thread], "mistral": [conversation]}.get(provider, [thread, conversation])
        for value in named:
            if value is not None and value != "":
                return self._text(value, "sessions", "provider_session_id")
        return None

    def _context(self) -> dict[str, Any]:
        kept = {name: self._metadata[name] for name in _FROM_METADATA if name in self._metadata}
        kept.update({new: self._history[name] for name, new in _FROM_HISTORY if name in self._history})
        return kept

    def _tokens(self) -> int:
        value = self._metadata.get("total_tokens", 0)
        if not isinstance(value, int) or isinstance(value, bool):
            self._lose("value_reshaped", "session_metrics", "total_tokens")
            return 0
        if not -(2**63) <= value < 2**63:
            self._lose("number_too_large", "session_metrics", "total_tokens")
            return 0
        return value

    # --- messages ---------------------------------------------------------------------------------------------

    def _messages(self, entries: Sequence[dict[str, Any]]) -> list[Row]:
        rows = []
        before: int | None = None
        for entry in entries:
            moment = self._clock.moment(entry["timestamp"])
            if moment.loss is not None:
                self._lose(moment.loss, "session_messages", "timestamp")
            micros = moment.micros if before is None else max(moment.micros, before + 1)
            if micros > LATEST:
                raise BeyondAllTimesError("the messages' times cannot rise any further")
            before = micros
            moved = text_of(micros) if micros != moment.micros else None
            if moved is not None:
                self._lose("time_shifted", "session_messages", "timestamp")
            rows.append(self._message(entry, text_of(micros), moved))
        return rows

    def _message(self, entry: dict[str, Any], timestamp: str, moved: str | None) -> Row:
        ours: dict[str, Any] = {"timestamp": entry["timestamp"]}
        if moved is not None:
            ours["moved_to"] = moved
        message_id = self._text(entry["id"], "session_messages", "message_id")
        content = text_of_value(entry["content"])
        provider_id = entry.get("provider_message_id")
        provider_text = (
            None if provider_id is None else self._text(provider_id, "session_messages", "provider_message_id")
        )
        for name, column in (("id", message_id), ("content", content), ("provider_message_id", provider_text)):
            value = entry.get(name)
            if column != value:
                ours[name] = value
        if content != entry["content"]:
            code = "content_surrogate" if isinstance(entry["content"], str) else "content_reshaped"
            self._lose(code, "session_messages", "content")
        members = self._members(entry, ours)
        for name in ("tool_calls", "tool_call_id"):
            if entry.get(name) is not None:
                members[name] = entry[name]
        keys = tuple(entry)
        if keys != MESSAGE:
            ours["keys"] = list(keys)
        extra = {name: value for name, value in entry.items() if name not in MESSAGE}
        if extra:
            ours["extra"] = extra
        members[OURS] = ours
        return (
            self._key, message_id, entry["role"], content, timestamp, json.dumps(members), provider_text, None, None,
        )  # fmt: skip

    def _members(self, entry: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
        """The members of V1's metadata; nothing where they have to stand under our key."""
        value = entry.get("metadata", _ABSENT)
        if value is _ABSENT:
            return {}
        if isinstance(value, dict) and not value.keys() & {"tool_calls", "tool_call_id", OURS}:
            return dict(value)
        ours["metadata"] = value
        self._lose("message_metadata_wrapped", "session_messages", "metadata")
        return {}
