"""events: types, times, cents, states, and what stands under our key in metadata."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from tests.support.synth_stores import Converted, LegacyStore, Row

from sessionlift.converters import TypeMapping
from sessionlift.converters.synth import SynthForward, SynthOptions


def one(legacy: LegacyStore, zone: str = "UTC", **cells: Any) -> tuple[Converted, Row]:
    legacy.session("s", events=[cells])
    done = legacy.convert(zone)
    return done, done.one("events")


def cells_of(done: Converted, column: str) -> list[Any]:
    return list(done.unit.complement.get("cells", {}).get("events", {}).get(column, {}).values())


@pytest.mark.parametrize("name", ["cais", "environment", "runtime"])
def test_the_three_types_stay(legacy: LegacyStore, name: str) -> None:
    done, row = one(legacy, event_type=name)
    assert (row["event_type"], row["metadata"]) == (name, None)
    assert ("event_type_mapped", "events", "event_type") not in done.loss_counts


@pytest.mark.parametrize(
    ("name", "mapped"), [("lmcais", "cais"), ("craftEnvironment", "environment"), ("myruntime", "runtime")]
)
def test_a_subclass_gets_its_bases_type_and_its_own_is_kept(legacy: LegacyStore, name: str, mapped: str) -> None:
    done, row = one(legacy, event_type=name)
    assert row["event_type"] == mapped
    assert json.loads(row["metadata"]) == {"sessionlift": {"event_type": name}}
    assert done.loss_counts[("event_type_mapped", "events", "event_type")] == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["", "unknown", "caisse", "cais ", "é"])
def test_a_type_of_no_rule_puts_the_event_aside_whole(legacy: LegacyStore, name: str) -> None:
    legacy.session("s", events=[{"event_type": name, "cost": 0.29, "metadata": '{"a": 1}'}, {}])
    done = legacy.convert()
    (row,) = done.quarantine
    assert (row.table, row.code, row.session_id) == ("events", "event_type_unknown", "s")
    assert (row.row["event_type"], row.row["cost"], row.row["metadata"]) == (name, "0.29", '{"a": 1}')
    assert done.unit.state == "partial"
    assert len(done.tables["events"]) == 1


def test_a_plan_counts_rewards_by_the_types_that_a_move_gives(legacy: LegacyStore) -> None:
    kinds = ["environment", "MyEnvironment", "env\u0130ronment", "tool", "cais", "Environment"]
    legacy.session("s", events=[{"event_type": kind, "reward": 1.0} for kind in kinds])
    mapping = {"tool": "environment", "Environment": "runtime"}
    converter = SynthForward(legacy.store, SynthOptions("UTC", TypeMapping({}, mapping)))
    foreseen = converter.forecast(converter.inventory()).derived["event_rewards"]
    assert foreseen == legacy.convert(event_types=mapping).derived["event_rewards"] == 3


def test_a_mapping_file_decides_first(legacy: LegacyStore) -> None:
    legacy.session("s", events=[{"event_type": "tool's"}, {"event_type": "cais"}])
    done = legacy.convert(event_types={"tool's": "runtime", "cais": "environment"})
    assert [row["event_type"] for row in done.tables["events"]] == ["runtime", "environment"]
    kept = [json.loads(row["metadata"])["sessionlift"]["event_type"] for row in done.tables["events"]]
    assert kept == ["tool's", "cais"]


def test_the_time_becomes_unix_seconds_and_created_at(legacy: LegacyStore) -> None:
    _, row = one(legacy, event_time="2025-03-01 10:00:00.123456")
    assert row["event_time"] == 1740823200.123456
    assert row["created_at"] == "2025-03-01T10:00:00.123456+00:00"


def test_its_time_is_local_time_of_the_zone(legacy: LegacyStore) -> None:
    _, row = one(legacy, "America/New_York", event_time="2025-03-01 10:00:00.123456")
    assert row["event_time"] == 1740841200.123456


def test_no_time_stays_none(legacy: LegacyStore) -> None:
    done, row = one(legacy, event_time=None)
    assert (row["event_time"], row["created_at"]) == (None, None)
    assert cells_of(done, "event_time") == []


def test_a_time_beyond_all_texts_keeps_its_number_and_its_original(legacy: LegacyStore) -> None:
    done, row = one(legacy, event_time="10000-01-01 00:00:00")
    assert (row["event_time"], row["created_at"]) == (253402300800.0, None)
    assert cells_of(done, "event_time") == ["10000-01-01 00:00:00"]
    assert done.loss_counts[("time_out_of_range", "events", "event_time")] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "dollars",
    [
        0.29,
        0.57,
        1.15,
        0.0,
        1e-7,
        0.000123,
        34.724983,
        0.1 + 0.2,
        1e16,
        5e-324,
        -0.29,
        1e22,
        1.7976931348623157e306,
    ],
)
def test_cents_are_the_decimal_of_the_dollars_moved_two_places(legacy: LegacyStore, dollars: float) -> None:
    _, row = one(legacy, cost=dollars)
    assert float(row["cost_usd"]) == float(Decimal(repr(dollars)) * 100)
    assert json.loads(row["metadata"])["sessionlift"]["cost"] == dollars


def test_no_cost_stays_none(legacy: LegacyStore) -> None:
    _, row = one(legacy, cost=None)
    assert (row["cost_usd"], row["metadata"]) == (None, None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dollars", "cents", "kept"),
    [
        (float("inf"), float("inf"), "inf"),
        (float("-inf"), float("-inf"), "-inf"),
        (float("nan"), None, "nan"),
        (1.7976931348623157e308, None, 1.7976931348623157e308),
        (1.7976931348623159e306, None, 1.7976931348623159e306),
        (-0.0, 0.0, -0.0),
    ],
)
def test_costs_at_the_edges(legacy: LegacyStore, dollars: float, cents: float | None, kept: Any) -> None:
    _, row = one(legacy, cost=dollars)
    assert row["cost_usd"] == cents
    found = json.loads(row["metadata"])["sessionlift"]["cost"]
    assert repr(found) == repr(kept)


@pytest.mark.slow
@pytest.mark.parametrize("column", ["latency_ms", "reward"])
@pytest.mark.parametrize(
    ("value", "found", "cell"),
    [
        (float("nan"), None, ["nan"]),
        (-0.0, 0.0, ["-0.0"]),
        (0.1, 0.1, []),
        (float("-inf"), float("-inf"), []),
    ],
)
def test_doubles_that_sqlite_cannot_hold_are_kept(
    legacy: LegacyStore, column: str, value: float, found: float | None, cell: list[str]
) -> None:
    cells: Row = {column: value}
    done, row = one(legacy, **cells)
    assert row[column] == found
    assert cells_of(done, column) == cell
    assert done.loss_counts.get(("double_not_storable", "events", column), 0) == len(cell)


def test_columns_that_only_changed_their_name(legacy: LegacyStore) -> None:
    _, row = one(legacy, prompt_tokens=2**31 - 1, completion_tokens=0, total_tokens=-(2**31), terminated=True)
    assert (row["input_tokens"], row["output_tokens"], row["total_tokens"]) == (2**31 - 1, 0, -(2**31))
    assert (row["terminated"], row["truncated"], row["call_records"], row["embedding"]) == (
        1,
        None,
        None,
        None,
    )


@pytest.mark.slow
@pytest.mark.parametrize("column", ["system_state_before", "system_state_after", "metadata", "event_metadata"])
def test_json_null_becomes_null_and_is_told(legacy: LegacyStore, column: str) -> None:
    done, row = one(legacy, **{column: "null"})
    assert row[column] is None
    assert done.loss_counts[("json_null_mapped", "events", column)] == 1


@pytest.mark.slow
@pytest.mark.parametrize("column", ["system_state_before", "system_state_after", "event_metadata"])
@pytest.mark.parametrize(
    "text",
    ['{"a":1, "b" : [1.00,NaN,1e400]}', '"null"', "[9007199254740993]", '"\\u0000"', " null ", "0", "{}"],
)
def test_json_keeps_its_very_text(legacy: LegacyStore, column: str, text: str) -> None:
    assert one(legacy, **{column: text})[1][column] == text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a":1}', '{"a":1, "sessionlift": {"cost": 0.29}}'),
        ("{}", '{"sessionlift": {"cost": 0.29}}'),
        ("{ }", '{"sessionlift": {"cost": 0.29}}'),
        ("null", '{"sessionlift": {"cost": 0.29}}'),
        (None, '{"sessionlift": {"cost": 0.29}}'),
        ("[1]", '{"sessionlift": {"metadata": [1], "cost": 0.29}}'),
        (' {"a":1}', '{"sessionlift": {"metadata":  {"a":1}, "cost": 0.29}}'),
        ('{"sessionlift":1}', '{"sessionlift": {"metadata": {"sessionlift":1}, "cost": 0.29}}'),
    ],
)
def test_the_dollars_stand_under_our_key(legacy: LegacyStore, text: str | None, found: str) -> None:
    assert one(legacy, metadata=text, cost=0.29)[1]["metadata"] == found


@pytest.mark.slow
@pytest.mark.parametrize("text", ['{"a": 1,}', '{"a": 1 , }', '{"a": [1,],\n}'])
def test_a_comma_too_many_does_not_break_the_object(legacy: LegacyStore, text: str) -> None:
    """DuckDB takes such JSON; after another comma not even DuckDB would read what comes out."""
    _, row = one(legacy, metadata=text, cost=0.29)
    found = legacy.db.execute("SELECT json_valid(?), json_extract(?, '$.sessionlift.cost')", [row["metadata"]] * 2)
    assert found.fetchone() == (True, "0.29")
