"""One-shot work: plan, migrate, verify, status."""

from __future__ import annotations

import importlib as _importlib
import typing as _typing

if _typing.TYPE_CHECKING:
    from sessionlift.runs._interrupts import Interrupts
    from sessionlift.runs._migrate import MigrateResult, migrate
    from sessionlift.runs._mover import Moved, SessionMover
    from sessionlift.runs._options import TransferOptions
    from sessionlift.runs._plan import plan
    from sessionlift.runs._progress import Progress
    from sessionlift.runs._status import TargetStatus, status
    from sessionlift.runs._verify import VerifyResult, verify

__all__ = [
    "Interrupts",
    "MigrateResult",
    "Moved",
    "Progress",
    "SessionMover",
    "TargetStatus",
    "TransferOptions",
    "VerifyResult",
    "migrate",
    "plan",
    "status",
    "verify",
]

_HOME = {
    "Interrupts": "_interrupts",
    "MigrateResult": "_migrate",
    "Moved": "_mover",
    "Progress": "_progress",
    "SessionMover": "_mover",
    "TargetStatus": "_status",
    "TransferOptions": "_options",
    "VerifyResult": "_verify",
    "migrate": "_migrate",
    "plan": "_plan",
    "status": "_status",
    "verify": "_verify",
}


def __getattr__(name: str) -> _typing.Any:
    """Load a name when it is asked for: the processes of a run need few of them, and each costs memory."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
