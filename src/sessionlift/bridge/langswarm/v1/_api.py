"""The old API over both stores: V1's manager, for callers that have not been ported yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from functools import partial
from types import TracebackType
from typing import Any, TypeVar
from uuid import uuid4
from zoneinfo import ZoneInfo

from sessionlift.bridge import BridgeCore
from sessionlift.bridge.langswarm._compare import ShadowCompare
from sessionlift.bridge.langswarm._legacy_side import LegacySide, LegacyWriter
from sessionlift.bridge.langswarm._new_store import Key
from sessionlift.bridge.langswarm._provider import Provider, Providers
from sessionlift.bridge.langswarm._sessions import Sessions
from sessionlift.bridge.langswarm._steps import LoopThread, Steps, drive
from sessionlift.bridge.langswarm._sync import SyncSessionBridge
from sessionlift.bridge.langswarm._texts import time_text
from sessionlift.bridge.langswarm._values import SessionMessage, member, utc_now
from sessionlift.bridge.langswarm._view import wants_answer
from sessionlift.bridge.langswarm.v1._answers import (
    Document,
    answer_name,
    changes_for,
    context_for,
    document_of,
    message_from,
    status_in,
)
from sessionlift.bridge.langswarm.v1._session import LangSwarmSession, last_with
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
from sessionlift.errors import SessionNotFoundError, StoreFormatError, UsageError
from sessionlift.runs import TransferOptions
from sessionlift.stores import StoreURL

T = TypeVar("T")

PROVIDERS = ("openai", "gpt", "claude", "gemini", "mistral", "cohere", "test", "none")
"""The spellings that V1 takes, in any case."""
_THREADED = ("openai", "mistral")


class LegacyApi:
    """V1's ``LangSwarmSessionManager`` over both stores, moving sessions at first use like the bridge. All sync.

    Sessions that V2 has gone on with answer in V1's types. ``send_message`` asks a provider: what V1 made up by itself
    is not made up here. Not found is None, False, or (``send_message``) a ValueError, as in V1; a fault is raised.
    """

    def __init__(
        self,
        source: str | StoreURL,
        target: str | StoreURL,
        options: TransferOptions | None = None,
        *,
        providers: Mapping[str, Provider] | None = None,
        legacy_writer: LegacyWriter | None = None,
        default_session_control: SessionControl | None = None,
        **core: Any,
    ) -> None:
        self._legacy = LegacySide.of(source, options)
        opened = BridgeCore(source, target, options, **{"compare": ShadowCompare(self._legacy), **core})
        self._begin(opened, Providers(providers), LoopThread(), legacy_writer, owner=True)
        self.default_session_control = default_session_control

    @classmethod
    def beside(cls, bridge: SyncSessionBridge) -> LegacyApi:
        """The old API over the stores that ``bridge`` has open, with its providers; closing the bridge closes both."""
        made = cls.__new__(cls)
        made._legacy = LegacySide(bridge.core.source, bridge.core.options.langswarm())
        made._begin(bridge.core, bridge._providers, bridge._loop, bridge._sessions.writer, owner=False)
        made.default_session_control = None
        return made

    def _begin(
        self, core: BridgeCore, providers: Providers, loop: LoopThread, writer: LegacyWriter | None, *, owner: bool
    ) -> None:
        self.core, self._providers, self._loop, self._owner = core, providers, loop, owner
        self._options = core.options.langswarm()
        self._sessions = Sessions(core, self._legacy, providers, writer)
        self.storage = SessionStorage(self)

    # --- V1's manager -----------------------------------------------------------------------------------------

    def create_session(
        self,
        user_id: str,
        provider: str = "openai",
        model: str = "gpt-4o",
        session_id: str | None = None,
        session_control: Any = None,
        **fields: Any,
    ) -> LangSwarmSession:
        """Create a session in the new store; ``fields`` are V1's metadata fields, all of them kept.

        Raises ValueError (UnknownProviderError) for a provider that V1 does not know and nobody gave, and
        SessionExistsError for an id in use: V1 wrote over such a session.
        """
        if not self._knows(provider):
            raise UnknownProviderError(f"V1 has no provider {provider!r}", hint=f"one of {', '.join(PROVIDERS)}")
        wanted = session_control or self.default_session_control
        if wanted is None:
            wanted = SessionControl.HYBRID if provider.casefold() in _THREADED else SessionControl.LANGSWARM
        now = utc_now()
        local = self._local(now)
        taken = {name: fields.pop(name) for name in SessionMetadata.__dataclass_fields__ if name in fields}
        if fields:
            raise UsageError(f"a session of V1 has no {', '.join(map(repr, fields))}", hint="use custom_metadata")
        if "status" in taken:
            taken["status"] = member(SessionStatus, taken["status"], "status of V1")
        metadata = SessionMetadata(
            **{
                "user_id": user_id,
                "session_id": f"session_{uuid4().hex[:8]}" if session_id is None else session_id,
                "provider": provider,
                "model": model,
                "created_at": local,
                "updated_at": local,
                "session_control": member(SessionControl, wanted, "session control of V1"),
                **taken,
            }
        )
        context = context_for(metadata, self._options)
        stored = self._do(self._sessions.create(context, now=now, complement=True))
        return LangSwarmSession(self, context.session_id, document_of(stored, self._options))

    def get_session(self, session_id: str) -> LangSwarmSession | None:
        """The session, moved now if this is its first use; None where no store has it."""
        stored = self._do(self._sessions.find(session_id, complement=True))
        return None if stored is None else LangSwarmSession(self, session_id, document_of(stored, self._options))

    def add_message_to_session(
        self, session_id: str, content: str, role: Any, **extra: Any
    ) -> ConversationMessage | None:
        """Store a message; None where no store has the session."""
        try:
            return self._said(session_id, self._add(session_id, content, role, extra))
        except SessionNotFoundError:
            return None

    def send_message(self, session_id: str, message: str, role: Any = MessageRole.USER) -> ConversationMessage:
        """Ask the session's provider; returns its answer. Raises ValueError where no store has the session."""
        try:
            asked = message_from(message, role, {})
            if not wants_answer(role):
                (kept,) = self._do(self._sessions.append(session_id, [asked]))
                return self._said(session_id, kept)
            _, answer = self._do(self._sessions.exchange(session_id, asked, answer_name))
            if answer.token_count:
                self._do(self._sessions.add_tokens(session_id, answer.token_count))
            return self._said(session_id, answer)
        except SessionNotFoundError as error:
            raise UnknownSessionError(error.what, hint=error.hint, **error.fields) from error

    def list_sessions(self, user_id: str | None = None, status: Any = None, limit: int = 100) -> list[SessionMetadata]:
        """The sessions of both stores, each once, the last used first. Listing moves nothing."""
        wanted = None if status is None else member(SessionStatus, status, "status of V1")
        found = self._do(
            self._sessions.page(
                user_id,
                matches=None if wanted is None else partial(self._has_status, wanted),
                limit=limit,
                complement=True,
            )
        )
        return [SessionMetadata.from_dict(document_of(stored, self._options).metadata) for stored in found]

    def archive_session(self, session_id: str) -> bool:
        """False where no store has the session."""
        try:
            self._change(session_id, {"status": SessionStatus.ARCHIVED})
        except SessionNotFoundError:
            return False
        return True

    def delete_session(self, session_id: str) -> bool:
        """Delete it for good; false where no store has the session."""
        return self._do(self._sessions.delete(session_id))

    def cleanup_expired_sessions(self, max_age_days: int = 30) -> int:
        """Delete, for good, the sessions of both stores that were not used for so many days; returns how many."""
        before = time_text(utc_now() - timedelta(days=max_age_days))
        old = [key for key in self._do(self._sessions.keys()) if key.updated_at < before]
        return sum(self.delete_session(key.session_id) for key in old)

    def get_session_statistics(self) -> dict[str, Any]:
        """V1's numbers, of the active sessions in both stores and not of those that a process happens to hold."""
        providers: Counter[str] = Counter()
        controls: Counter[str] = Counter()
        count = 0
        for listed in self.list_sessions(status=SessionStatus.ACTIVE, limit=2**31):
            providers[listed.provider] += 1
            controls[listed.session_control.value] += 1
            count += 1
        return {
            "active_sessions": count,
            "provider_distribution": dict(providers),
            "strategy_distribution": dict(controls),
            "supported_providers": list(PROVIDERS),
            "cache_sizes": {"strategies": 0, "adapters": 0},
        }

    # --- what its sessions and its storage ask for --------------------------------------------------------

    def _add(self, session_id: str, content: Any, role: Any, extra: Mapping[str, Any]) -> SessionMessage:
        (stored,) = self._do(self._sessions.append(session_id, [message_from(content, role, extra)]))
        return stored

    def _change(self, session_id: str, changes: Mapping[str, Any]) -> None:
        now = self._document(session_id).metadata
        self._do(self._sessions.update(session_id, changes_for(changes, now)))

    def _document(self, session_id: str) -> Document:
        return document_of(self._do(self._sessions.get(session_id, complement=True)), self._options)

    def _said(self, session_id: str, stored: SessionMessage) -> ConversationMessage:
        """V1's form of a message that was stored just now."""
        return last_with(stored.id, ConversationHistory.from_dict(self._document(session_id).history))

    def _has_status(self, wanted: SessionStatus, key: Key) -> bool:
        try:
            return status_in(key) is wanted
        except StoreFormatError as error:
            self.core.note(error.code, error.what, key.session_id)
            return False

    def _knows(self, provider: Any) -> bool:
        return isinstance(provider, str) and (provider.casefold() in PROVIDERS or self._providers.has(provider))

    def _local(self, utc: datetime) -> datetime:
        zone = ZoneInfo(self._options.timezone)
        return utc.replace(tzinfo=timezone.utc).astimezone(zone).replace(tzinfo=None, fold=0)

    # --- the end ----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Write the window's report and close the stores, unless a bridge has them open."""
        self._legacy.close()
        if self._owner:
            self.core.close()
            self._loop.close()

    def __enter__(self) -> LegacyApi:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _do(self, steps: Steps[T]) -> T:
        return drive(steps, self.core, self._providers, self._loop)
