"""Forward then backward is nothing at all, whatever V1's row holds; and what V2 wrote since comes back, too."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.langswarm_rows import history, legacy_row, message, metadata
from tests.support.langswarm_strategies import NEW_MESSAGES, rows
from tests.support.laws import tries

from sessionlift.converters.langswarm import (
    V1_COLUMNS,
    Aside,
    LangswarmOptions,
    LegacyRow,
    MessageCells,
    Moved,
    SessionRows,
    backward,
    forward,
    keep_for_forward,
)
from sessionlift.ledger import to_json

pytestmark = pytest.mark.slow

ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia"])
SOME = tries(150)
MANY = tries(300)


def through_the_ledger(complement: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(to_json(complement).encode())
    return read


def assert_comes_back(row: LegacyRow, zone: str) -> None:
    made = forward(row, LangswarmOptions(timezone=zone))
    if isinstance(made, Aside):
        assert made.code == "time_out_of_range"
        return
    assert_storable(made.rows)
    back = backward(made.rows, through_the_ledger(made.complement))
    for column in V1_COLUMNS:
        assert type(back.cells[column]) is type(row.cells[column]), column
        assert back.cells[column] == row.cells[column], column
    assert not [loss for loss in back.losses if loss.code == "no_place_in_v1"]


def assert_storable(made: SessionRows) -> None:
    for cells in (made.session, *made.messages, made.metrics or ()):
        for value in cells:
            if isinstance(value, str):
                value.encode()
            else:
                assert value is None or isinstance(value, float) or -(2**63) <= value < 2**63
    times = [cells.timestamp for cells in made.messages]
    assert times == sorted(set(times)), "V2's order is that of these texts, and must be V1's"
    context = json.loads(made.session[5])
    assert list(context)[:5] == ["session_id", "user_id", "provider", "model", "backend"]
    assert [context[key] for key in list(context)[:5]] == list(made.session[:5])
    assert context["max_messages"] > len(made.messages)
    for cells in made.messages:
        assert isinstance(json.loads(cells.metadata or "")["sessionlift"]["timestamp"], str)


@SOME
@given(row=rows(), zone=ZONES)
def test_a_row_that_moved_comes_back_text_for_text(row: LegacyRow, zone: str) -> None:
    assert_comes_back(row, zone)


@pytest.mark.torture
@MANY
@given(row=rows(), zone=ZONES)
def test_very_many_rows_come_back_text_for_text(row: LegacyRow, zone: str) -> None:
    assert_comes_back(row, zone)


def changed(draw: st.DrawFn, made: Moved) -> SessionRows:
    """What V2 may have made of a moved session: messages added, changed and deleted, its context changed."""
    messages: list[MessageCells] = [cells for cells in made.rows.messages if draw(st.integers(0, 3))]
    change: bool = draw(st.booleans())
    if messages and change:
        place = draw(st.integers(0, len(messages) - 1))
        messages[place] = messages[place]._replace(content="changed")
    messages.extend(draw(st.lists(NEW_MESSAGES, max_size=3)))
    messages.sort(key=lambda cells: cells.timestamp)
    session = list(made.rows.session)
    context = json.loads(session[5])
    other: bool = draw(st.booleans())
    if other:
        context["provider_context"] |= {"preference": "short", "status": "archived"}
        context["provider_session_id"] = "conv_new"
    session[5], session[7] = json.dumps(context), "2026-01-01 10:00:00.000001"
    metrics = (session[0], len(messages), 7, 0.0, "2026-01-01 10:00:00.000002", "2026-01-01 10:00:00")
    return SessionRows(tuple(session), messages, metrics)


@st.composite
def lives(draw: st.DrawFn) -> tuple[LegacyRow, str, Moved, SessionRows]:
    row, zone = draw(rows()), draw(ZONES)
    made = forward(row, LangswarmOptions(timezone=zone))
    if isinstance(made, Aside):
        row = legacy_row(metadata(), history([message()]))
        made = forward(row, LangswarmOptions(timezone=zone))
        assert isinstance(made, Moved)
    return row, zone, made, changed(draw, made)


def assert_new_writes_come_back(life: tuple[LegacyRow, str, Moved, SessionRows]) -> None:
    row, zone, made, now = life
    complement = through_the_ledger(made.complement)
    back = backward(now, complement)
    legacy = LegacyRow(row.key, back.cells)
    before = {cells.timestamp: each for cells, each in zip(made.rows.messages, messages_of(row), strict=True)}
    returned = messages_of(legacy)
    assert len(returned) == len(now.messages)
    for cells, each in zip(now.messages, returned, strict=True):
        was = next((m for m in made.rows.messages if m == cells), None)
        if was is not None:
            assert json.dumps(each) == json.dumps(before[was.timestamp])
        elif cells.content == "changed":
            assert each["content"] == "changed"
        else:
            assert (each["id"], each["role"], each["content"]) == (cells.message_id, cells.role, cells.content)
            assert list(each)[:4] == ["id", "role", "content", "timestamp"]
    # moved again, V2 holds what it held, though V1 has no place for all of it
    kept = keep_for_forward(now, complement)
    again = forward(legacy, LangswarmOptions(timezone=zone), None if kept is None else through_the_ledger(kept))
    assert isinstance(again, Moved)
    assert again.rows == now
    assert backward(again.rows, through_the_ledger(again.complement)).cells == back.cells


def messages_of(row: LegacyRow) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(row.cells["history"])["messages"] or []
    return found


@SOME
@given(life=lives())
def test_what_v2_wrote_comes_back_and_moves_again(life: tuple[LegacyRow, str, Moved, SessionRows]) -> None:
    assert_new_writes_come_back(life)


@pytest.mark.torture
@MANY
@given(life=lives())
def test_in_very_many_lives_what_v2_wrote_comes_back(life: tuple[LegacyRow, str, Moved, SessionRows]) -> None:
    assert_new_writes_come_back(life)


@SOME
@given(life=lives(), extra=st.sampled_from(["appended", "first", "none left"]))
def test_what_v1_did_to_a_session_that_was_taken_back_moves_with_the_rest(
    life: tuple[LegacyRow, str, Moved, SessionRows], extra: str
) -> None:
    _row, zone, made, now = life
    complement = through_the_ledger(made.complement)
    cells = backward(now, complement).cells
    document = json.loads(cells["history"])
    new = message(id="msg_late", timestamp="2026-02-01T00:00:00")
    there = document["messages"] or []
    document["messages"] = {"appended": [*there, new], "first": [new, *there], "none left": []}[extra]
    legacy = LegacyRow("s", {**cells, "history": json.dumps(document)})
    made_again = forward(legacy, LangswarmOptions(timezone=zone), keep_for_forward(now, complement))
    if isinstance(made_again, Aside):
        assert made_again.code == "time_out_of_range"
        return
    times = [each.timestamp for each in made_again.rows.messages]
    assert len(times) == len(document["messages"])
    assert times == sorted(times)
    back = backward(made_again.rows, through_the_ledger(made_again.complement)).cells
    assert back == {name: legacy.cells[name] for name in V1_COLUMNS}


def test_a_session_that_v2_began_becomes_one_that_v1_would_have_written() -> None:
    context = {
        "session_id": "n",
        "user_id": "ann",
        "provider": "anthropic",
        "model": "claude-3",
        "backend": "hybrid",
        "max_messages": 100,
        "auto_archive": True,
        "persist_messages": True,
        "provider_session_id": "conv_1",
        "provider_context": {"preference": "short"},
    }
    times = ("2025-07-01 10:00:00", "2025-07-01 11:00:00.5")
    said = MessageCells("n", "msg_1", "user", "two words", "2025-07-01 10:00:01.000001", "{}", None, None, None)
    reply = MessageCells("n", "r1", "assistant", "ok", "2025-07-01 10:00:02", '{"tool_calls": [1]}', "p1", 7, "stop")
    new = SessionRows(
        ("n", "ann", "anthropic", "claude-3", "hybrid", json.dumps(context), *times),
        [said, reply],
        ("n", 2, 31, 0.0, times[1], times[0]),
    )
    back = backward(new, None, "Europe/Berlin")
    read = json.loads(back.cells["metadata"])
    assert (read["provider"], read["provider_thread_id"], read["session_control"]) == ("claude", "conv_1", "hybrid")
    assert (read["created_at"], read["updated_at"]) == ("2025-07-01T12:00:00", "2025-07-01T13:00:00.500000")
    assert (read["message_count"], read["total_tokens"]) == (2, 31)
    assert read["custom_metadata"] == {"preference": "short"}
    talk = json.loads(back.cells["history"])
    assert talk["total_tokens"] == 3
    assert talk["messages"][1] == {
        "id": "r1",
        "role": "assistant",
        "content": "ok",
        "timestamp": "2025-07-01T12:00:02",
        "metadata": {},
        "tool_calls": [1],
        "tool_call_id": None,
        "provider_message_id": "p1",
    }
    assert {(loss.code, loss.column) for loss in back.losses} == {
        ("no_place_in_v1", "token_count"),
        ("no_place_in_v1", "finish_reason"),
        ("no_place_in_v1", "provider_context"),
    }
    kept = keep_for_forward(new, None, "Europe/Berlin")
    again = forward(LegacyRow("n", back.cells), LangswarmOptions(timezone="Europe/Berlin"), kept)
    assert isinstance(again, Moved)
    assert again.rows == new


def test_a_sent_message_and_a_save_leave_the_rest_of_the_row_as_it_was() -> None:
    row = legacy_row(metadata(), history([message(), message(content="b", timestamp="2025-05-01T10:31:00")]))
    made = forward(row, LangswarmOptions(timezone="Europe/Berlin"))
    assert isinstance(made, Moved)
    sent = MessageCells("s", "msg_2", "user", "three more words", "2025-06-01 10:00:00", "{}", None, None, None)
    now = replace(made.rows, messages=[*made.rows.messages, sent])
    session = list(now.session)
    # the real V2 sets both times anew when it saves
    session[6], session[7] = "2025-06-01 10:00:01", "2025-06-01 10:00:01.000002"
    now.session, now.metrics = tuple(session), ("s", 3, 0, 0.0, "2025-06-01 10:00:01.000003", "2025-06-01 10:00:01")
    cells = backward(now, made.complement).cells
    was, read = json.loads(row.cells["metadata"]), json.loads(cells["metadata"])
    assert {key: (was[key], read[key]) for key in was if was[key] != read[key]} == {
        "updated_at": ("2025-05-01T11:00:00", "2025-06-01T12:00:01.000002"),
        "last_activity": (None, "2025-06-01T12:00:01.000003"),
        "message_count": (1, 3),
    }
    assert cells["updated_at"] == read["updated_at"]
    said = json.loads(cells["history"])
    assert said["messages"][:2] == json.loads(row.cells["history"])["messages"]
    assert (said["messages"][2]["timestamp"], said["total_tokens"]) == ("2025-06-01T12:00:00", 4)


@SOME
@given(row=rows(), zone=ZONES)
def test_only_what_v1_would_spell_otherwise_is_kept_as_it_was(row: LegacyRow, zone: str) -> None:
    # else a session that V2 has changed since would lose what only the kept cell had
    made = forward(row, LangswarmOptions(timezone=zone))
    if isinstance(made, Aside):
        return
    for column in set(made.complement.get("cells", {})) & {"metadata", "history"}:
        cell = row.cells[column]
        assert not isinstance(cell, str) or cell != json.dumps(json.loads(cell)), column


def test_a_session_without_a_list_of_messages_goes_back_with_what_v2_has_written() -> None:
    row = legacy_row(metadata(), {"session_id": "s"})
    made = forward(row, LangswarmOptions())
    assert isinstance(made, Moved)
    assert made.rows.metrics is not None
    now = replace(made.rows, metrics=(*made.rows.metrics[:3], 1.5, *made.rows.metrics[4:]))
    again = forward(row, LangswarmOptions(), keep_for_forward(now, made.complement))
    assert isinstance(again, Moved)
    assert again.rows == now
