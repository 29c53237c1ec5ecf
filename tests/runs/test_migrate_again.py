"""Run again: only what is new or changed moves, and what is not well is told of again."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tests.support.laws import TORTURE
from tests.support.made import make_moved
from tests.support.moved import (
    add_session,
    change,
    change_source,
    content,
    difference,
    query,
    rows,
    session_ids,
    snapshot,
    tables,
)
from tests.support.run_fixtures import Legacy
from tests.support.warm import Outcome, Warm

from sessionlift.reports import Report
from sessionlift.runs import BackupOptions, RollbackOptions, TransferOptions, migrate, rollback, verify

pytestmark = pytest.mark.slow


def report_of(outcome: Outcome) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(outcome.out)["report"]
    return report


def counts(outcome: Outcome) -> tuple[int, int, int, int]:
    report = report_of(outcome)
    names = ("total_sessions", "migrated_sessions", "skipped_sessions", "failed_sessions")
    total, moved, skipped, failed = (report[name] for name in names)
    return total, moved, skipped, failed


def moved_bytes(outcome: Outcome) -> int:
    found: int = report_of(outcome)["throughput"]["bytes"]
    return found


def codes(outcome: Outcome) -> list[tuple[str, str | None]]:
    return [(line["code"], line["session_id"]) for line in report_of(outcome)["errors"]]


def first_event(session_id: str, change: str) -> str:
    """A statement that changes the first event of a session in the source."""
    first = f"(SELECT min(id) FROM events WHERE session_id = '{session_id}')"
    return f"UPDATE events SET {change} WHERE id = {first}"


def unit(target: Path, session_id: str) -> tuple[str, str, str]:
    ((run, source, state),) = query(
        target,
        "SELECT run_id, source_digest, state FROM sessionlift_units WHERE unit || session_id = ?",
        f"session{session_id}",
    )
    return run, source, state


def already_moved(target: Path, sessions: int = 8, traps: str = "usual") -> Path:
    """A legacy store beside its target, which it was moved into."""
    source = target.parent.parent / "source" / "legacy.duckdb"
    make_moved(source, target, sessions=sessions, dress="final", traps=traps, seed=1)
    return source


def test_a_second_run_changes_nothing(sessionlift: Warm, legacy: Legacy, target: Path) -> None:
    source = legacy(traps="usual")
    first = sessionlift("migrate", source, target, "--json")
    assert (first.code, counts(first)) == (0, (8, 8, 0, 0))
    before = content(target)
    units = query(target, "SELECT * FROM sessionlift_units ORDER BY 1, 2")

    second = sessionlift("migrate", source, target, "--json")

    assert (second.code, counts(second)) == (0, (8, 0, 8, 0))
    assert difference(before, content(target)) == ""
    assert query(target, "SELECT * FROM sessionlift_units ORDER BY 1, 2") == units
    assert report_of(second)["tables"] == {}
    assert report_of(second)["losses"] == []
    assert moved_bytes(second) == 0 < moved_bytes(first)


def test_only_a_new_session_moves(sessionlift: Warm, target: Path) -> None:
    source = already_moved(target)
    before = rows(target)
    add_session(source, "one-more", session_ids(source)[0])

    again = sessionlift("migrate", source, target, "--json")

    assert (again.code, counts(again)) == (0, (9, 1, 8, 0))
    assert report_of(again)["verification"]["checked_sessions"] == 1
    after = rows(target)
    for table, kept in before.items():
        assert after[table][: len(kept)] == kept, f"{table}: rows of other sessions were touched"
    assert query(target, "SELECT count(*) FROM events WHERE session_id = 'one-more'") != [(0,)]


def test_a_session_that_changed_in_the_source_is_replaced(sessionlift: Warm, target: Path) -> None:
    source = already_moved(target)
    changed, other = session_ids(source)[:2]
    digest = unit(target, changed)[1]
    change_source(
        source,
        f"UPDATE messages SET content = '\"other words\"' WHERE session_id = '{changed}'",
        f"DELETE FROM events WHERE id = (SELECT max(id) FROM events WHERE session_id = '{changed}')",
    )

    again = sessionlift("migrate", source, target, "--json")

    assert (again.code, counts(again)) == (0, (8, 1, 7, 0))
    run, source_digest, _ = unit(target, changed)
    assert run == report_of(again)["run_id"]
    assert source_digest != digest
    assert unit(target, other)[0] != run
    found = query(target, "SELECT DISTINCT content FROM messages WHERE session_id = ?", changed)
    assert found == [("other words",)]
    anew = target.with_name("anew.db")
    whole = sessionlift("migrate", source, anew, "--json")
    assert whole.code == 0
    assert without_given_ids(target) == without_given_ids(anew)
    assert 0 < moved_bytes(again) < moved_bytes(whole) / 2


def without_given_ids(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Rows in an order of their own, without the ids that the target gives to derived rows and links."""
    given = ("event_rewards", "outcome_rewards", "experimental_systems")
    return {
        table: sorted((row[2 if table in given else 1 :] for row in found), key=repr)
        for table, found in rows(path).items()
    }


