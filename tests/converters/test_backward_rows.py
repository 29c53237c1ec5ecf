"""The way back, rule by rule: what the application writes into v3 comes back in the shape that v2 can hold."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import cycle, islice
from typing import Any

import pytest
from tests.support.laws import TORTURE
from tests.support.synth_back import LEGACY, V3Target, move_again, sessions_of, take_back
from tests.support.synth_stores import LegacyStore

from sessionlift.converters import SESSION, BackUnit, BackwardBatch
from sessionlift.converters.synth import SynthBackward, SynthPutBack
from sessionlift.converters.synth._columns import V3_SESSION_TABLES
from sessionlift.errors import StoreConstraintError
from sessionlift.stores import DuckdbStore, parse_store_url

pytestmark = pytest.mark.slow

ENVELOPE = '{"content": "hi", "timestamp": "2025-03-01T10:00:00", "message_type": "user", "time_record": null}'


@pytest.fixture
def target(v3_target: V3Target) -> V3Target:
    v3_target.clear()
    return v3_target


@pytest.fixture
def copy(other_store: LegacyStore) -> LegacyStore:
    other_store.clear()
    return other_store


def losses(batches: list[BackwardBatch]) -> dict[tuple[str, str, str], int]:
    return {(loss.code, loss.table, loss.column): loss.count for batch in batches for loss in batch.losses}


def last(store: LegacyStore, table: str) -> dict[str, Any]:
    return store.texts(table)[-1]


def test_an_added_message_comes_back_as_the_final_release_writes_it(
    legacy: LegacyStore, target: V3Target, copy: LegacyStore
) -> None:
    legacy.session("s", messages=[{"content": '"first"'}])
    target.move(legacy, "America/New_York")
    add = "INSERT INTO messages (session_id, message_type, content, timestamp, metadata) VALUES ('s', ?, ?, ?, ?)"
    target.change(add, "assistant", "caf\u00e9", "2025-06-01T10:00:00.000000+00:00", None)
    target.change(add, "tool_result", '{"a": 1.00}', None, None)
    target.change(add, "user", '{"a": 1,', None, '{"step_id": "t"}')
    told = losses(take_back(target, copy))
    rows = copy.texts("messages")
    assert [(row["message_type"], row["content"], row["timestamp"]) for row in rows[1:]] == [
        ("assistant", '"caf\\u00e9"', "2025-06-01 06:00:00"),
        ("tool_result", '{"a": 1.00}', None),
        ("user", '"{\\"a\\": 1,"', None),
    ]
    assert rows[0] == legacy.texts("messages")[0]
    # one had metadata of its own, one is marked as JSON only by a move
    assert told == {("column_not_held", "messages", "metadata"): 2}


def test_an_added_event_comes_back_in_dollars_with_its_timestep(
    legacy: LegacyStore, target: V3Target, copy: LegacyStore
) -> None:
    legacy.session("s", timesteps=[{"num_events": 1, "num_messages": 0}], events=[{"cost": 0.29}])
    target.move(legacy)
    (step,) = target.store.query("SELECT id FROM session_timesteps")[0]
    target.change(
        "INSERT INTO events (session_id, timestep_id, event_type, event_time, cost_usd, call_records) "
        "VALUES ('s', ?, 'cais', 1748772000.5, 29, '[]')",
        step,
    )
    told = losses(take_back(target, copy))
    before, added = copy.texts("events")
    assert before["timestep_id"] == added["timestep_id"] == str(step)
    assert (before["cost"], added["cost"]) == ("0.29", "0.29")
    assert (added["event_time"], added["metadata"], added["system_instance_id"]) == (
        "2025-06-01 10:00:00.5",
        "null",
        "",
    )
    assert told["column_not_held", "events", "call_records"] == 1
    assert told["value_not_held", "events", "system_instance_id"] == 1


def test_a_changed_message_keeps_its_dress(legacy: LegacyStore, target: V3Target, copy: LegacyStore) -> None:
    legacy.session("s", messages=[{"message_type": "SessionEventMessage", "content": ENVELOPE}] * 2)
    target.move(legacy)
    target.change("UPDATE messages SET content = 'ho' WHERE id = (SELECT min(id) FROM messages)")
    told = losses(take_back(target, copy))
    changed, whole = copy.texts("messages")
    assert changed["content"] == ENVELOPE.replace('"hi"', '"ho"')
    assert (changed["message_type"], whole["content"]) == ("SessionEventMessage", ENVELOPE)
    assert told == {}


def test_what_the_application_writes_under_our_key_of_a_message_is_told_where_no_move_makes_it(
    legacy: LegacyStore, target: V3Target
) -> None:
    written = [
        ("x", "tool_use", '{"dress": "SessionEventMessage", "message_type": "user", "content": "string"}'),
        ('{"a": 1}', "user", '{"event_type": "lmcais"}'),
        ('{"a": 1}', "user", '{"content":  "json"}'),
        ('{"a": 1}', "user", '{"content": "json", "more": [1]}'),
        ("x", "user", '{"message_type": "llm_prompt", "content": "json"}'),
    ]
    legacy.session("s", messages=[{} for _ in written])
    target.move(legacy)
    for row, (content, kind, block) in zip(legacy.texts("messages"), written, strict=True):
        target.change(
            "UPDATE messages SET message_type = ?, content = ?, metadata = ? WHERE id = ?",
            kind,
            content,
            f'{{"sessionlift": {block}}}',
            int(row["id"]),
        )
    expected = target.all()
    for _ in range(2):
        batches = take_back(target, legacy)
        assert losses(batches) == {("column_not_held", "messages", "metadata"): len(written)}
        move_again(target, legacy, batches)
        assert target.all() == expected


def test_what_a_move_notes_of_an_event_is_told_by_its_own_columns_and_all_else_under_our_key_by_itself(
    legacy: LegacyStore, target: V3Target
) -> None:
    legacy.session("s", events=[{"cost": 0.29, "metadata": '{"a": 1}'}, {"metadata": '{"a": 1}'}])
    target.move(legacy)
    target.change("UPDATE events SET cost_usd = 30 WHERE cost_usd IS NOT NULL")
    target.change("""UPDATE events SET metadata = '{"a": 1, "sessionlift": {"mine": 1}}' WHERE cost_usd IS NULL""")
    expected = target.all()
    for _ in range(2):
        batches = take_back(target, legacy)
        assert losses(batches) == {("value_not_held", "events", "metadata"): 1}
        move_again(target, legacy, batches)
        assert target.all() == expected


def test_changed_metadata_keeps_the_items_that_did_not_change(
    legacy: LegacyStore, target: V3Target, copy: LegacyStore
) -> None:
    items = [
        '{"metadata_type": "env",  "data": {"seed": 1.00}, "timestamp": "t"}',
        '{"metadata_type": "note", "data": "a"}',
        '{"metadata_type": "note", "data": "b"}',
        '{"metadata_type": "gone", "data": 1}',
    ]
    legacy.session("s", metadata="[" + ", ".join(items) + "]")
    target.move(legacy)
    (text,) = target.store.query("SELECT metadata FROM session_traces")[0]
    found = json.loads(text)
    assert found["seed"] == 1.0, "the lifted key of the filter"
    del found["gone"]
    found["note"] = ["a", "c"]
    found["rating"] = 5
    spelled = '{"env": {"seed": 1.00}, "note": ["a", "c"], "seed": 1.00, "rating": 5}'
    assert json.loads(spelled) == found
    target.change("UPDATE session_traces SET metadata = ?", spelled)
    batches = take_back(target, copy)
    assert copy.texts("session_traces")[0]["metadata"] == (
        f'[{items[0]}, {items[1]}, {{"metadata_type": "note", "data": "c"}}, {{"metadata_type": "rating", "data": 5}}]'
    )
    expected = target.all()
    move_again(target, copy, batches)
    assert target.all() == expected


def test_an_original_counts_only_while_it_leads_to_what_v3_holds(
    legacy: LegacyStore, target: V3Target, copy: LegacyStore
) -> None:
    odd = {"reward": float("nan"), "system_state_after": None, "event_type": "lmcais", "cost": 0.0001}
    legacy.session("s", events=[odd, odd])
    target.move(legacy)
    first = "WHERE id = (SELECT min(id) FROM events)"
    target.change(f"UPDATE events SET reward = 2.5, system_state_after = '1', cost_usd = 7 {first}")
    told = losses(take_back(target, copy))
    changed, whole = copy.texts("events")
    assert (changed["reward"], changed["system_state_after"], changed["cost"]) == ("2.5", "1", "0.07")
    assert (whole["reward"], whole["system_state_after"], whole["cost"]) == ("nan", None, "0.0001")
    assert changed["event_type"] == whole["event_type"] == "lmcais"
    # the sum of rewards was no number before
    assert told == {("derived_row_gone", "outcome_rewards", "id"): 1}


def test_metadata_that_only_the_engine_takes_for_json_comes_back_when_another_row_was_added(
    legacy: LegacyStore, target: V3Target, copy: LegacyStore
) -> None:
    texts = [
        '{"a":1,}',
        '{"a":[1,]}',
        '{"a":[1,],"b":{"c":2,},}',
        '{"a":nan,"b":[-inf,]}',
        '{"a":"}, \\"b\\": {","c":["]",]}',
        '{"a":", \\"sessionlift\\": {","c":[1,]}',
        '{"a":' + "[" * 1_500 + "]" * 1_500 + "}",
        "[1,]",
    ]
    events = [{"event_type": kind, "cost": 0.5, "metadata": text} for text in texts for kind in ("LMCAIS", "cais")]
    legacy.session("s", events=events, messages=[{"content": '"first"'}])
    before = legacy.texts("events")
    target.move(legacy)
    target.change("INSERT INTO messages (session_id, message_type, content) VALUES ('s', 'user', 'more')")
    batches = take_back(target, copy)
    assert copy.texts("events") == before
    assert [key for key in losses(batches) if key[1] == "events"] == []


def test_deleted_rows_do_not_come_back(legacy: LegacyStore, target: V3Target) -> None:
    legacy.session("s", events=[{}, {}], messages=[{}, {}])
    legacy.session("other", messages=[{}])
    target.move(legacy)
    target.change("DELETE FROM events WHERE id = (SELECT max(id) FROM events)")
    target.change("DELETE FROM messages WHERE id = (SELECT min(id) FROM messages)")
    with SynthBackward() as back:
        batch = back.backward(target.store, ["s"], sessions_of(target.memory), (legacy.store, LEGACY))
    told = LEGACY.compare(legacy.store, batch)["s"]
    assert (told.added, told.changed, told.deleted) == ({}, {}, {"events": 1, "messages": 1})
    assert len(legacy.texts("events")) == 2, "a comparison writes nothing"
    assert LEGACY.write(legacy.store, batch)["s"] == told
    assert (len(legacy.texts("events")), len(legacy.texts("messages"))) == (1, 2)
    assert not LEGACY.write(legacy.store, batch), "done again, it does nothing"


def test_a_session_that_the_application_made_comes_back(
    legacy: LegacyStore, target: V3Target, copy: LegacyStore
) -> None:
    legacy.session("s")
    target.move(legacy)
    target.change(
        "INSERT INTO session_traces (session_id, created_at, num_timesteps, num_events, num_messages, metadata) "
        "VALUES ('born', '2025-06-01 10:00:00', 0, 0, 1, '{\"env_name\": \"x\", \"n\": [1, 2]}')"
    )
    target.change("INSERT INTO messages (session_id, message_type, content) VALUES ('born', 'user', 'hi')")
    batches = take_back(target, copy, zone="Asia/Kathmandu")
    assert [unit.found for unit in batches[1].units] == ["unchanged", "new"]
    trace = copy.texts("session_traces")[0]
    assert trace["created_at"] == "2025-06-01 15:45:00"
    assert trace["metadata"] == ('[{"metadata_type": "env_name", "data": "x"}, {"metadata_type": "n", "data": [1, 2]}]')
    assert last(copy, "messages")["content"] == '"hi"'


def test_rewards_have_no_place_and_are_put_back(legacy: LegacyStore, target: V3Target, copy: LegacyStore) -> None:
    legacy.session("s", events=[{"event_type": "environment", "reward": 1.0}])
    target.move(legacy)
    (event,) = target.store.query("SELECT id FROM events")[0]
    target.change(
        "INSERT INTO event_rewards (event_id, session_id, reward_value, created_at, annotation) "
        "VALUES (?, 's', 0.5, '2025-06-01', X'00FF')",
        event,
    )
    target.change("UPDATE outcome_rewards SET total_reward = 9")
    target.change("DELETE FROM event_rewards WHERE id = ?", event)
    expected = target.all()
    batches = take_back(target, copy)
    assert losses(batches) == {
        ("row_not_held", "event_rewards", "id"): 1,
        ("derived_row_gone", "event_rewards", "id"): 1,
        ("value_not_held", "outcome_rewards", "total_reward"): 1,
    }
    move_again(target, copy, batches)
    assert target.all() == expected


ADD_OUTCOME = (
    "INSERT INTO outcome_rewards (id, session_id, total_reward, achievements_count, total_steps, created_at, "
    "reward_metadata) VALUES (?, 's', ?, 0, 1, '2025-06-01', ?)"
)
OUTCOMES = "SELECT total_reward, reward_metadata FROM outcome_rewards WHERE session_id = 's'"
"""As readers ask, who take the first."""


WRITES = {
    "behind": [("insert", 0), ("insert", 0)],
    "around": [("insert", -3), ("insert", 0)],
    "around a changed one": [("insert", -3), ("insert", -2), ("insert", 0), ("change", 0)],
    "alone": [("insert", 0), ("delete", 0), ("insert", 0)],
    "none": [("delete", 0)],
}


@pytest.mark.torture
@pytest.mark.parametrize("what", WRITES if TORTURE else ["around a changed one", "alone", "none"])
def test_the_outcomes_of_a_session_keep_their_order_whoever_has_their_ids_by_now(
    legacy: LegacyStore, target: V3Target, what: str
) -> None:
    legacy.session("s", events=[{"event_type": "environment", "reward": 1.0}])
    target.move(legacy)
    (derived,) = target.store.query("SELECT id FROM outcome_rewards")[0]
    for number, (write, away) in enumerate(WRITES[what]):
        if write == "insert":
            target.change(ADD_OUTCOME, derived + away if away else None, number, f"written {number}")
        elif write == "change":
            target.change("UPDATE outcome_rewards SET total_reward = 7.5 WHERE id = ?", derived)
        else:
            target.change("DELETE FROM outcome_rewards WHERE id = ?", derived)
    expected, said = target.store.query(OUTCOMES), target.all()
    # other sessions are there first, and the ids begin anew
    for number in range(4):
        legacy.session(f"other {number}", events=[{"event_type": "environment", "reward": 0.5}])
    told: list[Any] = []
    for _ in range(2):
        batches = take_back(target, legacy, ids=["s"])
        told.append(losses(batches))
        target.change("DELETE FROM sqlite_sequence WHERE name = 'outcome_rewards'")
        move_again(target, legacy, batches)
        assert target.store.query(OUTCOMES) == expected
        mine = [row for row in target.all()["outcome_rewards"] if row["session_id"] == "s"]
        assert mine == said["outcome_rewards"]
    assert told[1] == told[0], "it settles at once"


def test_what_the_old_program_makes_of_its_outcome_takes_no_other_with_it(
    legacy: LegacyStore, target: V3Target
) -> None:
    legacy.session("s", events=[{"event_type": "environment", "reward": 1.0}])
    target.move(legacy)
    (derived,) = target.store.query("SELECT id FROM outcome_rewards")[0]
    for away in (-2, 2):
        target.change(ADD_OUTCOME, derived + away, away, "written")
    batches = take_back(target, legacy)
    legacy.db.execute("UPDATE events SET reward = 3.0")
    move_again(target, legacy, batches)
    assert [total for total, _ in target.store.query(OUTCOMES)] == [-2, 3, 2]
    batches = take_back(target, legacy)
    legacy.db.execute("UPDATE events SET reward = NULL")
    move_again(target, legacy, batches)
    assert [total for total, _ in target.store.query(OUTCOMES)] == [-2, 2]


ADD_REWARD = (
    "INSERT INTO event_rewards (event_id, message_id, session_id, reward_value, created_at, annotation) "
    "VALUES (?, ?, 's', 0.5, '2025-06-01', 'written')"
)


WAITS: dict[str, tuple[str, tuple[Any, ...], str, tuple[str, str, str]]] = {
    "a row of a message": (
        ADD_REWARD,
        ("first event", "message"),
        "messages",
        ("row_not_held", "event_rewards", "id"),
    ),
    "a value of a message": (
        "UPDATE event_rewards SET message_id = ?",
        ("message",),
        "messages",
        ("value_not_held", "event_rewards", "message_id"),
    ),
    "a value of an event": (
        "UPDATE event_rewards SET event_id = ?",
        ("second event",),
        "events",
        ("value_not_held", "event_rewards", "event_id"),
    ),
    "a row of an event": (ADD_REWARD, ("second event", None), "events", ("row_not_held", "event_rewards", "id")),
}


@pytest.mark.torture
@pytest.mark.parametrize("what", WAITS if TORTURE else list(WAITS)[:3])
def test_what_names_a_row_that_the_old_program_has_deleted_waits_until_it_is_there_again(
    legacy: LegacyStore, target: V3Target, what: str
) -> None:
    write, values, gone, counted = WAITS[what]
    legacy.session("s", events=[{"event_type": "environment", "reward": 1.0}, {}], messages=[{}])
    target.move(legacy)
    first, second = (key for (key,) in target.store.query("SELECT id FROM events ORDER BY id"))
    named = {"first event": first, "second event": second, "message": legacy.texts("messages")[0]["id"]}
    target.change(write, *(named.get(value) for value in values))
    expected = target.all()["event_rewards"]
    batches = take_back(target, legacy)
    legacy.db.execute(
        f"CREATE OR REPLACE TEMP TABLE away AS SELECT * FROM {gone} WHERE id = {max(legacy_ids(legacy, gone))}"
    )
    legacy.db.execute(f"DELETE FROM {gone} WHERE id IN (SELECT id FROM away)")
    assert move_again(target, legacy, batches) == {"event_rewards": 1}
    assert target.store.query("PRAGMA foreign_key_check") == []
    batches = take_back(target, legacy)
    assert losses(batches)[counted] == 1
    legacy.db.execute(f"INSERT INTO {gone} SELECT * FROM away")
    assert move_again(target, legacy, batches) == {}
    assert target.all()["event_rewards"] == expected


def legacy_ids(legacy: LegacyStore, table: str) -> list[int]:
    return [int(row["id"]) for row in legacy.texts(table)]


def test_what_named_no_row_when_the_application_wrote_it_comes_back_so(legacy: LegacyStore, target: V3Target) -> None:
    legacy.session("s", events=[{"event_type": "environment", "reward": 1.0}])
    target.move(legacy)
    target.change(ADD_REWARD, 4711, 4712)
    target.change("UPDATE event_rewards SET message_id = 4713 WHERE annotation IS NULL")
    expected = target.all()
    for _ in range(2):
        assert move_again(target, legacy, take_back(target, legacy)) == {}
        assert target.all() == expected


ODD = [b"", b"\x00\xff", float("inf"), float("-inf"), 2**63 - 1, -(2**63), 5e-324, 2.0**60]
KEYS = {"id", "session_id"}


@pytest.mark.torture
@pytest.mark.parametrize("first", range(8) if TORTURE else [0, 3])
def test_a_value_of_any_type_in_any_column_is_there_again_after_every_way_back(
    legacy: LegacyStore, target: V3Target, first: int
) -> None:
    """Each column has the value after its neighbour's; from every ``first`` on, each has had each."""
    legacy.session("s", timesteps=[{}], events=[{"event_type": "environment", "reward": 1.0}], messages=[{}])
    legacy.session("other", messages=[{}])
    target.move(legacy)
    # rows that are kept as cells, and such as are kept whole
    target.change(ADD_REWARD, 1, None)
    target.change(ADD_OUTCOME, 4711, 1, None)
    written = 0
    values = islice(cycle(ODD), first, None)
    for table in V3_SESSION_TABLES:
        for column in [str(row[1]) for row in target.store.query(f"PRAGMA table_info({table})")]:
            if column not in KEYS:
                # a type has its own CHECK, and another step of this index is there
                with suppress(StoreConstraintError):
                    target.change(f"UPDATE {table} SET {column} = ? WHERE session_id = 's'", next(values))
                    written += 1
    assert written > 50
    expected = target.all()
    for _ in range(2):
        move_again(target, legacy, take_back(target, legacy))
        assert target.all() == expected


