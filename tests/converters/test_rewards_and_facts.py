"""What v3 gets that v2 did not have, and what a run tells of the source."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.synth_stores import LegacyStore, Row


def results(**data: Any) -> str:
    return json.dumps([{"metadata_type": "episode_results", "data": data}])


def test_an_environment_events_reward_is_derived_zero_included(legacy: LegacyStore) -> None:
    legacy.session(
        "s",
        timesteps=[{"step_index": 7, "num_events": 4}],
        events=[
            {"event_type": "environment", "reward": 0.0, "event_metadata": '{"hook":1}'},
            {"event_type": "environment", "reward": -1.5},
            {"event_type": "environment", "reward": None},
            {"event_type": "runtime", "reward": 1.0},
        ],
    )
    done = legacy.convert()
    first, second = done.tables["event_rewards"]
    event = done.tables["events"][0]
    assert first == {
        "id": event["id"],
        "event_id": event["id"],
        "session_id": "s",
        "message_id": None,
        "turn_number": 7,
        "reward_value": 0.0,
        "reward_type": "sparse",
        "key": None,
        "annotation": '{"hook":1}',
        "source": "environment",
        "created_at": event["created_at"],
    }
    assert (second["reward_value"], second["annotation"]) == (-1.5, None)
    assert done.derived == {"event_rewards": 2, "outcome_rewards": 1}


def test_a_reward_that_is_no_number_derives_nothing(legacy: LegacyStore) -> None:
    legacy.session("s", events=[{"event_type": "environment", "reward": float("nan")}])
    assert legacy.convert().derived == {"event_rewards": 0, "outcome_rewards": 0}


def test_a_reward_of_an_event_without_time_is_dated_by_its_session(legacy: LegacyStore) -> None:
    legacy.session("s", events=[{"event_type": "environment", "reward": 1.0, "event_time": None}])
    assert legacy.convert().one("event_rewards")["created_at"] == "2025-03-01T10:00:00.000000+00:00"


def test_the_outcome_comes_from_the_episodes_results(legacy: LegacyStore) -> None:
    metadata = results(
        total_reward=2.5,
        num_achievements=2,
        achievements={"a": True, "b": False, "c": True},
        rollout_length=40,
    )
    legacy.session("s", metadata=metadata, events=[{"event_type": "environment", "reward": 9.0}])
    row = legacy.convert().one("outcome_rewards")
    assert (row["total_reward"], row["achievements_count"], row["total_steps"]) == (2.5, 2, 40)
    assert row["created_at"] == "2025-03-01T10:00:00.000000+00:00"
    note = json.loads(row["reward_metadata"])
    assert note == {"achievements": ["a", "c"], "sessionlift": {"derived_from": "episode_results"}}


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"total_reward": 3}, (3, 0, 5)),
        ({"total_reward": 3, "achievements": {"a": True, "b": 0}}, (3, 1, 5)),
        ({"total_reward": 3, "achievements": ["a", "b", 1]}, (3, 2, 5)),
        ({"total_reward": 3, "num_achievements": "2", "rollout_length": -1}, (3, 0, 5)),
        ({"total_reward": 3, "num_achievements": True, "rollout_length": 2.5}, (3, 0, 5)),
        ({"total_reward": 2**53 + 1}, (2**53 + 1, 0, 5)),
    ],
)
def test_odd_results_are_taken_as_far_as_they_go(legacy: LegacyStore, data: Row, found: tuple[Any, ...]) -> None:
    legacy.session("s", metadata=results(**data), num_timesteps=5)
    row = legacy.convert().one("outcome_rewards")
    assert (row["total_reward"], row["achievements_count"], row["total_steps"]) == found


@pytest.mark.slow
@pytest.mark.parametrize("total", ["3", None, True, 2**63, [3]])
def test_results_whose_reward_is_no_number_leave_the_sum_of_rewards(legacy: LegacyStore, total: Any) -> None:
    rewards = [{"event_type": "runtime", "reward": each} for each in (1e16, 1.0, -1e16)]
    legacy.session("s", metadata=results(total_reward=total), events=rewards)
    row = legacy.convert().one("outcome_rewards")
    assert (row["total_reward"], row["achievements_count"], row["total_steps"]) == (1, 0, 0)
    assert json.loads(row["reward_metadata"])["sessionlift"] == {"derived_from": "sum of events.reward"}


@pytest.mark.parametrize("rewards", [[None], [float("inf")], [float("inf"), float("-inf")], [1.7e308, 1.7e308]])
def test_a_session_with_neither_gets_no_outcome(legacy: LegacyStore, rewards: list[float | None]) -> None:
    """A sum that is not finite is none."""
    legacy.session("s", events=[{"reward": each} for each in rewards])
    assert legacy.convert().tables["outcome_rewards"] == []


def test_of_results_told_twice_the_last_counts_and_it_is_told(legacy: LegacyStore) -> None:
    twice = json.loads(results(total_reward=1)) + json.loads(results(total_reward=2))
    legacy.session("s", metadata=json.dumps(twice))
    done = legacy.convert()
    assert done.one("outcome_rewards")["total_reward"] == 2
    assert [(fact.code, fact.session_id, fact.count) for fact in done.facts] == [("episode_results_repeated", "s", 1)]


def test_results_of_the_early_dress_are_known_by_their_keys(legacy: LegacyStore) -> None:
    data = {"total_reward": 4, "num_achievements": 1}
    legacy.session("s", metadata=json.dumps([{"metadata_type": "SessionMetadum", "data": data}]))
    row = legacy.convert().one("outcome_rewards")
    assert (row["total_reward"], row["achievements_count"]) == (4, 1)


def test_text_with_nul_is_told_by_session(legacy: LegacyStore) -> None:
    legacy.session("s", messages=[{"content": '"a\\u0000b"'}])
    legacy.session("t", messages=[{"content": '"ab"'}])
    facts = legacy.convert().facts
    assert [(fact.code, fact.session_id) for fact in facts] == [("text_with_nul", "s")]


@pytest.mark.parametrize("text", ["NaN", '{"a": Infinity}', "[-Infinity]"])
def test_json_that_strict_readers_refuse_is_told(legacy: LegacyStore, text: str) -> None:
    legacy.session("s", messages=[{"content": text}, {"content": '"about NaN"'}])
    facts = legacy.convert().facts
    assert [(fact.code, fact.session_id, fact.count) for fact in facts] == [("json_not_strict", "s", 1)]


@pytest.mark.slow
def test_batches_of_any_size_give_the_same_rows_and_digests(legacy: LegacyStore) -> None:
    for number in range(12):
        reward = {"event_type": "environment", "reward": number / 10, "cost": 0.29}
        legacy.session(f"s{number}", timesteps=[{"num_events": 2}], events=[reward, {}], messages=[{}] * (number % 3))
    whole, cut = legacy.convert(), legacy.convert(max_rows=1)
    assert len(cut.batches) > len(whole.batches)
    assert cut.tables == whole.tables
    assert {key: unit.target_digest for key, unit in cut.units.items()} == {
        key: unit.target_digest for key, unit in whole.units.items()
    }
    assert {key: unit.source_digest for key, unit in cut.units.items()} == {
        key: unit.source_digest for key, unit in whole.units.items()
    }
