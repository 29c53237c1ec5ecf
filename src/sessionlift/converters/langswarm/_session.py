"""``forward``: one V1 session to V2's rows, as a pure function, and V1's rows as values alone would give them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sessionlift.converters._backward import GivenBack
from sessionlift.converters._batch import Quarantined
from sessionlift.converters.langswarm._columns import (
    CONTEXT_FROM_HISTORY,
    CONTEXT_FROM_METADATA,
    HISTORY_KEYS,
    MESSAGE_KEYS,
    METADATA_KEYS,
    ROOM,
)
from sessionlift.converters.langswarm._message import MessageCells, Told, forward_message, stored, text_of
from sessionlift.converters.langswarm._reading import Parsed, read_time
from sessionlift.converters.langswarm._row import LegacyRow
from sessionlift.converters.langswarm._zone import Zone, utc_text

_PROVIDERS = {
    "openai": "openai",
    "gpt": "openai",
    "anthropic": "anthropic",
    "claude": "anthropic",
    "gemini": "gemini",
    "mistral": "mistral",
    "cohere": "cohere",
}
_INT64 = 2**63
_MESSAGE_KEYS = frozenset(MESSAGE_KEYS)


@dataclass
class SessionRows:
    """A V2 session: its row of ``sessions``, its messages in V2's order, its row of ``session_metrics``."""

    session: tuple[Any, ...]
    messages: list[MessageCells]
    metrics: tuple[Any, ...] | None


@dataclass
class Moved:
    """What ``forward`` makes of a readable row: V2's rows and everything that is not a row."""

    rows: SessionRows
    complement: dict[str, Any] = field(default_factory=dict)
    losses: list[Told] = field(default_factory=list)
    facts: list[tuple[str, str, int, Any]] = field(default_factory=list)
    """(code, table, count, detail)"""
    last: datetime | None = None
    """the time of the last message, naive UTC"""
    quarantine: list[Quarantined] = field(default_factory=list)
    """with salvage: what could not be read"""
    given: GivenBack | None = None
    """what V2 alone had held before the session was taken back: whether it got that, and what of it waits"""


@dataclass(frozen=True)
class Aside:
    """A row that goes to quarantine whole, and why."""

    code: str
    reason: str


def provider_of(value: Any) -> tuple[str, bool]:
    """V2's spelling of a V1 provider, and whether V2 has such a provider."""
    text = text_of(value)
    found = _PROVIDERS.get(text.lower())
    return (text, False) if found is None else (found, True)


def provider_session_of(provider: str, thread: Any, conversation: Any) -> Any:
    """V1's value for V2's one provider id, None where it has none. ``provider`` is V2's spelling."""
    offered = {"openai": (thread,), "mistral": (conversation,)}.get(provider, (thread, conversation))
    return next((each for each in offered if each is not None and text_of(each)), None)


def backend_of(provider_session_id: str | None) -> str:
    """Where the real V2 both gives the moved history and stores the next message."""
    return "local_sqlite" if provider_session_id is None else "hybrid"


def context_of(metadata: Mapping[str, Any], history: Mapping[str, Any]) -> dict[str, Any]:
    """V1's values that V2 has no place for, under V1's names."""
    found = {key: metadata[key] for key in CONTEXT_FROM_METADATA if key in metadata}
    found.update((ours, history[key]) for key, ours in CONTEXT_FROM_HISTORY.items() if key in history)
    return found


def make_rows(key: str, parsed: Parsed, zone: Zone) -> Moved:
    """V2's rows for a session, with its losses and the source facts that its values show.

    The complement holds what values and order of keys need. Raises Unreadable where V2's times run out.
    """
    metadata, told = parsed.metadata, list[Told]()
    user_id = stored(metadata["user_id"], "sessions", "user_id", told)
    model = stored(metadata["model"], "sessions", "model", told)
    provider = _provider(metadata["provider"], told)
    session = provider_session_of(
        provider, metadata.get("provider_thread_id"), metadata.get("provider_conversation_id")
    )
    if session is not None:
        session = stored(session, "sessions", "provider_session_id", told)
    backend = backend_of(session)
    context = {
        "session_id": key,
        "user_id": user_id,
        "provider": provider,
        "model": model,
        "backend": backend,
        "max_messages": len(parsed.messages) + ROOM,
        "auto_archive": True,
        "persist_messages": True,
        "provider_session_id": session,
        "provider_context": context_of(metadata, parsed.history),
    }
    created = _time(metadata["created_at"], "sessions", "created_at", zone, told)
    updated = _time(metadata["updated_at"], "sessions", "updated_at", zone, told)
    active = None
    if metadata.get("last_activity"):
        active = _time(metadata["last_activity"], "session_metrics", "last_activity", zone, told)
    messages, last = [], None
    for message in parsed.messages:
        cells, last = forward_message(key, message, zone, last, told)
        messages.append(cells)
    rows = SessionRows(
        (key, user_id, provider, model, backend, json.dumps(context), created, updated),
        messages,
        (key, len(messages), _tokens(metadata, told), 0.0, active, created),
    )
    moved = Moved(rows, _complement(key, parsed, zone), told, last=last)
    moved.facts = _facts(parsed)
    return moved


