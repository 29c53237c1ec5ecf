"""Runs in an environment of synth-ai: prints what its manager's get_session_trace gives, one session a line.

Usage: python trace_with.py VERSION STORE
Times are given with their type, so that a text is told from a moment.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from datetime import datetime
from typing import Any

MANAGERS = {
    "0.2.16": ("synth_ai.tracing_v3.turso.native_manager", "NativeLibsqlTraceManager"),
    "0.2.8": ("synth_ai.tracing_v3.turso.manager", "AsyncSQLTraceManager"),
}


def typed(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"datetime": value.isoformat()}
    raise TypeError(f"{value!r} is nothing that a trace should hold")


async def main(version: str, store: str) -> None:
    module, name = MANAGERS[version]
    manager = getattr(importlib.import_module(module), name)("sqlite+aiosqlite:///" + store)
    await manager.initialize()
    found = await manager.query_traces("SELECT session_id FROM session_traces ORDER BY rowid")
    for session_id in [*found["session_id"], "nobody's"]:
        trace = await manager.get_session_trace(session_id)
        sys.stdout.write(json.dumps([session_id, trace], default=typed) + "\n")
    await manager.close()


asyncio.run(main(*sys.argv[1:]))
