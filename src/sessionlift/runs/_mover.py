"""Single sessions, moved inside the application: the same converter, ledger and transaction as the one-shot run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any, Literal, cast

from sessionlift._version import __version__
from sessionlift.converters import CATALOG, SESSION, Batch, Forward, Group, Quarantined, RowKeys, Unit, UnitKind
from sessionlift.errors import StoreLockedError, StoreNotFoundError
from sessionlift.generations import Detection, detect, make_late_indexes, prepare_target, require_source
from sessionlift.ledger import Ledger, LedgerRun, LedgerUnit
from sessionlift.reports import utc_now
from sessionlift.runs._batches import complete, stopped
from sessionlift.runs._free_ids import keep_ids_free
from sessionlift.runs._known import has_ledger, holds_something, refuse_other_zone
from sessionlift.runs._memory_stage import MemoryRows, MemoryStage
from sessionlift.runs._options import TransferOptions
from sessionlift.runs._places import (
    live_elsewhere,
    lives_in_another,
    moved_from_others,
    refuse_same,
    refuse_unknown_place,
    taken_back_into,
)
from sessionlift.runs._protocol import Message
from sessionlift.runs._report_files import new_run_id
from sessionlift.runs._roads import SOURCES, Road, Source, chosen_road
from sessionlift.runs._transfer import (
    CHANGED_ON_BOTH_SIDES,
    LIVES_ELSEWHERE,
    SOURCE_SPOILED,
    UPDATE_REFUSED,
    Committed,
    Transfer,
)
from sessionlift.runs._ways_back import KeptInLedger, put_back_of
from sessionlift.stores import BUSY_SECONDS, Fidelity, Store, StoreURL, open_store, parse_store_url, probe_fidelity

State = Literal["moved", "partial", "quarantined", "deleted", "rolled_back", "changed_on_both_sides", "absent"]
"""What became of a session: its state in the ledger, or why it has none. "absent": the source does not hold it."""

_ATTEMPTS = 4
_BYTES = 6_000_000
"""Of so many of the source's bytes the digests are made together."""


@dataclass(frozen=True)
class Converted:
    """A session as the target would hold it: ``rows`` by table, each as values by column. Nothing was written."""

    session_id: str
    unit: Unit
    rows: dict[str, list[dict[str, Any]]]
    quarantine: list[Quarantined]


def convert_one(source: Source, forward: Forward, session_id: str) -> Converted | None:
    """What a move would write now; None where the source does not hold the session. Writes nothing.

    ``forward`` is a converter of ``source``; it must not know the session, or gives no rows of it.
    """
    return source.with_room(partial(_convert_one, forward, session_id))


def _convert_one(forward: Forward, session_id: str) -> Converted | None:
    group = next(iter(forward.pick([session_id])), None)
    if group is None:
        return None
    rows = MemoryRows()
    batch = forward.convert(group, rows)
    if not batch.units:
        # a live source may have lost it since it was picked
        return None
    return Converted(session_id, batch.units[0], rows.held(), list(batch.quarantine))


@dataclass(frozen=True)
class Moved:
    """``state`` of one session after a call; ``now`` is true where this very call moved it."""

    session_id: str
    state: State
    now: bool = False
    run_id: str | None = None
    moved_at: str | None = None


