"""Writing V2's store: each operation is one ``BEGIN IMMEDIATE`` transaction that asks the ledger again inside.

A message is appended and a column changed; no session is ever written anew, so that what another process has
appended meanwhile stays. Rows are what the real V2 would have written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sessionlift.bridge.langswarm._new_store import GONE, context_of, message_of
from sessionlift.bridge.langswarm._texts import context_text, json_object, json_text, next_time, storable, time_text
from sessionlift.bridge.langswarm._values import SessionContext, SessionMessage, utc_now
from sessionlift.converters.langswarm import MessageCells
from sessionlift.errors import SessionExistsError, SessionNotFoundError
from sessionlift.stores import Store

_SESSION = ("session_id", "user_id", "provider", "model", "backend", "context_data", "updated_at")
_MESSAGE = MessageCells._fields

Change = Callable[[dict[str, Any]], None]
"""Changes a parsed ``context_data`` in place."""


def create(store: Store, context: SessionContext, *, now: datetime | None = None) -> None:
    """Write a new session, at once and without messages. Raises SessionExistsError for an id that is in use, or was
    deleted: a deleted session must not seem to come back."""
    text = time_text(now or utc_now())
    row = (*_columns(data := context_data(context)), context_text(data), text)
    with store.transaction():
        require_free(store, context.session_id)
        store.insert_rows("sessions", _SESSION, [row])
        store.insert_rows("session_metrics", ("session_id",), [(context.session_id,)])


def require_free(store: Store, session_id: str) -> None:
    """Raises SessionExistsError for an id that the store or its ledger knows."""
    found = store.query(
        "SELECT session_id, NULL AS state FROM sessions WHERE session_id = ? UNION ALL "
        "SELECT session_id, state FROM sessionlift_units WHERE unit = 'session' AND session_id = ?",
        (session_id, session_id),
    )
    if found:
        deleted = found[-1][1] == "deleted"
        raise SessionExistsError(
            f"session {session_id!r} " + ("was deleted" if deleted else "is there already"),
            hint="choose another id" if deleted else "choose another id, or use the session",
            session_id=session_id,
        )


def append(
    store: Store, session_id: str, messages: Sequence[SessionMessage], *, now: datetime | None = None
) -> list[SessionMessage]:
    """Append messages in their order; returns them with the times that they were stored under.

    Each comes later than the one before it, whatever the clock says: V2 sorts by time. A message with a time later
    than that keeps it.
    """
    checked = [_checked(session_id, message) for message in messages]
    with store.transaction():
        last = _present(store, session_id, "(SELECT max(timestamp) FROM session_messages q "
                        "WHERE q.session_id = s.session_id)")  # fmt: skip
        rows = []
        for row, message in zip(checked, messages, strict=True):
            last = next_time(message.timestamp, last, session_id=session_id)
            rows.append(row._replace(timestamp=last))
        store.insert_rows("session_messages", _MESSAGE, rows)
        _touch(store, session_id, now or utc_now(), sum(message.token_count or 0 for message in messages))
    return [message_of(row) for row in rows]


def clear(store: Store, session_id: str, *, now: datetime | None = None) -> int:
    """Delete the session's messages; returns how many there were."""
    with store.transaction():
        _present(store, session_id, "NULL")
        count = store.execute("DELETE FROM session_messages WHERE session_id = ?", (session_id,))
        store.execute("UPDATE session_metrics SET total_tokens = 0 WHERE session_id = ?", (session_id,))
        _touch(store, session_id, now or utc_now(), 0)
    return count


def change_context(store: Store, session_id: str, change: Change, *, now: datetime | None = None) -> SessionContext:
    """Read ``context_data``, ``change`` it and write it, in one transaction; returns it as it is then.

    What ``change`` does not touch stays as it is, also what another process wrote a moment ago.
    """
    with store.transaction():
        text = _present(store, session_id, "s.context_data")
        data = json_object(text, session_id=session_id, column="context_data")
        change(data)
        context = context_of(data, session_id)
        store.execute(
            "UPDATE sessions SET user_id = ?, provider = ?, model = ?, backend = ?, context_data = ?, updated_at = ? "
            "WHERE session_id = ?",
            (*_columns(data)[1:], context_text(data), time_text(now or utc_now()), session_id),
        )
    return context


def context_data(context: SessionContext) -> dict[str, Any]:
    """The object in ``context_data``, its keys in the order in which V2 writes them."""
    return {
        "session_id": context.session_id,
        "user_id": context.user_id,
        "provider": context.provider,
        "model": context.model,
        "backend": context.backend.value,
        "max_messages": context.max_messages,
        "auto_archive": context.auto_archive,
        "persist_messages": context.persist_messages,
        "provider_session_id": context.provider_session_id,
        "provider_context": context.provider_context,
    }


def _columns(data: dict[str, Any]) -> tuple[str, ...]:
    names = ("session_id", "user_id", "provider", "model", "backend")
    return tuple(storable(data[name], f"a session's {name}") for name in names)


def _checked(session_id: str, message: SessionMessage) -> MessageCells:
    return MessageCells(
        session_id,
        storable(message.id, "a message's id"),
        message.role.value,
        storable(message.content, "a message's content"),
        "",
        json_text(message.metadata, "a message's metadata"),
        None if message.provider_message_id is None else storable(message.provider_message_id, "a provider's id"),
        message.token_count,
        None if message.finish_reason is None else storable(message.finish_reason, "finish_reason"),
    )


def _present(store: Store, session_id: str, wanted: str) -> Any:
    """``wanted`` of the session, seen inside of the transaction. Raises SessionNotFoundError where it is gone."""
    rows = store.query(
        f"SELECT u.state AS state, {wanted} AS wanted FROM sessions s LEFT JOIN sessionlift_units u "
        "ON u.unit = 'session' AND u.session_id = s.session_id WHERE s.session_id = ?",
        (session_id,),
    )
    if not rows or rows[0][0] == GONE:
        raise SessionNotFoundError(
            f"session {session_id!r} is no longer in the new store", hint="nothing was written", session_id=session_id
        )
    return rows[0][1]


def _touch(store: Store, session_id: str, now: datetime, tokens: int) -> None:
    text = time_text(now)
    store.execute("UPDATE sessions SET updated_at = ? WHERE session_id = ?", (text, session_id))
    store.execute(
        "INSERT INTO session_metrics (session_id, message_count, total_tokens, last_activity) "
        "VALUES (?, (SELECT count(*) FROM session_messages WHERE session_id = ?), ?, ?) "
        "ON CONFLICT (session_id) DO UPDATE SET message_count = excluded.message_count, "
        "total_tokens = coalesce(total_tokens, 0) + excluded.total_tokens, last_activity = excluded.last_activity",
        (session_id, session_id, tokens, text),
    )
