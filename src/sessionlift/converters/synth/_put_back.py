"""What v2 could not hold, given back to v3 after the rows have gone forward again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from sessionlift.converters.synth._columns import V3_COLUMNS
from sessionlift.converters.synth._weigh import KEY_OF, fingerprint, unpack
from sessionlift.stores import Store, Value, quote_identifier

_NUMBERED = frozenset(["session_timesteps", "events", "messages", "event_rewards"])
_NAMES = {"timestep_id": "session_timesteps", "event_id": "events", "message_id": "messages"}
"""Columns that name a row, and the table that it is in. The order of those tables' rows is that of their ids."""

_OUTCOMES = "outcome_rewards"

_Anew = dict[tuple[str, Value], Value]
"""By table and id the id that the row has now."""

_Place = tuple[str, tuple[Value, ...]]
"""SQL that picks a row of the unit, and its parameters."""


class SynthPutBack:
    """Puts values and rows back that ``SynthBackward`` kept."""

    def put_back(self, store: Store, session_id: str, kept: Mapping[str, Any]) -> int:
        """Give a unit that was just written what ``kept`` holds; returns how many values and rows.

        Belongs into the transaction that wrote it. A value goes back only where the move has made what it made when
        the value was kept; a row only where nothing has its key. What the old program has changed since, stands; where
        it has deleted a row, another session may have the id by now, and is left alone.
        Rows that follow each other by their ids get these back all together, or keep those that they have. Outcomes
        get new ones in their old order: nothing names them, and readers take a session's first.
        """
        done = 0
        at: Value = None
        anew = _not_free(store, kept.get("cells", ()))
        for table, key in kept.get("gone", ()):
            where, bound = _place(table, key, session_id)
            done += store.execute(f"DELETE FROM {quote_identifier(table)} WHERE {where}", bound)
        # ids last: the other cells of a row are found by the id that it has now
        cells = sorted(kept.get("cells", ()), key=lambda cell: cell[2] == "id")
        for table, key, column, was, value in cells:
            if table == _OUTCOMES and column == "id":
                at = value
            elif column != "id" or (table, value) not in anew:
                place = _place(table, key, session_id)
                done += self._cell(store, table, place, column, was, _named(column, unpack(value), anew))
        for table, rows in kept.get("rows", {}).items():
            if table == _OUTCOMES:
                done += _outcomes(store, session_id, rows, at)
                continue
            for row in rows:
                named = {column: _named(column, unpack(value), anew) for column, value in row.items()}
                done += self._row(store, table, named)
        return done

    def _cell(self, store: Store, table: str, place: _Place, column: str, was: str, value: Value) -> int:
        name, (where, bound) = quote_identifier(column), place
        found = next(iter(store.read_table(table, (column,), where=where, params=bound)), None)
        if found is None or fingerprint(found[0]) != was:
            return 0
        if column == KEY_OF[table] and _exists(store, table, value):
            return 0
        store.execute(f"UPDATE {quote_identifier(table)} SET {name} = ? WHERE {where}", (value, *bound))
        return 1

    def _row(self, store: Store, table: str, row: dict[str, Value]) -> int:
        key = KEY_OF[table]
        if key in row and _exists(store, table, row[key]):
            if table not in _NUMBERED:
                return 0
            del row[key]
        store.insert_rows(table, tuple(row), [tuple(row.values())])
        return 1


def _outcomes(store: Store, session_id: str, rows: Sequence[Mapping[str, Any]], at: Value) -> int:
    """Put outcomes back around the one that was just derived, which is the first, or had ``at`` for its id."""
    outcomes = sorted(({column: unpack(value) for column, value in row.items()} for row in rows), key=itemgetter("id"))
    before = [row for row in outcomes if at is not None and row["id"] < at]
    after = outcomes[len(before) :]
    derived: list[dict[str, Value]] = []
    if before:
        columns, where = V3_COLUMNS[_OUTCOMES], "session_id = ?"
        lying = store.read_table(_OUTCOMES, columns, where=where, params=(session_id,), order_by=("id",))
        derived = [dict(zip(columns, row, strict=True)) for row in lying]
        store.execute(f"DELETE FROM {_OUTCOMES} WHERE {where}", (session_id,))
    for row in (*before, *derived, *after):
        new = {column: value for column, value in row.items() if column != "id"}
        store.insert_rows(_OUTCOMES, tuple(new), [tuple(new.values())])
    return len(outcomes)


def _not_free(store: Store, cells: Sequence[Sequence[Any]]) -> _Anew:
    """The rows that cannot get their ids back, since others have some of them by now."""
    found: _Anew = {}
    for table in _NAMES.values():
        ids = {(table, value): key for of, key, column, _, value in cells if of == table and column == "id"}
        if any(_exists(store, table, value) for _, value in ids):
            found.update(ids)
    return found


def _named(column: str, value: Value, anew: _Anew) -> Value:
    """``value``, or where it names a row that has another id now, that id."""
    return anew.get((_NAMES[column], value), value) if column in _NAMES else value


def _exists(store: Store, table: str, key: Value) -> bool:
    name = quote_identifier(KEY_OF[table])
    return bool(store.query(f"SELECT 1 FROM {quote_identifier(table)} WHERE {name} = ?", (key,)))


def _place(table: str, key: Any, session_id: str) -> _Place:
    if table == "experimental_systems":
        experiment, system = key.split("\x1f", 1)
        return "experiment_id = ? AND system_id = ?", (experiment, system)
    if table == _OUTCOMES:
        return "session_id = ?", (session_id,)
    name = quote_identifier(KEY_OF[table])
    if table in _NUMBERED:
        return f"{name} = ? AND session_id = ?", (key, session_id)
    return f"{name} = ?", (key,)
