"""The bridge between the real programs: V1 writes, the bridge moves, V2 goes on, and both APIs tell the same story."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.peers.swarm import Swarm, SwarmV1, SwarmV2
from tests.support.servers import REPOSITORY
from tests.support.swarm_bridge import Scripted

from sessionlift.bridge.langswarm import LegacyApi, SessionBackend, SyncSessionBridge

pytestmark = pytest.mark.peers

SAID = [["user", "one"], ["assistant", "two"], ["system", "three"], ["user", ""], ["tool", "42 \0 ünï 東京"]]


@pytest.fixture
def stores(swarm_v1: SwarmV1, tmp_path: Path) -> tuple[str, str]:
    """A store that the real V1 has written: session ``s`` of ann, with the messages of SAID."""
    source = tmp_path / "v1.db"
    swarm_v1.ask(
        source,
        {"do": "create", "user_id": "ann", "provider": "claude", "model": "opus", "session_id": "s"},
        *({"do": "add", "session_id": "s", "role": role, "content": content} for role, content in SAID),
    )
    return str(source), str(tmp_path / "v2.db")


def in_one_process(swarm: Swarm, version: str, stores: tuple[str, str]) -> dict[str, Any]:
    (packages,) = swarm.python.parent.parent.glob("lib/python*/site-packages")
    path = os.pathsep.join([str(REPOSITORY / "src"), str(packages)])
    script = Path(__file__).with_name("bridge_beside_langswarm.py")
    done = subprocess.run(
        [sys.executable, str(script), version, *stores, "s"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index('{"') :])
    return found


def test_v1_writes_the_bridge_moves_v2_goes_on_and_the_old_api_reads(
    stores: tuple[str, str], swarm_v2: SwarmV2
) -> None:
    target = Path(stores[1])
    with SyncSessionBridge(*stores, providers={"*": Scripted("sure")}) as bridge:
        session = bridge.get_session("s")
        assert session is not None
        session.send_message("to the bridge")
    done = swarm_v2.answers(target, {"do": "send", "session_id": "s", "content": "to the real V2"})
    assert done[0]["before"] == len(SAID) + 2
    wanted = [*SAID, ["user", "to the bridge"], ["assistant", "sure"], ["user", "to the real V2"]]
    with LegacyApi(*stores) as api:
        ported = api.get_session("s")
        assert ported is not None
        assert [[m.role.value, m.content] for m in ported.get_messages()] == wanted
        assert (ported.provider, ported.model, ported.message_count) == ("claude", "opus", len(wanted))
        ported.add_message("from the old side", "user")
    messages = swarm_v2.answers(target, {"do": "get", "session_id": "s"})[0]
    assert [[m["role"], m["content"]] for m in messages] == [*wanted, ["user", "from the old side"]]


def test_the_real_v2_reads_what_the_bridge_writes(stores: tuple[str, str], swarm_v2: SwarmV2) -> None:
    with SyncSessionBridge(*stores, providers={"*": Scripted("sure", tokens=9)}) as bridge:
        made = bridge.create_session("bob", "openai", "gpt-4o", session_id="n", team="blue", max_messages=5)
        made.send_message("hello", lang="en", nan=float("nan"))
        made.add_system_message("be brief")
        made.update_context(model="gpt-5", provider_context={"deep": [1, {"a": None}]})
        made.archive()
        shown = made.get_messages()
        context, metrics = made.context, made.metrics
    found = swarm_v2.read(Path(stores[1]))["n"]
    for ours, theirs in zip(shown, found["messages"], strict=True):
        assert theirs["id"] == ours.id
        assert theirs["content"] == ours.content
        assert theirs["timestamp"] == ours.timestamp.isoformat()
        assert json.dumps(theirs["metadata"]) == json.dumps(ours.metadata)
        assert (theirs["token_count"], theirs["finish_reason"]) == (ours.token_count, ours.finish_reason)
    assert found["context"] == {**vars(context), "backend": SessionBackend.LOCAL_SQLITE.value}
    assert found["context"]["provider_context"] == {"status": "archived", "team": "blue", "deep": [1, {"a": None}]}
    assert (found["metrics"]["message_count"], found["metrics"]["total_tokens"]) == (3, 9)
    assert metrics.created_at is not None
    assert found["metrics"]["created_at"] == metrics.created_at.isoformat()
    assert swarm_v2.answers(Path(stores[1]), {"do": "list", "user_id": "bob"}) == [["n"]]


def test_a_session_that_the_real_v2_begins_is_used_by_both_apis(stores: tuple[str, str], swarm_v2: SwarmV2) -> None:
    target = Path(stores[1])
    with SyncSessionBridge(*stores):
        pass  # the target is there
    swarm_v2.answers(
        target,
        {"do": "create", "user_id": "eve", "provider": "openai", "model": "gpt-4o", "session_id": "v2",
         "backend": "local_sqlite", "manager": "one"},
        {"do": "send", "session_id": "v2", "content": "begun by V2", "manager": "one", "mend": False},
    )  # fmt: skip
    with SyncSessionBridge(*stores) as new, LegacyApi.beside(new) as old:
        modern, ported = new.get_session("v2"), old.get_session("v2")
        assert modern is not None
        assert ported is not None
        assert (
            [m.content for m in modern.get_messages()] == [m.content for m in ported.get_messages()] == ["begun by V2"]
        )
        assert {s.session_id for s in new.list_user_sessions("eve")} == {"v2"}
        assert [m.session_id for m in old.list_sessions("eve")] == ["v2"]


def test_a_session_that_the_real_v2_deletes_does_not_come_back(stores: tuple[str, str], swarm_v2: SwarmV2) -> None:
    with SyncSessionBridge(*stores) as bridge:
        assert bridge.get_session("s") is not None
        swarm_v2.answers(Path(stores[1]), {"do": "delete", "session_id": "s"})
        assert bridge.get_session("s") is None
        assert bridge.list_user_sessions("ann") == []


def test_the_applications_own_v2_in_one_process(stores: tuple[str, str], swarm_v2: SwarmV2) -> None:
    told = in_one_process(swarm_v2, "v2", stores)
    assert told["is_real"] and told["same"] and told["backend"] and told["refreshed"]  # noqa: PT018
    assert told["moved"] == SAID
    after = [*SAID, ["user", "by the real V2"], ["user", "and again"]]
    assert told["seen_by_another"] == after
    assert told["end"] == told["reloaded"] == [*after, ["user", "by another bridge"], ["user", "after the other"]]
    assert (told["archived"], told["status"]) == (True, "archived")
    assert told["made"] == [True, {"status": "active", "team": "blue"}]
    assert told["context"] == ["bright", 4_321], "what another process changed without a message is seen"
    assert told["absent"] is None
    assert told["listed"] == ["s", "made"], "the last used first"
    assert told["deleted"] == [True, None]
    assert told["logged"] == []


def test_the_applications_own_v1_writes_what_the_rollout_leaves_to_it(
    stores: tuple[str, str], swarm_v1: SwarmV1
) -> None:
    told = in_one_process(swarm_v1, "v1", stores)
    assert told["before"] == SAID
    assert told["after"] == [*SAID, ["tool", "a tool says"]]
    assert told["status"] == "paused"
    last = told["loaded"]["history"]["messages"][-1]
    assert (last["tool_call_id"], last["metadata"]) == ("call_1", {"k": 1})
    assert told["loaded"]["metadata"]["status"] == "inactive"
    assert told["loaded"]["metadata"]["custom_metadata"] == {"colour": "red"}
