"""The first use of a session moves it, while the application runs."""

from sessionlift.bridge._async import AsyncBridgeCore
from sessionlift.bridge._backfill import BackfillResult, backfill
from sessionlift.bridge._core import BridgeCore
from sessionlift.bridge._place import Place, Where
from sessionlift.bridge._rollout import Mode, Rollout
from sessionlift.bridge._settings import Setting, change_setting, read_setting
from sessionlift.bridge._shadow import Compare

__all__ = [
    "AsyncBridgeCore",
    "BackfillResult",
    "BridgeCore",
    "Compare",
    "Mode",
    "Place",
    "Rollout",
    "Setting",
    "Where",
    "backfill",
    "change_setting",
    "read_setting",
]
