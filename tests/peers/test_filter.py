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

from sessionlift._demo import make_synth_v2

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


def plain(message: Message) -> str | None:
    """The content where the command hands it on as it is: text that is not JSON, and holds no NUL."""
    text = message.text
    if not text or "\0" in text:
        return None
    try:
        json.loads(text)
    except ValueError:
        return text
    return None


def pairs(session: Session) -> list[tuple[str, str]]:
    """Every plain user message with the next assistant's, where that is plain too."""
    found = []
    for place, message in enumerate(session.messages):
        answer = next((m for m in session.messages[place + 1 :] if m.type == "assistant"), None)
        if message.type == "user" and answer is not None:
            question, reply = plain(message), plain(answer)
            if question is not None and reply is not None:
                found.append((question, reply))
    return found


def test_messages_come_out_as_pairs(
    synth_0_2_16: Peer, moved: tuple[dict[str, Session], Path], tmp_path: Path
) -> None:
    sessions, target = moved

    examples = synth_0_2_16.filter(target, tmp_path)

    said: dict[str, list[tuple[Any, Any]]] = {}
    for example in examples:
        user, assistant = (message["content"] for message in example["messages"])
        said.setdefault(example["metadata"]["session_id"], []).append((user, assistant))
    wanted = {key: pairs(session) for key, session in sessions.items()}
    assert sum(map(len, wanted.values())) > 0
    for key, expected in wanted.items():
        heard = iter(said.get(key, []))
        # each in its order; between them stand the pairs that are not plain text
        assert all(pair in heard for pair in expected), key


def test_every_user_message_with_text_makes_an_example(
    synth_0_2_16: Peer, moved: tuple[dict[str, Session], Path], tmp_path: Path
) -> None:
    sessions, target = moved
    questions = [m for s in sessions.values() for m in s.messages if m.type == "user"]
    # the command leaves out a question whose text is empty: "", and an object whose content is ""
    empty = [m for m in questions if m.text == "" or '"content": ""' in m.content or m.content == "[]"]

    assert len(synth_0_2_16.filter(target, tmp_path)) >= len(questions) - len(empty)


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
