"""The new API over both stores, for coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from sessionlift.bridge import AsyncBridgeCore
from sessionlift.bridge.langswarm._compare import ShadowCompare
from sessionlift.bridge.langswarm._legacy_side import LegacySide, LegacyWriter
from sessionlift.bridge.langswarm._new_store import Key
from sessionlift.bridge.langswarm._options import new_context, wanted_status
from sessionlift.bridge.langswarm._provider import Provider, Providers
from sessionlift.bridge.langswarm._real_v2 import RealV2
from sessionlift.bridge.langswarm._session import Session
from sessionlift.bridge.langswarm._sessions import UNREADABLE, Sessions, status_in
from sessionlift.bridge.langswarm._steps import Steps, adrive
from sessionlift.bridge.langswarm._values import MessageRole, SessionMessage, SessionMetrics
from sessionlift.errors import SessionNotFoundError, StoreFormatError
from sessionlift.runs import TransferOptions
from sessionlift.stores import StoreURL

T = TypeVar("T")


class SessionBridge:
    """LangSwarm's sessions of both stores behind V2's API; the first use of a session moves it. Open it with ``open``.

    ``providers`` answer ``send_message``, by the name of the session's provider or ``"*"``; "mock" is there.
    ``legacy_writer`` writes to sessions that are served from the legacy store; the bridge itself never does.
    ``manager``: the application's real V2 ``SessionManager`` over the same target; then ``get_session`` and
    ``create_session`` give its own session objects (see docs/bridge.md), and the stdlib's driver is used.
    Everything else goes to BridgeCore: ``options``, ``rollout``, ``on_error``, ``wait``, ``conflicts``, ``reports``.
    """

    def __init__(
        self,
        core: AsyncBridgeCore,
        *,
        providers: Mapping[str, Provider] | None = None,
        manager: Any = None,
        legacy_writer: LegacyWriter | None = None,
        legacy: LegacySide | None = None,
    ) -> None:
        self.core = core
        self._providers = Providers(providers)
        self._legacy = legacy or LegacySide(core.core.source, core.core.options.langswarm())
        self._sessions = Sessions(core.core, self._legacy, self._providers, legacy_writer)
        self._real = None if manager is None else RealV2(manager, core.core.target)

    @classmethod
    async def open(
        cls,
        source: str | StoreURL,
        target: str | StoreURL,
        options: TransferOptions | None = None,
        *,
        providers: Mapping[str, Provider] | None = None,
        manager: Any = None,
        legacy_writer: LegacyWriter | None = None,
        **core: Any,
    ) -> SessionBridge:
        """Open both stores, off the event loop."""
        if manager is not None:
            core["driver"] = "sqlite"
        legacy = LegacySide.of(source, options)
        opened = await AsyncBridgeCore.open(source, target, options, **{"compare": ShadowCompare(legacy), **core})
        try:
            return cls(opened, providers=providers, manager=manager, legacy_writer=legacy_writer, legacy=legacy)
        except BaseException:
            await opened.close()
            raise

    # --- sessions ---------------------------------------------------------------------------------------------

    async def create_session(
        self,
        user_id: str,
        provider: str = "mock",
        model: str = "default",
        backend: Any = None,
        session_id: str | None = None,
        **fields: Any,
    ) -> Any:
        """Create a session; it is in the new store when this returns.

        Raises SessionExistsError for an id that one of the stores has, or that was deleted: nothing is overwritten.
        """
        context = new_context(user_id, provider, model, backend, session_id, fields)
        if self._real is not None:
            await self._do(self._sessions.require_free(context.session_id))
            return await self._real.create(context, backend, fields)
        return Session(self, await self._do(self._sessions.create(context)))

    async def get_session(self, session_id: str) -> Any:
        """The session, moved now if this is its first use; None where no store has it, or it was deleted.

        Never None for a fault: a store that cannot be read raises.
        """
        stored = await self._do(self._sessions.find(session_id))
        if stored is None:
            if self._real is not None:
                self._real.forget(session_id)
            return None
        if self._real is not None and stored.where == "new":
            return await self._real.get(session_id, stored)
        return Session(self, stored)

    async def list_user_sessions(
        self, user_id: str, limit: int = 100, *, offset: int = 0, status: Any = None
    ) -> list[Any]:
        """The user's sessions of both stores, each once, the last used first. Listing moves nothing."""
        wanted = wanted_status(status)
        matches = None if wanted is None else partial(has_status, wanted, self._sessions)
        found = await self._do(self._sessions.page(user_id, matches=matches, limit=limit, offset=offset))
        if self._real is None:
            return [Session(self, stored) for stored in found]
        return [
            await self._real.get(stored.session_id, stored) if stored.where == "new" else Session(self, stored)
            for stored in found
        ]

    get_user_sessions = list_user_sessions

    async def iter_user_sessions(self, user_id: str) -> AsyncIterator[Any]:
        """All the user's sessions, as they are listed now; each is read, and moved if need be, in its turn.

        One that nobody can read is passed over, and named in the report: it must not keep those behind it away.
        """
        for key in await self._do(self._sessions.keys(user_id)):
            try:
                session = await self.get_session(key.session_id)
            except UNREADABLE as error:
                self.core.note(error.code, error.what, key.session_id)
                continue
            if session is not None:
                yield session

    async def archive_session(self, session_id: str) -> bool:
        """Set the status to archived; false where no store has the session."""
        try:
            if self._real is not None:
                session = await self.get_session(session_id)
                return session is not None and await self._real.archive(session)
            await self._do(self._sessions.archive(session_id))
        except SessionNotFoundError:
            return False
        return True

    async def delete_session(self, session_id: str) -> bool:
        """Delete the session for good; false where no store has it. It does not come back from the legacy store."""
        if self._real is None:
            return await self._do(self._sessions.delete(session_id))
        await self._real.hold(session_id)
        done = await self._do(self._sessions.delete(session_id))
        await self._real.let_go(session_id)
        return done

    # --- by id, under the names that the guide uses ----------------------------------------------------------

    async def send_message(
        self, session_id: str, content: str, role: MessageRole | str = MessageRole.USER, **metadata: Any
    ) -> SessionMessage:
        """See Session.send_message."""
        return await (await self._session(session_id)).send_message(content, role, **metadata)

    async def get_messages(self, session_id: str, limit: int | None = None) -> list[SessionMessage]:
        """See Session.get_messages."""
        return await (await self._session(session_id)).get_messages(limit)

    async def send_system_message(self, session_id: str, content: str) -> SessionMessage:
        """See Session.add_system_message."""
        return await (await self._session(session_id)).add_system_message(content)

    async def get_metrics(self, session_id: str) -> SessionMetrics:
        """See Session.get_metrics."""
        return (await self._session(session_id)).metrics

    async def _session(self, session_id: str) -> Session:
        return Session(self, await self._do(self._sessions.get(session_id)))

    # --- the end ----------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Write the window's report and close the stores."""
        await self.core.close()
        await asyncio.to_thread(self._legacy.close)

    async def __aenter__(self) -> SessionBridge:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _do(self, steps: Steps[T]) -> T:
        return await adrive(steps, self.core, self._providers)


def has_status(wanted: Any, sessions: Sessions, key: Key) -> bool:
    """Whether a listed session has this status; one that nobody can read has none, and is told of."""
    try:
        return status_in(key) is wanted
    except StoreFormatError as error:
        sessions.core.note(error.code, error.what, key.session_id)
        return False
