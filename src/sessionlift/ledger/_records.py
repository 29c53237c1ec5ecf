"""What the ledger says of a run, of a unit, and of a session that leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LedgerUnit:
    """What the ledger says of one moved unit. Counts are rows by table."""

    kind: str
    session_id: str
    run_id: str
    moved_at: str
    source_digest: str
    target_digest: str
    converter: str
    read_counts: dict[str, int]
    written_counts: dict[str, int]
    state: str


@dataclass(frozen=True)
class TakenBack:
    """A session that leaves the target; of its complement only ``complement`` stays.

    ``state`` is "rolled_back", or "deleted" for one that is in no store any more; ``source_digest`` is that of its
    legacy rows.
    """

    session_id: str
    source_digest: str
    state: str
    complement: dict[str, Any]


@dataclass(frozen=True)
class LedgerRun:
    """One run as the ledger has it. ``status`` is "running" for one that never came to its end."""

    run_id: str
    kind: str
    status: str
    source: str
    started_at: str
    finished_at: str | None
    summary: dict[str, Any]
    options: dict[str, Any]
