"""The report as a tree of dataclasses: one class per object of the JSON file, one field per key.

The published form of the same contract is ``report-v1.schema.json``; a test holds the two together.
Instances are filled in as the run learns more, so that what is known so far can be written at any moment.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime, timezone
from typing import Any, Literal, TypeAlias, get_args

from sessionlift._version import __version__
from sessionlift.errors import ReportError, SessionliftError
from sessionlift.reports._codec import decode, encode

REPORT_VERSION = "1.1"

Kind: TypeAlias = Literal[
    "migrate", "plan", "verify", "rollback", "catch_up", "bridge", "upgrade", "downgrade", "derive"
]
Status: TypeAlias = Literal["running", "completed", "completed_with_findings", "failed", "interrupted"]
VerificationStatus: TypeAlias = Literal["passed", "failed", "not_run"]
BackupState: TypeAlias = Literal["taken", "earlier", "not_taken"]

KINDS: tuple[str, ...] = get_args(Kind)
# a run that came to its own end; only then must the counts add up exactly
COMPLETED = ("completed", "completed_with_findings")


def utc_now() -> str:
    """The present moment as every time in a report is written: ISO 8601, microseconds, ``+00:00``."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")


@dataclass(kw_only=True)
class Tool:
    """The program that wrote the report."""

    name: str = "sessionlift"
    version: str = __version__


@dataclass(kw_only=True)
class StoreInfo:
    """One of the two stores of a run. What was not found out (a run that failed early) is ``None``."""

    url: str
    system: str | None = None
    generation: str | None = None
    engine: str | None = None
    dress: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None


@dataclass(kw_only=True)
class ErrorLine:
    """One row or session that could not be converted, or one reason why the run ended."""

    session_id: str | None = None
    error: str
    code: str
    table: str | None = None
    row: str | None = None

    @classmethod
    def of(cls, error: SessionliftError) -> ErrorLine:
        """The line of an error of our tree, with what it says of the session, the table and the row."""
        row = error.fields.get("row_id")
        return cls(
            session_id=error.fields.get("session_id"),
            error=error.what,
            code=error.code,
            table=error.fields.get("table"),
            row=None if row is None else str(row),
        )


@dataclass(kw_only=True)
class TableCounts:
    """Where the rows of one table went: ``read == written + quarantined + excluded``, ``derived`` apart."""

    read: int = 0
    written: int = 0
    quarantined: int = 0
    excluded: int = 0
    derived: int = 0


@dataclass(kw_only=True)
class Loss:
    """Values that had to be coerced, mapped or left out, by code and column, and where the originals are."""

    code: str
    table: str
    column: str | None = None
    count: int
    meaning: str
    original_kept_in: str
    examples: list[Any] = field(default_factory=list)


@dataclass(kw_only=True)
class SourceFact:
    """Something about the source that looks like a loss but was so before the run; nothing was repaired."""

    code: str
    table: str | None = None
    count: int
    meaning: str
    examples: list[Any] = field(default_factory=list)


@dataclass(kw_only=True)
class Difference:
    """One value, row or session in which the verifier found the target other than it must be."""

    session_id: str | None = None
    table: str | None = None
    row: str | None = None
    column: str | None = None
    expected: Any = None
    found: Any = None
    message: str


@dataclass(kw_only=True)
class Verification:
    """What was compared, how, with what result, and what this way of comparing cannot see."""

    status: VerificationStatus = "not_run"
    checked_sessions: int = 0
    checked_rows: int = 0
    checked_values: int = 0
    differences: list[Difference] = field(default_factory=list)
    differences_truncated: int = 0
    method: str = ""
    cannot_see: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Throughput:
    """How much was moved in how long, and the peak memory of each process by name."""

    sessions: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    rows_per_second: float = 0.0
    peak_memory_mb: dict[str, float] = field(default_factory=dict)

    @classmethod
    def measured(
        cls,
        *,
        sessions: int,
        rows: int,
        bytes: int,
        seconds: float,
        peak_memory_mb: dict[str, float] | None = None,
    ) -> Throughput:
        """The figures of a run, with the rate worked out and everything rounded as a report has it."""
        return cls(
            sessions=sessions,
            rows=rows,
            bytes=bytes,
            seconds=round(seconds, 3),
            rows_per_second=round(rows / seconds, 1) if seconds > 0 else 0.0,
            peak_memory_mb={name: round(mb, 1) for name, mb in (peak_memory_mb or {}).items()},
        )


@dataclass(kw_only=True)
class Environment:
    """What the run ran on: interpreter, machine, package versions and the driver's fidelity probe."""

    python: str = ""
    platform: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    fidelity: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class Digests:
    """The file beside the report with one line per session, and the digest of that file."""

    path: str
    sha256: str
    algorithm: str
    sessions: int


