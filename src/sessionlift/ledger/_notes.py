"""The table ``sessionlift_rollout``: small settings by name that every process which shares the target reads."""

from __future__ import annotations

import json
from typing import Any

from sessionlift.ledger._rows import to_json
from sessionlift.stores import Store


class Notes:
    """JSON values by name. Writes belong into a transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, name: str) -> Any:
        """The value, or None."""
        for (value,) in self._store.query("SELECT value FROM sessionlift_rollout WHERE name = ?", (name,)):
            return json.loads(str(value))
        return None

    def beginning(self, prefix: str) -> dict[str, Any]:
        """Every value whose name begins with ``prefix``, by name."""
        rows = self._store.query(
            "SELECT name, value FROM sessionlift_rollout WHERE substr(name, 1, ?) = ? ORDER BY name",
            (len(prefix), prefix),
        )
        return {str(name): json.loads(str(value)) for name, value in rows}

    def write(self, name: str, value: Any, *, at: str) -> None:
        self._store.execute(
            "INSERT INTO sessionlift_rollout (name, value, updated_at) VALUES (?, ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
            (name, to_json(value), at),
        )

    def remove(self, name: str) -> None:
        self._store.execute("DELETE FROM sessionlift_rollout WHERE name = ?", (name,))
