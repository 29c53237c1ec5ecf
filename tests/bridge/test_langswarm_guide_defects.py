"""The defects of the bridge that the published migration guide prints, each shown to be absent; named after them."""

from __future__ import annotations

import asyncio
import inspect
import json
import multiprocessing
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.swarm_bridge import Scripted, Stores

from sessionlift.bridge.langswarm import (
    LegacyApi,
    MessageRole,
    Session,
    SessionBackend,
    SessionBridge,
    SessionContext,
    SessionMessage,
    SessionMetrics,
    SessionStatus,
    SyncSession,
    SyncSessionBridge,
)
from sessionlift.errors import (
    ProviderError,
    SessionExistsError,
    SessionInLegacyError,
    SessionNotFoundError,
    StoreCorruptError,
    StoreFormatError,
    StoreLockedError,
    StoreNotFoundError,
    UsageError,
)
from sessionlift.stores import open_store

pytestmark = pytest.mark.slow


def run(work: Any) -> Any:
    return asyncio.run(work)


def count_of(stores: Stores) -> int:
    return int(stores.ask("SELECT count(*) FROM sessions")[0][0])


def test_01_imports_that_do_not_exist() -> None:
    script = "from sessionlift.bridge.langswarm import *; import sys; sys.exit('langswarm' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert issubclass(SessionNotFoundError, Exception)


def test_02_a_synchronous_constructor_that_needs_a_running_loop(swarm: Stores) -> None:
    with SyncSessionBridge(*swarm.both) as bridge:
        session = bridge.get_session(swarm.ids[0])
        assert session is not None
        # and a session for which nobody can answer says so, where the guide's stays silent
        with pytest.raises(ProviderError, match="nobody"):
            session.send_message("hello")
        assert len(session.get_messages()) == len(swarm.messages(swarm.ids[0]))


def test_03_both_versions_on_one_default_file(swarm: Stores) -> None:
    before = swarm.source.read_bytes()
    for target in (swarm.source, swarm.source.parent / "." / swarm.source.name):
        with pytest.raises((UsageError, StoreFormatError)):
            SyncSessionBridge(str(swarm.source), str(target))
    other = swarm.source.with_name("other.db")
    other.write_bytes(before)
    with pytest.raises(Exception, match=r"langswarm\.v1"):
        SyncSessionBridge(str(swarm.source), str(other))
    assert swarm.source.read_bytes() == other.read_bytes() == before


def test_04_a_v1_session_comes_back_as_none(swarm: Stores) -> None:
    with SyncSessionBridge(*swarm.both) as bridge:
        for session_id in swarm.ids:
            session = bridge.get_session(session_id)
            assert session is not None
            assert [message.content for message in session.get_messages()] == swarm.contents(session_id)
        assert bridge.get_session("never seen") is None


def test_05_every_fault_becomes_not_found(swarm: Stores, tmp_path: Path) -> None:
    first = swarm.ids[0]
    with SyncSessionBridge(*swarm.both) as bridge:
        assert bridge.get_session(first) is not None
        swarm.change("UPDATE sessions SET context_data = '{' WHERE session_id = ?", first)
        with pytest.raises(StoreFormatError, match="context_data"):
            bridge.get_session(first)
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    with pytest.raises((StoreCorruptError, StoreFormatError)):
        SyncSessionBridge(str(swarm.source), str(broken))
    with pytest.raises(StoreNotFoundError):
        SyncSessionBridge(str(tmp_path / "nowhere.db"), str(tmp_path / "new.db"))


def test_05_a_locked_target_serves_the_legacy_history_and_never_none(swarm: Stores) -> None:
    with (
        SyncSessionBridge(*swarm.both, wait=0.2) as bridge,
        open_store(str(swarm.target), mode="rw", role="target") as other,
        other.transaction(),
    ):
        session = bridge.get_session(swarm.ids[0])
        assert session is not None
        assert session.where == "legacy"
        assert [message.content for message in session.get_messages()] == swarm.contents(swarm.ids[0])
        with pytest.raises((StoreLockedError, SessionInLegacyError)):
            session.append_message("not now")


