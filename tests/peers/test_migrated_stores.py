"""After a migration, the real readers say what the legacy store said: session by session, row by row."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from tests.peers import legacy
from tests.peers.environments import Peer, Reading
from tests.peers.legacy import Session
from tests.support.made import make_synth_v2

from sessionlift._demo import Dress

pytestmark = pytest.mark.peers

REAL = ("small", "small_mid", "partial", "w_1.0.0", "crash_1.1.3", "crash_1.5.6")
MADE: tuple[Dress, ...] = ("final", "mid", "mixed")

# The NUL in a message is where the driver of 0.2.16 stops reading; the row holds all of it.
CUTS_AT_NUL = ("0.2.16",)


@dataclass(frozen=True)
class Moved:
    sessions: dict[str, Session]
    target: Path


@pytest.fixture(scope="module", params=[*REAL, *(f"made-{dress}" for dress in MADE)])
def moved(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    move: Callable[[Path], tuple[Path, Path]],
) -> Moved:
    """Each legacy store, after our command line has moved it: what it says, and where the target is."""
    name: str = request.param
    if name.startswith("made-"):
        path = tmp_path_factory.mktemp("made") / "v2.duckdb"
        dress = next(dress for dress in MADE if name == f"made-{dress}")
        make_synth_v2(path, sessions=120, seed=5, dress=dress)
    else:
        path = request.getfixturevalue("real_stores") / "synth" / f"{name}.duckdb"
    legacy_copy, target = move(path)
    return Moved(legacy.read(legacy_copy), target)


@pytest.fixture(scope="module")
def reading(peer: Peer, moved: Moved, tmp_path_factory: pytest.TempPathFactory) -> Reading:
    return peer.read(moved.target, tmp_path_factory.mktemp("reading"))


def decoded(peer: Peer, value: Any) -> Any:
    """A JSON column as the release gives it, in Python values."""
    return value if peer.decodes or value is None else json.loads(value)


def instant(text: str | None) -> datetime | None:
    """A date as the releases give it; the one without an offset is UTC by their own rule."""
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def seconds(moment: datetime | None) -> Any:
    return None if moment is None else pytest.approx(moment.replace(tzinfo=timezone.utc).timestamp(), abs=1e-6)


def same_json(left: Any, right: Any) -> bool:
    # through text: NaN is not equal to itself
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def test_every_session_is_there_and_none_besides(moved: Moved, reading: Reading) -> None:
    assert reading.sessions.keys() == moved.sessions.keys()


def test_sessions_keep_their_date_counters_and_experiment(moved: Moved, reading: Reading) -> None:
    for key, session in moved.sessions.items():
        found = reading.sessions[key]
        trace = found["trace"]
        counters = (trace["num_timesteps"], trace["num_events"], trace["num_messages"])
        assert instant(trace["created_at"]) == session.created_at, key
        assert counters == session.counters, key
        assert found["experiment_id"] == session.experiment_id, key


def test_session_metadata_is_an_object_that_holds_every_item(moved: Moved, reading: Reading) -> None:
    for key, session in moved.sessions.items():
        metadata = reading.sessions[key]["trace"]["metadata"]
        assert isinstance(metadata, dict), key
        held = [item for value in metadata.values() for item in (value if isinstance(value, list) else [value])]
        for item in session.metadata:
            assert any(same_json(item["data"], value) for value in [*held, *metadata.values()]), (key, item)


def test_session_metadata_of_the_final_dress_is_found_by_its_type(moved: Moved, reading: Reading) -> None:
    for key, session in moved.sessions.items():
        metadata = reading.sessions[key]["trace"]["metadata"]
        by_type: dict[str, list[Any]] = defaultdict(list)
        for item in session.metadata:
            by_type[item["metadata_type"]].append(item["data"])
        by_type.pop("SessionMetadum", None)  # the older dress lost the types
        for kind, items in by_type.items():
            assert same_json(metadata[kind], items[0] if len(items) == 1 else items), (key, kind)


def test_steps_come_in_order_with_their_dates(moved: Moved, reading: Reading) -> None:
    for key, session in moved.sessions.items():
        steps = reading.sessions[key]["trace"]["timesteps"]
        assert [(s["step_id"], s["step_index"]) for s in steps] == [
            (s["step_id"], s["step_index"]) for s in session.timesteps
        ], key
        for found, step in zip(steps, session.timesteps, strict=True):
            recorded = json.loads(step["step_metadata"] or "null") or {}
            assert instant(found["started_at"]) == step["timestamp"].replace(tzinfo=timezone.utc), key
            assert found["turn_number"] == recorded.get("turn_number", step["step_index"]), key
            assert found["metadata"].items() >= recorded.items(), key


PLAIN_EVENT_COLUMNS = {
    "id": "id",
    "system_instance_id": "system_instance_id",
    "message_time": "message_time",
    "span_id": "span_id",
    "trace_id": "trace_id",
    "model_name": "model_name",
    "provider": "provider",
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "total_tokens": "total_tokens",
    "latency_ms": "latency_ms",
    "reward": "reward",
    "terminated": "terminated",
}


def test_events_keep_id_order_and_plain_values(moved: Moved, reading: Reading) -> None:
    for key, session in moved.sessions.items():
        events = reading.sessions[key]["events"]
        assert [e["id"] for e in events] == [e["id"] for e in session.events], key
        for found, event in zip(events, session.events, strict=True):
            where = (key, event["id"])
            for old, new in PLAIN_EVENT_COLUMNS.items():
                assert found[new] == event[old], (*where, new)
            assert found["event_type"] == event["event_type"].replace("lmcais", "cais"), where
            assert found["event_time"] == seconds(event["event_time"]), where


def test_costs_are_cents_to_the_last_fraction(moved: Moved, reading: Reading) -> None:
    for key, session in moved.sessions.items():
        for found, event in zip(reading.sessions[key]["events"], session.events, strict=True):
            assert found["cost_usd"] == legacy.cents(event["cost"]), (key, event["id"])


def test_states_and_metadata_of_events_are_the_same_json(peer: Peer, moved: Moved, reading: Reading) -> None:
    for key, session in moved.sessions.items():
        for found, event in zip(reading.sessions[key]["events"], session.events, strict=True):
            where = (key, event["id"])
            for column in ("system_state_before", "system_state_after", "event_metadata"):
                wanted = json.loads(event[column] or "null")
                assert same_json(decoded(peer, found[column]), wanted), (*where, column)
            metadata = decoded(peer, found["metadata"]) or {}
            for name, value in (json.loads(event["metadata"] or "null") or {}).items():
                assert same_json(metadata[name], value), (*where, name)


def test_events_belong_to_a_step_of_their_own_session(moved: Moved, reading: Reading) -> None:
    for key, session in moved.sessions.items():
        steps = {step["id"]: step for step in session.timesteps}
        counts: dict[int, int] = defaultdict(int)
        for found in reading.sessions[key]["events"]:
            if found["timestep_id"] is not None:
                counts[int(found["timestep_id"])] += 1
        if sum(step["num_events"] for step in steps.values()) == len(session.events):
            wanted = {number: step["num_events"] for number, step in steps.items() if step["num_events"]}
            assert counts == wanted, key
        else:
            assert not counts, key


def test_no_message_is_dropped_and_each_keeps_id_order_and_type(peer: Peer, moved: Moved, reading: Reading) -> None:
    for key, session in moved.sessions.items():
        messages = reading.sessions[key]["messages"]
        assert [m["id"] for m in messages] == [m.id for m in session.messages], key
        for found, message in zip(messages, session.messages, strict=True):
            where = (key, message.id)
            assert found["message_type"] == message.type, where
            assert found["message_time"] == message.message_time, where
            assert instant(found["timestamp"]) == message.timestamp, where
            assert found["event_time"] == seconds(message.event_time), where
            if message.type != message.original_type:
                assert message.original_type in json.dumps(decoded(peer, found["metadata"])), where


def test_contents_of_messages_are_the_same(peer: Peer, moved: Moved, reading: Reading) -> None:
    for key, session in moved.sessions.items():
        for found, message in zip(reading.sessions[key]["messages"], session.messages, strict=True):
            text = message.text
            if text is None:
                assert legacy.tokens(found["content"]) == legacy.tokens(message.content), (key, message.id)
            elif peer.version in CUTS_AT_NUL:
                assert found["content"] == text.split("\0")[0], (key, message.id)
            else:
                assert found["content"] == text, (key, message.id)


def test_rewards_are_those_that_the_real_program_would_have_written(moved: Moved, reading: Reading) -> None:
    for key, session in moved.sessions.items():
        found = reading.sessions[key]
        rewards = [(int(reward["event_id"]), reward["reward_value"]) for reward in found["event_rewards"]]
        assert rewards == session.rewards, key
        assert {(r["reward_type"], r["source"]) for r in found["event_rewards"]} <= {("sparse", "environment")}
        results = [item["data"] for item in session.metadata if item["metadata_type"] == "episode_results"]
        totals = [reward["total_reward"] for reward in found["outcome_rewards"]]
        if len(results) == 1:
            assert totals == [results[0]["total_reward"]], key


def test_model_usage_adds_up(moved: Moved, reading: Reading) -> None:
    wanted: dict[tuple[str, str | None], list[float]] = defaultdict(lambda: [0, 0, 0, 0, 0.0])
    for session in moved.sessions.values():
        for event in session.events:
            if event["event_type"].endswith("cais") and event["model_name"] is not None:
                row = wanted[event["model_name"], event["provider"]]
                columns = ("prompt_tokens", "completion_tokens", "total_tokens", "cost")
                for place, value in enumerate([1, *(event[column] or 0 for column in columns)]):
                    row[place] += value

    sums = ("usage_count", "total_input_tokens", "total_output_tokens", "total_tokens", "total_cost_usd")
    found = {(row["model_name"], row["provider"]): [row[name] or 0 for name in sums] for row in reading.usage}
    assert found == {key: pytest.approx(row, rel=1e-9) for key, row in wanted.items()}
