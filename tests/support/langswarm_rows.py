"""V1 rows made by hand, and a sink that keeps what a converter makes of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sessionlift.converters import Batch
from sessionlift.converters.langswarm import (
    V1_COLUMNS,
    LangswarmForward,
    LangswarmOptions,
    LegacyRow,
    LegacySource,
    open_legacy,
)
from sessionlift.stores import parse_store_url

V1_TABLE = (
    "CREATE TABLE sessions (session_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, provider TEXT NOT NULL, "
    "model TEXT NOT NULL, status TEXT NOT NULL, session_control TEXT NOT NULL, created_at TEXT NOT NULL, "
    "updated_at TEXT NOT NULL, last_activity TEXT, metadata TEXT NOT NULL, history TEXT NOT NULL)"
)


def metadata(key: str = "s", **changed: Any) -> dict[str, Any]:
    """V1's metadata object, as V1 writes it for an ordinary session."""
    return {
        "user_id": "ann",
        "session_id": key,
        "provider": "openai",
        "model": "gpt-4o",
        "created_at": "2025-05-01T10:00:00.000001",
        "updated_at": "2025-05-01T11:00:00",
        "status": "active",
        "session_control": "hybrid",
        "provider_thread_id": None,
        "provider_conversation_id": None,
        "provider_agent_id": None,
        "context_limit": None,
        "auto_truncate": True,
        "summarization_enabled": True,
        "message_count": 1,
        "total_tokens": 0,
        "last_activity": None,
        "tags": [],
        "custom_metadata": {},
        **changed,
    }


def message(**changed: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "role": "user",
        "content": "hello",
        "timestamp": "2025-05-01T10:30:00.500000",
        "metadata": {},
        "tool_calls": None,
        "tool_call_id": None,
        "provider_message_id": None,
        **changed,
    }


def history(messages: Any, key: str = "s", **changed: Any) -> dict[str, Any]:
    return {
        "session_id": key,
        "messages": messages,
        "summary": None,
        "total_tokens": 1,
        "truncated_at": None,
        **changed,
    }


def legacy_row(meta: Any, hist: Any, key: str = "s", **columns: Any) -> LegacyRow:
    """A row in the SQLite dress; objects are written as V1 writes them, texts and bytes stand as they are."""
    cells: dict[str, Any] = {"session_id": key}
    if isinstance(meta, dict):
        cells |= {name: meta.get(name) for name in V1_COLUMNS[1:9]}
    cells["metadata"] = json.dumps(meta) if isinstance(meta, dict) else meta
    cells["history"] = json.dumps(hist) if isinstance(hist, dict) else hist
    cells |= columns
    return LegacyRow(key, {name: cells.get(name) for name in V1_COLUMNS})


class Keep:
    """A sink that keeps its rows by table."""

    def __init__(self) -> None:
        self.tables: dict[str, list[tuple[Any, ...]]] = {}

    def rows(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:  # noqa: ARG002
        self.tables.setdefault(table, []).extend(tuple(row) for row in rows)


def source(path: Path) -> LegacySource:
    return open_legacy(parse_store_url(str(path)), snapshot=True)


def moved(path: Path, **options: Any) -> tuple[Keep, list[Batch]]:
    """Everything that a move of the whole store makes."""
    with source(path) as opened:
        return moved_by(LangswarmForward(opened, LangswarmOptions(**options)))


def moved_by(converter: LangswarmForward, **limits: int) -> tuple[Keep, list[Batch]]:
    keep = Keep()
    converter.inventory()
    return keep, [converter.catalog(keep), *(converter.convert(group, keep) for group in converter.groups(**limits))]


def units(batches: list[Batch]) -> Iterator[Any]:
    for batch in batches:
        yield from batch.units
