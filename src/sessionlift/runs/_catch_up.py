"""The catch-up run: what old programs wrote into the legacy store after their sessions had moved."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sessionlift.converters import OnConflict
from sessionlift.errors import SessionConflictError, SessionliftError, StoreTextError, VerificationError
from sessionlift.generations import detect, require_source
from sessionlift.ledger import Attempts
from sessionlift.reports import Report, utc_now
from sessionlift.runs._broken import Ending, told_when_broken
from sessionlift.runs._catch_up_one import CatchUp, Outcome, refuse_unsettling
from sessionlift.runs._interrupts import Interrupts
from sessionlift.runs._known import require_moved_into
from sessionlift.runs._mover import SessionMover
from sessionlift.runs._options import TransferOptions, assumptions
from sessionlift.runs._progress import Progress
from sessionlift.runs._report_files import new_run_id, report_path
from sessionlift.runs._roads import SOURCES, road_from
from sessionlift.runs._tally import ASIDE
from sessionlift.runs._transfer import LIVES_ELSEWHERE
from sessionlift.runs._window import Window
from sessionlift.stores import parse_store_url


@dataclass
class CatchUpResult:
    """The finished report and its file (None where that could not be written), and the conflicts that stand."""

    report: Report
    path: Path | None
    looked_at: int = 0
    conflicts: list[SessionConflictError] = field(default_factory=list)


def catch_up(
    source: str,
    target: str,
    options: TransferOptions | None = None,
    *,
    on_conflict: OnConflict = "raise",
    report_file: str | Path | None = None,
    progress: Progress | None = None,
    interrupts: Interrupts | None = None,
) -> CatchUpResult:
    """Look at every session that has moved, and bring over what the legacy store got since.

    Conflicts are left as they are and told ("raise"), or settled: "append_legacy" puts the legacy messages behind
    the new ones, "keep_new" leaves them in quarantine. Each session is one transaction; the same call goes on after
    an interrupt.
    """
    options = options or TransferOptions()
    progress, interrupts = progress or Progress(quiet=True), interrupts or Interrupts()
    # what is no source, no target or no way of the system is refused before there is a run of it
    found = detect(parse_store_url(source))
    require_source(found, *SOURCES, store=parse_store_url(source).redacted)
    road = road_from(found.generation)
    refuse_unsettling(road, on_conflict)
    require_moved_into(parse_store_url(target), road.target)
    where, run_id = parse_store_url(target), new_run_id("catch_up")
    path = report_path(where, run_id, report_file, source=parse_store_url(source))
    window = Window("catch_up", run_id, path, {**options.to_message(), "on_conflict": on_conflict})
    mover = SessionMover(source, where, options, kind="catch_up", run_id=run_id, committed=window.committed)
    secrets = () if where.token is None else (where.token,)
    with mover:
        window.begun(mover, [*assumptions(options), *mover.notes])
        result = CatchUpResult(Report(kind="catch_up", run_id=run_id), None)

        def ended(how: Ending, error: SessionliftError) -> None:
            with interrupts.held():
                if how == "failed":
                    window.note(error.code, error.what)
                written = window.finish(mover, status=how, secrets=secrets)
                if written is not None:
                    error.fields["report"] = str(written)

        with told_when_broken(ended, "the catch-up was interrupted"):
            _look_at_all(mover, window, CatchUp(mover, on_conflict), result, progress, interrupts)
        with interrupts.held():
            interrupts.over()
            result.path = window.finish(mover, secrets=secrets)
            result.report = window.report
    return result


def _look_at_all(
    mover: SessionMover,
    window: Window,
    catching_up: CatchUp,
    result: CatchUpResult,
    progress: Progress,
    interrupts: Interrupts,
) -> None:
    """Finds many at a time which sessions are as they were moved; each of the others is handled by itself."""
    moved = mover.ledger.moved()
    same: set[str] = set()
    for ids in mover.unchanged(moved):
        with interrupts.held():
            same.update(ids)
            window.skipped(len(ids))
            result.looked_at += len(ids)
        progress.count("looked at", result.looked_at, len(moved), 0)
    left = [(session_id, digest) for session_id, digest in moved if session_id not in same]
    lost = mover.lost([session_id for session_id, _ in left])
    for session_id, digest in left:
        with interrupts.held():
            # what a program saves while it is looked at may have had no place
            outcome = "same" if session_id in lost else _settle(mover, window, catching_up, result, session_id, digest)
            if outcome == "same":
                window.skipped()
            result.looked_at += 1
        progress.count("looked at", result.looked_at, len(moved), window.rows)
    progress.done()


def _settle(
    mover: SessionMover, window: Window, catching_up: CatchUp, result: CatchUpResult, session_id: str, digest: str
) -> Outcome | Literal["failed"]:
    try:
        found = catching_up.take(session_id, digest)
    except (StoreTextError, VerificationError) as error:
        # what is wrong with its own rows keeps no other session from being looked at
        window.failed(session_id, error)
        _note(mover, session_id, error)
        return "failed"
    if found.error is not None:
        result.conflicts.append(found.error)
        window.failed(session_id, found.error)
        _note(mover, session_id, found.error)
    if found.outcome == "elsewhere":
        code, why, _ = ASIDE[LIVES_ELSEWHERE]
        window.note(code, why, session_id)
        with mover.store.transaction():
            Attempts(mover.store).settled(session_id)
        return "same"
    return found.outcome


def _note(mover: SessionMover, session_id: str, error: SessionliftError) -> None:
    with mover.store.transaction():
        Attempts(mover.store).failed(session_id, run_id=mover.run_id, at=utc_now(), code=error.code, error=error.what)