def test_rows_that_get_new_ids_keep_those_that_name_them_and_one_whose_key_is_taken_waits(
    legacy: LegacyStore, target: V3Target
) -> None:
    legacy.session("other", timesteps=[{}], events=[{}])
    legacy.session("s")
    target.move(legacy)
    (step,) = target.store.query("SELECT id FROM session_timesteps")[0]
    (event,) = target.store.query("SELECT id FROM events")[0]
    moment = "2025-06-01"
    rows = {
        "event_rewards": [{"id": 5, "event_id": event, "session_id": "s", "reward_value": 1.0, "created_at": moment}],
        "events": [{"id": event, "session_id": "s", "timestep_id": step, "event_type": "cais"}],
        "session_timesteps": [{"id": step, "session_id": "s", "step_id": "mine", "step_index": 0}],
        "session_traces": [{"session_id": "s", "created_at": moment, "num_timesteps": 1}],
    }
    given = SynthPutBack().put_back(target.store, "s", {"rows": rows})
    assert given.waiting == {"rows": {"session_traces": rows["session_traces"]}}
    assert {table: count for table, (count, _) in given.told.items()} == {"session_traces": 1}
    read = (
        "SELECT t.step_id, e.session_id, t.session_id FROM event_rewards AS r JOIN events AS e ON e.id = r.event_id "
        "JOIN session_timesteps AS t ON t.id = e.timestep_id WHERE r.session_id = 's'"
    )
    assert target.store.query(read) == [("mine", "s", "s")]


