"""Who answers a message: a small protocol, and the one provider that needs nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sessionlift.bridge.langswarm._values import SessionContext, SessionMessage
from sessionlift.errors import ProviderError

ANY = "*"
"""The name under which a provider for every session may stand that has none of its own."""


@dataclass(frozen=True)
class Reply:
    """What a provider answers. ``provider_message_id`` is its own id of the message; ``token_count`` the exchange's.

    ``provider_session_id``: the provider's thread or conversation, where it began one; kept in the session's context.
    """

    content: str
    provider_message_id: str | None = None
    token_count: int | None = None
    finish_reason: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    provider_session_id: str | None = None


class Provider(Protocol):
    """Answers messages. It stores nothing: that is the bridge's part, after it has answered."""

    async def reply(self, context: SessionContext, messages: Sequence[SessionMessage]) -> Reply:
        """The answer to the last of ``messages``, which are the session's last ``context.max_messages`` in order.

        Whatever it raises comes out of ``send_message`` as ProviderError, and nothing of the exchange is stored.
        """


class EchoProvider:
    """Says what it was told. It stands as "mock" in every bridge, for tests and for a first look."""

    async def reply(self, context: SessionContext, messages: Sequence[SessionMessage]) -> Reply:
        return Reply(messages[-1].content, finish_reason="stop", metadata={"provider": "mock", "model": context.model})


class Providers:
    """The providers of a bridge, by name."""

    def __init__(self, named: Mapping[str, Provider] | None = None) -> None:
        self._named: dict[str, Provider] = {"mock": EchoProvider()}
        self._named.update({name.casefold(): provider for name, provider in (named or {}).items()})

    def has(self, name: str) -> bool:
        return name.casefold() in self._named

    def of(self, context: SessionContext) -> Provider:
        """The session's provider: by V2's name for it, by V1's, or the one under ``"*"``.

        Raises ProviderError where there is none: no answer is ever made up.
        """
        names = [context.provider, context.provider_context.get("provider"), ANY]
        for name in names:
            if isinstance(name, str) and name.casefold() in self._named:
                return self._named[name.casefold()]
        raise ProviderError(
            f"no provider {context.provider!r} was given to the bridge: session {context.session_id!r} has nobody "
            "to answer it",
            hint=f'give providers={{"{context.provider}": ...}} to the bridge; to store a message without an answer, '
            "use append_message",
            session_id=context.session_id,
            provider=context.provider,
        )

    async def ask(self, context: SessionContext, messages: Sequence[SessionMessage]) -> Reply:
        """The reply of the session's provider. Raises ProviderError."""
        provider = self.of(context)
        try:
            return await provider.reply(context, messages[-max(1, context.max_messages) :])
        except ProviderError:
            raise
        except Exception as error:
            raise ProviderError(
                f"the provider {context.provider!r} failed: {type(error).__name__}: {error}",
                hint="nothing of the exchange was stored; send again",
                session_id=context.session_id,
                provider=context.provider,
            ) from error
