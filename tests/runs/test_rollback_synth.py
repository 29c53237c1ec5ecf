"""Synth-AI traces on their way back: from libSQL into DuckDB, with what was written since."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.runs.test_taken_back import contents
from tests.support.laws import TORTURE
from tests.support.made import make_moved
from tests.support.moved import REAL_TABLES, change, change_source, query, session_ids
from tests.support.run_fixtures import Legacy
from tests.support.taken_back import checked_again, ledger, notes, smaller_loss, take_back
from tests.support.warm import Warm

from sessionlift.converters.synth import SynthRows
from sessionlift.converters.synth._columns import V2_COLUMNS
from sessionlift.ledger import Ledger
from sessionlift.runs import TransferOptions, migrate
from sessionlift.stores import open_store

pytestmark = pytest.mark.slow

OWN_IDS = {"outcome_rewards", "experimental_systems"}


def at_hand(target: Path, sessions: int = 4, traps: str = "none") -> Path:
    """A target that was moved into, and its legacy store: the move itself is tested elsewhere."""
    source = target.parent.with_name("source") / "legacy.duckdb"
    make_moved(source, target, sessions=sessions, traps=traps, seed=1)
    return source


def moved(source: Path, target: Path, **options: Any) -> None:
    """Without a verification: a test that is about one asks for it, and hears what it says."""
    migrate(str(source), str(target), TransferOptions(**options), verify=False)


def v3_rows(target: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row with every column, but for the ids that the target gives by itself."""
    found = {}
    for table in REAL_TABLES:
        names = [row[1] for row in query(target, f"PRAGMA table_info({table})")]
        names = [name for name in names if name != "id" or table not in OWN_IDS]
        found[table] = sorted(query(target, f"SELECT {', '.join(names)} FROM {table}"), key=repr)
    return found


def living(target: Path) -> list[str]:
    return [key for (key,) in query(target, "SELECT session_id FROM session_traces ORDER BY rowid")]


def v2(source: Path, sql: str, *params: object) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(source), read_only=True) as db:
        return db.execute(sql, list(params)).fetchall()


def add_message(target: Path, session_id: str, content: str, metadata: str = "{}") -> None:
    change(
        target,
        "INSERT INTO messages (session_id, message_type, content, timestamp, event_time, metadata) "
        "VALUES (?, 'user', ?, '2031-05-06T07:08:09.123456+00:00', 1900000000.5, ?)",
        session_id,
        content,
        metadata,
    )


def test_what_nobody_wrote_to_leaves_every_row_of_the_legacy_store_as_it_is(sessionlift: Warm, target: Path) -> None:
    source = at_hand(target, sessions=6, traps="all")
    before, rows, count = contents(source), v3_rows(target), len(living(target))
    answer = take_back(sessionlift, target, "--all")
    assert answer.counts[0] == count, answer.report["errors"]
    assert answer.report["verification"]["status"] == "passed"
    assert "sessionlift_version" in answer.report["ledger"]["tables"]
    assert contents(source) == before
    assert living(target) == []
    moved(source, target)
    assert v3_rows(target) == rows


def test_new_writes_are_carried_back_and_the_way_forward_gives_everything_again(
    sessionlift: Warm, target: Path
) -> None:
    source = at_hand(target)
    one, two, three = living(target)[:3]
    add_message(target, one, "said after the move", '{"step_id": "turn_9"}')
    add_message(target, one, "and again")
    (gone,) = query(target, "SELECT min(id) FROM messages WHERE session_id = ?", two)[0]
    change(target, "DELETE FROM messages WHERE id = ?", gone)
    change(
        target, "UPDATE events SET cost_usd = 77 WHERE id = (SELECT min(id) FROM events WHERE session_id = ?)", three
    )
    change(target, "UPDATE session_timesteps SET turn_number = 40 WHERE session_id = ?", three)
    before = v3_rows(target)
    answer = take_back(sessionlift, target, "--all")
    assert answer.code == 0, answer.report["errors"]
    found = v2(source, "SELECT content FROM messages WHERE session_id = ? ORDER BY id DESC LIMIT 2", one)
    assert found == [('"and again"',), ('"said after the move"',)]
    assert v2(source, "SELECT count(*) FROM messages WHERE id = ?", gone) == [(0,)]
    assert v2(source, "SELECT cost FROM events WHERE session_id = ? ORDER BY id LIMIT 1", three) == [(0.77,)]
    assert answer.facts["carried_added", "messages"] == 2
    assert answer.facts["carried_deleted", "messages"] == 1
    assert answer.losses["column_not_held"] >= 2
    assert notes(target) == []
    moved(source, target)
    assert v3_rows(target) == before
    checked = sessionlift("verify", source, target)
    assert checked.code == 0, checked.out


