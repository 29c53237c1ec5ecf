"""The old program and the new one, as they write LangSwarm's two stores; and what lies there, read past all of ours.

Everything goes through Python's own SQLite, in the tests' process: sessionlift, which opens the same files through
another library, runs in processes of its own.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from sessionlift.generations import schema_upgrade

Json = dict[str, Any]
Change = Callable[[Json, Json], None]

_V1 = ("session_id", "user_id", "provider", "model", "status", "session_control", "created_at", "updated_at",
       "last_activity", "metadata", "history")  # fmt: skip
_V2_MESSAGE = ("session_id", "message_id", "role", "content", "timestamp", "metadata", "provider_message_id",
               "token_count", "finish_reason")  # fmt: skip


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """One transaction, as a program that knows nothing of us would do it."""
    with closing(sqlite3.connect(path, timeout=30)) as db, db:
        yield db


@dataclass
class OldProgram:
    """LangSwarm V1: a session is one row, written as a whole at each save.

    ``said`` has each message as it was written, by its content, which is its own.
    """

    path: Path
    said: dict[str, Json] = field(default_factory=dict)
    _clock: int = 0

    def make(self) -> None:
        schema_upgrade(str(self.path), "langswarm.v1")

    def create(self, key: str, contents: list[str]) -> None:
        now = self._now()
        metadata: Json = {
            "user_id": "ann", "session_id": key, "provider": "openai", "model": "gpt-4o", "created_at": now,
            "updated_at": now, "status": "active", "session_control": "hybrid", "provider_thread_id": None,
            "provider_conversation_id": None, "provider_agent_id": None, "context_limit": None, "auto_truncate": True,
            "summarization_enabled": True, "message_count": len(contents), "total_tokens": 0, "last_activity": now,
            "tags": [], "custom_metadata": {},
        }  # fmt: skip
        history: Json = {"session_id": key, "messages": [], "summary": None, "total_tokens": 0, "truncated_at": None}
        for content in contents:
            history["messages"].append(self._message(content))
        with opened(self.path) as db:
            self._save(db, metadata, history)

    def append(self, key: str, content: str, *, late: int = 0) -> None:
        """One message more, with a time ``late`` seconds before now: clocks go back, and zones are changed."""

        def change(metadata: Json, history: Json) -> None:
            history["messages"].append(self._message(content, late))
            metadata["message_count"] += 1
            metadata["last_activity"] = metadata["updated_at"]

        self._change(key, change)

    def set(self, key: str, **values: Any) -> None:
        self._change(key, lambda metadata, _: metadata.update(values))

    def trim(self, key: str) -> None:
        """What V1 does to a history that is over its limit: the oldest message goes."""

        def change(metadata: Json, history: Json) -> None:
            history["messages"] = history["messages"][1:]
            history["truncated_at"] = metadata["updated_at"]

        self._change(key, change)

    def delete(self, key: str) -> None:
        with opened(self.path) as db:
            db.execute("DELETE FROM sessions WHERE session_id = ?", (key,))

    def _change(self, key: str, change: Change) -> None:
        with opened(self.path) as db:
            db.execute("BEGIN IMMEDIATE")
            row = db.execute("SELECT metadata, history FROM sessions WHERE session_id = ?", (key,)).fetchone()
            metadata, history = map(json.loads, row)
            metadata["updated_at"] = self._now()
            change(metadata, history)
            self._save(db, metadata, history)

    def _save(self, db: sqlite3.Connection, metadata: Json, history: Json) -> None:
        row = (*(metadata[name] for name in _V1[:9]), json.dumps(metadata), json.dumps(history))
        db.execute(f"INSERT OR REPLACE INTO sessions ({', '.join(_V1)}) VALUES ({', '.join('?' * len(_V1))})", row)

    def _message(self, content: str, late: int = 0) -> Json:
        number = len(self.said)
        role = ("user", "assistant", "tool", "system")[number % 4]
        self.said[content] = {
            # V1 gives this id to every answer without one
            "id": "openai_unknown" if number % 3 == 1 else f"msg_{number:08x}",
            "role": role, "content": content, "timestamp": self._now(late),
            "metadata": {"number": number} if number % 2 else {},
            "tool_calls": [{"id": f"call_{number}"}] if role == "tool" else None,
            "tool_call_id": None, "provider_message_id": None,
        }  # fmt: skip
        return dict(self.said[content])

    def _now(self, late: int = 0) -> str:
        """Local time of the store's zone, here UTC; a year ago, so that what V2 writes comes later."""
        self._clock += 1
        moment = datetime(2025, 6, 1, 12) + timedelta(seconds=7 * self._clock - late)
        return moment.isoformat()