def _provider(value: Any, told: list[Told]) -> str:
    stored(value, "sessions", "provider", told)
    provider, known = provider_of(value)
    if not known:
        told.append(Told("provider_unknown", "sessions", "provider"))
    elif provider != value:
        told.append(Told("provider_mapped", "sessions", "provider"))
    return provider


def _time(text: str, table: str, column: str, zone: Zone, told: list[Told]) -> str:
    time, code = zone.utc(text)
    if code is not None:
        told.append(Told(code, table, column))
    return utc_text(time)


def _tokens(metadata: Mapping[str, Any], told: list[Told]) -> int:
    value = metadata.get("total_tokens", 0)
    if isinstance(value, int) and not isinstance(value, bool):
        if -_INT64 <= value < _INT64:
            return value
        told.append(Told("number_too_large", "session_metrics", "total_tokens"))
    else:
        told.append(Told("value_reshaped", "session_metrics", "total_tokens"))
    return 0


def _complement(key: str, parsed: Parsed, zone: Zone) -> dict[str, Any]:
    metadata, history = parsed.metadata, parsed.history
    values = {name: metadata[name] for name in ("user_id", "model") if text_of(metadata[name]) != metadata[name]}
    if metadata["session_id"] != key:
        values["session_id"] = metadata["session_id"]
    values.update((name, value) for name, value in metadata.items() if name not in METADATA_KEYS)
    found: dict[str, Any] = {"zone": zone.name, "messages": len(parsed.messages)}
    _note(found, "metadata", tuple(metadata), METADATA_KEYS, values)
    values = {name: value for name, value in history.items() if name not in HISTORY_KEYS}
    if history["session_id"] != key:
        values["session_id"] = history["session_id"]
    if "messages" in history and not isinstance(history["messages"], list):
        values["messages"] = history["messages"]
    _note(found, "history", tuple(history), HISTORY_KEYS, values)
    return found


def _note(
    complement: dict[str, Any], name: str, keys: tuple[str, ...], usual: tuple[str, ...], values: dict[str, Any]
) -> None:
    """Put what is not usual into the complement: as JSON text in ASCII, since any value may stand there."""
    noted = {}
    if keys != usual:
        noted["keys"] = json.dumps(keys)
    if values:
        noted["values"] = json.dumps(values)
    if noted:
        complement[name] = noted


def _facts(parsed: Parsed) -> list[tuple[str, str, int, Any]]:
    facts: list[tuple[str, str, int, Any]] = []
    count = parsed.metadata.get("message_count", len(parsed.messages))
    if isinstance(count, bool) or count != len(parsed.messages):
        facts.append(("counter_disagrees", "sessions", 1, None))
    ids = {each if isinstance(each := message["id"], str) else (json.dumps(each),) for message in parsed.messages}
    if repeated := len(parsed.messages) - len(ids):
        facts.append(("duplicate_message_id", "session_messages", repeated, None))
    unknown = [name for name in parsed.metadata if name not in METADATA_KEYS]
    unknown += [name for name in parsed.history if name not in HISTORY_KEYS]
    if unknown:
        facts.append(("unknown_keys", "sessions", 1, [text_of(name) for name in unknown]))
    odd = sum(1 for message in parsed.messages if not _MESSAGE_KEYS.issuperset(message))
    if odd:
        facts.append(("unknown_keys", "session_messages", odd, None))
    nul = sum(1 for message in parsed.messages if isinstance(message["content"], str) and "\0" in message["content"])
    if nul:
        facts.append(("text_with_nul", "session_messages", nul, None))
    return facts


def disagreeing(row: LegacyRow, metadata: Mapping[str, Any]) -> list[str]:
    """The columns that are not what V1 would write for the session's JSON."""
    found = [] if metadata["session_id"] == row.key else ["session_id"]
    if row.dress == "sqlite":
        found += [name for name, value in columns_for(metadata).items() if row.cells.get(name) != value]
    return found


def columns_for(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The columns beside the key and the two documents, as V1 writes them for ``metadata``."""
    active = metadata.get("last_activity")
    return {
        **{name: metadata[name] for name in ("user_id", "provider", "model", "status", "session_control")},
        **{name: read_time(metadata[name]).isoformat() for name in ("created_at", "updated_at")},
        "last_activity": read_time(active).isoformat() if active else None,
    }
