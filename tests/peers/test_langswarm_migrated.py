"""The real V2 answers for moved sessions with what the real V1 answered, and goes on with them.

What V2 should say is written here a second time, from the rules of the migration; nothing of the converter.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.peers.swarm import SwarmV2

from sessionlift._demo import make_langswarm
from sessionlift.runs import SessionMover, TransferOptions

pytestmark = pytest.mark.peers

ZONE = "Europe/Berlin"
REAL = ("v1_small.db", "v1_corrupt.db")
MADE = ("sqlite", "dump", "enhanced")
PROVIDERS = {"gpt": "openai", "claude": "anthropic"}
KNOWN = {"openai", "anthropic", "gemini", "mistral", "cohere"}
SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Moved:
    """A moved store: the target, what V1 answers by key, and what V2 says of each session."""

    target: Path
    truth: dict[str, Any]
    read: dict[str, Any]

    def sessions(self) -> Iterator[tuple[str, Any, Any]]:
        for key, session in self.truth.items():
            yield key, session, self.read[key]

    def messages(self) -> Iterator[tuple[tuple[str, int], Any, Any]]:
        for key, session, found in self.sessions():
            assert len(found["messages"]) == len(session["history"]["messages"]), key
            for at, pair in enumerate(zip(session["history"]["messages"], found["messages"], strict=True)):
                yield (key, at), *pair


@pytest.fixture(scope="module", params=[*REAL, *MADE])
def moved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, swarm_v2: SwarmV2) -> Moved:
    """Each V1 store, moved session by session, as the real V2 reads it."""
    folder = tmp_path_factory.mktemp("moved")
    if request.param in REAL:
        real: Path = request.getfixturevalue("real_stores") / "langswarm"
        source = folder / request.param
        shutil.copyfile(real / request.param, source)
        lines = [json.loads(line) for line in (real / f"{request.param}.truth.jsonl").read_text().splitlines()]
        truth = {line["sid"]: line["session"] for line in lines if line["v1_loadable"]}
        keys = [line["sid"] for line in lines]
    else:
        made = make_langswarm(folder / "legacy", dress=request.param, sessions=90, seed=21, traps="all")
        source, truth = made.path, made.truth
        keys = [*made.truth, *made.unreadable]
    with SessionMover(str(source), str(folder / "v2.db"), TransferOptions(timezone=ZONE)) as mover:
        states = {key: mover.move(key).state for key in keys}
    assert {key for key, state in states.items() if state == "moved"} == truth.keys(), states
    return Moved(folder / "v2.db", truth, swarm_v2.read(folder / "v2.db"))


def text(value: Any) -> str:
    if isinstance(value, str):
        return SURROGATES.sub("\ufffd", value)
    return "" if value is None else json.dumps(value)


def same(left: Any, right: Any) -> bool:
    # through text: NaN is not equal to itself, and the order of keys counts
    return json.dumps(left) == json.dumps(right)


def utc(spelled: str) -> datetime:
    moment = datetime.fromisoformat(spelled)
    try:
        aware = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(ZONE))
        return aware.astimezone(ZoneInfo("UTC")).replace(tzinfo=None)
    except OverflowError:
        return datetime.min if moment.year == 1 else datetime.max


def test_every_readable_session_is_there_and_none_besides(moved: Moved) -> None:
    assert moved.read.keys() == moved.truth.keys()
    assert all(moved.read.values())


def test_messages_keep_id_role_order_and_content(moved: Moved) -> None:
    for where, was, found in moved.messages():
        for name, wanted in (("id", text(was["id"])), ("role", was["role"]), ("content", text(was["content"]))):
            assert found[name] == wanted, (where, name)
        given = was["provider_message_id"]
        assert found["provider_message_id"] == (None if given is None else text(given)), where
        assert found["token_count"] is None, where
        assert found["finish_reason"] is None, where


def test_what_had_to_change_in_a_message_lies_beside_it(moved: Moved) -> None:
    for where, was, found in moved.messages():
        ours = found["metadata"]["sessionlift"]
        assert datetime.fromisoformat(ours["timestamp"]).isoformat() == was["timestamp"], where
        if not isinstance(was["content"], str) or SURROGATES.search(was["content"]):
            assert same(ours["content"], was["content"]), where


def test_metadata_and_tool_calls_are_in_the_metadata_of_the_message(moved: Moved) -> None:
    mine = {"tool_calls", "tool_call_id", "sessionlift"}
    for where, was, found in moved.messages():
        said = dict(found["metadata"])
        ours = said.pop("sessionlift")
        for name in ("tool_calls", "tool_call_id"):
            assert same(said.pop(name, None), was[name]), (where, name)
        if not isinstance(was["metadata"], dict) or was["metadata"].keys() & mine:
            assert not said, where
            assert same(ours["metadata"], was["metadata"]), where
        else:
            assert same(said, was["metadata"]), where


def test_times_are_utc_and_rise_with_the_order(moved: Moved) -> None:
    last: tuple[str, datetime] = ("", datetime.min)
    for (key, at), was, found in moved.messages():
        before = last[1] if last[0] == key else None
        moment = datetime.fromisoformat(found["timestamp"])
        wanted = utc(was["timestamp"])
        if before is not None and wanted <= before:
            wanted = before + timedelta(microseconds=1)
        assert moment == wanted, ((key, at), was["timestamp"])
        last = (key, moment)


def test_a_session_keeps_its_user_model_and_provider(moved: Moved) -> None:
    for key, was, found in moved.sessions():
        context, metadata = found["context"], was["metadata"]
        assert context["session_id"] == key
        assert context["user_id"] == text(metadata["user_id"]), key
        assert context["model"] == text(metadata["model"]), key
        lower = PROVIDERS.get(metadata["provider"].lower(), metadata["provider"].lower())
        assert context["provider"] == (lower if lower in KNOWN else metadata["provider"]), key
        assert context["max_messages"] > len(found["messages"]), key
        assert found["metrics"]["message_count"] == len(found["messages"]), key


def test_everything_that_v2_has_no_place_for_is_in_the_provider_context(moved: Moved) -> None:
    times = {"created_at", "updated_at", "last_activity"}
    for key, was, found in moved.sessions():
        kept = found["context"]["provider_context"]
        for name, value in was["metadata"].items():
            if name in ("user_id", "session_id", "model"):
                continue
            if name not in kept:
                assert value in (None, [], {}, True, 0), (key, name)  # absent in V1 too: what it answers by default
            elif name in times:
                assert (datetime.fromisoformat(kept[name]).isoformat() if kept[name] else None) == value, (key, name)
            else:
                assert same(kept[name], value), (key, name)
        assert same(kept.get("summary"), was["history"]["summary"]), key
        assert same(kept.get("history_total_tokens", 0), was["history"]["total_tokens"]), key


def test_the_next_send_is_stored_behind_the_moved_history(moved: Moved, swarm_v2: SwarmV2, tmp_path: Path) -> None:
    target = tmp_path / "v2.db"
    shutil.copyfile(moved.target, target)
    # a new message sorts before those of the future: the report says so
    past = [
        key
        for key, _, found in moved.sessions()
        if all(datetime.fromisoformat(one["timestamp"]) < datetime.now() for one in found["messages"])
    ]
    assert past
    swarm_v2.answers(target, *({"do": "send", "session_id": key, "content": "and now?"} for key in past))
    again = swarm_v2.read(target)
    for key in past:
        *history, new = again[key]["messages"]
        assert same(history, moved.read[key]["messages"]), key
        assert (new["role"], new["content"]) == ("user", "and now?"), key
        assert same(again[key]["context"], moved.read[key]["context"]), key
