"""What the bridge over LangSwarm's stores costs: the old API, the new one, first use, later uses, the event loop.

    python -m benchmarks.langswarm_bridge [--sessions 100] [--messages 10] [--first 200] [--uses 2000] [--json FILE]
    python -m benchmarks.langswarm_bridge --leak 1000000     (so many get_session calls: does memory grow?)

Ratios within one run are what counts; each pair is measured in turn, so that a busy moment hits both. Times are wall
times and, where it says so, processor time of this process.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks._machine import machine
from sessionlift.bridge.langswarm import LegacyApi, SessionBridge, SyncSessionBridge
from sessionlift.converters.langswarm import V2_COLUMNS, LangswarmOptions, LegacyReader, Moved, forward
from sessionlift.generations import prepare_target
from sessionlift.stores import Store, open_store, parse_store_url

V1_TABLE = (
    "CREATE TABLE sessions (session_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT "
    "NULL, status TEXT NOT NULL, session_control TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL, "
    "last_activity TEXT, metadata TEXT NOT NULL, history TEXT NOT NULL)"
)
TEXT = "The invoice of the second quarter does not agree with the order; what was changed, and who approved it? "
BARE_SESSION = (
    "SELECT session_id, user_id, provider, model, backend, context_data, created_at, updated_at FROM sessions "
    "WHERE session_id = ?"
)
BARE_MESSAGES = (
    "SELECT message_id, role, content, timestamp, metadata, provider_message_id, token_count, finish_reason "
    "FROM session_messages WHERE session_id = ? ORDER BY timestamp, id"
)


def legacy_store(path: Path, sessions: int, messages: int) -> list[str]:
    """A V1 store of equal sessions; returns their ids."""
    ids = [f"session_{n:06d}" for n in range(sessions)]
    with sqlite3.connect(path) as store:
        store.execute(V1_TABLE)
        for n, key in enumerate(ids):
            store.execute(f"INSERT INTO sessions VALUES ({', '.join('?' * 11)})", _row(key, n, messages))
    store.close()
    old = time.time() - 60
    os.utime(path, (old, old))  # nobody has written to it just now
    return ids


def _row(key: str, n: int, messages: int) -> tuple[Any, ...]:
    begun, user = "2025-05-01T10:00:00.000001", f"user_{n % 20}"
    metadata = {
        "user_id": user, "session_id": key, "provider": "openai", "model": "gpt-4o", "created_at": begun,
        "updated_at": begun, "status": "active", "session_control": "hybrid", "provider_thread_id": None,
        "provider_conversation_id": None, "provider_agent_id": None, "context_limit": None, "auto_truncate": True,
        "summarization_enabled": True, "message_count": messages, "total_tokens": 50, "last_activity": begun,
        "tags": ["a"], "custom_metadata": {"team": "blue"},
    }  # fmt: skip
    said: list[dict[str, Any]] = [
        {
            "id": f"msg_{m:08x}", "role": "assistant" if m % 2 else "user", "content": f"{m}: {TEXT * 2}",
            "timestamp": f"2025-05-01T10:{m // 60:02d}:{m % 60:02d}.000001", "metadata": {}, "tool_calls": None,
            "tool_call_id": None, "provider_message_id": None,
        }
        for m in range(messages)
    ]  # fmt: skip
    history = {"session_id": key, "messages": said, "summary": None, "total_tokens": 400, "truncated_at": None}
    texts = (json.dumps(metadata), json.dumps(history))
    return (key, user, "openai", "gpt-4o", "active", "hybrid", begun, begun, begun, *texts)


def seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


# --- 100 sessions x 10 messages through each API


def through_old(folder: Path, sessions: int, messages: int) -> dict[str, float]:
    """Create, send, read again through the old API."""
    source = folder / "old.v1.db"
    legacy_store(source, 1, 1)
    with LegacyApi(str(source), str(folder / "old.v2.db"), reports=folder) as api:
        ids = [api.create_session("ann").session_id for _ in range(sessions)]

        def send() -> None:
            for key in ids:
                for m in range(messages):
                    api.add_message_to_session(key, f"{m}: {TEXT}", "user")

        def read() -> None:
            for key in ids:
                session = api.get_session(key)
                assert session is not None
                assert len(session.get_messages()) == messages

        return {"send": seconds(send), "read": seconds(read)}


def through_new(folder: Path, sessions: int, messages: int) -> dict[str, float]:
    """The same through the new API, without coroutines."""
    source = folder / "new.v1.db"
    legacy_store(source, 1, 1)
    with SyncSessionBridge(str(source), str(folder / "new.v2.db"), reports=folder) as bridge:
        ids = [bridge.create_session("ann").session_id for _ in range(sessions)]

        def send() -> None:
            for key in ids:
                session = bridge.get_session(key)
                assert session is not None
                for m in range(messages):
                    session.append_message(f"{m}: {TEXT}")

        def read() -> None:
            for key in ids:
                session = bridge.get_session(key)
                assert session is not None
                assert len(session.get_messages()) == messages

        return {"send": seconds(send), "read": seconds(read)}


async def through_bridge(folder: Path, sessions: int, messages: int) -> dict[str, float]:
    """Sessions that lie in V1's store, read (and so moved), sent to and read again, with coroutines."""
    source = folder / "bridge.v1.db"
    ids = legacy_store(source, sessions, messages)
    found: dict[str, float] = {}
    async with await SessionBridge.open(str(source), str(folder / "bridge.v2.db"), reports=folder) as bridge:
        for step in ("first use", "read"):
            begun = time.perf_counter()
            for key in ids:
                assert len(await (await bridge.get_session(key)).get_messages()) == messages
            found[step] = time.perf_counter() - begun
        begun = time.perf_counter()
        for key in ids:
            session = await bridge.get_session(key)
            for m in range(messages):
                await session.append_message(f"{m}: {TEXT}")
        found["send"] = time.perf_counter() - begun
    return found


