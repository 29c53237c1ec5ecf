"""What v2 could not hold, given back to v3 after the rows have gone forward again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from sessionlift.converters._backward import GivenBack
from sessionlift.converters.synth._columns import V3_COLUMNS
from sessionlift.converters.synth._weigh import KEY_OF, NAMES, fingerprint, pack, unpack
from sessionlift.stores import Store, Value, quote_identifier

_NUMBERED = frozenset(["session_timesteps", "events", "messages", "event_rewards"])
_NAMED = frozenset(NAMES.values())
"""The order of these tables' rows is that of their ids."""

_OUTCOMES = "outcome_rewards"

_Ids = dict[tuple[str, Value], Value]
"""By table and the id that a row had in v3 the id that it has now."""

_Place = tuple[str, tuple[Value, ...]]
"""SQL that picks a row of the unit, and its parameters."""


class SynthPutBack:
    """Puts values and rows back that ``SynthBackward`` kept."""

    def put_back(self, store: Store, session_id: str, kept: Mapping[str, Any]) -> GivenBack:
        """Give a unit that was just written what ``kept`` holds.

        Belongs into the transaction that wrote it. A value goes back only where the move has made what it made when
        the value was kept; a row only where nothing has its key. What the old program has changed since, stands; where
        it has deleted a row, another session may have the id by now, and is left alone. What names a row of the
        session that was there then and is not now, waits: v3 declares that as a foreign key.
        Rows that follow each other by their ids get these back all together, or keep those that they have. Outcomes
        get new ones in their old order: nothing names them, and readers take a session's first.
        """
        return _Giving(store, session_id, kept).all()


