"""The laws of a report: what must hold between its numbers and lines, beyond what a JSON Schema can say."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from sessionlift.errors import ReportError
from sessionlift.reports._digests import read_digests
from sessionlift.reports._files import load_raw
from sessionlift.reports._model import COMPLETED, REPORT_VERSION, Report, is_earlier_minor, is_later_minor
from sessionlift.reports._redact import redact_tree
from sessionlift.reports._times import moment

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
# fields that may be the empty string; in every other one it would be a blank where a word is owed. The id of a session,
# and so of a row, is whatever text the store has
_MAY_BE_EMPTY = {"method", "python", "platform", "session_id", "row"}


def check(data: Any) -> list[str]:
    """Everything that is wrong with the report in ``data`` (decoded JSON), one sentence each.

    Keys and types come first; the laws are looked at only when those are right. Needs no other package.
    """
    try:
        report = Report.from_dict(data)
    except ReportError as error:
        return list(error.fields["problems"])
    problems = [problem for law in LAWS for problem in law(report)]
    if redact_tree(data) != data:
        problems.extend(f"{path} holds a credential" for path in _unredacted(data))
    return problems


def check_file(path: str | os.PathLike[str]) -> list[str]:
    """Everything that is wrong with the report at ``path`` and with the digests file beside it.

    Read-only; neither store is looked at. Raises :class:`~sessionlift.errors.ReportError` if it is no report
    at all.
    """
    data = load_raw(path)
    problems = check(data)
    if problems:
        return problems
    digests = Report.from_dict(data).digests
    if digests is None:
        return []
    try:
        sessions = sum(line.unit == "session" for line in read_digests(path, digests))
    except ReportError as error:
        return [error.what]
    if sessions != digests.sessions:
        return [f"digests.sessions is {digests.sessions}, but {digests.path} has {sessions} sessions"]
    return []


def version_is_known(report: Report) -> Iterator[str]:
    """The version is this build's, or another minor one of it."""
    version = report.report_version
    if version != REPORT_VERSION and not is_later_minor(version) and not is_earlier_minor(version):
        yield f"report_version is {report.report_version}; this build knows {REPORT_VERSION}"


def no_number_is_negative(report: Report) -> Iterator[str]:
    """Nothing that is counted or measured is below zero, or not a number at all."""
    for path, value in _walk(report):
        if isinstance(value, (int, float)) and not 0 <= value < float("inf"):
            yield f"{path} is {value}"


def no_text_is_blank(report: Report) -> Iterator[str]:
    """Where a text is owed, there is one."""
    for path, value in _walk(report):
        if value == "" and path.rpartition(".")[2] not in _MAY_BE_EMPTY and "packages" not in path:
            yield f"{path} is empty"


def tables_add_up(report: Report) -> Iterator[str]:
    """Every row that was read was written, is in quarantine, or was excluded; none went two ways."""
    for name, counts in report.tables.items():
        told = counts.written + counts.quarantined + counts.excluded
        wrong = told != counts.read if report.status in COMPLETED else told > counts.read
        if wrong:
            yield (
                f"tables.{name}: {counts.read} rows read, but {counts.written} written + "
                f"{counts.quarantined} quarantined + {counts.excluded} excluded = {told}"
            )


def sessions_add_up(report: Report) -> Iterator[str]:
    """Every session was moved, skipped or failed; a run cut short, or a verify, may have fewer."""
    told = report.migrated_sessions + report.skipped_sessions + report.failed_sessions
    exact = report.status in COMPLETED and report.kind != "verify"
    if told > report.total_sessions or (exact and told != report.total_sessions):
        yield (
            f"total_sessions is {report.total_sessions}, but {report.migrated_sessions} migrated + "
            f"{report.skipped_sessions} skipped + {report.failed_sessions} failed = {told}"
        )


