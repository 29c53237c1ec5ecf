"""The stores that a bridge has open: two connections to the target, and the legacy store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from sessionlift.bridge._known import Known, known_in
from sessionlift.errors import (
    FidelityError,
    SessionliftError,
    StoreFullError,
    StoreLockedError,
    StoreReadOnlyError,
    UsageError,
)
from sessionlift.generations import detect, require_source
from sessionlift.ledger import Notes
from sessionlift.runs import SOURCES, Converted, Road, SessionMover, Source, convert_one, is_blank, road_from
from sessionlift.stores import Store, open_store

T = TypeVar("T")

_PASSES = (StoreLockedError, StoreFullError, StoreReadOnlyError, FidelityError)
"""What may keep a target from being opened for moves, and go by."""


class OpenedStores:
    """One connection serves, one moves, so that a move that has to wait keeps nobody from reading what has moved.

    ``make`` makes the mover, ``opened`` is told of it. With ``patient`` a target into which nothing can be moved for
    now does not keep the stores from opening: ``told`` hears why, and the next move after ``retry_after`` seconds
    tries again. Each of the three has a lock of its own; none is held while another is waited for, but where a caller
    asks from inside ``run``, and at the end: then in the order serving, moving, reading, and in no other.
    """

    def __init__(
        self,
        make: Callable[[], SessionMover],
        *,
        patient: bool,
        retry_after: float,
        opened: Callable[[SessionMover], None],
        told: Callable[[SessionliftError], None],
    ) -> None:
        self._make, self._opened, self._told = make, opened, told
        self._retry_after, self._due = retry_after, 0.0
        self._serving, self._moving, self._reading = threading.RLock(), threading.RLock(), threading.RLock()
        self._mover: SessionMover | None = None
        self._store: Store | None = None
        self._no_mover: SessionliftError | None = None
        self._closed = False
        plan = make()
        self.source, self.target, self._wait = plan.source, plan.target, plan.wait
        with ExitStack() as stack:
            stack.callback(self._close_target)
            try:
                self._open_mover()
            except _PASSES as error:
                if not patient or error.fields.get("role") == "source":
                    raise
                # what cannot be read exactly cannot be served either: only a target that holds nothing may wait
                if isinstance(error, FidelityError) and not self._blank():
                    raise
                self._put_off(error)
            self.road: Road = self._mover.road if self._mover is not None else self._look_at_source()
            self._legacy: Source = stack.enter_context(self.road.open_live(self.source))
            self._forward = self._legacy.forward(plan.options)
            if self._mover is not None or not self._blank():
                self._open_store()
            self._stack = stack.pop_all()

    # --- opening

    def _open_mover(self) -> None:
        mover = self._make().__enter__()
        self._mover, self._no_mover = mover, None
        self._opened(mover)

    def _put_off(self, error: SessionliftError) -> None:
        self._no_mover, self._due = error, time.monotonic() + self._retry_after
        self._told(error)

    def _look_at_source(self) -> Road:
        found = detect(self.source)
        require_source(found, *SOURCES, store=self.source.redacted)
        return road_from(found.generation)

    def _blank(self) -> bool:
        """Nothing was ever moved into the target: it is not there, or empty."""
        return self.target.path is not None and (not self.target.path.exists() or is_blank(self.target))

    def _open_store(self) -> Store:
        try:
            store = open_store(self.target, mode="rw", role="target")
        except StoreReadOnlyError:
            store = open_store(self.target, mode="ro", role="target")
        store.be_patient(self._wait)
        self._store = store
        return store

    def _ready_mover(self) -> SessionMover:
        self._refuse_closed()
        if self._mover is None:
            if self._no_mover is not None and time.monotonic() < self._due:
                raise self._no_mover
            try:
                self._open_mover()
            except SessionliftError as error:
                self._put_off(error)
                raise
        assert self._mover is not None  # noqa: S101 - opened just now
        return self._mover

    def _refuse_closed(self) -> None:
        if self._closed:
            raise UsageError("the bridge is closed", hint="open another one")

    # --- using

    def known(self, session_id: str) -> Known:
        """What the target says of the session, read by the connection that serves."""
        with self._serving:
            self._refuse_closed()
            store = self._store
            if store is None:
                if self._blank():
                    return Known()
                store = self._open_store()
            return known_in(store, self.road.home, session_id)

    def run(self, work: Callable[[Store], T]) -> T:
        """Give ``work`` the connection that serves, alone."""
        with self._serving:
            self._refuse_closed()
            if self._store is None:
                with self._moving:
                    self._ready_mover()
            return work(self._store or self._open_store())

    def moving(self, work: Callable[[SessionMover], T]) -> T:
        """Give ``work`` the mover, alone. Raises what keeps it away, if it could not be opened."""
        with self._moving:
            return work(self._ready_mover())

    def write(self, work: Callable[[Store], T]) -> T:
        """``work`` in one transaction of the connection that moves."""
        with self._moving:
            store = self._ready_mover().store
            with store.transaction():
                return work(store)

    def legacy(self, work: Callable[[Source], T]) -> T:
        """Give ``work`` the opened legacy store, alone; it must only read."""
        with self._reading, self._legacy.mapped():
            return work(self._legacy)

    def in_legacy(self, session_id: str) -> bool:
        with self._reading, self._legacy.mapped():
            return not self._forward.missing([session_id])

    def convert(self, session_id: str) -> Converted | None:
        """The session as a move would write it now; None where the legacy store lacks it. Writes nothing, and does
        not wait for a move that has to wait."""
        with self._reading, self._legacy.mapped():
            self._refuse_closed()
            return convert_one(self._legacy, self._forward, session_id)

    def note(self, name: str) -> object:
        """A setting in the target's ledger; None where there is none, or no ledger yet."""
        with self._serving:
            return None if self._store is None or self._closed else Notes(self._store).read(name)

    # --- the end

    def close(self, last: Callable[[SessionMover | None], None]) -> None:
        """Close everything, after ``last`` has had the mover. Twice does nothing."""
        with self._serving, self._moving, self._reading:
            if self._closed:
                return
            self._closed = True
            with self._stack:
                last(self._mover)

    def _close_target(self) -> None:
        mover, self._mover = self._mover, None
        store, self._store = self._store, None
        try:
            if store is not None:
                store.close()
        finally:
            if mover is not None:
                mover.__exit__(None, None, None)