def test_06_a_migrated_session_gets_a_new_id_and_migrates_again(swarm: Stores) -> None:
    first = swarm.ids[0]
    with SyncSessionBridge(*swarm.both) as bridge:
        for _ in range(6):
            session = bridge.get_session(first)
            assert session is not None
            assert session.session_id == session.context.session_id == first
    assert swarm.ask("SELECT session_id FROM sessions") == [[first]]
    assert swarm.ask("SELECT count(*) FROM session_messages")[0][0] == len(swarm.messages(first))


def test_07_messages_after_the_migration_still_go_to_v1(swarm: Stores) -> None:
    first = swarm.ids[0]
    before = swarm.source.read_bytes()
    with SyncSessionBridge(*swarm.both, providers={"*": Scripted("to the new store")}) as bridge:
        session = bridge.get_session(first)
        assert session is not None
        session.send_message("where to?")
        assert [m.content for m in session.get_messages()][-2:] == ["where to?", "to the new store"]
    assert swarm.source.read_bytes() == before
    assert len(swarm.ask("SELECT id FROM session_messages")) == len(swarm.messages(first)) + 2


@pytest.mark.parametrize("role", ["user", MessageRole.USER])
def test_08_send_message_of_a_migrated_session_is_an_attribute_error(swarm: Stores, role: Any) -> None:
    with SyncSessionBridge(*swarm.both, providers={"*": Scripted("fine")}) as bridge:
        session = bridge.get_session(swarm.ids[0])
        assert session is not None
        answer = session.send_message("hello", role)
        assert (answer.content, answer.role) == ("fine", MessageRole.ASSISTANT)


def test_09_migrated_rows_are_deleted_by_the_next_save(swarm: Stores) -> None:
    first = swarm.ids[0]
    with SyncSessionBridge(*swarm.both, providers={"*": Scripted()}) as bridge:
        session = bridge.get_session(first)
        assert session is not None
        rows = "SELECT id, message_id, role, content, timestamp, metadata FROM session_messages ORDER BY id"
        moved = swarm.ask(rows)
        session.send_message("one")
        session.update_context(note="two")
        session.archive()
        assert swarm.ask(rows)[: len(moved)] == moved


def test_10_concurrent_first_uses_make_five_sessions(swarm: Stores) -> None:
    first = swarm.ids[0]

    async def main() -> None:
        async with await SessionBridge.open(*swarm.both, providers={"*": Scripted()}) as bridge:
            await asyncio.gather(*(bridge.send_message(first, f"at once {n}") for n in range(5)))
            contents = [message.content for message in await bridge.get_messages(first)]
        assert sorted(c for c in contents if c.startswith("at once")) == [f"at once {n}" for n in range(5)]
        assert contents[: len(swarm.messages(first))] == swarm.contents(first)

    run(main())
    assert count_of(swarm) == 1


def _use(both: tuple[str, str], session_id: str, barrier: Any) -> None:
    with SyncSessionBridge(*both) as bridge:
        barrier.wait(60)
        session = bridge.get_session(session_id)
        assert session is not None


def test_10_nor_do_first_uses_in_several_processes(swarm: Stores) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(3)
    users = [spawn.Process(target=_use, args=(swarm.both, swarm.ids[0], barrier)) for _ in range(3)]
    for each in users:
        each.start()
    for each in users:
        each.join(120)
    assert [each.exitcode for each in users] == [0, 0, 0]
    assert count_of(swarm) == 1
    assert swarm.ask("SELECT count(*) FROM session_messages")[0][0] == len(swarm.messages(swarm.ids[0]))


def test_11_a_failure_halfway_leaves_half_a_session(swarm: Stores) -> None:
    first = swarm.ids[0]
    with SyncSessionBridge(*swarm.both, retry_after=0.0) as bridge:
        swarm.change(
            "CREATE TRIGGER stop BEFORE INSERT ON session_messages WHEN (SELECT count(*) FROM session_messages) = 2 "
            "BEGIN SELECT RAISE(ABORT, 'stopped'); END"
        )
        session = bridge.get_session(first)
        assert session is not None
        assert session.where == "legacy"
        assert [message.content for message in session.get_messages()] == swarm.contents(first)
        assert count_of(swarm) == swarm.ask("SELECT count(*) FROM session_messages")[0][0] == 0


