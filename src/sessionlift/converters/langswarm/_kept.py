"""What V2 alone could hold of a session that was taken back: kept, and given back by the next move forward."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sessionlift.converters._backward import KEPT, WAITING, GivenBack
from sessionlift.converters.langswarm._columns import (
    CONTEXT_FROM_HISTORY,
    CONTEXT_FROM_METADATA,
    OUR_KEY,
    V2_COLUMNS,
)
from sessionlift.converters.langswarm._message import MessageCells, Told, forward_message, our_of
from sessionlift.converters.langswarm._reading import Parsed
from sessionlift.converters.langswarm._row import Unreadable, cell_from_json, json_cell
from sessionlift.converters.langswarm._session import Moved, SessionRows
from sessionlift.converters.langswarm._zone import TICK, Zone, utc_text

Kept = Mapping[str, Any]
Path = tuple[str, ...]
"""Where a value of a session stands: its table, its column, and the keys in the column's JSON."""
COUNTED = "counted"
"""The key under which stand the ids of V2's own messages whose words V1's counter has already."""

_CONTEXT: Path = ("sessions", "context_data")
_OF_V1: Path = (*_CONTEXT, "provider_context")
_CUSTOM: Path = (*_OF_V1, "custom_metadata")
_OBJECTS = (_OF_V1, _CUSTOM)
_ROOM: Path = (*_CONTEXT, "max_messages")
_WORDS: Path = (*_OF_V1, CONTEXT_FROM_HISTORY["total_tokens"])
_FILLED = ("token_count", "finish_reason")
_NOTHING: Any = object()
_IN_V1 = frozenset(
    [
        *((*_CONTEXT, name) for name in ("session_id", "user_id", "provider", "model", "provider_session_id")),
        _ROOM,
        *((*_OF_V1, name) for name in (*CONTEXT_FROM_METADATA, *CONTEXT_FROM_HISTORY.values())),
    ]
) - {(*_OF_V1, "status"), (*_OF_V1, "session_control")}
"""Values that V1 has a place for: what V1 has written there since is what they are now, and nothing is lost by that."""
_METRICS = {("session_metrics", "session_duration"), ("session_metrics", "total_tokens")}
_BACKEND = ("sessions", "backend")


# --- what is kept


def kept_of(
    rows: SessionRows,
    again: SessionRows | None,
    messages: list[Any],
    made: str,
    before: Mapping[str, Any],
) -> dict[str, Any] | None:
    """What of ``rows`` would not come again with the move of V1's row that gives ``again``; None if all would.

    ``messages`` are V1's, and ``made`` is the digest of its row. ``before`` is the session's complement as it is: what
    waits there goes on waiting, unless V2 has written something else in that place since.
    """
    now = _values(rows)
    own = [] if again is None else _own(rows, again)
    waiting = _still_waiting((before.get(KEPT) or {}).get(WAITING, {}), now, {tuple(path) for path, *_ in own})
    if again == rows and not waiting:
        return None
    found: dict[str, Any] = {
        "made": made,
        "session": list(map(json_cell, rows.session)),
        "metrics": None if rows.metrics is None else list(map(json_cell, rows.metrics)),
        "messages": [
            [digest_of(each), *map(json_cell, now)] for each, now in zip(messages, rows.messages, strict=True)
        ],
        "values": own,
    }
    counted = counted_in(before)
    if counted:
        found[COUNTED] = counted
    if waiting:
        found[WAITING] = waiting
    return found


def counted_in(complement: Mapping[str, Any]) -> list[str]:
    """The ids of V2's own messages whose words V1's counter has, one for each message."""
    found: list[str] = complement.get(COUNTED, (complement.get(KEPT) or {}).get(COUNTED, []))
    return found


def _still_waiting(waiting: Mapping[str, Any], now: Mapping[Path, str], own: set[Path]) -> dict[str, Any]:
    values = [
        [path, was, value, stands]
        for path, was, value, stands in waiting.get("values", ())
        if tuple(path) not in own and now.get(tuple(path)) == stands
    ]
    messages = list(waiting.get("messages", ()))
    return {**({"values": values} if values else {}), **({"messages": messages} if messages else {})}


def _own(rows: SessionRows, again: SessionRows) -> list[list[Any]]:
    """Path, what a move makes, what V2 has (JSON texts; None for nothing), of each value that V1 does not give."""
    now, mine, theirs = _values(rows), _opened(rows), _opened(again)
    every = [(path, _at(theirs, path), _at(mine, path)) for path in dict.fromkeys((*now, *_values(again)))]
    return [
        [list(path), was, value]
        for path, was, value in every
        if was != value and _comes_back(path, path in now) and _has_room(mine, path)
    ]


def _has_room(cells: Mapping[Path, Any], path: Path) -> bool:
    """False for a value in an object that V2 does not have, or has as something else: what V1 has there, stands."""
    return len(path) <= len(_CONTEXT) or isinstance(_found(cells, path[:-1]), dict)


