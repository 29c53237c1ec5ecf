"""The old tracer and the new one, as they write Synth-AI's two stores; and what lies there, read past all of ours.

Everything goes through DuckDB and Python's own SQLite, in the tests' process: sessionlift runs in others.

A session is told by its *tokens*: the names that its events, messages and timesteps bear in both stores, one for each
row, in the order in which their program shows them; the first letter says which they are.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
from tests.support.both_programs import Lying, ledger_states, opened
from tests.support.life_model import UNFIT, arranged

from sessionlift.generations import schema_upgrade

Row = dict[str, Any]
NO_EXPERIMENT = "none"
"""The status of a session that is linked to no experiment: its link is what we take for a status."""

V2_TYPES = {
    "user": "user",
    "llm_prompt": "user",
    "llm_completion": "assistant",
    "observation": "system",
    "tool_call": "tool_use",
}
"""What the old tracer calls a message, and what it is in the new store."""
V3_TYPES = ("user", "assistant", "tool_result")
EVENTS = ("cais", "environment", "runtime")
_STATES = ("system_state_before", "system_state_after", "metadata", "event_metadata")


@dataclass
class Said:
    """By token the cells that each program wrote, or that the rules make of the other one's, as far as they are
    certain."""

    v2: dict[str, Row] = field(default_factory=dict)
    v3: dict[str, Row] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    """by session v2's text of its metadata"""


@dataclass
class OldTracer:
    """Synth-AI's v2: a session is saved once, at its end. What comes later is added row by row."""

    path: Path
    said: Said
    _clock: int = 0

    def make(self) -> None:
        schema_upgrade(f"duckdb://{self.path}", "synth_v2")
        with duckdb.connect(str(self.path)) as db:
            db.execute("INSERT INTO systems VALUES ('crafter', 'Crafter', 'a game')")
            db.execute("INSERT INTO experiments VALUES ('first', 'the first', NULL, ?, ?)", [self._now(), self._now()])

    def create(self, key: str, tokens: list[str]) -> str:
        """What ``end_session`` saves of a session; returns its status."""
        kinds = {kind: [token for token in tokens if token[0] == kind] for kind in "emqt"}
        number = len(self.said.metadata)
        metadata = [
            {"metadata_type": "env_name", "data": {"env_name": "crafter", "number": number}, "timestamp": self._now()},
            {"metadata_type": "env_name", "data": {"seed": number}, "timestamp": self._now()},
        ]
        self.said.metadata[key] = json.dumps(metadata) if number % 2 else "[]"
        counts = [len(kinds["t"]), len(kinds["e"]) + len(kinds["q"]), len(kinds["m"])]
        with duckdb.connect(str(self.path)) as db:
            db.execute(
                "INSERT INTO session_traces (session_id, created_at, num_timesteps, num_events, num_messages, "
                "metadata, experiment_id) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [key, self._now(), *counts, self.said.metadata[key], "first" if number % 2 else None],
            )
            for place, token in enumerate(kinds["t"]):
                # all that was recorded happened in the first one
                self._step(db, key, token, (counts[1], counts[2]) if place == 0 else (0, 0))
            for token in (*kinds["q"], *kinds["e"]):
                self._event(db, key, token)
            for token in kinds["m"]:
                self._message(db, key, token)
        return "first" if number % 2 else NO_EXPERIMENT

    def add(self, key: str, tokens: list[str]) -> None:
        """More rows of a session that was saved; its counters stay, as they are those of the save."""
        with duckdb.connect(str(self.path)) as db:
            for token in tokens:
                if token[0] == "t":
                    self._step(db, key, token, (0, sum(each[0] == "m" for each in tokens)))
                elif token[0] in ("e", UNFIT):
                    self._event(db, key, token)
                else:
                    self._message(db, key, token)

    def link(self, key: str, experiment: str) -> None:
        with duckdb.connect(str(self.path)) as db:
            db.execute("UPDATE session_traces SET experiment_id = ? WHERE session_id = ?", [experiment, key])

    def delete(self, key: str) -> None:
        with duckdb.connect(str(self.path)) as db:
            for table in ("messages", "events", "session_timesteps", "session_traces"):
                db.execute(f"DELETE FROM {table} WHERE session_id = ?", [key])

    def _step(self, db: Any, key: str, token: str, counts: tuple[int, int]) -> None:
        number = int(token[1:])
        (place,) = db.execute("SELECT count(*) FROM session_timesteps WHERE session_id = ?", [key]).fetchone()
        row = {
            "step_id": token,
            "step_index": place,
            "timestamp": self._now(),
            "num_events": counts[0],
            "num_messages": counts[1],
            "step_metadata": json.dumps({"turn_number": number}) if number % 2 else None,
        }
        self._insert(db, "session_timesteps", key, row)
        self._noted(token, row, {"turn_number": number if number % 2 else place, "step_index": place})

    def _event(self, db: Any, key: str, token: str) -> None:
        number = int(token[1:])
        kind = EVENTS[number % 3] if token[0] == "e" else "planner"
        own: dict[str, Row] = {
            "cais": {"model_name": "gpt-4o", "provider": "openai", "prompt_tokens": number, "cost": 0.29},
            "planner": {"cost": 0.1},
            "environment": {"reward": number / 8, "terminated": number % 2 == 0},
            "runtime": {},
        }
        row = {
            "event_type": kind, "system_instance_id": kind, "event_time": self._now(), "span_id": token,
            **dict.fromkeys(_STATES, "null"), **own[kind],
        }  # fmt: skip
        self._insert(db, "events", key, row)
        cents = {"cost_usd": 29.0, "input_tokens": number} if kind == "cais" else {}
        rewards = {"reward": number / 8} if kind == "environment" else {}
        self._noted(token, row, {"event_type": kind, **cents, **rewards})

    def _message(self, db: Any, key: str, token: str) -> None:
        number = int(token[1:].split(" ")[0])
        kind = sorted(V2_TYPES)[number % len(V2_TYPES)]
        row = {
            "message_type": kind,
            "content": json.dumps({"payload": token} if number % 3 == 0 else token),
            "timestamp": self._now(),
            "event_time": self._now(late=3600 if number % 4 == 0 else 0),
            "message_time": number,
        }
        self._insert(db, "messages", key, row)
        self._noted(token, row, {"message_type": V2_TYPES[kind], "message_time": number})

    def _insert(self, db: Any, table: str, key: str, row: Row) -> None:
        names = ", ".join(("session_id", *row))
        db.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * (len(row) + 1))})", [key, *row.values()])

    def _noted(self, token: str, v2: Row, v3: Row) -> None:
        self.said.v2[token], self.said.v3[token] = v2, v3

    def _now(self, late: int = 0) -> str:
        """Local time of the store's zone, here UTC; some clocks go back."""
        self._clock += 1
        moment = datetime(2025, 6, 1, 12) + timedelta(seconds=7 * self._clock - late, microseconds=10 * self._clock + 1)
        return moment.isoformat(" ", "microseconds")


