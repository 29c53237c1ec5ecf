"""What V2 alone could hold of a session, after V1 has written to it: given back, or told and kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.support.langswarm_rows import history, legacy_row, message, metadata

from sessionlift.converters import KEPT, WAITING
from sessionlift.converters.langswarm import (
    V1_COLUMNS,
    LangswarmOptions,
    LegacyRow,
    MessageCells,
    Moved,
    SessionRows,
    backward,
    forward,
    keep_for_forward,
)

BERLIN = LangswarmOptions(timezone="Europe/Berlin")
Changed = Callable[[dict[str, Any], dict[str, Any]], object]


def moved(row: LegacyRow, kept: dict[str, Any] | None = None) -> Moved:
    made = forward(row, BERLIN, kept)
    assert isinstance(made, Moved)
    return made


def new(content: str, time: str = "2025-06-01 10:00:00.000001", **cells: Any) -> MessageCells:
    return MessageCells("s", f"of V2: {content}", "user", content, time, "{}", None, None, None)._replace(**cells)


def with_context(rows: SessionRows, change: Callable[[dict[str, Any]], object]) -> SessionRows:
    context = json.loads(rows.session[5])
    change(context)
    return replace(rows, session=(*rows.session[:5], json.dumps(context), *rows.session[6:]))


def taken_back(now: SessionRows, complement: dict[str, Any]) -> tuple[LegacyRow, dict[str, Any]]:
    cells = backward(now, complement).cells
    return LegacyRow("s", cells), keep_for_forward(now, complement) or {}


def written(row: LegacyRow, change: Changed) -> LegacyRow:
    """V1's row after V1 has changed its two documents."""
    meta, hist = json.loads(row.cells["metadata"]), json.loads(row.cells["history"])
    change(meta, hist)
    return legacy_row(meta, hist)


def says(hist: dict[str, Any], content: str) -> None:
    hist["messages"].append(message(id="of V1", content=content, timestamp="2025-07-01T00:00:00"))
    hist["total_tokens"] += len(content.split())


def in_v2(context: dict[str, Any]) -> None:
    context.update(topic="shoes", auto_archive=False)
    context["provider_context"].update(draft="half", status="error")


def session() -> Moved:
    return moved(legacy_row(metadata(), history([message()])))


def test_what_v1_has_no_place_for_is_given_back_though_v1_has_gone_on() -> None:
    made = session()
    assert made.rows.metrics is not None
    now = with_context(made.rows, in_v2)
    now.metrics = (*made.rows.metrics[:3], 12.25, *made.rows.metrics[4:])
    now.messages = [*now.messages, new("said in V2", token_count=7)]
    row, kept = taken_back(now, made.complement)

    def goes_on(meta: dict[str, Any], hist: dict[str, Any]) -> None:
        meta["tags"].append("seen")
        says(hist, "late")

    late = written(row, goes_on)
    again = moved(late, kept)
    context, was = json.loads(again.rows.session[5]), json.loads(now.session[5])
    of_v1 = {**was["provider_context"], "tags": ["seen"], "message_count": 2, "history_total_tokens": 5}
    assert context == {**was, "max_messages": 10_003, "provider_context": of_v1}
    assert again.rows.metrics == (*now.metrics[:1], 3, *now.metrics[2:])
    assert [each.token_count for each in again.rows.messages] == [None, 7, None]
    assert again.given is not None
    assert (again.given.done, again.given.waiting) == (1, {})
    assert backward(again.rows, again.complement).cells == {name: late.cells[name] for name in V1_COLUMNS}


def test_what_v1_has_written_stands_and_what_v2_had_there_waits_until_there_is_a_place_for_it() -> None:
    made = session()
    now = with_context(made.rows, in_v2)
    now.messages = [*now.messages, new("said in V2", token_count=7)]
    row, kept = taken_back(now, made.complement)
    said = json.loads(row.cells["history"])["messages"]

    def archived(meta: dict[str, Any], hist: dict[str, Any]) -> None:
        meta["status"] = "archived"
        del hist["messages"][1]

    for _ in range(2):  # whatever waits is kept by each further way back
        again = moved(written(row, archived), kept)
        assert again.given is not None
        context = json.loads(again.rows.session[5])
        assert (context["topic"], context["provider_context"]["status"]) == ("shoes", "archived")
        assert {table: count for table, (count, _) in again.given.told.items()} == {
            "sessions": 1,
            "session_messages": 1,
        }
        complement = {**again.complement, KEPT: {**kept, WAITING: again.given.waiting}}
        row, kept = taken_back(again.rows, complement)
        said_now = json.loads(row.cells["history"])["messages"]
        row = written(row, lambda _, hist: hist["messages"].append(said[1]))

    back = moved(written(row, lambda meta, _: meta.update(status="active")), kept)
    assert len(said_now) == 1
    assert back.given is not None
    assert back.given.waiting == {}
    assert json.loads(back.rows.session[5])["provider_context"]["status"] == "error"
    assert [each.token_count for each in back.rows.messages] == [None, 7]
    # what V2 itself has written there since is not taken away from it
    now = with_context(again.rows, lambda context: context["provider_context"].update(status="active"))
    row, kept = taken_back(now, complement)
    assert kept[WAITING].keys() == {"messages"}
    later = moved(written(row, lambda _, hist: says(hist, "late")), kept)
    assert json.loads(later.rows.session[5])["provider_context"]["status"] == "active"