@pytest.mark.parametrize("new", [True, False], ids=["into a new store", "into its own"])
def test_a_report_counts_the_rows_that_the_legacy_store_has(
    sessionlift: Warm, legacy: Legacy, target: Path, *, new: bool
) -> None:
    source = legacy(sessions=4, traps="none")
    ghost = "SELECT max(id) + 1, 'ghost', 'user', '\"boo\"', TIMESTAMP '2025-01-01' FROM messages"
    change_source(source, f"INSERT INTO messages (id, session_id, message_type, content, timestamp) {ghost}")
    moved(source, target)
    there = source.with_name("rebuilt.duckdb") if new else source
    answer = take_back(sessionlift, target, "--all", *(("--to", there) if new else ()))
    assert answer.code == 0, answer.report["errors"]
    told = {table: counts["written"] for table, counts in answer.report["tables"].items()}
    lies = {table: v2(there, f"SELECT count(*) FROM {table}")[0][0] for table in V2_COLUMNS}
    assert told == lies
    assert answer.report["throughput"]["rows"] == sum(told.values())


NUMBERS = [
    ("reward = NULL", "reward = 9e999", "inf"),
    ("reward = 'inf'", "reward = -9e999", "-inf"),
    ("reward = 'inf'", "reward = NULL", None),
    ("latency_ms = '-inf'", "latency_ms = 9e999", "inf"),
    # which the legacy column cannot hold: told as a loss, and put back by the next move
    ("latency_ms = 9007199254740992", "latency_ms = 9007199254740993", "9007199254740992.0"),
]
"""What the legacy store held, what the application wrote over it, and what the legacy store holds then."""


def test_numbers_that_json_or_a_double_cannot_hold_are_carried_back_or_told(
    sessionlift: Warm, legacy: Legacy, target: Path
) -> None:
    source = legacy(sessions=4, traps="none")
    events = [key for (key,) in v2(source, "SELECT id FROM events ORDER BY id LIMIT ?", len(NUMBERS))]
    for event, (value, *_) in zip(events, NUMBERS, strict=True):
        change_source(source, f"UPDATE events SET {value} WHERE id = {event}")
    moved(source, target)
    for event, (_, written, _) in zip(events, NUMBERS, strict=True):
        change(target, f"UPDATE events SET {written} WHERE id = ?", event)
    before = v3_rows(target)
    answer = take_back(sessionlift, target, "--all")
    assert answer.code == 0, answer.report["errors"]
    assert answer.report["verification"]["status"] == "passed"
    for event, (_, written, found) in zip(events, NUMBERS, strict=True):
        column = written.split()[0]
        assert v2(source, f"SELECT {column}::VARCHAR FROM events WHERE id = ?", event) == [(found,)], written
    assert answer.facts["carried_changed", "events"] == len(NUMBERS) - 1
    lost = [line for line in answer.report["losses"] if line["code"] == "value_not_held"]
    assert str(events[-1]) in [example["row"] for line in lost for example in line["examples"]], lost
    moved(source, target)
    assert v3_rows(target) == before
    assert sessionlift("verify", source, target).code == 0


@pytest.mark.parametrize("option", ["--dry-run", "--quiet"])
def test_rows_that_only_say_their_timestep_now_are_not_told_as_changed_by_the_application(
    sessionlift: Warm, target: Path, option: str
) -> None:
    source = at_hand(target)
    one = living(target)[0]
    before: dict[int, int] = dict(
        query(target, "SELECT id, timestep_id FROM messages WHERE session_id = ? ORDER BY id", one)
    )
    assert None not in before.values()
    changed = min(before)
    change(target, "UPDATE messages SET content = 'said otherwise' WHERE id = ?", changed)
    add_message(target, one, "said after the move")
    answer = take_back(sessionlift, target, "--all", option)
    assert answer.facts == {
        ("carried_added", "messages"): 1,
        ("carried_changed", "messages"): 1,
        ("carried_linked", "messages"): len(before) - 1,
    }
    assert answer.sessions[one]["linked"] == {"messages": len(before) - 1}
    if option == "--dry-run":
        shown = sessionlift("rollback", target, "--all", option).out
        assert f"{one!r}: goes back; 1 messages added; 1 messages changed; {len(before) - 1} messages linked" in shown
    else:
        found = v2(source, "SELECT id, timestep_id FROM messages WHERE session_id = ? ORDER BY id", one)
        assert dict(found[:-1]) == before


