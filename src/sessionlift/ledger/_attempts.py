"""Sessions that could not be moved or caught up: when it was tried last, how often, and why it failed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sessionlift.stores import Store, listed

CONFLICT = "session_conflict"
"""The code of a session that both sides have changed; every other code is a move that failed."""


@dataclass(frozen=True)
class Attempt:
    """The last of ``count`` attempts. ``error`` is for people."""

    session_id: str
    run_id: str
    at: str
    count: int
    code: str
    error: str


class Attempts:
    """The table ``sessionlift_attempts``. Each write is a transaction of its own, unless one is open."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def failed(self, session_id: str, *, run_id: str, at: str, code: str, error: str) -> None:
        """Note one more attempt. Belongs into a transaction."""
        self._store.execute(
            "INSERT INTO sessionlift_attempts (session_id, run_id, at, count, code, error) VALUES (?, ?, ?, 1, ?, ?) "
            "ON CONFLICT (session_id) DO UPDATE SET run_id = excluded.run_id, at = excluded.at, "
            "count = CASE WHEN code = excluded.code THEN count + 1 ELSE 1 END, "
            "code = excluded.code, error = excluded.error",
            (session_id, run_id, at, code, error),
        )

    def settled(self, *session_ids: str) -> None:
        """Forget what went wrong with sessions: they are well now. Belongs into a transaction."""
        some, params = listed(session_ids)
        self._store.execute(f"DELETE FROM sessionlift_attempts WHERE session_id IN ({some})", params)

    def all(self) -> Iterator[Attempt]:
        """Every session that is not well, in the order of their ids."""
        for row in self._store.read_table(
            "sessionlift_attempts",
            ("session_id", "run_id", "at", "count", "code", "error"),
            order_by=("session_id",),
        ):
            session_id, run_id, at, count, code, error = row
            yield Attempt(str(session_id), str(run_id), str(at), int(str(count)), str(code), str(error))

    def counts(self) -> dict[str, int]:
        """How many sessions by code."""
        rows = self._store.query("SELECT code, count(*) FROM sessionlift_attempts GROUP BY code ORDER BY code")
        return {str(code): int(str(count)) for code, count in rows}
