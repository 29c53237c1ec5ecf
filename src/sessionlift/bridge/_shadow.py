"""Shadow reads: what the new store would say of a session that is served from the legacy one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sessionlift.bridge._rollout import Rollout
from sessionlift.bridge._signature import LegacyWatch
from sessionlift.errors import SessionliftError
from sessionlift.ledger import Notes, ShadowCounts
from sessionlift.reports import utc_now
from sessionlift.runs import Converted

if TYPE_CHECKING:
    from sessionlift.bridge._core import BridgeCore

Compare = Callable[[Converted], Mapping[str, Any]]
"""Compares a session as the new store would have it with the legacy answer: an example for each field that differs.

It comes from the system's front, which knows both answers.
"""

HELD = "held"
"""The name under which the ledger has the share that no longer rises."""

NOT_CONVERTED = "(not converted)"
NOT_COMPARED = "(not compared)"
_LOOK_SECONDS = 2.0


class Shadow:
    """Compares each session once for each state of the legacy store, counts, and holds the share."""

    def __init__(self, core: BridgeCore, compare: Compare | None, note_in: Callable[[str], object]) -> None:
        self._core, self._compare, self._note_in = core, compare, note_in
        self._watch = LegacyWatch(core.source)
        self._held: float | None = None
        self._due = 0.0
        self._lock = threading.Lock()

    def look(self, session_id: str, rollout: Rollout) -> SessionliftError | None:
        """Compare the session, if that was not done since the legacy store changed last; returns what kept it."""
        if self._watch.fresh(session_id):
            return None
        signature = self._watch.signature()
        try:
            found = self._differences(session_id)
            if found is not None:
                self._count(session_id, found, rollout)
        except SessionliftError as error:
            # serving goes on; what could not be compared is told, and compared at the next use
            self._core.note("not_compared", f"session {session_id!r} was not compared: {error.what}", session_id)
            return error
        self._watch.compared(session_id, signature)
        return None

    def _differences(self, session_id: str) -> dict[str, Any] | None:
        converted = self._core.convert(session_id)
        if converted is None:
            return None
        if converted.unit.state == "quarantined":
            reasons = [{"code": row.code, "reason": row.reason} for row in converted.quarantine[:1]]
            return {NOT_CONVERTED: reasons[0] if reasons else None}
        if self._compare is None:
            return {}
        try:
            return dict(self._compare(converted))
        except SessionliftError:
            raise
        except Exception as error:  # noqa: BLE001 - it is a front's code: its fault is a mismatch, not an outage
            return {NOT_COMPARED: f"{type(error).__name__}: {error}"}

    def _count(self, session_id: str, found: Mapping[str, Any], rollout: Rollout) -> None:
        def add(counts: ShadowCounts, notes: Notes) -> None:
            counts.add(session_id, found, run_id=self._core.run_id, at=utc_now())
            if found and notes.read(HELD) is None and counts.mismatching() >= max(1, rollout.shadow_budget):
                notes.write(HELD, {"share": rollout.share}, at=utc_now())
                self._core.note(
                    "shadow_budget_spent",
                    f"{rollout.shadow_budget} sessions mismatched: the share stays at {rollout.share:g} until "
                    "`sessionlift rollout TARGET --forget-shadow` lets it rise again",
                )
                self._due = 0.0

        self._core.write(lambda store: add(ShadowCounts(store), Notes(store)))
        if found:
            fields = ", ".join(sorted(found))
            self._core.note("shadow_mismatch", f"the new store would tell otherwise: {fields}", session_id)

    def held(self, asked: Rollout) -> Rollout:
        """``asked`` with a share that does not go beyond the one at which the budget was spent."""
        with self._lock:
            if time.monotonic() >= self._due:
                self._due = time.monotonic() + _LOOK_SECONDS
                found = self._note_in(HELD)
                self._held = float(found["share"]) if isinstance(found, dict) else None
            return asked if self._held is None else asked.held_to(self._held)
