"""Shadow reads of traces: the answer that the new store would give, beside the legacy rows themselves.

The rules of the move are written here a second time on purpose: a mistake shared with the converter would show
nothing.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

from sessionlift.bridge.synth._trace import of_converted
from sessionlift.runs import Converted
from sessionlift.stores import DuckdbStore, Row, StoreURL

_COUNTERS = ("num_timesteps", "num_events", "num_messages")
_STEP = ("step_id", "step_index", "timestamp", "step_metadata")
_CLOCKS = range(1851, 2199)
"""Years in which zones are followed change by change (docs/synth.md), but for the first and the last."""
_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(\d{1,6}))?")


class ShadowCompare:
    """What ``get_session_trace`` would say of a session once it has moved, against its rows in the legacy store.

    Fields: ``created_at``, ``num_…``, ``metadata``, ``timesteps`` (how many) and ``timesteps.…``, each with the first
    difference. Any thread may call it; the legacy store is opened at the first call.
    """

    def __init__(self, source: StoreURL, zone: str) -> None:
        self._source, self._zone = source, ZoneInfo(zone)
        self._lock = threading.Lock()
        self._store: DuckdbStore | None = None

    def __call__(self, converted: Converted) -> Mapping[str, Any]:
        stored = of_converted(converted)
        head, steps = self._legacy(converted.session_id)
        if head is None or stored is None or converted.unit.state == "partial":
            return {}  # gone meanwhile; or rows of it are in quarantine, and are counted there
        trace = stored.trace()
        found: dict[str, Any] = {}

        def differs(field: str, legacy: Any, new: Any) -> None:
            found.setdefault(field, {"legacy": legacy, "new": new})

        created_at, *counters, metadata = head
        if not self._same_time(created_at, trace["created_at"]):
            differs("created_at", created_at, str(trace["created_at"]))
        for name, count in zip(_COUNTERS, counters, strict=True):
            if count is not None and count != trace[name]:
                differs(name, count, trace[name])
        for item in _items(metadata):
            if not _holds(trace["metadata"], item):
                differs("metadata", item, trace["metadata"])
        if len(steps) != len(trace["timesteps"]):
            differs("timesteps", len(steps), len(trace["timesteps"]))
        for (step_id, step_index, timestamp, text), new in zip(steps, trace["timesteps"], strict=False):
            recorded, turn = _recorded(text)
            fields = {"step_id": step_id, "step_index": step_index, "metadata": {} if recorded is None else recorded}
            fields["turn_number"] = step_index if turn is None else turn
            for name, value in fields.items():
                if not _same(value, new[name]):
                    differs(f"timesteps.{name}", value, new[name])
            if not self._same_time(timestamp, new["started_at"]):
                differs("timesteps.started_at", timestamp, str(new["started_at"]))
        return found

    def close(self) -> None:
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None

    def _legacy(self, session_id: str) -> tuple[Row | None, list[Row]]:
        with self._lock:
            if self._store is None:
                self._store = DuckdbStore(self._source, memory_limit="80MB", threads=1)
            store = self._store

            def read(table: str, columns: Sequence[str]) -> list[Row]:
                return list(store.read_table(table, columns, where="session_id = ?", params=(session_id,)))

            heads = store.with_room(lambda: read("session_traces", ("created_at", *_COUNTERS, "metadata")))
            steps = store.with_room(lambda: read("session_timesteps", _STEP))
        head = next(iter(heads), None)
        return head, sorted(steps, key=lambda row: (int(str(row[1])), str(row[0]).encode()))

    def _same_time(self, legacy: Any, new: Any) -> bool:
        """Whether a clock in the legacy store's zone showed this at that moment. Times that the clock never showed,
        those of years in which it is not followed, and those beyond Python's, are the converter's affair."""
        match = _TIME.fullmatch(str(legacy))
        if match is None:
            return True
        shown = datetime.fromisoformat(match[1]).replace(microsecond=int((match[2] or "0").ljust(6, "0")))
        if self._zone.key != "UTC" and shown.year not in _CLOCKS:
            return True
        moment = shown.replace(tzinfo=self._zone).astimezone(timezone.utc)
        if moment.astimezone(self._zone).replace(tzinfo=None, fold=0) != shown:
            return True
        if not isinstance(new, datetime) or new.tzinfo is None:
            return False
        return new.astimezone(self._zone).replace(tzinfo=None, fold=0) == shown


def _items(text: Any) -> list[Any]:
    """What v2's list of metadata says; other shapes have no items."""
    value = json.loads(str(text or "null"))
    if not isinstance(value, list):
        return []
    return [item for item in value if isinstance(item, dict) and isinstance(item.get("metadata_type"), str)
            and "data" in item]  # fmt: skip


def _recorded(text: Any) -> tuple[Any, int | None]:
    """A step's metadata, and the turn that it says: the first where it says several, if it is an integer of 64 bits."""
    said: list[list[tuple[str, Any]]] = []

    def noted(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        said.append(pairs)
        return dict(pairs)

    whole = json.loads(str(text or "null"), object_pairs_hook=noted)
    # the outermost object ends last
    turns = [value for key, value in said[-1] if key == "turn_number"] if isinstance(whole, dict) else []
    turn = turns[0] if turns else None
    is_turn = isinstance(turn, int) and not isinstance(turn, bool) and -(2**63) <= turn < 2**63
    return whole, turn if is_turn else None


def _holds(metadata: Any, item: dict[str, Any]) -> bool:
    """Whether v3's object has the item's data under its type, alone or in the list of those that share it."""
    if not isinstance(metadata, dict) or item["metadata_type"] not in metadata:
        return False
    value, data = metadata[item["metadata_type"]], item["data"]
    return _same(value, data) or (isinstance(value, list) and any(_same(each, data) for each in value))


def _same(one: Any, other: Any) -> bool:
    # as text: NaN is not equal to itself, and 1 is not True
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
