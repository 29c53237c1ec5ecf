"""What both kinds of session objects show without waiting: the session as their last operation found it."""

from __future__ import annotations

from typing import Any, Literal

from sessionlift.bridge.langswarm._new_store import Stored
from sessionlift.bridge.langswarm._values import SessionContext, SessionMessage, SessionMetrics, SessionStatus
from sessionlift.errors import UsageError


class SessionView:
    """The properties are what the last operation on this object saw; each operation looks at the stores again."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        # what the application could not use is told now and not at some later property
        _ = stored.context

    @property
    def session_id(self) -> str:
        return self._stored.session_id

    @property
    def user_id(self) -> str:
        return self._stored.context.user_id

    @property
    def status(self) -> SessionStatus:
        return self._stored.status

    @property
    def context(self) -> SessionContext:
        """A copy of what is stored: ``update_context`` changes it, setting its fields does not."""
        return self._stored.context

    @property
    def metrics(self) -> SessionMetrics:
        return self._stored.metrics

    @property
    def messages(self) -> list[SessionMessage]:
        """The history at the last operation, without waiting; ``get_messages`` looks again."""
        return list(self._stored.messages)

    @property
    def where(self) -> Literal["new", "legacy"]:
        """Which store it was served from."""
        return self._stored.where

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.session_id!r} in the {self.where} store>"

    def _last(self, stored: Stored, limit: int | None) -> list[SessionMessage]:
        if limit is not None and (type(limit) is not int or limit < 0):
            raise UsageError(f"limit must be a number of messages, not {limit!r}", hint="None gives all of them")
        self._stored = stored
        messages = stored.messages
        return messages[-limit:] if limit else list(messages)


def wants_answer(role: Any) -> bool:
    """Whether a message of this role is for the provider: only the user's are; the others are stored."""
    return bool(getattr(role, "value", role) == "user")
