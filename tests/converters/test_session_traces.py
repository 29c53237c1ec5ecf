"""session_traces: ids and counters as recorded, one format of time, metadata as an object."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.synth_stores import LegacyStore


def item(kind: str, data: Any) -> str:
    return json.dumps({"metadata_type": kind, "data": data, "timestamp": "2025-03-01T10:00:00"})


def metadata_of(legacy: LegacyStore, *items: str) -> Any:
    legacy.session("s", metadata="[" + ", ".join(items) + "]")
    done = legacy.convert()
    assert done.unit.complement["metadata"] == "[" + ", ".join(items) + "]"
    return json.loads(done.one("session_traces")["metadata"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recorded", "text"),
    [
        ("2025-03-01 10:00:00", "2025-03-01T10:00:00.000000+00:00"),
        ("2025-03-01 10:00:00.000001", "2025-03-01T10:00:00.000001+00:00"),
        ("1969-12-31 23:59:59.999999", "1969-12-31T23:59:59.999999+00:00"),
        ("0001-01-01 00:00:00", "0001-01-01T00:00:00.000000+00:00"),
        ("9999-12-31 23:59:59.999999", "9999-12-31T23:59:59.999999+00:00"),
    ],
)
def test_created_at_has_one_format_that_sorts(legacy: LegacyStore, recorded: str, text: str) -> None:
    legacy.session("s", created_at=recorded)
    assert legacy.convert().one("session_traces")["created_at"] == text


def test_created_at_is_local_time_of_the_zone_that_was_named(legacy: LegacyStore) -> None:
    legacy.session("winter", created_at="2025-01-01 10:00:00")
    legacy.session("summer", created_at="2025-07-01 10:00:00")
    done = legacy.convert("America/New_York")
    texts = [row["created_at"] for row in done.tables["session_traces"]]
    assert texts == ["2025-01-01T15:00:00.000000+00:00", "2025-07-01T14:00:00.000000+00:00"]


def test_an_hour_lived_twice_is_read_as_the_first_and_told(legacy: LegacyStore) -> None:
    legacy.session("s", created_at="2025-11-02 01:30:00")
    done = legacy.convert("America/New_York")
    assert done.one("session_traces")["created_at"] == "2025-11-02T05:30:00.000000+00:00"
    assert done.loss_counts[("time_ambiguous", "session_traces", "created_at")] == 1
    assert "created_at" not in done.unit.complement


def test_an_hour_left_out_is_read_with_the_offset_before_told_and_kept(legacy: LegacyStore) -> None:
    legacy.session("s", created_at="2025-03-09 02:30:00")
    done = legacy.convert("America/New_York")
    assert done.one("session_traces")["created_at"] == "2025-03-09T07:30:00.000000+00:00"
    assert done.loss_counts[("time_nonexistent", "session_traces", "created_at")] == 1
    assert done.unit.complement["created_at"] == "2025-03-09 02:30:00"


def test_a_session_without_a_time_gets_the_earliest_of_its_rows(legacy: LegacyStore) -> None:
    legacy.session(
        "s",
        created_at=None,
        timesteps=[{"timestamp": "2025-03-01 10:00:00"}],
        messages=[{"timestamp": "2025-03-01 09:00:00"}],
    )
    done = legacy.convert()
    assert done.one("session_traces")["created_at"] == "2025-03-01T09:00:00.000000+00:00"
    assert done.unit.complement["created_at"] is None
    assert done.loss_counts[("created_at_missing", "session_traces", "created_at")] == 1


def test_a_session_without_any_time_gets_the_first_of_all_times(legacy: LegacyStore) -> None:
    legacy.session("s", created_at=None)
    assert legacy.convert().one("session_traces")["created_at"] == "1970-01-01T00:00:00.000000+00:00"


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["infinity", "-infinity", "10000-01-01 00:00:00", "0044-03-15 (BC) 12:00:00"])
def test_a_session_whose_time_no_text_can_hold_is_put_aside_whole(legacy: LegacyStore, moment: str) -> None:
    legacy.session("s", created_at=moment, timesteps=[{}], events=[{"reward": 1.0}], messages=[{}])
    done = legacy.convert()
    assert {(each.table, each.code) for each in done.quarantine} == {
        (table, "time_out_of_range") for table in ("session_traces", "session_timesteps", "events", "messages")
    }
    assert not any(done.tables[table] for table in ("session_traces", "events", "messages", "outcome_rewards"))
    assert done.unit.state == "quarantined"


def test_recorded_counters_stay_and_their_disagreement_is_a_fact_of_the_source(legacy: LegacyStore) -> None:
    legacy.session("s", messages=[{}], num_timesteps=3, num_events=0, num_messages=7)
    done = legacy.convert()
    row = done.one("session_traces")
    assert (row["num_timesteps"], row["num_events"], row["num_messages"]) == (3, 0, 7)
    (fact,) = done.facts
    assert (fact.session_id, fact.code) == ("s", "recorded_counts_differ")
    assert fact.detail == {
        "session_timesteps": {"recorded": 3, "rows": 0},
        "messages": {"recorded": 7, "rows": 1},
    }
    assert not [loss for loss in done.losses if loss.table == "session_traces" and loss.column != "metadata"]


def test_a_missing_counter_gets_the_rows_and_is_kept_as_missing(legacy: LegacyStore) -> None:
    legacy.session("s", messages=[{}], num_messages=None)
    done = legacy.convert()
    assert done.one("session_traces")["num_messages"] == 1
    assert done.unit.complement["counters"] == [0, 0, None]
    assert done.loss_counts[("counter_missing", "session_traces", "num_messages")] == 1


def test_each_type_of_metadata_becomes_a_key(legacy: LegacyStore) -> None:
    found = metadata_of(legacy, item("a", {"x": 1}), item("b", "text"), item("é\n", [None]))
    assert found == {"a": {"x": 1}, "b": "text", "é\n": [None]}


def test_a_type_that_comes_twice_becomes_a_list_in_order(legacy: LegacyStore) -> None:
    assert metadata_of(legacy, item("a", 1), item("b", 2), item("a", [3])) == {"a": [1, [3]], "b": 2}


def test_keys_that_the_filter_reads_are_lifted_from_their_one_source(legacy: LegacyStore) -> None:
    found = metadata_of(legacy, item("config", {"model": "m", "seed": 7, "other": 1}), item("more", {"task_id": "t"}))
    assert found == {
        "config": {"model": "m", "seed": 7, "other": 1},
        "more": {"task_id": "t"},
        "model": "m",
        "seed": 7,
        "task_id": "t",
    }


def test_a_key_of_two_sources_or_of_a_type_is_not_lifted(legacy: LegacyStore) -> None:
    found = metadata_of(legacy, item("a", {"model": "m", "seed": 1}), item("b", {"model": "n"}), item("seed", {"x": 1}))
    assert found == {"a": {"model": "m", "seed": 1}, "b": {"model": "n"}, "seed": {"x": 1}}


@pytest.mark.slow
@pytest.mark.parametrize("number", ["9007199254740993", "1e400", "0.30000000000000004", "1.00", "NaN", "-0"])
def test_numbers_keep_their_digits(legacy: LegacyStore, number: str) -> None:
    legacy.session("s", metadata='[{"metadata_type": "a", "data": {"x": ' + number + "}}]")
    assert legacy.convert().one("session_traces")["metadata"] == '{"a": {"x": ' + number + "}}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, "{}"),
        ("null", "{}"),
        ("[]", "{}"),
        ('{"a": 1}', '{"a": 1}'),
        ('"text"', '{"sessionlift": {"metadata": "text"}}'),
        ("12", '{"sessionlift": {"metadata": 12}}'),
    ],
)
def test_metadata_of_another_shape(legacy: LegacyStore, text: str | None, found: str) -> None:
    legacy.session("s", metadata=text)
    done = legacy.convert()
    assert done.one("session_traces")["metadata"] == found
    assert done.unit.complement["metadata"] == text


def test_items_of_another_shape_stand_under_unknown(legacy: LegacyStore) -> None:
    assert metadata_of(legacy, "1", '{"data": 2}', item("unknown", 3)) == {"unknown": [1, {"data": 2}, 3]}


def test_types_that_the_early_writers_lost_are_told(legacy: LegacyStore) -> None:
    found = metadata_of(legacy, item("SessionMetadum", {"a": 1}), item("SessionMetadum", {"seed": 2}))
    assert found == {"SessionMetadum": [{"a": 1}, {"seed": 2}], "seed": 2}
    legacy.clear()
    legacy.session("s", metadata="[" + item("SessionMetadum", 1) + "]")
    assert [(fact.code, fact.count) for fact in legacy.convert().facts] == [("metadata_type_lost", 1)]


def test_metadata_that_only_the_engine_can_read_puts_the_session_aside(legacy: LegacyStore) -> None:
    legacy.session("s", metadata='[{"metadata_type": "a", "data": {"x": 1,}}]', messages=[{}])
    done = legacy.convert()
    assert {(each.table, each.code) for each in done.quarantine} == {
        ("session_traces", "metadata_unreadable"),
        ("messages", "metadata_unreadable"),
    }


def test_a_document_nested_deeper_than_python_reads_puts_the_session_aside(legacy: LegacyStore) -> None:
    legacy.session("s", metadata="[" * 900 + "]" * 900)
    legacy.session("deep", metadata='[{"metadata_type": "a", "data": ' + "[" * 100_000 + "]" * 100_000 + "}]")
    done = legacy.convert()
    assert {(each.session_id, each.code) for each in done.quarantine} <= {
        ("s", "metadata_unreadable"),
        ("deep", "metadata_unreadable"),
    }
    assert "deep" in {each.session_id for each in done.quarantine}


@pytest.mark.slow
@pytest.mark.parametrize("session_id", ["", "a\0b", "it's", 'quo"te', "😀", "x' OR '1'='1", "\x1e\x1f~", " "])
def test_any_id_stays(legacy: LegacyStore, session_id: str) -> None:
    legacy.session(session_id, messages=[{}])
    done = legacy.convert()
    assert done.one("session_traces")["session_id"] == session_id
    assert done.one("messages")["session_id"] == session_id


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"metadata_type": "a", "data": 1, "data": 2, "timestamp": "t"}', {"a": 2}),
        ('{"metadata_type": "a", "data": 1, "metadata_type": "a", "timestamp": "t"}', {"a": 1}),
        ('{"metadata_type": "a", "data": 1, "timestamp": "x", "timestamp": "t"}', {"a": 1}),
        ('{"metadata_type": "a", "data": 1, "timestamp":"x", "timestamp": "t"}', {"a": 1}),
        ('{"metadata_type": "a", "data": 1, "d\\u0061ta": 2}', {"a": 2}),
        ('{"metadata_type": "a", "data": {"seed": 1, "seed": 2}}', {"a": {"seed": 2}, "seed": 2}),
        ('{"data": 1, "metadata_type": "a"}', {"a": 1}),
    ],
)
def test_of_keys_that_come_twice_the_last_one_counts(legacy: LegacyStore, text: str, found: Any) -> None:
    assert metadata_of(legacy, text) == found
