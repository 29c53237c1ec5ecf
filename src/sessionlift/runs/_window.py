"""A window in which sessions move one by one: what moved, what failed, and the report of it from open to close."""

from __future__ import annotations

import resource
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

from sessionlift.errors import SessionliftError
from sessionlift.ledger import Ledger
from sessionlift.reports import (
    ErrorLine,
    Report,
    Throughput,
    current_environment,
    utc_now,
    write,
)
from sessionlift.reports import Kind as ReportKind
from sessionlift.runs._mover import SessionMover
from sessionlift.runs._report_files import ledger_use, refuse_mistyped, store_info, store_size, unit_digests
from sessionlift.runs._tally import Tally
from sessionlift.runs._transfer import Committed

FAILED = 1_000
"""How many failed sessions and events a report lists; the ledger has every failed session."""


class Window:
    """Counts while the bridge is open. Safe to be told things from any thread."""

    def __init__(self, kind: ReportKind, run_id: str, path: Path, options: dict[str, Any]) -> None:
        self.run_id, self.path = run_id, path
        self._report = Report(kind=kind, run_id=run_id, options=options)
        self._tally = Tally()
        self._failed: OrderedDict[str, ErrorLine] = OrderedDict()
        self._more_failed = 0
        self._events: dict[tuple[str, str | None], ErrorLine] = {}
        self._more_events = 0
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self.unwritten: SessionliftError | None = None

    def begun(self, mover: SessionMover, assumptions: list[str]) -> None:
        """The stores are open: what they are."""
        with self._lock:
            if self._report.source is None:
                self._tally.beside(mover.found.beside)
            self._report.source = store_info(mover.source, mover.found)
            self._report.target = store_info(mover.target, mover.made)
            self._report.environment = current_environment(mover.fidelity.to_dict())
            self._report.assumptions = [*assumptions]

    def assume(self, text: str) -> None:
        with self._lock:
            self._report.assumptions.append(text)

    def committed(self, batch: Committed) -> None:
        with self._lock:
            self._tally.take(batch.message, moved=len(batch.moved), failed=len(batch.failed))
            for session_id in (*batch.moved, *batch.failed):
                self._failed.pop(session_id, None)

    def failed(self, session_id: str, error: SessionliftError) -> None:
        """A session could not be moved; if it moves later in this window, it is no longer told."""
        with self._lock:
            if session_id not in self._failed and len(self._failed) >= FAILED:
                self._more_failed += 1
                return
            self._failed[session_id] = ErrorLine(session_id=session_id, error=error.what, code=error.code)

    def settled(self, session_id: str) -> None:
        """What failed before is well now, though not by a move of this window."""
        with self._lock:
            self._failed.pop(session_id, None)

    def note(self, code: str, text: str, session_id: str | None = None) -> None:
        """Tell an event in the report, once for each code and session."""
        with self._lock:
            if (code, session_id) in self._events:
                return
            if len(self._events) >= FAILED:
                self._more_events += 1
                return
            self._events[code, session_id] = ErrorLine(session_id=session_id, error=text, code=code)

    def skipped(self, sessions: int = 1) -> None:
        """Sessions were looked at, and there was nothing to do."""
        with self._lock:
            self._tally.skipped += sessions

    @property
    def rows(self) -> int:
        """Rows written so far."""
        return self._tally.rows

    @property
    def report(self) -> Report:
        """The report, as it was told or written last."""
        return self._report

    def so_far(self) -> Report:
        """The report as of now, still running."""
        with self._lock:
            report, failed = self._report, list(self._failed.values())
            self._tally.into(report)
            report.failed_sessions += len(failed)
            report.total_sessions = report.migrated_sessions + report.skipped_sessions + report.failed_sessions
            report.errors = [*report.errors, *failed, *self._events.values()]
            report.errors_truncated += self._more_failed + self._more_events
            report.throughput = Throughput.measured(
                sessions=self._tally.migrated,
                rows=self._tally.rows,
                bytes=self._tally.bytes,
                seconds=time.monotonic() - self._begun,
                peak_memory_mb={self._report.kind: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024},
            )
            return report

    def write(self, *, secrets: tuple[str, ...] = ()) -> Path | None:
        """Write what is known so far; None, and ``unwritten`` says why, where that cannot be."""
        try:
            refuse_mistyped(self.path, None)
            return write(self.so_far(), self.path, secrets=secrets)
        except (OSError, SessionliftError) as error:
            self.unwritten = error if isinstance(error, SessionliftError) else SessionliftError(str(error))
            return None

    def finish(self, mover: SessionMover | None, *, status: Any = None, secrets: tuple[str, ...] = ()) -> Path | None:
        """The end: digests, the ledger's row of this run, and the last form of the report."""
        report = self.so_far()
        if mover is not None:
            # a target that fails now may not keep the report away
            with suppress(OSError, SessionliftError):
                refuse_mistyped(self.path, None)
                report.digests = unit_digests(mover.ledger, self.run_id, self.path)
                report.ledger = ledger_use(mover.store)
            if report.target is not None:
                report.target.size_bytes = store_size(mover.target)
        report.finish(status)
        if mover is not None:
            try:
                self._end(mover.ledger, report)
            except SessionliftError as error:
                told = f"the run's end is not in the ledger: {error.what}"
                report.errors.append(ErrorLine(error=told, code=error.code))
                report.finish(status)
        try:
            written = write(report, self.path, secrets=secrets)
        except (OSError, SessionliftError) as error:
            self.unwritten = error if isinstance(error, SessionliftError) else SessionliftError(str(error))
            return None
        self.unwritten = None
        return written

    def _end(self, ledger: Ledger, report: Report) -> None:
        ledger.finish_run(
            self.run_id,
            status=report.status,
            finished_at=report.finished_at or utc_now(),
            summary={
                "total_sessions": report.total_sessions,
                "migrated_sessions": report.migrated_sessions,
                "skipped_sessions": report.skipped_sessions,
                "failed_sessions": report.failed_sessions,
                "rows": report.throughput.rows,
                "verification": report.verification.status,
                "verified_runs": [],
            },
        )
