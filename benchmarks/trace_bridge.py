"""What the bridge over Synth-AI's traces costs: the first use of a session, an answer without a move, a later use.

    python -m benchmarks.trace_bridge [--sizes 2000,20000,200000] [--uses 60] [--json FILE]

The peer of a first use is a bare one: the session's rows are read from the same store, one statement a table, and put
into the same tables with one commit; nothing is checked, noted or derived. All are measured in turn, session by
session, so that a busy moment hits each. Times are wall times, the median of all sessions.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb
import libsql_experimental

from benchmarks._machine import machine
from benchmarks.contestants._mapping import COLUMNS
from benchmarks.migrate_synth import ROOT, legacy_store
from sessionlift.bridge import Rollout
from sessionlift.bridge.synth import SyncTraceBridge
from sessionlift.generations import schema_upgrade
from sessionlift.runs import TransferOptions

TABLES = ("session_traces", "session_timesteps", "events", "messages")
OPTIONS = TransferOptions(timezone="UTC", timezone_given=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="2000,20000", help="sessions in the legacy stores, with commas")
    parser.add_argument("--uses", type=int, default=60, help="sessions that are used in each store")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures and the machine's facts here")
    parser.add_argument("--folder", type=Path, default=ROOT / ".cache" / "bench", help="where stores are made")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    found = {}
    print(f"{'sessions':>10}{'bare':>9}{'first use':>11}{'ratio':>7}{'stays':>9}{'shadow':>9}{'later use':>11}")
    for size in map(int, options.sizes.split(",")):
        source, _rows = legacy_store(size, options)
        with tempfile.TemporaryDirectory(prefix="run-", dir=options.folder) as folder:
            took = measured(source, Path(folder), options.uses)
        found[size] = took
        print(
            f"{size:10,}{took['bare']:9.1f}{took['first use']:11.1f}{took['first use'] / took['bare']:6.1f}x"
            f"{took['stays']:9.1f}{took['shadow']:9.1f}{took['later use']:11.2f}",
            flush=True,
        )
    print(f"\nmilliseconds, medians of {options.uses} sessions; stays: answered from the legacy store, since it is not")
    print("in the share that moves; shadow: the same, and compared, as the first use in shadow mode does")
    if options.json:
        document = {"benchmark": "trace_bridge", "machine": machine(options.folder), "sizes": found}
        options.json.write_text(json.dumps(document, indent=2) + "\n")


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


if __name__ == "__main__":
    main()