@dataclass
class NewTracer:
    """Synth-AI's v3, release 0.2.16, without a bridge: row by row, and the session's counters with each."""

    path: Path
    said: Said

    def create(self, key: str, tokens: list[str]) -> None:
        with opened(self.path) as db:
            db.execute(
                "INSERT INTO session_traces (session_id, created_at, num_timesteps, num_events, num_messages, metadata)"
                " VALUES (?, ?, 0, 0, 0, ?)",
                (key, _utc_now(), '{"env_name":"crafter"}'),
            )
            self._add(db, key, tokens)

    def add(self, key: str, tokens: list[str]) -> None:
        with opened(self.path) as db:
            self._add(db, key, tokens)

    def change(self, key: str, token: str, now: str) -> None:
        """Another text for a message: no release does that by itself, but its store lets anybody."""
        with opened(self.path) as db:
            found = [id_ for id_, _, each in _messages(db, key) if each == token]
            db.execute("UPDATE messages SET content = ? WHERE id = ?", (now, found[0]))
        for said in (self.said.v2, self.said.v3):
            said[now] = {**said[token], "content": json.dumps(now) if said is self.said.v2 else now}

    def drop(self, key: str, token: str) -> None:
        with opened(self.path) as db:
            found = [id_ for id_, _, each in _messages(db, key) if each == token]
            db.execute("DELETE FROM messages WHERE id = ?", (found[0],))

    def link(self, key: str, experiment: str) -> None:
        with opened(self.path) as db:
            db.execute("UPDATE session_traces SET experiment_id = ? WHERE session_id = ?", (experiment, key))

    def delete(self, key: str) -> None:
        tables = ("event_rewards", "outcome_rewards", "messages", "events", "session_timesteps", "session_traces")
        with opened(self.path) as db:
            for table in tables:
                db.execute(f"DELETE FROM {table} WHERE session_id = ?", (key,))

    def _add(self, db: sqlite3.Connection, key: str, tokens: list[str]) -> None:
        step = None
        for token in sorted(tokens, key=lambda token: "tem".index(token[0])):
            if token[0] == "t":
                step = self._step(db, key, token)
            elif token[0] == "e":
                self._event(db, key, token, step)
            else:
                self._message(db, key, token, step)

    def _step(self, db: sqlite3.Connection, key: str, token: str) -> int:
        ((place,),) = db.execute(
            "SELECT coalesce(max(step_index) + 1, 0) FROM session_timesteps WHERE session_id = ?", (key,)
        ).fetchall()
        row = {
            "step_id": token, "step_index": place, "turn_number": int(token[1:]), "started_at": _utc_now(),
            "completed_at": _utc_now() if int(token[1:]) % 2 else None, "step_metadata": "{}",
        }  # fmt: skip
        self.said.v2[token], self.said.v3[token] = {"step_index": place}, row
        return self._insert(db, "session_timesteps", key, {**row, "num_events": 0, "num_messages": 0}, None)

    def _event(self, db: sqlite3.Connection, key: str, token: str, step: int | None) -> None:
        number = int(token[1:])
        kind = EVENTS[number % 3]
        own: dict[str, Row] = {
            "cais": {
                "model_name": "gpt-4o", "provider": "openai", "input_tokens": number, "cost_usd": 28,
                "latency_ms": 12, "call_records": '[{"call_id":"c"}]',
            },
            "environment": {"reward": number / 8, "terminated": 0, "truncated": number % 2},
            "runtime": {},
        }  # fmt: skip
        row = {
            "event_type": kind, "system_instance_id": kind, "event_time": 1748779200.5 + number, "message_time": number,
            "span_id": token, "metadata": '{"step_id":"turn"}', **own[kind],
        }  # fmt: skip
        event = self._insert(db, "events", key, row, step)
        if kind == "environment":
            self._insert(
                db, "event_rewards", key,
                {"event_id": event, "reward_value": number / 8, "reward_type": "sparse", "source": "environment",
                 "turn_number": 0, "created_at": _utc_now()}, None,
            )  # fmt: skip
        dollars = {"cost": 0.28} if kind == "cais" else {}
        rewards = {"reward": number / 8} if kind == "environment" else {}
        self.said.v2[token], self.said.v3[token] = {"event_type": kind, **dollars, **rewards}, row

    def _message(self, db: sqlite3.Connection, key: str, token: str, step: int | None) -> None:
        number = int(token[1:].split(" ")[0])
        kind = V3_TYPES[number % 3]
        row = {
            "message_type": kind,
            "content": json.dumps({"payload": token}, ensure_ascii=False) if number % 3 == 0 else token,
            "event_time": 1748779200.25 + number, "message_time": number, "metadata": '{"step_id":"turn"}',
        }  # fmt: skip
        self._insert(db, "messages", key, row, step)
        self.said.v2[token], self.said.v3[token] = {"message_type": kind, "message_time": number}, row

    def _insert(self, db: sqlite3.Connection, table: str, key: str, row: Row, step: int | None) -> int:
        cells = {"session_id": key, **row} if step is None else {"session_id": key, "timestep_id": step, **row}
        names = ", ".join(cells)
        sql = f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(cells))})"
        cursor = db.execute(sql, tuple(cells.values()))
        if table in _COUNTED:
            more = f"{_COUNTED[table]} = {_COUNTED[table]} + 1"
            db.execute(f"UPDATE session_traces SET {more} WHERE session_id = ?", (key,))
            if step is not None:
                db.execute(f"UPDATE session_timesteps SET {more} WHERE id = ?", (step,))
        assert cursor.lastrowid is not None
        return cursor.lastrowid