def test_the_report_of_a_move_that_gave_something_back_holds_when_it_is_checked_again(
    sessionlift: Warm, target: Path
) -> None:
    source = at_hand(target)
    one = living(target)[0]
    add_message(target, one, "said after the move", '{"step_id": "turn_9"}')
    change(
        target,
        "INSERT INTO event_rewards (event_id, session_id, reward_value, reward_type, created_at) "
        "SELECT id, session_id, 1.5, 'shaped', '2031-05-06 07:08:09' FROM events WHERE session_id = ? LIMIT 1",
        one,
    )
    assert "row_not_held" in take_back(sessionlift, target, "--all").losses
    done = sessionlift("migrate", source, target, "--json")
    report = Path(json.loads(done.out)["path"])
    assert checked_again(sessionlift, report) == []
    smaller_loss(report, "metadata_reshaped")
    assert checked_again(sessionlift, report) == ["claim_losses"]


def test_writes_that_stay_behind_take_nothing_with_them_that_an_earlier_way_back_has_kept(
    sessionlift: Warm, target: Path
) -> None:
    source = at_hand(target)
    one = living(target)[0]
    add_message(target, one, "carried back", '{"step_id": "turn_9"}')
    assert take_back(sessionlift, target, "--all").losses == {"column_not_held": 1}
    moved(source, target)
    rows = v3_rows(target)
    add_message(target, one, "left behind")
    assert "new_writes_discarded" in take_back(sessionlift, target, "--all", "--discard-new").losses
    moved(source, target)
    assert v3_rows(target) == rows


def test_an_outcome_comes_back_though_another_session_has_its_id(
    sessionlift: Warm, legacy: Legacy, target: Path
) -> None:
    source = legacy(sessions=8, traps="none")
    read = "SELECT total_reward, reward_metadata FROM outcome_rewards WHERE session_id = ?"
    for (one,) in v2(source, "SELECT session_id FROM session_traces ORDER BY rowid"):
        moved(source, target, only=(one,))
        if query(target, read, one):
            break
    add = (
        "INSERT INTO outcome_rewards (session_id, total_reward, achievements_count, total_steps, created_at, "
        "reward_metadata) VALUES (?, 9, 1, 1, '2026-01-01T00:00:00+00:00', 'WRITTEN')"
    )
    change(target, add, one)
    expected = query(target, read, one)
    assert take_back(sessionlift, target, "--all").losses == {"row_not_held": 1}
    # the ids of the target begin anew
    assert sessionlift("schema", "downgrade", target, "synth.v3@base").code == 0
    for _ in range(2):
        moved(source, target)
        assert query(target, read, one) == expected
        add_message(target, one, "more")
        assert take_back(sessionlift, target, "--all").losses["row_not_held"] == 1


def test_a_reward_of_an_event_that_the_old_program_has_deleted_waits_in_the_ledger_and_is_told(
    sessionlift: Warm, target: Path
) -> None:
    source = at_hand(target)
    one, event = query(target, "SELECT session_id, max(id) FROM events GROUP BY session_id ORDER BY 1 LIMIT 1")[0]
    add = (
        "INSERT INTO event_rewards (event_id, session_id, reward_value, created_at, annotation) "
        "VALUES (?, ?, 0.5, '2026-01-01T00:00:00+00:00', 'WRITTEN')"
    )
    change(target, add, event, one)
    read = "SELECT id, event_id, session_id, reward_value FROM event_rewards WHERE annotation = 'WRITTEN'"
    expected = query(target, read)
    assert take_back(sessionlift, target, "--all").losses["row_not_held"] == 1
    change_source(source, f"CREATE TABLE away AS SELECT * FROM events WHERE id = {event}")
    change_source(source, f"DELETE FROM events WHERE id = {event}")
    for trip in range(2):
        report = json.loads(sessionlift("migrate", source, target, "--json").out)
        (told,) = [fact for fact in report["report"]["source_facts"] if fact["code"] == "not_put_back"]
        assert (told["table"], told["count"]) == ("event_rewards", 1)
        assert told["examples"][0]["session_id"] == one
        assert query(target, read) == query(target, "PRAGMA foreign_key_check(event_rewards)") == []
        assert not trip or checked_again(sessionlift, Path(report["path"])) == []
        add_message(target, one, "more")
        assert take_back(sessionlift, target, "--all").losses["row_not_held"] == 1
    change_source(source, "INSERT INTO events SELECT * FROM away")
    change_source(source, "DROP TABLE away")
    moved(source, target)
    assert query(target, read) == expected


def test_blobs_infinities_and_large_integers_go_back_and_forward_with_their_sessions(
    sessionlift: Warm, target: Path
) -> None:
    source = at_hand(target)
    one = living(target)[0]
    values = (b"\x00\xff", float("inf"), 2**63 - 1)
    for table, columns in {
        "session_traces": ("embedding", "experiment_id", "num_events"),
        "session_timesteps": ("turn_number", "completed_at", "num_messages"),
        "events": ("call_records", "event_time", "message_time"),
        "messages": ("embedding", "event_time", "message_time"),
        "outcome_rewards": ("reward_metadata", "total_reward", "total_steps"),
    }.items():
        for column, value in zip(columns, values, strict=True):
            change(target, f"UPDATE {table} SET {column} = ? WHERE session_id = ?", value, one)
    rows = v3_rows(target)
    for _ in range(2):
        assert take_back(sessionlift, target, "--all").code == 0
        moved(source, target)
        assert v3_rows(target) == rows
    assert sessionlift("verify", source, target).code == 0