def test_12_a_new_session_is_not_stored_until_something_is_sent(swarm: Stores) -> None:
    with SyncSessionBridge(*swarm.both) as bridge:
        made = bridge.create_session("ann", "openai", "gpt-4o")
        assert swarm.ask("SELECT session_id, user_id FROM sessions") == [[made.session_id, "ann"]]
    with SyncSessionBridge(*swarm.both) as bridge:
        assert bridge.get_session(made.session_id) is not None


def test_13_the_provider_and_the_fields_of_v1_are_dropped(swarm: Stores) -> None:
    with SyncSessionBridge(*swarm.both) as bridge:
        for session_id, truth in swarm.truth.items():
            session = bridge.get_session(session_id)
            assert session is not None
            metadata, history = truth["metadata"], truth["history"]
            spelled = metadata["provider"].lower()
            assert session.context.provider == {"gpt": "openai", "claude": "anthropic"}.get(spelled, spelled)
            kept = session.context.provider_context
            for name in ("status", "session_control", "provider_thread_id", "tags", "custom_metadata", "created_at"):
                assert kept[name] == metadata[name]
            assert kept["summary"] == history["summary"]


def test_14_v1_callers_split_the_history(swarm: Stores) -> None:
    first = swarm.ids[0]
    with SyncSessionBridge(*swarm.both, providers={"*": Scripted()}) as new, LegacyApi.beside(new) as old:
        session = new.get_session(first)
        assert session is not None
        session.append_message("from the new side")
        assert old.add_message_to_session(first, "from the old side", "user") is not None
        contents = [*swarm.contents(first), "from the new side", "from the old side"]
        assert [message.content for message in session.get_messages()] == contents
        ported = old.get_session(first)
        assert ported is not None
        assert [message.content for message in ported.get_messages()] == contents


def test_14_nor_is_what_v1_itself_still_writes_lost(swarm: Stores) -> None:
    first = swarm.ids[0]
    with SyncSessionBridge(*swarm.both) as bridge:
        session = bridge.get_session(first)
        assert session is not None
        swarm.say_in_v1(first, "late")
        assert [message.content for message in session.get_messages()] == [*swarm.contents(first), "late"]


def test_15_the_wrapper_lacks_the_sessions_interface(swarm: Stores) -> None:
    properties = {"session_id": str, "user_id": str, "status": SessionStatus, "context": SessionContext,
                  "metrics": SessionMetrics}  # fmt: skip
    with SyncSessionBridge(*swarm.both) as bridge:
        session = bridge.get_session(swarm.ids[0])
        for name, kind in properties.items():
            assert isinstance(getattr(session, name), kind)
    for name in ("send_message", "get_messages", "add_system_message", "clear_messages", "update_context", "archive"):
        assert inspect.iscoroutinefunction(getattr(Session, name))
        assert callable(getattr(SyncSession, name))


def test_16_two_kinds_of_messages_and_dropped_arguments(swarm: Stores) -> None:
    with SyncSessionBridge(*swarm.both, providers={"*": Scripted()}) as bridge:
        made = bridge.create_session("ann", "openai", "gpt-4o", session_id="mine", max_messages=7, team="blue")
        assert (made.session_id, made.context.max_messages) == ("mine", 7)
        assert made.context.provider_context["team"] == "blue"
        moved = bridge.get_session(swarm.ids[0])
        assert moved is not None
        for session in (made, moved):
            answer = session.send_message("hello", colour="red")
            assert all(type(message) is SessionMessage for message in (answer, *session.get_messages()))
            assert {type(message.role) for message in session.get_messages()} == {MessageRole}
            assert session.get_messages()[-2].metadata == {"colour": "red"}


