"""The old API gives V1's answers, wherever a session lives and whoever has gone on with it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.swarm_bridge import Scripted, Stores, make_stores

from sessionlift.bridge import Rollout
from sessionlift.bridge.langswarm import LegacyApi, SyncSessionBridge
from sessionlift.bridge.langswarm.v1 import (
    ConversationMessage,
    MessageRole,
    SessionControl,
    SessionMetadata,
    SessionStatus,
)
from sessionlift.errors import ConversionError, SessionExistsError, SessionNotFoundError, UsageError
from sessionlift.runs import TransferOptions

NEW_YORK = TransferOptions(timezone="America/New_York", timezone_given=True)


def same(left: Any, right: Any) -> bool:
    # through text: NaN is not equal to itself, and the order of keys counts
    return json.dumps(left) == json.dumps(right)


@pytest.mark.parametrize("mode", ["off", "lazy"])
def test_every_session_answers_as_v1_does(tmp_path: Path, mode: Any) -> None:
    stores = make_stores(tmp_path, sessions=60, seed=1, traps="all")
    with LegacyApi(*stores.both, NEW_YORK, rollout=Rollout(mode=mode)) as api:
        for session_id, truth in stores.truth.items():
            session = api.get_session(session_id)
            assert session is not None
            assert same(session.to_dict(), truth), session_id
            assert session.session_id == session_id


def test_a_session_that_v1_cannot_read_is_no_empty_one(tmp_path: Path) -> None:
    stores = make_stores(tmp_path, sessions=60, seed=1, traps="all")
    rows = stores.ask("SELECT session_id FROM sessions WHERE typeof(session_id) = 'text'", store=stores.source)
    unreadable = [key for (key,) in rows if key not in stores.truth]
    assert unreadable
    with LegacyApi(*stores.both) as api:
        for key in unreadable:
            with pytest.raises(ConversionError):
                api.get_session(key)


def test_the_values_are_of_v1s_kinds(swarm: Stores) -> None:
    with LegacyApi(*swarm.both) as api:
        session = api.get_session(swarm.ids[0])
        assert session is not None
        assert isinstance(session.metadata, SessionMetadata)
        assert isinstance(session.metadata.status, SessionStatus)
        assert isinstance(session.metadata.session_control, SessionControl)
        assert isinstance(session.metadata.created_at, datetime)
        message = session.get_messages()[0]
        assert isinstance(message, ConversationMessage)
        assert isinstance(message.role, MessageRole)
        assert session.message_count == len(session.get_messages()) == len(swarm.messages(swarm.ids[0]))
        assert session.get_messages_for_api()[0] == {"role": message.role.value, "content": message.content}
        assert session.is_active is (session.metadata.status is SessionStatus.ACTIVE)


def test_both_apis_tell_the_same_story(swarm: Stores) -> None:
    first = swarm.ids[0]
    with SyncSessionBridge(*swarm.both, providers={"*": Scripted(tokens=5)}) as new, LegacyApi.beside(new) as old:
        modern = new.get_session(first)
        ported = old.get_session(first)
        assert modern is not None
        assert ported is not None
        modern.send_message("from the new side")
        old.send_message(first, "from the old side")
        ported.add_message("a tool says", MessageRole.TOOL, tool_call_id="call_1", metadata={"k": 1})
        left, right = modern.get_messages(), ported.get_messages()
        assert [(m.id, m.role.value, m.content) for m in left] == [(m.id, m.role.value, m.content) for m in right]
        assert right[-1].tool_call_id == "call_1"
        assert right[-1].metadata == {"k": 1}
        assert left[-1].metadata == {"k": 1, "tool_call_id": "call_1"}
        before = swarm.truth[first]["metadata"]["total_tokens"]
        assert ported.metadata.total_tokens == before + 5, "V1 counts what it asked for itself"
        assert modern.get_metrics().total_tokens == before + 10
        ported.archive()
        assert modern.get_metrics()
        assert modern.status.value == ported.metadata.status.value == "archived"
        modern.update_context(status="active")
        assert ported.get_messages()
        assert ported.is_active


def test_times_are_local_in_the_old_api_and_utc_in_the_new(swarm: Stores) -> None:
    with SyncSessionBridge(*swarm.both, NEW_YORK) as new, LegacyApi.beside(new) as old:
        modern = new.get_session(swarm.ids[0])
        assert modern is not None
        written = modern.append_message("what time is it?")
        ported = old.get_session(swarm.ids[0])
        assert ported is not None
        behind = written.timestamp - ported.get_messages()[-1].timestamp
        assert behind in (timedelta(hours=4), timedelta(hours=5))
        made = old.create_session("ann")
        assert timedelta(0) <= made.metadata.updated_at - made.metadata.created_at < timedelta(seconds=1)
        assert abs(made.metadata.created_at - ported.get_messages()[-1].timestamp) < timedelta(seconds=60)


def test_a_session_begun_by_the_old_api_is_whole(swarm: Stores) -> None:
    with LegacyApi(*swarm.both, providers={"*": Scripted()}) as api:
        made = api.create_session(
            "ann", "Claude", "opus", "mine", tags=["a"], custom_metadata={"k": [1]}, context_limit=9,
            provider_thread_id="t1",
        )  # fmt: skip
        found = api.get_session("mine")
        assert found is not None
        assert found.to_dict() == made.to_dict()
        metadata = found.metadata
        assert (metadata.provider, metadata.session_control) == ("Claude", SessionControl.LANGSWARM)
        assert (metadata.tags, metadata.custom_metadata, metadata.context_limit) == (["a"], {"k": [1]}, 9)
        assert (metadata.message_count, metadata.last_activity) == (0, None)
        assert api.create_session("bob", "openai").metadata.session_control is SessionControl.HYBRID
        answer = api.send_message("mine", "hello")
        assert (answer.id, answer.content, answer.role) == ("claude_r1", "yes", MessageRole.ASSISTANT)
        with pytest.raises(SessionExistsError):
            api.create_session("eve", session_id="mine")
        with pytest.raises(SessionExistsError):
            api.create_session("eve", session_id=swarm.ids[0])
        with pytest.raises(ValueError, match="nowhere"):
            api.create_session("eve", "nowhere")
        with pytest.raises(UsageError, match="colour"):
            api.create_session("eve", colour="red")
    with SyncSessionBridge(*swarm.both) as bridge:
        modern = bridge.get_session("mine")
        assert modern is not None
        assert (modern.context.provider, modern.context.provider_session_id) == ("anthropic", "t1")
        assert [message.content for message in modern.get_messages()] == ["hello", "yes"]


def test_what_is_not_there_is_none_false_or_a_value_error(swarm: Stores) -> None:
    with LegacyApi(*swarm.both) as api:
        assert api.get_session("nobody") is None
        assert api.add_message_to_session("nobody", "x", MessageRole.USER) is None
        assert api.archive_session("nobody") is api.delete_session("nobody") is False
        assert api.storage.update_session_metadata("nobody", {"tags": []}) is False
        with pytest.raises(ValueError, match="nobody"):
            api.send_message("nobody", "hello")
        session = api.get_session(swarm.ids[0])
        assert session is not None
        assert api.delete_session(swarm.ids[0])
        with pytest.raises(SessionNotFoundError):
            session.get_messages()


def test_lists_follow_v1(swarm: Stores) -> None:
    by_time = sorted(swarm.truth.values(), key=lambda truth: str(truth["metadata"]["updated_at"]), reverse=True)
    wanted = [truth["metadata"] for truth in by_time]
    with LegacyApi(*swarm.both) as api:
        for moved in range(0, len(wanted) + 1, 4):
            for metadata in wanted[:moved]:
                api.get_session(metadata["session_id"])
            assert [m.to_dict() for m in api.list_sessions()] == wanted
        user = wanted[0]["user_id"]
        assert [m.to_dict() for m in api.list_sessions(user)] == [m for m in wanted if m["user_id"] == user]
        assert [m.to_dict() for m in api.list_sessions(limit=3)] == wanted[:3]
        for status in SessionStatus:
            assert [m.to_dict() for m in api.list_sessions(status=status)] == [
                m for m in wanted if m["status"] == status.value
            ]
        assert api.archive_session(wanted[-1]["session_id"])
        assert api.list_sessions(status="archived")[0].session_id == wanted[-1]["session_id"]
        numbers = api.get_session_statistics()
        assert numbers["active_sessions"] == len(api.list_sessions(status=SessionStatus.ACTIVE))
        assert sum(numbers["provider_distribution"].values()) == numbers["active_sessions"]


def test_callers_that_save_a_session_themselves(swarm: Stores) -> None:
    first = swarm.ids[0]
    with LegacyApi(*swarm.both) as api:
        session, other = api.storage.load_session(first), api.get_session(first)
        assert session is not None
        assert other is not None
        session.metadata.tags.append("new tag")
        session.metadata.custom_metadata["k"] = "v"
        session.metadata.session_control = SessionControl.NATIVE
        session.metadata.provider_thread_id = "thread_9"
        session.history.messages.append(ConversationMessage("m1", MessageRole.USER, "by hand"))
        other.add_message("meanwhile", "user")
        assert api.storage.save_session(session)
        found = api.get_session(first)
        assert found is not None
        assert [m.content for m in found.get_messages()] == [*swarm.contents(first), "meanwhile", "by hand"]
        assert found.metadata.tags[-1] == "new tag"
        assert found.metadata.custom_metadata["k"] == "v"
        assert found.metadata.session_control is SessionControl.NATIVE
        assert found.metadata.provider_thread_id == "thread_9"
        del session.history.messages[:]
        with pytest.raises(UsageError, match="shortened"):
            api.storage.save_session(session)
        assert api.storage.update_session_metadata(first, {"status": SessionStatus.INACTIVE, "tags": ["x"]})
        again = api.get_session(first)
        assert again is not None
        assert (again.metadata.status, again.metadata.tags) == (SessionStatus.INACTIVE, ["x"])
        with pytest.raises(UsageError, match="message_count"):
            api.storage.update_session_metadata(first, {"message_count": 3})


def test_old_sessions_of_both_stores_are_cleaned_up_for_good(swarm: Stores) -> None:
    with LegacyApi(*swarm.both) as api:
        api.get_session(swarm.ids[0])
        kept = api.create_session("ann").session_id
        assert api.cleanup_expired_sessions(30) == len(swarm.ids)
        assert [m.session_id for m in api.list_sessions()] == [kept]
        assert api.get_session(swarm.ids[0]) is api.get_session(swarm.ids[1]) is None


def test_the_tokens_of_answers_that_come_at_once_are_all_counted(swarm: Stores) -> None:
    one = swarm.ids[0]
    with LegacyApi(*swarm.both, providers={"*": Scripted("yes", tokens=3)}) as api:
        session = api.get_session(one)
        assert session is not None
        before = session.metadata.total_tokens
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: api.send_message(one, "hello"), range(40)))
        session.refresh()
        assert session.metadata.total_tokens == before + 40 * 3