def shut_out(sessionlift: Warm, source: Path, target: Path, one: str) -> int:
    """Take the session ``one`` back, and have the target refuse it when it comes again; returns the id in its way."""
    take_back(sessionlift, target, "--session", one)
    # the new program draws the id that the message had: SQLite gives the largest free one again
    (taken,) = v2(source, "SELECT max(id) FROM messages WHERE session_id = ?", one)[0]
    insert = "INSERT INTO messages (id, session_id, message_type, content) VALUES (?, ?, 'user', 'in the way')"
    change(target, insert, taken, living(target)[0])
    moved(source, target)
    assert ledger(target)[one] == "quarantined"
    return int(taken)


def test_what_was_kept_waits_for_a_session_that_the_new_store_does_not_take_at_first(
    sessionlift: Warm, target: Path
) -> None:
    source = at_hand(target)
    one = living(target)[0]
    add_message(target, one, "carried back", '{"step_id": "turn_9"}')
    rows = v3_rows(target)
    taken = shut_out(sessionlift, source, target, one)
    change(target, "DELETE FROM messages WHERE id = ?", taken)
    change_source(source, f"UPDATE session_traces SET experiment_id = 'e' WHERE session_id = '{one}'")
    moved(source, target)
    assert query(target, "SELECT experiment_id FROM session_traces WHERE session_id = ?", one) == [("e",)]
    assert v3_rows(target)["messages"] == rows["messages"]


def test_what_was_kept_of_a_session_in_quarantine_goes_with_it_into_another_store(
    sessionlift: Warm, target: Path
) -> None:
    source = at_hand(target)
    one = living(target)[0]
    add_message(target, one, "carried back", '{"step_id": "turn_9"}')
    shut_out(sessionlift, source, target, one)
    new = target.with_name("new.duckdb")
    take_back(sessionlift, target, "--all", "--to", new)
    moved(new, target)
    read = "SELECT metadata FROM messages WHERE content = 'carried back'"
    assert query(target, read) == [('{"step_id": "turn_9"}',)]


def test_what_was_kept_of_a_row_that_the_old_program_has_deleted_goes_to_no_other_session(
    sessionlift: Warm, target: Path
) -> None:
    source = at_hand(target)
    one, two = living(target)[:2]
    add_message(target, one, "carried back", '{"step_id": "turn_9"}')
    insert = "INSERT INTO events (session_id, event_type, event_time, reward) VALUES (?, 'environment', 1.0, 1.5)"
    change(target, insert, one)
    take_back(sessionlift, target, "--session", one)
    (message,) = v2(source, "SELECT max(id) FROM messages")[0]
    (event,) = v2(source, "SELECT max(id) FROM events")[0]
    change_source(source, f"DELETE FROM messages WHERE id = {message}")
    change_source(source, f"DELETE FROM events WHERE id = {event}")
    # the new program counts its rewards by themselves, and comes to any id
    insert = "INSERT INTO messages (id, session_id, message_type, content) VALUES (?, ?, 'user', 'of another session')"
    change(target, insert, message, two)
    insert = "INSERT INTO event_rewards (id, event_id, session_id, reward_value, created_at) VALUES (?, 1, ?, 9.0, '')"
    change(target, insert, event, two)
    moved(source, target)
    assert ledger(target)[one] == "moved"
    assert query(target, "SELECT content, metadata FROM messages WHERE id = ?", message) == [
        ("of another session", None)
    ]
    assert query(target, "SELECT session_id, reward_value FROM event_rewards WHERE id = ?", event) == [(two, 9.0)]


def test_a_deletion_that_is_carried_back_while_the_others_stay_is_known_as_one(sessionlift: Warm, target: Path) -> None:
    source = at_hand(target)
    one = living(target)[0]
    for table in ("event_rewards", "outcome_rewards", "messages", "events", "session_timesteps", "session_traces"):
        change(target, f"DELETE FROM {table} WHERE session_id = ?", one)
    assert take_back(sessionlift, target, "--all", "--keep-target").code == 0
    assert v2(source, "SELECT * FROM session_traces WHERE session_id = ?", one) == []
    assert ledger(target)[one] == "deleted"
    found = sessionlift("verify", source, target, "--json")
    assert found.code == 0, found.out
    assert take_back(sessionlift, target, "--all").code == 0
    assert sessionlift("schema", "downgrade", target, "base").code == 0


