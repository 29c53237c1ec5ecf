"""V1's ``manager.storage``, for callers that save a session themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sessionlift.bridge.langswarm.v1._session import LangSwarmSession
from sessionlift.bridge.langswarm.v1._values import SessionMetadata, SessionStatus
from sessionlift.errors import SessionNotFoundError, UsageError

if TYPE_CHECKING:
    from sessionlift.bridge.langswarm.v1._api import LegacyApi


class SessionStorage:
    """What is saved is what the caller changed: messages put at the end, and fields of the metadata that were set.
    A session is never written as a whole, so that no other writer's work is undone."""

    def __init__(self, api: LegacyApi) -> None:
        self._api = api

    def save_session(self, session: LangSwarmSession) -> bool:
        """Raises UsageError for a history that was cut: V1 would delete the rest; ``clear`` deletes on purpose."""
        if session.is_shortened():
            raise UsageError(
                f"the history of session {session.session_id!r} was shortened",
                hint="the store only appends to it; nothing was saved",
            )
        for message in session.new_messages():
            values = message.to_dict()
            self._api._add(session.session_id, values.pop("content"), values.pop("role"), values)
        changed = session.changed_fields()
        for derived in ("message_count", "last_activity", "updated_at"):
            changed.pop(derived, None)
        if changed:
            self._api._change(session.session_id, changed)
        session.refresh()
        return True

    def load_session(self, session_id: str) -> LangSwarmSession | None:
        return self._api.get_session(session_id)

    def delete_session(self, session_id: str) -> bool:
        return self._api.delete_session(session_id)

    def list_sessions(
        self, user_id: str | None = None, status: SessionStatus | None = None, limit: int = 100
    ) -> list[SessionMetadata]:
        return self._api.list_sessions(user_id, status, limit)

    def update_session_metadata(self, session_id: str, metadata: Mapping[str, Any]) -> bool:
        """False where no store has the session."""
        try:
            self._api._change(session_id, {name: value for name, value in metadata.items() if name != "updated_at"})
        except SessionNotFoundError:
            return False
        return True

    def cleanup_expired_sessions(self, max_age_days: int = 30) -> int:
        return self._api.cleanup_expired_sessions(max_age_days)