@pytest.mark.parametrize("edited", ["'edited since'", "CAST(x'61ff62' AS TEXT)"], ids=["text", "no UTF-8"])
def test_a_session_that_changed_on_both_sides_is_left_alone_and_told_of_each_time(
    sessionlift: Warm, target: Path, edited: str
) -> None:
    source = already_moved(target)
    both, only_source = session_ids(source)[:2]
    for session_id in (both, only_source):
        change_source(source, f"UPDATE session_traces SET num_events = 99 WHERE session_id = '{session_id}'")
    change(target, f"UPDATE messages SET content = {edited} WHERE session_id = ?", both)
    found = "SELECT id, timestep_id, CAST(content AS BLOB), metadata FROM messages WHERE session_id = ? ORDER BY id"
    kept = query(target, found, both)

    for attempt in (1, 2):
        again = sessionlift("migrate", source, target, "--json")
        assert again.code == 1
        assert counts(again) == ((8, 1, 6, 1) if attempt == 1 else (8, 0, 7, 1))
        assert codes(again) == [("changed_on_both_sides", both)]
        assert query(target, found, both) == kept
        recorded = query(target, "SELECT num_events FROM session_traces WHERE session_id = ?", both)
        assert recorded != [(99,)]
    recorded = query(target, "SELECT num_events FROM session_traces WHERE session_id = ?", only_source)
    assert recorded == [(99,)]


# what the old program has in an event, and what the new one writes there
NUMBERS = (
    ("reward = NULL", "reward = 9e999"),
    ("reward = 'inf'", "reward = -9e999"),
    ("reward = 'inf'", "reward = NULL"),
    ("latency_ms = '-inf'", "latency_ms = 9e999"),
    ("latency_ms = 9007199254740992", "latency_ms = 9007199254740993"),
    ("cost = NULL", "cost_usd = -9e999"),
)


def test_a_write_of_numbers_that_json_or_a_double_cannot_hold_is_seen(legacy: Legacy, target: Path) -> None:
    source = legacy(traps="none")
    written = dict(zip(session_ids(source), NUMBERS, strict=False))
    assert len(written) == len(NUMBERS)
    change_source(source, *(first_event(key, moved) for key, (moved, _) in written.items()))
    assert not migrate(str(source), str(target), TransferOptions()).report.has_findings
    for key, (_, now) in written.items():
        change(target, first_event(key, now))
    kept = rows(target)
    found = verify(str(source), str(target)).report.errors
    assert sorted((line.code, line.session_id) for line in found) == sorted(
        ("changed_in_target", key) for key in written
    )

    change_source(source, *(first_event(key, "model_name = 'of the old program'") for key in written))
    again = migrate(str(source), str(target), TransferOptions()).report.errors

    told = sorted((line.code, line.session_id) for line in again)
    assert told == sorted(("changed_on_both_sides", key) for key in written)
    assert difference(kept, rows(target)) == ""


