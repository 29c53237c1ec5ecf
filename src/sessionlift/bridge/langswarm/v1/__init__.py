"""The old API: V1's manager and session over both stores, with values under V1's names."""

from sessionlift.bridge.langswarm.v1._api import LegacyApi
from sessionlift.bridge.langswarm.v1._session import LangSwarmSession
from sessionlift.bridge.langswarm.v1._storage import SessionStorage
from sessionlift.bridge.langswarm.v1._values import (
    ConversationHistory,
    ConversationMessage,
    MessageRole,
    SessionControl,
    SessionMetadata,
    SessionStatus,
    UnknownProviderError,
    UnknownSessionError,
)

__all__ = [
    "ConversationHistory",
    "ConversationMessage",
    "LangSwarmSession",
    "LegacyApi",
    "MessageRole",
    "SessionControl",
    "SessionMetadata",
    "SessionStatus",
    "SessionStorage",
    "UnknownProviderError",
    "UnknownSessionError",
]
