"""Which generation a store holds, the schema commands, the check of a target before a write, and changes in place."""

from __future__ import annotations

import importlib as _importlib
import typing as _typing

if _typing.TYPE_CHECKING:
    from sessionlift.generations._chain import (
        Oddity,
        Standing,
        adopt,
        chain_of,
        chain_target,
        change,
        not_in_place,
        refuse_dependents,
        standing,
        step_of,
        steps_of_run,
        way_down,
    )
    from sessionlift.generations._connect import over
    from sessionlift.generations._detect import (
        LED_UP,
        MOVED,
        Detection,
        added_columns,
        detect,
        has_earlier_ledger,
        has_ledger_stamp,
        require_generation,
        require_source,
    )
    from sessionlift.generations._kept import kept_rows
    from sessionlift.generations._kept_digests import KeptState, kept_state, refuse_altered
    from sessionlift.generations._late import late_indexes, leave_out_indexes, make_late_indexes
    from sessionlift.generations._place import is_vacant, refuse_newer, refuse_newer_store
    from sessionlift.generations._prepare import check_target, prepare_target
    from sessionlift.generations._revision import Settled
    from sessionlift.generations._schema import (
        RevisionInfo,
        schema_config,
        schema_current,
        schema_downgrade,
        schema_history,
        schema_upgrade,
        schema_verify,
    )
    from sessionlift.generations._series import HAS_SKILL, HOUR, IS_TIME, OFF_THE_HOUR, derive_hours

__all__ = [
    "HAS_SKILL",
    "HOUR",
    "IS_TIME",
    "LED_UP",
    "MOVED",
    "OFF_THE_HOUR",
    "Detection",
    "KeptState",
    "Oddity",
    "RevisionInfo",
    "Settled",
    "Standing",
    "added_columns",
    "adopt",
    "chain_of",
    "chain_target",
    "change",
    "check_target",
    "derive_hours",
    "detect",
    "has_earlier_ledger",
    "has_ledger_stamp",
    "is_vacant",
    "kept_rows",
    "kept_state",
    "late_indexes",
    "leave_out_indexes",
    "make_late_indexes",
    "not_in_place",
    "over",
    "prepare_target",
    "refuse_altered",
    "refuse_dependents",
    "refuse_newer",
    "refuse_newer_store",
    "require_generation",
    "require_source",
    "schema_config",
    "schema_current",
    "schema_downgrade",
    "schema_history",
    "schema_upgrade",
    "schema_verify",
    "standing",
    "step_of",
    "steps_of_run",
    "way_down",
]

_HOME = {
    "HAS_SKILL": "_series",
    "HOUR": "_series",
    "IS_TIME": "_series",
    "LED_UP": "_detect",
    "MOVED": "_detect",
    "OFF_THE_HOUR": "_series",
    "Detection": "_detect",
    "KeptState": "_kept_digests",
    "Oddity": "_chain",
    "RevisionInfo": "_schema",
    "Settled": "_revision",
    "Standing": "_chain",
    "added_columns": "_detect",
    "adopt": "_chain",
    "chain_of": "_chain",
    "chain_target": "_chain",
    "change": "_chain",
    "check_target": "_prepare",
    "derive_hours": "_series",
    "detect": "_detect",
    "has_earlier_ledger": "_detect",
    "has_ledger_stamp": "_detect",
    "is_vacant": "_place",
    "kept_rows": "_kept",
    "kept_state": "_kept_digests",
    "late_indexes": "_late",
    "leave_out_indexes": "_late",
    "make_late_indexes": "_late",
    "not_in_place": "_chain",
    "over": "_connect",
    "prepare_target": "_prepare",
    "refuse_altered": "_kept_digests",
    "refuse_dependents": "_chain",
    "refuse_newer": "_place",
    "refuse_newer_store": "_place",
    "require_generation": "_detect",
    "require_source": "_detect",
    "schema_config": "_schema",
    "schema_current": "_schema",
    "schema_downgrade": "_schema",
    "schema_history": "_schema",
    "schema_upgrade": "_schema",
    "schema_verify": "_schema",
    "standing": "_chain",
    "step_of": "_chain",
    "steps_of_run": "_chain",
    "way_down": "_chain",
}
"""Most of these stand on Alembic, which takes half a second to load: each is loaded when it is first asked for."""


def __getattr__(name: str) -> _typing.Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
