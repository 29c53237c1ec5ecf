"""LangSwarm stores for the bridge's tests, and what is read of them past the bridge."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sessionlift._demo import make_langswarm_v1
from sessionlift.bridge.langswarm import Reply, SessionContext, SessionMessage

ASK = """
import json, sqlite3, sys
store = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
print(json.dumps(store.execute(sys.argv[2], sys.argv[3:]).fetchall()))
"""
CHANGE = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as store:
    store.execute(sys.argv[2], sys.argv[3:])
"""


@dataclass(frozen=True)
class Stores:
    """A V1 store with what V1 answers for it, and where V2's will be."""

    source: Path
    target: Path
    truth: dict[str, dict[str, Any]] = field(repr=False)

    @property
    def both(self) -> tuple[str, str]:
        return str(self.source), str(self.target)

    @property
    def ids(self) -> list[str]:
        return list(self.truth)

    def messages(self, session_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.truth[session_id]["history"]["messages"]
        return found

    def contents(self, session_id: str) -> list[str]:
        return [message["content"] for message in self.messages(session_id)]

    def user_of(self, session_id: str) -> str:
        return str(self.truth[session_id]["metadata"]["user_id"])

    def ask(self, sql: str, *params: str, store: Path | None = None) -> list[list[Any]]:
        """Rows of the target, read by a process of its own: one file, one SQLite library in a process."""
        script = [sys.executable, "-c", ASK, str(store or self.target), sql, *params]
        done = subprocess.run(script, capture_output=True, text=True, check=True)
        rows: list[list[Any]] = json.loads(done.stdout)
        return rows

    def change(self, sql: str, *params: str, store: Path | None = None) -> None:
        """Another program's write."""
        subprocess.run([sys.executable, "-c", CHANGE, str(store or self.target), sql, *params], check=True)

    def say_in_v1(self, session_id: str, content: str) -> None:
        """What an old process does after the session has moved: another message in V1's store."""
        ((text,),) = self.ask("SELECT history FROM sessions WHERE session_id = ?", session_id, store=self.source)
        history = json.loads(text)
        last = dict(history["messages"][-1], id="msg_late", content=content, timestamp="2025-11-30T00:00:00.000001")
        history["messages"].append(last)
        self.change(
            "UPDATE sessions SET history = ? WHERE session_id = ?", json.dumps(history), session_id, store=self.source
        )


def make_stores(folder: Path, *, sessions: int = 8, seed: int = 3, traps: Any = "none") -> Stores:
    made = make_langswarm_v1(folder / "v1.db", sessions=sessions, seed=seed, traps=traps)
    return Stores(folder / "v1.db", folder / "v2.db", made.truth)


@dataclass
class Scripted:
    """A provider that answers what it is told to, and remembers what it was asked."""

    says: str = "yes"
    fails: bool = False
    tokens: int | None = None
    asked: list[list[str]] = field(default_factory=list)

    async def reply(self, context: SessionContext, messages: Sequence[SessionMessage]) -> Reply:
        assert context.session_id
        self.asked.append([message.content for message in messages])
        if self.fails:
            raise ConnectionError("the provider is away")
        return Reply(self.says, provider_message_id="r1", token_count=self.tokens)
