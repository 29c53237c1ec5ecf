"""session_timesteps, and how events and messages are dealt out to them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.synth_stores import LegacyStore


def steps_of(legacy: LegacyStore, table: str, **options: Any) -> list[int | None]:
    """For each row its timestep's step_index."""
    done = legacy.convert(**options)
    index = {row["id"]: row["step_index"] for row in done.tables["session_timesteps"]}
    return [index.get(row["timestep_id"]) for row in done.tables[table]]


def test_its_time_becomes_started_at_and_nothing_is_said_of_the_end(legacy: LegacyStore) -> None:
    legacy.session("s", timesteps=[{"timestamp": "2025-03-01 10:00:00.25", "num_events": 0, "num_messages": None}])
    row = legacy.convert().one("session_timesteps")
    assert (row["started_at"], row["completed_at"]) == ("2025-03-01T10:00:00.250000+00:00", None)
    assert (row["step_id"], row["step_index"], row["num_events"], row["num_messages"]) == (
        "step_0",
        0,
        0,
        None,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metadata", "turn"),
    [
        ('{"turn_number": 4}', 4),
        ('{"turn_number": -4}', -4),
        ('{"turn_number": 0}', 0),
        ('{"turn_number": "4"}', 9),
        ('{"turn_number": 4.5}', 9),
        ('{"turn_number": true}', 9),
        ('{"turn_number": null}', 9),
        ('{"turn_number": 9223372036854775807}', 2**63 - 1),
        ('{"turn_number": 18446744073709551615}', 9),
        ('{"turn_number": 1, "turn_number": 2}', 1),
        ("{}", 9),
        ("[4]", 9),
        (None, 9),
    ],
)
def test_the_turn_is_the_metadatas_or_the_step(legacy: LegacyStore, metadata: str | None, turn: int) -> None:
    legacy.session("s", timesteps=[{"step_index": 9, "step_metadata": metadata}])
    assert legacy.convert().one("session_timesteps")["turn_number"] == turn


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "found", "cell"),
    [
        (None, "{}", "no cell"),
        ("null", "{}", "null"),
        ("{}", "{}", "{}"),
        ('{"a":1}', '{"a":1}', "no cell"),
        (" {}", " {}", "no cell"),
    ],
)
def test_no_metadata_is_an_empty_object_and_what_it_was_is_kept(
    legacy: LegacyStore, text: str | None, found: str, cell: str
) -> None:
    legacy.session("s", timesteps=[{"step_metadata": text}])
    done = legacy.convert()
    row = done.one("session_timesteps")
    assert row["step_metadata"] == found
    cells = done.unit.complement.get("cells", {}).get("session_timesteps", {}).get("step_metadata", {})
    assert cells.get(str(row["id"]), "no cell") == cell


def test_rows_are_dealt_out_in_the_order_of_ids_by_the_counts_of_steps(legacy: LegacyStore) -> None:
    legacy.session(
        "s",
        timesteps=[
            {"step_index": 2, "num_events": 2, "num_messages": 1},
            {"step_index": 0, "num_events": 1, "num_messages": 0},
            {"step_index": 1, "num_events": 0, "num_messages": 2},
        ],
        events=[{}] * 3,
        messages=[{}] * 3,
    )
    assert steps_of(legacy, "events") == [0, 2, 2]
    assert steps_of(legacy, "messages") == [1, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "steps",
    [
        [{"num_events": 1}],
        [{"num_events": 3}],
        [{"num_events": 2}, {"num_events": None}],
        [{"num_events": 3}, {"num_events": -1}],
        [{"num_events": 1, "step_index": 5}, {"num_events": 1, "step_index": 5}],
        [{"num_events": None}],
        [],
    ],
)
def test_where_the_counts_do_not_add_up_the_step_stays_unknown(
    legacy: LegacyStore, steps: list[dict[str, Any]]
) -> None:
    legacy.session("s", timesteps=steps, events=[{}, {}])
    done = legacy.convert()
    assert [row["timestep_id"] for row in done.tables["events"]] == [None, None]
    assert done.loss_counts[("timestep_unknown", "events", "timestep_id")] == 2


def test_one_session_without_counts_does_not_disturb_the_next(legacy: LegacyStore) -> None:
    legacy.session("a", timesteps=[{"num_events": 5}], events=[{}])
    legacy.session("b", timesteps=[{"num_events": 1}], events=[{}])
    assert steps_of(legacy, "events") == [None, 0]
    assert steps_of(legacy, "events", max_rows=1) == [None, 0]


def test_a_quarantined_event_keeps_its_place_in_the_deal(legacy: LegacyStore) -> None:
    legacy.session(
        "s",
        timesteps=[{"num_events": 1}, {"num_events": 1}],
        events=[{"event_type": "strange"}, {"event_type": "cais"}],
    )
    assert steps_of(legacy, "events") == [1]
