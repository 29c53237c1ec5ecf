"""A legacy program that goes on writing while the new one writes, too: neither takes the other's ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.moved import add_session, change, change_source, query, session_ids
from tests.support.run_fixtures import Legacy
from tests.support.traces import make_traces
from tests.support.warm import Warm

from sessionlift.bridge.synth import SyncTraceBridge
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


@pytest.mark.parametrize(("left", "set_again"), [(ROOM // 2, False), (ROOM // 2 - 1, True)])
def test_a_counter_is_set_again_when_more_than_half_of_the_room_is_used_up(
    sessionlift: Warm, legacy: Legacy, target: Path, left: int, set_again: bool
) -> None:
    source = legacy(sessions=2, traps="none")
    sessionlift("migrate", source, target, "--json")
    last = last_ids(source)["messages"]
    change(target, "UPDATE sqlite_sequence SET seq = ? WHERE name = 'messages'", last + left)
    change_source(source, "UPDATE session_traces SET num_messages = num_messages + 1")
    again = sessionlift("migrate", source, target, "--json")
    assert counters(target)["messages"] == last + (ROOM if set_again else left)
    assert bool(said(report(again)["assumptions"])) == set_again


def test_no_counter_is_ever_set_back(sessionlift: Warm, legacy: Legacy, target: Path) -> None:
    source = legacy(sessions=2, traps="none")
    sessionlift("migrate", source, target, "--only", session_ids(source)[0], "--json")
    change(target, "UPDATE sqlite_sequence SET seq = 77000000 WHERE name = 'events'")
    change(target, "DELETE FROM sqlite_sequence WHERE name = 'messages'")
    sessionlift("migrate", source, target, "--json")
    found = counters(target)
    assert (found["events"], found["messages"]) == (77_000_000, last_ids(source)["messages"] + ROOM)


@pytest.mark.parametrize("given", [2**30 - ROOM + 1, 2**31 - 5])
def test_the_room_begins_above_the_ids_that_the_old_program_has_counted_to_and_not_above_one_given_by_hand(
    sessionlift: Warm, legacy: Legacy, target: Path, given: int
) -> None:
    source = legacy(sessions=3, traps="none")
    by_hand, waiting, *_ = session_ids(source)
    before = last_ids(source)["messages"]
    with duckdb.connect(str(source)) as db:
        sql = "INSERT INTO messages SELECT * REPLACE (? AS id) FROM messages WHERE session_id = ? LIMIT 1"
        db.execute(sql, [given, by_hand])
    first = sessionlift("migrate", source, target, "--only", waiting, "--json")
    assert counters(target)["messages"] == before + ROOM, said(report(first)["assumptions"])
    new_session(target, "new")
    assert sessionlift("migrate", source, target, "--json").code == 0
    # the row itself takes the counter with it, as in any table of SQLite's
    assert counters(target)["messages"] == given


def test_what_the_new_program_added_goes_back_under_its_own_ids_and_the_old_one_draws_higher_ones(
    sessionlift: Warm, legacy: Legacy, target: Path
) -> None:
    source = legacy(sessions=2, traps="none")
    sessionlift("migrate", source, target, "--json")
    new_session(target, "new")
    ids = query(target, "SELECT id FROM messages WHERE session_id = 'new'")
    assert ids[0][0] > ROOM
    outcome = sessionlift("rollback", target, "--all", "--json")
    assert outcome.code == 0, outcome.out
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


def test_a_reward_of_the_new_program_never_has_the_id_of_an_event(
    sessionlift: Warm, legacy: Legacy, target: Path
) -> None:
    source = legacy(sessions=2, traps="none")
    sessionlift("migrate", source, target, "--json")
    # one reward more than events of its own: else both would count alike
    change(
        target,
        "INSERT INTO event_rewards (event_id, session_id, reward_value, created_at) "
        "SELECT id, session_id, 0.5, '' FROM events LIMIT 1",
    )
    new_session(target, "new")
    assert sessionlift("rollback", target, "--session", "new", "--json").code == 0
    again = sessionlift("migrate", source, target, "--json")
    assert (again.code, report(again)["failed_sessions"]) == (0, 0), again.out
    assert query(target, "SELECT count(*) FROM events WHERE session_id = 'new'") == [(1,)]


@pytest.mark.parametrize("option", [("--session", "gone back"), ("--all", "--keep-target")])
def test_both_programs_may_go_on_after_a_rollback(
    sessionlift: Warm, legacy: Legacy, target: Path, option: tuple[str, str]
) -> None:
    source = legacy(sessions=2, traps="none")
    sessionlift("migrate", source, target, "--json")
    new_session(target, "gone back")
    new_session(target, "stays")
    back = sessionlift("rollback", target, *option, "--json")
    assert back.code == 0, back.out
    assert said(report(back)["assumptions"])
    for number in range(3):
        new_session(target, f"new-{number}")
        add_session(source, f"old-{number}", session_ids(source)[0])
    again = sessionlift("migrate", source, target, "--json")
    assert (again.code, report(again)["failed_sessions"]) == (0, 0), again.out
    both = {key for (key,) in query(target, "SELECT session_id FROM session_traces")}
    assert both >= {f"{kind}-{number}" for kind in ("old", "new") for number in range(3)}


def test_what_the_old_program_has_deleted_again_still_counts(sessionlift: Warm, legacy: Legacy, target: Path) -> None:
    source = legacy(sessions=2, traps="none")
    sessionlift("migrate", source, target, "--json")
    new_session(target, "new")
    sessionlift("rollback", target, "--all", "--json")
    change_source(source, *(f"DELETE FROM {table} WHERE session_id = 'new'" for table in (*COUNTED, "session_traces")))
    sessionlift("migrate", source, target, "--json")
    new_session(target, "newer")
    add_session(source, "old", session_ids(source)[0])
    again = sessionlift("migrate", source, target, "--json")
    assert (again.code, report(again)["failed_sessions"]) == (0, 0), again.out


def test_a_new_legacy_store_counts_on_from_what_many_ways_back_have_brought(
    sessionlift: Warm, legacy: Legacy, target: Path
) -> None:
    source = legacy(sessions=2, traps="none")
    one = session_ids(source)[0]
    for trip in range(3):
        sessionlift("migrate", source, target, "--json")
        change(target, "INSERT INTO messages (session_id, message_type, content) VALUES (?, 'user', ?)", one, f"{trip}")
        assert sessionlift("rollback", target, "--session", one, "--json").code == 0
    sessionlift("migrate", source, target, "--json")
    new = source.with_name("new.duckdb")
    assert sessionlift("rollback", target, "--all", "--to", new, "--json").code == 0
    for store in (source, new):
        with duckdb.connect(str(store)) as db:
            ((last, following),) = db.execute("SELECT max(id), nextval('message_id_seq') FROM messages").fetchall()
            assert following > last > 2 * ROOM


@pytest.mark.parametrize("odd", ["NULL", "'77000000'", "7.7e7", "x'00'", "'x'"])
def test_a_counter_that_holds_no_whole_number_is_read_as_sqlite_reads_it(
    sessionlift: Warm, legacy: Legacy, target: Path, odd: str
) -> None:
    source = legacy(sessions=2, traps="none")
    sessionlift("migrate", source, target, "--only", session_ids(source)[0], "--json")
    change(target, f"UPDATE sqlite_sequence SET seq = {odd} WHERE name = 'messages'")
    change(target, "INSERT INTO sqlite_sequence (name, seq) VALUES ('messages', 5)")
    sessionlift("migrate", source, target, "--json")
    new_session(target, "new")
    ((drawn,),) = query(target, "SELECT id FROM messages WHERE session_id = 'new'")
    assert drawn == (77_000_001 if "7" in odd else last_ids(source)["messages"] + ROOM + 1)


def test_neither_a_dry_run_nor_one_that_has_nothing_to_move_touches_the_counters(
    sessionlift: Warm, legacy: Legacy, target: Path
) -> None:
    source = legacy(sessions=2, traps="none")
    rehearsed = sessionlift("migrate", source, target, "--dry-run", "--json")
    assert said(report(rehearsed)["assumptions"]) == []
    sessionlift("migrate", source, target, "--json")
    change(target, "UPDATE sqlite_sequence SET seq = 50 WHERE name = 'messages'")
    again = sessionlift("migrate", source, target, "--json")
    assert (report(again)["migrated_sessions"], report(again)["backups"]) == (0, [])
    assert counters(target)["messages"] == 50


def test_an_id_given_by_hand_does_not_use_up_the_legacy_programs_numbers(
    sessionlift: Warm, legacy: Legacy, target: Path
) -> None:
    source = legacy(sessions=3, traps="none")
    (one, *_), last = session_ids(source), last_ids(source)["messages"]
    change_source(
        source,
        "INSERT INTO messages (id, session_id, message_type, content) "
        f"VALUES (2147483647, '{one}', 'llm_prompt', '\"max\"')",
    )
    assert sessionlift("migrate", source, target).code == 0
    for said in ("once", "twice"):
        change(target, f"INSERT INTO messages (session_id, message_type, content) VALUES ('{one}', 'user', '{said}')")
        assert sessionlift("rollback", target, "--all").code == 0
        assert sessionlift("migrate", source, target).code == 0
    with duckdb.connect(str(source)) as db:
        drawn = db.execute("SELECT nextval('message_id_seq')").fetchall()[0][0]
    assert last < drawn < last + 100
    found = query(target, "SELECT content FROM messages WHERE content IN ('once', 'twice') ORDER BY id")
    assert found == [("once",), ("twice",)]
