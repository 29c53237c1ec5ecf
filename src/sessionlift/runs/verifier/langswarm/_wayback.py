"""The complement of a session, worked out again: what it must hold so that V1's cells come back text for text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sessionlift.runs.verifier.langswarm._reading import HISTORY, MESSAGE, METADATA
from sessionlift.runs.verifier.langswarm._rules import OURS, text_of_value
from sessionlift.runs.verifier.langswarm._store import BadText, Cell, plain_cell
from sessionlift.runs.verifier.langswarm._times import isoformat

_TEXT_COLUMNS = ("user_id", "provider", "model", "status", "session_control")
_OF_CONTEXT = {name: name for name in METADATA if name not in ("user_id", "session_id", "model")}
_OF_HISTORY = {"summary": "summary", "truncated_at": "truncated_at", "total_tokens": "history_total_tokens"}


def complement_of(
    key: str,
    metadata: Mapping[str, Any],
    history: Mapping[str, Any],
    zone: str,
    found: tuple[Mapping[str, Any], Sequence[tuple[Any, ...]]],
    cells: Mapping[str, Cell],
    *,
    whole: bool,
) -> dict[str, Any]:
    """What the complement must be.

    ``found`` is the parsed context_data and the messages as the target has them; ``cells`` are the source's. Of a
    session whose history was salvaged (not ``whole``), nothing of the history comes back text for text.

    Raises KeyError, TypeError or ValueError where the target's rows do not give what they must.
    """
    context, messages = found
    needed: dict[str, Any] = {"zone": zone, "messages": len(messages)}
    values = {name: metadata[name] for name in ("user_id", "model") if text_of_value(metadata[name]) != metadata[name]}
    if metadata["session_id"] != key:
        values["session_id"] = metadata["session_id"]
    values.update({name: value for name, value in metadata.items() if name not in METADATA})
    _note(needed, "metadata", metadata, METADATA, values)
    made: dict[str, Cell] = {}
    back = _metadata(key, context, tuple(metadata), values)
    made["metadata"] = json.dumps(back)
    if whole:
        other = {name: value for name, value in history.items() if name not in HISTORY}
        if history["session_id"] != key:
            other["session_id"] = history["session_id"]
        if "messages" in history and not isinstance(history["messages"], list):
            other["messages"] = history["messages"]
        _note(needed, "history", history, HISTORY, other)
        made["history"] = json.dumps(_history(key, context, messages, tuple(history), other))
    made.update(_columns(key, back))
    odd = {
        name: {"cell": plain_cell(cell), "made": _digest(made[name])}
        for name, cell in cells.items()
        if name in made and (type(made[name]) is not type(cell) or made[name] != cell)
    }
    if odd:
        needed["cells"] = odd
    return needed


def _note(
    needed: dict[str, Any], name: str, value: Mapping[str, Any], usual: tuple[str, ...], values: Mapping[str, Any]
) -> None:
    noted = {}
    if tuple(value) != usual:
        noted["keys"] = json.dumps(list(value))
    if values:
        noted["values"] = json.dumps(values)
    if noted:
        needed[name] = noted


def _metadata(key: str, context: Mapping[str, Any], keys: Sequence[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """V1's metadata out of V2's context, and what the context does not give."""
    kept = context["provider_context"]
    back: dict[str, Any] = {}
    for name in keys:
        if name in values:
            back[name] = values[name]
        elif name == "session_id":
            back[name] = key
        elif name in ("user_id", "model"):
            back[name] = context[name]
        else:
            back[name] = kept[_OF_CONTEXT[name]]
    return back


def _history(
    key: str,
    context: Mapping[str, Any],
    messages: Sequence[tuple[Any, ...]],
    keys: Sequence[str],
    values: Mapping[str, Any],
) -> dict[str, Any]:
    kept = context["provider_context"]
    back: dict[str, Any] = {}
    for name in keys:
        if name in values:
            back[name] = values[name]
        elif name == "session_id":
            back[name] = key
        elif name == "messages":
            back[name] = [_message(row) for row in messages]
        else:
            back[name] = kept[_OF_HISTORY[name]]
    return back


def _message(row: tuple[Any, ...]) -> dict[str, Any]:
    """V1's message out of a row of session_messages."""
    _, message_id, role, content, _, metadata, provider_id, _, _ = row
    members = json.loads(metadata)
    ours = members.pop(OURS)
    plain = {
        "id": message_id,
        "role": role,
        "content": content,
        "timestamp": ours["timestamp"],
        "tool_calls": members.pop("tool_calls", None),
        "tool_call_id": members.pop("tool_call_id", None),
        "metadata": members,
        "provider_message_id": provider_id,
    }
    extra = ours.get("extra", {})
    originals = {name: ours[name] for name in ("id", "content", "provider_message_id", "metadata") if name in ours}
    return {name: {**plain, **originals, **extra}[name] for name in ours.get("keys", MESSAGE)}


def _columns(key: str, metadata: Mapping[str, Any]) -> dict[str, Cell]:
    """The columns as V1 writes them beside this metadata; texts, for what it could not have written."""
    columns: dict[str, Cell] = {"session_id": key}
    for name in _TEXT_COLUMNS:
        value = metadata[name]
        columns[name] = None if value is None else text_of_value(value)
    for name in ("created_at", "updated_at", "last_activity"):
        value = metadata.get(name)
        columns[name] = isoformat(value) if value else None
    return columns


def _digest(cell: Cell) -> str:
    """The digest of a cell, in the form that it has in a source digest."""
    if cell is None:
        return hashlib.sha256(b"~").hexdigest()
    if isinstance(cell, (bytes, BadText)):
        return hashlib.sha256(b"x%d:%b" % (len(cell), cell)).hexdigest()
    data = str(cell).encode("utf-8", "surrogatepass")
    return hashlib.sha256(b"%d:%b" % (len(data), data)).hexdigest()
