"""What the guide wants validated: creation, message handling, history, retrieval, listing, context, metrics."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.support.swarm_bridge import Scripted, Stores

from sessionlift.bridge import Rollout
from sessionlift.bridge.langswarm import (
    EchoProvider,
    MessageRole,
    SessionBackend,
    SessionBridge,
    SessionStatus,
    SyncSessionBridge,
)
from sessionlift.errors import ProviderError, SessionExistsError, SessionNotFoundError, UsageError

Use = Callable[[SessionBridge], Coroutine[Any, Any, None]]


def using(stores: Stores, work: Use, **options: Any) -> None:
    async def main() -> None:
        async with await SessionBridge.open(*stores.both, **options) as bridge:
            await work(bridge)

    asyncio.run(main())


def test_creation(swarm: Stores) -> None:
    async def work(bridge: SessionBridge) -> None:
        session = await bridge.create_session("ann", "openai", "gpt-4o", team="blue")
        assert session.session_id.startswith("session_ann_")
        assert (session.user_id, session.status, session.where) == ("ann", SessionStatus.ACTIVE, "new")
        assert session.context.backend is SessionBackend.LOCAL_SQLITE
        assert session.context.provider_context == {"status": "active", "team": "blue"}
        assert await session.get_messages() == []
        with_thread = await bridge.create_session("ann", "openai", "gpt-4o", provider_session_id="thread_1")
        assert with_thread.context.backend is SessionBackend.HYBRID
        with pytest.raises(SessionExistsError):
            await bridge.create_session("bob", session_id=session.session_id)
        with pytest.raises(SessionExistsError, match="legacy"):
            await bridge.create_session("bob", session_id=swarm.ids[0])
        for wrong in (
            {"user_id": ""},
            {"user_id": "ann", "backend": "nowhere"},
            {"user_id": "a", "session_id": "\ud800"},
            {"user_id": "ann", "max_messages": "many"},
            {"user_id": "ann", "provider_context": "none"},
        ):
            with pytest.raises(UsageError):
                await bridge.create_session(**wrong)

    using(swarm, work)
    context = swarm.ask("SELECT context_data FROM sessions")[0][0]
    assert context.startswith('{"session_id": "session_ann_')


def test_an_id_that_is_taken_says_where_it_lives_now(swarm: Stores) -> None:
    """V1's store has a moved session's row all the same; that it lives there would send the reader to the wrong one."""

    async def work(bridge: SessionBridge) -> None:
        moved, deleted, waiting = swarm.ids[:3]
        await bridge.get_session(moved)
        await bridge.delete_session(deleted)
        for taken, told in ((moved, "is there already"), (deleted, "was deleted"), (waiting, "is in the legacy store")):
            with pytest.raises(SessionExistsError, match=told):
                await bridge.create_session("bob", session_id=taken)

    using(swarm, work)


def test_a_closed_bridge_says_so_and_closes_again(swarm: Stores) -> None:
    async def main() -> None:
        bridge = await SessionBridge.open(*swarm.both)
        session = await bridge.get_session(swarm.ids[0])
        await bridge.close()
        await bridge.close()
        for use in (bridge.get_session(swarm.ids[0]), session.append_message("late"), bridge.list_user_sessions("a")):
            with pytest.raises(UsageError, match="closed"):
                await use

    asyncio.run(main())


def test_message_handling(swarm: Stores) -> None:
    provider = Scripted("it is", tokens=12)

    async def work(bridge: SessionBridge) -> None:
        session = await bridge.get_session(swarm.ids[0])
        before = swarm.contents(swarm.ids[0])
        answer = await session.send_message("is it?", lang="en")
        assert (answer.content, answer.role, answer.token_count) == ("it is", MessageRole.ASSISTANT, 12)
        assert answer.provider_message_id == "r1"
        assert provider.asked == [[*before, "is it?"]]
        tool = await session.send_message("42", "tool", tool_call_id="call_1")
        assert (tool.role, tool.metadata) == (MessageRole.TOOL, {"tool_call_id": "call_1"})
        note = await session.add_system_message("be brief")
        assert note.role is MessageRole.SYSTEM
        assert len(provider.asked) == 1, "only what the user says is answered"
        kept = await session.append_message("noted", MessageRole.ASSISTANT)
        now = await session.get_messages()
        assert [m.content for m in now] == [*before, "is it?", "it is", "42", "be brief", "noted"]
        assert now[-1] == kept
        assert now[-5].metadata == {"lang": "en"}
        for wrong in (None, ["a"], "half \ud800"):
            with pytest.raises(UsageError):
                await session.append_message(wrong)
        with pytest.raises(UsageError, match="role"):
            await session.append_message("x", "narrator")
        with pytest.raises(UsageError, match="JSON"):
            await session.append_message("x", what=object())
        assert len(await session.get_messages()) == len(before) + 5
        assert (await session.get_messages(2)) == now[-2:]
        for limit in (-1, "2", True):
            with pytest.raises(UsageError, match="limit"):
                await session.get_messages(limit)

    using(swarm, work, providers={"*": provider})


def test_a_provider_that_fails_leaves_nothing(swarm: Stores) -> None:
    async def work(bridge: SessionBridge) -> None:
        session = await bridge.get_session(swarm.ids[0])
        with pytest.raises(ProviderError, match="away"):
            await session.send_message("hello?")
        assert [m.content for m in await session.get_messages()] == swarm.contents(swarm.ids[0])

    using(swarm, work, providers={"*": Scripted(fails=True)})


def test_the_mock_provider_echoes(swarm: Stores) -> None:
    async def work(bridge: SessionBridge) -> None:
        session = await bridge.create_session("ann")
        assert (await session.send_message("hello")).content == "hello"

    using(swarm, work)
    using(swarm, work, providers={"mock": EchoProvider()})


def test_history_is_in_order_whatever_the_clock_says(swarm: Stores) -> None:
    """A time zone that was wrong puts moved messages into the future: what comes after still comes after."""
    first = swarm.ids[0]
    future = (datetime(2100, 1, 1) + timedelta(microseconds=1)).isoformat(" ")

    async def work(bridge: SessionBridge) -> None:
        session = await bridge.get_session(first)
        swarm.change(
            "UPDATE session_messages SET timestamp = ? WHERE id = (SELECT max(id) FROM session_messages)", future
        )
        for n in range(5):
            await session.append_message(f"after {n}")
        assert [m.content for m in await session.get_messages()][-5:] == [f"after {n}" for n in range(5)]
        assert [m.content for m in await session.get_messages(2)] == ["after 3", "after 4"]
        assert await session.clear_messages()
        assert await session.get_messages() == []
        assert (await session.get_metrics()).message_count == 0

    using(swarm, work)


def test_retrieval_of_every_session(swarm: Stores) -> None:
    async def work(bridge: SessionBridge) -> None:
        for session_id in swarm.ids:
            session = await bridge.get_session(session_id)
            found = await session.get_messages()
            wanted = swarm.messages(session_id)
            assert [(m.id, m.role.value, m.content) for m in found] == [
                (m["id"], m["role"], m["content"]) for m in wanted
            ]
            assert session.messages == found
        assert await bridge.get_session("nobody") is None

    using(swarm, work)


def test_listing_in_pages_merges_both_stores(swarm: Stores) -> None:
    user = swarm.user_of(swarm.ids[0])
    of_user = [key for key in swarm.ids if swarm.user_of(key) == user]

    async def work(bridge: SessionBridge) -> None:
        made = [(await bridge.create_session(user)).session_id for _ in range(3)]
        await bridge.get_session(of_user[0])
        everything = [s.session_id for s in await bridge.list_user_sessions(user)]
        assert everything[:3] == made[::-1], "the last used first"
        assert sorted(everything) == sorted([*of_user, *made])
        pages = [await bridge.list_user_sessions(user, 2, offset=at) for at in range(0, len(everything), 2)]
        assert [s.session_id for page in pages for s in page] == everything
        assert [s.session_id for s in await bridge.get_user_sessions(user)] == everything
        assert {s.where for s in await bridge.list_user_sessions(user)} == (
            {"new", "legacy"} if of_user[1:] else {"new"}
        )
        assert await bridge.list_user_sessions("nobody") == []
        await bridge.archive_session(made[0])
        archived = await bridge.list_user_sessions(user, status=SessionStatus.ARCHIVED)
        assert made[0] in [s.session_id for s in archived]
        assert {s.status for s in archived} == {SessionStatus.ARCHIVED}
        with pytest.raises(UsageError):
            await bridge.list_user_sessions(user, -1)
        assert sorted([s.session_id async for s in bridge.iter_user_sessions(user)]) == sorted(everything)

    using(swarm, work)


def test_one_session_that_nobody_can_read_does_not_empty_the_list(swarm: Stores) -> None:
    async def work(bridge: SessionBridge) -> None:
        ids = [(await bridge.create_session("ann")).session_id for _ in range(3)]
        swarm.change("UPDATE sessions SET context_data = '[]' WHERE session_id = ?", ids[1])
        assert [s.session_id for s in await bridge.list_user_sessions("ann")] == [ids[2], ids[0]]
        assert [s.session_id async for s in bridge.iter_user_sessions("ann")] == [ids[2], ids[0]]
        # it takes no place, so that a page that is not full is the last one
        pages = [await bridge.list_user_sessions("ann", 1, offset=at) for at in range(3)]
        assert [[s.session_id for s in page] for page in pages] == [[ids[2]], [ids[0]], []]
        swarm.change("UPDATE sessions SET context_data = '{}' WHERE session_id = ?", ids[1])
        good = swarm.ask("SELECT context_data FROM sessions WHERE session_id = ?", ids[0])[0][0]
        swarm.change("UPDATE sessions SET context_data = ? WHERE session_id = ?", good.replace(ids[0], ids[1]), ids[1])
        assert len(await bridge.list_user_sessions("ann")) == 3, "mended, it is there again"

    using(swarm, work)


@pytest.mark.slow
def test_sessions_of_the_legacy_store_that_nobody_can_read_keep_no_other_away(swarm: Stores) -> None:
    user = "ann"
    for session_id in swarm.ids:
        metadata = json.loads(
            swarm.ask("SELECT metadata FROM sessions WHERE session_id = ?", session_id, store=swarm.source)[0][0]
        )
        text = json.dumps({**metadata, "user_id": user})
        change = "UPDATE sessions SET metadata = ?, user_id = ? WHERE session_id = ?"
        swarm.change(change, text, user, session_id, store=swarm.source)
    bad = swarm.ids[2:4]
    for session_id in bad:
        swarm.change("UPDATE sessions SET history = '{' WHERE session_id = ?", session_id, store=swarm.source)
    good = sorted(set(swarm.ids) - set(bad))

    async def work(bridge: SessionBridge) -> None:
        pages = [await bridge.list_user_sessions(user, 3, offset=at) for at in range(0, 9, 3)]
        assert [len(page) for page in pages] == [3, 3, 0]
        assert sorted(s.session_id for page in pages for s in page) == good
        assert sorted([s.session_id async for s in bridge.iter_user_sessions(user)]) == good

    using(swarm, work)
    with SyncSessionBridge(*swarm.both) as bridge:
        assert sorted(s.session_id for s in bridge.iter_user_sessions(user)) == good


def test_context_is_changed_field_by_field(swarm: Stores) -> None:
    first = swarm.ids[0]

    async def work(bridge: SessionBridge) -> None:
        session = await bridge.get_session(first)
        kept = dict(session.context.provider_context)
        other = await bridge.get_session(first)
        assert await session.update_context(model="gpt-5", colour="red", provider_context={"size": 3})
        assert await other.update_context(max_messages=50, backend=SessionBackend.HYBRID)
        assert (other.context.model, other.context.max_messages) == ("gpt-5", 50)
        assert other.context.provider_context == {**kept, "colour": "red", "size": 3}
        assert await session.update_context(status=SessionStatus.PAUSED)
        assert session.status is SessionStatus.PAUSED
        wrongs: list[dict[str, Any]] = [
            {"session_id": "other"}, {"backend": "x"}, {"model": None}, {"what": object()}, {"max_messages": "50"},
            {"max_messages": -1}, {"auto_archive": "no"}, {"provider_session_id": 7}, {"provider_context": ["a"]},
        ]  # fmt: skip
        for wrong in wrongs:
            with pytest.raises(UsageError):
                await session.update_context(**wrong)
        assert session.context.provider_context["colour"] == "red"

    using(swarm, work)
    assert swarm.ask("SELECT model, backend FROM sessions") == [["gpt-5", "hybrid"]]


def test_the_status_is_kept_and_applied(swarm: Stores) -> None:
    async def work(bridge: SessionBridge) -> None:
        session = await bridge.get_session(swarm.ids[0])
        assert await session.archive()
        assert session.status is SessionStatus.ARCHIVED

    using(swarm, work)

    async def again(bridge: SessionBridge) -> None:
        assert (await bridge.get_session(swarm.ids[0])).status is SessionStatus.ARCHIVED

    using(swarm, again)


def test_metrics(swarm: Stores) -> None:
    first = swarm.ids[0]

    async def work(bridge: SessionBridge) -> None:
        session = await bridge.get_session(first)
        before = await session.get_metrics()
        assert before.message_count == len(swarm.messages(first))
        assert before.total_tokens == swarm.truth[first]["metadata"]["total_tokens"]
        await session.send_message("count me")
        after = await bridge.get_metrics(first)
        assert after.message_count == before.message_count + 2
        assert after.total_tokens == before.total_tokens + 12
        assert after.last_activity is not None
        assert before.last_activity is None or after.last_activity > before.last_activity

    using(swarm, work, providers={"*": Scripted(tokens=12)})


def test_a_session_object_is_never_stale(swarm: Stores) -> None:
    first, second, third = swarm.ids[:3]
    with SyncSessionBridge(*swarm.both) as one, SyncSessionBridge(*swarm.both) as two:
        mine, yours = one.get_session(first), two.get_session(first)
        assert mine is not None
        assert yours is not None
        yours.append_message("seen?")
        assert mine.get_messages()[-1].content == "seen?"
        mine.append_message("yes")
        assert [m.content for m in yours.get_messages()][-2:] == ["seen?", "yes"]
        assert two.delete_session(first)
        for use in (mine.get_messages, mine.archive, mine.clear_messages, mine.get_metrics,
                    lambda: mine.append_message("x"), lambda: mine.update_context(a=1)):  # fmt: skip
            with pytest.raises(SessionNotFoundError):
                use()
    with SyncSessionBridge(*swarm.both, rollout=Rollout(mode="off")) as old, SyncSessionBridge(*swarm.both) as new:
        session = old.get_session(second)
        assert session is not None
        assert session.where == "legacy"
        moved = new.get_session(second)
        assert moved is not None
        moved.append_message("in the new store")
        assert session.get_messages()[-1].content == "in the new store"
        assert "new store" in repr(session)
        swarm.change("UPDATE sessionlift_units SET state = 'rolled_back' WHERE session_id = ?", second)
        assert [m.content for m in session.get_messages()] == swarm.contents(second)
        assert session.where == "legacy"
        assert old.get_session(third) is not None


def test_the_guides_other_names(swarm: Stores) -> None:
    async def work(bridge: SessionBridge) -> None:
        first = swarm.ids[0]
        assert (await bridge.send_message(first, "hi")).content == "yes"
        assert (await bridge.send_system_message(first, "calm")).role is MessageRole.SYSTEM
        session = await bridge.get_session(first)
        assert (await session.send_system_message("down")).content == "down"
        assert [m.content for m in await bridge.get_messages(first, 4)] == ["hi", "yes", "calm", "down"]
        with pytest.raises(SessionNotFoundError):
            await bridge.send_message("nobody", "hi")

    using(swarm, work, providers={"*": Scripted()})
