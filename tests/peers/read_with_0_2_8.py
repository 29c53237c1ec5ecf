"""Runs in the environment of synth-ai 0.2.8: reads a v3 store with its public manager, prints JSON lines.

Usage: python read_with_0_2_8.py STORE
First line: model usage. Then one line a session, in the order of the store. Rows come through the release's
own SQLAlchemy models, so every date and every JSON text is parsed by the code that its users run.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import math
import sys
from typing import Any


def say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line, default=lambda value: value.isoformat()) + "\n")


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """pandas wraps numbers and says NaN where the store says NULL."""
    unwrapped = {key: value.item() if hasattr(value, "item") else value for key, value in row.items()}
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in unwrapped.items()}


async def main(store: str) -> None:
    sqlalchemy = importlib.import_module("sqlalchemy")
    models = importlib.import_module("synth_ai.tracing_v3.turso.models")
    manager = importlib.import_module("synth_ai.tracing_v3.turso.manager").AsyncSQLTraceManager(
        "sqlite+aiosqlite:///" + store
    )
    await manager.initialize()

    async def rows(model: Any, session_id: str) -> list[dict[str, Any]]:
        async with manager.session() as session:
            query = sqlalchemy.select(model).where(model.session_id == session_id).order_by(model.id)
            found = (await session.execute(query)).scalars().all()
        properties = sqlalchemy.inspect(model).column_attrs
        return [{prop.columns[0].name: getattr(row, prop.key) for prop in properties} for row in found]

    usage = await manager.get_model_usage()
    say({"usage": [plain(row) for row in usage.to_dict("records")]})
    outcomes = {row["session_id"]: row for row in await manager.get_outcome_rewards()}
    sessions = await manager.query_traces("SELECT session_id, experiment_id FROM session_traces ORDER BY rowid")
    for found in sessions.to_dict("records"):
        session_id = found["session_id"]
        say(
            {
                "session_id": session_id,
                "experiment_id": found["experiment_id"],
                "trace": await manager.get_session_trace(session_id),
                "events": await rows(models.Event, session_id),
                "messages": await rows(models.Message, session_id),
                "event_rewards": await rows(models.EventReward, session_id),
                "outcome_rewards": [outcomes[session_id]] if session_id in outcomes else [],
            }
        )
    await manager.close()


asyncio.run(main(sys.argv[1]))