def test_rows_that_cannot_all_have_their_ids_back_stay_in_their_order(legacy: LegacyStore, target: V3Target) -> None:
    legacy.session("s", events=[{}])
    target.move(legacy)
    (taken,) = target.store.query("SELECT max(id) FROM events")[0]
    for place in (1, 2):
        step = "INSERT INTO session_timesteps (id, session_id, step_id, step_index) VALUES (?, 's', ?, ?)"
        target.change(step, taken + place, f"t{place}", place)
        event = "INSERT INTO events (id, session_id, event_type, timestep_id, reward) VALUES (?, 's', ?, ?, 1.0)"
        target.change(event, taken + place, "environment", taken + place)
        reward = (
            "INSERT INTO event_rewards (id, event_id, session_id, reward_value, created_at) VALUES (?, ?, 's', 1.0, '')"
        )
        target.change(reward, 70 + place, taken + place)
    # the old program has drawn the ids by now
    legacy.session("other", timesteps=[{"id": taken + 1}], events=[{"id": taken + 1}])
    batches = take_back(target, legacy)
    move_again(target, legacy, batches)
    read = (
        "SELECT t.step_id, r.id, e.session_id FROM events AS e LEFT JOIN session_timesteps AS t "
        "ON t.id = e.timestep_id LEFT JOIN event_rewards AS r ON r.event_id = e.id "
        "WHERE e.session_id = 's' ORDER BY e.id"
    )
    assert target.store.query(read) == [(None, None, "s"), ("t1", 71, "s"), ("t2", 72, "s")]


