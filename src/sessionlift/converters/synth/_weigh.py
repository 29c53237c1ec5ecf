"""What the old shape cannot hold: legacy rows go forward once more, and where that leads elsewhere is a loss.

No rule of its own decides it. The converter itself takes the rows that were made, in a store that is thrown away,
and every value of v3 that it does not give back is kept, with what it gives in its place.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sessionlift.converters._batch import Loss
from sessionlift.converters.synth._columns import V3_LEFT_NULL
from sessionlift.converters.synth._ourkey import split

Row = Mapping[str, Any]
Tables = Mapping[str, Mapping[Any, Row]]
"""By table and key the rows of one unit."""

KEY_OF = {
    "session_traces": "session_id",
    "session_timesteps": "id",
    "events": "id",
    "messages": "id",
    "event_rewards": "id",
    "outcome_rewards": "id",
    "systems": "system_id",
    "system_versions": "version_id",
    "experiments": "experiment_id",
    "experimental_systems": "id",
}

_NO_HOME: dict[str, frozenset[str]] = {
    "session_traces": frozenset(V3_LEFT_NULL["session_traces"]),
    "session_timesteps": frozenset(["turn_number", "completed_at"]),
    "events": frozenset(["created_at", *V3_LEFT_NULL["events"]]),
    "messages": frozenset(["metadata", *V3_LEFT_NULL["messages"]]),
    "systems": frozenset(["system_type", "created_at", "metadata"]),
    "system_versions": frozenset(["version_number", "configuration"]),
    "experiments": frozenset(["configuration", "metadata"]),
}
"""Columns of v3 for which v2 has none: a move fills some of them from others."""
_REWARDS = ("event_rewards", "outcome_rewards")
_NOTED = frozenset(["cost", "event_type", "metadata"])
"""What stands under our key in an event's metadata."""
NAMES = {"timestep_id": "session_timesteps", "event_id": "events", "message_id": "messages"}
"""Columns that name a row, and the table that it is in."""


@dataclass
class Weighed:
    """``kept`` is ready for JSON; see docs/synth.md for its form."""

    cells: list[list[Any]] = field(default_factory=list)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    gone: list[list[Any]] = field(default_factory=list)
    loose: list[list[Any]] = field(default_factory=list)
    losses: dict[tuple[str, str, str], list[Any]] = field(default_factory=dict)

    def lose(self, code: str, table: str, column: str, example: dict[str, Any]) -> None:
        found = self.losses.setdefault((code, table, column), [0, example])
        found[0] += 1

    @property
    def kept(self) -> dict[str, Any]:
        kept: dict[str, Any] = {"cells": self.cells, "rows": self.rows, "gone": self.gone, "loose": self.loose}
        return {name: value for name, value in kept.items() if value}


def weigh(now: Tables, again: Tables, renumbered: Mapping[tuple[str, int], int]) -> Weighed:
    """Compare a unit's rows in v3 (``now``) with what its legacy rows lead to (``again``).

    ``renumbered`` has by table and id of ``now`` the id that the row got in v2.
    """
    found = Weighed()
    for table, rows in now.items():
        there = dict(again.get(table, {}))
        for key, row in rows.items():
            other_key = renumbered.get((table, key), key)
            other = there.pop(other_key, None)
            if other is None:
                # NULL too: some columns have another default
                found.rows.setdefault(table, []).append({column: pack(value) for column, value in row.items()})
                found.lose("row_not_held", table, KEY_OF[table], {"row": str(key)})
            else:
                _cells(table, key, other_key, row, other, found)
        _left(table, there, found)
    for table, rows in again.items():
        if table not in now:
            _left(table, rows, found)
    named = [(column, value) for _, _, column, _, value in found.cells]
    named += [each for rows in found.rows.values() for row in rows for each in row.items()]
    loose: dict[tuple[str, Any], list[Any]] = {}
    for column, value in named:
        if column in NAMES and value is not None and unpack(value) not in now.get(NAMES[column], ()):
            loose[NAMES[column], unpack(value)] = [NAMES[column], value]
    found.loose += loose.values()
    return found


