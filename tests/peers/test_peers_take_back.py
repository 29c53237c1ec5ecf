"""What was taken back is read by the real V1, and what was moved again by the real V2 and v3."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.peers import environments
from tests.peers.environments import HERE, Peer
from tests.peers.swarm import SwarmV1, SwarmV2
from tests.support.made import make_synth_v2
from tests.support.moved import change, query
from tests.support.swarm_bridge import Scripted
from tests.support.taken_back import Answer, ledger, take_back
from tests.support.warm import Warm, warm

from sessionlift._demo import Dress, make_langswarm
from sessionlift.bridge.langswarm import SyncSessionBridge

pytestmark = pytest.mark.peers

ZONE = ("--timezone", "Europe/Berlin")
REAL_SWARM = ("v1_small.db", "v1_corrupt.db", "v1_mem.json")
MADE_SWARM = ("sqlite", "dump", "enhanced")
REAL_SYNTH = ("small", "small_mid", "partial", "w_1.0.0", "crash_1.1.3", "crash_1.5.6")
MADE_SYNTH: tuple[Dress, ...] = ("final", "mid", "mixed")


@pytest.fixture(scope="module")
def sessionlift() -> Iterator[Warm]:
    with warm() as server:
        yield server


def done(sessionlift: Warm, *arguments: object) -> None:
    outcome = sessionlift(*arguments)
    assert outcome.code in (0, 1), outcome.err


def gone_for_good(store: Path) -> None:
    for path in store.parent.glob(f"{store.name}*"):
        path.unlink()


# --- LangSwarm ------------------------------------------------------------------------------------------------


@pytest.fixture(params=[*REAL_SWARM, *MADE_SWARM])
def v1_store(request: pytest.FixtureRequest, tmp_path: Path, swarm_v1: SwarmV1) -> tuple[Path, dict[str, Any]]:
    """A V1 store in each dress, and what the real V1 says of every session: None where it cannot read it."""
    source = tmp_path / "source" / "v1"
    source.parent.mkdir()
    if request.param in REAL_SWARM:
        shutil.copyfile(request.getfixturevalue("real_stores") / "langswarm" / request.param, source)
    else:
        made = make_langswarm(source, dress=request.param, sessions=60, seed=21, traps="all")
    if request.param in ("dump", "enhanced"):
        return source, made.truth
    if request.param.endswith(".json"):
        return source, json.loads(source.read_text())
    return source, {key: found["session"] for key, found in swarm_v1.read(source).items()}


def test_v1_reads_what_came_back_and_v2_what_was_moved_again(
    sessionlift: Warm, v1_store: tuple[Path, dict[str, Any]], swarm_v1: SwarmV1, swarm_v2: SwarmV2, tmp_path: Path
) -> None:
    (source, truth), target, new = v1_store, tmp_path / "v2.db", tmp_path / "new.db"
    done(sessionlift, "migrate", source, target, "--quiet", *ZONE)
    moved = swarm_v2.read(target)
    gone_for_good(source)
    assert take_back(sessionlift, target, "--all", "--to", new).counts[2] == 0
    found = swarm_v1.read(new)
    assert found.keys() == truth.keys()
    for key, session in truth.items():
        assert json.dumps(found[key]["session"]) == json.dumps(session), key
    assert swarm_v2.read(target) == {}
    done(sessionlift, "migrate", new, target, "--quiet", *ZONE)
    assert json.dumps(swarm_v2.read(target), sort_keys=True) == json.dumps(moved, sort_keys=True)


def facts(answer: Answer) -> dict[tuple[str, str], int]:
    return {pair: count for pair, count in answer.facts.items() if pair[0].startswith("carried_")}


def test_what_the_bridge_wrote_after_the_move_is_shown_by_v1(
    sessionlift: Warm, swarm_v1: SwarmV1, swarm_v2: SwarmV2, tmp_path: Path
) -> None:
    source, target = tmp_path / "v1.db", tmp_path / "v2.db"
    swarm_v1.ask(
        source,
        *(
            {"do": "create", "user_id": "ann", "provider": "claude", "model": "opus", "session_id": key}
            for key in ("talk", "cut", "tuned", "still")
        ),
        *(
            {"do": "add", "session_id": key, "role": role, "content": f"{role} of {key}"}
            for key in ("talk", "cut", "tuned", "still")
            for role in ("system", "user", "assistant")
        ),
    )
    before = swarm_v1.read(source)
    with SyncSessionBridge(str(source), str(target), providers={"*": Scripted("sure", tokens=9)}) as bridge:
        sessions = {key: bridge.get_session(key) for key in ("talk", "cut", "tuned", "still")}
        talk, tuned = sessions["talk"], sessions["tuned"]
        assert talk is not None
        assert tuned is not None
        talk.send_message("one", mood="calm")
        talk.append_message("two \0 ünï", "tool", tool_call_id="call_7")
        talk.add_system_message("three")
        tuned.update_context(provider_session_id="thread_9", temperature=0.5, status="paused", model="sonnet")
    change(target, "DELETE FROM session_messages WHERE session_id = 'cut' AND role = 'user'")
    moved = swarm_v2.read(target)

    answer = take_back(sessionlift, target, "--all")
    assert answer.code == 0, answer.report["errors"]
    assert facts(answer) == {
        ("carried_added", "messages"): 4,
        ("carried_deleted", "messages"): 1,
        ("carried_changed", "sessions"): 3,
    }
    assert {key: line["found"] for key, line in answer.sessions.items()} == {
        **dict.fromkeys(("talk", "cut", "tuned"), "changed"),
        "still": "unchanged",
    }
    after = swarm_v1.read(source)
    assert after["still"] == before["still"]
    history = after["talk"]["session"]["history"]["messages"]
    assert history[:3] == before["talk"]["session"]["history"]["messages"]
    assert [(each["role"], each["content"]) for each in history[3:]] == [
        ("user", "one"),
        ("assistant", "sure"),
        ("tool", "two \0 ünï"),
        ("system", "three"),
    ]
    assert history[3]["metadata"] == {"mood": "calm"}
    assert history[5]["tool_call_id"] == "call_7"
    cut = after["cut"]["session"]["history"]["messages"]
    assert [each["content"] for each in cut] == ["system of cut", "assistant of cut"]
    metadata = after["tuned"]["session"]["metadata"]
    assert (metadata["model"], metadata["status"]) == ("sonnet", "inactive")
    assert "thread_9" in (metadata["provider_thread_id"], metadata["provider_conversation_id"])
    assert after["tuned"]["session"]["history"] == before["tuned"]["session"]["history"]
    assert set(ledger(target).values()) == {"rolled_back"}

    # the old program goes on, and the next move finds its work behind ours
    swarm_v1.ask(source, {"do": "add", "session_id": "talk", "role": "user", "content": "from V1"})
    done(sessionlift, "migrate", source, target, "--quiet")
    again = swarm_v2.read(target)
    *kept, last = again["talk"]["messages"]
    assert json.dumps(kept) == json.dumps(moved["talk"]["messages"]), "their token counts, too"
    assert last["content"] == "from V1"
    for key in ("cut", "tuned", "still"):
        assert json.dumps(again[key]["messages"]) == json.dumps(moved[key]["messages"]), key
        assert again[key]["context"] == moved[key]["context"], key


def test_what_the_real_v2_wrote_after_the_move_is_shown_by_v1(
    sessionlift: Warm, swarm_v1: SwarmV1, swarm_v2: SwarmV2, tmp_path: Path
) -> None:
    source, target = tmp_path / "v1.db", tmp_path / "v2.db"
    said = [("system", "be brief"), ("user", "hello"), ("assistant", "hi"), ("user", ""), ("tool", "42 \0 ünï")]
    swarm_v1.ask(
        source,
        {"do": "create", "user_id": "ann", "provider": "openai", "model": "gpt-4o", "session_id": "s"},
        *({"do": "add", "session_id": "s", "role": role, "content": content} for role, content in said),
    )
    done(sessionlift, "migrate", source, target, "--quiet")
    swarm_v2.answers(
        target,
        {"do": "update", "session_id": "s", "changes": {"max_messages": 6, "mood": "bright"}, "manager": "one"},
        {"do": "send", "session_id": "s", "content": "local", "manager": "one"},
        {"do": "create", "user_id": "bob", "provider": "openai", "model": "gpt-5", "session_id": "begun",
         "backend": "local_sqlite", "manager": "one"},
        {"do": "send", "session_id": "begun", "content": "begun in V2", "manager": "one", "mend": False},
    )  # fmt: skip
    moved = swarm_v2.read(target)
    answer = take_back(sessionlift, target, "--all")
    assert answer.code == 0, answer.report["errors"]
    found = swarm_v1.read(source)
    history = found["s"]["session"]["history"]["messages"]
    assert [(each["role"], each["content"]) for each in history] == [*said, ("user", "local")]
    begun = found["begun"]["session"]
    assert [each["content"] for each in begun["history"]["messages"]] == ["begun in V2"]
    assert (begun["metadata"]["user_id"], begun["metadata"]["model"]) == ("bob", "gpt-5")
    done(sessionlift, "migrate", source, target, "--quiet")
    again = swarm_v2.read(target)
    for key in ("s", "begun"):
        assert json.dumps(again[key]["messages"]) == json.dumps(moved[key]["messages"]), key
        assert again[key]["context"] == moved[key]["context"], key


# --- Synth-AI -------------------------------------------------------------------------------------------------


@pytest.fixture(params=[*REAL_SYNTH, *(f"made-{dress}" for dress in MADE_SYNTH)])
def v2_store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A trace store in each dress."""
    source = tmp_path / "source" / "v2.duckdb"
    source.parent.mkdir()
    for dress in MADE_SYNTH:
        if request.param == f"made-{dress}":
            make_synth_v2(source, sessions=40, seed=5, dress=dress)
            return source
    for end in ("", ".wal"):
        path = request.getfixturevalue("real_stores") / "synth" / f"{request.param}.duckdb{end}"
        if path.exists():
            shutil.copyfile(path, f"{source}{end}")
    return source