def test_rows_of_a_deleted_session_that_the_target_keeps_are_taken_back_by_a_later_rollback(
    sessionlift: Warm, target: Path
) -> None:
    at_hand(target)
    one = living(target)[0]
    change(target, "DELETE FROM session_traces WHERE session_id = ?", one)
    assert take_back(sessionlift, target, "--all", "--keep-target").code == 0
    assert query(target, "SELECT 1 FROM messages WHERE session_id = ? LIMIT 1", one) == [(1,)]
    answer = take_back(sessionlift, target, "--all")
    assert answer.code == 0, answer.report["errors"]
    assert ledger(target)[one] == "deleted"
    assert query(target, "SELECT 1 FROM messages WHERE session_id = ?", one) == []


def test_a_session_that_was_deleted_in_both_stores_stands_in_no_ones_way(sessionlift: Warm, target: Path) -> None:
    source = at_hand(target, sessions=2)
    one = living(target)[0]
    with open_store(str(target), mode="rw", role="target") as store, store.transaction():
        # as a bridge does
        SynthRows().remove(store, "session", [one])
        Ledger(store).bury(one, run_id="", at="", source_digest="")
    for table in ("messages", "events", "session_timesteps", "session_traces"):
        change_source(source, f"DELETE FROM {table} WHERE session_id = '{one}'")
    assert take_back(sessionlift, target, "--all").code == 0
    assert ledger(target)[one] == "deleted"
    assert take_back(sessionlift, target, "--all").sessions[one]["action"] == "settled"
    assert sessionlift("schema", "downgrade", target, "base").code == 0


def test_a_session_that_is_begun_again_after_it_was_left_behind_goes_back_as_it_is_now(
    sessionlift: Warm, target: Path
) -> None:
    source = at_hand(target, sessions=2)
    trace = (
        "INSERT INTO session_traces (session_id, created_at, num_timesteps, num_events, num_messages) "
        "VALUES ('own', '2031-05-06T07:08:09.123456+00:00', 0, 1, 0)"
    )
    # a column that a move leaves NULL, and that is in no digest
    event = "INSERT INTO events (session_id, event_type, event_time, call_records) VALUES ('own', 'cais', 1.0, '[]')"
    change(target, trace)
    change(target, event)
    assert take_back(sessionlift, target, "--session", "own", "--discard-new").code == 0
    change(target, trace)
    change(target, event)
    answer = take_back(sessionlift, target, "--session", "own")
    assert answer.code == 0, answer.report["errors"]
    assert v2(source, "SELECT count(*) FROM events WHERE session_id = 'own'") == [(1,)]
    assert ledger(target)["own"] == "rolled_back"


@pytest.mark.torture
@pytest.mark.parametrize("dress", ["final", "mid", "mixed"] if TORTURE else ["final", "mixed"])
def test_a_new_file_holds_every_row_of_the_old_one(sessionlift: Warm, legacy: Legacy, target: Path, dress: str) -> None:
    source = legacy(sessions=8, dress=dress)
    moved(source, target, timezone="America/New_York", timezone_given=True)
    away = source.rename(source.with_name("away.duckdb"))
    new = target.with_name("rebuilt.duckdb")
    assert take_back(sessionlift, target, "--all", "--to", new).counts[2] == 0
    expected, found = contents(away), contents(new)
    for table, own in expected.items():
        assert found[table] == own, table
    rows = v3_rows(target)
    moved(new, target, timezone="America/New_York", timezone_given=True)
    assert len(living(target)) == len(expected["session_traces"])
    assert rows["systems"] == v3_rows(target)["systems"]


@pytest.mark.parametrize("option", ["--dry-run", "--quiet"])
def test_what_moved_once_is_not_counted_as_written_since_where_it_is_rebuilt(
    sessionlift: Warm, target: Path, option: str
) -> None:
    source = at_hand(target, sessions=6, traps="all")
    source.unlink()
    one = living(target)[0]
    add_message(target, one, "said after the move")
    change(
        target,
        "INSERT INTO session_traces SELECT 'native', created_at, 0, 0, 1, metadata, NULL, NULL FROM session_traces "
        "WHERE session_id = ?",
        one,
    )
    add_message(target, "native", "begun in the new store")
    change(target, "INSERT INTO systems (system_id, name) VALUES ('s', 'of the application')")
    answer = take_back(sessionlift, target, "--all", "--to", target.with_name("rebuilt.duckdb"), option)
    assert answer.facts == {
        ("carried_added", "messages"): 1,
        ("carried_added", "session_traces"): 1,
        ("carried_added", "systems"): 1,
        ("carried_whole", "sessions"): 1,
    }
    assert answer.sessions[one]["rebuilt"]


