"""Single sessions out of a legacy store that is in use: what a bridge reads at first use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

from sessionlift.converters.langswarm._reading import Parsed, read_metadata
from sessionlift.converters.langswarm._row import Dress, LegacyRow, Unreadable
from sessionlift.converters.langswarm._session import make_rows
from sessionlift.converters.langswarm._source import LegacySource, Stray, open_legacy
from sessionlift.converters.langswarm._zone import Zone
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
        return self.do(lambda source: source.get(session_id))

    def heads(self, user_id: str | None = None, *, timezone: str = "UTC") -> list[tuple[Any, ...]]:
        """The rows of V2's ``sessions`` for the sessions of a user, or for all, made of their metadata alone.

        Sessions whose metadata V1 cannot read are left out.
        """
        zone = Zone(timezone)
        found = self.do(lambda source: list(source.heads(user_id)))
        rows = (_head(key, metadata, zone) for key, metadata in found if isinstance(key, str))
        return [row for row in rows if row is not None and user_id in (None, row[1])]

    def do(self, work: Callable[[LegacySource], Found]) -> Found:
        """Give ``work`` the store as it is now, alone."""
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


class LiveSource:
    """A LegacySource that is the store as it is at each call; what a killed program left is recovered for each.

    Between two calls a session may get another place: V1 saves a row by replacing it.
    """

    def __init__(self, url: StoreURL) -> None:
        self._reader = LegacyReader(url)
        self.dress: Dress = self._reader.do(lambda source: source.dress)

    @contextmanager
    def mapped(self) -> Iterator[None]:
        """See LegacySource.mapped; each call does that itself."""
        yield

    def walk(self) -> Iterator[tuple[int, LegacyRow]]:
        """See LegacySource.walk."""
        for place in self._reader.do(lambda source: [at for at, _ in source.walk()]):
            row = self.at(place)
            if row is not None:
                yield place, row

    def at(self, place: int) -> LegacyRow | None:
        """See LegacySource.at."""
        return self._reader.do(lambda source: source.at(place))

    def get(self, session_id: str) -> LegacyRow | None:
        """See LegacySource.get."""
        return self._reader.get(session_id)

    def place_of(self, session_id: str) -> int | None:
        """See LegacySource.place_of."""
        return self._reader.do(lambda source: source.place_of(session_id))

    def strays(self) -> Iterator[Stray]:
        """See LegacySource.strays."""
        yield from self._reader.do(lambda source: list(source.strays()))

    def close(self) -> None:
        self._reader.close()


def _head(key: str, cell: Any, zone: Zone) -> tuple[Any, ...] | None:
    try:
        return make_rows(key, Parsed(read_metadata(cell), {"session_id": key}, []), zone).rows.session
    except Unreadable:
        return None
