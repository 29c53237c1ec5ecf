"""Which units with rows in quarantine a run tries to move once more, though their source is the same."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Retry:
    """Those that one of ``runs`` moved, and the ``sessions`` that the target refused: its rows may be others by now."""

    runs: frozenset[str] = frozenset()
    sessions: frozenset[str] = frozenset()

    def wants(self, session_id: str, state: str, run_id: str) -> bool:
        """Whether the unit, which the ledger has in ``state`` since ``run_id``, is worth another try."""
        refused = state == "quarantined" and session_id in self.sessions
        return refused or (state != "moved" and run_id in self.runs)