def test_a_session_that_changed_in_the_target_alone_is_kept(sessionlift: Warm, target: Path) -> None:
    source = already_moved(target)
    change(target, "UPDATE messages SET content = 'edited since'")

    again = sessionlift("migrate", source, target, "--json")

    assert (again.code, counts(again)) == (0, (8, 0, 8, 0))
    assert query(target, "SELECT DISTINCT content FROM messages") == [("edited since",)]


def test_a_catalog_that_changed_on_both_sides_does_not_keep_sessions_from_moving(
    sessionlift: Warm, target: Path
) -> None:
    source = already_moved(target)
    change_source(source, "UPDATE systems SET description = 'in the source'")
    change(target, "UPDATE systems SET description = 'in the target'")
    add_session(source, "one-more", session_ids(source)[0])

    again = sessionlift("migrate", source, target, "--json")

    assert (again.code, counts(again)) == (1, (9, 1, 8, 0))
    assert set(codes(again)) == {("changed_on_both_sides", None)}
    assert sorted(line["row"] for line in report_of(again)["errors"]) == sorted(
        key for (key,) in query(target, "SELECT system_id FROM systems")
    )
    assert query(target, "SELECT DISTINCT description FROM systems") == [("in the target",)]


def test_a_catalog_that_changed_in_the_source_is_replaced_and_rows_of_the_new_program_stay(
    sessionlift: Warm, target: Path
) -> None:
    source = already_moved(target)
    change(target, "INSERT INTO systems (system_id, name) VALUES ('new-one', 'of the new program')")
    change_source(source, "UPDATE experiments SET description = 'changed' WHERE id = (SELECT min(id) FROM experiments)")

    again = sessionlift("migrate", source, target, "--json")

    assert (again.code, counts(again)) == (0, (8, 0, 8, 0)), again.out
    assert query(target, "SELECT count(*) FROM experiments WHERE description = 'changed'") == [(1,)]
    assert query(target, "SELECT name FROM systems WHERE system_id = 'new-one'") == [("of the new program",)]


def test_what_is_in_quarantine_is_told_of_again(sessionlift: Warm, legacy: Legacy, target: Path) -> None:
    source = legacy(traps="usual")
    whole, part = session_ids(source)[:2]
    change_source(
        source,
        f"UPDATE session_traces SET created_at = 'infinity'::TIMESTAMP WHERE session_id = '{whole}'",
        first_event(part, "event_type = 'no such type'"),
    )
    first = sessionlift("migrate", source, target, "--json")
    assert (first.code, counts(first)) == (1, (8, 7, 0, 1))
    assert {session for _, session in codes(first)} == {whole, part}
    before = content(target)

    again = sessionlift("migrate", source, target, "--json")

    assert (again.code, counts(again)) == (1, (8, 0, 7, 1))
    assert sorted(codes(again)) == sorted([("still_in_quarantine", whole), ("still_in_quarantine", part)])
    assert difference(before, content(target)) == ""


def test_a_mapping_brings_rows_out_of_quarantine(
    sessionlift: Warm, legacy: Legacy, target: Path, tmp_path: Path
) -> None:
    source = legacy(traps="usual")
    part = session_ids(source)[0]
    change_source(
        source,
        first_event(part, "event_type = 'odd'"),
    )
    first = sessionlift("migrate", source, target, "--json")
    assert (first.code, unit(target, part)[2]) == (1, "partial")
    mapping = tmp_path / "mapping.json"
    mapping.write_text('{"event_types": {"odd": "runtime"}}')

    again = sessionlift("migrate", source, target, "--mapping", mapping, "--json")

    assert (again.code, counts(again)) == (0, (8, 1, 7, 0)), again.out
    assert unit(target, part)[2] == "moved"
    assert query(target, "SELECT count(*) FROM sessionlift_quarantine") == [(0,)]
    # the others are as no mapping, or the other one, made them
    by_none, by_mapping = (json.loads(each.out)["report"]["run_id"] for each in (first, again))
    for command, options, other in (
        ("migrate", ("--mapping", mapping), by_none),
        ("plan", ("--mapping", mapping), by_none),
        ("plan", (), by_mapping),
    ):
        notes = json.loads(sessionlift(command, source, target, *options, "--json").out)["report"]["assumptions"]
        (told,) = [note for note in notes if "stay as they are" in note]
        assert f"({other})" in told
    assert not any("stay as they are" in note for note in json.loads(first.out)["report"]["assumptions"])


