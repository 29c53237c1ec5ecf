"""From one generation's rows to the next one's: what is mapped, what is lost, and what is kept for the way back."""

from sessionlift.converters._backward import (
    KEPT,
    BackUnit,
    Backward,
    BackwardBatch,
    Changes,
    Found,
    LegacyRows,
    PutBack,
    Refused,
    Remembered,
)
from sessionlift.converters._batch import (
    CATALOG,
    SESSION,
    Batch,
    Fact,
    Loss,
    Quarantined,
    Sink,
    Unit,
    UnitKind,
    UnitState,
)
from sessionlift.converters._continue import Continuation, Continued, OnConflict, Rows
from sessionlift.converters._digest import TargetDigests, encode_rows
from sessionlift.converters._forward import Forecast, Forward, Group, Inventory, Owned, RowKeys, TargetRows
from sessionlift.converters._mapping import TypeMapping, load_mapping
from sessionlift.converters._times import load_zone, same_clock

__all__ = [
    "CATALOG",
    "KEPT",
    "SESSION",
    "BackUnit",
    "Backward",
    "BackwardBatch",
    "Batch",
    "Changes",
    "Continuation",
    "Continued",
    "Fact",
    "Forecast",
    "Forward",
    "Found",
    "Group",
    "Inventory",
    "LegacyRows",
    "Loss",
    "OnConflict",
    "Owned",
    "PutBack",
    "Quarantined",
    "Refused",
    "Remembered",
    "RowKeys",
    "Rows",
    "Sink",
    "TargetDigests",
    "TargetRows",
    "TypeMapping",
    "Unit",
    "UnitKind",
    "UnitState",
    "encode_rows",
    "load_mapping",
    "load_zone",
    "same_clock",
]