class SessionMover:
    """Moves sessions one by one from ``source`` into ``target``, in this thread; a context manager.

    Opening it prepares the target, probes its driver, and begins a run of kind ``kind`` in the ledger. Everything of
    a session is one ``BEGIN IMMEDIATE`` transaction of short statements, in which the ledger is asked first: whoever
    comes second, from whichever process, finds the first one's work and changes nothing. What was written is read
    back and its digest compared before it is committed.

    ``committed`` is called after each transaction with what it brought. Raises StoreLockedError when another writer
    keeps the target for longer than ``wait`` seconds; then nothing was written. Other threads run while it waits.
    """

    def __init__(
        self,
        source: str | StoreURL,
        target: str | StoreURL,
        options: TransferOptions,
        *,
        kind: str = "bridge",
        run_id: str | None = None,
        wait: float = BUSY_SECONDS,
        committed: Callable[[Committed], None] | None = None,
    ) -> None:
        self.source = parse_store_url(source) if isinstance(source, str) else source
        self.target = parse_store_url(target) if isinstance(target, str) else target
        self.options, self.kind, self.wait = options, kind, wait
        self.run_id = run_id or new_run_id(kind)
        self.told = committed or (lambda _: None)
        self._stack = ExitStack()

    def __enter__(self) -> SessionMover:
        with ExitStack() as stack:
            refuse_same(self.source, self.target)
            self.found: Detection = detect(self.source)
            require_source(self.found, *SOURCES, store=self.source.redacted)
            self.road: Road = chosen_road(self.found.generation, self.options)
            self.fidelity: Fidelity = probe_fidelity(self.target)
            self.fidelity.refuse_if_changed()
            # whatever is refused is refused before the target is made, or changed
            self._refuse_another_origin()
            self.made: Detection = prepare_target(self.target, self.road.target)
            self._legacy: Source = stack.enter_context(self.road.open_live(self.source))
            self.store: Store = stack.enter_context(open_store(self.target, mode="rw", role="target"))
            self.store.be_patient(self.wait)
            self.ledger = Ledger(self.store)
            runs = self._refuse_origin_of(self.ledger)
            make_late_indexes(self.store)
            self.notes = live_elsewhere(self.ledger, runs, taken_back_into(self.source, runs, self.options))
            self.ledger.start_run(
                self.run_id,
                kind=self.kind,
                tool=f"sessionlift {__version__}",
                source=self.source.redacted,
                generations=(self.road.source, self.road.target),
                options=self.options.to_message(),
                started_at=utc_now(),
            )
            self._forward = self._legacy.forward(self.options, KeptInLedger(self.ledger))
            with self._legacy.mapped():
                next_ids = self._forward.next_ids()
            self.notes += keep_ids_free(self.road.rows, self.store, next_ids)
            self._transfer = Transfer(
                self.store,
                self.road.rows,
                self.run_id,
                self.told,
                read_back=True,
                options=self.options,
                others=moved_from_others(self.source, runs),
                giver=put_back_of(self.road.target),
                home=self.road.home,
                source=self.source.redacted,
            )
            self._catalog_moved = False
            self._stack = stack.pop_all()
        return self

    def _refuse_another_origin(self) -> None:
        """Where the target is there and has a ledger. Reads only."""
        if not holds_something(self.target):
            return
        with suppress(StoreNotFoundError), open_store(self.target, mode="ro", role="target") as store:
            if has_ledger(store):
                self._refuse_origin_of(Ledger(store))

    def _refuse_origin_of(self, ledger: Ledger) -> list[LedgerRun]:
        refuse_other_zone(ledger, self.options, self.target)
        runs = ledger.runs()
        refuse_unknown_place(self.source, ledger, runs, self.options, self.target)
        return runs

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def made_by(self) -> str:
        """The converter and its version, as the ledger has them."""
        return f"{self._forward.name}/{self._forward.version}"

    def state(self, session_id: str) -> Moved | None:
        """What the ledger says of a session; None for one that was never moved. Reads the target only."""
        unit = self._unit(session_id)
        return None if unit is None else _moved(unit)

    def move(self, session_id: str, *, again: bool = False) -> Moved:
        """Move the session if the ledger does not name it; with ``again``, also if its source has changed since.

        A session that was deleted or rolled back is left alone. One that changed on both sides, or whose source can
        no longer be converted, or is refused by the target, is left as it is and comes back as "changed_on_both_sides".
        """
        if not again and (unit := self._unit(session_id)) is not None:
            return _moved(unit)
        self._move_catalog()
        rejected: dict[str, tuple[str, str]] = {}
        for _ in range(_ATTEMPTS):
            with self._legacy.mapped():
                group = self._picked(session_id)
                if group is None:
                    return Moved(session_id, "absent")
                answer = self._offer(partial(self._forward.convert, group, rejected=rejected), SESSION)
            unit = self._unit(session_id)
            if unit is not None and (answer["type"] == "ok" or answer["known"]):
                both = answer.get("aside", {}).get(session_id, "").partition(": ")[0] in (
                    CHANGED_ON_BOTH_SIDES,
                    SOURCE_SPOILED,
                    UPDATE_REFUSED,
                    LIVES_ELSEWHERE,
                )
                return _moved(unit, now=answer["type"] == "ok", both=both)
            rejected.update({key: (code, reason) for key, code, reason in answer.get("rejected", [])})
        raise StoreLockedError(
            f"session {session_id!r} kept changing while it was to be moved",
            hint="it is served from the legacy store; the next use tries again",
            store=self.target.redacted,
            role="target",
            session_id=session_id,
        )

    def lives_in_another(self, session_id: str) -> str | None:
        """The other legacy store that the session was moved from, or taken back into, and lives in; None if it is this
        source's. Reads the target only, as it is now: another run may have taken it there since this one began."""
        unit = self._unit(session_id)
        if unit is None:
            return None
        return lives_in_another((unit.state, unit.run_id), self.source, self.ledger.runs(), self.options)

    def holds(self, session_id: str) -> bool:
        """Whether the source holds the session. Reads the source only."""
        with self._legacy.mapped():
            return not self._forward.missing([session_id])

    def changed(self, session_id: str, digest: str) -> bool:
        """Whether the session's source rows have another digest now. False where the source has lost it."""
        with self._legacy.mapped():
            self._forward.know([(session_id, digest)])
            try:
                group = self._picked(session_id)
                if group is None:
                    return False
                return bool(self._legacy.with_room(lambda: self._forward.convert(group, MemoryRows())).units)
            finally:
                # known, it would give no rows when it is to be moved
                self._forward.know([(session_id, "")])

    def unchanged(self, known: Sequence[tuple[str, str]]) -> Iterator[list[str]]:
        """Those of ``known`` (ids and digests) whose source rows have that digest now, many at a time.

        To be gone through before anything else is asked: what reads single sessions numbers them anew.
        """
        forward = self._legacy.forward(replace(self.options, only=None))
        with self._legacy.mapped():
            self._legacy.inventory(forward)
            forward.know(known)
            try:
                for group in forward.groups(max_bytes=_BYTES):
                    found = self._legacy.with_room(partial(forward.known_now, group))
                    yield [key for key, digest in found.items() if digest is None]
            finally:
                # as in ``changed``
                forward.know((key, "") for key, _ in known)

    def lost(self, ids: Sequence[str]) -> set[str]:
        """Those of ``ids`` that the source does not hold. Reads the source only."""
        with self._legacy.mapped():
            return set(self._forward.missing(ids))

    def convert(self, session_id: str) -> Converted | None:
        """What a move would write now; None where the source does not hold the session. Writes nothing."""
        with self._legacy.mapped():
            return convert_one(self._legacy, self._forward, session_id)

    def _move_catalog(self) -> None:
        """Before the first session, what no session owns; once for each mover, and only what is new."""
        if self._catalog_moved:
            return
        known = next((digest for _, digest in self.ledger.digests(CATALOG)), None)
        leave: RowKeys = {}
        with self._legacy.mapped():
            for _ in range(_ATTEMPTS):
                answer = self._offer(partial(self._forward.catalog, known=known, leave=leave), CATALOG, leave)
                if answer["type"] == "ok":
                    break
                known, leave = next((digest for _, digest in answer["known"]), known), answer.get("leave", {})
        self._catalog_moved = True

    def _offer(self, convert: Callable[[MemoryStage], Batch], kind: UnitKind, leave: RowKeys | None = None) -> Message:
        stage, batch = self._legacy.with_room(partial(self._staged, convert))
        if batch.quarantine and self.options.on_error == "stop":
            raise stopped(batch)
        message = complete(stage, batch, kind, run_id=self.run_id, converter=self._forward, leave=leave)
        return self._transfer.commit(message, nullcontext(stage))

    def _staged(self, convert: Callable[[MemoryStage], Batch]) -> tuple[MemoryStage, Batch]:
        stage = MemoryStage(self.store)
        return stage, convert(stage)

    def _picked(self, session_id: str) -> Group | None:
        return self._legacy.with_room(lambda: next(iter(self._forward.pick([session_id])), None))

    def _unit(self, session_id: str) -> LedgerUnit | None:
        return self.ledger.units(SESSION, [session_id]).get(session_id)


def _moved(unit: LedgerUnit, *, now: bool = False, both: bool = False) -> Moved:
    state: State = "changed_on_both_sides" if both else cast(State, unit.state)
    return Moved(unit.session_id, state, now, unit.run_id, unit.moved_at)
