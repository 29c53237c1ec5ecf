"""Make LangSwarm V1 stores in their three dresses: the SQLite store, a dump from memory, and the enhanced store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from sessionlift._demo._swarm_sessions import COLUMNS, Json, MadeSession, plain_session
from sessionlift._demo._swarm_traps import ALSO_READABLE, UNREADABLE, USUAL
from sessionlift.errors import UsageError
from sessionlift.generations import schema_upgrade

SwarmTraps = Literal["none", "usual", "all"]
SwarmDress = Literal["sqlite", "dump", "enhanced"]

# with traps, each of the first sessions has one; after these, every so many sessions one more of the light ones
_EVERY = 10
_HEAVY = {"big", "long_message"}


@dataclass(frozen=True)
class SwarmStore:
    """What was made: the path, the choices, and what the old program answers for it."""

    path: Path
    sessions: int
    seed: int
    traps: SwarmTraps
    dress: SwarmDress
    rows: dict[str, int]

    def made(self) -> Iterator[MadeSession]:
        """Every session again, in the order of the store."""
        return _in_dress(self.dress, self.sessions, self.seed, self.traps)

    @cached_property
    def truth(self) -> dict[str, Json]:
        """What the old program's reader answers, by the key of the row: ``metadata`` and ``history``."""
        return {one.key: answer for one in self.made() if (answer := one.answer()) is not None}

    @cached_property
    def unreadable(self) -> dict[str, str]:
        """The trap of every row that the old program cannot read, by the key of the row."""
        return {one.key: str(one.trap) for one in self.made() if not one.readable}

    @cached_property
    def trapped(self) -> dict[str, str]:
        """The key of a session for each trap that is in the store."""
        found: dict[str, str] = {}
        for one in self.made():
            if one.trap is not None:
                found.setdefault(one.trap, one.key)
        return found

    @property
    def total_rows(self) -> int:
        return sum(self.rows.values())


