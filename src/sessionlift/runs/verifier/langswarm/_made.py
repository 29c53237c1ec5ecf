"""What must have become of a session: moved, moved in part, or put aside whole."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sessionlift.runs.verifier._depth import DEEP, depth
from sessionlift.runs.verifier.langswarm._ledger import Aside
from sessionlift.runs.verifier.langswarm._reading import UnreadableError, history_of, metadata_of
from sessionlift.runs.verifier.langswarm._rules import BeyondAllTimesError, Expected, expected
from sessionlift.runs.verifier.langswarm._salvaged import walk
from sessionlift.runs.verifier.langswarm._store import Cell, LegacyRow, UnreadableEntryError
from sessionlift.runs.verifier.langswarm._times import Clock

NESTED = "nested_too_deeply"


@dataclass
class Made:
    """``rows`` are None for a session that V1 cannot read: ``code`` and ``reason`` say why.

    ``cells`` are the source's cells that have to come back. ``history`` is None where the history is broken and was
    salvaged; ``problems`` are what is wrong with that.
    """

    rows: Expected | None
    code: str = ""
    reason: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    history: dict[str, Any] | None = None
    cells: dict[str, Cell] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        if self.rows is None:
            return "quarantined"
        return "moved" if self.history is not None else "partial"

    def read_counts(self, aside: list[Aside]) -> dict[str, int]:
        """Rows of the source by table, as the ledger counts them."""
        if self.rows is None:
            return {"sessions": 1}
        counts = Counter({"sessions": 1, "session_messages": len(self.rows.messages)})
        counts.update(each.table for each in aside)
        return dict(counts)

    def written_counts(self) -> dict[str, int]:
        """Rows of the target by table, as the ledger counts them."""
        if self.rows is None:
            return {}
        return {"sessions": 1, "session_messages": len(self.rows.messages), "session_metrics": 1}


def made_of(row: LegacyRow, clock: Clock, aside: list[Aside], *, salvage: bool) -> Made:
    """Work out what must have become of ``row``; ``aside`` are its rows in quarantine."""
    key = str(row.key)
    try:
        texts = row.texts()
    except UnreadableEntryError as error:
        return Made(None, "entry_unreadable", str(error))
    try:
        metadata = metadata_of(texts[0])
    except UnreadableError as error:
        return Made(None, "metadata_unreadable", str(error))
    history: dict[str, Any] | None = None
    problems: list[str] = []
    try:
        readable = history = history_of(texts[1])
    except UnreadableError as error:
        if not salvage:
            return Made(None, "history_unreadable", str(error))
        entries = {
            int(each.row_id): str((each.value() or {}).get("entry", ""))
            for each in aside
            if each.table == "session_messages" and str(each.row_id).isdecimal()
        }
        found = walk(texts[1], entries)
        readable, problems = {"messages": found.messages, **found.history}, found.problems
    try:
        rows = expected(key, metadata, readable, clock)
    except BeyondAllTimesError as error:
        return Made(None, "time_out_of_range", str(error))
    except RecursionError as error:
        return Made(None, NESTED, str(error))
    cells = dict(zip(row.columns, row.cells, strict=True)) if row.dress == "sqlite" else {}
    cells.update(metadata=texts[0], history=texts[1])
    if history is None:
        del cells["history"]
    return Made(rows, metadata=metadata, history=history, cells=cells, problems=problems)


def is_deep(row: LegacyRow) -> bool:
    """True for a row with values so deep that it depends on the interpreter whether they can be moved."""
    try:
        texts = row.texts()
    except UnreadableEntryError:
        return False
    return any(_depth(cell) >= DEEP for cell in texts)


def _depth(cell: Cell) -> int:
    if isinstance(cell, bytes):
        cell = cell.decode(json.detect_encoding(cell), "replace")
    return depth(cell) if isinstance(cell, str) else 0