class _Giving:
    def __init__(self, store: Store, session_id: str, kept: Mapping[str, Any]) -> None:
        self._store, self._session, self._kept = store, session_id, kept
        self._found = GivenBack()
        self._cells: list[list[Any]] = list(kept.get("cells", ()))
        self._in_v2: _Ids = {(of, value): key for of, key, column, _, value in self._cells if column == "id"}
        not_free = self._not_free()
        self._anew = {each: key for each, key in self._in_v2.items() if each[0] in not_free}
        self._loose = {(table, unpack(value)) for table, value in kept.get("loose", ())}
        self._lying: dict[str, set[Value]] = {}

    def all(self) -> GivenBack:
        for table, key in self._kept.get("gone", ()):
            where, bound = _place(table, key, self._session)
            self._found.done += self._store.execute(f"DELETE FROM {quote_identifier(table)} WHERE {where}", bound)
        self._values()
        self._lying.clear()  # they have their ids by now
        rows = self._kept.get("rows", {})
        # those that others name come first
        for table in KEY_OF:
            if table == _OUTCOMES:
                self._outcomes(rows.get(table, ()))
                continue
            for row in rows.get(table, ()):
                self._row(table, {column: unpack(value) for column, value in row.items()})
        return self._found

    # --- values -----------------------------------------------------------------------------------------------

    def _values(self) -> None:
        for table, key, column, was, value in self._cells:
            if column != "id":
                self._cell(table, key, column, was, unpack(value))
        # ids last: the other cells of a row are found by the id that it has now
        renamed: _Ids = {}
        for table, key, column, was, value in self._cells:
            if column != "id" or table == _OUTCOMES or (table, value) in self._anew:
                continue
            if self._cell(table, key, column, was, value):
                renamed[table, key] = value
        for cell in self._found.waiting.get("cells", ()):
            cell[1] = renamed.get((cell[0], cell[1]), cell[1])

    def _cell(self, table: str, key: Any, column: str, was: str, value: Value) -> bool:
        name, (where, bound) = quote_identifier(column), _place(table, key, self._session)
        found = next(iter(self._store.read_table(table, (column,), where=where, params=bound)), None)
        if found is None or fingerprint(found[0]) != was:
            return False
        if column == KEY_OF[table] and self._exists(table, value):
            return False
        named = self._in_v2.get((NAMES[column], value), value) if column in NAMES else value
        if self._is_missing(column, value, named):
            self._found.waits(table, column, key).setdefault("cells", []).append([table, key, column, was, pack(named)])
            return False
        now = self._now(column, value)
        self._store.execute(f"UPDATE {quote_identifier(table)} SET {name} = ? WHERE {where}", (now, *bound))
        self._found.done += 1
        return True

    # --- rows -------------------------------------------------------------------------------------------------

    def _row(self, table: str, row: dict[str, Value]) -> None:
        key, old = KEY_OF[table], row.get(KEY_OF[table])
        now = {column: self._now(column, value) for column, value in row.items()}
        missing = [column for column, value in row.items() if self._is_missing(column, value, now[column])]
        taken = old is not None and self._exists(table, old)
        if missing or (taken and table not in _NUMBERED):
            for column in missing:
                # should it come back, it does so under the id that v2 had for it
                now[column] = self._in_v2.get((NAMES[column], row[column]), row[column])
            waiting = self._found.waits(table, missing[0] if missing else key, old)
            packed = {column: pack(value) for column, value in now.items()}
            waiting.setdefault("rows", {}).setdefault(table, []).append(packed)
            names = [(NAMES[column], value) for column, value in row.items() if column in NAMES]
            loose = [[of, pack(value)] for of, value in names if (of, value) in self._loose]
            if loose:
                waiting.setdefault("loose", []).extend(loose)
            return
        if taken:
            del now[key]
        self._insert(table, now)
        if table in _NAMED:
            new = old
            if taken:
                ((new,),) = self._store.query(f"SELECT max(id) FROM {quote_identifier(table)}")
                self._anew[table, old] = new
            self._lying.get(table, set()).add(new)

    def _outcomes(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Put outcomes back around the one that was just derived, which is the first, if no cell says its place."""
        at = next((value for table, _, column, _, value in self._cells if (table, column) == (_OUTCOMES, "id")), None)
        unpacked = ({column: unpack(value) for column, value in row.items()} for row in rows)
        outcomes = sorted(unpacked, key=itemgetter("id"))
        before = [row for row in outcomes if at is not None and row["id"] < at]
        derived: list[dict[str, Value]] = []
        if before:
            columns, where = V3_COLUMNS[_OUTCOMES], "session_id = ?"
            params = (self._session,)
            lying = self._store.read_table(_OUTCOMES, columns, where=where, params=params, order_by=("id",))
            derived = [dict(zip(columns, row, strict=True)) for row in lying]
            self._store.execute(f"DELETE FROM {_OUTCOMES} WHERE {where}", params)
        for row in (*before, *derived, *outcomes[len(before) :]):
            self._insert(_OUTCOMES, {column: value for column, value in row.items() if column != "id"})
        self._found.done -= len(derived)

    def _insert(self, table: str, row: Mapping[str, Value]) -> None:
        self._store.insert_rows(table, tuple(row), [tuple(row.values())])
        self._found.done += 1

    # --- what rows are called ---------------------------------------------------------------------------------

    def _not_free(self) -> set[str]:
        """The tables whose rows cannot get their ids back, since others have some of them by now."""
        ids = [each for each in self._in_v2 if each[0] in _NAMED]
        return {table for table in _NAMED if any(of == table and self._exists(of, value) for of, value in ids)}

    def _now(self, column: str, value: Value) -> Value:
        """``value``, or where it names a row that has another id now, that id."""
        return self._anew.get((NAMES[column], value), value) if column in NAMES else value

    def _is_missing(self, column: str, value: Value, now: Value) -> bool:
        """Whether ``value`` names a row of the session that was there when it was kept, and is not, as ``now``."""
        if column not in NAMES or value is None or (NAMES[column], value) in self._loose:
            return False
        table = NAMES[column]
        if table not in self._lying:
            found = self._store.read_table(table, ("id",), where="session_id = ?", params=(self._session,))
            self._lying[table] = {key for (key,) in found}
        return now not in self._lying[table]

    def _exists(self, table: str, key: Value) -> bool:
        name = quote_identifier(KEY_OF[table])
        return bool(self._store.query(f"SELECT 1 FROM {quote_identifier(table)} WHERE {name} = ?", (key,)))


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
