"""All that a target has of sessions, as one digest each: whatever the application writes to them shows in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sessionlift.errors import StoreTextError
from sessionlift.runs._readable import digests_apart
from sessionlift.stores import Store, Value, listed, quote_identifier

NO_ROWS = hashlib.sha256().hexdigest()
"""The digest of a session that has no row."""
_MANY = 500


class Watched:
    """The tables of a target of which sessions have rows, with every column that they have there.

    ``added`` are by table those that the application has added.
    """

    def __init__(self, store: Store, tables: Sequence[str], added: Mapping[str, Sequence[str]]) -> None:
        self._store = store
        self._columns = {
            table: [str(row[1]) for row in store.query(f"PRAGMA table_info({quote_identifier(table)})")]
            for table in tables
        }
        self.added = {table: added[table] for table in tables if table in added}
        self._by_digest = False

    def mark(self) -> int | None:
        """What tells that nobody else has written to the target since; None where only digests do."""
        return None if self._by_digest else self._store.others_commits()

    def is_busy(self) -> None:
        """Someone else writes to the target: from now on only digests tell which sessions are not concerned."""
        self._by_digest = True

    def digests(self, ids: Sequence[str]) -> dict[str, str]:
        """A digest of each session's rows. One that cannot be read takes no other with it."""
        return digests_apart(self._digests, ids)

    def _digests(self, ids: Sequence[str]) -> dict[str, str]:
        found = {key: hashlib.sha256() for key in ids}
        for table, columns in self._columns.items():
            for key, row in self._rows(table, columns, ids):
                found[key].update(f"{table}{row!r}\n".encode("utf-8", "backslashreplace"))
        return {key: each.hexdigest() for key, each in found.items()}

    def rows(self, session_id: str) -> dict[str, Any]:
        """A session's rows by table, ready for JSON."""
        found: dict[str, Any] = {}
        for table, columns in self._columns.items():
            rows = [
                {name: _plain(value) for name, value in zip(columns, row, strict=True)}
                for _, row in self._rows(table, columns, [session_id])
            ]
            if rows:
                found[table] = rows
        return found

    def rows_with_added(self, ids: Sequence[str]) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """By session and table the rows that hold a value in an added column, whole and ready for JSON."""
        found: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for table, added in self.added.items():
            columns = self._columns[table]
            for key, row in self._rows(table, columns, ids):
                values = dict(zip(columns, map(_plain, row), strict=True))
                if any(values[name] is not None for name in added):
                    found.setdefault(key, {}).setdefault(table, []).append(values)
        return found

    def unreadable(self, ids: Sequence[str]) -> dict[str, str]:
        """Those of ``ids`` that have a text which is not UTF-8, and where it is."""
        found = {key: self._unreadable(key) for key in ids}
        return {key: why for key, why in found.items() if why is not None}

    def _unreadable(self, key: str) -> str | None:
        for table, columns in self._columns.items():
            if self._can_be_read(table, columns, "session_id = ?", key):
                continue
            column = next((each for each in columns if not self._can_be_read(table, [each], "session_id = ?", key)), "")
            for (row,) in self._store.read_table(table, ("rowid",), where="session_id = ?", params=(key,)):
                if not self._can_be_read(table, [column], "rowid = ?", row):
                    return f"{table}.{column} is a text that is not UTF-8, where its rowid is {row}"
        return None

    def _can_be_read(self, table: str, columns: Sequence[str], where: str, *params: Value) -> bool:
        try:
            for _ in self._store.read_table(table, columns, where=where, params=params):
                pass  # the reading is all that is asked for
        except StoreTextError:
            return False
        return True

    def _rows(self, table: str, columns: list[str], ids: Sequence[str]) -> Iterator[tuple[str, tuple[Any, ...]]]:
        place = columns.index("session_id")
        for at in range(0, len(ids), _MANY):
            some, params = listed(ids[at : at + _MANY])
            for row in self._store.read_table(
                table, columns, where=f"session_id IN ({some})", params=params, order_by=("rowid",)
            ):
                yield str(row[place]), tuple(row)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"blob": value.hex()}
    if isinstance(value, float) and value - value != 0:
        return {"double": repr(value)}
    return value
