"""One-shot work: plan, migrate, verify."""

from sessionlift.runs._migrate import MigrateResult, migrate
from sessionlift.runs._options import TransferOptions
from sessionlift.runs._progress import Progress

__all__ = ["MigrateResult", "Progress", "TransferOptions", "migrate"]
