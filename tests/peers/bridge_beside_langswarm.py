"""Runs with our Python and the packages of one real LangSwarm on its path: the bridge and the program in one process.

Usage: python bridge_beside_langswarm.py (v1|v2) V1_STORE V2_STORE SESSION_ID; prints one JSON object.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import sys
from typing import Any

from sessionlift.bridge import Rollout
from sessionlift.bridge.langswarm import SessionBridge, SyncSessionBridge, V1ManagerWriter


class Heard(logging.Handler):
    """Keeps what the program logs: it hides every error of its storage."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def said(messages: list[Any]) -> list[list[str]]:
    return [[message.role.value, message.content] for message in messages]


async def beside_v2(source: str, target: str, session_id: str) -> dict[str, Any]:
    """The application's real manager gives the sessions; the bridge sees to it that they are moved and usable."""
    base: Any = importlib.import_module("langswarm.core.session.base")
    storage: Any = importlib.import_module("langswarm.core.session.storage")
    interfaces: Any = importlib.import_module("langswarm.core.session.interfaces")
    heard = Heard()
    logging.getLogger().addHandler(heard)
    told: dict[str, Any] = {}
    store = storage.SQLiteSessionStorage(target)
    await store._init_database()
    manager = base.SessionManager(store)
    async with await SessionBridge.open(source, target, manager=manager) as bridge:
        session = await bridge.get_session(session_id)
        told["is_real"] = type(session) is base.BaseSession
        told["same"] = (await bridge.get_session(session_id)) is session
        told["backend"] = session.context.backend is interfaces.SessionBackend.LOCAL_SQLITE
        told["moved"] = said(await session.get_messages())
        await session.send_message("by the real V2")
        await session.send_message("and again")
        told["absent"] = await bridge.get_session("nobody")
        made = await bridge.create_session("ann", "openai", "gpt-4o", session_id="made", team="blue")
        told["made"] = [type(made) is base.BaseSession, made.context.provider_context]
        async with await SessionBridge.open(source, target, driver="sqlite") as other:
            # what another process would do
            theirs = await other.get_session(session_id)
            told["seen_by_another"] = said(await theirs.get_messages())
            await theirs.append_message("by another bridge")
        again = await bridge.get_session(session_id)
        told["refreshed"] = again is session
        await again.send_message("after the other")
        told["end"] = said(await again.get_messages())
        async with await SessionBridge.open(source, target, driver="sqlite") as other:
            theirs = await other.get_session(session_id)
            await theirs.update_context(mood="bright", max_messages=4_321)
        context = (await bridge.get_session(session_id)).context
        told["context"] = [context.provider_context.get("mood"), context.max_messages]
        told["archived"] = await bridge.archive_session(session_id)
    manager._active_sessions.clear()
    async with await SessionBridge.open(source, target, manager=manager) as bridge:
        session = await bridge.get_session(session_id)
        told["status"] = session.status.value
        told["reloaded"] = said(await session.get_messages())
        told["listed"] = [each.session_id for each in await bridge.list_user_sessions(session.user_id)]
        told["deleted"] = [await bridge.delete_session(session_id), await bridge.get_session(session_id)]
    told["logged"] = heard.lines
    return told


def beside_v1(source: str, target: str, session_id: str) -> dict[str, Any]:
    """The rollout leaves the session in V1's store, and the application's real V1 manager writes to it."""
    real: Any = importlib.import_module("langswarm.core.session")
    manager = real.LangSwarmSessionManager(real.SQLiteSessionStorage(source))
    writer = V1ManagerWriter(manager)
    told: dict[str, Any] = {}
    with SyncSessionBridge(source, target, rollout=Rollout(mode="off"), legacy_writer=writer) as bridge:
        session = bridge.get_session(session_id)
        assert session is not None
        told["before"] = said(session.get_messages())
        session.append_message("a tool says", "tool", tool_call_id="call_1", k=1)
        session.update_context(status="inactive", colour="red")
        told["after"] = said(session.get_messages())
        told["status"] = session.status.value
    loaded = real.SQLiteSessionStorage(source).load_session(session_id)
    told["loaded"] = loaded.to_dict()
    return told


def main() -> None:
    version, source, target, session_id = sys.argv[1:]
    if version == "v2":
        told = asyncio.run(beside_v2(source, target, session_id))
    else:
        told = beside_v1(source, target, session_id)
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
