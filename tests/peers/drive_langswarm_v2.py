"""Runs in the environment of LangSwarm V2 (0.1.0): drives its real session manager on a store, prints JSON lines.

Usage: python drive_langswarm_v2.py STORE < requests
Each line of the input is one request, an object with the key ``do``; each line of the output is its answer. Each
request has a manager of its own unless it names one (``manager``), for the manager never reads a session twice.

``mend`` puts right what the program's own reader breaks: the backend of a loaded session is a string, and every
save of such a session fails without a word. ``providers`` are names under which a provider that only echoes is
registered; ``stateful`` ones keep the conversation to themselves, as a provider with threads does.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

_base: Any = importlib.import_module("langswarm.core.session.base")
_storage: Any = importlib.import_module("langswarm.core.session.storage")
# the package's own name SessionContext is another class
_interfaces: Any = importlib.import_module("langswarm.core.session.interfaces")
_providers: Any = importlib.import_module("langswarm.core.session.providers")


class Heard(logging.Handler):
    """Keeps what the program logs: it hides every error of its storage."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def take(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines


heard = Heard()


def _reply(text: str) -> Any:
    return _interfaces.SessionMessage(
        f"echo_{len(text)}", _interfaces.MessageRole.ASSISTANT, f"echo of {text}", datetime.utcnow(), {}
    )


class Stateless(_providers.BaseStatelessProviderSession):  # type: ignore[misc]
    """A provider that is given the conversation each time, as most are."""

    async def send_message(self, provider_session_id: str, message: str, *_: Any) -> Any:
        if provider_session_id not in self._conversations:
            raise _interfaces.ProviderSessionError(f"Conversation {provider_session_id} not found")
        await self._add_to_history(provider_session_id, "user", message)
        reply = _reply(f"{message} after {len(self._conversations[provider_session_id]) - 1}")
        await self._add_to_history(provider_session_id, "assistant", reply.content)
        return reply


class Stateful(_interfaces.IProviderSession):  # type: ignore[misc]
    """A provider that keeps threads of its own, in which nothing is that was said elsewhere."""

    async def create_provider_session(self, user_id: str, **_: Any) -> str:
        return f"thread_{user_id}"

    async def get_provider_session(self, provider_session_id: str) -> Any:
        return {"id": provider_session_id}

    async def send_message(self, provider_session_id: str, message: str, *_: Any) -> Any:
        return _reply(f"{message} in {provider_session_id}")

    async def get_messages(self, *_: Any, **__: Any) -> Any:
        return []

    async def delete_provider_session(self, _: str) -> bool:
        return True


def message_of(message: Any) -> dict[str, Any]:
    """A message in plain values."""
    return {
        "id": message.id,
        "role": message.role.value,
        "content": message.content,
        "timestamp": message.timestamp.isoformat(),
        "metadata": message.metadata,
        "provider_message_id": message.provider_message_id,
        "token_count": message.token_count,
        "finish_reason": message.finish_reason,
    }


def context_of(context: Any) -> dict[str, Any]:
    """A context in plain values; the backend is text whatever the program made of it."""
    plain = dict(vars(context))
    plain["backend"] = getattr(context.backend, "value", context.backend)
    return plain


_managers: dict[str, Any] = {}


async def manager(store: str, request: dict[str, Any]) -> Any:
    """The manager that the request names, or a new one, with its tables made."""
    name = request.get("manager")
    if name in _managers:
        return _managers[name]
    storage = _storage.SQLiteSessionStorage(store)
    await storage._init_database()  # it makes them in a task that nobody waits for
    kind = Stateful if request.get("stateful") else Stateless
    made = _base.SessionManager(storage, {provider: kind() for provider in request.get("providers", [])})
    if name is not None:
        _managers[name] = made
    return made


async def session_of(store: str, request: dict[str, Any]) -> Any:
    session = await (await manager(store, request)).get_session(request["session_id"])
    if session is not None and request.get("mend", True):
        session.context.backend = _interfaces.SessionBackend(session.context.backend)
    return session


async def read(store: str, request: dict[str, Any]) -> Any:
    """Every session by its id as the manager gives it: null where it finds none."""
    using = await manager(store, request)
    with contextlib.closing(sqlite3.connect(store)) as connection:
        keys = [key for (key,) in connection.execute("SELECT session_id FROM sessions ORDER BY rowid")]
    found = {}
    for key in keys:
        session = await using.get_session(key)
        metrics = await using._storage.get_session_metrics(key)
        found[key] = session and {
            "messages": [message_of(one) for one in await session.get_messages()],
            "context": context_of(session.context),
            "metrics": metrics
            and {
                name: value.isoformat() if isinstance(value, datetime) else value
                for name, value in vars(metrics).items()
            },
        }
    return found


async def listed(store: str, request: dict[str, Any]) -> Any:
    using = await manager(store, request)
    return [one.session_id for one in await using.list_user_sessions(request["user_id"], request.get("limit", 100))]


async def create(store: str, request: dict[str, Any]) -> Any:
    backend = _interfaces.SessionBackend(request.get("backend", "provider_native"))
    session = await (await manager(store, request)).create_session(
        request["user_id"], request["provider"], request["model"], backend, session_id=request.get("session_id")
    )
    return context_of(session.context)


async def get(store: str, request: dict[str, Any]) -> Any:
    session = await session_of(store, request)
    return session and [message_of(one) for one in await session.get_messages(request.get("limit"))]


async def send(store: str, request: dict[str, Any]) -> Any:
    """Load a session, ask for its messages, send; the number of messages before, the answer, or the error."""
    session = await session_of(store, request)
    before = len(await session.get_messages())
    try:
        answer = message_of(await session.send_message(request["content"], **request.get("keywords", {})))
    except _interfaces.ProviderSessionError as error:
        return {"before": before, "error": str(error)}
    return {"before": before, "answer": answer}


async def system(store: str, request: dict[str, Any]) -> Any:
    return message_of(await (await session_of(store, request)).add_system_message(request["content"]))


async def clear(store: str, request: dict[str, Any]) -> Any:
    return await (await session_of(store, request)).clear_messages()


async def update(store: str, request: dict[str, Any]) -> Any:
    return await (await session_of(store, request)).update_context(**request["changes"])


async def archive(store: str, request: dict[str, Any]) -> Any:
    return await (await session_of(store, request)).archive()


async def delete(store: str, request: dict[str, Any]) -> Any:
    return await (await manager(store, request)).delete_session(request["session_id"])


async def open_(store: str, request: dict[str, Any]) -> Any:
    """Only open the store, as an application does that starts."""
    await manager(store, request)
    return None


REQUESTS: dict[str, Callable[[str, dict[str, Any]], Awaitable[Any]]] = {
    "open": open_,
    "read": read,
    "list": listed,
    "create": create,
    "get": get,
    "send": send,
    "system": system,
    "clear": clear,
    "update": update,
    "archive": archive,
    "delete": delete,
}


async def main(store: str) -> None:
    logging.getLogger().addHandler(heard)
    for line in sys.stdin:
        request = json.loads(line)
        answer = await REQUESTS[request["do"]](store, request)
        sys.stdout.write(json.dumps({"answer": answer, "logged": heard.take()}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
