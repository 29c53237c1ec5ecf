"""What v2 could not hold, given back to v3 after the rows have gone forward again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sessionlift.converters.synth._weigh import KEY_OF, fingerprint, unpack
from sessionlift.stores import Store, Value, quote_identifier

_NUMBERED = frozenset(["session_timesteps", "events", "messages", "event_rewards", "outcome_rewards"])


class SynthPutBack:
    """Puts values and rows back that ``SynthBackward`` kept."""

    def put_back(self, store: Store, kept: Mapping[str, Any]) -> int:
        """Give a unit that was just written what ``kept`` holds; returns how many values and rows.

        Belongs into the transaction that wrote it. A value goes back only where the move has made what it made when
        the value was kept; a row only where nothing has its key. What the old program has changed since, stands.
        """
        done = 0
        for table, key in kept.get("gone", ()):
            done += store.execute(f"DELETE FROM {quote_identifier(table)} WHERE {_where(table)}", _bound(table, key))
        # ids last: the other cells of a row are found by the id that it has now
        cells = sorted(kept.get("cells", ()), key=lambda cell: cell[2] == "id")
        for table, key, column, was, value in cells:
            done += self._cell(store, table, key, column, was, unpack(value))
        for table, rows in kept.get("rows", {}).items():
            for row in rows:
                done += self._row(store, table, {column: unpack(value) for column, value in row.items()})
        return done

    def _cell(self, store: Store, table: str, key: Any, column: str, was: str, value: Value) -> int:
        name, where, bound = quote_identifier(column), _where(table), _bound(table, key)
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
            if table not in _NUMBERED or table == "outcome_rewards":
                return 0
            del row[key]
        store.insert_rows(table, tuple(row), [tuple(row.values())])
        return 1


def _exists(store: Store, table: str, key: Value) -> bool:
    name = quote_identifier(KEY_OF[table])
    return bool(store.query(f"SELECT 1 FROM {quote_identifier(table)} WHERE {name} = ?", (key,)))


def _where(table: str) -> str:
    if table == "experimental_systems":
        return "experiment_id = ? AND system_id = ?"
    if table == "outcome_rewards":
        return "session_id = ?"
    return f"{quote_identifier(KEY_OF[table])} = ?"


def _bound(table: str, key: Any) -> tuple[Value, ...]:
    if table == "experimental_systems":
        experiment, system = key.split("\x1f", 1)
        return (experiment, system)
    return (key,)
