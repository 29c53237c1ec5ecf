"""A report as text for a person: what happened in the first three lines, then the parts that bear it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sessionlift.reports._files import ReportFile
from sessionlift.reports._layout import columns, duration, paragraph, plural, printable, sample, size
from sessionlift.reports._model import Backup, Difference, ErrorLine, Report, StoreInfo
from sessionlift.reports._next import in_place, next_steps
from sessionlift.reports._redact import redact_tree
from sessionlift.reports._times import moment

_SHOWN = 20
_EXAMPLES = 3
_VERB = {
    "migrate": "moved",
    "catch_up": "moved",
    "bridge": "moved",
    "rollback": "taken back",
    "plan": "would be moved",
    "verify": "compared",
}
_NAME = {
    "migrate": "Migration",
    "catch_up": "Catch-up",
    "bridge": "Bridge window",
    "rollback": "Rollback",
    "plan": "Plan",
    "verify": "Verification",
    "upgrade": "Upgrade",
    "downgrade": "Downgrade",
    "derive": "Derivation",
}


def render_text(report: Report, *, width: int = 100) -> str:
    """The report as lines of at most about ``width`` characters, ending with what to do next.

    Credentials are taken out here too, for a report that was never written. Control characters of stored text
    come out as escapes.
    """
    report = Report.from_dict(redact_tree(report.to_dict()))
    parts = [part(report, width) for part in _PARTS]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def render_list(found: Iterable[ReportFile]) -> str:
    """One line per report: when, what, how it ended, how much, which file; the broken ones at the end."""
    found = list(found)
    rows = []
    for item in found:
        if item.report is not None:
            r = item.report
            kind = f"{r.kind} (dry run)" if r.dry_run else r.kind
            done = r.verification.checked_sessions if r.kind == "verify" else r.migrated_sessions
            sessions = f"{done:,}/{r.total_sessions:,}"
            rows.append((r.started_at[:19], kind, r.status, sessions, r.verification.status, item.path.name))
    head = ("started (UTC)", "kind", "status", "sessions", "verification", "file")
    lines = columns(head, rows, left=6) if rows else []
    lines += [f"  {printable(item.path.name)}: {printable(item.problem)}" for item in found if item.report is None]
    return "\n".join(lines) + "\n"


def _head(report: Report, _width: int) -> list[str]:
    return [_outcome(report), _road(report), _proof(report)]


def _outcome(report: Report) -> str:
    name = _NAME[report.kind] + (" (dry run)" if report.dry_run else "")
    how = {
        "running": "has not ended, or was killed",
        "completed": "completed",
        "completed_with_findings": "completed with findings",
        "failed": "FAILED",
        "interrupted": "was interrupted",
    }[report.status]
    took = _took(report)
    if report.kind in ("upgrade", "downgrade"):
        what = f"{plural(report.total_sessions, 'session')} in the store"
        if report.status in ("failed", "interrupted"):
            what += ", which is as it was"
        elif report.skipped_sessions:
            what += ", nothing to change"
        return f"{name} {how}: {what}{f' in {took}' if took else ''}."
    if report.kind == "derive":
        rows = sum(counts.derived for counts in report.tables.values())
        return f"{name} {how}: {plural(rows, 'row')} written{f' in {took}' if took else ''}."
    done = report.verification.checked_sessions if report.kind == "verify" else report.migrated_sessions
    verb = _VERB[report.kind]
    if report.kind == "verify" and report.verification.checked_rows and not report.verification.checked_values:
        verb = "looked at"
    elif report.kind == "rollback" and report.dry_run:
        verb = "would be taken back"
    counts = [f"{done:,} of {plural(report.total_sessions, 'session')} {verb}"]
    counts += _skipped(report)
    if report.failed_sessions:
        counts.append(f"{report.failed_sessions:,} FAILED")
    return f"{name} {how}: {', '.join(counts)}{f' in {took}' if took else ''}."


def _skipped(report: Report) -> list[str]:
    """Of the sessions that were passed over how many are there, and how many have left the target."""
    facts = (
        {fact.code: fact.count for fact in report.source_facts}
        if report.kind in ("migrate", "plan", "rollback")
        else {}
    )
    elsewhere, deleted = facts.get("rolled_back", 0), facts.get("deleted_in_target", 0)
    there = report.skipped_sessions - elsewhere - deleted
    told = ((there, "already there"), (elsewhere, "in another store"), (deleted, "deleted in the target"))
    return [f"{count:,} {where}" for count, where in told if count > 0]


def _took(report: Report) -> str:
    if report.kind == "plan" and report.throughput.seconds:
        return f"about {duration(report.throughput.seconds)}"
    began, ended = moment(report.started_at), moment(report.finished_at or "")
    return duration(max(0.0, (ended - began).total_seconds())) if began and ended else ""


def _road(report: Report) -> str:
    def end(store: StoreInfo | None) -> str:
        if store is None:
            return "unknown"
        # a target that is not there yet has no generation
        return f"{printable(store.generation)} {printable(store.url)}" if store.generation else printable(store.url)

    if report.target is None:
        return f"From {end(report.source)}."
    return f"From {end(report.source)} to {end(report.target)}."


def _proof(report: Report) -> str:
    parts = [_verified(report)]
    quarantined = sum(counts.quarantined for counts in report.tables.values())
    # a verification counts no tables; what lies in quarantine is a fact that it found
    quarantined += sum(fact.count for fact in report.source_facts if fact.code == "in_quarantine")
    errors = len(report.errors) + report.errors_truncated
    if quarantined:
        parts.append(f"{plural(quarantined, 'row')} in quarantine")
    elif errors:
        parts.append(plural(errors, "error"))
    else:
        parts.append("nothing in quarantine")
    if report.losses:
        kinds = plural(len(report.losses), "kind")
        parts.append(f"{kinds} of loss told below ({plural(sum(x.count for x in report.losses), 'value')})")
    elif report.kind != "verify":  # which counts none of its own
        parts.append("no losses")
    if report.source_facts:
        parts.append(plural(len(report.source_facts), "source fact"))
    return "; ".join(parts) + "."


def _verified(report: Report) -> str:
    v = report.verification
    if v.status == "passed":
        if v.checked_rows and not v.checked_values:
            how = "compared by digest, no difference" if report.kind == "rollback" else "looked at, nothing found"
            return f"Verified: {plural(v.checked_rows, 'row')} {how}"
        return f"Verified: {plural(v.checked_values, 'value')} compared, no difference"
    if v.status == "failed":
        found = len(v.differences) + v.differences_truncated
        return f"Verification FAILED: {plural(found, 'difference')}"
    if report.kind == "plan":
        return "Nothing was changed"
    return "Not verified"


def _stores(report: Report, _width: int) -> list[str]:
    lines = []
    for role, store in (("source", report.source), ("target", report.target)):
        if store is None:
            continue
        facts = [store.engine, store.dress and f"{store.dress} form"]
        facts.append(None if store.size_bytes is None else size(store.size_bytes))
        facts.append(None if store.sha256 is None else f"sha256 {store.sha256}")
        told = ", ".join(printable(fact) for fact in facts if fact)
        if told:
            lines.append(f"  {role}  {told}")
    lines.append(f"  run     {printable(report.run_id)}, began {printable(report.started_at)}")
    return ["Stores and run", *lines]


def _tables(report: Report, width: int) -> list[str]:
    if not report.tables:
        return []
    names = ("read", "written", "quarantined", "excluded", "derived")
    rows = [(name, *(getattr(counts, n) for n in names)) for name, counts in report.tables.items()]
    total = ("total", *(sum(getattr(counts, n) for counts in report.tables.values()) for n in names))
    explain = "read = written + quarantined + excluded; derived rows have no row of the source behind them"
    return ["Rows", *columns(("table", *names), [*rows, total]), *paragraph(explain, width)]


def _errors(report: Report, width: int) -> list[str]:
    if not report.errors:
        return []
    lines = [f"Errors ({len(report.errors) + report.errors_truncated:,})"]
    for line in report.errors[:_SHOWN]:
        lines += paragraph(line.error, width, indent="    ", first=f"  {_place(line)}[{printable(line.code)}] ")
    return lines + _more(report, len(report.errors) + report.errors_truncated)


def _place(line: ErrorLine | Difference) -> str:
    parts = []
    if line.session_id is not None:
        parts.append(f"session {printable(line.session_id)}")
    if line.table is not None:
        place = printable(line.table)
        if isinstance(line, Difference) and line.column is not None:
            place += f".{printable(line.column)}"
        parts.append(place if line.row is None else f"{place} row {printable(line.row)}")
    return ", ".join(parts) + (": " if parts else "")


def _more(report: Report, total: int) -> list[str]:
    if total <= _SHOWN:
        return []
    # a plan writes nothing, and a verification no ledger
    have = {"plan": "--json shows", "verify": "the JSON report has"}.get(
        report.kind, "the JSON report and the ledger have"
    )
    return [f"  and {total - _SHOWN:,} more; {have} them"]


def _losses(report: Report, width: int) -> list[str]:
    if not report.losses:
        return []
    lines = ["Losses (values not as they were in the source, and where the originals are)"]
    for loss in report.losses:
        place = loss.table if loss.column is None else f"{loss.table}.{loss.column}"
        lines.append(f"  {printable(place)}  {loss.count:,} x {printable(loss.code)}")
        lines += paragraph(loss.meaning, width, indent="      ")
        lines += paragraph(loss.original_kept_in, width, indent="      ", first="      originals: ")
        lines += _example_lines(loss.examples, width)
    return lines


def _example_lines(examples: list[object], width: int) -> list[str]:
    return [f"      example: {sample(example, max(20, width - 15))}" for example in examples[:_EXAMPLES]]


def _facts(report: Report, width: int) -> list[str]:
    if not report.source_facts:
        return []
    lines = ["Source facts (already so before the run; reported, not repaired)"]
    if report.kind == "rollback":
        lines = ["Carried back (what the application did to the sessions since they moved)"]
    for fact in report.source_facts:
        lines.append(f"  {printable(fact.table or 'store')}  {fact.count:,} x {printable(fact.code)}")
        lines += paragraph(fact.meaning, width, indent="      ")
        lines += _example_lines(fact.examples, width)
    return lines


def _assumptions(report: Report, width: int) -> list[str]:
    if not report.assumptions:
        return []
    lines = ["Assumed"]
    for text in report.assumptions:
        lines += paragraph(text, width, indent="    ", first="  - ")
    return lines


def _verification(report: Report, width: int) -> list[str]:
    v = report.verification
    if v.status == "not_run":
        return ["Verification", "  not run"]
    counts = (
        f"  {v.status}: {plural(v.checked_sessions, 'session')}, {plural(v.checked_rows, 'row')}, "
        f"{plural(v.checked_values, 'value')}"
    )
    lines = ["Verification", counts, *paragraph(v.method, width, indent="    ", first="  how: ")]
    for difference in v.differences[:_SHOWN]:
        lines += paragraph(difference.message, width, indent="    ", first=f"  {_place(difference)}")
        if difference.expected is not None or difference.found is not None:
            lines.append(f"      expected: {sample(difference.expected, max(20, width - 16))}")
            lines.append(f"      found:    {sample(difference.found, max(20, width - 16))}")
    lines += _more(report, len(v.differences) + v.differences_truncated)
    if v.cannot_see:
        lines.append("  it cannot see:")
        for text in v.cannot_see:
            lines += paragraph(text, width, indent="      ", first="    - ")
    return lines


def _throughput(report: Report, width: int) -> list[str]:
    t = report.throughput
    if not t.seconds:
        return []
    lines = [
        "Throughput",
        f"  {plural(t.rows, 'row')} of {plural(t.sessions, 'session')}, {size(t.bytes)}, "
        f"in {'about ' if report.kind == 'plan' else ''}{duration(t.seconds)}: {t.rows_per_second:,.0f} rows/s",
    ]
    if t.peak_memory_mb:
        peaks = ", ".join(f"{printable(name)} {mb:,.0f} MB" for name, mb in t.peak_memory_mb.items())
        lines += paragraph(f"peak memory: {peaks}", width, indent="  ")
    return lines


def _environment(report: Report, width: int) -> list[str]:
    e = report.environment
    if not e.python:
        return []
    lines = ["Environment"]
    packages = ", ".join(f"{name} {version}" for name, version in e.packages.items())
    tool = f"{report.tool.name} {report.tool.version}"
    lines += paragraph(f"{tool}; Python {e.python}; {e.platform}; {packages}", width)
    classes = e.fidelity.get("classes")
    if isinstance(classes, dict) and classes:
        changed = {k: v for k, v in classes.items() if not str(v).startswith("exact")}
        lines.append(f"  driver fidelity: {len(classes) - len(changed)} of {len(classes)} classes of values exact")
        for name, how in changed.items():
            lines += paragraph(f"{name}: {how}", width, indent="        ", first="      ")
    return lines


def _files(report: Report, width: int) -> list[str]:
    lines = []
    if report.ledger.tables:
        tables = ", ".join(report.ledger.tables)
        lines += paragraph(
            f"ledger in the target: {plural(report.ledger.rows, 'row')} in {tables}",
            width,
            indent="    ",
            first="  ",
        )
    if report.digests:
        d = report.digests
        what = "every table" if in_place(report) else plural(d.sessions, "session")
        lines.append(f"  digests of {what}: {printable(d.path)} ({printable(d.algorithm)})")
        lines.append(f"      sha256 {d.sha256}")
    for backup in report.backups:
        lines += _backup(backup, width)
    return ["Left behind", *lines] if lines else []


def _backup(backup: Backup, width: int) -> list[str]:
    """Names of stores and places stand whole on a line, to be copied."""
    what = {"taken": "backup", "earlier": "earlier backup", "not_taken": "NO backup"}[backup.state]
    lines = [f"  {what} of {printable(backup.store)}"]
    if backup.path is not None:
        told = f", {size(backup.bytes)}" if backup.bytes is not None else ""
        lines += [f"      {printable(backup.path)}", f"      as it was at {printable(backup.taken_at or '')}{told}"]
    return lines + (paragraph(backup.reason, width, indent="      ") if backup.reason else [])


def _next(report: Report, width: int) -> list[str]:
    return ["Next", *(line for step in next_steps(report) for line in paragraph(step, width))]


_PARTS: tuple[Callable[[Report, int], list[str]], ...] = (
    _head,
    _tables,
    _errors,
    _losses,
    _facts,
    _assumptions,
    _verification,
    _throughput,
    _stores,
    _environment,
    _files,
    _next,
)
