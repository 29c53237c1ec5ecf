"""A session that went on in V1 and in V2 since it moved: laid together, or told as a conflict."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sessionlift.converters._batch import SESSION, Quarantined, Unit
from sessionlift.converters._continue import Continued, OnConflict, Rows
from sessionlift.converters._digest import TargetDigests
from sessionlift.converters.langswarm._columns import OUR_KEY, ROOM, SESSION_TABLES, V2_COLUMNS
from sessionlift.converters.langswarm._context import read_context
from sessionlift.converters.langswarm._kept import after
from sessionlift.converters.langswarm._message import MessageCells, backward_message
from sessionlift.converters.langswarm._row import Unreadable
from sessionlift.converters.langswarm._session import SessionRows
from sessionlift.converters.langswarm._target import read_session
from sessionlift.converters.langswarm._zone import Zone, utc_text, zone_named
from sessionlift.stores import Store

_COUNTED = ("updated_at", "last_activity", "message_count", "total_tokens", "history_total_tokens")
"""What V1 writes with each message; nothing of V2 does."""

_OF_MOVES = ("max_messages",)


@dataclass(frozen=True)
class Sides:
    """``now``: the session as V2 has it. ``again``: as a move of what V1 has would write it.

    ``moved``: how many messages the last move wrote; ``digest``: of the rows that it wrote.
    """

    now: SessionRows
    again: SessionRows
    moved: int
    digest: str
    zone: str


def continue_session(
    store: Store,
    session_id: str,
    *,
    again: Rows,
    unit: Unit,
    complement: Mapping[str, Any],
    target_digest: str,
    on_conflict: OnConflict,
) -> Continued | None:
    """See ``converters.Continuation``."""
    now = read_session(store, session_id)
    if now is None:
        return None
    if unit.state == "quarantined":
        return Continued(
            conflict="the legacy side cannot be read any more", mend="mend its row there, or take the session back"
        )
    rows = SessionRows(
        tuple(again["sessions"][0].values()),
        [MessageCells(**each) for each in again.get("session_messages", [])],
        tuple(again["session_metrics"][0].values()),
    )
    sides = Sides(now, rows, int(complement.get("messages", 0)), target_digest, str(complement.get("zone", "UTC")))
    try:
        return lay_together(sides, on_conflict)
    except (ValueError, RecursionError) as error:
        return Continued(
            conflict=f"the new store's side cannot be read: {error}",
            mend="the application cannot read it either; mend its row in the new store",
        )
    except Unreadable as unreadable:
        return Continued(
            conflict=f"what the legacy side has added cannot follow what is there: {unreadable.reason}",
            mend="mend the time of the new store's last message",
        )


def lay_together(sides: Sides, on_conflict: OnConflict) -> Continued:
    """What the new store gets of the legacy side's changes; pure.

    V1 only appends to its list. A list that begins with the messages that both sides have, those that moved still
    whole in V2, goes on with a tail: it is appended where V2 has written nothing itself. Of the session's own values,
    V1's are taken where V2 changed none; where it did, only those that nothing of V2 writes. Everything else is a
    conflict.

    Raises ValueError, in words, where V2 itself cannot read what it has; RecursionError where that is nested too
    deeply; Unreadable where V1's messages cannot stand behind V2's.
    """
    zone = zone_named(sides.zone)
    again = [_as_v1(each, zone) for each in sides.again.messages]
    ours, new = _both_have(sides.now.messages, again, zone)
    shared = [_as_v1(each, zone) for each in ours]
    lists_go_on = len(ours) >= sides.moved and shared == again[: len(ours)]
    tail = sides.again.messages[len(ours) :] if lists_go_on else _missing(shared, sides.again.messages, again)
    # after a first catch-up the ledger's digest is of rows as V1's list gives them, and not as they were appended
    listed = sides.again.messages[: sides.moved] if lists_go_on else None
    values, against = _values(sides, ours[: sides.moved], listed)
    conflict = _told(lists_go_on, bool(tail and new), against)
    found = Continued(legacy_tail=[_shown(each) for each in tail], new_tail=[_shown(each) for each in new])
    if conflict and on_conflict == "raise":
        found.conflict = conflict
        return found
    if conflict and on_conflict == "keep_new":
        found.quarantine = [_kept(sides, each, place) for place, each in enumerate(tail)]
        if against:
            found.quarantine.append(_kept_values(sides))
        found.renew = False
        return found
    if against:
        found.quarantine.append(_kept_values(sides))
    last = sides.now.messages[-1].timestamp if sides.now.messages else ""
    if not isinstance(last, str):
        raise ValueError(f"the time of its last message is no text: {last!r}")
    for each in tail:
        cells = each if each.timestamp > last else after(each, last)
        last = cells.timestamp
        found.appended.setdefault("session_messages", []).append(cells._asdict())
    found.changed = values
    total = len(sides.now.messages) + len(tail)
    found.changed.setdefault("session_metrics", {})["message_count"] = total
    _make_room(found.changed, sides, total)
    return found


def _told(lists_go_on: bool, both_grew: bool, against: list[str]) -> str:
    if both_grew:
        return "messages were added on both sides"
    if not lists_go_on:
        return "the legacy list does not begin with the messages that moved and are still here"
    return f"both sides changed {', '.join(against)}" if against else ""


def _values(
    sides: Sides, ours: list[MessageCells], listed: list[MessageCells] | None
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The columns of the session's own rows that V1 changes, by table; and the fields in which V2 has changed too."""
    now = dict(zip(V2_COLUMNS["sessions"], sides.now.session, strict=True))
    again = dict(zip(V2_COLUMNS["sessions"], sides.again.session, strict=True))
    metrics = dict(zip(V2_COLUMNS["session_metrics"], sides.again.metrics or (), strict=False))
    before = dict(zip(V2_COLUMNS["session_metrics"], sides.now.metrics or (), strict=False))
    times = {"updated_at": max(str(now["updated_at"]), str(again["updated_at"]))}
    active = max(str(before.get("last_activity") or ""), str(metrics.get("last_activity") or ""))
    mine, of_mine = read_context(now["context_data"])
    tokens = int(metrics.get("total_tokens") or 0) + _tokens_of_v2(sides, of_mine)
    counted = {"last_activity": active or None, "total_tokens": tokens}
    if _untouched(sides, ours) or (listed is not None and _untouched(sides, listed)):
        columns = {name: again[name] for name in ("user_id", "provider", "model", "backend", "context_data")}
        return {"sessions": {**columns, **times}, "session_metrics": counted}, []
    theirs, of_theirs = read_context(again["context_data"])
    against = [
        name for name in theirs if name not in (*_OF_MOVES, "provider_context") and mine.get(name) != theirs[name]
    ]
    against += [
        name for name in of_theirs if name not in _COUNTED and (name not in of_mine or of_mine[name] != of_theirs[name])
    ]
    merged = {**of_mine, **{name: of_theirs[name] for name in _COUNTED if name in of_theirs}}
    context = json.dumps({**mine, "provider_context": merged})
    return {"sessions": {"context_data": context, **times}, "session_metrics": counted}, against