_COUNTED = {"session_timesteps": "num_timesteps", "events": "num_events", "messages": "num_messages"}


def _utc_now() -> str:
    return datetime.now(timezone.utc).isoformat()


def _token(content: str) -> str:
    """The token of a message's text, bare or JSON."""
    try:
        value = json.loads(content)
    except ValueError:
        return content
    return str(value["payload"] if isinstance(value, dict) else value)


def _messages(db: sqlite3.Connection, key: str) -> list[tuple[int, str, str]]:
    rows = db.execute("SELECT id, session_id, content FROM messages WHERE session_id = ? ORDER BY id", (key,))
    return [(id_, session, _token(content)) for id_, session, content in rows]


# --- what lies there ------------------------------------------------------------------------------------------

_TABLES = {"events": "span_id", "messages": "content", "session_timesteps": "step_id"}
# by the columns themselves: DuckDB would take a bare name for the text that is read of it
_ORDER = {
    "events": "events.id",
    "messages": "messages.id",
    "session_timesteps": "session_timesteps.step_index, session_timesteps.id",
}


@dataclass
class Trace:
    """A session as it lies in one store: its row, and its other rows by token."""

    head: Row
    tokens: list[str] = field(default_factory=list)
    rows: dict[str, Row] = field(default_factory=dict)
    rewards: list[int] = field(default_factory=list)
    """the ids of its events' rewards, or those that a move would give them"""

    def ids(self) -> Iterator[tuple[str, int]]:
        """What is numbered, each with a letter for its table."""
        for token, row in self.rows.items():
            yield "e" if token[0] == UNFIT else token[0], int(row["id"])
        for each in self.rewards:
            yield "r", each

    def take(self, row: Row, token: str) -> None:
        assert token not in self.rows, f"{self.head['session_id']} has {token!r} twice"
        self.tokens.append(token)
        self.rows[token] = row

    @property
    def status(self) -> str:
        return str(self.head["experiment_id"] or NO_EXPERIMENT)


