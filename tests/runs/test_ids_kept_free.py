"""A legacy program that goes on writing while the new one writes, too: neither takes the other's ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.made import make_moved
from tests.support.moved import add_session, change, change_source, query, session_ids
from tests.support.run_fixtures import Legacy
from tests.support.traces import make_traces
from tests.support.warm import Warm

from sessionlift.bridge.synth import SyncTraceBridge
from sessionlift.reports import Report
from sessionlift.runs import BackupOptions, RollbackOptions, TransferOptions, migrate, rollback
from sessionlift.stores import open_store

pytestmark = pytest.mark.slow

ROOM = 1_000_000
COUNTED = ("session_timesteps", "events", "messages")
"""The tables whose rows keep their ids."""
REWARDS = 2**30
"""Where v3's own rewards begin: a moved reward has the id of its event."""


def last_ids(source: Path) -> dict[str, int]:
    with duckdb.connect(str(source), read_only=True) as db:
        return {table: db.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchall()[0][0] for table in COUNTED}


def counters(target: Path) -> dict[str, int]:
    found = query(target, "SELECT name, seq FROM sqlite_sequence")
    return {name: seq for name, seq in found if name in (*COUNTED, "event_rewards")}


def new_session(target: Path, session_id: str) -> None:
    """A session as the new program writes it: it draws every id."""
    change(
        target,
        "INSERT INTO session_traces (session_id, created_at, num_timesteps, num_events, num_messages) "
        "VALUES (?, '2031-01-01T00:00:00.000000+00:00', 1, 1, 1)",
        session_id,
    )
    change(target, "INSERT INTO session_timesteps (session_id, step_id, step_index) VALUES (?, 'a', 0)", session_id)
    change(target, "INSERT INTO events (session_id, event_type, reward) VALUES (?, 'environment', 1.0)", session_id)
    change(
        target,
        "INSERT INTO event_rewards (event_id, session_id, reward_value, created_at) "
        "SELECT max(id), session_id, 1.0, '' FROM events WHERE session_id = ?",
        session_id,
    )
    change(target, "INSERT INTO messages (session_id, message_type, content) VALUES (?, 'user', 'hi')", session_id)


def at_hand(target: Path) -> Path:
    """A target that was moved into, with its room, and its legacy store."""
    source = target.parent.with_name("source") / "legacy.duckdb"
    make_moved(source, target, sessions=2, traps="none", seed=1)
    return source


def moved(source: Path, target: Path, **options: Any) -> Report:
    """Without what makes a run slow: a verification and copies say nothing of ids."""
    chosen = TransferOptions(**options)
    return migrate(str(source), str(target), chosen, verify=False, backup=BackupOptions(False)).report


def taken_back(target: Path, **options: Any) -> Report:
    chosen = RollbackOptions(everything="sessions" not in options, **options)
    return rollback(str(target), chosen, own_process=True, backup=BackupOptions(False)).report


def report(outcome: Any) -> dict[str, Any]:
    return dict(json.loads(outcome.out)["report"])


def said(assumptions: list[str]) -> list[str]:
    return [line for line in assumptions if "own ids begin above" in line]


def test_what_both_programs_write_after_a_move_can_still_move(sessionlift: Warm, legacy: Legacy, target: Path) -> None:
    source = legacy(sessions=3, traps="none")
    first = report(sessionlift("migrate", source, target, "--json"))
    before = last_ids(source)
    assert counters(target) == {**{table: last + ROOM for table, last in before.items()}, "event_rewards": REWARDS}
    (line,) = said(first["assumptions"])
    assert f"(session_timesteps {before['session_timesteps'] + ROOM + 1:,}, events " in line

    for number in range(3):
        new_session(target, f"new-{number}")
        add_session(source, f"old-{number}", session_ids(source)[0])
    again = sessionlift("migrate", source, target, "--json")

    assert again.code == 0, again.out
    assert (report(again)["migrated_sessions"], report(again)["failed_sessions"]) == (3, 0)
    assert said(report(again)["assumptions"]) == []
    for table in COUNTED:
        sql = f"SELECT id FROM {table} WHERE session_id LIKE 'old-%' ORDER BY id"
        with duckdb.connect(str(source), read_only=True) as db:
            assert query(target, sql) == db.execute(sql).fetchall(), table


def test_sessions_move_one_by_one_beside_those_that_the_new_program_began_before_them(tmp_path: Path) -> None:
    traces = make_traces(tmp_path)
    with SyncTraceBridge(*traces.both) as bridge:
        new_session(traces.target, "new")
        assert all(bridge.get_session_trace(each) is not None for each in traces.ids)
        assert bridge.get_session_trace("new") is not None
    assert query(traces.target, "SELECT state, count(*) FROM sessionlift_units WHERE unit = 'session'") == [
        ("moved", len(traces.ids))
    ]
    (written,) = (traces.target.parent / f"{traces.target.name}.reports").glob("bridge-*[0-9a-f].json")
    (line,) = said(json.loads(written.read_text())["assumptions"])
    assert "what the legacy program still writes keeps its ids" in line