@pytest.mark.parametrize("lost", [{"provider_context": None}, {}], ids=["null", "gone"])
def test_what_v1_writes_into_an_object_that_v2_has_lost_stands(lost: dict[str, Any]) -> None:
    def lose(context: dict[str, Any]) -> None:
        del context["provider_context"]
        context.update(lost, topic="shoes")

    first = session()
    row, kept = taken_back(with_context(first.rows, lose), first.complement)
    assert moved(row, kept).rows == with_context(first.rows, lose), "V1 has not touched it"

    def writes(meta: dict[str, Any], hist: dict[str, Any]) -> None:
        meta.update(custom_metadata={"old": "wrote"}, tags=["urgent"])
        says(hist, "late")

    for change in (writes, lambda meta, _: meta.update(tags=["urgent"])):
        context = json.loads(moved(written(row, change), kept).rows.session[5])
        assert context["topic"] == "shoes"
        assert context["provider_context"]["tags"] == ["urgent"]
    custom = json.loads(moved(written(row, writes), kept).rows.session[5])["provider_context"]["custom_metadata"]
    assert custom["old"] == "wrote"


def test_custom_metadata_that_are_no_object_give_way_to_those_that_v1_has_written() -> None:
    first = session()
    now = with_context(first.rows, lambda context: context["provider_context"].update(custom_metadata=["a", "list"]))
    row, kept = taken_back(now, first.complement)
    assert moved(row, kept).rows == now
    again = written(row, lambda meta, _: meta.update(custom_metadata={"old": "wrote"}))
    assert json.loads(moved(again, kept).rows.session[5])["provider_context"]["custom_metadata"] == {"old": "wrote"}


def test_kept_values_that_make_no_sense_keep_no_session_from_moving() -> None:
    first = session()
    row, kept = taken_back(with_context(first.rows, in_v2), first.complement)
    row = written(row, lambda _, hist: says(hist, "late"))
    plain = moved(row)
    for odd in ({"values": [["sessions"]]}, {"messages": 1}, {"values": [[["x"], None, "{"]]}):
        made = moved(row, {**kept, **odd})
        assert (made.rows, made.given) == (plain.rows, None)


def test_nothing_is_kept_of_a_session_that_gets_nothing_back() -> None:
    made = session()
    now = replace(made.rows, messages=[*made.rows.messages, new("said in V2")])
    row, kept = taken_back(now, made.complement)
    again = moved(written(row, lambda _, hist: hist["messages"].pop()), kept)
    assert again.given is not None
    assert (again.given.done, again.given.waiting) == (0, {})
    assert again.rows == moved(written(row, lambda _, hist: hist["messages"].pop())).rows


@pytest.mark.parametrize("v1_says", ["x y", ""])
def test_the_words_of_v2s_messages_are_counted_once_over_many_ways_back(v1_says: str) -> None:
    made = session()
    now = replace(made.rows, messages=[*made.rows.messages, new("one two three four five")])
    row, kept = taken_back(now, made.complement)
    assert json.loads(row.cells["history"])["total_tokens"] == 6
    again = moved(written(row, lambda _, hist: says(hist, v1_says)), kept)
    total = 6 + len(v1_says.split())
    complement = {**again.complement, KEPT: kept}
    row, kept = taken_back(again.rows, complement)
    assert json.loads(row.cells["history"])["total_tokens"] == total
    again = moved(row, kept)
    now = replace(again.rows, messages=[*again.rows.messages, new("z", "2025-12-01 10:00:00.000001")])
    row, kept = taken_back(now, {**again.complement, KEPT: kept})
    assert json.loads(row.cells["history"])["total_tokens"] == total + 1


def test_a_time_that_has_to_move_is_noted_and_told_and_no_other_is() -> None:
    # 02:15 was there twice in Berlin: V2 has the second one, and a move would read the first
    twice = [new("a", "2025-10-26 01:15:00.000001"), new("b", "2025-10-26 01:15:00.000001", finish_reason="stop")]
    made = moved(legacy_row(metadata(), history([message(timestamp="2025-10-26T02:10:00")])))
    assert [each.code for each in made.losses] == ["time_ambiguous"]
    row, kept = taken_back(replace(made.rows, messages=[*made.rows.messages, *twice]), made.complement)
    assert [each.code for each in moved(row, kept).losses] == ["time_ambiguous"]
    late = written(row, lambda _, hist: hist["messages"].append(message(timestamp="2025-11-01T00:00:00")))
    again = moved(late, kept)
    assert again.rows.messages[1] == twice[0]
    assert again.rows.messages[2][4:5] + again.rows.messages[2][-1:] == ("2025-10-26 01:15:00.000002", "stop")
    codes = ["time_ambiguous", "time_ambiguous", "time_shifted"]
    assert sorted(each.code for each in again.losses) == codes, "of the first message, and of the one that moved"
    now = replace(again.rows, messages=[*again.rows.messages, new("c", "2025-12-01 00:00:00.000001")])
    row, _ = taken_back(now, {**again.complement, KEPT: kept})
    was, found = (json.loads(each.cells["history"])["messages"] for each in (late, row))
    assert found[:-1] == was
