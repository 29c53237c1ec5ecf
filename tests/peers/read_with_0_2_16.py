"""Runs in the environment of synth-ai 0.2.16: reads a v3 store with its public manager, prints JSON lines.

Usage: python read_with_0_2_16.py STORE
First line: model usage. Then one line a session, in the order of the store.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import math
import sys
from typing import Any


def plain(value: Any) -> Any:
    """pandas says NaN where the store says NULL, and wraps numbers; say it in Python's own values."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and math.isnan(value):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value


def say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")


async def main(store: str) -> None:
    module = importlib.import_module("synth_ai.tracing_v3.turso.native_manager")
    manager = module.NativeLibsqlTraceManager("sqlite+aiosqlite:///" + store)
    await manager.initialize()

    async def rows(query: str, session_id: str | None = None) -> list[dict[str, Any]]:
        frame = await manager.query_traces(query, {"session_id": session_id} if session_id is not None else None)
        return [plain(row) for row in frame.to_dict("records")]

    usage = await manager.get_model_usage()
    say({"usage": [plain(row) for row in usage.to_dict("records")]})
    for found in await rows("SELECT session_id, experiment_id FROM session_traces ORDER BY rowid"):
        session_id = found["session_id"]
        trace = await manager.get_session_trace(session_id)
        line = {"session_id": session_id, "experiment_id": found["experiment_id"], "trace": whole(trace)}
        for table in ("events", "messages", "event_rewards", "outcome_rewards"):
            query = f"SELECT * FROM {table} WHERE session_id = :session_id ORDER BY id"
            line[table] = await rows(query, session_id)
        if found["experiment_id"] is not None:
            linked = await manager.query_traces(
                "SELECT session_id FROM session_traces WHERE experiment_id = :experiment",
                {"experiment": found["experiment_id"]},
            )
            line["linked"] = session_id in set(linked["session_id"])
        say(line)
    await manager.close()


def whole(trace: dict[str, Any]) -> Any:
    """A trace holds dates, and metadata in which NaN is a value of its own: leave that one alone."""
    return json.loads(json.dumps(trace, default=lambda value: value.isoformat()))


asyncio.run(main(sys.argv[1]))
