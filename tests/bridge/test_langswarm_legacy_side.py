"""Sessions served from V1's store: readable through both APIs, written by the application's own V1 or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.swarm_bridge import Scripted, Stores

from sessionlift.bridge import Rollout
from sessionlift.bridge.langswarm import LegacyApi, SessionMessage, SyncSessionBridge, V1ManagerWriter
from sessionlift.errors import SessionConflictError, SessionInLegacyError, StoreError

OFF = Rollout(mode="off")


def test_reads_answer_and_writes_say_why_not(swarm: Stores) -> None:
    first = swarm.ids[0]
    provider = Scripted()
    with SyncSessionBridge(*swarm.both, rollout=OFF, providers={"*": provider}) as new, LegacyApi.beside(new) as old:
        session = new.get_session(first)
        assert session is not None
        assert session.where == "legacy"
        assert [message.content for message in session.get_messages()] == swarm.contents(first)
        assert session.metrics.message_count == len(swarm.messages(first))
        writes = (
            lambda: session.append_message("x"),
            lambda: session.send_message("x"),
            session.clear_messages,
            session.archive,
            lambda: session.update_context(a=1),
            lambda: old.send_message(first, "x"),
            lambda: old.archive_session(first),
        )
        for write in writes:
            with pytest.raises(SessionInLegacyError, match="rollout leaves it") as caught:
                write()
            assert caught.value.transient
            assert "legacy_writer" in caught.value.hint
        assert not provider.asked, "nobody is asked for what could not be stored"
        made = new.create_session("ann")
        made.append_message("a new session is in the new store whatever the rollout says")


def test_the_share_decides_and_may_rise(swarm: Stores) -> None:
    rollout = [Rollout(share=0.0)]
    with SyncSessionBridge(*swarm.both, rollout=lambda: rollout[0]) as bridge:
        session = bridge.get_session(swarm.ids[0])
        assert session is not None
        assert session.where == "legacy"
        rollout[0] = Rollout(share=1.0)
        session.append_message("now it can be")
        assert session.messages[-1].content == "now it can be"


class Writer:
    """Writes to the V1 store of a test as its application would."""

    def __init__(self, stores: Stores) -> None:
        self.stores, self.did = stores, list[str]()

    def append(self, session_id: str, messages: Sequence[SessionMessage]) -> None:
        self.did.append("append")
        for message in messages:
            self.stores.say_in_v1(session_id, message.content)

    def clear(self, session_id: str) -> None:
        self.did.append(f"clear {session_id}")

    def update(self, session_id: str, changes: Mapping[str, Any]) -> None:
        self.did.append(f"update {session_id} {dict(changes)}")

    def delete(self, session_id: str) -> None:
        self.did.append(f"delete {session_id}")


def test_a_legacy_writer_takes_the_writes(swarm: Stores) -> None:
    first = swarm.ids[0]
    writer = Writer(swarm)
    with SyncSessionBridge(*swarm.both, rollout=OFF, legacy_writer=writer, providers={"*": Scripted("ok")}) as bridge:
        session = bridge.get_session(first)
        assert session is not None
        session.append_message("to V1")
        assert [message.content for message in session.get_messages()] == [*swarm.contents(first), "to V1"]
        assert session.send_message("and this").content == "ok"
        session.archive()
        session.clear_messages()
        bridge.delete_session(first)
    assert writer.did == ["append", "append", f"update {first} {{'status': 'archived'}}", f"clear {first}",
                          f"delete {first}"]  # fmt: skip
    assert swarm.ask("SELECT count(*) FROM sessions") == [[0]]


def test_v1s_own_manager_can_be_the_writer() -> None:
    """With an object of V1's shape; the real one is in the peer tests."""
    saved: list[Any] = []
    metadata = SimpleNamespace(tags=[], custom_metadata={}, message_count=1, status=None)
    session = SimpleNamespace(session_id="s", metadata=metadata, history=SimpleNamespace(messages=[1]))

    def save(each: Any) -> bool:
        saved.append(each)
        return True

    storage = SimpleNamespace(save_session=save)
    writer = V1ManagerWriter(SimpleNamespace(get_session=lambda _: session, storage=storage))
    writer.clear("s")
    writer.update("s", {"tags": ["a"], "colour": "red"})
    assert session.history.messages == []
    assert (metadata.tags, metadata.custom_metadata) == (["a"], {"colour": "red"})
    assert saved == [session, session]
    storage.save_session = lambda _: False
    with pytest.raises(SessionInLegacyError, match="could not save"):
        writer.clear("s")
    with pytest.raises(SessionInLegacyError, match="does not find"):
        V1ManagerWriter(SimpleNamespace(get_session=lambda _: None)).clear("s")


def test_both_sides_gone_on_is_a_conflict_that_reads_survive(swarm: Stores) -> None:
    first = swarm.ids[0]
    with SyncSessionBridge(*swarm.both) as bridge:
        session = bridge.get_session(first)
        assert session is not None
        session.append_message("new side")
        swarm.say_in_v1(first, "old side")
        assert [message.content for message in session.get_messages()] == [*swarm.contents(first), "new side"]
        with pytest.raises(SessionConflictError):
            session.append_message("and now?")
        assert len(session.get_messages()) == len(swarm.messages(first)) + 1


def test_a_legacy_store_that_is_away_keeps_no_moved_session_from_being_used(swarm: Stores) -> None:
    first = swarm.ids[0]
    with SyncSessionBridge(*swarm.both) as bridge:
        session = bridge.get_session(first)
        assert session is not None
        swarm.source.rename(swarm.source.with_name("away.db"))
        session.append_message("still here")
        assert [message.content for message in session.get_messages()] == [*swarm.contents(first), "still here"]
        with pytest.raises(StoreError):
            bridge.get_session(swarm.ids[1])
