"""Reading V2's store: a session with its messages, its metrics and what the ledger says of it, in one statement.

One statement is one snapshot: a move, a rollback or a delete by another process is seen whole or not at all, so that
there is no moment at which a session has lost its messages and is still there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import orjson

from sessionlift.bridge.langswarm._texts import json_object, read_time
from sessionlift.bridge.langswarm._values import (
    MessageRole,
    SessionBackend,
    SessionContext,
    SessionMessage,
    SessionMetrics,
    SessionStatus,
    status_of,
)
from sessionlift.converters.langswarm import MessageCells, SessionRows
from sessionlift.errors import SessionliftError, StoreFormatError
from sessionlift.stores import Store

GONE = "rolled_back"
"""The state in the ledger that says a session's rows do not count, should there be any."""

# what a statement costs is mostly its text, its rows and its cells: two JSON texts cost less than all of them. SQLite
# would give a real number 15 digits there, and 17 are exact
_HEAD = (
    "json_array(s.session_id, s.user_id, s.provider, s.model, s.backend, s.context_data, s.created_at, s.updated_at, "
    "m.session_id, m.message_count, m.total_tokens, iif(m.session_duration IS NULL, NULL, "
    "printf('%!.17g', m.session_duration)), m.last_activity, m.created_at, u.state) AS head"
)
_FROM = (
    "FROM sessions s LEFT JOIN session_metrics m ON m.session_id = s.session_id "
    "LEFT JOIN sessionlift_units u ON u.unit = 'session' AND u.session_id = s.session_id"
)
_CELLS = (
    "id, session_id, message_id, role, content, timestamp, metadata, provider_message_id, token_count, finish_reason"
)
_MESSAGES = (
    f"(SELECT json_group_array(json_array({_CELLS})) FROM (SELECT {_CELLS} FROM session_messages q "
    "WHERE q.session_id = s.session_id ORDER BY q.timestamp, q.id)) AS messages"
)
_COMPLEMENT = (
    "(SELECT data FROM sessionlift_complement c WHERE c.unit = 'session' AND c.session_id = s.session_id) AS complement"
)
_READ = f"SELECT {_HEAD}, {_MESSAGES} {_FROM} WHERE s.session_id = ?"
_READ_WITH_COMPLEMENT = f"SELECT {_HEAD}, {_MESSAGES}, {_COMPLEMENT} {_FROM} WHERE s.session_id = ?"
_PRESENT = "coalesce(u.state, '') <> 'rolled_back'"
_KEYS = (
    f"SELECT s.session_id, s.user_id, s.updated_at, s.context_data {_FROM} WHERE {_PRESENT} AND s.user_id = ? "
    "ORDER BY s.updated_at DESC, s.session_id"
)
_ALL_KEYS = (
    f"SELECT s.session_id, s.user_id, s.updated_at, s.context_data {_FROM} WHERE {_PRESENT} "
    "ORDER BY s.updated_at DESC, s.session_id"
)


class Key(NamedTuple):
    """A session in a list: ``updated_at`` is V2's text, ``context`` the column ``context_data`` as it stands."""

    session_id: str
    user_id: str
    updated_at: str
    context: str


