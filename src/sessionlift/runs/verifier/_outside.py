"""Rows of compared sessions that lie outside of the ids at which the source has theirs, looked for at the end.

To look for them batch by batch takes an index over the session ids, and a long first move makes that last of all. By
then, where every row of a table has been met at its place, there is none to look for.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sessionlift.runs.verifier._compare import Comparison
from sessionlift.runs.verifier._readers import TargetReader, id_list


@dataclass(frozen=True)
class _Part:
    sessions: str
    params: bytes
    bounds: tuple[int, int] | None


@dataclass
class Outside:
    """What is still to be looked for, by table. ``len`` and ``cut`` undo what a batch that failed has added."""

    _parts: list[tuple[str, _Part]] = field(default_factory=list)
    _listed: tuple[Sequence[str], str, bytes] = ((), "", b"")

    def add(self, table: str, ids: Sequence[str], bounds: tuple[int, int] | None) -> None:
        """Look for rows of ``ids`` outside of ``bounds``; None: anywhere."""
        # one text for all ids, and for all tables, takes a sixteenth of the room of the ids
        if self._listed[0] is not ids:
            some, params = id_list(ids)
            self._listed = (ids, some, zlib.compress(json.dumps(params).encode(), 1))
        self._parts.append((table, _Part(*self._listed[1:], bounds)))

    def __len__(self) -> int:
        return len(self._parts)

    def cut(self, length: int) -> None:
        del self._parts[length:]

    def settle(self, target: TargetReader, result: Comparison) -> None:
        """Tell of every row that is found."""
        for table in dict.fromkeys(table for table, _ in self._parts):
            if target.count(table) == result.by_table.get(table, 0):
                continue
            for part in (part for name, part in self._parts if name == table):
                where = f"session_id IN ({part.sessions})"
                params: list[Any] = json.loads(zlib.decompress(part.params))
                if part.bounds is not None:
                    where, params = f"{where} AND NOT +id BETWEEN ? AND ?", [*params, *part.bounds]
                for row_id, session in target.read(table, ("id", "session_id"), where, params, ("id",)):
                    result.found(table, 1)
                    result.row(str(session), table, row_id, missing=False)
        self._parts.clear()