def _opened(rows: SessionRows) -> dict[Path, Any]:
    """The cells of the session's own two rows, with what its context holds in place of its text."""
    cells = _columns(rows)
    return {**cells, _CONTEXT: json.loads(cells[_CONTEXT])}


def _found(cells: Mapping[Path, Any], path: Path) -> Any:
    value = cells.get(path[: len(_CONTEXT)], _NOTHING)
    for key in path[len(_CONTEXT) :]:
        value = value.get(key, _NOTHING) if isinstance(value, dict) else _NOTHING
    return value


def _at(cells: Mapping[Path, Any], path: Path) -> str | None:
    """The value at ``path``, which may be a whole object, as JSON text; None where there is none."""
    value = _found(cells, path)
    return None if value is _NOTHING else json.dumps(json_cell(value))


def _comes_back(path: Path, is_there: bool) -> bool:
    """Whether V2's value is given back: where V1 has a place for it, V1's stands, whatever V2 had.

    But V1's custom metadata hold what V2 had in its own context, and V1 counts the words of V2's messages.
    """
    if path == _WORDS or path[: len(_CUSTOM)] == _CUSTOM:
        return True
    return is_there and (path in (_ROOM, _BACKEND) or _is_v2s(path))


def _values(rows: SessionRows) -> dict[Path, str]:
    """Every value of the session's own two rows, as JSON text: two equal numbers of other kinds are not the same."""
    found = {path: json_cell(cell) for path, cell in _columns(rows).items()}
    level, value = _CONTEXT, json.loads(found.pop(_CONTEXT))
    for inner in (*_OBJECTS, None):
        found.update({(*level, key): each for key, each in value.items() if (*level, key) != inner})
        if inner is None or inner[-1] not in value:
            break
        if not isinstance(value[inner[-1]], dict):
            if value[inner[-1]] is not None:  # else V2 takes it for one that is not there
                found[inner] = value[inner[-1]]
            break
        level, value = inner, value[inner[-1]]
    return {path: json.dumps(each) for path, each in found.items()}


# --- what is given back


def give_back(moved: Moved, parsed: Parsed, kept: Kept, zone: Zone, *, as_made: bool) -> None:
    """Put V2's own values where V1 still has what was made of them; ``as_made``: V1 has not changed the row since.

    What V1 has changed since, stands: a value of V2's that has no place beside it is told, and waits.
    """
    plain, given = moved.rows, GivenBack()
    waiting = kept.get(WAITING, {})
    counted = list(kept.get(COUNTED, ()))
    if as_made:
        metrics = None if kept["metrics"] is None else tuple(map(cell_from_json, kept["metrics"]))
        rows = [_cells(each) for each in kept["messages"]]
        moved.rows = SessionRows(tuple(map(cell_from_json, kept["session"])), rows, metrics)
        for each in waiting.get("messages", ()):
            _message_waits(given, each)
        for path, *more in waiting.get("values", ()):
            _value_waits(given, plain.session[0], path, *more)
    else:
        moved.rows = replace(plain, messages=_messages(moved, parsed, kept, given))
        theirs = _own_ids(moved.rows.messages)
        # where not all of V2's messages are there as they were, V1's counter is the one that is right
        words = theirs == _own_ids([_cells(each) for each in kept["messages"]])
        if not _session(moved, kept, given, words=words):
            counted = theirs
    if counted or kept.get(COUNTED):
        moved.complement[COUNTED] = counted
    given.done = int(moved.rows != plain)
    moved.given = given
    moved.losses = _losses(moved, plain, parsed, zone)


def _cells(entry: list[Any]) -> MessageCells:
    return MessageCells(*map(cell_from_json, entry[1:]))


def _own_ids(rows: list[MessageCells]) -> list[str]:
    return sorted(each.message_id for each in rows if _key(each) is None)


def _messages(moved: Moved, parsed: Parsed, kept: Kept, given: GivenBack) -> list[MessageCells]:
    """The rows of V1's messages, in its order: V2's own where it still has them."""
    entries = list(kept["messages"])
    entries += [each for each in kept.get(WAITING, {}).get("messages", ()) if each not in entries]
    known: dict[str, list[int]] = {}
    for place in reversed(range(len(entries))):
        known.setdefault(entries[place][0], []).append(place)
    messages, last = [], ""
    for message, made in zip(parsed.messages, moved.rows.messages, strict=True):
        same = known.get(digest_of(message))
        now = _cells(entries[same.pop()]) if same else made
        if now.timestamp <= last:
            # another message stands before it now, and V2 orders by this text: V1's time is noted, as of any that moved
            now = made._replace(token_count=now.token_count, finish_reason=now.finish_reason)
            now = after(now, last) if now.timestamp <= last else now
        messages.append(now)
        last = now.timestamp
    for place in sorted(place for places in known.values() for place in places):
        _message_waits(given, entries[place])
    return messages


def _message_waits(given: GivenBack, entry: list[Any]) -> None:
    """Keep what V2 had of a message that V1 has changed or deleted, if V1 has no place for it."""
    cells = _cells(entry)
    filled = [column for column in _FILLED if getattr(cells, column) is not None]
    if filled:
        given.waits("session_messages", filled[0], cells.message_id).setdefault("messages", []).append(entry)