def test_a_session_whose_ids_are_taken_goes_to_quarantine_whole_and_the_others_move(
    sessionlift: Warm, legacy: Legacy, target: Path
) -> None:
    source = legacy(traps="usual")
    taken, first_moved = session_ids(source)[3], session_ids(source)[0]
    # the new program went on in the target, and its rows got ids that the legacy store gives out, too
    sessionlift("migrate", source, target, "--only", first_moved, "--json")
    change(
        target,
        "INSERT INTO session_traces (session_id, created_at, num_timesteps, num_events, num_messages) "
        "VALUES (?, '2026-01-01T00:00:00.000000+00:00', 0, 0, 0)",
        taken,
    )
    before = rows(target)

    again = sessionlift("migrate", source, target, "--json")

    assert (again.code, counts(again)) == (1, (8, 6, 1, 1))
    assert set(codes(again)) == {("target_refused", taken)}
    assert unit(target, taken)[2] == "quarantined"
    for table in ("session_timesteps", "events", "messages"):
        assert query(target, f"SELECT count(*) FROM {table} WHERE session_id = ?", taken) == [(0,)]
        ((waiting,),) = query(
            target,
            "SELECT count(*) FROM sessionlift_quarantine WHERE session_id = ? AND table_name = ?",
            taken,
            table,
        )
        assert waiting > 0
    for table, kept in before.items():
        assert set(kept) <= set(rows(target)[table]), f"{table}: a row that was there was touched"


def test_what_the_target_refused_is_tried_again_by_each_run(
    sessionlift: Warm, legacy: Legacy, target: Path, tmp_path: Path
) -> None:
    source = legacy(traps="usual")
    untouched = tmp_path / "untouched.db"
    sessionlift("migrate", source, untouched, "--json")
    refused = session_ids(source)[3]
    sessionlift("migrate", source, target, "--only", session_ids(source)[0], "--json")
    change(
        target,
        "INSERT INTO session_traces (session_id, created_at, num_timesteps, num_events, num_messages) "
        "VALUES (?, '2026-01-01T00:00:00.000000+00:00', 0, 0, 0)",
        refused,
    )
    sessionlift("migrate", source, target, "--json")

    still = sessionlift("migrate", source, target, "--json")
    assert (still.code, counts(still)) == (1, (8, 0, 7, 1)), still.out
    assert unit(target, refused)[2] == "quarantined"

    change(target, "DELETE FROM session_traces WHERE session_id = ?", refused)
    freed = sessionlift("migrate", source, target, "--json")
    assert (freed.code, counts(freed)) == (0, (8, 1, 7, 0)), freed.out
    assert unit(target, refused)[2] == "moved"
    assert query(target, "SELECT count(*) FROM sessionlift_quarantine") == [(0,)]
    for table in ("session_timesteps", "events", "messages", "event_rewards"):
        assert rows(target)[table] == rows(untouched)[table], table


def swap_messages(source: Path, one: str, other: str) -> None:
    first, last = (f"(SELECT min(id) FROM messages WHERE session_id = '{key}')" for key in (one, other))
    swapped = f"CASE id WHEN {first} THEN '{other}' WHEN {last} THEN '{one}' END"
    change_source(source, f"UPDATE messages SET session_id = {swapped} WHERE id IN ({first}, {last})")


def test_sessions_that_have_swapped_rows_are_replaced_though_they_do_not_come_together(target: Path) -> None:
    source = already_moved(target, sessions=3)
    one, _, other = session_ids(source)
    swap_messages(source, one, other)
    add_session(source, "heir", one)
    # a new session gets a row of one that can only be replaced later
    first = f"SELECT min(id) FROM messages WHERE session_id = '{one}'"
    change_source(source, f"UPDATE messages SET session_id = 'heir' WHERE id IN ({first})")

    again = migrate(str(source), str(target), TransferOptions(), limits={"max_rows": 1}).report

    assert (again.status, again.verification.status, again.errors) == ("completed", "passed", [])
    assert (again.migrated_sessions, again.skipped_sessions) == (3, 1)
    anew = target.with_name("anew.db")
    migrate(str(source), str(anew), TransferOptions(), verify=False)
    assert without_given_ids(target) == without_given_ids(anew)


