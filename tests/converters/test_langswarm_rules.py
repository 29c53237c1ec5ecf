"""Each rule of docs/langswarm.md by itself: what V1 reads, what V2 gets, what is lost and told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.langswarm_rows import history, legacy_row, message, metadata

from sessionlift.converters.langswarm import Aside, LangswarmOptions, LegacyRow, Moved, backward, forward
from sessionlift.errors import ConversionError, UsageError
from sessionlift.runs.verifier.langswarm._salvaged import walk


def move(meta: Any = None, messages: Any = None, *, zone: str = "UTC", **options: Any) -> Moved:
    made = forward(row_of(meta, messages), LangswarmOptions(timezone=zone, **options))
    assert isinstance(made, Moved), made
    return made


def row_of(meta: Any = None, messages: Any = None) -> LegacyRow:
    return legacy_row(metadata() if meta is None else meta, history([message()] if messages is None else messages))


def refusal(row: LegacyRow) -> tuple[str, str]:
    made = forward(row, LangswarmOptions())
    assert isinstance(made, Aside)
    return made.code, made.reason


def codes(made: Moved) -> set[tuple[str, str]]:
    return {(loss.code, loss.column) for loss in made.losses}


def facts(made: Moved) -> dict[str, Any]:
    return {code: detail if detail is not None else count for code, _, count, detail in made.facts}


def context(made: Moved) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(made.rows.session[5])
    return found


def ours(made: Moved, place: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(made.rows.messages[place].metadata or "")["sessionlift"]
    return found


# --- an ordinary session


def test_an_ordinary_session_loses_nothing_and_needs_no_complement() -> None:
    made = move(zone="Europe/Berlin")
    assert made.losses == []
    assert made.facts == []
    assert made.complement == {"zone": "Europe/Berlin", "messages": 1}
    assert made.rows.session[:5] == ("s", "ann", "openai", "gpt-4o", "local_sqlite")
    assert made.rows.session[6:] == ("2025-05-01 08:00:00.000001", "2025-05-01 09:00:00")
    assert made.rows.metrics == ("s", 1, 0, 0.0, None, "2025-05-01 08:00:00.000001")
    assert tuple(made.rows.messages[0]) == (
        "s",
        "msg_1",
        "user",
        "hello",
        "2025-05-01 08:30:00.500000",
        '{"sessionlift": {"timestamp": "2025-05-01T10:30:00.500000"}}',
        None,
        None,
        None,
    )


def test_what_v2_has_no_column_for_stands_in_its_context_under_v1s_names() -> None:
    meta = metadata(tags=["a"], custom_metadata={"k": [1]}, context_limit=5, status="archived")
    made = forward(
        legacy_row(meta, history([], summary="short", truncated_at="2025-05-01T10:00:00", total_tokens=9)),
        LangswarmOptions(),
    )
    assert isinstance(made, Moved)
    found = context(made)
    assert found["max_messages"] == 10_000
    assert list(found) == [
        "session_id",
        "user_id",
        "provider",
        "model",
        "backend",
        "max_messages",
        "auto_archive",
        "persist_messages",
        "provider_session_id",
        "provider_context",
    ]
    kept = found["provider_context"]
    assert {key: kept[key] for key in ("tags", "custom_metadata", "context_limit", "status")} == {
        "tags": ["a"],
        "custom_metadata": {"k": [1]},
        "context_limit": 5,
        "status": "archived",
    }
    assert (kept["summary"], kept["truncated_at"], kept["history_total_tokens"]) == ("short", "2025-05-01T10:00:00", 9)
    assert "user_id" not in kept


# --- what V1 cannot read


@pytest.mark.parametrize(
    ("row", "code", "reason"),
    [
        (legacy_row("{'python': 'repr'}", history([])), "metadata_unreadable", "no JSON"),
        (legacy_row("[]", history([])), "metadata_unreadable", "no JSON object"),
        (legacy_row(None, history([])), "metadata_unreadable", "there is no metadata"),
        (legacy_row(metadata(status="paused"), history([])), "metadata_unreadable", "status is 'paused'"),
        (legacy_row(metadata(status=[]), history([])), "metadata_unreadable", "status is []"),
        (legacy_row(metadata(session_control="client_side"), history([])), "metadata_unreadable", "session_control"),
        (legacy_row(metadata(created_at=0), history([])), "metadata_unreadable", "not a time"),
        (legacy_row(metadata(updated_at="2025-05-01T10:00:00Z"), history([])), "metadata_unreadable", "not a time"),
        (legacy_row(metadata(last_activity="soon"), history([])), "metadata_unreadable", "not a time"),
        (legacy_row(metadata(), ""), "history_unreadable", "no JSON"),
        (legacy_row(metadata(), '\ufeff{"session_id": "s"}'), "history_unreadable", "BOM"),
        (legacy_row(metadata(), b"\xff{"), "history_unreadable", "no JSON"),
        (legacy_row(metadata(), "[" * 200_000), "history_unreadable", "no JSON"),
        (legacy_row(metadata(), '{"session_id": ' + "9" * 5000 + "}"), "history_unreadable", "no JSON"),
        (legacy_row(metadata(), {"messages": []}), "history_unreadable", "session_id is missing"),
        (legacy_row(metadata(), history(None)), "history_unreadable", "messages is no list"),
        (legacy_row(metadata(), history({"a": 1})), "history_unreadable", "messages is no list"),
        (legacy_row(metadata(), history(["text"])), "history_unreadable", "message 0: no object"),
        (legacy_row(metadata(), history([message(role="developer")])), "history_unreadable", "role is 'developer'"),
        (legacy_row(metadata(), history([message(timestamp=1)])), "history_unreadable", "not a time"),
        (legacy_row(metadata(), history([], truncated_at="then")), "history_unreadable", "not a time"),
    ],
)
def test_what_v1_cannot_read_is_refused_with_a_reason(row: LegacyRow, code: str, reason: str) -> None:
    found = refusal(row)
    assert found[0] == code
    assert reason in found[1]


@pytest.mark.parametrize("key", ["user_id", "session_id", "provider", "model", "created_at", "status"])
def test_metadata_needs_its_keys(key: str) -> None:
    meta = metadata()
    del meta[key]
    assert refusal(legacy_row(meta, history([]))) == ("metadata_unreadable", f"metadata: {key} is missing")


@pytest.mark.parametrize("key", ["id", "role", "content", "timestamp"])
def test_a_message_needs_its_keys(key: str) -> None:
    broken = message()
    del broken[key]
    assert refusal(row_of(messages=[broken]))[1] == f"history: message 0: {key} is missing"


@pytest.mark.parametrize(
    "text",
    [
        "2025-05-01",
        "2025-05-01T10",
        "2025-05-01 10:00",
        "2025-05-01x10:00:00",
        "2025-05-01T10:00:00.123",
        "2025-05-01T10:00:00.123456+02:00",
        "2025-05-01T10:00-00:30:15",
        "2025-05-01\n10:00:00+00:00:01.000001",
    ],
)
def test_every_form_of_time_that_the_oldest_python_reads_is_read(text: str) -> None:
    made = move(messages=[message(timestamp=text)])
    assert backward(made.rows, made.complement).cells == dict(row_of(messages=[message(timestamp=text)]).cells)


@pytest.mark.parametrize(
    "text",
    [
        "20250501T100000",
        "2025-W18-4",
        "2025-05-01T10:00:00Z",
        "2025-05-01T1000",
        "2025-05-01T10:00:00,5",
        "2025-05-01T10:00:00.12",
        "2025-05-01T10:00:00+0200",
        "2025-05-01T",
        "2025-02-30",
        "٢٠٢٥-05-01",
        "2025-05-01T10:00:00+24:00",
        " 2025-05-01",
        "",
    ],
)
def test_a_form_of_time_that_the_oldest_python_does_not_read_is_refused(text: str) -> None:
    assert refusal(row_of(messages=[message(timestamp=text)]))[0] == "history_unreadable"


def test_v1_reads_a_session_without_what_is_optional() -> None:
    bare = {key: metadata()[key] for key in ("user_id", "session_id", "provider", "model")}
    bare |= {key: metadata()[key] for key in ("created_at", "updated_at", "status", "session_control")}
    said = {"id": 1, "role": "user", "content": "x", "timestamp": "2025-05-01"}
    row = legacy_row(bare, {"session_id": "s", "messages": [said]}, last_activity=None)
    made = forward(row, LangswarmOptions())
    assert isinstance(made, Moved)
    assert ours(made)["keys"] == ["id", "role", "content", "timestamp"]
    assert backward(made.rows, made.complement).cells == dict(row.cells)
    assert "cells" not in made.complement


# --- providers


@pytest.mark.parametrize(
    ("spelled", "provider", "loss"),
    [
        ("openai", "openai", None),
        ("OpenAI", "openai", "provider_mapped"),
        ("gpt", "openai", "provider_mapped"),
        ("GPT", "openai", "provider_mapped"),
        ("claude", "anthropic", "provider_mapped"),
        ("Gemini", "gemini", "provider_mapped"),
        ("mistral", "mistral", None),
        ("cohere", "cohere", None),
        ("test", "test", "provider_unknown"),
        ("None", "None", "provider_unknown"),
        ("langchain-openai", "langchain-openai", "provider_unknown"),
    ],
)
def test_v1s_spellings_become_v2s_and_unknown_ones_stay(spelled: str, provider: str, loss: str | None) -> None:
    made = move(metadata(provider=spelled))
    assert made.rows.session[2] == provider
    assert context(made)["provider"] == provider
    assert context(made)["provider_context"]["provider"] == spelled
    assert codes(made) == ({(loss, "provider")} if loss else set())


@pytest.mark.parametrize(
    ("provider", "thread", "conversation", "expected"),
    [
        ("openai", "thread_1", None, "thread_1"),
        ("openai", None, "conv_1", None),
        ("openai", "", None, None),
        ("mistral", "thread_1", "conv_1", "conv_1"),
        ("mistral", "thread_1", None, None),
        ("claude", None, "conv_1", "conv_1"),
        ("test", "thread_1", "conv_1", "thread_1"),
    ],
)
def test_v2s_one_provider_id_is_the_one_its_provider_knows(
    provider: str, thread: Any, conversation: Any, expected: str | None
) -> None:
    made = move(metadata(provider=provider, provider_thread_id=thread, provider_conversation_id=conversation))
    assert context(made)["provider_session_id"] == expected
    assert made.rows.session[4] == context(made)["backend"] == ("local_sqlite" if expected is None else "hybrid")


# --- contents and other values


@pytest.mark.parametrize(
    ("content", "text", "loss"),
    [
        ("", "", None),
        (None, "", "content_reshaped"),
        ([{"type": "text", "text": "é"}], '[{"type": "text", "text": "\\u00e9"}]', "content_reshaped"),
        ({"a": float("nan")}, '{"a": NaN}', "content_reshaped"),
        (7, "7", "content_reshaped"),
        (True, "true", "content_reshaped"),
        ("cut \ud83d end", "cut \ufffd end", "content_surrogate"),
        ("nul \0 nul", "nul \0 nul", None),
    ],
)
def test_content_is_a_text_that_v2_can_store_and_the_original_stands_beside_it(
    content: Any, text: str, loss: str | None
) -> None:
    made = move(messages=[message(content=content)])
    assert made.rows.messages[0].content == text
    assert codes(made) == ({(loss, "content")} if loss else set())
    assert ("content" in ours(made)) == bool(loss)
    if loss:
        assert json.dumps(ours(made)["content"]) == json.dumps(content)


def test_metadata_that_collides_with_our_keys_is_wrapped_whole() -> None:
    odd: list[Any] = [{"sessionlift": 1, "a": 2}, {"tool_calls": []}, {"tool_call_id": None}, ["list"], None, "text"]
    for bad in odd:
        made = move(messages=[message(metadata=bad, tool_calls=[1])])
        found = json.loads(made.rows.messages[0].metadata or "")
        assert list(found) == ["tool_calls", "sessionlift"]
        assert found["sessionlift"]["metadata"] == bad
        assert codes(made) == {("message_metadata_wrapped", "metadata")}


def test_tool_calls_stand_in_the_metadata_after_v1s_own_members() -> None:
    made = move(messages=[message(metadata={"z": 1, "a": 2}, tool_calls=[], tool_call_id="call_1")])
    found = json.loads(made.rows.messages[0].metadata or "")
    assert list(found) == ["z", "a", "tool_calls", "tool_call_id", "sessionlift"]
    assert made.losses == []


def test_a_value_of_another_type_becomes_its_text() -> None:
    made = move(
        metadata(user_id=None, model=["m"], total_tokens="many"),
        [message(id=5, provider_message_id={"a": 1})],
    )
    assert (made.rows.session[1], made.rows.session[3]) == ("", '["m"]')
    assert made.rows.metrics is not None
    assert made.rows.metrics[2] == 0
    assert (made.rows.messages[0].message_id, made.rows.messages[0].provider_message_id) == ("5", '{"a": 1}')
    columns = ["user_id", "model", "total_tokens", "message_id", "provider_message_id"]
    assert codes(made) == {("value_reshaped", column) for column in columns}


@pytest.mark.parametrize(("tokens", "stored"), [(2**63 - 1, 2**63 - 1), (-(2**63), -(2**63)), (2**63, 0)])
def test_tokens_beyond_64_bits_become_nothing_and_stay_in_the_context(tokens: int, stored: int) -> None:
    made = move(metadata(total_tokens=tokens))
    assert made.rows.metrics is not None
    assert made.rows.metrics[2] == stored
    assert codes(made) == (set() if stored else {("number_too_large", "total_tokens")})
    assert context(made)["provider_context"]["total_tokens"] == tokens


# --- times and order


def test_equal_and_backward_times_are_moved_on_so_that_the_list_keeps_its_order() -> None:
    texts = ["2025-05-01T10:00:00", "2025-05-01T10:00:00", "2025-05-01T09:00:00", "2025-05-01T10:00:00.000002"]
    made = move(messages=[message(timestamp=text) for text in texts])
    assert [cells.timestamp for cells in made.rows.messages] == [
        "2025-05-01 10:00:00",
        "2025-05-01 10:00:00.000001",
        "2025-05-01 10:00:00.000002",
        "2025-05-01 10:00:00.000003",
    ]
    assert [loss.code for loss in made.losses] == ["time_shifted"] * 3
    assert [ours(made, place)["timestamp"] for place in range(4)] == texts
    assert "moved_to" not in ours(made, 0)
    assert ours(made, 3)["moved_to"] == "2025-05-01 10:00:00.000003"


def test_times_with_an_offset_and_without_one_are_brought_to_one_clock() -> None:
    made = move(
        zone="America/New_York",
        messages=[message(timestamp="2025-07-01T10:00:00"), message(timestamp="2025-07-01T16:30:00+02:00")],
    )
    assert [cells.timestamp for cells in made.rows.messages] == ["2025-07-01 14:00:00", "2025-07-01 14:30:00"]
    assert made.losses == []


@pytest.mark.parametrize(
    ("local", "utc", "code"),
    [
        ("2025-10-26T02:30:00", "2025-10-26 00:30:00", "time_ambiguous"),
        ("2025-03-30T02:30:00", "2025-03-30 01:30:00", "time_nonexistent"),
        ("0001-01-01T00:00:00", "0001-01-01 00:00:00", "time_clamped"),
        ("9999-12-31T23:59:59-01:00", "9999-12-31 23:59:59.999999", "time_clamped"),
    ],
)
def test_a_time_that_a_clock_change_spoils_is_told(local: str, utc: str, code: str) -> None:
    made = move(metadata(created_at=local, last_activity=local), [message(timestamp=local)], zone="Europe/Berlin")
    assert made.rows.messages[0].timestamp == made.rows.session[6] == utc
    assert codes(made) == {(code, "timestamp"), (code, "created_at"), (code, "last_activity")}


def test_a_list_that_runs_out_of_time_is_put_aside() -> None:
    late = message(timestamp="9999-12-31T23:59:59.999999")
    assert refusal(row_of(messages=[late, late]))[0] == "time_out_of_range"


def test_a_zone_that_nobody_knows_is_refused() -> None:
    with pytest.raises(UsageError, match="Mars"):
        forward(row_of(), LangswarmOptions(timezone="Mars/Base"))


# --- facts


def test_facts_of_the_source_are_told() -> None:
    twice = [message(content="a\0"), message(timestamp="2025-05-01T11:00:00", odd=1)]
    row = legacy_row(
        metadata(message_count=7, future="x", custom_metadata={"n": float("inf")}), history(twice), user_id="bob"
    )
    made = forward(row, LangswarmOptions())
    assert isinstance(made, Moved)
    assert facts(made) == {
        "counter_disagrees": 1,
        "duplicate_message_id": 1,
        "unknown_keys": 1,
        "text_with_nul": 1,
        "columns_disagree": ["user_id"],
        "json_not_strict": 1,
    }
    assert ("unknown_keys", "sessions", 1, ["future"]) in made.facts


def test_a_session_that_calls_itself_something_else_keeps_the_id_that_v1_finds_it_by() -> None:
    made = move(metadata("other"))
    assert made.rows.session[0] == context(made)["session_id"] == "s"
    assert facts(made) == {"columns_disagree": ["session_id"]}


# --- salvage


def salvaged(text: Any) -> Moved:
    made = forward(legacy_row(metadata(), text), LangswarmOptions(salvage=True))
    assert isinstance(made, Moved)
    assert made.quarantine[-1].table == "history"
    assert made.quarantine[-1].row["history"] == text or isinstance(text, bytes)
    return made


def test_a_history_that_breaks_off_gives_the_messages_before_the_break() -> None:
    whole = json.dumps(history([message(content="one"), message(content="two"), message(content="three")]))
    made = salvaged(whole[: whole.index("three") + 2])
    assert [cells.content for cells in made.rows.messages] == ["one", "two"]
    assert [(row.table, row.row_id) for row in made.quarantine] == [("session_messages", "2"), ("history", "history")]
    assert made.quarantine[0].row["entry"].startswith('{"id": "msg_1"')


def test_a_hole_in_the_list_is_stepped_over() -> None:
    parts = [json.dumps(message(content=content)) for content in ("one", "two", "three")]
    made = salvaged(f'{{"session_id": "s", "messages": [{parts[0]}, {parts[1][:60]}, {parts[2]}, null], "summary": 1')
    assert [cells.content for cells in made.rows.messages] == ["one", "three"]
    assert [row.row_id for row in made.quarantine] == ["1", "3", "history"]
    assert made.quarantine[0].row["entry"] == parts[1][:60]


def test_an_entry_with_broken_bytes_is_left_and_the_others_move() -> None:
    text = json.dumps(history([message(content="one"), message(content="XX"), message(content="three")]))
    made = salvaged(text.encode().replace(b"XX", b"\xff"))
    assert [cells.content for cells in made.rows.messages] == ["one", "three"]
    assert made.quarantine[0].reason == "its text is no UTF-8"
    assert "\\xff" in made.quarantine[0].row["entry"]


@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le", "utf-32-le"])
def test_a_history_that_ends_within_a_letter_of_two_bytes_is_salvaged(encoding: str) -> None:
    text = json.dumps(history([message(content="one"), message(content="two")]))
    made = salvaged(text.encode(encoding)[:-1])
    assert [cells.content for cells in made.rows.messages] == ["one", "two"]


@pytest.mark.parametrize("opened", ["{", '{"x":'], ids=["wide", "deep"])
def test_salvage_of_a_broken_text_full_of_braces_ends(opened: str) -> None:
    made = salvaged('{"messages": [' + opened * 5_000 + '"' + "x" * 100_000)
    assert made.rows.messages == []
    assert len(made.quarantine) == 2
    assert ("not looked through" in made.quarantine[0].reason) == (opened != "{")


@pytest.mark.parametrize(
    ("between", "entries"),
    [(",, ", []), (" ", []), (",\n,\t", []), (",\xa0", ["\xa0"]), (", \xe9 ,, ", ["\xe9"]), (", , ; ,", [";"])],
)
def test_commas_and_the_white_space_of_json_are_no_entries_and_both_programs_say_so(
    between: str, entries: list[str]
) -> None:
    said = [json.dumps(message(content=content)) for content in ("one", "two")]
    text = f'{{"session_id": "s", "messages": [{between}{between.join(said)}] '
    made = salvaged(text)
    assert [cells.content for cells in made.rows.messages] == ["one", "two"]
    aside = {int(row.row_id): row.row["entry"] for row in made.quarantine[:-1]}
    assert list(aside.values()) == entries * 2
    found = walk(text, aside)
    assert (found.problems, [each["content"] for each in found.messages]) == ([], ["one", "two"])


def test_a_broken_message_full_of_braces_hides_none_that_comes_after_it() -> None:
    """Code in it may open thousands of braces."""
    said = [json.dumps(message(content=content)) for content in ("one", "{" * 5_000 + "TAB", "three", "four")]
    text = f'{{"messages": [{", ".join(said)}]}}'.replace("TAB", "\t")
    made = salvaged(text)
    assert [cells.content for cells in made.rows.messages] == ["one", "three", "four"]
    assert walk(text, {1: made.quarantine[0].row["entry"]}).problems == []
    swallowed = text[text.index(said[1][:60]) : -2]
    (problem,) = walk(text, {1: swallowed}).problems
    assert "holds a message that can be read" in problem


def test_what_was_salvaged_comes_back_as_v1_would_write_it() -> None:
    made = salvaged("\ufeff" + json.dumps(history([message()], summary="short")))
    cells = backward(made.rows, made.complement).cells
    assert cells["history"] == json.dumps(history([message()], summary="short"))


# --- the way back refuses what V2 itself cannot read


def test_a_row_that_v2_cannot_read_is_named() -> None:
    made = move()
    made.rows.messages[0] = made.rows.messages[0]._replace(metadata="{broken")
    with pytest.raises(ConversionError, match="cannot be read from the new store") as caught:
        backward(made.rows, made.complement)
    assert caught.value.fields["session_id"] == "s"
