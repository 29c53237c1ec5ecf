"""One-shot work: plan, migrate, verify, status."""

from __future__ import annotations

import importlib as _importlib
import typing as _typing

if _typing.TYPE_CHECKING:
    from sessionlift.runs._auto_backup import BackupOptions
    from sessionlift.runs._backup import (
        BackupInfo,
        Restored,
        check_backup,
        read_backup,
        restore_backup,
        take_backup,
    )
    from sessionlift.runs._broken import Ending, told_when_broken
    from sessionlift.runs._catch_up import CatchUpResult, catch_up
    from sessionlift.runs._catch_up_one import CatchUp, CaughtUp
    from sessionlift.runs._in_place import InPlaceOptions, InPlaceResult, change_in_place
    from sessionlift.runs._in_place_history import History, history
    from sessionlift.runs._in_place_verify import InPlaceCheck, verify_in_place
    from sessionlift.runs._interrupts import Interrupts
    from sessionlift.runs._known import is_blank
    from sessionlift.runs._migrate import MigrateResult, migrate
    from sessionlift.runs._mover import Converted, Moved, SessionMover, convert_one
    from sessionlift.runs._options import TransferOptions, assumptions
    from sessionlift.runs._places import lives_in_another, refuse_same
    from sessionlift.runs._plan import plan
    from sessionlift.runs._progress import Progress
    from sessionlift.runs._report_files import new_run_id, report_path, store_info, store_size, unit_digests
    from sessionlift.runs._roads import SOURCES, Road, Source, road_from
    from sessionlift.runs._rollback import rollback
    from sessionlift.runs._rollback_options import RollbackOptions, RollbackResult
    from sessionlift.runs._schema_down import downgrade_schema
    from sessionlift.runs._status import TargetStatus, status
    from sessionlift.runs._tally import Tally
    from sessionlift.runs._transfer import Committed
    from sessionlift.runs._verify import VerifyResult, verify
    from sessionlift.runs._window import Window

__all__ = [
    "SOURCES",
    "BackupInfo",
    "BackupOptions",
    "CatchUp",
    "CatchUpResult",
    "CaughtUp",
    "Committed",
    "Converted",
    "Ending",
    "History",
    "InPlaceCheck",
    "InPlaceOptions",
    "InPlaceResult",
    "Interrupts",
    "MigrateResult",
    "Moved",
    "Progress",
    "Restored",
    "Road",
    "RollbackOptions",
    "RollbackResult",
    "SessionMover",
    "Source",
    "Tally",
    "TargetStatus",
    "TransferOptions",
    "VerifyResult",
    "Window",
    "assumptions",
    "catch_up",
    "change_in_place",
    "check_backup",
    "convert_one",
    "downgrade_schema",
    "history",
    "is_blank",
    "lives_in_another",
    "migrate",
    "new_run_id",
    "plan",
    "read_backup",
    "refuse_same",
    "report_path",
    "restore_backup",
    "road_from",
    "rollback",
    "status",
    "store_info",
    "store_size",
    "take_backup",
    "told_when_broken",
    "unit_digests",
    "verify",
    "verify_in_place",
]

_HOME = {
    "BackupInfo": "_backup",
    "BackupOptions": "_auto_backup",
    "Restored": "_backup",
    "check_backup": "_backup",
    "read_backup": "_backup",
    "restore_backup": "_backup",
    "take_backup": "_backup",
    "SOURCES": "_roads",
    "CatchUp": "_catch_up_one",
    "CatchUpResult": "_catch_up",
    "CaughtUp": "_catch_up_one",
    "Committed": "_transfer",
    "Converted": "_mover",
    "Ending": "_broken",
    "History": "_in_place_history",
    "InPlaceCheck": "_in_place_verify",
    "InPlaceOptions": "_in_place",
    "InPlaceResult": "_in_place",
    "Interrupts": "_interrupts",
    "MigrateResult": "_migrate",
    "Moved": "_mover",
    "Progress": "_progress",
    "Road": "_roads",
    "RollbackOptions": "_rollback_options",
    "RollbackResult": "_rollback_options",
    "SessionMover": "_mover",
    "Source": "_roads",
    "Tally": "_tally",
    "TargetStatus": "_status",
    "TransferOptions": "_options",
    "VerifyResult": "_verify",
    "Window": "_window",
    "assumptions": "_options",
    "catch_up": "_catch_up",
    "change_in_place": "_in_place",
    "convert_one": "_mover",
    "downgrade_schema": "_schema_down",
    "history": "_in_place_history",
    "is_blank": "_known",
    "lives_in_another": "_places",
    "migrate": "_migrate",
    "new_run_id": "_report_files",
    "plan": "_plan",
    "refuse_same": "_places",
    "report_path": "_report_files",
    "road_from": "_roads",
    "rollback": "_rollback",
    "status": "_status",
    "store_info": "_report_files",
    "store_size": "_report_files",
    "told_when_broken": "_broken",
    "unit_digests": "_report_files",
    "verify": "_verify",
    "verify_in_place": "_in_place_verify",
}


def __getattr__(name: str) -> _typing.Any:
    """Load a name when it is asked for: the processes of a run need few of them, and each costs memory."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