def read(peer: Peer, target: Path, folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    found = peer.read(target, folder)
    sessions = {key: without_own_ids(line) for key, line in sorted(found.sessions.items())}
    return json.dumps([sorted(found.usage, key=repr), sessions], sort_keys=True)


def without_own_ids(line: dict[str, Any]) -> dict[str, Any]:
    """A session without the numbers that a v3 store gives by itself."""
    own = [{name: value for name, value in row.items() if name != "id"} for row in line["outcome_rewards"]]
    return {**line, "outcome_rewards": own}


def test_v3_reads_the_same_of_a_store_that_was_taken_back_and_moved_again(
    sessionlift: Warm, v2_store: Path, synth_0_2_16: Peer, synth_0_2_8: Peer, tmp_path: Path
) -> None:
    target, new, other = tmp_path / "v3.db", tmp_path / "new.duckdb", tmp_path / "other.db"
    done(sessionlift, "migrate", v2_store, target, "--quiet", *ZONE)
    first = [read(peer, target, tmp_path / "a") for peer in (synth_0_2_16, synth_0_2_8)]
    gone_for_good(v2_store)
    assert take_back(sessionlift, target, "--all", "--to", new).counts[2] == 0
    for again in (target, other):
        done(sessionlift, "migrate", new, again, "--quiet", *ZONE)
        assert [read(peer, again, tmp_path / "b") for peer in (synth_0_2_16, synth_0_2_8)] == first


def test_what_the_real_v3_wrote_after_the_move_goes_to_duckdb_and_comes_again(
    sessionlift: Warm, synth_0_2_16: Peer, tmp_path: Path
) -> None:
    source, target = tmp_path / "v2.duckdb", tmp_path / "v3.db"
    make_synth_v2(source, sessions=6, seed=5, traps="none")
    done(sessionlift, "migrate", source, target, "--quiet")
    one, gone = (key for (key,) in query(target, "SELECT session_id FROM session_traces ORDER BY 1 LIMIT 2"))
    script = str(HERE / "write_with_0_2_16.py")
    wrote = environments.run(synth_0_2_16.python, [script, str(target), one, gone], tmp_path)
    assert wrote.returncode == 0, wrote.stderr
    told = json.loads(wrote.stdout)
    assert told["deleted"]
    before = read(synth_0_2_16, target, tmp_path / "a")
    answer = take_back(sessionlift, target, "--all")
    assert answer.code == 0, answer.report["errors"]
    assert answer.facts["carried_added", "messages"] == 3
    assert answer.facts["carried_added", "session_timesteps"] == 1
    assert answer.facts["carried_deleted", "sessions"] == 1
    with duckdb.connect(str(source), read_only=True) as db:
        rows = db.execute(
            "SELECT id, content, event_time::VARCHAR FROM messages WHERE session_id = ? ORDER BY id DESC LIMIT 3", [one]
        ).fetchall()
        left = db.execute("SELECT count(*) FROM session_traces WHERE session_id = ?", [gone]).fetchall()
    assert [row[0] for row in reversed(rows)] == told["messages"]
    assert [json.loads(row[1]) for row in reversed(rows)] == ["said after the move", {"a": [1, 2.5]}, "ünï 東京"]
    assert rows[-1][2] == "2030-03-17 17:46:40.25"
    assert left == [(0,)]
    done(sessionlift, "migrate", source, target, "--quiet")
    assert read(synth_0_2_16, target, tmp_path / "b") == before
