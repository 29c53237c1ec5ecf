"""The report of a run: the model, its JSON form with a published schema, and a text for people.

Imports nothing of the package but the errors and the version, so that every layer may use it.
"""

from sessionlift.reports._check import check, check_file
from sessionlift.reports._digests import Digest, digests_path, file_sha256, read_digests, write_digests
from sessionlift.reports._environment import current_environment
from sessionlift.reports._files import ReportFile, directory_for, find_reports, load, load_raw, write
from sessionlift.reports._layout import printable
from sessionlift.reports._model import (
    REPORT_VERSION,
    Backup,
    Difference,
    Digests,
    Environment,
    ErrorLine,
    Kind,
    LedgerUse,
    Loss,
    Report,
    SourceFact,
    Status,
    StoreInfo,
    TableCounts,
    Throughput,
    Tool,
    Verification,
    VerificationStatus,
    utc_now,
)
from sessionlift.reports._next import without_report
from sessionlift.reports._redact import redact, redact_tree
from sessionlift.reports._schema import schema
from sessionlift.reports._text import render_list, render_text

__all__ = [
    "REPORT_VERSION",
    "Backup",
    "Difference",
    "Digest",
    "Digests",
    "Environment",
    "ErrorLine",
    "Kind",
    "LedgerUse",
    "Loss",
    "Report",
    "ReportFile",
    "SourceFact",
    "Status",
    "StoreInfo",
    "TableCounts",
    "Throughput",
    "Tool",
    "Verification",
    "VerificationStatus",
    "check",
    "check_file",
    "current_environment",
    "digests_path",
    "directory_for",
    "file_sha256",
    "find_reports",
    "load",
    "load_raw",
    "printable",
    "read_digests",
    "redact",
    "redact_tree",
    "render_list",
    "render_text",
    "schema",
    "utc_now",
    "without_report",
    "write",
    "write_digests",
]
