"""Runs in the environment of LangSwarm V1: drives its real session manager on a store, prints JSON lines.

Usage: python drive_langswarm_v1.py STORE < requests
Each line of the input is one request, an object with the key ``do``; each line of the output is its answer.
A request ``read`` answers for every row of the store by its key, in the order of the table.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sqlite3
import sys
from collections.abc import Callable
from typing import Any

_session: Any = importlib.import_module("langswarm.core.session")


def quietly(work: Callable[[], Any]) -> tuple[Any, str]:
    """What ``work`` answers, and what the program printed meanwhile: it prints its errors and answers None."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        answer = work()
    return answer, printed.getvalue().strip()


def read(store: str, _: dict[str, Any]) -> Any:
    """Every session by its key: what the program loads, and what it prints where it cannot."""
    storage = _session.SQLiteSessionStorage(store)
    with contextlib.closing(sqlite3.connect(store)) as connection:
        keys = [key for (key,) in connection.execute("SELECT session_id FROM sessions ORDER BY rowid")]
    found = {}
    for key in keys:
        session, said = quietly(lambda key=key: storage.load_session(key))  # type: ignore[misc]
        found[key] = {"session": session.to_dict() if session is not None else None, "said": said}
    return found


def listed(store: str, request: dict[str, Any]) -> Any:
    """The metadata of the sessions that the program lists, by the request's filters."""
    status = request.get("status")
    found, said = quietly(
        lambda: _session.SQLiteSessionStorage(store).list_sessions(
            request.get("user_id"),
            _session.SessionStatus(status) if status else None,
            request.get("limit", 100),
        )
    )
    return {"sessions": [one.to_dict() for one in found], "said": said}


_managers: dict[str, Any] = {}


def manager(store: str) -> Any:
    """One manager for all requests, as an application has one."""
    if store not in _managers:
        _managers[store] = _session.LangSwarmSessionManager(_session.SQLiteSessionStorage(store))
    return _managers[store]


def create(store: str, request: dict[str, Any]) -> Any:
    made = manager(store).create_session(
        request["user_id"], request["provider"], request["model"], session_id=request.get("session_id")
    )
    return made.to_dict()


def add(store: str, request: dict[str, Any]) -> Any:
    role = _session.MessageRole(request["role"])
    return manager(store).add_message_to_session(request["session_id"], request["content"], role).to_dict()


def send(store: str, request: dict[str, Any]) -> Any:
    return manager(store).send_message(request["session_id"], request["content"]).to_dict()


def archive(store: str, request: dict[str, Any]) -> Any:
    return manager(store).archive_session(request["session_id"])


def delete(store: str, request: dict[str, Any]) -> Any:
    return manager(store).delete_session(request["session_id"])


def enhanced(store: str, request: dict[str, Any]) -> Any:
    """Save every readable session of the store into the enhanced store at ``into``; says what was printed."""
    adapter = importlib.import_module("langswarm.memory.adapters._langswarm.sqlite.main").SQLiteAdapter
    storage_of = importlib.import_module("langswarm.core.session.enhanced_storage").EnhancedSessionStorage
    storage = storage_of(adapter(identifier="sessions", db_path=request["into"]))
    load = _session.SQLiteSessionStorage(store).load_session
    readable = [key for key, one in read(store, request).items() if one["session"] is not None]
    return {key: quietly(lambda key=key: storage.save_session(load(key))) for key in readable}  # type: ignore[misc]


def dump(store: str, request: dict[str, Any]) -> Any:
    """Every readable session into a JSON file at ``into``, as an in-memory store is dumped."""
    held = {key: one["session"] for key, one in read(store, request).items() if one["session"] is not None}
    with open(request["into"], "x", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(held, file)
    return len(held)


REQUESTS: dict[str, Callable[[str, dict[str, Any]], Any]] = {
    "read": read,
    "list": listed,
    "create": create,
    "add": add,
    "send": send,
    "archive": archive,
    "delete": delete,
    "dump": dump,
    "enhanced": enhanced,
}

if __name__ == "__main__":
    for line in sys.stdin:
        request = json.loads(line)
        sys.stdout.write(json.dumps(REQUESTS[request["do"]](sys.argv[1], request)) + "\n")
        sys.stdout.flush()
