"""One-shot work: plan, migrate, verify, status."""

from sessionlift.runs._interrupts import Interrupts
from sessionlift.runs._migrate import MigrateResult, migrate
from sessionlift.runs._options import TransferOptions
from sessionlift.runs._plan import plan
from sessionlift.runs._progress import Progress
from sessionlift.runs._status import TargetStatus, status

__all__ = ["Interrupts", "MigrateResult", "Progress", "TargetStatus", "TransferOptions", "migrate", "plan", "status"]
