"""The first use of a trace through the bridge, and a bare one of the same session: see ``benchmarks.trace_bridge``."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb
import libsql_experimental

from benchmarks.contestants._mapping import COLUMNS
from sessionlift.bridge import Rollout
from sessionlift.bridge.synth import SyncTraceBridge
from sessionlift.generations import schema_upgrade
from sessionlift.runs import TransferOptions

TABLES = ("session_traces", "session_timesteps", "events", "messages")
OPTIONS = TransferOptions(timezone="UTC", timezone_given=True)


def measured(source: Path, folder: Path, uses: int) -> dict[str, float]:
    """Milliseconds of each way, the median of ``uses`` sessions that lie all over the store."""
    # DuckDB opens one file with one configuration in one process
    other = folder / "the-same.duckdb"
    os.link(source, other)
    bare_target = folder / "bare.db"
    schema_upgrade(str(bare_target), "synth_v3")
    reader = duckdb.connect(str(other), read_only=True, config={"threads": 1})
    writer = libsql_experimental.connect(str(bare_target))
    writer.execute("PRAGMA foreign_keys = OFF")
    ids = [
        key
        for (key,) in reader.execute(
            "SELECT session_id FROM session_traces ORDER BY hash(session_id) LIMIT ?", [uses + 1]
        ).fetchall()
    ]
    with ExitStack() as stack:

        def front(name: str, rollout: Rollout) -> SyncTraceBridge:
            target = str(folder / f"{name}.db")
            return stack.enter_context(SyncTraceBridge(str(source), target, OPTIONS, reports=folder, rollout=rollout))

        def bare(key: str) -> None:
            for table in TABLES:
                columns = COLUMNS[table]
                chosen = f"SELECT {', '.join(columns.values())} FROM {table} WHERE session_id = ?"
                rows = reader.execute(chosen, [key]).fetchall()
                places = ", ".join("?" * len(columns))
                into = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"
                writer.executemany(into, rows)
            writer.commit()

        def through(bridge: SyncTraceBridge) -> Callable[[str], None]:
            def use(key: str) -> None:
                assert bridge.get_session_trace(key) is not None

            return use

        moves = through(front("moves", Rollout(mode="lazy")))
        ways = {
            "bare": bare,
            "first use": moves,
            "stays": through(front("stays", Rollout(mode="lazy", share=0.0))),
            "shadow": through(front("shadow", Rollout(mode="shadow"))),
            "later use": moves,
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number, key in enumerate(ids):
            for name, way in ways.items():
                begun = time.perf_counter()
                way(key)
                # the first opens stores and loads what it needs
                if number:
                    times[name].append(1000 * (time.perf_counter() - begun))
    writer.close()
    reader.close()
    found: dict[str, Any] = {name: statistics.median(all_of) for name, all_of in times.items()}
    return found
