"""Which generation a store holds, the schema commands, and the check of a target before a write."""

from sessionlift.generations._detect import MOVED, Detection, detect, require_generation
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

__all__ = [
    "MOVED",
    "Detection",
    "RevisionInfo",
    "check_target",
    "detect",
    "prepare_target",
    "require_generation",
    "schema_config",
    "schema_current",
    "schema_downgrade",
    "schema_history",
    "schema_upgrade",
    "schema_verify",
]
