"""The first use of a session moves it, while the application runs."""

from sessionlift.bridge._async import AsyncBridgeCore
from sessionlift.bridge._core import BridgeCore
from sessionlift.bridge._place import Place, Where
from sessionlift.bridge._rollout import Mode, Rollout
from sessionlift.bridge._shadow import Compare

__all__ = ["AsyncBridgeCore", "BridgeCore", "Compare", "Mode", "Place", "Rollout", "Where"]
