"""One message, from V1's list to V2's row and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sessionlift.converters.langswarm._columns import MESSAGE_KEYS, OUR_KEY, TOOL_KEYS
from sessionlift.converters.langswarm._reading import ROLES
from sessionlift.converters.langswarm._row import Unreadable
from sessionlift.converters.langswarm._zone import TICK, Zone, utc_text

_SURROGATE = re.compile("[\ud800-\udfff]")
_TAKEN = frozenset((*TOOL_KEYS, OUR_KEY))


class MessageCells(NamedTuple):
    """A row of V2's ``session_messages``, in the order of its columns, ``id`` left out."""

    session_id: str
    message_id: str
    role: str
    content: str
    timestamp: str
    metadata: str | None
    provider_message_id: str | None
    token_count: int | None
    finish_reason: str | None


class Told(NamedTuple):
    """A loss of one cell, before losses are counted."""

    code: str
    table: str
    column: str


def text_of(value: Any) -> str:
    """What V2 stores of a value in a text column."""
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATE.sub("\ufffd", value)
    return "" if value is None else json.dumps(value)


def stored(value: Any, table: str, column: str, told: list[Told]) -> str:
    """``text_of`` a value, and the loss where that is not the value itself."""
    text = text_of(value)
    if not isinstance(value, str):
        told.append(Told("value_reshaped", table, column))
    elif text != value:
        told.append(Told("text_surrogate", table, column))
    return text


def forward_message(
    key: str, message: Mapping[str, Any], zone: Zone, last: datetime | None, told: list[Told]
) -> tuple[MessageCells, datetime]:
    """The row of ``message``, whose time comes after ``last``, and that time. Losses are added to ``told``.

    Raises Unreadable where no time is left.
    """
    our: dict[str, Any] = {"timestamp": message["timestamp"]}
    time, code = zone.utc(message["timestamp"])
    if code is not None:
        told.append(Told(code, "session_messages", "timestamp"))
    if last is not None and time <= last:
        if last == datetime.max:
            raise Unreadable("time_out_of_range", "V2 orders messages by time, and the years end before the list does")
        time = last + TICK
        our["moved_to"] = utc_text(time)
        told.append(Told("time_shifted", "session_messages", "timestamp"))
    message_id = _original(message["id"], "id", "message_id", our, told)
    content = message["content"]
    text = text_of(content)
    if not isinstance(content, str) or text != content:
        our["content"] = content
        code = "content_surrogate" if isinstance(content, str) else "content_reshaped"
        told.append(Told(code, "session_messages", "content"))
    provider_id = message.get("provider_message_id")
    if provider_id is not None:
        provider_id = _original(provider_id, "provider_message_id", "provider_message_id", our, told)
    metadata = message.get("metadata", {})
    made: dict[str, Any] = {}
    if isinstance(metadata, dict) and _TAKEN.isdisjoint(metadata):
        made.update(metadata)
    else:
        our["metadata"] = metadata
        told.append(Told("message_metadata_wrapped", "session_messages", "metadata"))
    for name in TOOL_KEYS:
        if message.get(name) is not None:
            made[name] = message[name]
    keys = tuple(message)
    if keys != MESSAGE_KEYS:
        our["keys"] = list(keys)
        extra = {name: value for name, value in message.items() if name not in MESSAGE_KEYS}
        if extra:
            our["extra"] = extra
    made[OUR_KEY] = our
    cells = MessageCells(
        key, message_id, message["role"], text, utc_text(time), json.dumps(made), provider_id, None, None
    )
    return cells, time


def _original(value: Any, name: str, column: str, our: dict[str, Any], told: list[Told]) -> str:
    text = stored(value, "session_messages", column, told)
    if not isinstance(value, str) or text != value:
        our[name] = value
    return text


class Returned(NamedTuple):
    """A message in V1's shape, and whether V2 wrote it (so that no move had made its row)."""

    message: dict[str, Any]
    is_new: bool


def backward_message(cells: MessageCells, zone: Zone, told: list[Told]) -> Returned:
    """V1's message for a row as it is now. What V1 has no place for is added to ``told``.

    Raises ValueError where V2 itself could not read the row.
    """
    for column in ("token_count", "finish_reason"):
        if getattr(cells, column) is not None:
            told.append(Told("no_place_in_v1", "session_messages", column))
    if cells.role not in ROLES:
        raise ValueError(f"no role of V1: {cells.role!r}")
    metadata = json.loads(cells.metadata) if cells.metadata else {}
    our = our_of(metadata)
    plain = (
        {name: value for name, value in metadata.items() if name not in TOOL_KEYS and (our is None or name != OUR_KEY)}
        if isinstance(metadata, dict)
        else metadata
    )
    tools = metadata if isinstance(metadata, dict) else {}
    fields = {
        "id": cells.message_id,
        "role": cells.role,
        "content": cells.content,
        "timestamp": "",
        "metadata": plain,
        "tool_calls": tools.get("tool_calls"),
        "tool_call_id": tools.get("tool_call_id"),
        "provider_message_id": cells.provider_message_id,
    }
    if our is None:
        fields["timestamp"] = _local(cells.timestamp, zone, told)
        return Returned(fields, True)
    fields["timestamp"] = _time(cells.timestamp, our, zone, told)
    for name, column in (("id", "message_id"), ("content", "content"), ("provider_message_id", "provider_message_id")):
        if name in our and text_of(our[name]) == getattr(cells, column):
            fields[name] = our[name]
    if "metadata" in our:
        fields["metadata"] = _unwrapped(our["metadata"], plain)
    return Returned(_ordered(fields, our), False)


def our_of(metadata: Any) -> dict[str, Any] | None:
    """What a move put under our key; None for a message that V2 wrote."""
    found = metadata.get(OUR_KEY) if isinstance(metadata, dict) else None
    if not isinstance(found, dict) or not isinstance(found.get("timestamp"), str):
        return None
    return found


def _local(text: Any, zone: Zone, told: list[Told]) -> str:
    local, code = zone.local(text)
    if code is not None:
        told.append(Told(code, "session_messages", "timestamp"))
    return local


def _time(text: str, our: dict[str, Any], zone: Zone, told: list[Told]) -> str:
    original: str = our["timestamp"]
    try:
        same = text in (our.get("moved_to"), utc_text(zone.utc(original)[0]))
    except ValueError:
        same = False
    return original if same else _local(text, zone, told)


def _unwrapped(original: Any, plain: Any) -> Any:
    """Wrapped metadata, with what the application has added to the row's since."""
    if not plain:
        return original
    return {**original, **plain} if isinstance(original, dict) and isinstance(plain, dict) else plain


def _ordered(fields: dict[str, Any], our: dict[str, Any]) -> dict[str, Any]:
    """The fields in the order that V1's message had, with its other keys, and what it had not but has now."""
    keys, extra = our.get("keys"), our.get("extra")
    if not isinstance(keys, list):
        return fields
    extra = extra if isinstance(extra, dict) else {}
    made = {}
    for name in keys:
        if name in fields:
            made[name] = fields[name]
        elif name in extra:
            made[name] = extra[name]
    for name in MESSAGE_KEYS:
        if name not in made and (name not in ("metadata", *TOOL_KEYS, "provider_message_id") or fields[name]):
            made[name] = fields[name]
    return made
