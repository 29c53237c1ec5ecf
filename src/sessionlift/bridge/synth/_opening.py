"""The core, as soon as the legacy store lets itself be opened; until then, the new store alone.

DuckDB lets nobody read a store that another process has open for writing. What has moved needs no legacy store.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from sessionlift.bridge import BridgeCore
from sessionlift.errors import StoreLockedError, StoreNotFoundError, UsageError
from sessionlift.stores import Store, StoreURL, open_store

T = TypeVar("T")


class Opening:
    """``make`` makes the core. Where the legacy store is held, the first use after ``retry_after`` seconds tries again.

    Safe to use from any number of threads; whoever comes while another one tries does not wait for it.
    """

    def __init__(self, make: Callable[[], BridgeCore], target: StoreURL, *, wait: float, retry_after: float) -> None:
        self._make, self._target, self._wait, self._retry_after = make, target, wait, retry_after
        self._lock = threading.Lock()
        self._core: BridgeCore | None = None
        self._error: StoreLockedError | None = None
        self._due = 0.0
        self._closed = False
        with self._lock:
            self._try()

    def core(self) -> BridgeCore | None:
        """The core; None while another process holds the legacy store."""
        if self._closed:
            raise UsageError("the bridge is closed", hint="open another one")
        if self._core is None and time.monotonic() >= self._due and self._lock.acquire(blocking=False):
            try:
                if self._core is None and not self._closed:
                    self._try()
            finally:
                self._lock.release()
        return self._core

    def held(self, session_id: str) -> StoreLockedError:
        """The error for a session that cannot be looked for while the legacy store is held."""
        reason = self._error
        # DuckDB opens one file in one process in one way only
        ours = reason is not None and reason.fields.get("holder_pid") == os.getpid()
        who, ways = ("this", "close that connection") if ours else ("another", "end that process")
        return StoreLockedError(
            f"session {session_id!r} has not moved yet, and {who} process holds the legacy store"
            + (f": {reason.what}" if reason is not None else ""),
            hint=f"{ways}, or let the bridge read a snapshot; sessions that have moved are served meanwhile",
            store=None if reason is None else reason.fields.get("store"),
            role="source",
            session_id=session_id,
        )

    def target_alone(self, work: Callable[[Store], T]) -> T | None:
        """``work`` with the new store, read-only; None where nothing was moved into it yet."""
        try:
            store = open_store(self._target, mode="ro", role="target")
        except StoreNotFoundError:
            return None
        with store:
            store.be_patient(self._wait)
            if not store.query("SELECT 1 FROM sqlite_master WHERE name = 'sessionlift_units'"):
                return None
            return work(store)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._core is not None:
                self._core.close()

    def _try(self) -> None:
        try:
            core = self._make()
        except StoreLockedError as error:
            if error.fields.get("role") != "source":
                raise
            self._error, self._due = error, time.monotonic() + self._retry_after
            return
        if self._error is not None:
            core.note("legacy_store_held", "another process held the legacy store when this bridge was opened")
        self._core, self._error = core, None