def test_a_part_goes_into_a_file_of_its_own_and_comes_back_from_there(sessionlift: Warm, target: Path) -> None:
    at_hand(target)
    one, before = living(target)[0], v3_rows(target)
    new = target.with_name("part.duckdb")
    assert take_back(sessionlift, target, "--session", one, "--to", new).counts == (1, 0, 0)
    assert v2(new, "SELECT session_id FROM session_traces") == [(one,)]
    assert ledger(target)[one] == "rolled_back"
    moved(new, target)
    assert v3_rows(target) == before


def test_rows_of_no_existing_session_go_into_a_store_that_lacks_them_once(
    sessionlift: Warm, legacy: Legacy, target: Path
) -> None:
    source = legacy(sessions=2, traps="none")
    with duckdb.connect(str(source)) as db:
        for table in ("experimental_systems", "system_versions", "experiments", "systems"):
            db.execute(f"DELETE FROM {table}")
        db.execute("UPDATE session_traces SET experiment_id = NULL")
        db.execute(
            "INSERT INTO messages (session_id, message_type, content) VALUES ('ghost', 'user', '\"1\"'), "
            "('ghost', 'user', '\"2\"')"
        )
    orphans = "SELECT id, content FROM messages WHERE session_id = 'ghost' ORDER BY id"
    before = v2(source, orphans)
    assert len(before) == 2
    moved(source, target)
    source.unlink()
    new = target.with_name("new.duckdb")
    for _ in range(2):
        assert take_back(sessionlift, target, "--all", "--to", new).code == 0
        assert v2(new, orphans) == before
    assert sessionlift("schema", "downgrade", target, "base").code == 0


def test_a_legacy_store_that_went_on_is_a_conflict(sessionlift: Warm, target: Path) -> None:
    source = at_hand(target)
    one = living(target)[0]
    add_message(target, one, "from v3")
    change_source(source, f"UPDATE session_traces SET num_events = 1234 WHERE session_id = '{one}'")
    before, rows = contents(source), v3_rows(target)
    answer = take_back(sessionlift, target, "--all")
    assert answer.code == 1
    assert answer.counts == (3, 0, 1)
    assert answer.errors == {one: "legacy_changed"}
    assert contents(source) == before
    assert living(target) == [one]
    assert v3_rows(target)["messages"] == sorted([row for row in rows["messages"] if one in row], key=repr)


def test_what_the_old_program_has_added_of_no_session_is_moved_again(sessionlift: Warm, target: Path) -> None:
    source = at_hand(target)
    change_source(source, "INSERT INTO systems (id, name, description) VALUES ('nine', 'of the old program', '')")
    answer = take_back(sessionlift, target, "--all")
    assert (answer.code, answer.report["source_facts"]) == (0, [])
    moved(source, target)
    assert query(target, "SELECT name FROM systems WHERE system_id = 'nine'") == [("of the old program",)]
    assert sessionlift("verify", source, target, "--quiet").code == 0


def test_rows_of_negative_ids_keep_them_and_their_order(sessionlift: Warm, legacy: Legacy, target: Path) -> None:
    source = legacy(sessions=3, traps="none")
    one = session_ids(source)[0]
    change_source(source, f"UPDATE messages SET id = id - 1000 WHERE session_id = '{one}' AND id % 2 = 0")
    assert sessionlift("migrate", source, target, "--json").code == 0
    before = v2(source, "SELECT id, content FROM messages ORDER BY id")
    change(target, "UPDATE session_traces SET num_events = 77 WHERE session_id = ?", one)

    answer = take_back(sessionlift, target, "--all")

    assert (answer.code, answer.losses) == (0, {})
    assert v2(source, "SELECT id, content FROM messages ORDER BY id") == before
    assert {code for code, _ in answer.facts} == {"carried_changed"}


def test_what_came_back_under_another_id_is_not_told_as_written_when_nobody_wrote(
    sessionlift: Warm, target: Path
) -> None:
    source = at_hand(target)
    (one,) = query(target, "SELECT session_id FROM session_traces ORDER BY rowid LIMIT 1")[0]
    beyond = 3_000_000_000
    say = "INSERT INTO messages (id, session_id, message_type, content, timestamp) VALUES (?, ?, 'user', 'late', ?)"
    change(target, say, beyond, one, "2031-05-06T07:08:09.123456+00:00")
    answer = take_back(sessionlift, target, "--all")
    assert answer.facts["carried_added", "messages"] == 1
    there = contents(source)
    moved(source, target)
    assert query(target, "SELECT id FROM messages WHERE content = 'late'") == [(beyond,)]
    answer = take_back(sessionlift, target, "--all")
    assert (answer.code, answer.report["source_facts"]) == (0, [])
    assert contents(source) == there, "not a row, and not a number of a sequence"