# --- first use against a bare read and insert of the same rows


def first_use(folder: Path, count: int, messages: int = 20) -> dict[str, float]:
    """Milliseconds of each, by percentile, and the ratios."""
    source = folder / "first.v1.db"
    ids = legacy_store(source, count, messages)
    bare_path = folder / "first.bare.db"
    prepare_target(str(bare_path), "langswarm.v2")
    ours: list[float] = []
    bare: list[float] = []
    with (
        SyncSessionBridge(str(source), str(folder / "first.v2.db"), reports=folder) as bridge,
        open_store(str(bare_path), mode="rw", role="target") as store,
        LegacyReader(parse_store_url(str(source))) as reader,
    ):
        warm = legacy_made(reader, ids[0])
        assert bridge.get_session(ids[0]) is not None
        insert(store, warm)
        for key in ids[1:]:
            made = legacy_made(reader, key)  # what it becomes costs the bare way nothing
            begun = time.perf_counter()
            assert reader.get(key) is not None
            insert(store, made)
            bare.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            session = bridge.get_session(key)
            ours.append(time.perf_counter() - begun)
            assert session is not None
            assert session.where == "new"
    found = {}
    for name, times in (("first use", ours), ("bare", bare)):
        cuts = statistics.quantiles(times, n=100)
        found[f"{name} p50 ms"], found[f"{name} p99 ms"] = 1000 * cuts[49], 1000 * cuts[98]
    found["ratio p50"] = found["first use p50 ms"] / found["bare p50 ms"]
    found["ratio p99"] = found["first use p99 ms"] / found["bare p99 ms"]
    return found


def legacy_made(reader: LegacyReader, key: str) -> Moved:
    row = reader.get(key)
    assert row is not None
    made = forward(row, LangswarmOptions())
    assert isinstance(made, Moved)
    return made


def insert(store: Store, made: Moved) -> None:
    """The rows alone, in one transaction: no ledger, nothing read back."""
    with store.transaction():
        store.insert_rows("sessions", V2_COLUMNS["sessions"], [made.rows.session])
        store.insert_rows("session_messages", V2_COLUMNS["session_messages"], made.rows.messages)
        assert made.rows.metrics is not None
        store.insert_rows("session_metrics", V2_COLUMNS["session_metrics"], [made.rows.metrics])


# --- later uses against a bare read of the same rows


def later_uses(folder: Path, uses: int, driver: Any, messages: int = 20) -> dict[str, float]:
    """Microseconds of processor time for each; the bare read has its rows as values, nothing parsed."""
    source = folder / f"later.{driver}.v1.db"
    ids = legacy_store(source, 100, messages)
    target = folder / f"later.{driver}.v2.db"
    url = parse_store_url(f"{driver}:///{target}")
    with SyncSessionBridge(str(source), str(target), driver=driver, reports=folder) as bridge:
        for key in ids:
            bridge.get_session(key)
        with open_store(url, mode="rw", role="target") as store:

            def bare(key: str) -> None:
                store.query(BARE_SESSION, (key,))
                assert len(store.query(BARE_MESSAGES, (key,))) == messages

            def session(key: str) -> None:
                assert bridge.get_session(key) is not None

            def history(key: str) -> None:
                found = bridge.get_session(key)
                assert found is not None
                assert len(found.messages) == messages

            times = in_turn({"bare": bare, "get_session": session, "and its messages": history}, ids, uses)
    times["ratio get_session"] = times["get_session"] / times["bare"]
    times["ratio and its messages"] = times["and its messages"] / times["bare"]
    return times