def _tokens_of_v2(sides: Sides, of_mine: Mapping[str, Any]) -> int:
    """The tokens that V2 has counted since V1's total came over, which V1 knows nothing of."""
    total = dict(zip(V2_COLUMNS["session_metrics"], sides.now.metrics or (), strict=False)).get("total_tokens")
    counted = _whole(total) - _whole(of_mine.get("total_tokens"))
    return max(counted, sum(_whole(each.token_count) for each in sides.now.messages if _our(each) is None))


def _whole(value: Any) -> int:
    """A number of V2's, in whose columns SQLite holds anything; 0 where it is none."""
    if isinstance(value, float) and math.isfinite(value):
        return int(value)
    return value if isinstance(value, int) else 0


def _untouched(sides: Sides, ours: list[MessageCells]) -> bool:
    """Whether V2 changed none of the session's own values, but for what each new message changes: taken back, the
    rows have the digest of those that moved."""
    session = dict(zip(V2_COLUMNS["sessions"], sides.now.session, strict=True))
    metrics = dict(zip(V2_COLUMNS["session_metrics"], sides.now.metrics or (), strict=False))
    if not metrics:
        return False
    try:
        held = json.loads(str(session["context_data"]))
        context = held["provider_context"]
        room = sides.moved + ROOM
        if 0 < held["max_messages"] - room <= len(sides.now.messages) - sides.moved:
            # a catch-up has raised it by V2's own messages
            session["context_data"] = json.dumps({**held, "max_messages": room})
        zone = zone_named(sides.zone)
        session["updated_at"] = utc_text(zone.utc(context["updated_at"])[0])
        session["created_at"] = metrics["created_at"] = utc_text(zone.utc(context["created_at"])[0])
        active = context.get("last_activity")
        metrics["last_activity"] = utc_text(zone.utc(active)[0]) if active else None
    except (ValueError, KeyError, TypeError):
        return False
    metrics["message_count"] = sides.moved
    key = session["session_id"]
    tokens = context.get("total_tokens", 0)
    for total in {metrics["total_tokens"], tokens if isinstance(tokens, int) else 0}:
        metrics["total_tokens"] = total
        digests = TargetDigests([key])
        rows = {"sessions": [tuple(session.values())], "session_messages": [tuple(each) for each in ours]}
        for table in SESSION_TABLES:
            digests.table(table)
            digests.rows(rows.get(table, [tuple(metrics.values())]), 0)
        if dict(digests.hexdigests())[key] == sides.digest:
            return True
    return False


