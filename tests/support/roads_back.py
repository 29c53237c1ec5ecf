"""Moved stores that are taken back: what an application changes in them after the move, and what lies where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from tests.support.made import make_synth_v2
from tests.support.moved import change, query
from tests.support.taken_back import V2_MESSAGE, v1_rows

from sessionlift._demo import make_langswarm_v1

Lying = dict[str, Any]


def swarm_change(target: Path) -> None:
    one, two = (key for (key,) in query(target, "SELECT session_id FROM sessions ORDER BY rowid LIMIT 2"))
    change(target, V2_MESSAGE, one, "new", "said after the move")
    change(target, "UPDATE session_messages SET token_count = 3 WHERE message_id = 'new'")
    for table in ("session_messages", "session_metrics", "sessions"):
        change(target, f"DELETE FROM {table} WHERE session_id = ?", two)


def swarm_legacy(path: Path) -> Lying:
    return {row[0].decode(): row for row in v1_rows(path)}


def synth_change(target: Path) -> None:
    (one,) = query(target, "SELECT session_id FROM session_traces ORDER BY rowid LIMIT 1")[0]
    change(
        target,
        "INSERT INTO messages (session_id, message_type, content, timestamp, event_time, metadata) "
        "VALUES (?, 'user', 'said after the move', '2031-05-06T07:08:09.123456+00:00', 1900000000.5, '{\"a\": 1}')",
        one,
    )


def synth_legacy(path: Path) -> Lying:
    found: Lying = {}
    with duckdb.connect(str(path), read_only=True) as db:
        for table in ("session_traces", "session_timesteps", "events", "messages"):
            order = "session_id" if table == "session_traces" else "id"
            for row in db.execute(f"SELECT session_id, columns(*)::VARCHAR FROM {table} ORDER BY {order}").fetchall():
                found.setdefault(row[0], []).append((table, row))
    return found


@dataclass
class System:
    name: str
    home: str
    tables: tuple[str, ...]
    make: Callable[[Path], Any]
    change: Callable[[Path], None]
    legacy: Callable[[Path], Lying]

    def living(self, target: Path) -> Lying:
        """By session its rows in the target."""
        found: Lying = {}
        for table in self.tables:
            names = [row[1] for row in query(target, f"PRAGMA table_info({table})")]
            place = names.index("session_id")
            for row in query(target, f"SELECT * FROM {table} ORDER BY rowid"):
                found.setdefault(row[place], []).append((table, row))
        return found


SWARM = System(
    "langswarm",
    "sessions",
    ("sessions", "session_messages", "session_metrics"),
    lambda path: make_langswarm_v1(path, sessions=3, traps="none"),
    swarm_change,
    swarm_legacy,
)
SYNTH = System(
    "synth",
    "session_traces",
    ("session_traces", "session_timesteps", "events", "messages", "event_rewards", "outcome_rewards"),
    lambda path: make_synth_v2(path, sessions=3, traps="none"),
    synth_change,
    synth_legacy,
)
