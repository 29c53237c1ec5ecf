"""Synth-AI's traces of both stores, answered as the real v3 manager answers."""

from sessionlift.bridge.synth._bridge import TraceBridge
from sessionlift.bridge.synth._sync import SyncTraceBridge

__all__ = ["SyncTraceBridge", "TraceBridge"]
