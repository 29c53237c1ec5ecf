"""Which sessions a rollback is about, and which store they go to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sessionlift.errors import StoreNotFoundError, UsageError, WrongGenerationError
from sessionlift.generations import MOVED, Detection
from sessionlift.ledger import Ledger, LedgerRun, LedgerUnit
from sessionlift.runs._known import require_moved_into
from sessionlift.runs._places import places, said_since
from sessionlift.runs._rollback_options import RollbackOptions
from sessionlift.runs._ways_back import TARGETS
from sessionlift.stores import StoreURL, parse_store_url, real_file


@dataclass
class Chosen:
    """``ids`` in the order they are taken back; ``native`` are those of them that the ledger does not know.

    ``left`` counts sessions of the application's own that the choice does not reach.
    """

    ids: list[str]
    units: dict[str, LedgerUnit]
    native: set[str] = field(default_factory=set)
    left: int = 0


def choose(ledger: Ledger, there: Sequence[str], options: RollbackOptions) -> Chosen:
    """The sessions that ``options`` name; ``there`` are those that lie in the target, in their order.

    Raises UsageError for a run or session that nobody knows.
    """
    units = {unit.session_id: unit for unit in ledger.sessions()}
    native = [key for key in there if key not in units]
    if options.everything:
        wanted = {*units, *native}
    elif options.sessions:
        wanted = set(options.sessions)
        unknown = sorted(wanted - units.keys() - set(native))
        if unknown:
            raise UsageError(
                f"the target has no session {unknown[0]!r}, and never had",
                hint="`sessionlift status TARGET` says what it holds",
                session_id=unknown[0],
            )
    elif options.run is not None:
        if options.run not in {run.run_id for run in ledger.runs()}:
            raise UsageError(
                f"the ledger knows no run {options.run!r}",
                hint="`sessionlift status TARGET` lists them",
                run_id=options.run,
            )
        wanted = {key for key, unit in units.items() if unit.run_id == options.run}
    else:
        after = options.after() or ""
        wanted = {key for key, unit in units.items() if unit.moved_at >= after}
    order = [key for key in there if key in wanted]
    rest = wanted.difference(order)
    order += [key for key in units if key in rest]
    found = Chosen(order, {key: units[key] for key in order if key in units})
    found.native = {key for key in native if key in wanted}
    found.left = len(native) - len(found.native)
    return found


def store_of(chosen: Chosen, runs: Sequence[LedgerRun], options: RollbackOptions) -> str:
    """The URL of the store that the sessions go to. Raises UsageError where the ledger does not name one, or the
    chosen ones live in another store already."""
    by_run = {run.run_id: run.source for run in runs}
    if options.to is not None:
        back = [unit for unit in chosen.units.values() if unit.state == "rolled_back"]
        homes = sorted({by_run[unit.run_id] for unit in back if unit.run_id in by_run})
        none_here = chosen.ids and len(back) == len(chosen.ids) and not options.everything
        if none_here and not places(homes) & places([options.to]):
            raise UsageError(
                f"the {len(back):,} sessions chosen were taken back into {' and '.join(homes)}, and live there: the "
                "target has nothing of them",
                hint="copy that store, or migrate them from there first",
            )
        return options.to
    # nothing of one in quarantine, or of one that was taken back, is there to be taken anywhere
    moved = [unit for unit in chosen.units.values() if unit.state not in ("rolled_back", "quarantined")]
    named = {by_run[unit.run_id] for unit in (moved or chosen.units.values()) if unit.run_id in by_run}
    if not named:
        named = set(by_run.values())
    named = {_as_said_since(each, runs) for each in named}
    if len({parse_store_url(each).place for each in named}) == 1:
        return min(named)
    if not named:
        raise UsageError(
            "the ledger names no store that a session came from", hint="say --to STORE; a new file is made"
        )
    raise UsageError(
        f"the sessions came from {len(named)} stores: {', '.join(sorted(named))}",
        hint="say --to STORE, or choose the sessions of one of them",
    )


def _as_said_since(named: str, runs: Sequence[LedgerRun]) -> str:
    """The store at ``named`` by the place that it was said to have since."""
    found = said_since(named, runs)
    if found is None:
        return named
    since, sure = found
    if not sure:
        raise UsageError(
            f"the sessions came from {named}, and {since} was said to be the same store since (--same-source); but a "
            "rollback has made another store of it, or that run did not come to its end: both may have gone on",
            hint=f"say --to {named}, or --to {since}",
        )
    return since


def refuse_what_nothing_moved_into(found: Detection, where: StoreURL) -> None:
    """Raises WrongGenerationError unless ``where`` is a store that sessions can be taken back from."""
    if found.generation in MOVED:
        raise WrongGenerationError(
            f"{where.redacted} is a {found.generation} store: sessions are taken back into it, not out of it",
            hint="name the new store, which they are in; the ledger in there knows where they came from",
            store=where.redacted,
            role="target",
        )
    require_moved_into(where, *TARGETS, found=found)


def refuse_without_directory(where: StoreURL) -> None:
    """Raises StoreNotFoundError where a file that is to be made would lie nowhere, before anything is copied."""
    if where.path is not None and not (parent := real_file(where.path).parent).is_dir():
        raise StoreNotFoundError(
            f"there is no directory {parent}",
            hint="create it, or check the path",
            store=where.redacted,
            role="source",
        )