def test_what_the_old_program_changed_since_stands(legacy: LegacyStore, target: V3Target) -> None:
    legacy.session("s", events=[{"reward": 1.0}, {}])
    target.move(legacy)
    target.change("UPDATE events SET truncated = 1, input_tokens = 1099511627776")
    batches = take_back(target, legacy)
    legacy.db.execute("UPDATE events SET prompt_tokens = 5 WHERE reward = 1.0")
    move_again(target, legacy, batches)
    assert target.store.query("SELECT truncated, input_tokens FROM events ORDER BY id") == [(1, 5), (1, 2**40)]


def test_rows_whose_id_is_taken_get_new_ones_in_their_order(legacy: LegacyStore, target: V3Target) -> None:
    legacy.session("s", messages=[{"content": '"a"'}])
    target.move(legacy)
    (taken,) = target.store.query("SELECT max(id) FROM messages")[0]
    add = "INSERT INTO messages (id, session_id, message_type, content) VALUES (?, 's', 'user', ?)"
    for number, content in ((1, "b"), (2, "c"), (3, "d")):
        target.change(add, taken + number, content)
    target.change(add, 2**40, "e")
    # the old program has gone on meanwhile, and draws the very ids that the new one gave
    legacy.session("other", messages=[{"id": taken + 2, "content": '"x"'}])
    expected = target.all()
    batches = take_back(target, legacy)
    own = [row for row in legacy.texts("messages") if row["session_id"] == "s"]
    assert [row["content"] for row in own] == ['"a"', '"b"', '"c"', '"d"', '"e"']
    assert [int(row["id"]) - taken for row in own][:2] == [0, 1]
    assert losses(batches)["id_renumbered", "messages", "id"] == 3
    drawn = legacy.db.execute("SELECT nextval('message_id_seq')").fetchall()[0][0]
    assert drawn > max(int(row["id"]) for row in legacy.texts("messages"))
    legacy.db.execute("DELETE FROM messages WHERE session_id = 'other'")
    legacy.db.execute("DELETE FROM session_traces WHERE session_id = 'other'")
    move_again(target, legacy, batches)
    assert target.all()["messages"] == expected["messages"]


