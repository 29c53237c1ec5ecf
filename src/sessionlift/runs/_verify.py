"""The verify run: what the ledger names, or what a report claims, compared again from both stores."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sessionlift.errors import ReportError, SessionliftError, UsageError
from sessionlift.generations import detect, require_generation
from sessionlift.ledger import Ledger
from sessionlift.reports import (
    ErrorLine,
    Report,
    SourceFact,
    Throughput,
    check_file,
    current_environment,
    load,
    read_digests,
)
from sessionlift.runs import _claims
from sessionlift.runs._broken import told_when_broken
from sessionlift.runs._in_place_verify import verify_claims
from sessionlift.runs._known import require_moved_into
from sessionlift.runs._options import TransferOptions
from sessionlift.runs._places import is_told
from sessionlift.runs._progress import Progress
from sessionlift.runs._protocol import Message
from sessionlift.runs._report_files import new_run_id, report_path, store_info, write_report
from sessionlift.runs._roads import SOURCES, Road, road_from
from sessionlift.runs._verification import Verifier, with_token
from sessionlift.stores import StoreURL, open_store, parse_store_url

NOTES = {
    "not_moved": "sessions of the source that the ledger does not name: they were not moved yet",
    "native_session": "sessions that no move brought: the new program wrote them",
    "own_session": (
        "sessions in quarantine that the target refused, and under whose ids it has sessions of the application's own: "
        "nothing of the source's was written there"
    ),
    "native_rows": "rows of sessions that no move brought: the new program wrote them",
    "catalog_left_alone": "systems, versions, experiments or links that a move left as the application had them",
    "in_quarantine": "rows that the target could not take and that are in quarantine, each compared with the source",
    "moved_again": "sessions that a later run has moved again; that run's report tells of them",
    "deleted_in_target": "sessions that were moved once and deleted in the target since: it has no row of them",
    "rolled_back": "sessions that were moved once and taken back since: the target has no row of them",
    "continued_in_target": (
        "sessions to which the application has added messages since the move: what was moved is exactly there before "
        "them"
    ),
    "gone_since": "sessions that left the target after the report was written: deleted there, or taken back",
}
"""What is told besides the findings; none of it is a fault."""


BOUNDS = {
    "moved_again": "whether the report's counts are exact, since a later run has moved some of its sessions again: "
    "they were held against what is left of them, and against what is possible",
    "catalog_since": "the report's claims about rows of no session, since a later run has moved those again, or a "
    "rollback has carried them: `sessionlift verify SOURCE TARGET` compares them as they are",
    "sessions_moved_on": "whether what the report says it read, and its losses, are exact, since some of its sessions "
    "have changed in the source: they were held against those of the others, and against what was written",
    "catalog_moved_on": "whether the report's losses among rows of no session are exact, and more of what it read of "
    "these than that it is what was written and put aside, since the source has others by now",
    "gone_since": "whether the report's counts are exact, since some of its sessions have left the target after it",
}
"""What cannot be told any more of a report's claims, by what the audit met."""


@dataclass(frozen=True)
class VerifyResult:
    """The finished report, and the file that it was written to (None where that could not be)."""

    report: Report
    path: Path | None


def verify(
    source: str | None,
    target: str | None,
    *,
    report_file: str | Path | None = None,
    only: Sequence[str] | None = None,
    progress: Progress | None = None,
    out: str | Path | None = None,
) -> VerifyResult:
    """Compare both stores by separate code in a process of its own, and write a report of kind "verify".

    Without ``report_file`` everything is checked that the target's ledger names (``only`` picks sessions).
    With it, every claim of that report is checked again; the stores are those of the report unless given.
    Nothing is written but the report: to ``out``, a file or a directory, or else beside the target.

    Raises an error of our tree, after the report was written, where the check itself could not be done. What
    was found is in the report: ``report.has_findings``.
    """
    claimed = None
    claimed_file = None if report_file is None else Path(report_file)
    if claimed_file is not None:
        claimed = load(claimed_file)
        if claimed.kind in ("upgrade", "downgrade") or claimed.options.get("copy"):
            if source is not None or target is not None:
                raise UsageError(
                    f"{claimed_file} tells of one store that was changed in place or copied, and is checked with the "
                    "stores that it names",
                    hint="leave out --source and --target; `sessionlift session-buddy verify STORE --against COPY` "
                    "compares others",
                )
            checked = verify_claims(claimed, claimed_file, report_file=out)
            return VerifyResult(checked.report, checked.path)
        _refuse_unfit(claimed, claimed_file)
        if source is None and claimed.source:
            source = claimed.source.url
        if target is None and claimed.target:
            target = claimed.target.url
    if source is None or target is None:
        raise UsageError(
            "a source and a target are needed to verify",
            hint="name both stores, or give --report FILE of the run that moved them",
        )
    run = _VerifyRun(
        parse_store_url(source),
        parse_store_url(target),
        only=only,
        out=out,
        progress=progress or Progress(quiet=True),
    )
    return run.go(claimed, claimed_file)


def _refuse_unfit(report: Report, path: Path) -> None:
    if report.kind not in ("migrate", "catch_up"):
        raise UsageError(
            f"{path} is the report of a {report.kind}, which claims nothing about rows that were moved",
            hint="give the report of a migration; `sessionlift verify SOURCE TARGET` compares both stores as they are",
            path=str(path),
        )
    if report.status in ("failed", "interrupted") and report.digests is None and not report.tables:
        raise UsageError(
            f"{path} is the report of a run that ended before it moved anything, and claims nothing",
            hint="give the report of a run that came further; the errors in this one say why it did not",
            path=str(path),
        )
    if report.dry_run:
        raise UsageError(
            f"{path} is the report of a dry run: its target was thrown away",
            hint="give the report of a run that wrote its target",
            path=str(path),
        )


