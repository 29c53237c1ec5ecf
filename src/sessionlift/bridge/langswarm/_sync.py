"""The new API over both stores, without coroutines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from sessionlift.bridge import BridgeCore
from sessionlift.bridge.langswarm._bridge import has_status
from sessionlift.bridge.langswarm._compare import ShadowCompare
from sessionlift.bridge.langswarm._legacy_side import LegacySide, LegacyWriter
from sessionlift.bridge.langswarm._new_store import Stored
from sessionlift.bridge.langswarm._options import new_context, wanted_status
from sessionlift.bridge.langswarm._provider import Provider, Providers
from sessionlift.bridge.langswarm._sessions import UNREADABLE, Sessions, new_message
from sessionlift.bridge.langswarm._steps import LoopThread, Steps, drive
from sessionlift.bridge.langswarm._values import MessageRole, SessionMessage, SessionMetrics
from sessionlift.bridge.langswarm._view import SessionView, wants_answer
from sessionlift.errors import SessionNotFoundError
from sessionlift.runs import TransferOptions
from sessionlift.stores import StoreURL

T = TypeVar("T")


class SyncSession(SessionView):
    """One session, wherever it lives; see Session, whose methods these are without ``await``."""

    def __init__(self, bridge: SyncSessionBridge, stored: Stored) -> None:
        super().__init__(stored)
        self._bridge = bridge

    def send_message(self, content: str, role: MessageRole | str = MessageRole.USER, **metadata: Any) -> SessionMessage:
        if not wants_answer(role):
            return self.append_message(content, role, **metadata)
        message = new_message(content, role, metadata)
        _, answer = self._bridge._do(self._bridge._sessions.exchange(self.session_id, message))
        self.refresh()
        return answer

    def append_message(
        self, content: str, role: MessageRole | str = MessageRole.USER, **metadata: Any
    ) -> SessionMessage:
        message = new_message(content, role, metadata)
        (stored,) = self._bridge._do(self._bridge._sessions.append(self.session_id, [message]))
        self.refresh()
        return stored

    def add_system_message(self, content: str) -> SessionMessage:
        return self.append_message(content, MessageRole.SYSTEM)

    send_system_message = add_system_message

    def get_messages(self, limit: int | None = None) -> list[SessionMessage]:
        return self._last(self._bridge._do(self._bridge._sessions.get(self.session_id)), limit)

    def clear_messages(self) -> bool:
        self._bridge._do(self._bridge._sessions.clear(self.session_id))
        self.refresh()
        return True

    def update_context(self, **changes: Any) -> bool:
        self._bridge._do(self._bridge._sessions.update(self.session_id, changes))
        self.refresh()
        return True

    def get_metrics(self) -> SessionMetrics:
        self.refresh()
        return self.metrics

    def archive(self) -> bool:
        self._bridge._do(self._bridge._sessions.archive(self.session_id))
        self.refresh()
        return True

    def refresh(self) -> None:
        self._stored = self._bridge._do(self._bridge._sessions.get(self.session_id))


class SyncSessionBridge:
    """SessionBridge without coroutines; any number of threads may use it.

    Providers are coroutines all the same; they run on one event loop in a thread of its own.
    """

    def __init__(
        self,
        source: str | StoreURL,
        target: str | StoreURL,
        options: TransferOptions | None = None,
        *,
        providers: Mapping[str, Provider] | None = None,
        legacy_writer: LegacyWriter | None = None,
        **core: Any,
    ) -> None:
        self._providers = Providers(providers)
        self._loop = LoopThread()
        self._legacy = LegacySide.of(source, options)
        self.core = BridgeCore(source, target, options, **{"compare": ShadowCompare(self._legacy), **core})
        self._sessions = Sessions(self.core, self._legacy, self._providers, legacy_writer)

    def create_session(
        self,
        user_id: str,
        provider: str = "mock",
        model: str = "default",
        backend: Any = None,
        session_id: str | None = None,
        **fields: Any,
    ) -> SyncSession:
        """See SessionBridge.create_session."""
        context = new_context(user_id, provider, model, backend, session_id, fields)
        return SyncSession(self, self._do(self._sessions.create(context)))

    def get_session(self, session_id: str) -> SyncSession | None:
        """See SessionBridge.get_session."""
        stored = self._do(self._sessions.find(session_id))
        return None if stored is None else SyncSession(self, stored)

    def list_user_sessions(
        self, user_id: str, limit: int = 100, *, offset: int = 0, status: Any = None
    ) -> list[SyncSession]:
        """See SessionBridge.list_user_sessions."""
        wanted = wanted_status(status)
        matches = None if wanted is None else partial(has_status, wanted, self._sessions)
        found = self._do(self._sessions.page(user_id, matches=matches, limit=limit, offset=offset))
        return [SyncSession(self, stored) for stored in found]

    get_user_sessions = list_user_sessions

    def iter_user_sessions(self, user_id: str) -> Iterator[SyncSession]:
        """See SessionBridge.iter_user_sessions."""
        for key in self._do(self._sessions.keys(user_id)):
            try:
                session = self.get_session(key.session_id)
            except UNREADABLE as error:
                self.core.note(error.code, error.what, key.session_id)
                continue
            if session is not None:
                yield session

    def archive_session(self, session_id: str) -> bool:
        """See SessionBridge.archive_session."""
        try:
            self._do(self._sessions.archive(session_id))
        except SessionNotFoundError:
            return False
        return True

    def delete_session(self, session_id: str) -> bool:
        """See SessionBridge.delete_session."""
        return self._do(self._sessions.delete(session_id))

    def send_message(
        self, session_id: str, content: str, role: MessageRole | str = MessageRole.USER, **metadata: Any
    ) -> SessionMessage:
        return self._session(session_id).send_message(content, role, **metadata)

    def get_messages(self, session_id: str, limit: int | None = None) -> list[SessionMessage]:
        return self._session(session_id).get_messages(limit)

    def send_system_message(self, session_id: str, content: str) -> SessionMessage:
        return self._session(session_id).add_system_message(content)

    def get_metrics(self, session_id: str) -> SessionMetrics:
        return self._session(session_id).metrics

    def _session(self, session_id: str) -> SyncSession:
        return SyncSession(self, self._do(self._sessions.get(session_id)))

    def close(self) -> None:
        """Write the window's report and close the stores."""
        self.core.close()
        self._legacy.close()
        self._loop.close()

    def __enter__(self) -> SyncSessionBridge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _do(self, steps: Steps[T]) -> T:
        return drive(steps, self.core, self._providers, self._loop)