def test_an_id_that_a_quarantined_row_has_is_taken(legacy: LegacyStore, target: V3Target, copy: LegacyStore) -> None:
    legacy.session("s", events=[{}, {"event_type": "billing"}])
    target.move(legacy)
    target.change("INSERT INTO events (session_id, event_type) VALUES ('s', 'cais')")
    for store in (copy, legacy):
        take_back(target, store)
        kinds = [row["event_type"] for row in store.texts("events")]
        assert kinds == ["cais", "billing", "cais"]


def test_a_session_that_is_gone_is_removed(legacy: LegacyStore, target: V3Target) -> None:
    legacy.session("s", messages=[{}], events=[{}], timesteps=[{}])
    legacy.session("stays", messages=[{}])
    target.move(legacy)
    for table in ("messages", "events", "session_timesteps", "session_traces"):
        target.change(f"DELETE FROM {table} WHERE session_id = 's'")
    batches = take_back(target, legacy)
    assert [(unit.session_id, unit.found) for unit in batches[1].units] == [("stays", "unchanged"), ("s", "gone")]
    assert [row["session_id"] for row in legacy.texts("messages")] == ["stays"]
    assert not legacy.texts("events")
    LEGACY.remove(legacy.store, ["s"])


def test_a_session_in_quarantine_comes_back_whole(legacy: LegacyStore, target: V3Target, copy: LegacyStore) -> None:
    legacy.session("s", created_at="infinity", events=[{"reward": float("nan"), "terminated": True}], messages=[{}])
    target.move(legacy)
    assert not target.store.query("SELECT * FROM session_traces")
    batches = take_back(target, copy)
    assert [unit.found for unit in batches[1].units] == ["quarantined"]
    for table in ("session_traces", "events", "messages"):
        assert copy.texts(table) == legacy.texts(table)


