"""Shadow reads of LangSwarm sessions: V1's answer beside those that the new store would give."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sessionlift.bridge.langswarm._legacy_side import LegacySide
from sessionlift.bridge.langswarm._new_store import Stored
from sessionlift.converters.langswarm import V2_COLUMNS, MessageCells, SessionRows, backward, text_of
from sessionlift.runs import Converted


class ShadowCompare:
    """What both APIs would say of a session once it has moved, against V1's own two JSON texts.

    Fields: ``metadata.…`` and ``history.…`` of the old API, ``messages`` (how many) and ``messages.…``, and of the new
    API ``new_api.role`` and ``new_api.content``. Each with the first difference.
    """

    def __init__(self, legacy: LegacySide) -> None:
        self._legacy = legacy

    def __call__(self, converted: Converted) -> Mapping[str, Any]:
        truth = self._legacy.documents(converted.session_id)
        if truth is None or converted.unit.state == "partial":
            return {}  # gone meanwhile; or V1 itself has no answer
        rows = _rows_of(converted)
        cells = backward(rows, converted.unit.complement, self._legacy.options.timezone).cells
        found: dict[str, Any] = {}
        for name, field, was, now in _differences(truth, (json.loads(cells["metadata"]), json.loads(cells["history"]))):
            found.setdefault(f"{name}.{field}" if field else name, {"legacy": was, "new": now})
        shown = Stored.of_rows(rows).messages
        for was, message in zip(truth[1].get("messages") or [], shown, strict=False):
            if was["role"] != message.role.value:
                found.setdefault("new_api.role", {"legacy": was["role"], "new": message.role.value})
            if text_of(was["content"]) != message.content:
                found.setdefault("new_api.content", {"legacy": was["content"], "new": message.content})
        return found


Pair = tuple[dict[str, Any], dict[str, Any]]


def _differences(truth: Pair, made: Pair) -> Iterator[tuple[str, str, Any, Any]]:
    (metadata, history), (new_metadata, new_history) = truth, made
    yield from _fields("metadata", metadata, new_metadata)
    messages, new_messages = history.get("messages") or [], new_history.get("messages") or []
    yield from _fields("history", {**history, "messages": None}, {**new_history, "messages": None})
    if len(messages) != len(new_messages):
        yield "messages", "", len(messages), len(new_messages)
    for was, now in zip(messages, new_messages, strict=False):
        yield from _fields("messages", was, now)


def _fields(name: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, Any]]:
    for field in {**was, **now}:
        # as text: NaN is not equal to itself, and 1 is not True
        if json.dumps(was.get(field)) != json.dumps(now.get(field)):
            yield name, field, was.get(field), now.get(field)


def _rows_of(converted: Converted) -> SessionRows:
    def rows(table: str) -> list[tuple[Any, ...]]:
        return [tuple(row[column] for column in V2_COLUMNS[table]) for row in converted.rows.get(table, [])]

    metrics = rows("session_metrics")
    return SessionRows(
        rows("sessions")[0], [MessageCells(*row) for row in rows("session_messages")], metrics[0] if metrics else None
    )
