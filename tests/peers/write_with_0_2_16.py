"""Runs in the environment of synth-ai 0.2.16: its manager goes on with one session of a v3 store.

Usage: python write_with_0_2_16.py STORE SESSION_ID GONE
It deletes the session GONE. Prints the ids of the messages that it wrote, and whether there was such a session.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from typing import Any


async def main(store: str, session_id: str, gone: str) -> None:
    module: Any = importlib.import_module("synth_ai.tracing_v3.turso.native_manager")
    manager = module.NativeLibsqlTraceManager("sqlite+aiosqlite:///" + store)
    await manager.initialize()
    step = await manager.ensure_timestep(session_id, step_id="after_the_move", step_index=99, turn_number=99)
    messages = [
        await manager.insert_message_row(
            session_id,
            timestep_db_id=step,
            message_type=kind,
            content=content,
            event_time=1_900_000_000.25 + at,
            message_time=at,
            metadata={"step_id": "after_the_move"},
        )
        for at, (kind, content) in enumerate(
            (("user", "said after the move"), ("assistant", '{"a": [1, 2.50]}'), ("tool_result", "ünï 東京"))
        )
    ]
    told = {"messages": messages, "deleted": await manager.delete_session(gone)}
    await manager.close()
    sys.stdout.write(json.dumps(told))


asyncio.run(main(*sys.argv[1:]))