def test_a_mapped_type_comes_back_by_the_mapping_of_its_run(
    legacy: LegacyStore, target: V3Target, copy: LegacyStore
) -> None:
    from sessionlift.converters import TypeMapping

    legacy.session("s", events=[{"event_type": "billing"}], messages=[{"message_type": "policy_call"}])
    target.move(legacy, mapping=TypeMapping({"policy_call": "tool_use"}, {"billing": "runtime"}))
    target.change("UPDATE session_traces SET num_events = 3")
    assert losses(take_back(target, copy)) == {}
    assert last(copy, "events")["event_type"] == "billing"
    assert last(copy, "messages")["message_type"] == "policy_call"
    assert last(copy, "session_traces")["num_events"] == "3"


def test_the_catalog_comes_back_with_what_the_application_made(
    legacy: LegacyStore, target: V3Target, copy: LegacyStore
) -> None:
    moment = {"created_at": "2025-01-01 00:00:00"}
    legacy.add("systems", {"id": "a", "name": "A"}, {"id": "b", "name": "B"})
    legacy.add("system_versions", {"id": "v", "system_id": "a", "branch": "main", **moment})
    legacy.add("experiments", {"id": "e", "name": "E", **moment, "updated_at": "infinity"})
    legacy.add("experimental_systems", {"experiment_id": "e", "system_id": "a", "system_version_id": "v"})
    target.move(legacy)
    target.change("DELETE FROM systems WHERE system_id = 'b'")
    target.change("UPDATE systems SET name = 'AA', system_type = 'llm' WHERE system_id = 'a'")
    target.change("INSERT INTO experiments (experiment_id, name, created_at) VALUES ('n', 'N', '2025-06-01 10:00:00')")
    target.change("INSERT INTO system_versions (version_id, system_id, version_number) VALUES ('w', 'nobody', '1')")
    told = losses(take_back(target, legacy))
    assert [(row["id"], row["name"]) for row in legacy.texts("systems")] == [("a", "AA")]
    assert {row["id"]: row["updated_at"] for row in legacy.texts("experiments")}["e"] == "infinity"
    assert [row["id"] for row in legacy.texts("system_versions")] == ["v"]
    assert told["row_not_held", "system_versions", "version_id"] == 1
    assert told["column_not_held", "systems", "system_type"] == 1