def times_are_utc(report: Report) -> Iterator[str]:
    """Both times are ISO 8601 in UTC, with the offset."""
    for name, text in (("started_at", report.started_at), ("finished_at", report.finished_at)):
        if text is not None and moment(text) is None:
            yield f"{name} is {text!r}, not an ISO 8601 time with +00:00"


def end_follows_start(report: Report) -> Iterator[str]:
    """A run ends after it began, and only a run that is still running has no end."""
    if (report.finished_at is None) != (report.status == "running"):
        yield f"status is {report.status}, but finished_at is {report.finished_at}"
    started, finished = moment(report.started_at), moment(report.finished_at or "")
    if started and finished and finished < started:
        yield f"finished_at ({report.finished_at}) is before started_at ({report.started_at})"


def stores_are_named(report: Report) -> Iterator[str]:
    """A run that came to its end knows its source, and its target unless it only planned."""
    if report.status not in COMPLETED:
        return
    if report.source is None:
        yield f"status is {report.status}, but there is no source"
    if report.target is None and report.kind != "plan":
        yield f"status is {report.status}, but there is no target"


def status_tells_findings(report: Report) -> Iterator[str]:
    """A run with findings says so in its status, a run without does not, and a failed one says why."""
    if report.status == "completed" and report.has_findings:
        yield "status is completed, but there are errors, rows in quarantine, failed sessions or differences"
    if report.status == "completed_with_findings" and not report.has_findings:
        yield "status is completed_with_findings, but there are none"
    if report.status == "failed" and not report.errors:
        yield "status is failed, but no error says why"


def failures_have_errors(report: Report) -> Iterator[str]:
    """Each failed session and each quarantined row has its line in errors, or is among the truncated ones."""
    named = len({line.session_id for line in report.errors if line.session_id is not None})
    if report.failed_sessions > named + report.errors_truncated:
        yield (
            f"failed_sessions is {report.failed_sessions}, but errors name {named} sessions "
            f"and {report.errors_truncated} more lines"
        )
    quarantined = sum(counts.quarantined for counts in report.tables.values())
    if quarantined and not report.errors:
        yield f"{quarantined} rows are in quarantine, but no error says why"
    if report.errors_truncated and not report.errors:
        yield f"errors_truncated is {report.errors_truncated}, but no error is shown"


def losses_are_told_once(report: Report) -> Iterator[str]:
    """One line per kind of loss and of source fact, for one value or more, with no more examples."""
    keys: list[tuple[str, tuple[str | None, ...]]] = []
    lines: list[tuple[str, int, int]] = []
    for i, loss in enumerate(report.losses):
        keys.append(("losses", (loss.code, loss.table, loss.column)))
        lines.append((f"losses[{i}]", loss.count, len(loss.examples)))
    for i, fact in enumerate(report.source_facts):
        keys.append(("source_facts", (fact.code, fact.table)))
        lines.append((f"source_facts[{i}]", fact.count, len(fact.examples)))
    for (where, key), times in Counter(keys).items():
        if times > 1:
            yield f"{where} has {times} lines for {' '.join(part or '-' for part in key)}"
    for where, count, examples in lines:
        if count < 1:
            yield f"{where}.count is {count}: a line stands for at least one"
        elif examples > count:
            yield f"{where} has {examples} examples of {count}"


def verification_is_whole(report: Report) -> Iterator[str]:
    """A verification that was run says how and what it cannot see; its status agrees with its differences."""
    v = report.verification
    found = len(v.differences) + v.differences_truncated
    if v.status == "passed" and found:
        yield f"verification passed, but has {found} differences"
    if v.status == "failed" and not v.differences:
        yield "verification failed, but shows no difference"
    checked = v.checked_sessions + v.checked_rows + v.checked_values
    if v.status == "not_run" and (checked or found):
        yield "verification was not run, but has results"
    if v.status != "not_run" and not v.method:
        yield f"verification {v.status}, but does not say how it compared"
    if v.status != "not_run" and not v.cannot_see:
        yield f"verification {v.status}, but does not say what it cannot see"
    if v.status == "passed" and report.migrated_sessions and not v.checked_sessions:
        yield f"verification passed without a look at any of {report.migrated_sessions} migrated sessions"