@dataclass
class NewProgram:
    """LangSwarm V2 without a bridge: it loads a session, and saves it as a whole."""

    path: Path

    def append(self, key: str, message_id: str, content: str, *, tokens: int | None = None) -> None:
        message = (key, message_id, "user", content, _utc_now(), "{}", None, tokens, None)
        self._save(key, lambda messages, _: messages.append(message))

    def set(self, key: str, **values: Any) -> None:
        self._save(key, lambda _, context: context.setdefault("provider_context", {}).update(values))

    def clear(self, key: str) -> None:
        self._save(key, lambda messages, _: messages.clear())

    def drop_first(self, key: str) -> None:
        """What V2 does to a session with more than ``max_messages``."""
        self._save(key, lambda messages, _: messages.pop(0))

    def delete(self, key: str) -> None:
        """V2 leaves the messages and the metrics of what it deletes."""
        with opened(self.path) as db:
            db.execute("DELETE FROM sessions WHERE session_id = ?", (key,))

    def _save(self, key: str, change: Callable[[list[Any], Json], object]) -> None:
        with opened(self.path) as db:
            db.execute("BEGIN IMMEDIATE")
            (text,) = db.execute("SELECT context_data FROM sessions WHERE session_id = ?", (key,)).fetchone()
            context = json.loads(text)
            messages = db.execute(
                f"SELECT {', '.join(_V2_MESSAGE)} FROM session_messages WHERE session_id = ? ORDER BY timestamp", (key,)
            ).fetchall()
            change(messages, context)
            now = _utc_now()
            row = tuple(context[name] for name in ("session_id", "user_id", "provider", "model", "backend"))
            db.execute(
                "INSERT OR REPLACE INTO sessions (session_id, user_id, provider, model, backend, context_data, "
                "updated_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*row, json.dumps(context), now),
            )
            db.execute("DELETE FROM session_messages WHERE session_id = ?", (key,))
            db.executemany(
                f"INSERT INTO session_messages ({', '.join(_V2_MESSAGE)}) VALUES ({', '.join('?' * 9)})", messages
            )
            db.execute(
                "INSERT OR REPLACE INTO session_metrics (session_id, message_count, total_tokens, last_activity) "
                "VALUES (?, ?, ?, ?)",
                (key, len(messages), sum(each[7] or 0 for each in messages), now),
            )


def _utc_now() -> str:
    return datetime.now(timezone.utc).replace(tzinfo=None).isoformat(" ")


@dataclass(frozen=True)
class Lying:
    """What lies of one session: the contents of its messages in the order in which its program shows them, its status,
    and in the new store the ledger's word."""

    legacy: tuple[str, ...] | None = None
    old_status: str | None = None
    new: tuple[str, ...] | None = None
    new_status: str | None = None
    state: str | None = None


def legacy_messages(path: Path) -> dict[str, tuple[str, list[Json]]]:
    """By session V1's status and messages, as V1 itself would load them."""
    with opened(path) as db:
        rows = db.execute("SELECT session_id, status, metadata, history FROM sessions").fetchall()
    found = {}
    for key, status, metadata, history in rows:
        assert json.loads(metadata)["status"] == status, f"{key}: V1's column and V1's JSON have another status"
        found[key] = (status, json.loads(history)["messages"])
    return found


def new_messages(path: Path) -> dict[str, tuple[str, list[tuple[str, str, str]]]]:
    """By session the status, and (role, content, timestamp) of its messages in V2's order.

    Asserts what no program may find otherwise: times that grow, and no rows of a session that is not there.
    """
    with opened(path) as db:
        sessions = db.execute("SELECT session_id, context_data FROM sessions").fetchall()
        rows = db.execute("SELECT session_id, role, content, timestamp FROM session_messages ORDER BY 1, timestamp, id")
        messages = rows.fetchall()
    found: dict[str, tuple[str, list[tuple[str, str, str]]]] = {}
    for key, text in sessions:
        assert key not in found, f"{key} is there twice"
        found[key] = ((json.loads(text).get("provider_context") or {}).get("status", "active"), [])
    for key, role, content, time in messages:
        if key in found:
            found[key][1].append((role, content, time))
    for key, (_, listed) in found.items():
        times = [time for _, _, time in listed]
        assert all(one < other for one, other in itertools.pairwise(times)), f"{key}: {times}"
    return found


def ledger_states(path: Path) -> dict[str, str]:
    with opened(path) as db:
        return dict(db.execute("SELECT session_id, state FROM sessionlift_units WHERE unit = 'session'"))


def look(legacy: Path, target: Path) -> dict[str, Lying]:
    """Every session that one of the stores, or the ledger, knows."""
    old = legacy_messages(legacy)
    new, states = (new_messages(target), ledger_states(target)) if _filled(target) else ({}, {})
    found = {}
    for key in old.keys() | new.keys() | states.keys():
        old_status, old_list = old.get(key, (None, None))
        new_status, new_list = new.get(key, (None, None))
        found[key] = Lying(
            None if old_list is None else tuple(each["content"] for each in old_list),
            old_status,
            None if new_list is None else tuple(content for _, content, _ in new_list),
            new_status,
            states.get(key),
        )
    return found


def _filled(path: Path) -> bool:
    if not path.exists():
        return False
    with opened(path) as db:
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    # made in one transaction, both or neither
    assert ("sessions" in names) == ("sessionlift_units" in names), names
    return "sessions" in names