def _session(moved: Moved, kept: Kept, given: GivenBack, *, words: bool) -> bool:
    """Give the session's own rows their values; True where V1's counter of words is V2's again."""
    own, there = kept.get("values", ()), _opened(moved.rows)
    paths = {tuple(path) for path, *_ in own}
    old = [each[:3] for each in kept.get(WAITING, {}).get("values", ()) if tuple(each[0]) not in paths]
    back: dict[Path, str | None] = {}
    for each, was, value in (*own, *old):
        path = tuple(each)
        stands = _at(there, path)
        if path == _ROOM:
            if _is_more(value, stands):
                back[path] = value
        elif path != _WORDS or words:
            if stands == was:
                back[path] = value
            elif stands != value and _is_v2s(path):
                _value_waits(given, moved.rows.session[0], each, was, value, stands)
    moved.rows = _with(moved.rows, back)
    return _WORDS in back


def _is_more(value: str | None, than: str | None) -> bool:
    """Whether V2 had more room for messages than a move leaves: with less, its next send would delete some."""
    some, other = json.loads(value or "null"), json.loads(than or "null")
    return isinstance(some, int) and isinstance(other, int) and some > other


def _is_v2s(path: Path) -> bool:
    """Whether V1 has no place for such a value."""
    return path in _METRICS or (path[:2] == _CONTEXT and path not in _IN_V1 and path[: len(_CUSTOM)] != _CUSTOM)


def _value_waits(given: GivenBack, key: str, path: list[str], was: Any, value: Any, stands: Any) -> None:
    waiting = given.waits(path[0], path[1], key)
    waiting.setdefault("values", []).append([path, was, value, stands])


def _with(rows: SessionRows, back: Mapping[Path, str | None]) -> SessionRows:
    cells = _opened(rows)
    context = cells[_CONTEXT]
    for path, text in back.items():
        if len(path) == len(_CONTEXT):
            if path in cells and text is not None:
                cells[path] = cell_from_json(json.loads(text))
            continue
        holder: Any = context
        for key in path[len(_CONTEXT) : -1]:
            holder = holder.setdefault(key, {}) if isinstance(holder, dict) else None
        if not isinstance(holder, dict):
            continue  # something else stands there, which is given back as a whole or not at all
        if text is None:
            holder.pop(path[-1], None)
        else:
            holder[path[-1]] = json.loads(text)
    touched = any(len(path) > len(_CONTEXT) for path in back)
    cells[_CONTEXT] = json.dumps(context) if touched else _columns(rows)[_CONTEXT]
    found = {table: tuple(cell for (of, *_), cell in cells.items() if of == table) for table in V2_COLUMNS}
    return replace(rows, session=found["sessions"], metrics=found["session_metrics"] or None)


# --- what is lost of the rows as they are now


def _losses(moved: Moved, plain: SessionRows, parsed: Parsed, zone: Zone) -> list[Told]:
    """The losses of those rows that a move makes of V1's; what V2 itself has written has none."""
    made, now = _columns(plain), _columns(moved.rows)
    found = [
        told for told in moved.losses if told.table != "session_messages" and made.get(told[1:]) == now.get(told[1:])
    ]
    for message, cells in zip(parsed.messages, moved.rows.messages, strict=True):
        our = _key(cells)
        if our is None:
            continue
        told: list[Told] = []
        row, _ = forward_message(cells.session_id, message, zone, None, told)
        shifted = cells.timestamp == our.get("moved_to")
        ours = shifted or cells.timestamp == row.timestamp
        found += [each for each in told if ours or each.column != "timestamp"]
        if shifted:
            found.append(Told("time_shifted", "session_messages", "timestamp"))
    return found


def _columns(rows: SessionRows) -> dict[Path, Any]:
    """The cells of the session's own two rows; it need not have both."""
    both = (("sessions", rows.session), ("session_metrics", rows.metrics or ()))
    return {(table, name): cell for table, cells in both for name, cell in zip(V2_COLUMNS[table], cells, strict=False)}


def after(cells: MessageCells, last: str) -> MessageCells:
    """The row with the first time after ``last``, noted under our key as any other time that had to move.

    Raises Unreadable where no time is left.
    """
    try:
        time = utc_text(datetime.fromisoformat(last) + TICK)
    except OverflowError:
        raise Unreadable("time_out_of_range", "V2 orders messages by time, and no time is left behind these") from None
    metadata = json.loads(cells.metadata or "{}")
    our = metadata.get(OUR_KEY) if isinstance(metadata, dict) else None
    if not isinstance(our, dict):
        return cells._replace(timestamp=time)
    our["moved_to"] = time
    return cells._replace(timestamp=time, metadata=json.dumps(metadata))


def digest_of(message: Any) -> str:
    """The digest by which one of V1's messages is known again."""
    return hashlib.sha256(json.dumps(message).encode()).hexdigest()


def _key(cells: MessageCells) -> dict[str, Any] | None:
    return our_of(json.loads(cells.metadata)) if cells.metadata else None
