"""What a legacy store says, by plain DuckDB and the rules of the migration; nothing of the converter.

Everything here is written a second time on purpose: a mistake shared with the converter would prove nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

MAPPED_TYPES = {
    "llm_prompt": "user",
    "llm_completion": "assistant",
    "tool_call": "tool_use",
    "action": "tool_use",
}
ALLOWED_TYPES = ("user", "assistant", "system", "tool_use", "tool_result")


@dataclass
class Message:
    id: int
    original_type: str
    content: str  # JSON text
    timestamp: datetime | None
    event_time: datetime | None
    message_time: int | None

    @property
    def type(self) -> str:
        if self.original_type in ALLOWED_TYPES:
            return self.original_type
        return MAPPED_TYPES.get(self.original_type, "system")

    @property
    def text(self) -> str | None:
        """The content where it is a plain string, else None."""
        value = json.loads(self.content)
        return value if isinstance(value, str) else None


@dataclass
class Session:
    id: str
    created_at: datetime
    counters: tuple[int, int, int]
    experiment_id: str | None
    metadata: list[dict[str, Any]]
    timesteps: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)

    def lifted(self, key: str) -> Any:
        """The value that the real filter should find under ``key`` at the top of the metadata, or None."""
        if any(item["metadata_type"] == key for item in self.metadata):
            return None
        found = [item["data"][key] for item in self.metadata if isinstance(item["data"], dict) and key in item["data"]]
        return found[0] if len(found) == 1 else None

    @property
    def rewards(self) -> list[tuple[int, float]]:
        return [
            (event["id"], event["reward"])
            for event in self.events
            if event["event_type"] == "environment" and event["reward"] is not None
        ]


def read(path: Path) -> dict[str, Session]:
    """Every session of the store, in the order of its table."""
    with duckdb.connect(str(path), read_only=True) as connection:

        def rows(query: str) -> list[dict[str, Any]]:
            cursor = connection.execute(query)
            names = [column[0] for column in cursor.description or []]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

        sessions = {
            row["session_id"]: Session(
                row["session_id"],
                row["created_at"].replace(tzinfo=timezone.utc),
                (row["num_timesteps"], row["num_events"], row["num_messages"]),
                row["experiment_id"],
                json.loads(row["metadata"]),
            )
            for row in rows("FROM session_traces ORDER BY rowid")
        }
        for row in rows("FROM session_timesteps ORDER BY step_index, id"):
            sessions[row["session_id"]].timesteps.append(row)
        for row in rows("FROM events ORDER BY id"):
            sessions[row["session_id"]].events.append(row)
        for row in rows("FROM messages ORDER BY id"):
            sessions[row["session_id"]].messages.append(_message(row))
    return sessions


def _message(row: dict[str, Any]) -> Message:
    kind, content = row["message_type"], row["content"]
    if kind == "SessionEventMessage":
        envelope = dict(
            json.loads(
                content,
                parse_float=_Number,
                parse_int=_Number,
                parse_constant=_Number,
                object_pairs_hook=_Object,
            )
        )
        kind, content = envelope["message_type"], _text(envelope["content"])
    return Message(row["id"], kind, content, _utc(row["timestamp"]), _utc(row["event_time"]), row["message_time"])


class _Number(str):
    """A JSON number (or NaN, Infinity) that keeps its own text."""


class _Object(list[tuple[str, Any]]):
    """A JSON object that keeps repeated keys."""


def _text(value: Any) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, _Object):
        return "{" + ", ".join(f"{json.dumps(key)}: {_text(item)}" for key, item in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    return json.dumps(value)


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=timezone.utc)


def cents(dollars: float | None) -> float | None:
    """Dollars as the new store counts them: hundredths, computed in decimal from the shortest text."""
    return None if dollars is None else float(Decimal(repr(dollars)) * 100)


def tokens(text: str | None) -> Any:
    """A JSON text as nested Python values in which numbers keep their spelling and repeated keys stay."""
    if text is None:
        return None

    def number(spelling: str) -> Any:
        return ("number", spelling)

    return json.loads(
        text,
        parse_float=number,
        parse_int=number,
        parse_constant=number,
        object_pairs_hook=lambda pairs: ("object", pairs),
    )