def test_17_a_deleted_session_revives_and_lists_show_one_side(swarm: Stores) -> None:
    first, second = swarm.ids[:2]
    user = swarm.user_of(second)
    of_user = {key for key in swarm.ids if swarm.user_of(key) == user}
    with SyncSessionBridge(*swarm.both) as bridge:
        assert bridge.get_session(second) is not None
        made = bridge.create_session(user)
        listed = bridge.list_user_sessions(user)
        assert {session.session_id for session in listed} == {*of_user, made.session_id}
        assert len(listed) == len(of_user) + 1
        for gone in (first, second):  # one that never moved, one that has
            assert bridge.delete_session(gone)
            assert not bridge.delete_session(gone)
            assert not bridge.archive_session(gone)
            assert bridge.get_session(gone) is None
            with pytest.raises(SessionExistsError, match=r"legacy|deleted"):
                bridge.create_session(user, session_id=gone)
        assert {s.session_id for s in bridge.list_user_sessions(user)} == {*(of_user - {first, second}),
                                                                           made.session_id}  # fmt: skip
    with SyncSessionBridge(*swarm.both) as bridge:
        assert bridge.get_session(first) is bridge.get_session(second) is None
    assert swarm.ask("SELECT count(*) FROM session_messages WHERE session_id = ?", second) == [[0]]


def test_18_synchronous_calls_block_the_event_loop(swarm: Stores) -> None:
    """A writer in another process holds the target for half a second: the loop goes on."""
    hold = (
        "import sqlite3, sys, time\nstore = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "store.execute('BEGIN IMMEDIATE')\nprint('held', flush=True)\ntime.sleep(0.5)\nstore.execute('COMMIT')"
    )

    async def main() -> float:
        async with await SessionBridge.open(*swarm.both) as bridge:
            holder = subprocess.Popen([sys.executable, "-c", hold, str(swarm.target)], stdout=subprocess.PIPE)
            assert holder.stdout is not None
            holder.stdout.readline()
            use = asyncio.create_task(bridge.get_session(swarm.ids[0]))
            longest, last = 0.0, time.perf_counter()
            while not use.done():
                await asyncio.sleep(0.002)
                now = time.perf_counter()
                longest, last = max(longest, now - last), now
            assert (await use).where == "new"
            holder.stdout.close()
            holder.wait()
        return longest

    assert run(main()) < 0.25


def test_19_max_messages_deletes_older_messages(swarm: Stores) -> None:
    longest = max(swarm.ids, key=lambda key: len(swarm.messages(key)))
    with SyncSessionBridge(*swarm.both, providers={"*": Scripted()}) as bridge:
        session = bridge.get_session(longest)
        assert session is not None
        assert session.context.max_messages >= len(swarm.messages(longest)) + 10_000
        session.update_context(max_messages=2)
        session.send_message("still all there?")
        assert len(session.get_messages()) == len(swarm.messages(longest)) + 2


def test_20_sessions_read_again_cannot_be_saved(swarm: Stores) -> None:
    with SyncSessionBridge(*swarm.both, providers={"*": Scripted()}) as bridge:
        bridge.get_session(swarm.ids[0])
    for turn in range(2):
        with SyncSessionBridge(*swarm.both, providers={"*": Scripted()}) as bridge:
            session = bridge.get_session(swarm.ids[0])
            assert session is not None
            assert isinstance(session.context.backend, SessionBackend)
            assert session.update_context(turn=turn)
            session.send_message(f"turn {turn}")
    rows = swarm.ask("SELECT content FROM session_messages ORDER BY timestamp, id")
    assert [content for (content,) in rows[-4:]] == ["turn 0", "yes", "turn 1", "yes"]
    assert json.loads(swarm.ask("SELECT context_data FROM sessions")[0][0])["provider_context"]["turn"] == 1


def test_threads_of_one_bridge_share_a_first_use(swarm: Stores) -> None:
    found: list[Any] = []
    with SyncSessionBridge(*swarm.both) as bridge:
        threads = [threading.Thread(target=lambda: found.append(bridge.get_session(swarm.ids[0]))) for _ in range(6)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert [session.session_id for session in found] == [swarm.ids[0]] * 6
    assert count_of(swarm) == 1