def made_sessions(sessions: int, seed: int, traps: SwarmTraps) -> Iterator[MadeSession]:
    """The sessions of a store, one by one. A longer store begins like a shorter one."""
    light = [trap for trap in USUAL if trap not in _HEAVY]
    catalogue: dict[str, Callable[[MadeSession], None]] = {}
    if traps != "none":
        catalogue.update(USUAL)
    if traps == "all":
        catalogue.update(ALSO_READABLE | UNREADABLE_NAMED)
    names = list(catalogue)
    for at in range(sessions):
        session = plain_session(at, seed)
        name = None
        if at < len(names):
            name = names[at]
        elif names and at % _EVERY == 0:
            name = light[at // _EVERY % len(light)]
        if name is not None:
            catalogue[name](session)
            session.trap = name
            session.readable = name not in UNREADABLE_NAMED
        yield session


UNREADABLE_NAMED = {f"unreadable_{name}": trap for name, trap in UNREADABLE.items()}


def make_langswarm(path: Path, *, dress: SwarmDress, sessions: int, seed: int, traps: SwarmTraps) -> SwarmStore:
    """Make the store in one of its dresses; see the functions for each."""
    return _MAKERS[dress](path, sessions=sessions, seed=seed, traps=traps)


def make_langswarm_v1(path: Path, *, sessions: int, seed: int = 1, traps: SwarmTraps = "usual") -> SwarmStore:
    """Make the SQLite store at ``path``, which must not exist yet. The same arguments give the same rows.

    ``traps``: ``usual`` puts what real stores hold and careless converters spoil into the first sessions, one
    kind each, and into a share of the others; ``all`` adds rows that other hands wrote, and one row of each
    kind that the old program itself cannot read; ``none`` leaves plain sessions only.
    """

    def fill() -> dict[str, int]:
        schema_upgrade(f"sqlite://{_quoted(path)}", "langswarm_v1")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DROP TABLE sessionlift_version")  # the old program leaves none
            rows = (one.row() for one in made_sessions(sessions, seed, traps))
            marks = ", ".join("?" * len(COLUMNS))
            connection.executemany(f"INSERT INTO sessions ({', '.join(COLUMNS)}) VALUES ({marks})", rows)
            count = connection.execute("SELECT count(*) FROM sessions").fetchone()[0]
        return {"sessions": int(count)}

    return _made(path, sessions, seed, traps, "sqlite", fill)


def make_langswarm_dump(path: Path, *, sessions: int, seed: int = 1, traps: SwarmTraps = "usual") -> SwarmStore:
    """Make a dump of an in-memory store (one JSON file) with the same sessions.

    Rows whose trap only a SQLite cell can hold are left out: a dump with one of them would be no JSON at all.
    """

    def fill() -> dict[str, int]:
        count = 0
        with path.open("x", encoding="utf-8") as file:
            file.write("{")
            for one in _in_dress("dump", sessions, seed, traps):
                file.write(f"{', ' if count else ''}{json.dumps(one.key)}: {json.dumps(one.to_dict())}")
                count += 1
            file.write("}")
        return {"sessions": count}

    return _made(path, sessions, seed, traps, "dump", fill)


def make_langswarm_enhanced(path: Path, *, sessions: int, seed: int = 1, traps: SwarmTraps = "usual") -> SwarmStore:
    """Make the store of the "enhanced" back-end: one table ``memory``, with rows for search beside the sessions."""

    def fill() -> dict[str, int]:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute('CREATE TABLE memory ("key" TEXT PRIMARY KEY, value TEXT NOT NULL, metadata TEXT)')
            for one in _in_dress("enhanced", sessions, seed, traps):
                connection.executemany("INSERT OR REPLACE INTO memory VALUES (?, ?, ?)", _memory_rows(one))
            count = connection.execute("SELECT count(*) FROM memory").fetchone()[0]
        return {"memory": int(count)}

    return _made(path, sessions, seed, traps, "enhanced", fill)


_MAKERS: dict[SwarmDress, Callable[..., SwarmStore]] = {
    "sqlite": make_langswarm_v1,
    "dump": make_langswarm_dump,
    "enhanced": make_langswarm_enhanced,
}


def _made(
    path: Path, sessions: int, seed: int, traps: SwarmTraps, dress: SwarmDress, fill: Callable[[], dict[str, int]]
) -> SwarmStore:
    if sessions < 1:
        raise UsageError("A store needs at least one session.", hint="Give --sessions a number from 1 up.")
    if path.exists():
        raise UsageError(f"{path} is there already.", hint="Name a file that does not exist, or remove it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        rows = fill()
    except BaseException:
        path.unlink(missing_ok=True)  # half a store must not look like one
        raise
    return SwarmStore(path, sessions, seed, traps, dress, rows)


def _in_dress(dress: SwarmDress, sessions: int, seed: int, traps: SwarmTraps) -> Iterator[MadeSession]:
    return (one for one in made_sessions(sessions, seed, traps) if dress == "sqlite" or not one.cells)


def _quoted(path: Path) -> str:
    return str(path.absolute()).replace("%", "%25").replace("?", "%3F")


def _memory_rows(session: MadeSession) -> Iterator[tuple[str, str, str]]:
    """The row of the session itself, then one for each pair of question and answer, and for each question alone."""
    metadata = session.metadata
    labels = {name: metadata.get(name) for name in ("user_id", "provider", "model")}
    said = {
        "type": "session",
        "session_id": session.key,
        **labels,
        **{name: metadata.get(name) for name in ("status", "created_at", "updated_at")},
        "message_count": len(session.history.get("messages") or []),
        "session_data": json.dumps(session.to_dict()),
    }
    yield f"session:{session.key}", f"Session {session.key} for user {_text(labels['user_id'])}", repr(said)
    question: Json | None = None
    for one in _plain_messages(session):
        if one["role"] == "assistant" and question is not None:
            pair = {
                "type": "conversation",
                "session_id": session.key,
                "user_message_id": question["id"],
                "assistant_message_id": one["id"],
                "user_timestamp": question["timestamp"],
                "assistant_timestamp": one["timestamp"],
                **labels,
            }
            text = f"{_text(question['content'])} -> {_text(one['content'])}"
            yield f"conversation:{_text(question['id'])}_{_text(one['id'])}", text, repr(pair)
            question = None
        elif one["role"] == "user":
            question = one
    if question is not None:
        alone = {
            "type": "message",
            "session_id": session.key,
            "message_id": question["id"],
            "role": "user",
            "timestamp": question["timestamp"],
            **labels,
        }
        yield f"message:{_text(question['id'])}", _text(question["content"]), repr(alone)


def _plain_messages(session: MadeSession) -> list[Json]:
    found: Any = session.history.get("messages") or []
    return [one for one in found if isinstance(one, dict) and {"id", "role", "content", "timestamp"} <= one.keys()]


def _text(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()