def test_no_row_is_taken_from_another_session(legacy: LegacyStore) -> None:
    legacy.session("s", messages=[{}])
    (row,) = legacy.texts("messages")
    stolen = (int(row["id"]), "thief", None, "user", '"x"', None, None, None)
    batch = BackwardBatch([BackUnit(SESSION, "thief", "new")], rows={"messages": [stolen]})
    with pytest.raises(StoreConstraintError):
        LEGACY.write(legacy.store, batch)
    legacy.session("thief", messages=[{}])
    before = legacy.texts("messages")
    with pytest.raises(StoreConstraintError, match="belongs to session 's'"):
        LEGACY.write(legacy.store, batch)
    assert legacy.texts("messages") == before
    assert before[0] == row


def test_a_store_with_foreign_keys_takes_changes_and_removals(
    legacy: LegacyStore, target: V3Target, tmp_path: Any
) -> None:
    from sessionlift.generations import schema_upgrade

    url = f"duckdb://{tmp_path / 'mid.duckdb'}"
    schema_upgrade(url, "synth_v2", dress="mid")
    legacy.session("s", timesteps=[{"num_events": 1, "num_messages": 1}], events=[{}], messages=[{}])
    target.move(legacy)
    with DuckdbStore(parse_store_url(url), mode="rw") as mid, SynthBackward() as back:
        memory = sessions_of(target.memory)
        LEGACY.write(mid, back.backward(target.store, ["s"], memory, (mid, LEGACY)))
        target.change("INSERT INTO events (session_id, event_type) VALUES ('s', 'cais')")
        target.change("UPDATE session_traces SET num_events = 2, metadata = '{\"a\": 1}'")
        target.change("DELETE FROM messages")
        batch = back.backward(target.store, ["s"], memory, (mid, LEGACY))
        LEGACY.write(mid, batch)
        found = LEGACY.digests(mid, SESSION, ["s"])
        assert found == {"s": batch.units[0].source_digest}
        assert mid.query("SELECT timestep_id FROM events") == [(None,), (None,)]
        LEGACY.remove(mid, ["s"])
        LEGACY.remove(mid, ["s"])
        assert LEGACY.digests(mid, SESSION, ["s"]) == {}