def test_a_change_that_the_target_refuses_is_told_with_the_reason_and_a_way_that_works(target: Path) -> None:
    source = already_moved(target, sessions=3)
    one, refused, other = session_ids(source)
    swap_messages(source, one, other)
    taken = 2**30
    message = f"SELECT * REPLACE ({taken} AS id) FROM messages WHERE session_id = '{refused}' LIMIT 1"
    change_source(source, f"INSERT INTO messages BY NAME {message}")
    change(
        target,
        "INSERT INTO session_traces (session_id, created_at, num_timesteps, num_events, num_messages) "
        "VALUES ('own', '2026-01-01T00:00:00.000000+00:00', 0, 0, 0)",
    )
    change(
        target,
        "INSERT INTO messages (id, session_id, message_type, content, timestamp) VALUES (?, 'own', 'user', 'x', '')",
        taken,
    )
    before = rows(target)

    def run() -> Report:
        return migrate(str(source), str(target), TransferOptions(), limits={"max_rows": 1}, verify=False).report

    told = run()
    refusals = {(key, "update_refused") for key in (one, refused, other)}
    assert {(line.session_id, line.code) for line in told.errors} == refusals
    why = "the target refused it: a row breaks the UNIQUE rule of messages: (id)"
    assert all(why in line.error for line in told.errors)
    assert (told.failed_sessions, told.migrated_sessions) == (3, 0)
    assert rows(target) == before
    rollback(
        str(target), RollbackOptions(sessions=(one, other), on_conflict="keep-legacy"), backup=BackupOptions(False)
    )
    healed = run()
    assert [(line.session_id, line.code) for line in healed.errors] == [(refused, "update_refused")]
    assert healed.migrated_sessions == 2


def test_first_some_then_all(sessionlift: Warm, legacy: Legacy, target: Path) -> None:
    source = legacy(traps="usual")
    ids = session_ids(source)
    some = sessionlift("migrate", source, target, "--only", ids[2], "--only", ids[5], "--json")
    assert (some.code, counts(some)) == (0, (2, 2, 0, 0))
    assert sorted(query(target, "SELECT session_id FROM session_traces")) == sorted([(ids[2],), (ids[5],)])

    rest = sessionlift("migrate", source, target, "--json")

    assert (rest.code, counts(rest)) == (0, (8, 6, 2, 0))
    assert len(query(target, "SELECT session_id FROM session_traces")) == 8


def test_choosing_a_session_leaves_the_catalog_and_its_quarantine_as_they_are(
    sessionlift: Warm, legacy: Legacy, target: Path
) -> None:
    source = legacy(traps="all")
    ids = session_ids(source)
    first = sessionlift("migrate", source, target, "--json")
    before = content(target)
    assert before["sessionlift_quarantine"], "rows without a session"

    for chosen in ((ids[1],), ids):
        options = [word for session_id in chosen for word in ("--only", session_id)]
        again = sessionlift("migrate", source, target, *options, "--json")
        assert again.code == 1
        assert codes(again) == [("still_in_quarantine", None)]
        assert difference(before, content(target)) == ""
    assert first.code == 1


def test_a_dry_run_writes_nothing_but_its_report(sessionlift: Warm, legacy: Legacy, target: Path) -> None:
    source = legacy()
    dry = sessionlift("migrate", source, target, "--dry-run", "--json")
    assert dry.code == 1
    assert report_of(dry)["dry_run"] is True
    assert report_of(dry)["verification"]["status"] == "passed"
    assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] == ["v3.db.reports"]
    real = sessionlift("migrate", source, target, "--json")
    for part in ("tables", "losses", "errors", "total_sessions", "migrated_sessions", "failed_sessions"):
        assert report_of(dry)[part] == report_of(real)[part], part
    before = target.read_bytes()

    again = sessionlift("migrate", source, target, "--dry-run", "--json")

    assert (again.code, counts(again)) == (1, (8, 0, 8, 0))
    assert target.read_bytes() == before
    assert {path.name for path in target.parent.iterdir()} == {"v3.db", "v3.db.reports"}