def test_a_row_of_no_session_that_both_have_is_verified_with_what_only_the_new_store_can_hold(
    sessionlift: Warm, legacy: Legacy, target: Path
) -> None:
    source = legacy(sessions=4, traps="none")
    assert sessionlift("migrate", source, target, "--quiet").code == 0
    (report,) = target.with_name(f"{target.name}.reports").glob("migrate-*.json")
    change(target, "INSERT INTO systems (system_id, name, system_type) VALUES ('ten', 'of the new one', 'agent')")
    assert take_back(sessionlift, target, "--all").code == 0
    for moved_again in (False, True):
        if moved_again:
            moved(source, target)
        assert sessionlift("verify", source, target, "--quiet").code == 0
        assert sessionlift("verify", "--report", report, "--quiet").code == 0
    change(target, "UPDATE systems SET system_type = 'another' WHERE system_id = 'ten'")
    checked = sessionlift("verify", source, target, "--json")
    assert checked.code == 1
    assert "system_type is 'another', must be 'agent'" in checked.out


def test_a_complement_that_says_what_it_cannot_know_excuses_nothing(sessionlift: Warm, target: Path) -> None:
    source = at_hand(target)
    change(target, "INSERT INTO systems (system_id, name, system_type) VALUES ('ten', 'of the new one', 'agent')")
    assert take_back(sessionlift, target, "--all", "--keep-target").code == 0
    change_source(source, "UPDATE systems SET name = 'another' WHERE id = 'ten'")
    ((text,),) = query(target, "SELECT data FROM sessionlift_complement WHERE unit = 'catalog'")
    complement = json.loads(text)
    for cell in (
        ["systems", "ten", "system_type", "f", {"blob": "zz"}],
        ["systems", "ten", "system_type", "f", {"double": [1]}],
        ["systems", "ten", "name", "f", "of the new one"],
        "no cell",
    ):
        complement["carried"]["cells"] = [cell]
        change(target, "UPDATE sessionlift_complement SET data = ? WHERE unit = 'catalog'", json.dumps(complement))
        checked = sessionlift("verify", source, target, "--json")
        assert checked.code == 1, cell
        assert "name is 'of the new one', must be 'another'" in checked.out, cell


def test_what_was_carried_first_into_a_ledger_without_a_catalog_is_verified(
    sessionlift: Warm, target: Path, tmp_path: Path
) -> None:
    at_hand(target)
    assert take_back(sessionlift, target, "--all").code == 0
    assert sessionlift("schema", "downgrade", target, "synth.v3@base").code == 0
    assert sessionlift("schema", "upgrade", target, "synth_v3").code == 0
    change(target, "INSERT INTO systems (system_id, name, system_type) VALUES ('ten', 'of the new one', 'agent')")
    new = tmp_path / "new.duckdb"
    assert take_back(sessionlift, target, "--all", "--to", new).code == 0
    checked = sessionlift("verify", new, target, "--json")
    assert checked.code == 0, checked.out


def test_what_both_have_added_of_no_session_is_moved_again_beside_what_v2_cannot_hold(
    sessionlift: Warm, target: Path
) -> None:
    source = at_hand(target)
    change_source(source, "INSERT INTO systems (id, name, description) VALUES ('nine', 'of the old program', '')")
    for key, kind in (("ten", None), ("eleven", "of its own")):
        change(
            target,
            "INSERT INTO systems (system_id, name, description, system_type, created_at, metadata) SELECT ?, "
            "'of the new one', 'new', coalesce(?, system_type), created_at, metadata FROM systems LIMIT 1",
            key,
            kind,
        )
    own = "SELECT * FROM systems WHERE system_id IN ('ten', 'eleven') ORDER BY system_id"
    before = query(target, own)
    answer = take_back(sessionlift, target, "--all")
    assert (answer.code, answer.facts["carried_added", "systems"]) == (0, 2)
    assert {key for (key,) in v2(source, "SELECT id FROM systems")} >= {"nine", "ten", "eleven"}
    done = sessionlift("migrate", source, target, "--json")
    report = json.loads(done.out)["report"]
    nine = query(target, "SELECT name FROM systems WHERE system_id = 'nine'")
    assert query(target, own) == before
    assert (done.code, report["errors"], nine) == (0, [], [("of the old program",)])


