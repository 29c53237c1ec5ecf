"""When a move that failed is tried again: later each time, in this process and in the others."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timezone

from sessionlift.errors import SessionliftError

LONGEST_SECONDS = 600.0
KEPT = 10_000


@dataclass
class _Failed:
    count: int
    due: float
    error: SessionliftError


class Retries:
    """Failed moves of this process. The ledger has those of all, as far as the target could be written."""

    def __init__(self, first: float) -> None:
        self._first = first
        self._failed: OrderedDict[str, _Failed] = OrderedDict()

    def failed(self, session_id: str, error: SessionliftError) -> None:
        before = self._failed.pop(session_id, None)
        count = 1 if before is None else before.count + 1
        self._failed[session_id] = _Failed(count, time.monotonic() + self._pause(count), error)
        while len(self._failed) > KEPT:
            self._failed.popitem(last=False)

    def settled(self, session_id: str) -> None:
        self._failed.pop(session_id, None)

    def waiting(self, session_id: str) -> SessionliftError | None:
        """The error of the last attempt, if it is too early for the next one."""
        failed = self._failed.get(session_id)
        return failed.error if failed is not None and time.monotonic() < failed.due else None

    def waiting_since(self, at: str, count: int) -> bool:
        """Whether it is too early after the ``count``-th failure, which another process noted at ``at``."""
        try:
            passed = (datetime.now(timezone.utc) - datetime.fromisoformat(at)).total_seconds()
        except (ValueError, TypeError):
            return False
        # a time in the future is another machine's clock, and no reason to wait
        return 0 <= passed < self._pause(count)

    def _pause(self, count: int) -> float:
        return min(self._first * 2.0 ** min(count - 1, 30), LONGEST_SECONDS)
