"""Which generation a store holds, the schema commands, the check of a target before a write, and changes in place."""

from sessionlift.generations._chain import (
    Oddity,
    Standing,
    adopt,
    chain_of,
    chain_target,
    change,
    standing,
    step_of,
    steps_of_run,
    way_down,
)
from sessionlift.generations._connect import over
from sessionlift.generations._detect import MOVED, Detection, detect, require_generation
from sessionlift.generations._kept import kept_rows
from sessionlift.generations._prepare import check_target, prepare_target
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
    "MOVED",
    "OFF_THE_HOUR",
    "Detection",
    "Oddity",
    "RevisionInfo",
    "Standing",
    "adopt",
    "chain_of",
    "chain_target",
    "change",
    "check_target",
    "derive_hours",
    "detect",
    "kept_rows",
    "over",
    "prepare_target",
    "require_generation",
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
