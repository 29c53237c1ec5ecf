"""What a target's ledger says: how much was moved, by which runs, and what waits in quarantine."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from sessionlift.errors import WrongGenerationError
from sessionlift.generations import detect
from sessionlift.ledger import Ledger, LedgerRun
from sessionlift.runs._migrate import has_ledger
from sessionlift.stores import open_store, parse_store_url


@dataclass(frozen=True)
class TargetStatus:
    """``sessions`` counts by state: moved, partial (some rows in quarantine), quarantined."""

    target: str
    generation: str
    sessions: dict[str, int]
    quarantined_rows: int
    runs: list[LedgerRun] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def status(target: str) -> TargetStatus:
    """Read the ledger of ``target``; writes nothing. Raises WrongGenerationError where there is none."""
    where = parse_store_url(target)
    found = detect(where, role="target")
    with open_store(where, mode="ro", role="target") as store:
        if not has_ledger(store):
            raise WrongGenerationError(
                f"{where.redacted} holds {found.generation}, but no ledger: nothing was moved into it",
                hint="name the target of a migration; `sessionlift detect STORE` tells what a store holds",
                store=where.redacted,
                role="target",
            )
        ledger = Ledger(store)
        return TargetStatus(where.redacted, found.generation, ledger.states(), ledger.quarantine_size(), ledger.runs())
