"""The application's own real V2: its manager gives the session, the bridge sees to it that it is moved and usable.

What its reader is known to break is mended on each session that goes through here: the backend comes back as text
and every later save fails; the status is never loaded; a session object that the manager keeps does not see what
others wrote. Nothing of LangSwarm is imported: all is done on the objects that the application gave.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from sessionlift.bridge.langswarm._new_store import Stored
from sessionlift.bridge.langswarm._values import SessionContext
from sessionlift.errors import StoreError, UsageError
from sessionlift.stores import StoreURL, real_file

_FIELDS = ("max_messages", "auto_archive", "persist_messages", "provider_session_id", "provider_context")


class RealV2:
    """A real ``SessionManager`` whose storage is the bridge's target. Raises UsageError for another one."""

    def __init__(self, manager: Any, target: StoreURL) -> None:
        self._manager = manager
        self._storage: Any = getattr(manager, "_storage", None)
        path = getattr(self._storage, "db_path", None)
        if path is None or target.path is None or real_file(Path(path)) != real_file(target.path):
            raise UsageError(
                f"the manager keeps its sessions in {path}, and the bridge moves them to {target.redacted}",
                hint='give the manager storage of type "sqlite" with the target\'s path as db_path',
            )

    async def create(self, context: SessionContext, backend: Any, fields: Mapping[str, Any]) -> Any:
        """The manager's new session, saved at once: by itself it is not until something is sent."""
        known = {name: value for name, value in fields.items() if name in _FIELDS}
        others = {name: value for name, value in fields.items() if name not in _FIELDS}
        known.setdefault("max_messages", context.max_messages)
        wanted = {"status": "active", **known.pop("provider_context", {}), **others}
        model = self._models(type(self._manager))
        session = await self._manager.create_session(
            context.user_id,
            context.provider,
            context.model,
            backend=model.SessionBackend(
                context.backend.value if backend is None else getattr(backend, "value", backend)
            ),
            session_id=context.session_id,
            provider_context=wanted,
            **known,
        )
        await self._saved(session)
        return session

    async def get(self, session_id: str, stored: Stored) -> Any:
        """The manager's session with the rows that are stored, and fit to be saved again.

        Raises StoreError where the real V2 cannot read what is there: its own answer would be None.
        """
        kept = self._manager._active_sessions.get(session_id)
        if kept is not None and not self._same(kept, stored):
            # what another process wrote would be deleted by the next save of this object
            loaded = await self._storage.load_session(session_id)
            if loaded is not None:
                kept._messages[:], kept._context = loaded
                self._tell_provider(kept)
        session = await self._manager.get_session(session_id)
        if session is None:
            raise StoreError(
                f"the real V2 gives no session {session_id!r}, though it is in the store",
                hint="its log says why",
                store=str(self._storage.db_path),
                role="target",
                session_id=session_id,
            )
        self._mend(session, stored)
        return session

    async def archive(self, session: Any) -> bool:
        """Archive, and keep the status where the next reader finds it: V2 itself has no place for it."""
        await session.update_context(status="archived")
        return bool(await session.archive())

    async def hold(self, session_id: str) -> None:
        """Before a delete: the manager must know the session to end it with its provider."""
        await self._manager.get_session(session_id)

    async def let_go(self, session_id: str) -> None:
        """After a delete: let the manager end the provider's session, tell its hooks, and forget its own."""
        if session_id in self._manager._active_sessions:
            await self._manager.delete_session(session_id)

    def forget(self, session_id: str) -> None:
        """The session is in no store any more."""
        self._manager._active_sessions.pop(session_id, None)

    async def _saved(self, session: Any) -> None:
        if not await self._storage.save_session(session.session_id, session._messages, session.context):
            self.forget(session.session_id)
            raise StoreError(
                f"the real V2 could not save the new session {session.session_id!r}",
                hint="its log says why",
                store=str(self._storage.db_path),
                role="target",
            )

    def _mend(self, session: Any, stored: Stored) -> None:
        model = self._models(type(session))
        if not isinstance(session.context.backend, Enum):
            session.context.backend = model.SessionBackend(session.context.backend)
        session._status = model.SessionStatus(stored.status.value)

    def _same(self, session: Any, stored: Stored) -> bool:
        """Whether the object says what is stored; messages that V2 was told not to store are its own."""
        mine, theirs = vars(session.context), vars(stored.context)
        if any(_plain(mine.get(name)) != _plain(value) for name, value in theirs.items()):
            return False
        if not session.context.persist_messages:
            return True
        return [_said(message) for message in session._messages] == [_said(message) for message in stored.messages]

    def _tell_provider(self, session: Any) -> None:
        """Give a provider that V2 hydrates with the history the one that is stored now, as V2 does on loading."""
        provider = self._manager._provider_sessions.get(session.context.provider)
        conversations = getattr(provider, "_conversations", None)
        key = session.context.provider_session_id
        if isinstance(conversations, dict) and key in conversations:
            conversations[key] = [
                {"role": message.role.value, "content": message.content} for message in session._messages
            ]

    @staticmethod
    def _models(kind: type) -> Any:
        """The module in which the application's V2 has its enums."""
        return sys.modules[kind.__module__]


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _said(message: Any) -> tuple[Any, ...]:
    """All that is stored of a message, by V2's class or ours; the metadata as text, for NaN is not equal to itself."""
    return (
        message.id,
        message.role.value,
        message.content,
        message.timestamp,
        json.dumps(message.metadata, default=repr),
        message.provider_message_id,
        message.token_count,
        message.finish_reason,
    )
