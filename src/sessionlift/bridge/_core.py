"""The heart of the bridge: where a session lives, and its move at first use, exactly once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

from sessionlift.bridge._place import Place
from sessionlift.bridge._retries import Retries
from sessionlift.bridge._rollout import Rollout
from sessionlift.bridge._shadow import Compare, Shadow
from sessionlift.bridge._signature import LegacyWatch
from sessionlift.bridge._sources import Given, rollout_source
from sessionlift.bridge._window import Window
from sessionlift.converters import SESSION
from sessionlift.errors import (
    ConversionError,
    FidelityError,
    SessionConflictError,
    SessionliftError,
    StoreFullError,
    StoreLockedError,
    StoreReadOnlyError,
    UsageError,
)
from sessionlift.generations import detect, require_generation
from sessionlift.ledger import Attempts, Ledger, Notes
from sessionlift.reports import Kind, utc_now
from sessionlift.runs import (
    SOURCES,
    Converted,
    Road,
    SessionMover,
    Source,
    TransferOptions,
    assumptions,
    is_blank,
    new_run_id,
    refuse_same,
    report_path,
    road_from,
)
from sessionlift.stores import Store, StoreURL, open_store, parse_store_url, quote_identifier

T = TypeVar("T")
OnError = Literal["serve_legacy", "raise"]
Conflicts = Literal["raise", "append_legacy", "keep_new"]
Driver = Literal["libsql", "sqlite"]

_PASSES = (StoreLockedError, StoreFullError, StoreReadOnlyError, FidelityError)
"""What may keep a target from being opened for moves, and go by."""


@dataclass(frozen=True)
class _Known:
    """What the target says of a session, all of it read at one moment."""

    present: bool = False
    state: str | None = None
    digest: str = ""
    failed: int = 0
    failed_at: str = ""
    failed_code: str = ""
    failed_error: str = ""

    @property
    def lives(self) -> bool:
        """Its rows are there and stand: moved here, or made here."""
        return self.present and self.state != "rolled_back"

    @property
    def gone(self) -> bool:
        """It was here, and was deleted: by the bridge, or by a program that knows no ledger."""
        return not self.present and self.state in ("deleted", "moved", "partial")


class BridgeCore:
    """Answers where a session lives, and moves it at first use if the rollout says so. Knows no system.

    Safe to use from any number of threads. Two connections to the target: one serves, one moves, so that a move that
    has to wait does not keep those from reading whose sessions have moved. The legacy store is only read.

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
        reports: Path | None = None,
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
        self.conflicts, self.wait = conflicts, wait
        self._on_error = on_error
        self._kind = kind
        self._mover: SessionMover | None = None
        self._store: Store | None = None
        self._serving, self._moving, self._reading = threading.RLock(), threading.RLock(), threading.RLock()
        self._flights: dict[str, Future[Place]] = {}
        self._flights_lock = threading.Lock()
        self._retries = Retries(retry_after)
        self._no_mover: SessionliftError | None = None
        self._retry_after, self._try_again_at = retry_after, 0.0
        self._watch = LegacyWatch(self.source)
        self._stack = ExitStack()
        self._closed = False
        refuse_same(self.source, self.target)
        run_id = new_run_id(kind)
        self._window = Window(
            kind,
            run_id,
            report_path(self.target, run_id, reports, source=self.source),
            {**self.options.to_message(), "on_error": on_error, "conflicts": conflicts, "wait": wait},
        )
        with ExitStack() as stack:
            stack.callback(self._close_stores)
            self._open()
            self._rollout = rollout_source(
                Rollout() if rollout is None else rollout,
                read=lambda work: self.run(work) if self._store is not None else Rollout(mode="off"),
                told=lambda error: self.note(error.code, error.what),
            )
            self._shadow = Shadow(self, compare)
            stack.pop_all()
        self._report_every, self._report_due = report_every, time.monotonic() + report_every

    # --- opening ----------------------------------------------------------------------------------------------

    def _open(self) -> None:
        try:
            self._open_mover()
        except _PASSES as error:
            # what nobody can read, nobody can serve from: only a target that holds nothing yet can wait
            if self._on_error == "raise" or error.fields.get("role") == "source":
                raise
            if isinstance(error, FidelityError) and not self._nothing_moved_yet():
                raise
            self._tell_no_mover(error)
        self.road: Road = self._mover.road if self._mover is not None else self._look_at_source()
        self._legacy: Source = self._stack.enter_context(self.road.open_live(self.source))
        self._forward = self._legacy.forward(self.options)
        self._open_store()

    def _open_mover(self) -> None:
        mover = SessionMover(
            self.source,
            self.target,
            self.options,
            kind=self._kind,
            run_id=self._window.run_id,
            wait=self.wait,
            committed=self._window.committed,
        )
        mover.__enter__()
        self._mover, self._no_mover = mover, None
        told = assumptions(self.options)
        told.append("every session was read back from the target, and its digest compared, before it was committed")
        open_runs = [run.run_id for run in mover.ledger.runs() if run.status == "running"]
        if others := [run_id for run_id in open_runs if run_id != self._window.run_id]:
            told.append(
                f"{len(others):,} other run(s) are not at their end (such as {others[0]}): "
                "still at work in another process, or killed"
            )
        self._window.begun(mover, told)

    def _look_at_source(self) -> Road:
        found = detect(self.source)
        require_generation(found, *SOURCES, store=self.source.redacted, role="source")
        return road_from(found.generation)

    def _nothing_moved_yet(self) -> bool:
        return self.target.path is not None and (not self.target.path.exists() or is_blank(self.target))

    def _open_store(self) -> None:
        if self._mover is None and self._nothing_moved_yet():
            return
        try:
            store = open_store(self.target, mode="rw", role="target")
        except StoreReadOnlyError:
            store = open_store(self.target, mode="ro", role="target")
        store.be_patient(self.wait)
        self._store = store

    def _tell_no_mover(self, error: SessionliftError) -> None:
        self._no_mover, self._try_again_at = error, time.monotonic() + self._retry_after
        self.note(error.code, f"no session can be moved for now: {error.what}")

    def _ready_mover(self) -> SessionMover:
        """The mover, opened now if it could not be before. Raises what keeps it away."""
        if self._closed:
            raise UsageError("the bridge is closed")
        if self._mover is None:
            if self._no_mover is not None and time.monotonic() < self._try_again_at:
                raise self._no_mover
            try:
                self._open_mover()
            except SessionliftError as error:
                self._tell_no_mover(error)
                raise
        assert self._mover is not None  # noqa: S101 - opened just now
        return self._mover

    # --- where a session lives --------------------------------------------------------------------------------

    def ensure(self, session_id: str) -> Place:
        """Where the session lives; moved now, if it has not moved yet and the rollout chooses it.

        Raises an error of our tree where that cannot be said (a store that cannot be read), and with
        ``on_error="raise"`` where it could not be moved.
        """
        return self.known(session_id) or self.settle(session_id)

    def known(self, session_id: str) -> Place | None:
        """The answer, where reading the target is enough for it; else None, and ``settle`` finds it."""
        found = self._look(session_id)
        if found.lives and (found.state not in ("moved", "partial") or self._watch.fresh(session_id)):
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
        found = self._look(session_id)
        if found.gone:
            return Place(session_id, "deleted")
        if found.lives:
            return self._late(session_id, found)
        if found.state == "rolled_back":
            return self._in_legacy(session_id)
        rollout = self.rollout
        if rollout.shadows(session_id):
            return self._in_legacy(session_id, self._shadow.look(session_id, rollout))
        if not rollout.moves(session_id):
            return self._in_legacy(session_id)
        signature = self._watch.signature()
        if found.state == "quarantined" and not self._changed(session_id, found):
            self._watch.compared(session_id, signature)
            return self._in_legacy(session_id, self._quarantined(session_id))
        if self._on_error == "serve_legacy" and (error := self._too_early(session_id, found)) is not None:
            return self._in_legacy(session_id, error)
        return self._move(session_id, found)

    def _move(self, session_id: str, found: _Known) -> Place:
        signature = self._watch.signature()
        try:
            with self._moving:
                moved = self._ready_mover().move(session_id, again=found.state == "quarantined")
        except SessionliftError as error:
            return self._failed(session_id, error)
        if self._store is None:
            with self._serving:
                self._open_store()
        if moved.state == "absent":
            return Place(session_id, "absent")
        self._watch.compared(session_id, signature)
        self._settled(session_id, found)
        if moved.state == "quarantined":
            return self._in_legacy(session_id, self._quarantined(session_id))
        if moved.state in ("deleted", "rolled_back"):
            return Place(session_id, "deleted") if moved.state == "deleted" else self._in_legacy(session_id)
        return Place(session_id, "new", moved_now=moved.now)

    def _failed(self, session_id: str, error: SessionliftError) -> Place:
        """A move did not go through. Another process may have moved the session meanwhile; else it stays."""
        if error.fields.get("role") == "source" or isinstance(error, UsageError):
            raise error
        if self._store is not None and self._look(session_id).lives:
            return Place(session_id, "new")
        self._retries.failed(session_id, error)
        self._window.failed(session_id, error)
        self._note_attempt(session_id, error)
        if self._on_error == "raise":
            raise error
        return self._in_legacy(session_id, error)

    def _note_attempt(self, session_id: str, error: SessionliftError) -> None:
        # the target that refused the move mostly refuses this too; the report and this process know it all the same
        if isinstance(error, StoreLockedError) or self._mover is None:
            return
        try:
            self.write(
                lambda store: Attempts(store).failed(
                    session_id, run_id=self.run_id, at=utc_now(), code=error.code, error=error.what
                )
            )
        except SessionliftError as second:
            self.note("attempt_not_noted", f"a failed move could not be noted in the target: {second.what}")

    def _settled(self, session_id: str, found: _Known) -> None:
        self._retries.settled(session_id)
        self._window.settled(session_id)
        if found.failed:
            try:
                self.write(lambda store: Attempts(store).settled(session_id))
            except SessionliftError as error:
                self.note("attempt_not_noted", f"that a move went through could not be noted: {error.what}")

    def _too_early(self, session_id: str, found: _Known) -> SessionliftError | None:
        error = self._retries.waiting(session_id)
        if error is None and found.failed and self._retries.waiting_since(found.failed_at, found.failed):
            return SessionliftError(found.failed_error, session_id=session_id, noted_as=found.failed_code)
        return error

    def _late(self, session_id: str, found: _Known) -> Place:
        """A session that lives in the new store: has the legacy one gone on with it since?"""
        if found.state not in ("moved", "partial") or self._watch.fresh(session_id):
            return Place(session_id, "new")
        signature = self._watch.signature()
        if not self._changed(session_id, found):
            self._watch.compared(session_id, signature)
            return Place(session_id, "new")
        with self._moving:
            moved = self._ready_mover().move(session_id, again=True)
        if moved.state != "changed_on_both_sides":
            self._watch.compared(session_id, signature)
            return Place(session_id, "new", moved_now=moved.now)
        error = SessionConflictError(
            f"session {session_id!r} was written in the legacy store and in the new one since it moved",
            hint="`sessionlift catch-up SOURCE TARGET` shows both tails, and --on-conflict resolves it",
            session_id=session_id,
        )
        self._window.failed(session_id, error)
        self._note_attempt(session_id, error)
        return Place(session_id, "new", error=error)

    def _changed(self, session_id: str, found: _Known) -> bool:
        with self._moving:
            return self._ready_mover().changed(session_id, found.digest)

    def _in_legacy(self, session_id: str, error: SessionliftError | None = None) -> Place:
        with self._reading, self._legacy.mapped():
            absent = bool(self._forward.missing([session_id]))
        return Place(session_id, "absent" if absent else "legacy", error=error)

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

    def _look(self, session_id: str) -> _Known:
        with self._serving:
            if self._closed:
                raise UsageError("the bridge is closed")
            if self._store is None:
                if self._nothing_moved_yet():
                    return _Known()
                self._open_store()
            assert self._store is not None  # noqa: S101 - opened just now, or before
            (row,) = self._store.query(
                f"SELECT (SELECT count(*) FROM {quote_identifier(self.road.home)} WHERE session_id = ?1), u.state, u.source_digest, a.count, "
                "a.at, a.code, a.error FROM (SELECT 1) LEFT JOIN sessionlift_units AS u "
                "ON u.unit = 'session' AND u.session_id = ?1 "
                "LEFT JOIN sessionlift_attempts AS a ON a.session_id = ?1",
                (session_id,),
            )
        present, state, digest, failed, at, code, error = row
        if failed is None:
            return _Known(bool(present), _text(state), str(digest or ""))
        return _Known(bool(present), _text(state), str(digest or ""), int(str(failed)), str(at), str(code), str(error))

    # --- what fronts build on ---------------------------------------------------------------------------------

    @property
    def rollout(self) -> Rollout:
        """The rollout in force: what was asked for, with a share that no longer rises once the budget is spent."""
        return self._shadow.held(self._rollout.now())

    @property
    def run_id(self) -> str:
        """This window's run in the ledger."""
        return self._window.run_id

    @property
    def report(self) -> Path:
        """Where this window's report is, or will be."""
        return self._window.path

    def run(self, work: Callable[[Store], T]) -> T:
        """Give ``work`` the opened target, alone; transactions are its own affair. Do not call ``ensure`` inside."""
        with self._serving:
            if self._closed:
                raise UsageError("the bridge is closed")
            if self._store is None:
                if self._mover is None:
                    with self._moving:
                        self._ready_mover()
                self._open_store()
            assert self._store is not None  # noqa: S101 - opened just now, or before
            return work(self._store)

    def legacy(self, work: Callable[[Source], T]) -> T:
        """Give ``work`` the opened legacy store, alone; it must only read."""
        with self._reading, self._legacy.mapped():
            return work(self._legacy)

    def write(self, work: Callable[[Store], T]) -> T:
        """``work`` in one transaction of the connection that moves, apart from the one that serves."""
        with self._moving:
            store = self._ready_mover().store
            with store.transaction():
                return work(store)

    def convert(self, session_id: str) -> Converted | None:
        """The session as a move would write it now; None where the legacy store lacks it. Writes nothing."""
        with self._moving:
            return self._ready_mover().convert(session_id)

    def read_note(self, name: str) -> Any:
        """A setting in the target's ledger; None where there is none, or no ledger yet."""
        with self._serving:
            return None if self._store is None else Notes(self._store).read(name)

    def delete(self, store: Store, session_id: str) -> None:
        """Delete a session for good, inside a transaction of ``run``'s work: its rows go, and a tombstone in the
        ledger keeps it from coming back from the legacy store, if it is there or ever was."""
        ledger = Ledger(store)
        self.road.rows.remove(store, SESSION, [session_id])
        known = ledger.units(SESSION, [session_id])
        digest = None if known else self._legacy_digest(session_id)
        if known or digest is not None:
            ledger.bury(session_id, run_id=self.run_id, at=utc_now(), source_digest=digest or "")
        Attempts(store).settled(session_id)

    def _legacy_digest(self, session_id: str) -> str | None:
        """The digest of a session that is to be deleted before it ever moved; None if there is none."""
        converted = self.convert(session_id)
        return None if converted is None else converted.source_digest

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
        with self._moving, self._serving, self._reading:
            if self._closed:
                return
            self._closed = True
            try:
                self._window.finish(self._mover, status=status, secrets=self._secrets())
            finally:
                self._close_stores()

    def _close_stores(self) -> None:
        mover, self._mover = self._mover, None
        store, self._store = self._store, None
        with self._stack:
            if store is not None:
                self._stack.callback(store.close)
            if mover is not None:
                self._stack.callback(mover.__exit__, None, None, None)

    def __enter__(self) -> BridgeCore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
