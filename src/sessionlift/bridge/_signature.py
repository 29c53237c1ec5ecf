"""Whether a legacy store may have been written to since it was looked at last: a few calls of ``stat``."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict

from sessionlift.stores import StoreURL, side_file

Signature = tuple[object, ...]

_ENDS = ("", "-wal", "-journal", ".wal")

KEPT = 10_000
"""How many sessions are remembered as looked at."""

_SETTLED_NS = 100_000_000
"""A file that was written to just now may be written to again within one tick of its clock."""


class LegacyWatch:
    """Knows for the sessions that were used last how the store's files were when each was compared.

    ``fresh`` is true where nothing was written to the store since; the session need not be compared again. Any thread
    may call it.
    """

    def __init__(self, source: StoreURL) -> None:
        self._path = source.path
        self._files = [] if source.path is None else [f"{source.path}{end}" for end in _ENDS]
        self._seen: OrderedDict[str, Signature] = OrderedDict()
        self._lock = threading.Lock()

    def signature(self) -> Signature | None:
        """The files as they are; None where that cannot tell whether they will change."""
        found: list[object] = []
        newest = 0
        for file in self._where():
            try:
                stat = os.stat(file)  # noqa: PTH116 - a path would cost more than the call
            except OSError:
                found.append(None)
                continue
            newest = max(newest, stat.st_mtime_ns)
            found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
        return tuple(found) if self._files and abs(time.time_ns() - newest) > _SETTLED_NS else None

    def _where(self) -> list[str]:
        """The store's files. A link may be given another end at any time; a name costs less than following it."""
        if self._path is None or not os.path.islink(self._path):  # noqa: PTH114 - as above
            return self._files
        return [str(side_file(self._path, end)) for end in _ENDS]

    def fresh(self, session_id: str) -> bool:
        """Whether the store is as it was when the session was compared last."""
        seen = self._seen.get(session_id)
        return seen is not None and seen == self.signature()

    def compared(self, session_id: str, signature: Signature | None) -> None:
        """The session was compared, and ``signature`` was taken before that."""
        with self._lock:
            self._keep(session_id, signature)

    def _keep(self, session_id: str, signature: Signature | None) -> None:
        if signature is None:
            self._seen.pop(session_id, None)
            return
        if self._seen and (last := self._seen[next(reversed(self._seen))]) == signature:
            signature = last  # most are equal: kept once
        self._seen[session_id] = signature
        self._seen.move_to_end(session_id)
        while len(self._seen) > KEPT:
            self._seen.popitem(last=False)
