"""A session of the new API, for coroutines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sessionlift.bridge.langswarm._new_store import Stored
from sessionlift.bridge.langswarm._sessions import new_message
from sessionlift.bridge.langswarm._values import MessageRole, SessionMessage, SessionMetrics
from sessionlift.bridge.langswarm._view import SessionView, wants_answer

if TYPE_CHECKING:
    from sessionlift.bridge.langswarm._bridge import SessionBridge


class Session(SessionView):
    """One session, wherever it lives. It holds no state that could get old: each method asks the stores again.

    Every method raises SessionNotFoundError once the session is deleted, from wherever, and those that write raise
    SessionInLegacyError while it is served from the legacy store without a writer for it, and SessionConflictError
    while both stores have gone on with it.
    """

    def __init__(self, bridge: SessionBridge, stored: Stored) -> None:
        super().__init__(stored)
        self._bridge = bridge

    async def send_message(
        self, content: str, role: MessageRole | str = MessageRole.USER, **metadata: Any
    ) -> SessionMessage:
        """Send a user's message to the session's provider; returns the answer. Both are stored together after it came,
        so that a provider that fails leaves nothing (ProviderError). A message of any other role is stored and
        returned itself."""
        if not wants_answer(role):
            return await self.append_message(content, role, **metadata)
        message = new_message(content, role, metadata)
        _, answer = await self._bridge._do(self._bridge._sessions.exchange(self.session_id, message))
        await self.refresh()
        return answer

    async def append_message(
        self, content: str, role: MessageRole | str = MessageRole.USER, **metadata: Any
    ) -> SessionMessage:
        """Store a message and ask nobody; returns it with the time it was stored under."""
        message = new_message(content, role, metadata)
        (stored,) = await self._bridge._do(self._bridge._sessions.append(self.session_id, [message]))
        await self.refresh()
        return stored

    async def add_system_message(self, content: str) -> SessionMessage:
        """Store a system message; no provider answers it."""
        return await self.append_message(content, MessageRole.SYSTEM)

    send_system_message = add_system_message

    async def get_messages(self, limit: int | None = None) -> list[SessionMessage]:
        """The history in its order, or its last ``limit`` messages."""
        return self._last(await self._bridge._do(self._bridge._sessions.get(self.session_id)), limit)

    async def clear_messages(self) -> bool:
        """Delete the history; true when it is done."""
        await self._bridge._do(self._bridge._sessions.clear(self.session_id))
        await self.refresh()
        return True

    async def update_context(self, **changes: Any) -> bool:
        """Change fields of the context by their names, and anything else in ``provider_context``; true when it is done.

        ``provider_context=`` is added to what stands there and replaces nothing as a whole: V1's values are in it.
        ``status=`` takes V2's or V1's statuses.
        """
        await self._bridge._do(self._bridge._sessions.update(self.session_id, changes))
        await self.refresh()
        return True

    async def get_metrics(self) -> SessionMetrics:
        await self.refresh()
        return self.metrics

    async def archive(self) -> bool:
        """Set the status to archived, where the next reader finds it; true when it is done."""
        await self._bridge._do(self._bridge._sessions.archive(self.session_id))
        await self.refresh()
        return True

    async def refresh(self) -> None:
        """Look at the stores again, for the properties."""
        self._stored = await self._bridge._do(self._bridge._sessions.get(self.session_id))
