"""The heart of the bridge: where a session lives, and its move at first use, exactly once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

from sessionlift.bridge._known import Known
from sessionlift.bridge._opened import OpenedStores
from sessionlift.bridge._place import Place
from sessionlift.bridge._retries import Retries
from sessionlift.bridge._rollout import Rollout
from sessionlift.bridge._shadow import Compare, Shadow
from sessionlift.bridge._signature import LegacyWatch
from sessionlift.bridge._sources import Given, rollout_source
from sessionlift.converters import SESSION
from sessionlift.errors import (
    ConversionError,
    SessionElsewhereError,
    SessionliftError,
    StoreLockedError,
    UsageError,
)
from sessionlift.ledger import Attempts, Ledger, LedgerUnit
from sessionlift.reports import Kind, Report, utc_now
from sessionlift.runs import (
    CatchUp,
    Converted,
    SessionMover,
    Source,
    TransferOptions,
    Window,
    assumptions,
    lives_in_another,
    new_run_id,
    refuse_same,
    report_path,
)
from sessionlift.stores import Store, StoreURL, parse_store_url

T = TypeVar("T")

ID_IN_USE = "the legacy store has another session of this id, which the new program has used for one of its own"
FROM_ANOTHER = (
    "it was moved from another legacy store, into which a rollback had taken it; this one has it otherwise, and is not "
    "looked at for it any more"
)
_AWAY = ("rolled_back", "quarantined")
"""States of sessions that live in a legacy store, which the run in the ledger names."""
OnError = Literal["serve_legacy", "raise"]
Conflicts = Literal["raise", "append_legacy", "keep_new"]
Driver = Literal["libsql", "sqlite"]


class BridgeCore:
    """Answers where a session lives, and moves it at first use if the rollout says so. Knows no system.

    Safe to use from any number of threads. The legacy store is only read.

    ``rollout`` is a Rollout, a JSON file, a function, or "ledger" (see ``sessionlift rollout``). ``on_error``: a move
    that fails leaves the session in the legacy store, which is noted and tried again later ("serve_legacy"), or is
    raised. ``wait``: seconds to wait for another writer. ``conflicts``: what becomes of a session that both sides
    have changed (docs/rollout.md). ``reports``: a directory, or a file, for this window's report; it is written every
    ``report_every`` seconds and at ``close``. ``compare`` is asked in shadow mode.

    Raises, when it is made, whatever keeps the stores from being served. With "serve_legacy", a target into which
    nothing can be moved for now is no such thing.
    """

    def __init__(
        self,
        source: str | StoreURL,
        target: str | StoreURL,
        options: TransferOptions | None = None,
        *,
        rollout: Given | None = None,
        on_error: OnError = "serve_legacy",
        wait: float = 10.0,
        conflicts: Conflicts = "raise",
        reports: str | Path | None = None,
        report_every: float = 600.0,
        driver: Driver = "libsql",
        compare: Compare | None = None,
        retry_after: float = 5.0,
        kind: Kind = "bridge",
    ) -> None:
        self.source = parse_store_url(source) if isinstance(source, str) else source
        where = parse_store_url(target) if isinstance(target, str) else target
        self.target = replace(where, engine="sqlite") if driver == "sqlite" and where.engine == "libsql" else where
        self.options = options or TransferOptions()
        self.conflicts, self._on_error = conflicts, on_error
        refuse_same(self.source, self.target)
        self.run_id = new_run_id(kind)
        self.report = report_path(self.target, self.run_id, reports, source=self.source)
        told = {**self.options.to_message(), "on_error": on_error, "conflicts": conflicts, "wait": wait}
        self._window = Window(kind, self.run_id, self.report, told)
        self._retries = Retries(retry_after)
        self._watch = LegacyWatch(self.source)
        self._flights: dict[str, Future[Place]] = {}
        self._flights_lock = threading.Lock()
        self._our_runs: set[str] = set()
        """runs that took sessions back into this store, or put them into quarantine from it"""
        self._stores = OpenedStores(
            lambda: SessionMover(
                self.source,
                self.target,
                self.options,
                kind=kind,
                run_id=self.run_id,
                wait=wait,
                committed=self._window.committed,
            ),
            patient=on_error == "serve_legacy",
            retry_after=retry_after,
            opened=self._begun,
            told=lambda error: self.note(error.code, f"no session can be moved for now: {error.what}"),
        )
        self.road = self._stores.road
        self._shadow = Shadow(self, compare, self._stores.note)
        try:
            self._rollout = rollout_source(
                Rollout() if rollout is None else rollout,
                note=self._stores.note,
                told=lambda error: self.note(error.code, error.what),
            )
        except BaseException:
            self.close(status="failed")
            raise
        self._report_every, self._report_due = report_every, time.monotonic() + report_every

    def _begun(self, mover: SessionMover) -> None:
        told = assumptions(self.options)
        told.append("every session was read back from the target, and its digest compared, before it was committed")
        open_runs = [run.run_id for run in mover.ledger.runs() if run.status == "running"]
        if others := [run_id for run_id in open_runs if run_id != self.run_id]:
            told.append(
                f"{len(others):,} other run(s) are not at their end (such as {others[-1]}): "
                "still at work in another process, or killed"
            )
        self._window.begun(mover, [*told, *mover.notes])

    # --- where a session lives --------------------------------------------------------------------------------

    def ensure(self, session_id: str) -> Place:
        """Where the session lives; moved now, if it has not moved yet and the rollout chooses it.

        Raises an error of our tree where that cannot be said (a store that cannot be read), SessionElsewhereError for
        one that lives in a legacy store that the bridge does not have, and with ``on_error="raise"`` what kept it from
        moving.
        """
        return self.known(session_id) or self.settle(session_id)

    def known(self, session_id: str) -> Place | None:
        """The answer, where reading the target is enough for it; else None, and ``settle`` finds it."""
        found = self._stores.known(session_id)
        if found.lives and (not (found.moved or found.native) or self._watch.fresh(session_id)):
            return Place(session_id, "new")
        return Place(session_id, "deleted") if found.gone else None

    def fresh(self, session_id: str) -> bool:
        """Whether nothing was written to the legacy store since this session was compared with it last.

        For fronts that read a session's rows together with its state in the ledger: fresh, it needs no ``ensure``.
        """
        return self._watch.fresh(session_id)

    def settle(self, session_id: str) -> Place:
        """What ``ensure`` does for a session that has to be looked at in the legacy store: moved, compared or left.

        Calls for one id that come while another is at it wait for that one, and get its answer.
        """
        with self._flights_lock:
            flight = self._flights.get(session_id)
            first = flight is None
            if flight is None:
                flight = self._flights[session_id] = Future()
        if not first:
            return replace(flight.result(), moved_now=False)
        try:
            place = self._settle(session_id)
        except BaseException as error:
            flight.set_exception(error)
            raise
        else:
            flight.set_result(place)
            return place
        finally:
            with self._flights_lock:
                del self._flights[session_id]
            self._report_if_due()

    def _settle(self, session_id: str) -> Place:
        found = self._stores.known(session_id)
        if found.gone:
            return Place(session_id, "deleted")
        if found.lives:
            return self._late(session_id, found)
        if found.state in _AWAY:
            self._refuse_elsewhere(session_id, found)
        if found.state == "rolled_back":
            return self._in_legacy(session_id)
        rollout = self.rollout
        if rollout.shadows(session_id):
            return self._in_legacy(session_id, self._shadow.look(session_id, rollout))
        if not rollout.moves(session_id):
            return self._in_legacy(session_id)
        if found.state == "quarantined" and not self._changed(session_id, found):
            return self._in_legacy(session_id, self._quarantined(session_id))
        if self._on_error == "serve_legacy" and (error := self._too_early(session_id, found)) is not None:
            return self._in_legacy(session_id, error)
        return self._move(session_id, found)

    # --- moving it --------------------------------------------------------------------------------------------

    def _move(self, session_id: str, found: Known) -> Place:
        signature = self._watch.signature()
        again = found.state == "quarantined"
        try:
            moved = self._stores.moving(lambda mover: mover.move(session_id, again=again))
        except SessionliftError as error:
            return self._failed(session_id, error)
        if moved.state == "absent":
            return Place(session_id, "absent")
        self._settled(session_id, found)
        if moved.state == "quarantined":
            return self._in_legacy(session_id, self._quarantined(session_id))
        if moved.state == "deleted":
            return Place(session_id, "deleted")
        if moved.state == "rolled_back":
            self._refuse_elsewhere(session_id, self._stores.known(session_id))
            return self._in_legacy(session_id)
        self._watch.compared(session_id, signature)
        return Place(session_id, "new", moved_now=moved.now)

    def _failed(self, session_id: str, error: SessionliftError) -> Place:
        """A move did not go through. Another process may have moved the session meanwhile; else it stays."""
        if error.fields.get("role") == "source" or isinstance(error, UsageError):
            raise error
        if self._stores.known(session_id).lives:
            return Place(session_id, "new")
        self._retries.failed(session_id, error)
        self._window.failed(session_id, error)
        self._note_attempt(session_id, error)
        if self._on_error == "raise":
            raise error
        return self._in_legacy(session_id, error)

    def _note_attempt(self, session_id: str, error: SessionliftError) -> None:
        # the target that refused the move mostly refuses this too; the report and this process know it all the same
        if isinstance(error, StoreLockedError):
            return
        try:
            self._stores.write(
                lambda store: Attempts(store).failed(
                    session_id, run_id=self.run_id, at=utc_now(), code=error.code, error=error.what
                )
            )
        except SessionliftError as second:
            self.note("attempt_not_noted", f"a failed move could not be noted in the target: {second.what}")

    def _settled(self, session_id: str, found: Known) -> None:
        self._retries.settled(session_id)
        self._window.settled(session_id)
        if found.failed:
            try:
                self._stores.write(lambda store: Attempts(store).settled(session_id))
            except SessionliftError as error:
                self.note("attempt_not_noted", f"that a move went through could not be noted: {error.what}")

    def _too_early(self, session_id: str, found: Known) -> SessionliftError | None:
        error = self._retries.waiting(session_id)
        if error is None and found.failed and self._retries.waiting_since(found.failed_at, found.failed):
            return SessionliftError(found.failed_error, session_id=session_id, noted_as=found.failed_code)
        return error

    def _late(self, session_id: str, found: Known) -> Place:
        """A session that lives in the new store: has the legacy one gone on with it since?"""
        if not (found.moved or found.native) or self._watch.fresh(session_id):
            return Place(session_id, "new")
        signature = self._watch.signature()
        if found.native:
            return self._begun_here(session_id, signature)
        try:
            caught_up = self._stores.moving(lambda mover: CatchUp(mover, self.conflicts).take(session_id, found.digest))
        except SessionliftError as error:
            # neither a legacy store that is away nor a busy target keeps what has moved from being served
            if self._on_error == "raise":
                raise
            self.note("not_compared", f"whether the legacy store has gone on is not known: {error.what}", session_id)
            return Place(session_id, "new", error=error)
        if caught_up.outcome == "elsewhere":
            # what the new store has came from that one: it is served, and not compared with this one
            self.note("lives_elsewhere", FROM_ANOTHER, session_id)
        if caught_up.outcome == "deleted":
            return Place(session_id, "deleted")
        if caught_up.error is None:
            self._watch.compared(session_id, signature)
            self._settled(session_id, found)
            return Place(session_id, "new", moved_now=caught_up.outcome == "moved_again")
        self._window.failed(session_id, caught_up.error)
        self._note_attempt(session_id, caught_up.error)
        return Place(session_id, "new", error=caught_up.error)

    def _begun_here(self, session_id: str, signature: Any) -> Place:
        """A session that the new program began is served, whatever the legacy store has; but one that lies hidden
        there under the same id is told. A backfill, or a one-shot run, puts that one into quarantine."""
        try:
            hidden = self._stores.in_legacy(session_id)
        except SessionliftError as error:
            self.note(
                "not_compared", f"whether the legacy store has the id, too, is not known: {error.what}", session_id
            )
            return Place(session_id, "new")
        self._watch.compared(session_id, signature)
        if hidden:
            self.note("id_in_use", f"{ID_IN_USE}; it stays unseen behind that one", session_id)
        return Place(session_id, "new")

    def _refuse_elsewhere(self, session_id: str, found: Known) -> None:
        """Raises SessionElsewhereError for a session that lives in another legacy store: this one has it as it was
        before."""
        if found.run_id not in self._our_runs:
            unit = (found.state or "", found.run_id)
            self._refuse(session_id, self.run(lambda store: self._elsewhere(store, [unit])).get(unit))

    def _refuse(self, session_id: str, lives: str | None) -> None:
        if lives is not None:
            raise SessionElsewhereError(
                f"session {session_id!r} was taken back into {lives}, and lives there",
                hint=f"`sessionlift migrate {lives} {self.target.redacted}` moves it from there; if "
                f"{self.source.redacted} has taken that store's place, put that one away and say same_source",
                store=lives,
                session_id=session_id,
            )

    def _elsewhere(self, store: Store, units: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Of states and runs of sessions that are not in the target, those that say another legacy store, and which."""
        away = {unit for unit in units if unit[0] in _AWAY and unit[1] not in self._our_runs}
        runs = Ledger(store).runs() if away else []
        found = {unit: lives_in_another(unit, self.source, runs, self.options) for unit in away}
        self._our_runs.update(run_id for (_, run_id), lives in found.items() if lives is None)
        return {unit: lives for unit, lives in found.items() if lives is not None}

    def _changed(self, session_id: str, found: Known) -> bool:
        return self._stores.moving(lambda mover: mover.changed(session_id, found.digest))

    def _in_legacy(self, session_id: str, error: SessionliftError | None = None) -> Place:
        return Place(session_id, "legacy" if self._stores.in_legacy(session_id) else "absent", error=error)

    def _quarantined(self, session_id: str) -> SessionliftError:
        where = "unit = 'session' AND session_id = ?"
        reasons = self.run(
            lambda store: list(
                store.read_table("sessionlift_quarantine", ("code", "reason"), where=where, params=(session_id,))
            )
        )
        code, reason = reasons[0] if reasons else ("quarantined", "it cannot be converted")
        return ConversionError(
            f"session {session_id!r} stays in the legacy store: {reason}",
            hint="it lies whole in quarantine; `sessionlift status TARGET` counts them",
            session_id=session_id,
            reason_code=code,
        )

    def elsewhere(self, store: Store, units: Mapping[str, LedgerUnit]) -> set[str]:
        """Those of ``units`` that live in another legacy store; told in this window's report. For lists, which leave
        them out."""
        found = self._elsewhere(store, [(unit.state, unit.run_id) for unit in units.values()])
        named = {
            key: found[unit.state, unit.run_id] for key, unit in units.items() if (unit.state, unit.run_id) in found
        }
        for key, lives in named.items():
            self.note("lives_elsewhere", f"it was taken back into {lives}, and lives there", key)
        return set(named)

    # --- what fronts build on ---------------------------------------------------------------------------------

    @property
    def rollout(self) -> Rollout:
        """The rollout in force: what was asked for, with a share that no longer rises once the budget is spent."""
        return self._shadow.held(self._rollout.now())

    def run(self, work: Callable[[Store], T]) -> T:
        """Give ``work`` the opened target, alone; transactions are its own affair. Do not call ``ensure`` inside."""
        return self._stores.run(work)

    def write(self, work: Callable[[Store], T]) -> T:
        """``work`` in one transaction of the connection that moves, apart from the one that serves."""
        return self._stores.write(work)

    def legacy(self, work: Callable[[Source], T]) -> T:
        """Give ``work`` the opened legacy store, alone; it must only read."""
        return self._stores.legacy(work)

    def convert(self, session_id: str) -> Converted | None:
        """The session as a move would write it now; None where the legacy store lacks it. Writes nothing."""
        return self._stores.convert(session_id)

    def setting(self, name: str) -> object:
        """A setting in the target's ledger; None where there is none, or no ledger yet."""
        return self._stores.note(name)

    def session_ids(self) -> list[str]:
        """The ids of all sessions in the legacy store, in the order they move."""

        def read(source: Source) -> list[str]:
            forward = source.forward(self.options)
            source.inventory(forward)
            return list(forward.session_ids())

        return self.legacy(read)

    def is_left(self, session_id: str) -> bool:
        """Whether the session still waits to be moved: neither moved, nor deleted, nor taken back. Reads the target."""
        found = self._stores.known(session_id)
        return not (found.lives or found.gone or found.state == "rolled_back")

    def in_quarantine(self, session_id: str) -> bool:
        """Whether the session lies in quarantine as a whole. Reads the target."""
        return self._stores.known(session_id).state == "quarantined"

    def meets_another(self, session_id: str) -> bool:
        """Whether the new program began a session of its own under the id of this legacy one, which is then put into
        quarantine whole, as a one-shot run does: it would stay unseen behind the other."""
        found = self._stores.known(session_id)
        if not found.present or found.state is not None:
            return False
        try:
            moved = self._stores.moving(lambda mover: mover.move(session_id))
        except SessionliftError as error:
            if error.fields.get("role") == "source":
                raise
            self._window.failed(session_id, error)
            return True
        return moved.state == "quarantined"

    @property
    def rows_written(self) -> int:
        """Rows that this window has written."""
        return self._window.rows

    def delete(self, store: Store, session_id: str) -> None:
        """Delete a session for good, inside a transaction of ``run``'s work: its rows go, and a tombstone in the
        ledger keeps it from coming back from the legacy store, if it is there or ever was. Raises SessionElsewhereError
        for one that lives in another legacy store."""
        ledger = Ledger(store)
        self.road.rows.remove(store, SESSION, [session_id])
        known = ledger.units(SESSION, [session_id])
        for lives in self._elsewhere(store, [(unit.state, unit.run_id) for unit in known.values()]).values():
            self._refuse(session_id, lives)
        legacy = None if known else self.convert(session_id)
        if known or legacy is not None:
            digest = "" if legacy is None else legacy.unit.source_digest
            ledger.bury(session_id, run_id=self.run_id, at=utc_now(), source_digest=digest)
        Attempts(store).settled(session_id)

    def note(self, code: str, text: str, session_id: str | None = None) -> None:
        """Tell an event in this window's report, once for each code and session."""
        self._window.note(code, text, session_id)

    # --- the end ----------------------------------------------------------------------------------------------

    def _report_if_due(self) -> None:
        if time.monotonic() >= self._report_due:
            self._report_due = time.monotonic() + self._report_every
            self._window.write(secrets=self._secrets())

    def _secrets(self) -> tuple[str, ...]:
        return () if self.target.token is None else (self.target.token,)

    def close(self, *, status: Any = None) -> None:
        """Write the window's last report, end its run in the ledger, and close the stores. Twice does nothing."""
        self._stores.close(lambda mover: self._finish(mover, status))

    def _finish(self, mover: SessionMover | None, status: Any) -> None:
        self._window.finish(mover, status=status, secrets=self._secrets())

    @property
    def outcome(self) -> tuple[Report, Path | None]:
        """Once closed: the report, and its file; None for a file that could not be written."""
        return self._window.report, self.report if self._window.unwritten is None else None

    def __enter__(self) -> BridgeCore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