def test_a_counter_is_set_again_when_more_than_half_of_the_room_is_used_up(target: Path) -> None:
    source = at_hand(target)
    last = last_ids(source)
    for table, left in (("events", ROOM // 2), ("messages", ROOM // 2 - 1)):
        change(target, "UPDATE sqlite_sequence SET seq = ? WHERE name = ?", last[table] + left, table)
    change_source(source, "UPDATE session_traces SET num_messages = num_messages + 1")
    again = moved(source, target)
    found = counters(target)
    assert (found["events"], found["messages"]) == (last["events"] + ROOM // 2, last["messages"] + ROOM)
    (line,) = said(again.assumptions)
    assert f"(messages {last['messages'] + ROOM + 1:,})" in line
    change(target, "UPDATE sqlite_sequence SET seq = ? WHERE name = 'messages'", last["messages"] + ROOM // 2)
    change_source(source, "UPDATE session_traces SET num_messages = num_messages + 1")
    assert said(moved(source, target).assumptions) == []


def test_no_counter_is_ever_set_back(legacy: Legacy, target: Path) -> None:
    source = legacy(sessions=2, traps="none")
    moved(source, target, only=(session_ids(source)[0],))
    change(target, "UPDATE sqlite_sequence SET seq = 77000000 WHERE name = 'events'")
    change(target, "DELETE FROM sqlite_sequence WHERE name = 'messages'")
    moved(source, target)
    found = counters(target)
    assert (found["events"], found["messages"]) == (77_000_000, last_ids(source)["messages"] + ROOM)


@pytest.mark.parametrize("given", [2**30 - ROOM + 1, 2**31 - 5])
def test_the_room_begins_above_the_ids_that_the_old_program_has_counted_to_and_not_above_one_given_by_hand(
    legacy: Legacy, target: Path, given: int
) -> None:
    source = legacy(sessions=3, traps="none")
    by_hand, waiting, *_ = session_ids(source)
    before = last_ids(source)["messages"]
    with duckdb.connect(str(source)) as db:
        sql = "INSERT INTO messages SELECT * REPLACE (? AS id) FROM messages WHERE session_id = ? LIMIT 1"
        db.execute(sql, [given, by_hand])
    first = moved(source, target, only=(waiting,))
    assert counters(target)["messages"] == before + ROOM, said(first.assumptions)
    new_session(target, "new")
    assert moved(source, target).errors == []
    # the row itself takes the counter with it, as in any table of SQLite's
    assert counters(target)["messages"] == given


def test_what_the_new_program_added_goes_back_under_its_own_ids_and_the_old_one_draws_higher_ones(target: Path) -> None:
    source = at_hand(target)
    new_session(target, "new")
    ids = query(target, "SELECT id FROM messages WHERE session_id = 'new'")
    assert ids[0][0] > ROOM
    assert taken_back(target).errors == []
    with duckdb.connect(str(source)) as db:
        assert db.execute("SELECT id FROM messages WHERE session_id = 'new'").fetchall() == ids
        assert db.execute("SELECT nextval('message_id_seq')").fetchall()[0] > ids[0]


@pytest.mark.sqld
def test_a_server_keeps_ids_free_too(sessionlift: Warm, legacy: Legacy, sqld: str, tmp_path: Path) -> None:
    source = legacy(sessions=2, traps="none")
    outcome = sessionlift("migrate", source, sqld, "--json", cwd=tmp_path)
    assert outcome.code == 0, outcome.err
    with open_store(sqld, mode="ro", role="target") as store:
        found = {str(name): seq for name, seq in store.query("SELECT name, seq FROM sqlite_sequence")}
    assert found["event_rewards"] == REWARDS
    for table, last in last_ids(source).items():
        assert found[table] == last + ROOM, table


def test_a_reward_of_the_new_program_never_has_the_id_of_an_event(target: Path) -> None:
    source = at_hand(target)
    # one reward more than events of its own: else both would count alike
    change(
        target,
        "INSERT INTO event_rewards (event_id, session_id, reward_value, created_at) "
        "SELECT id, session_id, 0.5, '' FROM events LIMIT 1",
    )
    new_session(target, "new")
    assert taken_back(target, sessions=("new",)).errors == []
    again = moved(source, target)
    assert (again.errors, again.failed_sessions) == ([], 0)
    assert query(target, "SELECT count(*) FROM events WHERE session_id = 'new'") == [(1,)]


@pytest.mark.parametrize("options", [{"sessions": ("gone back",)}, {"keep_target": True}])
def test_both_programs_may_go_on_after_a_rollback(target: Path, options: dict[str, Any]) -> None:
    source = at_hand(target)
    new_session(target, "gone back")
    new_session(target, "stays")
    back = taken_back(target, **options)
    assert back.errors == []
    assert said(back.assumptions)
    for number in range(3):
        new_session(target, f"new-{number}")
        add_session(source, f"old-{number}", session_ids(source)[0])
    again = moved(source, target)
    assert (again.errors, again.failed_sessions) == ([], 0)
    both = {key for (key,) in query(target, "SELECT session_id FROM session_traces")}
    assert both >= {f"{kind}-{number}" for kind in ("old", "new") for number in range(3)}


def test_what_the_old_program_has_deleted_again_still_counts(target: Path) -> None:
    source = at_hand(target)
    new_session(target, "new")
    taken_back(target)
    change_source(source, *(f"DELETE FROM {table} WHERE session_id = 'new'" for table in (*COUNTED, "session_traces")))
    moved(source, target)
    new_session(target, "newer")
    add_session(source, "old", session_ids(source)[0])
    again = moved(source, target)
    assert (again.errors, again.failed_sessions) == ([], 0)


def test_a_new_legacy_store_counts_on_from_what_many_ways_back_have_brought(target: Path) -> None:
    source = at_hand(target)
    one = session_ids(source)[0]
    for trip in range(3):
        if trip:
            moved(source, target)
        change(target, "INSERT INTO messages (session_id, message_type, content) VALUES (?, 'user', ?)", one, f"{trip}")
        assert taken_back(target, sessions=(one,)).errors == []
    moved(source, target)
    new = source.with_name("new.duckdb")
    assert taken_back(target, to=str(new)).errors == []
    for store in (source, new):
        with duckdb.connect(str(store)) as db:
            ((last, following),) = db.execute("SELECT max(id), nextval('message_id_seq') FROM messages").fetchall()
            assert following > last > 2 * ROOM


@pytest.mark.parametrize("odds", [("NULL", "'77000000'", "7.7e7"), ("x'00'", "'x'", "-1")])
def test_a_counter_that_holds_no_whole_number_is_read_as_sqlite_reads_it(
    target: Path, odds: tuple[str, str, str]
) -> None:
    source = at_hand(target)
    for table, odd in zip(COUNTED, odds, strict=True):
        change(target, f"UPDATE sqlite_sequence SET seq = {odd} WHERE name = '{table}'")
        change(target, "INSERT INTO sqlite_sequence (name, seq) VALUES (?, 5)", table)
    change_source(source, "UPDATE session_traces SET num_messages = num_messages + 1")
    moved(source, target)
    new_session(target, "new")
    for table, odd in zip(COUNTED, odds, strict=True):
        ((drawn,),) = query(target, f"SELECT id FROM {table} WHERE session_id = 'new'")
        assert drawn == (77_000_001 if "7" in odd else last_ids(source)[table] + ROOM + 1), odd


def test_neither_a_dry_run_nor_one_that_has_nothing_to_move_touches_the_counters(
    sessionlift: Warm, legacy: Legacy, target: Path
) -> None:
    source = legacy(sessions=2, traps="none")
    rehearsed = sessionlift("migrate", source, target, "--dry-run", "--json")
    assert said(report(rehearsed)["assumptions"]) == []
    moved(source, target)
    change(target, "UPDATE sqlite_sequence SET seq = 50 WHERE name = 'messages'")
    again = report(sessionlift("migrate", source, target, "--json"))
    assert (again["migrated_sessions"], again["backups"]) == (0, [])
    assert counters(target)["messages"] == 50


def test_an_id_given_by_hand_does_not_use_up_the_legacy_programs_numbers(legacy: Legacy, target: Path) -> None:
    source = legacy(sessions=3, traps="none")
    (one, *_), last = session_ids(source), last_ids(source)["messages"]
    change_source(
        source,
        "INSERT INTO messages (id, session_id, message_type, content) "
        f"VALUES (2147483647, '{one}', 'llm_prompt', '\"max\"')",
    )
    assert moved(source, target).errors == []
    for said in ("once", "twice"):
        change(target, f"INSERT INTO messages (session_id, message_type, content) VALUES ('{one}', 'user', '{said}')")
        assert taken_back(target).errors == []
        assert moved(source, target).errors == []
    with duckdb.connect(str(source)) as db:
        drawn = db.execute("SELECT nextval('message_id_seq')").fetchall()[0][0]
    assert last < drawn < last + 100
    found = query(target, "SELECT content FROM messages WHERE content IN ('once', 'twice') ORDER BY id")
    assert found == [("once",), ("twice",)]
