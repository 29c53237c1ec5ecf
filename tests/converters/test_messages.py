"""messages: five types, bare strings, times, and the envelopes of the early and middle releases."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.synth_stores import Converted, LegacyStore, Row

EARLY = "SessionEventMessage"


def one(legacy: LegacyStore, zone: str = "UTC", **cells: Any) -> tuple[Converted, Row]:
    legacy.session("s", messages=[cells])
    done = legacy.convert(zone)
    return done, done.one("messages")


def ours(row: Row) -> Any:
    return {} if row["metadata"] is None else json.loads(row["metadata"])["sessionlift"]


def envelope(content: Any = "hi", kind: Any = "llm_prompt", **more: Any) -> str:
    return json.dumps({"content": content, "timestamp": "2025-03-01T10:00:00", "message_type": kind, **more})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["user", "assistant", "system", "tool_use", "tool_result"])
def test_the_five_types_stay(legacy: LegacyStore, kind: str) -> None:
    done, row = one(legacy, message_type=kind)
    assert (row["message_type"], row["metadata"]) == (kind, None)
    assert not done.losses or all(loss.table != "messages" or loss.column == "timestep_id" for loss in done.losses)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "mapped"),
    [
        ("llm_prompt", "user"),
        ("llm_completion", "assistant"),
        ("tool_call", "tool_use"),
        ("action", "tool_use"),
        ("observation", "system"),
        ("unknown", "system"),
        ("User", "system"),
        ("", "system"),
        ("it's\0\"é", "system"),
    ],
)
@pytest.mark.parametrize("early", [False, True])
def test_every_other_type_gets_the_nearest_and_its_own_is_kept(
    legacy: LegacyStore, kind: str, mapped: str, early: bool
) -> None:
    cells = {"message_type": EARLY, "content": envelope(kind=kind)} if early else {"message_type": kind}
    done, row = one(legacy, **cells)
    assert row["message_type"] == mapped
    assert ours(row)["message_type"] == kind
    assert done.loss_counts[("message_type_mapped", "messages", "message_type")] == 1


@pytest.mark.parametrize("early", [False, True])
def test_a_mapping_file_decides_first(legacy: LegacyStore, early: bool) -> None:
    kinds = ["observation", "llm_prompt", "it's"]
    rows = [{"message_type": EARLY, "content": envelope(kind=k)} if early else {"message_type": k} for k in kinds]
    legacy.session("s", messages=rows)
    done = legacy.convert(message_types={"observation": "tool_result", "llm_prompt": "system", "it's": "user"})
    assert [row["message_type"] for row in done.tables["messages"]] == ["tool_result", "system", "user"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "found", "kind"),
    [
        ('"hi"', "hi", None),
        ('""', "", None),
        ('"null"', "null", "string"),
        ('"123"', "123", "string"),
        ('"{\\"a\\": 1}"', '{"a": 1}', "string"),
        ('"\\"quoted\\""', '"quoted"', "string"),
        ('"not { json"', "not { json", None),
        ('"\\u00e9\\ud83d\\ude00"', "é😀", None),
        ('"a\\u0000b"', "a\0b", None),
        ('"a\\/b"', "a/b", None),
        ("null", "null", "json"),
        ("123", "123", "json"),
        ("9007199254740993", "9007199254740993", "json"),
        ("0.1000", "0.1000", "json"),
        ("NaN", "NaN", "json"),
        ('{"a": "\\u00e9", "a":1}', '{"a": "\\u00e9", "a":1}', "json"),
        ('["hi"]', '["hi"]', "json"),
        (' "hi"', ' "hi"', "json"),
    ],
)
def test_a_string_is_bare_everything_else_stays_json_text(
    legacy: LegacyStore, content: str, found: str, kind: str | None
) -> None:
    _, row = one(legacy, content=content)
    assert row["content"] == found
    assert ours(row).get("content") == kind


@pytest.mark.slow
@pytest.mark.parametrize("content", ['"a\\/b"', '"\\u0041"', '"é"', '"\\u00E9"', '"x" ', '"\x7f"'])
def test_a_string_of_unusual_spelling_is_kept_as_it_was(legacy: LegacyStore, content: str) -> None:
    done, row = one(legacy, content=content)
    assert row["content"] == json.loads(content)
    cells = done.unit.complement.get("cells", {}).get("messages", {}).get("content", {})
    usual = json.dumps(json.loads(content)) == content
    assert cells == ({} if usual else {str(row["id"]): content})


def test_the_save_time_is_a_text_and_the_recorded_time_unix_seconds(legacy: LegacyStore) -> None:
    _, row = one(
        legacy,
        timestamp="2025-03-01 10:00:02.5",
        event_time="2025-03-01 10:00:00.123456",
        message_time=5,
    )
    assert row["timestamp"] == "2025-03-01T10:00:02.500000+00:00"
    assert (row["event_time"], row["message_time"]) == (1740823200.123456, 5)


@pytest.mark.parametrize(
    ("bound", "recorded", "found"),
    [
        ('"2025-03-01T10:00:00"', "2025-03-01 10:00:00", 1740841200.0),
        ('"2025-03-01T15:00:00Z"', "2025-03-01 15:00:00", 1740841200.0),
        ('"2025-03-01T17:00:00+02:00"', "2025-03-01 15:00:00", 1740841200.0),
        ("1740841200.0", "2025-03-01 15:00:00", 1740841200.0),
    ],
)
def test_an_envelope_tells_whether_its_time_was_local(
    legacy: LegacyStore, bound: str, recorded: str, found: float
) -> None:
    content = envelope()[:-1] + ', "time_record": {"event_time": ' + bound + "}}"
    _, row = one(legacy, "America/New_York", message_type=EARLY, content=content, event_time=recorded)
    assert row["event_time"] == found


@pytest.mark.parametrize(
    ("content", "found", "kind"),
    [
        ("hi", "hi", "string"),
        ({"a": 1}, '{"a": 1}', "json"),
        (None, "null", "json"),
        ("null", "null", "string"),
    ],
)
def test_an_envelope_gives_its_content_its_type_and_the_rest(
    legacy: LegacyStore, content: Any, found: str, kind: str
) -> None:
    text = envelope(content, time_record={"event_time": 1.5, "message_time": None})
    done, row = one(legacy, message_type=EARLY, content=text)
    assert (row["message_type"], row["content"]) == ("user", found)
    assert ours(row) == {
        "dress": EARLY,
        "message_type": "llm_prompt",
        "content": kind,
        "envelope": {
            "timestamp": "2025-03-01T10:00:00",
            "time_record": {"event_time": 1.5, "message_time": None},
        },
    }
    loss = next(loss for loss in done.losses if loss.code == "message_type_mapped")
    assert loss.example == {"row": str(row["id"]), "value": "llm_prompt"}, "not the type that was mapped"
    assert "cells" not in done.unit.complement
    assert ("early_dress", 1) in [(fact.code, fact.count) for fact in done.facts]


def test_the_dress_is_judged_by_row_and_by_the_column(legacy: LegacyStore) -> None:
    same = envelope()
    legacy.session(
        "s",
        messages=[{"message_type": EARLY, "content": same}, {"message_type": "observation", "content": same}],
    )
    early, final = legacy.convert().tables["messages"]
    assert (early["message_type"], early["content"]) == ("user", "hi")
    assert (final["message_type"], final["content"]) == ("system", same)


@pytest.mark.parametrize(
    "content",
    [
        '{"message_type": "user", "content": "hi", "timestamp": 1}',
        '{"content": "hi", "content": "ho", "message_type": "user"}',
        '{"content":"hi","message_type":"user"}',
        '{"content": "hi"}',
        '{"content": "hi", "message_type": ["user"], "timestamp": NaN, "more": 1.00}',
    ],
)
def test_an_envelope_of_unusual_spelling_is_kept_as_it_was(legacy: LegacyStore, content: str) -> None:
    done, row = one(legacy, message_type=EARLY, content=content)
    assert row["content"] == "hi"
    assert done.unit.complement["cells"]["messages"]["content"] == {str(row["id"]): content}


@pytest.mark.parametrize("content", ['"hi"', "[1]", "null", '{"timestamp": 1}', '{"content": {"a": 1,}}'])
def test_what_is_no_envelope_is_a_message_like_any_other(legacy: LegacyStore, content: str) -> None:
    _, row = one(legacy, message_type=EARLY, content=content)
    assert row["message_type"] == "system"
    assert ours(row)["message_type"] == EARLY
    assert "dress" not in ours(row)


@pytest.mark.slow
def test_no_message_is_ever_dropped_and_ids_stay(legacy: LegacyStore) -> None:
    rows: list[Row] = [{"id": 2**31 - 1 - 3 * n, "message_type": str(n), "content": str(n)} for n in range(50)]
    legacy.session("s", messages=rows)
    found = legacy.convert().tables["messages"]
    assert sorted(row["id"] for row in found) == sorted(row["id"] for row in rows)


@pytest.mark.slow
def test_a_time_that_has_no_utc_is_null_told_and_kept(legacy: LegacyStore) -> None:
    far = "294247-01-10 04:00:54.775806"
    done, row = one(legacy, "America/New_York", timestamp=far, event_time=far)
    assert (row["timestamp"], row["event_time"]) == (None, None)
    cells = done.unit.complement["cells"]["messages"]
    assert (list(cells["timestamp"].values()), list(cells["event_time"].values())) == ([far], [far])
    for column in ("timestamp", "event_time"):
        assert done.loss_counts[("time_out_of_range", "messages", column)] == 1