class _VerifyRun:
    def __init__(
        self,
        source: StoreURL,
        target: StoreURL,
        *,
        only: Sequence[str] | None,
        out: str | Path | None,
        progress: Progress,
    ) -> None:
        self._source, self._target = source, target
        self._only, self._progress = only, progress
        self._road: Road
        run_id = new_run_id("verify")
        self._path = report_path(target, run_id, out, source=source)
        self._begun = time.monotonic()
        self._report = Report(
            kind="verify",
            run_id=run_id,
            source=store_info(source),
            target=store_info(target),
            options={"only": None if only is None else list(only)},
        )

    def go(self, claimed: Report | None, claimed_file: Path | None) -> VerifyResult:
        with told_when_broken(self._broken, "the verification was interrupted"), ExitStack() as stack:
            self._begin()
            temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sessionlift-verify-")))
            digests = self._digests(claimed, claimed_file)
            verifier = Verifier(self._road.source, temporary=temporary)
            stack.callback(verifier.stop)
            verifier.begin(self._source, with_token(self._target), TransferOptions())
            verifier.audit(
                only=self._only,
                run_id=None if claimed is None else claimed.run_id,
                digests=digests,
            )
            self._take(verifier, claimed)
        self._report.finish()
        return VerifyResult(self._report, self._write())

    def _begin(self) -> None:
        """Look at both stores before anything else."""
        found = detect(self._source)
        require_generation(found, *SOURCES, store=self._source.redacted, role="source")
        self._road = road_from(found.generation)
        self._report.source = store_info(self._source, found)
        self._report.environment = current_environment()
        self._report.target = store_info(self._target, require_moved_into(self._target, self._road.target))
        self._report.assumptions += self._about_the_source()

    def _about_the_source(self) -> list[str]:
        """What to say of a source at a place that the target was not filled from; a copy may be compared."""
        with open_store(self._target, mode="ro", role="target") as store:
            runs = Ledger(store).runs()
        if not runs or is_told(self._source, runs, TransferOptions()):
            return []
        named = ", ".join(sorted({run.source for run in runs}))
        return [
            f"{self._target.redacted} was filled from {named}, and not from {self._source.redacted}: unless this is "
            "the same store, moved or copied, sessions are told as gone or changed that were never there"
        ]

    def _digests(self, claimed: Report | None, path: Path | None) -> Path | None:
        """The digests file of the report that is checked; None without one that the report vouches for."""
        if claimed is None or path is None:
            return None
        self._report.options["report"] = claimed.run_id
        for problem in check_file(path):
            self._error("report_contract", f"the report breaks its contract: {problem}")
        if claimed.digests is None:
            return None
        try:
            read_digests(path, claimed.digests)
        except ReportError as error:
            self._error("digests_file", error.what)
            return None
        return path.with_name(claimed.digests.path)

    def _take(self, verifier: Verifier, claimed: Report | None) -> None:
        self._progress.step(f"Comparing {self._source.redacted} with {self._target.redacted}")
        while (message := verifier.heard())["type"] != "verified":
            self._progress.count("compared", message["sessions"], message.get("total", 0), message.get("rows", 0))
        self._progress.done()
        report, audit = self._report, message["audit"]
        report.verification = verifier.result(message)
        report.total_sessions = max(audit["units"], message["sessions"])
        report.failed_sessions = min(audit["failed"], report.total_sessions)
        for each in audit["findings"]:
            self._error(each["code"], each["message"], each["session_id"], each["table"])
        report.errors_truncated += audit["more"]
        self._notes(audit)
        if claimed is not None:
            self._claims(claimed, audit)
        seconds = time.monotonic() - self._begun
        report.throughput = Throughput.measured(
            sessions=message["sessions"],
            rows=message["rows"],
            bytes=0,
            seconds=seconds,
            peak_memory_mb={"verifier": message["peak_memory_mb"]},
        )

    def _notes(self, audit: Message) -> None:
        notes = list(audit["notes"])
        for code in ("moved_again", "gone_since"):
            if audit[code]:
                notes.append({"code": code, "table": audit["sessions_table"], "count": audit[code], "examples": []})
        self._report.source_facts = [
            SourceFact(
                code=each["code"],
                table=each["table"],
                count=each["count"],
                meaning=NOTES[each["code"]],
                examples=each["examples"],
            )
            for each in notes
        ]

    def _claims(self, claimed: Report, audit: Message) -> None:
        """Hold the report's counts against what was counted again."""
        report = self._report
        report.verification.cannot_see += [told for name, told in BOUNDS.items() if audit[name]]
        for code, message, table in _claims.broken(claimed, audit):
            self._error(code, message, table=table)
        report.verification.cannot_see.extend(_claims.not_recounted(claimed, audit))

    def _error(self, code: str, message: str, session_id: str | None = None, table: str | None = None) -> None:
        self._report.errors.append(ErrorLine(session_id=session_id, error=message, code=code, table=table))

    def _broken(self, status: Any, error: SessionliftError) -> None:
        """Write down what is known of a verification that did not come to its end."""
        self._progress.done()
        self._error(error.code, error.what, error.fields.get("session_id"), error.fields.get("table"))
        self._report.finish(status)
        written = self._write()
        if written is not None:
            error.fields["report"] = str(written)

    def _write(self) -> Path | None:
        return write_report(self._report, self._path, None, self._progress, token=self._target.token)
