"""What a rollback is about to write into a legacy store, noted before it does: its own work, known again later."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sessionlift.ledger._notes import Notes
from sessionlift.stores import Store

_PREFIX = "rollback/"


class Intents:
    """By session the digests of legacy rows that rollbacks set out to write and did not come to the end of.

    A legacy store that holds such rows was not changed by the old program. Writes belong into a transaction.
    """

    def __init__(self, store: Store) -> None:
        self._notes = Notes(store)

    def all(self, store: str | None = None) -> dict[str, set[str]]:
        """By session the digests; with ``store`` only those meant for it."""
        found: dict[str, set[str]] = {}
        for note in self._notes.beginning(_PREFIX).values():
            if store is None or note["store"] == store:
                for session_id, digest in note["sessions"].items():
                    found.setdefault(session_id, set()).add(digest)
        return found

    def add(self, run_id: str, number: int, store: str, digests: Mapping[str, str], *, at: str) -> None:
        """Note what batch ``number`` of a run is about to write into ``store``."""
        self._notes.write(f"{_PREFIX}{run_id}/{number}", {"store": store, "sessions": dict(digests)}, at=at)

    def settle(self, living: Collection[str]) -> None:
        """Remove the notes whose sessions are all done with; those that are ``living`` in the target are not."""
        left = set(living)
        for name, note in self._notes.beginning(_PREFIX).items():
            if not left.intersection(note["sessions"]):
                self._notes.remove(name)