def test_stopping_at_an_error_writes_nothing_of_that_session(sessionlift: Warm, legacy: Legacy, target: Path) -> None:
    source = legacy(traps="usual")
    bad = session_ids(source)[4]
    change_source(
        source,
        first_event(bad, "event_type = 'no such type'"),
    )
    stopped = sessionlift("migrate", source, target, "--on-error", "stop", "--json", limits={"max_rows": 30})
    assert stopped.code == 1
    said = json.loads(stopped.out)
    assert (said["code"], said["session_id"], said["table"]) == ("run_stopped", bad, "events")
    assert "--on-error stop" in said["hint"]
    assert query(target, "SELECT count(*) FROM session_traces WHERE session_id = ?", bad) == [(0,)]
    assert query(target, "SELECT count(*) FROM events WHERE session_id = ?", bad) == [(0,)]
    assert query(target, "SELECT count(*) FROM sessionlift_quarantine") == [(0,)]
    assert query(target, "SELECT status FROM sessionlift_runs") == [("failed",)]
    moved = query(target, "SELECT count(*) FROM session_traces")[0][0]
    report = json.loads(Path(said["report"]).read_text())
    assert report["status"] == "failed"
    assert report["migrated_sessions"] == moved

    all_of_it = sessionlift("migrate", source, target, "--json")

    assert (all_of_it.code, counts(all_of_it)) == (1, (8, 8 - moved, moved, 0))


SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
PLACES = ("CREATE TABLE", 'main."events"', "COMMIT", "DETACH", "journal_mode = DELETE")
# each signal and each place; in torture each with each
PAIRS = (
    list(product(SIGNALS, PLACES))
    if TORTURE
    else [(SIGNALS[at % len(SIGNALS)], each) for at, each in enumerate(PLACES)]
)


