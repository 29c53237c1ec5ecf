"""LangSwarm's sessions of both stores: the new API, the old API, and the application's own objects of V2."""

from sessionlift.bridge.langswarm._bridge import SessionBridge
from sessionlift.bridge.langswarm._legacy_side import LegacyWriter, V1ManagerWriter
from sessionlift.bridge.langswarm._provider import EchoProvider, Provider, Reply
from sessionlift.bridge.langswarm._session import Session
from sessionlift.bridge.langswarm._sync import SyncSession, SyncSessionBridge
from sessionlift.bridge.langswarm._values import (
    MessageRole,
    SessionBackend,
    SessionContext,
    SessionMessage,
    SessionMetrics,
    SessionStatus,
)
from sessionlift.bridge.langswarm.v1 import LegacyApi

__all__ = [
    "EchoProvider",
    "LegacyApi",
    "LegacyWriter",
    "MessageRole",
    "Provider",
    "Reply",
    "Session",
    "SessionBackend",
    "SessionBridge",
    "SessionContext",
    "SessionMessage",
    "SessionMetrics",
    "SessionStatus",
    "SyncSession",
    "SyncSessionBridge",
    "V1ManagerWriter",
]
