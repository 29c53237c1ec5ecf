"""The real ``synth-ai filter`` makes training examples of a migrated store: messages come out as pairs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.peers import legacy
from tests.peers.environments import Peer
from tests.peers.legacy import Message, Session
from tests.support.made import make_synth_v2

pytestmark = pytest.mark.peers

Move = Callable[[Path], tuple[Path, Path]]


@pytest.fixture(scope="module", params=["small", "small_mid", "made"])
def moved(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, move: Move
) -> tuple[dict[str, Session], Path]:
    if request.param == "made":
        path = tmp_path_factory.mktemp("made") / "v2.duckdb"
        make_synth_v2(path, sessions=60, seed=9, dress="mixed")
    else:
        path = request.getfixturevalue("real_stores") / "synth" / f"{request.param}.duckdb"
    legacy_copy, target = move(path)
    return legacy.read(legacy_copy), target


def stored(message: Message) -> str:
    """The content as a v3 row holds it, up to the NUL where this release stops reading."""
    return (message.content if message.text is None else message.text).split("\0")[0]


def heard(message: Message) -> Any:
    """What the command makes of a content: it parses whatever is JSON, and digs for text in objects."""
    try:
        value = json.loads(stored(message))
    except ValueError:
        value = stored(message)
    if isinstance(value, dict) and "content" in value:
        value = value["content"]
    return value if isinstance(value, list) else words(value)


def words(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    if isinstance(value.get("payload"), dict) and "content" in value["payload"]:
        return words(value["payload"]["content"])
    texts = (value.get(key) for key in ("text", "content", "content_text"))
    return next((text for text in texts if isinstance(text, str)), json.dumps(value))


def pairs(session: Session) -> list[tuple[Any, Any]]:
    """Every user message that says something, with the next answer after it."""
    found = []
    for place, message in enumerate(session.messages):
        if message.type == "user" and heard(message) != "":
            answer = next((m for m in session.messages[place + 1 :] if m.type == "assistant"), None)
            reply = "" if answer is None else heard(answer)
            found.append((heard(message), "[no response recorded]" if reply == "" else reply))
    return found


def test_messages_come_out_as_pairs(synth_0_2_16: Peer, moved: tuple[dict[str, Session], Path], tmp_path: Path) -> None:
    sessions, target = moved

    said: dict[str, list[tuple[Any, Any]]] = {key: [] for key in sessions}
    for example in synth_0_2_16.filter(target, tmp_path):
        user, assistant = (message["content"] for message in example["messages"])
        said[example["metadata"]["session_id"]].append((user, assistant))

    assert any(said.values())
    for key, session in sessions.items():
        assert said[key] == pairs(session), key


@pytest.mark.parametrize("key", ["env_name", "policy_name", "seed", "model"])
def test_examples_carry_the_metadata_that_one_source_gives(
    synth_0_2_16: Peer, moved: tuple[dict[str, Session], Path], tmp_path: Path, key: str
) -> None:
    sessions, target = moved

    for example in synth_0_2_16.filter(target, tmp_path):
        metadata = example["metadata"]
        assert metadata[key] == sessions[metadata["session_id"]].lifted(key), metadata["session_id"]


def test_a_split_picks_its_sessions(synth_0_2_16: Peer, tmp_path: Path, move: Move) -> None:
    legacy_copy, target = move(make_synth_v2(tmp_path / "v2.duckdb", sessions=60, seed=3).path)
    sessions = legacy.read(legacy_copy)

    examples = synth_0_2_16.filter(target, tmp_path, splits=["test"])

    picked = {example["metadata"]["session_id"] for example in examples}
    tests = {key for key, session in sessions.items() if session.lifted("task_split") == "test"}
    assert picked
    assert picked <= tests
    assert {key for key in tests if pairs(sessions[key])} <= picked


def test_a_score_bound_reads_the_derived_outcome(synth_0_2_16: Peer, tmp_path: Path, move: Move) -> None:
    legacy_copy, target = move(make_synth_v2(tmp_path / "v2.duckdb", sessions=60, seed=4).path)
    sessions = legacy.read(legacy_copy)

    examples = synth_0_2_16.filter(target, tmp_path, min_official_score=4.5)

    assert examples
    for example in examples:
        metadata = example["metadata"]
        results = [
            item["data"]
            for item in sessions[metadata["session_id"]].metadata
            if item["metadata_type"] == "episode_results"
        ]
        assert metadata["total_reward"] == results[0]["total_reward"] >= 4.5
