"""``backward``: a V2 session as it is now, to V1's row in the SQLite dress, as a pure function."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sessionlift.converters.langswarm._columns import (
    CONTEXT_FROM_HISTORY,
    CONTEXT_FROM_METADATA,
    HISTORY_KEYS,
    METADATA_KEYS,
    V1_COLUMNS,
    V2_COLUMNS,
)
from sessionlift.converters.langswarm._context import read_context
from sessionlift.converters.langswarm._kept import counted_in
from sessionlift.converters.langswarm._message import Returned, Told, backward_message, text_of
from sessionlift.converters.langswarm._reading import CONTROLS, STATUSES, read_time
from sessionlift.converters.langswarm._row import cell_digest, cell_from_json, json_cell
from sessionlift.converters.langswarm._session import (
    SessionRows,
    columns_for,
    provider_of,
    provider_session_of,
)
from sessionlift.converters.langswarm._zone import Zone, utc_text, zone_named
from sessionlift.errors import ConversionError

_V1_SPELLING = {"anthropic": "claude"}
_CONTROL_OF = {"hybrid": "hybrid", "provider_native": "native"}
_CONTEXT_KEYS = frozenset((*CONTEXT_FROM_METADATA, *CONTEXT_FROM_HISTORY.values()))
_OF_CONTEXT = frozenset(
    [
        "session_id",
        "user_id",
        "provider",
        "model",
        "backend",
        "max_messages",
        "auto_archive",
        "persist_messages",
        "provider_session_id",
        "provider_context",
    ]
)
"""The keys that V2 itself gives to a session's context."""
_DEFAULTS: dict[str, Any] = {
    "provider_thread_id": None,
    "provider_conversation_id": None,
    "provider_agent_id": None,
    "context_limit": None,
    "auto_truncate": True,
    "summarization_enabled": True,
}


@dataclass
class BackRow:
    """V1's cells by column, and what V1 has no place for, as losses."""

    cells: dict[str, Any]
    losses: list[Told] = field(default_factory=list)


def backward(rows: SessionRows, complement: Mapping[str, Any] | None = None, zone: str = "UTC") -> BackRow:
    """V1's row for a V2 session: ``complement`` is what its move kept (None for a session that V2 began).

    ``zone`` names the zone of V1's naive times where the complement does not.
    Raises ConversionError where V2 itself could not read the session, RecursionError where it is nested too deeply.
    """
    kept = complement or {}
    told: list[Told] = []
    key = rows.session[0]
    try:
        cells = _cells(rows, kept, zone_named(kept.get("zone") or zone), told)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConversionError(
            f"session {key!r} cannot be read from the new store: "
            + (f"its context_data lacks {error}" if isinstance(error, KeyError) else str(error)),
            hint="the application itself cannot read it either; mend the row",
            session_id=key,
            table="sessions",
            row_id=key,
            reason_code="target_unreadable",
        ) from error
    for column, raw in kept.get("cells", {}).items():
        if cell_digest(cells[column]) == raw["made"]:
            cells[column] = cell_from_json(raw["cell"])
    return BackRow(cells, told)


def keep_cells(rows: SessionRows, complement: dict[str, Any], original: Mapping[str, Any]) -> None:
    """Make ``complement`` whole: add every cell of ``original`` that does not come back from ``rows`` as it is."""
    made = backward(rows, complement).cells
    odd = {
        column: {"cell": json_cell(cell), "made": cell_digest(made[column])}
        for column, cell in original.items()
        if type(made[column]) is not type(cell) or made[column] != cell
    }
    if odd:
        complement["cells"] = odd


def _cells(rows: SessionRows, kept: Mapping[str, Any], zone: Zone, told: list[Told]) -> dict[str, Any]:
    session = dict(zip(V2_COLUMNS["sessions"], rows.session, strict=True))
    context, of_v1 = read_context(session["context_data"])
    returned = [backward_message(cells, zone, told) for cells in rows.messages]
    metadata = _metadata(rows, session, (context, of_v1), returned, kept, zone, told)
    history = _history(session["session_id"], of_v1, returned, kept)
    columns = columns_for(metadata)
    cells = {
        "session_id": session["session_id"],
        **{name: value if value is None else text_of(value) for name, value in columns.items()},
        "metadata": json.dumps(metadata),
        "history": json.dumps(history),
    }
    return {column: cells[column] for column in V1_COLUMNS}


