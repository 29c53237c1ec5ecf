"""Sessions that are served from V1's store: read through the converter in memory, written only by the application."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sessionlift.bridge.langswarm._new_store import Key, Stored
from sessionlift.bridge.langswarm._values import SessionMessage
from sessionlift.converters.langswarm import Aside, LangswarmOptions, LegacyReader, forward, texts_of
from sessionlift.errors import ConversionError, SessionInLegacyError, SessionliftError
from sessionlift.runs import TransferOptions
from sessionlift.stores import StoreURL, parse_store_url


class LegacyWriter(Protocol):
    """Writes to sessions that are still in V1's store, for an application that keeps V1's own objects.

    Whatever it does, the bridge reads the session again afterwards; of itself it never writes to V1's store.
    """

    def append(self, session_id: str, messages: Sequence[SessionMessage]) -> None:
        """Append these messages and save. Times are UTC; V1 gives its own."""

    def clear(self, session_id: str) -> None:
        """Delete the session's messages and save."""

    def update(self, session_id: str, changes: Mapping[str, Any]) -> None:
        """Set these of V1's metadata fields (``status`` by its text), or else keys of ``custom_metadata``; save."""

    def delete(self, session_id: str) -> None:
        """Delete the session."""


class V1ManagerWriter:
    """A LegacyWriter over the application's own ``LangSwarmSessionManager`` of the real V1."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    def append(self, session_id: str, messages: Sequence[SessionMessage]) -> None:
        session, models = self._session(session_id)
        for message in messages:
            extra = {key: value for key, value in message.metadata.items() if key in ("tool_calls", "tool_call_id")}
            rest = {key: value for key, value in message.metadata.items() if key not in extra}
            added = session.add_message(message.content, models.MessageRole(message.role.value), metadata=rest, **extra)
            added.id, added.provider_message_id = message.id, message.provider_message_id
        self._save(session)

    def clear(self, session_id: str) -> None:
        session, _ = self._session(session_id)
        del session.history.messages[:]
        session.metadata.message_count = 0
        self._save(session)

    def update(self, session_id: str, changes: Mapping[str, Any]) -> None:
        session, models = self._session(session_id)
        for name, value in changes.items():
            if name == "status":
                session.metadata.status = models.SessionStatus(value)
            elif name == "session_control":
                session.metadata.session_control = models.SessionControl(value)
            elif hasattr(session.metadata, name):
                setattr(session.metadata, name, value)
            else:
                session.metadata.custom_metadata[name] = value
        self._save(session)

    def delete(self, session_id: str) -> None:
        self._manager.delete_session(session_id)

    def _session(self, session_id: str) -> tuple[Any, Any]:
        session = self._manager.get_session(session_id)
        if session is None:
            raise SessionInLegacyError(
                f"V1's own manager does not find session {session_id!r}",
                hint="give the manager of the store that the bridge reads",
                session_id=session_id,
            )
        return session, sys.modules[type(session).__module__]

    def _save(self, session: Any) -> None:
        # V1 prints its errors and returns False
        if not self._manager.storage.save_session(session):
            raise SessionInLegacyError(
                f"V1 could not save session {session.session_id!r}",
                hint="it printed why; nothing of the write is in its store",
                session_id=session.session_id,
            )


class LegacySide:
    """What the fronts read of V1's store. Any thread may call it."""

    def __init__(self, source: StoreURL, options: LangswarmOptions) -> None:
        self._reader, self.options = LegacyReader(source), options

    @classmethod
    def of(cls, source: str | StoreURL, options: TransferOptions | None) -> LegacySide:
        """With the options of a move; nothing is opened before something is read."""
        url = parse_store_url(source) if isinstance(source, str) else source
        return cls(url, (options or TransferOptions()).langswarm())

    def stored(self, session_id: str, error: SessionliftError | None = None) -> Stored | None:
        """The session as its move would write it; None if V1's store does not hold it.

        Raises ConversionError for one that V1 itself cannot read: it is there, and must not seem to be empty.
        """
        row = self._reader.get(session_id)
        if row is None:
            return None
        made = forward(row, self.options)
        if isinstance(made, Aside):
            raise ConversionError(
                f"session {session_id!r} cannot be read, neither by V1 nor here: {made.reason}",
                hint="a run keeps it whole in quarantine; --salvage moves what can be read of it",
                session_id=session_id,
                table="sessions",
                row_id=session_id,
                reason_code=made.code,
            )
        stored = Stored.of_rows(made.rows, error)
        stored.complement = json.dumps(made.complement)
        return stored

    def documents(self, session_id: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """V1's metadata and history as they stand in the store; None if it does not hold the session."""
        row = self._reader.get(session_id)
        if row is None:
            return None
        texts = texts_of(row)
        return json.loads(texts.metadata), json.loads(texts.history)

    def holds(self, session_id: str) -> bool:
        return self._reader.get(session_id) is not None

    def keys(self, user_id: str | None = None) -> list[Key]:
        """The sessions of a user, or all, as V1's list finds them: by the column, in no order. Those that V1 cannot
        read are left out."""
        rows = self._reader.heads(user_id, timezone=self.options.timezone)
        return [Key(row[0], row[1], row[7], row[5]) for row in rows]

    def close(self) -> None:
        self._reader.close()