@dataclass(kw_only=True)
class LedgerUse:
    """The tables that this tool keeps in the target, and how many rows they hold after the run."""

    tables: list[str] = field(default_factory=list)
    rows: int = 0


@dataclass(kw_only=True)
class Backup:
    """The copy of a store that held data before the run wrote into it, or why there is none."""

    store: str
    state: BackupState
    path: str | None = None
    taken_at: str | None = None
    bytes: int | None = None
    digest: str | None = None
    reason: str | None = None


@dataclass(kw_only=True)
class Report:
    """Everything there is to say about one run. Only ``kind`` and ``run_id`` must be known at its start."""

    report_version: str = REPORT_VERSION
    kind: Kind
    run_id: str
    tool: Tool = field(default_factory=Tool)
    started_at: str = field(default_factory=utc_now)
    finished_at: str | None = None
    status: Status = "running"
    dry_run: bool = False
    source: StoreInfo | None = None
    target: StoreInfo | None = None
    options: dict[str, Any] = field(default_factory=dict)
    assumptions: list[str] = field(default_factory=list)
    total_sessions: int = 0
    migrated_sessions: int = 0
    skipped_sessions: int = 0
    failed_sessions: int = 0
    errors: list[ErrorLine] = field(default_factory=list)
    errors_truncated: int = 0
    tables: dict[str, TableCounts] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    source_facts: list[SourceFact] = field(default_factory=list)
    verification: Verification = field(default_factory=Verification)
    throughput: Throughput = field(default_factory=Throughput)
    environment: Environment = field(default_factory=Environment)
    digests: Digests | None = None
    ledger: LedgerUse = field(default_factory=LedgerUse)
    backups: list[Backup] = field(default_factory=list, metadata={"since": "1.1"})

    @property
    def has_findings(self) -> bool:
        """True when someone has to look: rows in quarantine, failed sessions, errors or differences."""
        return bool(
            self.failed_sessions
            or self.errors
            or self.errors_truncated
            or any(counts.quarantined for counts in self.tables.values())
            or self.verification.status == "failed"
        )

    def finish(self, status: Status | None = None, *, at: str | None = None) -> None:
        """Close the report; without ``status`` it is "completed", "completed_with_findings" if it has any."""
        # a clock that was set back while the run was at it must not make a report that contradicts itself
        self.finished_at = at or max(utc_now(), self.started_at)
        self.status = status or ("completed_with_findings" if self.has_findings else "completed")

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready data, keys in the order of the contract. Nothing is redacted yet."""
        result: dict[str, Any] = encode(self)
        return result

    @classmethod
    def from_dict(cls, data: Any) -> Report:
        """The report that ``data`` describes.

        Raises :class:`~sessionlift.errors.ReportError` listing every key that is missing, unknown or of the
        wrong type. A report of a later 1.x may hold keys that this build does not know: they are passed over. One
        of an earlier 1.x lacks those that came since: they are empty.
        """
        version = data.get("report_version") if isinstance(data, dict) else None
        later = isinstance(version, str) and is_later_minor(version)
        problems: list[str] = []
        if isinstance(version, str) and is_earlier_minor(version):
            data = {**_came_since(cls, version), **data}
        report: Report = decode(cls, data, problems, allow_unknown=later)
        if problems:
            raise ReportError(
                "this is not a valid report: "
                + "; ".join(problems[:5])
                + (f"; and {len(problems) - 5} more" if len(problems) > 5 else ""),
                hint="`sessionlift report check FILE` lists everything that is wrong with it",
                problems=problems,
            )
        return report


def is_later_minor(version: str) -> bool:
    """True for a version with our major number and a higher minor one."""
    return (minor := _minor(version)) is not None and minor > _own_minor()


def is_earlier_minor(version: str) -> bool:
    """True for a version with our major number and a lower minor one."""
    return (minor := _minor(version)) is not None and minor < _own_minor()


def _own_minor() -> int:
    return int(REPORT_VERSION.partition(".")[2])


def _minor(version: str) -> int | None:
    major, _, minor = version.partition(".")
    return int(minor) if major == REPORT_VERSION.partition(".")[0] and re.fullmatch("[0-9]{1,9}", minor) else None


def _came_since(cls: Any, version: str) -> dict[str, Any]:
    """The keys that an earlier version does not have, as they are in a report that knows nothing of them."""
    minor = _minor(version) or 0
    return {
        f.name: encode(f.default_factory())
        for f in fields(cls)
        if (since := _minor(f.metadata.get("since", ""))) is not None
        and since > minor
        and f.default_factory is not MISSING
    }
