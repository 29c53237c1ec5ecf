"""What shadow reads found: by session and field, how often the new store would have answered otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sessionlift.ledger._rows import to_json
from sessionlift.stores import Store

COMPARED = ""
"""The field under which a session stands that was compared, whatever came of it."""


class ShadowCounts:
    """The table ``sessionlift_shadow``. Writes belong into a transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, session_id: str, found: Mapping[str, Any], *, run_id: str, at: str) -> None:
        """Note one comparison: ``found`` has an example for each field that differs."""
        for field, example in {COMPARED: None, **found}.items():
            self._store.execute(
                "INSERT INTO sessionlift_shadow (session_id, field, run_id, at, count, example) "
                "VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT (session_id, field) DO UPDATE SET run_id = excluded.run_id, "
                "at = excluded.at, count = count + 1, example = excluded.example",
                (session_id, field, run_id, at, None if example is None else to_json(example)),
            )

    def compared(self) -> int:
        """Sessions that were compared."""
        return self._number("SELECT count(*) FROM sessionlift_shadow WHERE field = ''")

    def mismatching(self) -> int:
        """Sessions of which the new store would have told at least one field otherwise."""
        return self._number("SELECT count(DISTINCT session_id) FROM sessionlift_shadow WHERE field <> ''")

    def fields(self) -> dict[str, int]:
        """By field, how many sessions differ in it."""
        rows = self._store.query(
            "SELECT field, count(*) FROM sessionlift_shadow WHERE field <> '' GROUP BY field ORDER BY 2 DESC, 1"
        )
        return {str(field): int(str(count)) for field, count in rows}

    def forget(self) -> None:
        """Begin anew: the cause of the mismatches is gone."""
        self._store.execute("DELETE FROM sessionlift_shadow")

    def _number(self, sql: str) -> int:
        return int(str(self._store.query(sql)[0][0]))