@dataclass
class Stored:
    """One session as one snapshot of the new store. What is decoded is decoded at first use."""

    row: tuple[Any, ...]
    """the row of ``sessions``"""
    metrics_row: tuple[Any, ...] | None
    state: str | None
    """the ledger's; None for a session that V2 began itself"""
    messages_json: str | None = None
    complement: str | None = None
    where: Literal["new", "legacy"] = "new"
    error: SessionliftError | None = None
    """for a session served from the legacy store: why it is, if that is not the rollout's wish"""

    @classmethod
    def of_rows(cls, rows: SessionRows, error: SessionliftError | None = None) -> Stored:
        """A session that lies in the legacy store, as its move would write it."""
        made = cls(rows.session, rows.metrics, None, where="legacy", error=error)
        made.message_rows = rows.messages
        return made

    @property
    def rows(self) -> SessionRows:
        return SessionRows(self.row, self.message_rows, self.metrics_row)

    @property
    def session_id(self) -> str:
        return str(self.row[0])

    @cached_property
    def context_data(self) -> dict[str, Any]:
        return json_object(self.row[5], session_id=self.session_id, column="context_data")

    @cached_property
    def context(self) -> SessionContext:
        """Raises StoreFormatError where the real V2 could not read it either."""
        return context_of(self.context_data, self.session_id)

    @property
    def status(self) -> SessionStatus:
        return status_of(self.context.provider_context.get("status"))

    @cached_property
    def metrics(self) -> SessionMetrics:
        if self.metrics_row is None:
            return SessionMetrics(len(self.message_rows), created_at=self._time(self.row[6], "created_at"))
        _, count, tokens, seconds, last, created = self.metrics_row
        return SessionMetrics(
            count or 0,
            tokens or 0,
            seconds or 0.0,
            None if not last else self._time(last, "last_activity"),
            self._time(created, "created_at"),
        )

    @cached_property
    def message_rows(self) -> list[MessageCells]:
        """In V2's order."""
        if self.messages_json is None:
            raise RuntimeError("the messages were not read")
        try:
            found: list[list[Any]] = orjson.loads(self.messages_json)
        except orjson.JSONDecodeError as error:
            raise StoreFormatError(
                f"session {self.session_id!r}: its messages cannot be read: {error}",
                role="target",
                session_id=self.session_id,
            ) from error
        found.sort(key=lambda cells: (cells[5], cells[0]))
        return [MessageCells(*cells[1:]) for cells in found]

    @cached_property
    def messages(self) -> list[SessionMessage]:
        return [message_of(row) for row in self.message_rows]

    def _time(self, text: Any, column: str) -> Any:
        return None if text is None else read_time(text, session_id=self.session_id, column=column)


def context_of(data: dict[str, Any], session_id: str) -> SessionContext:
    """The parsed ``context_data`` as V2 reads it. Raises StoreFormatError where a required key is not there."""
    try:
        backend = data["backend"]
        return SessionContext(
            session_id,
            data["user_id"],
            data["provider"],
            data["model"],
            SessionBackend(backend),
            data.get("max_messages", 100),
            data.get("auto_archive", True),
            data.get("persist_messages", True),
            data.get("provider_session_id"),
            data.get("provider_context") or {},
        )
    except (KeyError, ValueError) as error:
        raise StoreFormatError(
            f"session {session_id!r}: context_data cannot be used: {error}",
            hint="the application cannot read it either; mend the row",
            role="target",
            session_id=session_id,
        ) from None


def message_of(row: MessageCells) -> SessionMessage:
    """A row of ``session_messages`` as V2 reads it. Raises StoreFormatError."""
    try:
        role = MessageRole(row.role)
    except ValueError:
        raise StoreFormatError(
            f"session {row.session_id!r}: {row.role!r} is no role", role="target", session_id=row.session_id
        ) from None
    return SessionMessage(
        row.message_id,
        role,
        row.content,
        read_time(row.timestamp, session_id=row.session_id, column="timestamp"),
        json_object(row.metadata, session_id=row.session_id, column="metadata") if row.metadata else {},
        row.provider_message_id,
        row.token_count,
        row.finish_reason,
    )


def read(store: Store, session_id: str) -> Stored | None:
    """The session with its messages; None where the store does not have it, or the ledger says it is gone."""
    return _stored(store.query(_READ, (session_id,)))


def read_with_complement(store: Store, session_id: str) -> Stored | None:
    """The same with what its move kept beside it, for V1's answers."""
    return _stored(store.query(_READ_WITH_COMPLEMENT, (session_id,)))


def keys(store: Store, user_id: str | None = None) -> list[Key]:
    """The sessions of a user, or all, the last used first."""
    rows = store.query(_ALL_KEYS) if user_id is None else store.query(_KEYS, (user_id,))
    return [Key(*row) for row in rows]


def _stored(rows: Sequence[tuple[Any, ...]]) -> Stored | None:
    if not rows:
        return None
    head, *rest = rows[0]
    cells: list[Any] = orjson.loads(head)
    state = cells[14]
    if state == GONE:
        return None
    metrics = None
    if cells[8] is not None:
        seconds = cells[11]
        metrics = (*cells[8:11], None if seconds is None else float(seconds), cells[12], cells[13])
    return Stored(tuple(cells[:8]), metrics, state, *rest)
