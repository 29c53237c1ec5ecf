"""What a target's ledger says: how much was moved, by which runs, and what waits, failed or stands in conflict."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from sessionlift import generations
from sessionlift.errors import UnknownGenerationError, WrongGenerationError
from sessionlift.generations import chain_of, detect, late_indexes
from sessionlift.ledger import CONFLICT, Attempts, Ledger, LedgerRun, ShadowCounts
from sessionlift.runs._known import has_ledger
from sessionlift.runs._options import TransferOptions
from sessionlift.runs._places import homes
from sessionlift.runs._roads import road_to
from sessionlift.stores import Store, StoreURL, open_store, parse_store_url, quote_identifier

LEDGER_ALONE = "the ledger alone; the next move makes the other tables again"
_OTHER_TABLES = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 12) <> 'sessionlift_' "
    "AND substr(name, 1, 7) <> 'sqlite_'"
)


@dataclass(frozen=True)
class Waiting:
    """What a gradual rollout has still to do. Counts are sessions.

    ``left``: in the legacy store and neither moved, deleted nor taken back (None where no source was named).
    ``failed``: by code, moves that did not go through. ``shadow``: compared; ``mismatches``: of them, by field.
    """

    left: int | None = None
    failed: dict[str, int] = field(default_factory=dict)
    conflicts: int = 0
    shadow: int = 0
    mismatching: int = 0
    mismatches: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TargetStatus:
    """``sessions`` counts by state: moved, partial (some rows in quarantine), quarantined, deleted, rolled_back.

    ``native`` counts those in the target that the ledger does not name: the application began them there.
    ``taken_back`` says by legacy store how many were rolled back into it and live there. ``late_indexes`` are left out
    until the run that fills a new target comes to its end, or the next one begins.
    """

    target: str
    generation: str
    sessions: dict[str, int]
    quarantined_rows: int
    runs: list[LedgerRun] = field(default_factory=list)
    waiting: Waiting = field(default_factory=Waiting)
    native: int = 0
    taken_back: dict[str, int] = field(default_factory=dict)
    late_indexes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def status(target: str, source: str | None = None) -> TargetStatus:
    """Read the ledger of ``target``; writes nothing. With ``source`` it also counts what is left there.

    Raises WrongGenerationError where there is no ledger, TargetNewerError where a newer build made it.
    """
    where = parse_store_url(target)
    generation = _generation(where)
    with open_store(where, mode="ro", role="target") as store:
        if not has_ledger(store):
            raise WrongGenerationError(
                f"{where.redacted} holds {generation}, but no ledger: nothing was moved into it",
                hint="`sessionlift session-buddy history STORE` tells what was done to a store that is changed in place"
                if chain_of(generation)
                else "name the target of a migration; `sessionlift detect STORE` tells what a store holds",
                store=where.redacted,
                role="target",
            )
        generations.refuse_newer_store(store)
        ledger = Ledger(store)
        runs = ledger.runs()
        left = None if source is None or generation == LEDGER_ALONE else _left(store, generation, source)
        return TargetStatus(
            where.redacted,
            generation,
            ledger.states(),
            ledger.quarantine_size(),
            runs,
            _waiting(store, left),
            _native(store, generation),
            homes(ledger, runs),
            late_indexes(store),
        )


def _generation(where: StoreURL) -> str:
    """The target's generation; a ledger is left alone where ``schema downgrade`` has taken the other tables away."""
    try:
        return detect(where, role="target").generation
    except UnknownGenerationError:
        with open_store(where, mode="ro", role="target") as store:
            if has_ledger(store) and not store.query(_OTHER_TABLES):
                return LEDGER_ALONE
        raise


def _waiting(store: Store, left: int | None) -> Waiting:
    if not store.query("SELECT 1 FROM sqlite_master WHERE name = 'sessionlift_shadow'"):
        return Waiting(left)  # a target of an early build
    attempts, shadow = Attempts(store).counts(), ShadowCounts(store)
    conflicts = attempts.pop(CONFLICT, 0)
    return Waiting(left, attempts, conflicts, shadow.compared(), shadow.mismatching(), shadow.fields())


def _native(store: Store, generation: str | None) -> int:
    road = road_to(str(generation))
    if road is None:
        return 0
    ((count,),) = store.query(
        f"SELECT count(*) FROM {quote_identifier(road.home)} WHERE session_id NOT IN "
        "(SELECT session_id FROM sessionlift_units WHERE unit = 'session')"
    )
    return int(str(count))


def _left(store: Store, generation: str, source: str) -> int:
    """Sessions of ``source`` that the ledger does not name; one whose rows lie whole in quarantine is not left."""
    road = road_to(generation)
    if road is None:
        return 0
    known = {str(key) for (key,) in store.query("SELECT session_id FROM sessionlift_units WHERE unit = 'session'")}
    with road.open_live(parse_store_url(source)) as legacy, legacy.mapped():
        forward = legacy.forward(TransferOptions())
        legacy.inventory(forward)
        return sum(1 for session_id in forward.session_ids() if session_id not in known)
