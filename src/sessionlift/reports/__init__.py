"""The report of a run: the model, its JSON form with a published schema, and a text for people.

Imports nothing of the package but the errors and the version, so that every layer may use it.
"""

from sessionlift.reports._digests import Digest, digests_path, file_sha256, read_digests, write_digests
from sessionlift.reports._files import ReportFile, find_reports, load, load_raw, write
from sessionlift.reports._model import (
    REPORT_VERSION,
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
from sessionlift.reports._redact import redact, redact_tree

__all__ = [
    "REPORT_VERSION",
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
    "digests_path",
    "file_sha256",
    "find_reports",
    "load",
    "load_raw",
    "read_digests",
    "redact",
    "redact_tree",
    "utc_now",
    "write",
    "write_digests",
]
