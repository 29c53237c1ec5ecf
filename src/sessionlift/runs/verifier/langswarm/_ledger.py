"""What the ledger keeps of sessions besides their rows, as the verifier reads it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sessionlift.runs.verifier._readers import TargetReader, id_list


@dataclass(frozen=True)
class Aside:
    """One row in quarantine."""

    table: str
    row_id: str
    code: str
    row: Any
    run_id: str

    def value(self) -> Any:
        """The row as it was kept; None where it cannot be read."""
        try:
            return json.loads(self.row)
        except (TypeError, ValueError, RecursionError):
            return None


@dataclass
class Entry:
    """What the ledger has of one session; ``state`` is None where it has none. ``complement`` is its text."""

    state: str | None = None
    run_id: str | None = None
    source_digest: str | None = None
    target_digest: str | None = None
    read_counts: Any = None
    written_counts: Any = None
    complement: Any = None
    aside: list[Aside] = field(default_factory=list)


def entries_of(target: TargetReader, ids: Sequence[str]) -> dict[str, Entry]:
    """The entries of sessions, each with its rows in quarantine."""
    some, params = id_list(ids)
    mine = f"unit = 'session' AND session_id IN ({some})"
    found = {key: Entry() for key in ids}
    columns = ("session_id", "state", "run_id", "source_digest", "target_digest", "read_counts", "written_counts")
    for key, *values in target.read("sessionlift_units", columns, mine, params):
        found[key] = Entry(*values)
    for key, data in target.read("sessionlift_complement", ("session_id", "data"), mine, params):
        found[key].complement = data
    kept = ("session_id", "table_name", "row_id", "code", "row", "run_id")
    for key, *values in target.read("sessionlift_quarantine", kept, mine, params, ("id",)):
        found[key].aside.append(Aside(*values))
    return found
