"""Where the sessions of a target live, and which store may bring them: the one they came from, by its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from sessionlift.errors import OtherSourceError, UsageError
from sessionlift.ledger import Ledger, LedgerRun
from sessionlift.runs._options import TransferOptions
from sessionlift.stores import StoreURL, parse_store_url


def place_of(named: str) -> str:
    """Where a store lies that the ledger names: a rollback may name the one file by another engine."""
    return parse_store_url(named).place


def places(named: Iterable[str]) -> set[str]:
    """Where the stores lie that the ledger names."""
    return {place_of(each) for each in named}


def is_told(source: StoreURL, runs: Iterable[LedgerRun], options: TransferOptions) -> bool:
    """Whether ``source`` is the store that the target's sessions came from, or were taken back to: by its place, or
    because it is said.

    Once another place was said to be the store's, the former ones are not any more: a copy may have stayed there.
    """
    runs = list(runs)
    moves = [run for run in runs if run.kind != "rollback"]
    last = max((place for place, run in enumerate(moves) if run.options.get("same_source")), default=0)
    named = [run.source for run in (*moves[last:], *(each for each in runs if each.kind == "rollback"))]
    return options.same_source or source.place in places(named)


def said_since(named: str, runs: Iterable[LedgerRun]) -> tuple[str, bool] | None:
    """The store that ``--same-source`` has named since sessions were last moved from ``named``, and whether it must be
    that very one; None where there is none. A run that took nothing of a store has shown nothing.

    Where a rollback made another store before, which is gone from its place, the one that was said may be that: it is,
    if ``named`` is still there. One that a rollback took sessions into is not the same as its copies any more.
    """
    runs, place = list(runs), place_of(named)
    named_by = [(at, _moves(run)) for at, run in enumerate(runs) if place_of(run.source) == place]
    # of one that no session was moved from, since it was made
    last = max((at for at, moved in named_by if moved), default=max((at for at, _ in named_by), default=-1))
    later = [(at, run) for at, run in enumerate(runs) if at > last and _moves(run) and run.options.get("same_source")]
    later = [(at, run) for at, run in later if not run.summary or _took(run)]
    if not later:
        return None
    at, said = later[-1]
    ours = {place, place_of(said.source)}
    made = [run.source for run in runs[:at] if not _moves(run) and place_of(run.source) not in ours]
    gone = not all(map(_is_there, made))
    if gone and _is_there(named):
        return None
    is_home = any(not _moves(run) and place_of(run.source) == place for run in runs)
    return said.source, bool(said.summary) and not gone and not is_home


def _moves(run: LedgerRun) -> bool:
    return run.kind != "rollback"


def _took(run: LedgerRun) -> bool:
    return any(run.summary.get(name, 0) for name in ("migrated_sessions", "skipped_sessions"))


def taken_back_into(source: StoreURL, runs: Iterable[LedgerRun], options: TransferOptions) -> frozenset[str]:
    """The rollbacks into ``source``: what they took back lives there now, and comes from there only. A copy of the
    store that it once came from would bring it as it was then.

    Said to be the same, it also stands for a store that is no longer at its place.
    """
    return frozenset(
        run.run_id
        for run in runs
        if run.kind == "rollback"
        and (source.place in places([run.source]) or (options.same_source and not _is_there(run.source)))
    )


def moved_from_others(source: StoreURL, runs: Iterable[LedgerRun]) -> frozenset[str]:
    """The runs that moved sessions from another store, into which a rollback had taken some: what ``source`` has of
    those may be older, so it replaces nothing. Not while that store is gone from its place."""
    runs = list(runs)
    living = places(run.source for run in runs if run.kind == "rollback") - {source.place}
    return frozenset(
        run.run_id for run in runs if run.kind != "rollback" and places([run.source]) & living and _is_there(run.source)
    )


def lives_in_another(
    unit: tuple[str, str], source: StoreURL, runs: Iterable[LedgerRun], options: TransferOptions
) -> str | None:
    """The legacy store, other than ``source``, in which a session lives or from which it was moved since; None where
    there is none. ``unit`` is its state and its run, as the ledger has them."""
    state, run_id = unit
    runs = list(runs)
    place, run = next(((place, run) for place, run in enumerate(runs) if run.run_id == run_id), (0, None))
    if run is None:
        return None
    if run.kind == "rollback" and state == "rolled_back":
        # a store that is said to be the same once is so from then on
        said = any(each.options.get("same_source") and places([each.source]) == {source.place} for each in runs[place:])
        if taken_back_into(source, [run], replace(options, same_source=options.same_source or said)):
            return None
    elif run_id not in moved_from_others(source, runs):
        return None
    return run.source


def homes(ledger: Ledger, runs: Iterable[LedgerRun]) -> dict[str, int]:
    """How many sessions live in which legacy store, since ``runs`` have taken them back into it."""
    found: Counter[str] = Counter()
    names: dict[str, str] = {}
    for run in runs:
        if run.kind == "rollback":
            place = place_of(run.source)
            found[names.setdefault(place, run.source)] += ledger.taken_back_by(run.run_id)
    return {store: count for store, count in sorted(found.items()) if count}


def live_elsewhere(ledger: Ledger, runs: Iterable[LedgerRun], revived: frozenset[str]) -> list[str]:
    """What a report has to say of sessions that were taken back into other stores than the source of this run."""
    return [
        f"{count:,} sessions were taken back into {store} and live there, so they do not come from this source; name "
        "that store as the source, or, if this one has taken its place, put it away and say --same-source"
        for store, count in homes(ledger, [run for run in runs if run.run_id not in revived]).items()
    ]


def never_verified(
    runs: Iterable[LedgerRun], source: StoreURL, options: TransferOptions
) -> tuple[list[LedgerRun], list[LedgerRun]]:
    """The runs that no verification has passed since: those to compare with ``source``, and those of another store.

    Places alone do not tell stores apart, since one may have been moved, or copied and said to be the same. A rollback
    makes another one of the store that it takes sessions into; as long as both are there, each has its own.
    """
    runs = list(runs)
    rebuilt = places(run.source for run in runs if run.kind == "rollback")
    seen = {run_id for run in runs for run_id in run.summary.get("verified_runs", [])}
    # what failed is compared again until it passes, so that no later run can say that all is well
    seen |= {run.run_id for run in runs if run.summary.get("verification") == "passed"}
    # under another mapping other types are right; `sessionlift verify` compares each run under its own
    mapping = options.to_message()["mapping"]
    seen |= {run.run_id for run in runs if run.options.get("mapping", mapping) != mapping}
    mine: list[LedgerRun] = []
    others: list[LedgerRun] = []
    for run in runs:
        if run.run_id in seen or run.kind == "rollback":
            continue
        place = places([run.source])
        apart = source.place not in place and (source.place in rebuilt or place & rebuilt) and _is_there(run.source)
        (others if apart else mine).append(run)
    return mine, others


def refuse_same(source: StoreURL, target: StoreURL) -> None:
    """Raise UsageError where both are one file."""
    if source.path is not None and source.place == target.place:
        raise UsageError("source and target are the same file", hint="name a new file as the target")


def refuse_unknown_place(
    source: StoreURL, ledger: Ledger, runs: Iterable[LedgerRun], options: TransferOptions, target: StoreURL
) -> None:
    """Raise OtherSourceError for a store at a place that no session of the target came from or was taken back to."""
    runs = list(runs)
    if not runs or is_told(source, runs, options) or not ledger.states():
        return
    named = sorted({run.source for run in runs})
    raise OtherSourceError(
        f"{target.redacted} was filled from {', '.join(named)}, and not from {source.redacted}",
        hint="name that store; if this is the same one, moved, say so once: `sessionlift migrate ... --same-source`",
        store=target.redacted,
        role="target",
    )


def _is_there(named: str) -> bool:
    path = parse_store_url(named).path
    return path is None or path.exists()
