"""Single sessions out of a legacy store that is in use: what a bridge reads at first use."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from sessionlift.converters.langswarm._row import LegacyRow
from sessionlift.converters.langswarm._source import LegacySource, open_legacy
from sessionlift.errors import StoreError, StoreLockedError
from sessionlift.stores import StoreURL

Found = TypeVar("Found")


class LegacyReader:
    """Reads one session at a time, as it is now, through a connection that is kept. Any thread may call it.

    It holds no lock on the store between two reads. A file that was put in the store's place is seen. A store that a
    killed program left in need of recovery is read from a private copy for that once.
    """

    def __init__(self, url: StoreURL) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._source: LegacySource | None = None
        self._state: tuple[int, ...] | None = None

    def get(self, session_id: str) -> LegacyRow | None:
        """The session as it lies in the store now; None if it is not there.

        Raises StoreLockedError where another process held the store for too long, and the other errors of stores.
        """
        return self._do(lambda source: source.get(session_id))

    def _do(self, work: Callable[[LegacySource], Found]) -> Found:
        with self._lock:
            state = self._now()
            if self._source is not None and self._is_same(state):
                try:
                    return work(self._source)
                except StoreLockedError:
                    raise
                except StoreError:
                    # a journal that has to be rolled back, say: the store is opened again, and then says it itself
                    pass
            self._drop()
            self._source, self._state = open_legacy(self._url, snapshot=False), state
            try:
                return work(self._source)
            finally:
                if self._source.is_copy and self._source.dress != "dump":
                    self._drop()

    def _is_same(self, state: tuple[int, ...] | None) -> bool:
        """Whether what is open is still the store. A dump was read whole, and must not have been written to since."""
        if state is None or self._state is None or self._source is None:
            return False
        return state == self._state if self._source.dress == "dump" else state[:2] == self._state[:2]

    def _now(self) -> tuple[int, ...] | None:
        """What tells that another file lies there now, or that this one was written to."""
        try:
            found = self._url.path.stat() if self._url.path is not None else None
        except OSError:
            return None
        return None if found is None else (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)

    def _drop(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def close(self) -> None:
        with self._lock:
            self._drop()

    def __enter__(self) -> LegacyReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
