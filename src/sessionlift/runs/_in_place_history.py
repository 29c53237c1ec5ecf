"""What was done to a store in place, and what it keeps for the way up."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from sessionlift.errors import UsageError
from sessionlift.generations import chain_of, detect, kept_rows, not_in_place
from sessionlift.runs._snapshot import in_place_url, reading


@dataclass(frozen=True)
class Step:
    """One step: ``direction`` is adopted, up or down; ``detail`` says what it kept, brought back or counted in."""

    run_id: str
    at: str
    direction: str
    revision: str
    tool: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class History:
    """The steps, oldest first, and the rows that are kept, by table."""

    store: str
    generation: str
    steps: list[Step]
    kept: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def history(store: str) -> History:
    """Read what our own tables in ``store`` say; writes nothing. A store that was never changed has no steps.

    Raises UsageError for a store of a system that is not changed in place.
    """
    where = in_place_url(store)
    found = detect(where, role="source")
    if not chain_of(found.generation):
        if not found.ledger:
            raise not_in_place(found, where)
        raise UsageError(
            f"{where.redacted} holds {found.generation}, which is not changed in place",
            hint="sessionlift status STORE tells what was moved into it",
        )
    with reading(where, role="source") as opened:
        steps: list[Step] = []
        if opened.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'sessionlift_steps'"):
            steps = [
                Step(str(row[0]), str(row[1]), str(row[2]), str(row[3]), str(row[4]), json.loads(str(row[5])))
                for row in opened.query(
                    "SELECT run_id, at, direction, revision, tool, detail FROM sessionlift_steps ORDER BY id"
                )
            ]
        return History(where.redacted, found.generation, steps, kept_rows(opened.query))