def legacy_traces(path: Path) -> dict[str, Trace]:
    """By session what lies in v2's store, each cell as DuckDB's own text."""
    with duckdb.connect(str(path), read_only=True) as db:

        def read(table: str, order: str) -> list[Row]:
            rows = db.execute(f"SELECT columns(*)::VARCHAR FROM {table} ORDER BY {order}").fetchall()
            return [dict(zip([each[0] for each in db.description or ()], row, strict=True)) for row in rows]

        found = _traces(read)
    for trace in found.values():
        rewarded = (row for row in trace.rows.values() if row.get("reward") is not None)
        trace.rewards = [int(row["id"]) for row in rewarded if row["event_type"] == "environment"]
    return found


def new_traces(path: Path) -> dict[str, Trace]:
    """By session what lies in v3's store.

    Asserts what no program may find otherwise: what is named by an id is there, and each reward is there once.
    """
    with opened(path) as db:
        # an experiment may be missing: v2 never looked
        broken = [row for row in db.execute("PRAGMA foreign_key_check").fetchall() if row[2] != "experiments"]
        assert broken == [], broken
        wrong = db.execute(
            "SELECT e.id, e.reward, count(r.id) FROM events AS e LEFT JOIN event_rewards AS r ON r.event_id = e.id "
            "GROUP BY e.id HAVING count(r.id) <> (e.event_type = 'environment' AND e.reward IS NOT NULL) "
            "OR max(r.reward_value) <> e.reward"
        ).fetchall()
        assert wrong == [], f"events whose reward is lost or doubled: {wrong}"

        def read(table: str, order: str) -> list[Row]:
            cursor = db.execute(f"SELECT * FROM {table} ORDER BY {order}")
            return [dict(zip([each[0] for each in cursor.description], row, strict=True)) for row in cursor]

        found = _traces(read)
        for row in read("event_rewards", "id"):
            found[row["session_id"]].rewards.append(row["id"])
        return found


def _traces(read: Any) -> dict[str, Trace]:
    found: dict[str, Trace] = {}
    for head in read("session_traces", "session_id"):
        assert head["session_id"] not in found, f"{head['session_id']} is there twice"
        found[head["session_id"]] = Trace(head)
    for table, name in _TABLES.items():
        for row in read(table, _ORDER[table]):
            assert row["session_id"] in found, f"{table}: a row of no session: {row}"
            found[row["session_id"]].take(row, _token(row[name]) if table == "messages" else row[name])
    return found


@dataclass(frozen=True)
class Looked:
    """Every session that one of the stores, or the ledger, knows; and those of them in v2's store that have the id of
    a row which is another session's in v3's."""

    lying: dict[str, Lying]
    taken: frozenset[str]


def look(legacy: Path, target: Path) -> Looked:
    old = legacy_traces(legacy)
    new, states = (new_traces(target), ledger_states(target)) if filled(target) else ({}, {})
    found = {}
    for key in old.keys() | new.keys() | states.keys():
        here, there = old.get(key), new.get(key)
        found[key] = Lying(
            None if here is None else arranged(here.tokens),
            None if here is None else here.status,
            None if there is None else arranged(there.tokens),
            None if there is None else there.status,
            states.get(key),
        )
    owners = {each: key for key, trace in new.items() for each in trace.ids()}
    return Looked(found, frozenset(key for key, trace in old.items() if _meets(trace, key, owners)))


def _meets(trace: Trace, key: str, owners: Mapping[tuple[str, int], str]) -> bool:
    return any(owners.get(each, key) != key for each in trace.ids())


def filled(path: Path) -> bool:
    if not path.exists():
        return False
    with opened(path) as db:
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    # made in one transaction, both or neither
    assert ("session_traces" in names) == ("sessionlift_units" in names), names
    return "session_traces" in names


def differing(said: Row, lies: Mapping[str, Any], *, as_text: bool) -> dict[str, tuple[Any, Any]]:
    """The cells that do not lie there as they were said. In v2 each is compared as DuckDB's text of it."""
    found = {}
    for name, value in said.items():
        there = lies[name]
        same = _text(value) == there if as_text else value == there
        if not same:
            found[name] = (value, there)
    return found


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)