def _metadata(
    rows: SessionRows,
    session: Mapping[str, Any],
    read: tuple[Mapping[str, Any], Mapping[str, Any]],
    returned: list[Returned],
    kept: Mapping[str, Any],
    zone: Zone,
    told: list[Told],
) -> dict[str, Any]:
    context, of_v1 = read
    noted = kept.get("metadata", {})
    values = json.loads(noted.get("values", "{}"))
    found: dict[str, Any] = {key: of_v1.get(key, default) for key, default in _DEFAULTS.items()}
    for name in ("user_id", "model"):
        now = context[name]
        found[name] = values[name] if name in values and text_of(values[name]) == now else now
    found["session_id"] = values.get("session_id", session["session_id"])
    found["provider"] = _provider(context["provider"], of_v1)
    _provider_ids(found, context, of_v1)
    metrics = dict(zip(V2_COLUMNS["session_metrics"], rows.metrics, strict=True)) if rows.metrics else {}
    created = of_v1.get("created_at")
    found["created_at"] = created if _is_time(created) else _local(session["created_at"], "created_at", zone, told)
    found["updated_at"] = _time(of_v1, "updated_at", session["updated_at"], zone, told)
    found["last_activity"] = _time(of_v1, "last_activity", metrics.get("last_activity"), zone, told)
    status, control = of_v1.get("status", "active"), of_v1.get("session_control")
    if status not in STATUSES:
        told.append(Told("no_place_in_v1", "sessions", "provider_context"))
    switched_off = not (context.get("auto_archive", True) and context.get("persist_messages", True))
    if switched_off or context.keys() - _OF_CONTEXT:
        told.append(Told("no_place_in_v1", "sessions", "context_data"))
    if metrics.get("session_duration"):
        told.append(Told("no_place_in_v1", "session_metrics", "session_duration"))
    found["status"] = status if status in STATUSES else "active"
    found["session_control"] = (
        control if control in CONTROLS else _CONTROL_OF.get(context.get("backend", ""), "langswarm")
    )
    as_moved = len(returned) == kept.get("messages") and not any(each.is_new for each in returned)
    found["message_count"] = of_v1.get("message_count", len(returned)) if as_moved else len(returned)
    found["total_tokens"] = of_v1["total_tokens"] if "total_tokens" in of_v1 else metrics.get("total_tokens") or 0
    found["tags"] = of_v1.get("tags", [])
    found["custom_metadata"] = _custom(of_v1, told)
    known = {name: found[name] for name in METADATA_KEYS}
    return _ordered(known, noted, values, _usual(found, of_v1))


def _usual(found: Mapping[str, Any], of_v1: Mapping[str, Any]) -> set[str]:
    """Keys that V1's object need not have: those that are what V1 takes them for where they are not there."""
    usual = {name for name in (*_DEFAULTS, "message_count", "total_tokens", "tags") if name not in of_v1}
    return usual | {name for name in ("last_activity", "custom_metadata") if name not in of_v1 and not found[name]}


def _provider(now: str, of_v1: Mapping[str, Any]) -> Any:
    if "provider" in of_v1 and provider_of(of_v1["provider"])[0] == now:
        return of_v1["provider"]
    return _V1_SPELLING.get(now, now)


def _provider_ids(found: dict[str, Any], context: Mapping[str, Any], of_v1: Mapping[str, Any]) -> None:
    """Where V2 has got another provider id since the move, it is V1's new one."""
    now = context.get("provider_session_id")
    before = provider_session_of(
        context["provider"], of_v1.get("provider_thread_id"), of_v1.get("provider_conversation_id")
    )
    if now != (None if before is None else text_of(before)):
        mistral = context["provider"] == "mistral"
        found["provider_conversation_id" if mistral else "provider_thread_id"] = now


def _is_time(value: Any) -> bool:
    try:
        read_time(value)
    except ValueError:
        return False
    return True


def _local(text: Any, column: str, zone: Zone, told: list[Told]) -> str:
    local, code = zone.local(text)
    if code is not None:
        told.append(Told(code, "sessions", column))
    return local


def _time(of_v1: Mapping[str, Any], key: str, now: Any, zone: Zone, told: list[Told]) -> Any:
    """V1's own value where V2's column is still what it becomes, else the column as local time."""
    original = of_v1.get(key)
    try:
        becomes = utc_text(zone.utc(original)[0]) if original else None
    except ValueError:
        becomes = None
    if now == becomes and (original or now is None):
        return original
    return None if now is None else _local(now, key, zone, told)


def _custom(of_v1: Mapping[str, Any], told: list[Told]) -> Any:
    """V1's custom metadata, and in it what the application put into V2's context under names of its own."""
    custom = of_v1.get("custom_metadata", {})
    new = {key: value for key, value in of_v1.items() if key not in _CONTEXT_KEYS}
    if not new:
        return custom
    told.append(Told("no_place_in_v1", "sessions", "provider_context"))
    if not isinstance(custom, dict):
        return custom
    return {**custom, **{key: value for key, value in new.items() if key not in custom}}


def _history(key: str, of_v1: Mapping[str, Any], returned: list[Returned], kept: Mapping[str, Any]) -> dict[str, Any]:
    noted = kept.get("history", {})
    values = json.loads(noted.get("values", "{}"))
    messages: Any = [each.message for each in returned]
    if not messages and "messages" in values:
        messages = values["messages"]
    tokens = of_v1.get("history_total_tokens", 0)
    words, counted = 0, Counter(counted_in(kept))
    for each in returned:
        if each.is_new and counted[each.message["id"]] > 0:
            counted[each.message["id"]] -= 1  # V1 had it before, and its words with it
        elif each.is_new:
            words += len(text_of(each.message["content"]).split())
    if words and isinstance(tokens, (int, float)):
        tokens += words
    known = {
        "session_id": values.get("session_id", key),
        "messages": messages,
        "summary": of_v1.get("summary"),
        "total_tokens": tokens,
        "truncated_at": of_v1.get("truncated_at"),
    }
    usual = {name for name in HISTORY_KEYS[2:] if CONTEXT_FROM_HISTORY[name] not in of_v1}
    return _ordered(known, noted, values, usual | (set() if messages else {"messages"}))


def _ordered(
    known: dict[str, Any], noted: Mapping[str, Any], values: Mapping[str, Any], usual: set[str]
) -> dict[str, Any]:
    """The object in the order that V1's had. Of the keys that it had not, those that are ``usual`` stay away."""
    if not noted:
        return known
    keys = json.loads(noted["keys"]) if "keys" in noted else list(known)
    made = {name: known[name] if name in known else values[name] for name in keys if name in known or name in values}
    made.update((name, value) for name, value in known.items() if name not in made and name not in usual)
    return made