def weigh_again(found: Weighed, waiting: Mapping[str, Any], renumbered: Mapping[tuple[str, int], int]) -> None:
    """Add to ``found`` what an earlier way back has kept and the move after it could not put back."""
    for table, rows in waiting.get("rows", {}).items():
        for row in rows:
            found.rows.setdefault(table, []).append(row)
            found.lose("row_not_held", table, KEY_OF[table], {"row": str(row.get(KEY_OF[table]))})
    found.gone += [each for each in waiting.get("gone", ()) if each not in found.gone]
    found.loose += [each for each in waiting.get("loose", ()) if each not in found.loose]
    written = {(table, key, column) for table, key, column, _, _ in found.cells}
    for table, key, column, was, value in waiting.get("cells", ()):
        place = renumbered.get((table, key), key)
        if (table, place, column) not in written:
            found.cells.append([table, place, column, was, value])
            found.lose("value_not_held", table, column, {"row": str(key)})


def _left(table: str, rows: Mapping[Any, Row], found: Weighed) -> None:
    for key, row in rows.items():
        found.gone.append([table, _name(table, key, row)])
        if table in _REWARDS:
            found.lose("derived_row_gone", table, KEY_OF[table], {"row": str(key)})


def _cells(table: str, key: Any, other_key: Any, row: Row, other: Row, found: Weighed) -> None:
    for column, value in row.items():
        was = other.get(column)
        if same(value, was):
            continue
        found.cells.append([table, _name(table, other_key, row), column, fingerprint(was), pack(value)])
        if column == "id" and table == "outcome_rewards":
            continue  # none that anything names: see SynthPutBack
        if column == "id":
            found.lose("id_renumbered", table, column, {"row": str(key), "value": str(other_key)})
        elif not _is_noted(table, column, value, was) and not _follows(table, column):
            code = "column_not_held" if column in _NO_HOME.get(table, ()) else "value_not_held"
            found.lose(code, table, column, {"row": str(key)})


def _name(table: str, key: Any, row: Row) -> Any:
    """By what a row is found again: the target gives each outcome an id of its own, and a move makes but one."""
    return row["session_id"] if table == "outcome_rewards" else key


def _is_noted(table: str, column: str, value: Any, was: Any) -> bool:
    """Whether a cell differs in nothing but what a move notes of an event's other columns, where that is told. In any
    other table, and under any other name, our key holds what the application has written, and v2 has no place for."""
    if table != "events" or not same_but_ours(column, value, was):
        return False
    _, ours = split(value, trusted=False)
    return ours.keys() <= _NOTED


def _follows(table: str, column: str) -> bool:
    """Whether a column only names a row that got another id, which is told there."""
    return table == "event_rewards" and column == "event_id"


def same(one: Any, other: Any) -> bool:
    """Whether two values are one to SQLite, whose INTEGER columns turn 29.0 into 29."""
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one == other
    return type(one) is type(other) and bool(one == other)


def same_but_ours(column: str, one: Any, other: Any) -> bool:
    """Whether two texts of an event's metadata differ in nothing but what a move notes under our key."""
    if column != "metadata" or not isinstance(one, str) or not isinstance(other, str):
        return False
    return _without_ours(one) == _without_ours(other)


def _without_ours(text: str) -> str | None:
    rest, ours = split(text, trusted=False)
    return ours.get("metadata", rest)


# --- values as JSON -------------------------------------------------------------------------------------------


def pack(value: Any) -> Any:
    """A value of SQLite as JSON can hold it: blobs and the doubles without a number in JSON as objects."""
    if isinstance(value, bytes):
        return {"blob": value.hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"double": repr(value)}
    return value


def unpack(value: Any) -> Any:
    """The value that ``pack`` packed."""
    if isinstance(value, dict):
        return bytes.fromhex(value["blob"]) if "blob" in value else float(value["double"])
    return value


def fingerprint(value: Any) -> str:
    """A short name of a value, by which it is known again: its type and a digest. Equal numbers have one name."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        value = int(value)
    named = json.dumps(pack(value), ensure_ascii=True).encode()
    return hashlib.sha256(named).hexdigest()[:16]


def as_losses(weighed: Iterable[Weighed]) -> list[Loss]:
    """The losses of several units, counted together."""
    counts: dict[tuple[str, str, str], list[Any]] = {}
    for each in weighed:
        for key, (count, example) in each.losses.items():
            found = counts.setdefault(key, [0, example])
            found[0] += count
    return [Loss(*key, count, example) for key, (count, example) in sorted(counts.items())]


def by_key(table: str, rows: Sequence[Row]) -> dict[Any, Row]:
    """Rows by their keys."""
    return {row[KEY_OF[table]]: row for row in rows}