@pytest.fixture(scope="module")
def calm(sessionlift: Warm, legacy_store: Legacy, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The target of a run that nobody interrupts, and its boundaries."""
    target = tmp_path_factory.mktemp("calm") / "calm.db"
    done = sessionlift("migrate", legacy_store(traps="usual"), target, "--json", limits={"max_rows": 80})
    return target, done.boundaries


@pytest.mark.torture
@pytest.mark.parametrize(("signal_name", "where"), PAIRS)
def test_an_interrupted_run_ends_in_order(
    sessionlift: Warm,
    legacy_store: Legacy,
    calm: tuple[Path, list[str]],
    tmp_path: Path,
    signal_name: str,
    where: str,
) -> None:
    source = legacy_store(traps="usual")
    untouched, boundaries = calm
    boundary = [i for i, what in enumerate(boundaries, 1) if where in what][-1 if "mode" in where else 3]
    target = tmp_path / "target" / "v3.db"
    target.parent.mkdir()

    ended = sessionlift("migrate", source, target, "--json", at=boundary, do=signal_name, limits={"max_rows": 80})

    if "mode" in where:
        # everything was done by then: such a run is complete or interrupted, but never half
        assert ended.code in (0, 130)
    else:
        assert ended.code == 130, ended.out + ended.err
        assert "Run the same command again" in ended.err
        (path,) = (target.parent / "v3.db.reports").glob("migrate-*Z-????????.json")
        assert json.loads(path.read_text())["status"] == "interrupted"
        answer = json.loads(ended.out)
        assert (answer["ok"], answer["code"], answer["report"]) == (False, "interrupted", str(path))
    assert "Traceback" not in ended.err
    assert {path.name for path in target.parent.iterdir()} == {"v3.db", "v3.db.reports"}
    assert query(target, "PRAGMA journal_mode") == [("delete",)]
    assert query(target, "PRAGMA integrity_check") == [("ok",)]
    for session_id, written in query(target, "SELECT session_id, written_counts FROM sessionlift_units"):
        for table, count in json.loads(written).items():
            if session_id:
                found = query(target, f"SELECT count(*) FROM {table} WHERE session_id = ?", session_id)
                assert found == [(count,)], f"{table} of {session_id}"

    again = sessionlift("migrate", source, target, "--json")

    assert again.code == 0
    assert difference(content(untouched), content(target)) == ""


def test_the_target_holds_what_the_user_was_told_of(sessionlift: Warm, legacy: Legacy, target: Path) -> None:
    source = legacy()
    before = snapshot(source.parent)
    done = sessionlift("migrate", source, target, "--json")
    report = report_of(done)
    assert {path.name for path in target.parent.iterdir()} == {"v3.db", "v3.db.reports"}
    run = report["run_id"]
    names = {path.name for path in (target.parent / "v3.db.reports").iterdir()}
    assert names == {f"{run}.json", f"{run}.digests.jsonl"}
    generation = {
        "experiments", "systems", "system_versions", "experimental_systems", "session_traces", "events",
        "session_timesteps", "messages", "outcome_rewards", "event_rewards",
    }  # fmt: skip
    own = report["ledger"]["tables"]
    assert tables(target) == generation | set(own)
    assert report["ledger"]["rows"] == sum(query(target, f"SELECT count(*) FROM {table}")[0][0] for table in own)
    assert snapshot(source.parent) == before


@pytest.mark.parametrize("killed", [False, True])
def test_one_target_has_one_reading_of_the_clock(sessionlift: Warm, legacy: Legacy, target: Path, killed: bool) -> None:
    source = legacy(traps="usual")
    limits = {"max_rows": 80}
    calm = sessionlift("migrate", source, target.with_name("calm.db"), "--no-verify", limits=limits)
    middle = [i for i, what in enumerate(calm.boundaries, 1) if what.startswith("DETACH")][-1]
    sessionlift("migrate", source, target, "--no-verify", at=middle if killed else 0, limits=limits)
    assert query(target, "SELECT count(*) FROM session_traces") != [(0,)]
    before = content(target)

    refused = sessionlift("migrate", source, target, "--timezone", "Europe/Berlin")

    assert refused.code == 2
    assert "say --timezone UTC" in refused.err
    assert difference(before, content(target)) == ""


def test_a_target_that_a_killed_writer_left_half_made_is_made_again(
    sessionlift: Warm, legacy: Legacy, target: Path, tmp_path: Path
) -> None:
    """The file is not empty, but its journal says that nothing was in it before."""
    half = tmp_path / "half.db"
    with closing(sqlite3.connect(half, isolation_level=None)) as db:
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN")
        db.execute("CREATE TABLE filler (text TEXT)")
        db.executemany("INSERT INTO filler VALUES (?)", [("x" * 4000,)] * 50)
        for end in ("", "-journal"):
            shutil.copy(f"{half}{end}", f"{target}{end}")
    assert target.stat().st_size, "nothing was written yet"
    assert sessionlift("migrate", legacy(sessions=4, traps="usual"), target, "--quiet").code == 0
    assert sessionlift("status", target).out.count("4 sessions moved") == 2


def test_an_id_that_both_programs_gave_a_system_ends_the_run_with_the_way_out(sessionlift: Warm, target: Path) -> None:
    source = already_moved(target, sessions=2, traps="none")
    change_source(source, "INSERT INTO systems (id, name, description) VALUES ('nine', 'of the old program', '')")
    change(target, "INSERT INTO systems (system_id, name) VALUES ('nine', 'of the new program')")
    ended = sessionlift("migrate", source, target)
    assert ended.code == 4, ended.err
    assert "system_id" in ended.err
    assert "rename it there, or move into a new target" in ended.err
    assert query(target, "SELECT name FROM systems WHERE system_id = 'nine'") == [("of the new program",)]

    change(target, "UPDATE systems SET system_id = 'ten' WHERE system_id = 'nine'")
    assert sessionlift("migrate", source, target).code == 0
