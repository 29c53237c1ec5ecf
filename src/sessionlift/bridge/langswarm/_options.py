"""What the fronts take when they are opened, and what they make of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from sessionlift.bridge.langswarm._sessions import ROOM
from sessionlift.bridge.langswarm._texts import storable
from sessionlift.bridge.langswarm._values import SessionBackend, SessionContext, SessionStatus, member, require_kinds
from sessionlift.errors import UsageError

_OWN = ("max_messages", "auto_archive", "persist_messages", "provider_session_id")


def new_context(
    user_id: str,
    provider: str,
    model: str,
    backend: Any = None,
    session_id: str | None = None,
    fields: Mapping[str, Any] | None = None,
) -> SessionContext:
    """The context of a session to be created; names that V2's context has not go into ``provider_context``.

    Without ``backend`` it is ``local_sqlite``, or ``hybrid`` with a provider's session id: with those the real V2
    gives back the messages that are stored. Raises UsageError.
    """
    for name, value in (("user_id", user_id), ("provider", provider), ("model", model)):
        if not storable(value, name):
            raise UsageError(f"{name} must not be empty")
    given = dict(fields or {})
    require_kinds(given)
    known = {name: given.pop(name) for name in _OWN if name in given}
    context = {"status": "active", **given.pop("provider_context", {}), **given}
    usual = SessionBackend.HYBRID if known.get("provider_session_id") else SessionBackend.LOCAL_SQLITE
    known.setdefault("max_messages", ROOM)
    return SessionContext(
        f"session_{user_id}_{uuid4().hex[:8]}" if session_id is None else storable(session_id, "session_id"),
        user_id,
        provider,
        model,
        usual if backend is None else member(SessionBackend, backend, "backend"),
        provider_context=context,
        **known,
    )


def wanted_status(status: Any) -> SessionStatus | None:
    return None if status is None else member(SessionStatus, status, "status")
