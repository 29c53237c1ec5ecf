"""One v3 row as the v2 row that it was, or that the application has made of it since."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Set
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from sessionlift.converters._jsontext import object_items, quote
from sessionlift.converters.synth._clock import Clock
from sessionlift.converters.synth._columns import V2_COLUMNS
from sessionlift.converters.synth._messages import seal_envelope
from sessionlift.converters.synth._ourkey import Ours, ours_alone, split, text_of

Row = Mapping[str, Any]
Legacy = tuple[Any, ...]
Cells = Mapping[str, Mapping[str, str | None]]
"""By column and row id the legacy text of a cell that v3's row alone does not give back."""

_INT32 = 2**31
_NONE: frozenset[str] = frozenset()


class Rebuilder:
    """Makes legacy rows of one session; ``zone`` is the one in which its times were read.

    A row gives every cell by the page's defaults, and by what the complement keeps. ``drop`` names columns whose kept
    original no longer counts, since the application has written another value. ``is_json`` says whether the legacy
    engine takes a text for JSON; None where every row is as a move wrote it, which needs no doubt.
    """

    def __init__(self, zone: ZoneInfo, is_json: Callable[[str], bool] | None = None) -> None:
        self._clock = Clock(zone)
        self._is_json = is_json

    def trace(self, row: Row, complement: Mapping[str, Any], metadata: str | None, drop: Set[str] = _NONE) -> Legacy:
        created = self._clock.of_text(row["created_at"])
        if "created_at" in complement and "created_at" not in drop:
            created = complement["created_at"]
        counters: list[Any] = [integer(row[name]) for name in ("num_timesteps", "num_events", "num_messages")]
        if "counters" in complement and "counters" not in drop:
            # only those that were NULL are not v3's own
            counters = [None if was is None else now for was, now in zip(complement["counters"], counters, strict=True)]
        return (row["session_id"], created, *counters, self._json(metadata, None), text(row["experiment_id"]))

    def timestep(self, row: Row, cells: Cells, drop: Set[str] = _NONE) -> Legacy:
        metadata = row["step_metadata"]
        moment = self._clock.of_text(row["started_at"])
        made = (
            row["id"],
            row["session_id"],
            text(row["step_id"]) or "",
            # v2 demands an index and a time
            integer(row["step_index"]) or 0,
            "1970-01-01 00:00:00" if moment is None else moment,
            integer(row["num_events"]),
            integer(row["num_messages"]),
            None if metadata == "{}" else self._json(metadata),
        )
        return _with_kept("session_timesteps", made, cells, drop) if cells else made

    def event(self, row: Row, cells: Cells, drop: Set[str] = _NONE) -> Legacy:
        metadata, ours = split(row["metadata"], trusted=self._is_json is None)
        kind = text_of(ours, "event_type") if "event_type" in ours and "event_type" not in drop else None
        moment = self._clock.of_text(row["created_at"])
        cost = row["cost_usd"]
        made = (
            row["id"],
            row["session_id"],
            row["timestep_id"] if "timestep_id" in drop else None,
            kind if kind is not None else text(row["event_type"]) or "",
            text(row["system_instance_id"]) or "",
            self._clock.of_seconds(row["event_time"]) if moment is None else moment,
            integer(row["message_time"]),
            text(row["span_id"]),
            text(row["trace_id"]),
            text(row["model_name"]),
            text(row["provider"]),
            integer(row["input_tokens"]),
            integer(row["output_tokens"]),
            integer(row["total_tokens"]),
            None if cost is None and not ours else _dollars(cost, ours, drop),
            double(row["latency_ms"]),
            double(row["reward"]),
            _boolean(row["terminated"]),
            self._json(row["system_state_before"]),
            self._json(row["system_state_after"]),
            self._json(ours.get("metadata", metadata) if ours else metadata),
            self._json(row["event_metadata"], None),
        )
        return _with_kept("events", made, cells, drop) if cells else made

    def message(self, row: Row, cells: Cells, drop: Set[str] = _NONE) -> Legacy:
        ours = ours_alone(row["metadata"])
        kind = text_of(ours, "message_type") if "message_type" in ours and "message_type" not in drop else None
        kind = kind if kind is not None else text(row["message_type"]) or ""
        content = self._content(text(row["content"]) or "", ours)
        if "dress" in ours:
            content = seal_envelope(content, kind, _envelope(ours))
            kind = text_of(ours, "dress") or kind
        made = (
            row["id"],
            row["session_id"],
            row["timestep_id"] if "timestep_id" in drop else None,
            kind,
            content,
            self._clock.of_text(row["timestamp"]),
            self._clock.of_seconds(row["event_time"]),
            integer(row["message_time"]),
        )
        return _with_kept("messages", made, cells, drop) if cells else made

    def _content(self, content: str, ours: Ours) -> str:
        said = ours.get("content")
        if said == '"json"':
            return content if self._is_json is None or self._is_json(content) else quote(content)
        if said is None and self._is_json is not None and content[:1] in ("{", "["):
            # a move says so where a string looks like this: the application dumped a structure
            return content if self._is_json(content) else quote(content)
        return quote(content)

    def _json(self, value: Any, nothing: str | None = "null") -> str | None:
        """JSON for a JSON column. For v3's NULL ``nothing``; what is no JSON becomes a string of it."""
        if value is None:
            return nothing
        if self._is_json is None:
            return str(value)
        plain = text(value) or ""
        return plain if self._is_json(plain) else quote(plain)


def _with_kept(table: str, made: Legacy, cells: Cells, drop: Set[str]) -> Legacy:
    """The row with the originals that the complement keeps of it."""
    key, changed = str(made[0]), list(made)
    for column, found in cells.items():
        if key in found and column not in drop:
            kept = found[key]
            value = int(kept) if column == "timestep_id" and kept is not None else kept
            changed[V2_COLUMNS[table].index(column)] = value
    return tuple(changed)


def _envelope(ours: Ours) -> dict[str, str]:
    raw = ours.get("envelope")
    if raw is None:
        return {}
    return {key: member for key, member, _ in object_items(raw)}


def _dollars(cents: Any, ours: Ours, drop: Set[str]) -> str | None:
    """The exact dollars under our key; else the cents, moved two places in decimal, as the nearest double."""
    if "cost" in ours and "cost" not in drop:
        return ours["cost"].strip('"')
    said = double(cents)
    if said is None or not math.isfinite(float(said)):
        return said
    try:
        return repr(float(Decimal(said).scaleb(-2)))
    except (InvalidOperation, OverflowError):
        return repr(float(said) / 100)


# --- values of any type, since SQLite's columns hold whatever they are given ----------------------------------


def text(value: Any) -> str | None:
    """A value as text. Blobs as the text that they are, as far as they are."""
    if isinstance(value, str) or value is None:
        return value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def integer(value: Any) -> int | None:
    """A value as an integer of v2, which has 32 bits; None for what is none."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and -_INT32 <= value < _INT32 else None


def double(value: Any) -> str | None:
    """A number as the shortest text that reads back to it; None for what is no number."""
    if isinstance(value, (int, float)):
        return repr(float(value))
    return None


def _boolean(value: Any) -> str | None:
    if value is None or not isinstance(value, (int, float)):
        return None
    return "true" if value else "false"
