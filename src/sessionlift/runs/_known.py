"""What a target holds before a run: what was moved into it already, by which runs, and from where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sessionlift import generations
from sessionlift.converters import CATALOG, SESSION, load_zone, same_clock
from sessionlift.errors import OtherSourceError, StoreNotFoundError, UsageError, WrongGenerationError
from sessionlift.generations import Detection, detect, has_earlier_ledger, require_generation
from sessionlift.ledger import Ledger, LedgerRun, Retry
from sessionlift.runs._auto_backup import holds_data
from sessionlift.runs._options import TransferOptions
from sessionlift.runs._pairs import write_pairs
from sessionlift.runs._places import is_told, live_elsewhere, moved_from_others, places, taken_back_into
from sessionlift.stores import Store, StoreURL, open_store, side_file, sniff


@dataclass(frozen=True)
class Known:
    """``digests`` is a file with what was moved, one [id, digest] a line, and ``kept`` one with what ways back kept,
    one [id, what] a line; None where there is no ledger, or nothing was kept. ``retry`` says which units with
    rows in quarantine are worth another try, ``unwell`` names all of them (kind, id, why). ``sessions`` counts those
    that the ledger names, whether they live in the target or have left it; ``revived`` are the runs that took some
    back into this source, ``others`` those that moved some from another store where they live since, ``elsewhere`` says
    which were taken back into others. ``earlier``: the ledger has the form of an earlier build. ``otherwise`` are the
    runs that moved sessions which are there by another mapping file than the one of now."""

    filled: bool = False
    earlier: bool = False
    digests: Path | None = None
    catalog: str | None = None
    runs: Sequence[LedgerRun] = ()
    retry: Retry = field(default_factory=Retry)
    unwell: list[tuple[str, str, str]] = field(default_factory=list)
    kept: Path | None = None
    sessions: int = 0
    revived: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    elsewhere: Sequence[str] = ()
    otherwise: Sequence[str] = ()

    @property
    def sources(self) -> set[str]:
        return {run.source for run in self.runs}

    def told_of_mappings(self) -> list[str]:
        """What the report has to say of sessions that stay as another mapping file made them."""
        if not self.otherwise:
            return []
        runs = ", ".join(self.otherwise[:3]) + (" and others" if len(self.otherwise) > 3 else "")
        return [
            f"sessions that were moved before with another mapping file, or none ({runs}), stay as they are, as long "
            "as nothing of theirs is in quarantine or changes in the source; for one mapping in all of them, take "
            "them back (sessionlift rollback TARGET --all) and migrate again"
        ]

    def refuse_other_source(
        self, foreign: tuple[int, int, str | None], source: StoreURL, target: StoreURL, options: TransferOptions
    ) -> list[str]:
        """A target takes one source. The same one is told by its place; said to be another, it must share sessions.

        ``foreign`` is what the converter says under that name. Returns what the report has to say of sessions that are
        gone from the source. Raises OtherSourceError.
        """
        if not self.sessions:
            return []
        known, gone, example = foreign
        told = is_told(source, self.runs, options)
        # a rollback may have taken a part of the sessions into a store of its own
        taken_back_to = {run.source for run in self.runs if run.kind == "rollback"}
        none_shared = known and gone == known
        if (none_shared and source.place not in places(taken_back_to)) or not told:
            of_those = f"{gone:,} of the {known:,} sessions it got there are not in this source"
            raise OtherSourceError(
                f"{target.redacted} was filled from {', '.join(sorted(self.sources))}; "
                + (of_those if known else "what it got there was taken back, or waits in quarantine"),
                hint="give each source a target of its own; if it is the same store, moved, say --same-source",
                store=target.redacted,
                role="target",
            )
        told_of = list(self.elsewhere)
        if not gone:
            return told_of
        return [
            *told_of,
            f"{gone:,} sessions that were moved earlier (such as {example!r}) "
            "are no longer in the source; what the target has of them stays",
        ]


def what_is_known(source: StoreURL, target: StoreURL, options: TransferOptions, temporary: Path) -> Known:
    """What ``target`` holds, for a move from ``source``; the files are made in ``temporary``.

    Raises UsageError where it was filled under another zone than ``options`` has.
    """
    if not holds_something(target):
        return Known()
    try:
        with open_store(target, mode="ro", role="target") as store:
            return known_in(store, source, options, temporary)
    except StoreNotFoundError:
        return Known()


def known_in(store: Store, source: StoreURL, options: TransferOptions, temporary: Path) -> Known:
    """The same of an opened target, of which nothing is written."""
    filled = holds_data(store)
    if not has_ledger(store):
        return Known(filled)
    earlier = has_earlier_ledger(store)
    ledger = Ledger(store)
    runs = ledger.runs()
    refuse_other_zone(ledger, options, store.url)
    # what the last one could not convert may find a place by another mapping or clock, and a part by --salvage
    mapping = options.to_message()["mapping"]
    others = frozenset(
        run.run_id
        for run in runs
        if run.options.get("mapping") != mapping
        or (_has_zone(run) and not same_clock(run.options["timezone"], options.timezone))
        or (options.salvage and not run.options.get("salvage"))
    )
    retry = Retry(others, ledger.refused())
    revived = taken_back_into(source, runs, options)
    return Known(
        filled,
        earlier,
        write_pairs(temporary / "known.jsonl", ledger.digests(SESSION, retry=retry, revive=revived)),
        next((digest for _, digest in ledger.digests(CATALOG)), None),
        runs,
        retry,
        ledger.unwell(),
        write_pairs(temporary / "kept.jsonl", ledger.kept()),
        sum(ledger.states().values()),
        revived,
        moved_from_others(source, runs),
        live_elsewhere(ledger, runs, revived),
        [
            run.run_id
            for run in runs
            if run.options.get("mapping", mapping) != mapping and ledger.holds_any_of(run.run_id)
        ],
    )


def holds_something(url: StoreURL) -> bool:
    """Whether the store is more than an empty file, once what a killed writer left half-done is taken back: it may have
    been all there was. True for one that is not there, too: whoever opens it is told."""
    if is_blank(url):
        return False
    _roll_back(url)
    return not is_blank(url)


def _roll_back(url: StoreURL) -> None:
    """Let SQLite take back what a killed writer left half-done; nobody can read the store before."""
    if url.path is not None and side_file(url.path, "-journal").exists():
        open_store(url, mode="rw", role="target").close()


def is_blank(url: StoreURL) -> bool:
    """True for an empty file: what a run leaves that was killed while it made the target."""
    return url.path is not None and sniff(url.path) == "empty"


def has_ledger(store: Store) -> bool:
    return bool(store.query("SELECT 1 FROM sqlite_master WHERE name = 'sessionlift_units'"))


def require_moved_into(where: StoreURL, *wanted: str, found: Detection | None = None) -> Detection:
    """What ``where`` holds (``found``, if that is known): one of ``wanted``, with a ledger.

    Raises WrongGenerationError for anything else, TargetNewerError for what a newer build made, and the errors of a
    store that is not there or cannot be read.
    """
    found = found or detect(where, role="target")
    # what a newer build keeps there, or means by it, is not known here
    generations.refuse_newer(found.stamps, store=where.redacted)
    require_generation(found, *wanted, store=where.redacted, role="target")
    if not found.ledger:
        raise WrongGenerationError(
            f"{where.redacted} has no ledger: nothing was moved into it by this tool",
            hint="name the target of a migration",
            store=where.redacted,
            role="target",
        )
    return found


def refuse_other_zone(ledger: Ledger, options: TransferOptions, target: StoreURL) -> None:
    """Sessions of one target must not be moved under two readings of the same clock. Raises UsageError."""
    load_zone(options.timezone)
    runs = ledger.other_zones(options.timezone)
    others = sorted(runs)
    if others:
        told = "`sessionlift rollback --all`, and then migrate again"
        if all(same_clock(each, others[0]) for each in others):
            told = f"say --timezone {others[0]}"
        raise UsageError(
            f"{target.redacted} holds sessions that were moved with --timezone {' and '.join(others)}; "
            f"now it is {options.timezone}",
            hint=f"{told} (in Python: TransferOptions(timezone=...)), or name a new target",
            run_id=runs[others[0]],
        )


def _has_zone(run: LedgerRun) -> bool:
    return run.options.get("timezone") is not None
