"""A session of the old API, wherever it lives."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from sessionlift.bridge.langswarm.v1._answers import Document
from sessionlift.bridge.langswarm.v1._values import (
    ConversationHistory,
    ConversationMessage,
    MessageRole,
    SessionMetadata,
    SessionStatus,
)

if TYPE_CHECKING:
    from sessionlift.bridge.langswarm.v1._api import LegacyApi


class LangSwarmSession:
    """V1's session. ``metadata`` and ``history`` are what the last operation found; each method asks the stores again.

    Unlike V1's own, ``add_message``, ``archive`` and ``reactivate`` are stored when they return: nothing is lost with
    the process, and nothing waits for a save. Fields set on ``metadata`` go to the store by ``storage.save_session``.
    """

    def __init__(self, api: LegacyApi, session_id: str, document: Document) -> None:
        self._api, self._session_id = api, session_id
        self._take(document)

    def _take(self, document: Document) -> None:
        self.metadata = SessionMetadata.from_dict(document.metadata)
        self.history = ConversationHistory.from_dict(document.history)
        self._as_read = deepcopy(self.metadata.to_dict())
        self._read = len(self.history.messages)

    @property
    def session_id(self) -> str:
        return self._session_id

    @property
    def user_id(self) -> str:
        return self.metadata.user_id

    @property
    def provider(self) -> str:
        return self.metadata.provider

    @property
    def model(self) -> str:
        return self.metadata.model

    @property
    def message_count(self) -> int:
        return len(self.history.messages)

    @property
    def is_active(self) -> bool:
        return self.metadata.status is SessionStatus.ACTIVE

    def add_message(self, content: str, role: Any = MessageRole.USER, **extra: Any) -> ConversationMessage:
        """Store a message, and return it; the history holds it then."""
        stored = self._api._add(self._session_id, content, role, extra)
        self.refresh()
        return last_with(stored.id, self.history)

    def get_messages(self, limit: int | None = None) -> list[ConversationMessage]:
        """The history, or its last ``limit`` messages. A list of its own: appending to it stores nothing."""
        self.refresh()
        return self.history.get_recent_messages(limit) if limit else list(self.history.messages)

    def get_messages_for_api(self) -> list[dict[str, Any]]:
        """The history as providers take it."""
        found = []
        for message in self.get_messages():
            entry = {"role": message.role.value, "content": message.content}
            entry.update({name: value for name in ("tool_calls", "tool_call_id") if (value := getattr(message, name))})
            found.append(entry)
        return found

    def archive(self) -> None:
        self._api._change(self._session_id, {"status": SessionStatus.ARCHIVED})
        self.refresh()

    def reactivate(self) -> None:
        self._api._change(self._session_id, {"status": SessionStatus.ACTIVE})
        self.refresh()

    def refresh(self) -> None:
        """Look at the stores again. Raises SessionNotFoundError once the session is deleted."""
        self._take(self._api._document(self._session_id))

    def to_dict(self) -> dict[str, Any]:
        return {"metadata": self.metadata.to_dict(), "history": self.history.to_dict()}

    def changed_fields(self) -> dict[str, Any]:
        """The fields of ``metadata`` that were set since it was read."""
        now = self.metadata.to_dict()
        return {name: value for name, value in now.items() if value != self._as_read[name]}

    def new_messages(self) -> list[ConversationMessage]:
        """Messages that were put behind the history's end since it was read."""
        return self.history.messages[self._read :]

    def is_shortened(self) -> bool:
        """Whether messages were taken out of the history since it was read."""
        return len(self.history.messages) < self._read

    def __repr__(self) -> str:
        return f"<LangSwarmSession {self._session_id!r}, {self.message_count} messages>"


def last_with(message_id: str, history: ConversationHistory) -> ConversationMessage:
    """The last message with this id; a message that is gone already leaves the one that is last now."""
    return next((each for each in reversed(history.messages) if each.id == message_id), history.messages[-1])
