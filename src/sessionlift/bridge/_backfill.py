"""Backfill: the sessions that nobody has used yet, moved one by one, quietly, beside a running application."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

from sessionlift.bridge._core import BridgeCore
from sessionlift.bridge._rollout import Rollout
from sessionlift.bridge._sources import ROLLOUT, stored_rollout
from sessionlift.errors import SessionliftError, UsageError
from sessionlift.reports import Report
from sessionlift.runs import Ending, Interrupts, Progress, TransferOptions, told_when_broken

LOOK_SECONDS = 1.0
"""How often it looks whether it is to pause."""


@dataclass(frozen=True)
class BackfillResult:
    """The finished report and its file (None where it could not be written). ``left`` sessions stay in the legacy
    store, ``denied`` of them by the list."""

    report: Report
    path: Path | None
    left: int
    denied: int


def backfill(
    source: str,
    target: str,
    options: TransferOptions | None = None,
    *,
    rate: float | None = None,
    report_file: str | Path | None = None,
    progress: Progress | None = None,
    interrupts: Interrupts | None = None,
) -> BackfillResult:
    """Move every session that has not moved, at most ``rate`` a second, each by itself as its first use would.

    While the rollout in the ledger is paused it waits; sessions on its deny list stay. Its mode and share are for
    running applications and are not asked. An interrupt ends it between two sessions; the same call goes on.
    A session that cannot be moved is told in the report and passed over; so is one whose id the new program has given
    to a session of its own.
    """
    if rate is not None and not 0 < rate < math.inf:
        raise UsageError("the rate is a number of sessions a second above 0", hint="leave it out for no limit")
    progress = progress or Progress(quiet=True)
    interrupts = interrupts or Interrupts()
    with BridgeCore(
        source, target, options, rollout=Rollout(), reports=report_file, retry_after=0.001, on_error="serve_legacy"
    ) as core:

        def ended(how: Ending, error: SessionliftError) -> None:
            with interrupts.held():
                if how == "failed":
                    core.note(error.code, error.what)
                core.close(status=how)
                _, written = core.outcome
                if written is not None:
                    error.fields["report"] = str(written)

        try:
            with told_when_broken(ended, "the backfill was interrupted"):
                left, denied = _Backfill(core, rate, progress, interrupts).go()
        finally:
            progress.done()
    return BackfillResult(*core.outcome, left, denied)


class _Backfill:
    def __init__(self, core: BridgeCore, rate: float | None, progress: Progress, interrupts: Interrupts) -> None:
        self._core, self._rate = core, rate
        self._progress, self._interrupts = progress, interrupts
        self._looked = 0.0
        self._rollout = Rollout()
        self._told = False

    def go(self) -> tuple[int, int]:
        ids, left, denied = [], 0, 0
        for each in self._core.session_ids():
            if self._core.is_left(each):
                ids.append(each)
                continue
            with self._interrupts.held():
                left += self._core.meets_another(each)
        due = time.monotonic()
        for done, session_id in enumerate(ids, 1):
            self._wait_while_paused()
            if session_id in self._rollout.deny:
                denied += 1
                left += 1
                continue
            if not self._core.is_left(session_id):
                continue
            aside = self._core.in_quarantine(session_id)
            with self._interrupts.held():
                place = self._core.ensure(session_id)
            left += place.where == "legacy"
            if aside and place.where == "legacy":
                why = "an earlier run put the whole session in quarantine, and there it still is"
                self._core.note("still_in_quarantine", why, session_id)
            self._progress.count("looked at", done, len(ids), self._core.rows_written)
            if place.moved_now and self._rate is not None:
                due = max(due + 1 / self._rate, time.monotonic() - 1 / self._rate)
                time.sleep(max(0.0, due - time.monotonic()))
        return left, denied

    def _wait_while_paused(self) -> None:
        while True:
            now = time.monotonic()
            if now - self._looked < LOOK_SECONDS:
                return
            self._looked = now
            self._rollout = stored_rollout(self._core.setting(ROLLOUT)) or Rollout()
            if not self._rollout.paused:
                self._told = False
                return
            if not self._told:
                self._progress.step("Paused by the rollout; `sessionlift rollout TARGET --resume` lets it go on.")
                self._told = True
            time.sleep(LOOK_SECONDS)