def _make_room(changed: dict[str, dict[str, Any]], sides: Sides, total: int) -> None:
    """As much room above the messages as a move leaves: a send through a provider deletes what is above."""
    context = json.loads(changed["sessions"]["context_data"])
    mine, _ = read_context(sides.now.session[V2_COLUMNS["sessions"].index("context_data")])
    wanted = json.loads(str(sides.again.session[V2_COLUMNS["sessions"].index("context_data")]))["max_messages"]
    room = max(wanted, _whole(mine.get("max_messages")), wanted - len(sides.again.messages) + total)
    if context.get("max_messages") != room:
        context["max_messages"] = room
        changed["sessions"]["context_data"] = json.dumps(context)


def _our(cells: MessageCells) -> dict[str, Any] | None:
    try:
        metadata = json.loads(cells.metadata or "{}")
    except (ValueError, RecursionError):
        return None
    our = metadata.get(OUR_KEY) if isinstance(metadata, dict) else None
    return our if isinstance(our, dict) else None


def _as_v1(cells: MessageCells, zone: Zone) -> str:
    """V1's message for a row, whichever program wrote it, and without the time at which V2 had to put it."""
    try:
        return json.dumps(backward_message(cells, zone, []).message)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return repr(cells)  # V2 cannot read it either: it is equal to itself alone


def _both_have(now: list[MessageCells], again: list[str], zone: Zone) -> tuple[list[MessageCells], list[MessageCells]]:
    """V2's rows that came from V1 or went there (a rollback carries V2's own, and the next move gives them back as
    they were), and those that are V2's alone."""
    left = Counter(again)
    ours, new = [], []
    for each in now:
        message = _as_v1(each, zone)
        if _our(each) is not None or left[message] > 0:
            ours.append(each)
            left[message] -= 1
        else:
            new.append(each)
    return ours, new


def _missing(shared: list[str], rows: list[MessageCells], again: list[str]) -> list[MessageCells]:
    """The messages of V1 that V2 does not have; each row of V2 stands for one."""
    left = Counter(shared)
    found = []
    for row, message in zip(rows, again, strict=True):
        if left[message] > 0:
            left[message] -= 1
        else:
            found.append(row)
    return found


def _shown(cells: MessageCells) -> dict[str, Any]:
    our = _our(cells) or {}
    time = our.get("timestamp", cells.timestamp)
    return {"id": cells.message_id, "role": cells.role, "content": cells.content, "timestamp": time}


def _kept(sides: Sides, cells: MessageCells, place: int) -> Quarantined:
    reason = "written in the legacy store after the move; the new store's messages were kept"
    key = sides.now.session[0]
    return Quarantined(
        SESSION, key, "session_messages", str(sides.moved + place), "legacy_tail", reason, cells._asdict()
    )


def _kept_values(sides: Sides) -> Quarantined:
    reason = "values that both sides changed; the new store's were kept"
    row = dict(zip(V2_COLUMNS["sessions"], sides.again.session, strict=True))
    return Quarantined(SESSION, sides.now.session[0], "sessions", sides.now.session[0], "legacy_values", reason, row)