def test_the_last_id_of_the_old_shape_leaves_ids_for_others(sessionlift: Warm, target: Path) -> None:
    source = at_hand(target)
    one, two = living(target)[:2]
    for key, number in ((one, 2**31 - 1), (two, 2**40)):
        add_message(target, key, f"id {number}")
        change(target, "UPDATE messages SET id = ? WHERE content = ?", number, f"id {number}")
        change(target, "UPDATE messages SET timestep_id = ? WHERE content = ?", number, f"id {number}")
    before = v3_rows(target)
    answer = take_back(sessionlift, target, "--all")
    assert (answer.code, answer.losses["id_renumbered"]) == (0, 1)
    (last,) = v2(source, "SELECT max(id) FROM messages WHERE id < 2147483647")[0]
    assert v2(source, "SELECT session_id, id = ? FROM messages WHERE id >= ? ORDER BY id", last, last) == [
        (two, True),
        (one, False),
    ]
    moved(source, target)
    assert v3_rows(target) == before


def test_a_row_that_another_session_has_taken_in_the_legacy_store_gets_a_new_id(
    sessionlift: Warm, target: Path
) -> None:
    source = at_hand(target)
    one, two = living(target)[:2]
    add_message(target, one, "from v3")
    (key,) = query(target, "SELECT max(id) FROM messages")[0]
    change_source(
        source,
        f"INSERT INTO messages (id, session_id, message_type, content, event_time, timestamp) "
        f"VALUES ({key}, '{two}', 'user', '\"other\"', now()::TIMESTAMP, now()::TIMESTAMP)",
    )
    before = v3_rows(target)["messages"]
    answer = take_back(sessionlift, target, "--session", one)
    assert answer.code == 0, answer.report["errors"]
    assert answer.losses["id_renumbered"] == 1
    assert v2(source, "SELECT session_id FROM messages WHERE id = ?", key) == [(two,)]
    moved(source, target)
    again = v3_rows(target)["messages"]
    assert [row[1:] for row in again if one in row] == [row[1:] for row in before if one in row]


@pytest.mark.parametrize("to", [(), ("--to", "new.duckdb")], ids=["to its own store", "to a new one"])
def test_a_session_that_the_application_began_under_the_id_of_one_in_quarantine_is_told(
    sessionlift: Warm, legacy: Legacy, target: Path, to: tuple[str, ...]
) -> None:
    source = legacy(sessions=3, traps="none")
    ids = [key for (key,) in v2(source, "SELECT session_id FROM session_traces ORDER BY rowid")]
    moved(source, target, only=(ids[0],))
    trace = (
        "INSERT INTO session_traces (session_id, created_at, num_timesteps, num_events, num_messages) "
        "VALUES (?, '2031-05-06T07:08:09.123456+00:00', 0, 0, 0)"
    )
    change(target, trace, ids[1])
    add_message(target, ids[1], "of the new program")
    sessionlift("migrate", source, target, "--json")
    assert ledger(target)[ids[1]] == "quarantined"

    answer = take_back(
        sessionlift, target, "--all", *(str(target.with_name(each)) if "." in each else each for each in to)
    )

    assert answer.code == 1
    assert [(line["session_id"], line["code"]) for line in answer.report["errors"]] == [(ids[1], "rows_left")]
    assert query(target, "SELECT content FROM messages WHERE session_id = ?", ids[1]) == [("of the new program",)]
    change(target, "DELETE FROM messages WHERE session_id = ?", ids[1])
    change(target, "DELETE FROM session_traces WHERE session_id = ?", ids[1])
    again = take_back(
        sessionlift, target, "--all", *(str(target.with_name(each)) if "." in each else each for each in to)
    )
    assert again.code == 0, again.report["errors"]


def test_the_timesteps_of_what_the_new_program_wrote_stay_known_when_the_old_one_goes_on_with_the_session(
    sessionlift: Warm, target: Path
) -> None:
    source = at_hand(target, sessions=2)
    change(
        target,
        "INSERT INTO session_traces (session_id, created_at, num_timesteps, num_events, num_messages) "
        "VALUES ('own', '2031-05-06T07:08:09.123456+00:00', 2, 2, 0)",
    )
    for index in range(2):
        change(
            target,
            "INSERT INTO session_timesteps (session_id, step_id, step_index, num_events) VALUES ('own', ?, ?, 1)",
            f"step_{index}",
            index,
        )
    change(
        target,
        "INSERT INTO events (session_id, timestep_id, event_type, event_time) "
        "SELECT session_id, id, 'runtime', 1.0 FROM session_timesteps WHERE session_id = 'own'",
    )
    links = query(target, "SELECT id, timestep_id FROM events WHERE session_id = 'own' ORDER BY id")
    assert take_back(sessionlift, target, "--session", "own").code == 0
    # the old program counts nothing that it adds later
    change_source(
        source,
        "INSERT INTO events SELECT * REPLACE (nextval('event_id_seq') AS id, NULL AS timestep_id) FROM events "
        "WHERE session_id = 'own' LIMIT 1",
    )
    moved(source, target)
    now = query(target, "SELECT id, timestep_id FROM events WHERE session_id = 'own' ORDER BY id")
    assert (now[:2], now[2][1]) == (links, None)