def rate_is_right(report: Report) -> Iterator[str]:
    """``rows_per_second`` is rows by seconds, as far as both were rounded."""
    t = report.throughput
    # seconds are rounded to a thousandth, the rate to a tenth: each may be half a unit off
    allowed = 0.0005 * t.rows_per_second + 0.05 * t.seconds + 0.001 * t.rows + 0.001
    if t.seconds > 0 and abs(t.rows_per_second * t.seconds - t.rows) > allowed:
        yield f"throughput: {t.rows} rows in {t.seconds} s are not {t.rows_per_second} rows per second"


def digests_are_digests(report: Report) -> Iterator[str]:
    """SHA-256 values look like such, and the digests file lies beside the report."""
    values = {
        "source.sha256": report.source.sha256 if report.source else None,
        "target.sha256": report.target.sha256 if report.target else None,
        "digests.sha256": report.digests.sha256 if report.digests else None,
        **{f"backups[{i}].digest": backup.digest for i, backup in enumerate(report.backups)},
    }
    for name, value in values.items():
        if value is not None and not _SHA256.match(value):
            yield f"{name} is {value!r}, not a SHA-256 in hexadecimal"
    if report.digests and re.search(r"[/\\]", report.digests.path):
        yield f"digests.path is {report.digests.path!r}, not the name of a file beside the report"


def backups_are_where_they_say(report: Report) -> Iterator[str]:
    """A backup has its place, its time and its digest; where none was taken, the report says why."""
    for i, backup in enumerate(report.backups):
        if backup.state == "not_taken":
            if backup.reason is None:
                yield f"backups[{i}] was not taken, but nothing says why"
            if backup.path is not None:
                yield f"backups[{i}] was not taken, but lies at {backup.path}"
        elif None in (backup.path, backup.taken_at, backup.bytes, backup.digest):
            yield f"backups[{i}] is {backup.state}, but lacks its path, its time, its size or its digest"
        if backup.taken_at is not None and moment(backup.taken_at) is None:
            yield f"backups[{i}].taken_at is {backup.taken_at!r}, not an ISO 8601 time with +00:00"


LAWS: tuple[Callable[[Report], Iterator[str]], ...] = (
    version_is_known,
    no_number_is_negative,
    no_text_is_blank,
    tables_add_up,
    sessions_add_up,
    times_are_utc,
    end_follows_start,
    stores_are_named,
    status_tells_findings,
    failures_have_errors,
    losses_are_told_once,
    verification_is_whole,
    rate_is_right,
    digests_are_digests,
    backups_are_where_they_say,
)


# what a user, a probe or a store put there: any JSON, so no law applies inside
_FREE = {"options", "fidelity", "examples", "expected", "found"}


def _walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every scalar of the contract's own, with its path."""
    if is_dataclass(value):
        for f in fields(value):
            if f.name not in _FREE:
                yield from _walk(getattr(value, f.name), f"{path}.{f.name}" if path else f.name)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(item, f"{path}.{key}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _walk(item, f"{path}[{i}]")
    elif not isinstance(value, bool):
        yield path, value


def _unredacted(data: Any, path: str = "") -> Iterator[str]:
    """The paths of the strings that redaction would change."""
    if isinstance(data, dict):
        for key, item in data.items():
            where = f"{path}.{key}" if path else key
            if redact_tree(key) != key:
                yield f"a key of {path or 'the report'}"
            elif isinstance(item, str):
                if redact_tree({key: item}) != {key: item}:
                    yield where
            else:
                yield from _unredacted(item, where)
    elif isinstance(data, list):
        for i, item in enumerate(data):
            yield from _unredacted(item, f"{path}[{i}]")
    elif redact_tree(data) != data:
        yield path