def in_turn(ways: dict[str, Callable[[str], None]], ids: list[str], uses: int, rounds: int = 7) -> dict[str, float]:
    """The best round of each way, in microseconds of processor time for one use."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            begun = time.process_time()
            for n in range(uses // rounds):
                way(ids[n % len(ids)])
            best[name] = min(best[name], 1e6 * (time.process_time() - begun) / (uses // rounds))
    return best


# --- the event loop


async def longest_stall(folder: Path, count: int, messages: int = 20) -> dict[str, float]:
    """Milliseconds that the loop stood still at most: alone, while sessions move, and while moved ones are read."""
    source = folder / "loop.v1.db"
    ids = legacy_store(source, count, messages)
    found: dict[str, float] = {}

    async def watched(name: str, work: Any) -> None:
        task = asyncio.ensure_future(work)
        longest, last = 0.0, time.perf_counter()
        while not task.done():
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            longest, last = max(longest, now - last - 0.001), now
        await task
        found[name] = 1000 * longest

    async with await SessionBridge.open(str(source), str(folder / "loop.v2.db"), reports=folder) as bridge:

        async def use() -> None:
            for at in range(0, len(ids), 10):
                await asyncio.gather(*(bridge.get_session(key) for key in ids[at : at + 10]))

        await watched("idle ms", asyncio.sleep(1))
        await watched("moving ms", use())
        await watched("reading ms", use())
    return found


def leak(folder: Path, calls: int) -> dict[str, float]:
    """Megabytes and objects before and after so many get_session calls."""
    source = folder / "leak.v1.db"
    ids = legacy_store(source, 200, 10)
    process = psutil.Process()
    found: dict[str, float] = {}
    with SyncSessionBridge(str(source), str(folder / "leak.v2.db"), reports=folder) as bridge:
        for n in range(20_000):  # until every cache has its size
            bridge.get_session(ids[n % len(ids)])
        gc.collect()
        found["MB before"], found["objects before"] = process.memory_info().rss / 1e6, len(gc.get_objects())
        for n in range(calls):
            bridge.get_session(ids[n % len(ids)])
        gc.collect()
        found["MB after"], found["objects after"] = process.memory_info().rss / 1e6, len(gc.get_objects())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--messages", type=int, default=10)
    parser.add_argument("--first", type=int, default=200, help="sessions for the cost of first use")
    parser.add_argument("--uses", type=int, default=3500, help="later uses")
    parser.add_argument("--leak", type=int, help="only this: so many get_session calls")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sessionlift-bench-") as name:
        folder = Path(name)
        found: dict[str, Any] = {}
        if options.leak:
            found[f"{options.leak:,} get_session calls"] = leak(folder, options.leak)
        else:
            size = (options.sessions, options.messages)
            found["old API, seconds"] = through_old(folder, *size)
            found["new API, seconds"] = through_new(folder, *size)
            found["bridge, coroutines, seconds"] = asyncio.run(through_bridge(folder, *size))
            for kind in ("old API", "bridge, coroutines"):
                for step in ("send", "read"):
                    ratio = found[f"{kind}, seconds"][step] / found["new API, seconds"][step]
                    found[f"{kind}, seconds"][f"{step}, ratio to the new API"] = ratio
            found["first use of 20 messages, bare read and insert"] = first_use(folder, options.first)
            for driver in ("libsql", "sqlite"):
                found[f"later use of 20 messages, {driver}, processor microseconds"] = later_uses(
                    folder, options.uses, driver
                )
            found["the event loop's longest stall"] = asyncio.run(longest_stall(folder, 100))
        print(f"{options.sessions} sessions x {options.messages} messages")
        for title, figures in found.items():
            print(title)
            for what, value in figures.items():
                print(f"  {what:28} {value:10,.2f}")
        if options.json:
            options.json.write_text(json.dumps({"machine": machine(folder), "figures": found}, indent=2))


if __name__ == "__main__":
    main()
