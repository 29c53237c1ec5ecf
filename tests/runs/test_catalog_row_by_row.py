"""Systems, versions, experiments and links that both programs go on with: whoever changed a row has it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.runs.test_rollback_synth import v2
from tests.support.made import make_moved, make_synth_v2
from tests.support.moved import add_session, change, change_source, content, difference, query, session_ids
from tests.support.run_fixtures import Legacy
from tests.support.warm import Outcome, Warm

from sessionlift.runs import TransferOptions, migrate

pytestmark = pytest.mark.slow

SAME, CHANGED, GONE = "same", "changed", "gone"
EXPERIMENTS = [(there, here) for there in (SAME, CHANGED, GONE) for here in (SAME, CHANGED, GONE)]
"""What the old program and what the application do with one row each."""


def report_of(outcome: Outcome) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(outcome.out)["report"]
    return report


def errors(outcome: Outcome) -> list[tuple[str, str | None, str | None]]:
    return [(line["code"], line["table"], line["row"]) for line in report_of(outcome)["errors"]]


def name(there: str, here: str) -> str:
    return f"{there}-{here}"


def told(target: Path) -> dict[str, str | None]:
    return {str(key): about for key, about in query(target, "SELECT experiment_id, description FROM experiments")}


def with_experiments(path: Path) -> None:
    """A store with one experiment for each thing that may happen to it."""
    make_synth_v2(path, sessions=4, traps="none", seed=1)
    for place, pair in enumerate(EXPERIMENTS):
        change_source(
            path,
            f"INSERT INTO experiments VALUES ('{name(*pair)}', 'number {place}', 'as it was', "
            "TIMESTAMP '2026-01-01 00:00:00', TIMESTAMP '2026-01-01 00:00:00')",
        )


@pytest.fixture(scope="module")
def happened(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Such a store and its target, to be copied, after everything has happened."""
    folder = tmp_path_factory.mktemp("happened")
    source, target = folder / "v2.duckdb", folder / "v3.db"
    with_experiments(source)
    migrate(str(source), str(target), TransferOptions())
    for there, here in EXPERIMENTS:
        key = name(there, here)
        if there == CHANGED:
            change_source(source, f"UPDATE experiments SET description = 'by the old one' WHERE id = '{key}'")
        elif there == GONE:
            change_source(source, f"DELETE FROM experiments WHERE id = '{key}'")
        if here == CHANGED:
            change(target, "UPDATE experiments SET description = 'by the new one' WHERE experiment_id = ?", key)
        elif here == GONE:
            change(target, "DELETE FROM experiments WHERE experiment_id = ?", key)
    change_source(
        source,
        "INSERT INTO experiments VALUES ('late', 'since', 'the old one began it', "
        "TIMESTAMP '2026-02-01 00:00:00', TIMESTAMP '2026-02-01 00:00:00')",
        "INSERT INTO experimental_systems SELECT 'late', system_id, id FROM system_versions LIMIT 1",
    )
    add_session(source, "one-more", session_ids(source)[0])
    change_source(source, "UPDATE session_traces SET experiment_id = 'late' WHERE session_id = 'one-more'")
    return source, target


@pytest.fixture
def both(happened: tuple[Path, Path], tmp_path: Path, target: Path) -> Path:
    """The legacy store of a pair to which everything has happened, in the test's own folder."""
    source = tmp_path / "source" / "legacy.duckdb"
    source.parent.mkdir()
    for was, now in zip(happened, (source, target), strict=True):
        shutil.copyfile(was, now)
    change(target, "UPDATE sessionlift_runs SET source = replace(source, ?, ?)", str(happened[0]), str(source))
    return source


def at_hand(target: Path) -> Path:
    """A target that was moved into, and its legacy store."""
    source = target.parent.with_name("source") / "legacy.duckdb"
    make_moved(source, target, sessions=4, traps="none", seed=1)
    return source


CONFLICTS = [
    ("changed_on_both_sides", "experiments", name(CHANGED, CHANGED)),
    ("changed_on_both_sides", "experiments", name(CHANGED, GONE)),
]


def test_each_row_is_as_the_one_who_changed_it_has_it(sessionlift: Warm, both: Path, target: Path) -> None:
    again = sessionlift("migrate", both, target, "--json")

    assert (again.code, sorted(errors(again))) == (1, CONFLICTS), again.out
    found = told(target)
    assert {key: found.get(key) for key in [name(*pair) for pair in EXPERIMENTS]} == {
        name(SAME, SAME): "as it was",
        name(SAME, CHANGED): "by the new one",
        name(SAME, GONE): None,
        name(CHANGED, SAME): "by the old one",
        name(CHANGED, CHANGED): "by the new one",
        name(CHANGED, GONE): None,
        # what the source has lost stays in the target
        name(GONE, SAME): "as it was",
        name(GONE, CHANGED): "by the new one",
        name(GONE, GONE): None,
    }
    assert found["late"] == "the old one began it"
    assert query(target, "SELECT count(*) FROM experimental_systems WHERE experiment_id = 'late'") == [(1,)]
    assert report_of(again)["verification"]["status"] == "passed", report_of(again)["verification"]
    facts = {(fact["code"], fact["table"]): fact["count"] for fact in report_of(again)["source_facts"]}
    assert facts["catalog_left_alone", "experiments"] == 2
    counts = report_of(again)["tables"]["experiments"]
    assert counts["read"] == counts["written"] == len(v2(both, "SELECT id FROM experiments")) - 4


def test_what_was_left_alone_is_told_each_time_and_nothing_is_written_for_it(
    sessionlift: Warm, both: Path, target: Path
) -> None:
    sessionlift("migrate", both, target, "--no-verify", "--json")
    before = content(target)

    again = sessionlift("migrate", both, target, "--json")

    assert (again.code, sorted(errors(again))) == (1, CONFLICTS)
    assert report_of(again)["backups"] == []
    assert report_of(again)["tables"] == {}
    assert difference(before, content(target)) == ""


def test_a_row_that_both_sides_have_alike_again_is_no_conflict_any_more(
    sessionlift: Warm, both: Path, target: Path
) -> None:
    sessionlift("migrate", both, target, "--no-verify", "--json")
    change(
        target,
        "UPDATE experiments SET description = 'by the old one' WHERE experiment_id = ?",
        name(CHANGED, CHANGED),
    )
    change_source(both, f"UPDATE experiments SET description = 'as it was' WHERE id = '{name(CHANGED, GONE)}'")

    settled = sessionlift("migrate", both, target, "--json")

    assert (settled.code, errors(settled)) == (0, []), settled.out
    assert name(CHANGED, GONE) not in told(target), "the application alone has deleted it"
    before = content(target)
    assert sessionlift("migrate", both, target, "--json").code == 0
    assert difference(before, content(target)) == ""


def settle(both: Path, target: Path) -> None:
    change(
        target,
        "UPDATE experiments SET description = 'by the old one' WHERE experiment_id = ?",
        name(CHANGED, CHANGED),
    )
    change_source(both, f"DELETE FROM experiments WHERE id = '{name(CHANGED, GONE)}'")


def test_verify_and_the_report_of_such_a_run_find_nothing_and_see_a_row_that_changes_later(
    sessionlift: Warm, both: Path, target: Path
) -> None:
    settle(both, target)
    done = sessionlift("migrate", both, target, "--json")
    assert (done.code, errors(done)) == (0, []), done.out
    path = next(target.parent.glob(f"*.reports/{report_of(done)['run_id']}.json"))

    checked = sessionlift("verify", both, target, "--json")
    claimed = sessionlift("verify", "--report", path, "--json")

    assert checked.code == 0, checked.out
    assert claimed.code == 0, claimed.out
    facts = {(fact["code"], fact["table"]): fact["count"] for fact in report_of(checked)["source_facts"]}
    assert facts["catalog_left_alone", "experiments"] == 2
    change(target, "UPDATE experiments SET description = 'later' WHERE experiment_id = ?", name(SAME, CHANGED))
    later = sessionlift("verify", both, target, "--json")
    assert later.code == 1
    assert "changed_in_target" in {line["code"] for line in report_of(later)["errors"]}, later.out


def test_a_report_that_counts_a_row_that_was_left_alone_as_written_is_found_out(
    sessionlift: Warm, both: Path, target: Path
) -> None:
    settle(both, target)
    done = sessionlift("migrate", both, target, "--json")
    path = next(target.parent.glob(f"*.reports/{report_of(done)['run_id']}.json"))
    for table in ("experiments", "systems"):
        report = report_of(done)
        report["tables"][table]["read"] += 1
        report["tables"][table]["written"] += 1
        path.write_text(json.dumps(report))

        claimed = sessionlift("verify", "--report", path, "--json")

        assert claimed.code == 1, table
        assert {"claim_read", "claim_written"} <= {line["code"] for line in report_of(claimed)["errors"]}, table


BACK = {
    name(SAME, SAME): "as it was",
    name(SAME, CHANGED): "by the new one",
    name(SAME, GONE): None,
    name(CHANGED, SAME): "by the old one",
    name(CHANGED, CHANGED): "by the old one",
    name(CHANGED, GONE): "by the old one",
    name(GONE, SAME): None,
    name(GONE, CHANGED): None,
    name(GONE, GONE): None,
}
"""What a way back leaves of each experiment in the legacy store."""
LEFT = [
    ("legacy_changed", "experiments", name(*pair)) for pair in ((CHANGED, CHANGED), (CHANGED, GONE), (GONE, CHANGED))
]


def experiments(legacy: Path) -> dict[str, str | None]:
    """By name what the legacy store has of them; None for those that are not there."""
    found = dict(v2(legacy, "SELECT id, description FROM experiments"))
    return {key: found.get(key) for key in BACK}


def test_the_way_back_takes_the_application_s_rows_and_keeps_the_old_program_s(
    sessionlift: Warm, both: Path, target: Path
) -> None:
    back = sessionlift("rollback", target, "--all", "--json")

    assert (back.code, sorted(errors(back))) == (1, LEFT), back.out
    assert experiments(both) == BACK
    assert v2(both, "SELECT count(*) FROM experiments WHERE id = 'late'") == [(1,)]


def test_what_the_way_back_has_left_is_left_until_both_have_the_same(
    sessionlift: Warm, both: Path, target: Path
) -> None:
    assert sessionlift("rollback", target, "--all", "--json").code == 1
    again = sessionlift("rollback", target, "--all", "--json")
    assert (sorted(errors(again)), experiments(both)) == (LEFT, BACK), again.out
    change(target, "UPDATE experiments SET description = 'by the old one' WHERE experiment_id = 'changed-changed'")
    change_source(both, "DELETE FROM experiments WHERE id = 'changed-gone'")
    change(target, "DELETE FROM experiments WHERE experiment_id = 'gone-changed'")

    settled = sessionlift("rollback", target, "--all", "--json")

    assert (settled.code, errors(settled)) == (0, []), settled.out
    assert experiments(both) == {**BACK, "changed-gone": None}


def test_a_move_after_it_brings_what_the_old_program_has_changed(sessionlift: Warm, both: Path, target: Path) -> None:
    assert sessionlift("rollback", target, "--all", "--json").code == 1
    moved = sessionlift("migrate", both, target, "--json")

    conflicts = sorted((table, row) for _, table, row in errors(moved))
    assert conflicts == [("experiments", "changed-changed"), ("experiments", "changed-gone")], moved.out
    assert told(target) == {
        "same-same": "as it was",
        "same-changed": "by the new one",
        "changed-same": "by the old one",
        "changed-changed": "by the new one",
        # what the old program has deleted stays in the new store, where sessions may name it
        "gone-same": "as it was",
        "gone-changed": "by the new one",
        "late": "the old one began it",
        **{key: about for key, about in told(target).items() if not key.startswith((SAME, CHANGED, GONE, "late"))},
    }


def test_a_parent_stays_for_what_the_old_program_has_made_of_it_since(
    sessionlift: Warm, legacy: Legacy, target: Path
) -> None:
    source = legacy(sessions=4, traps="none")
    change_source(
        source,
        "INSERT INTO systems (id, name) VALUES ('one', 'one'), ('two', 'two')",
    )
    assert sessionlift("migrate", source, target, "--json").code == 0
    version = (
        "INSERT INTO system_versions (id, system_id, branch, commit, created_at) VALUES ('v', 'one', 'b', 'c', now())"
    )
    change_source(source, version, "DELETE FROM systems WHERE id = 'two'")
    change(target, "DELETE FROM systems WHERE system_id = 'one'")
    change(target, "INSERT INTO system_versions (version_id, system_id, version_number) VALUES ('w', 'two', 'w')")

    back = sessionlift("rollback", target, "--all", "--json")

    assert sorted(errors(back)) == [
        ("legacy_changed", "system_versions", "w"),
        ("legacy_changed", "systems", "one"),
    ], back.out
    assert v2(source, "SELECT id FROM systems WHERE id IN ('one', 'two')") == [("one",)]
    assert v2(source, "SELECT id FROM system_versions WHERE id IN ('v', 'w')") == [("v",)]


def test_the_way_back_after_a_move_takes_all_that_is_left(sessionlift: Warm, both: Path, target: Path) -> None:
    settle(both, target)
    assert sessionlift("migrate", both, target, "--no-verify", "--json").code == 0

    back = sessionlift("rollback", target, "--all", "--json")

    assert back.code == 0, back.out
    found = dict(v2(both, "SELECT id, description FROM experiments"))
    assert {key: found.get(key) for key in [*(name(*pair) for pair in EXPERIMENTS), "late"]} == {
        name(SAME, SAME): "as it was",
        name(SAME, CHANGED): "by the new one",
        name(SAME, GONE): None,
        name(CHANGED, SAME): "by the old one",
        name(CHANGED, CHANGED): "by the old one",
        name(CHANGED, GONE): None,
        name(GONE, SAME): "as it was",
        name(GONE, CHANGED): "by the new one",
        name(GONE, GONE): None,
        "late": "the old one began it",
    }
    before = told(target)
    again = sessionlift("migrate", both, target, "--json")
    assert (again.code, errors(again)) == (0, []), again.out
    assert told(target) == before
    checked = sessionlift("verify", both, target, "--json")
    assert (checked.code, [line["code"] for line in report_of(checked)["errors"]]) == (0, [])


def test_an_id_that_both_have_given_to_rows_of_their_own_still_ends_the_run(
    sessionlift: Warm, both: Path, target: Path
) -> None:
    change(target, "INSERT INTO experiments (experiment_id, name) VALUES ('late', 'of the new program')")

    again = sessionlift("migrate", both, target, "--json")

    assert (again.code, json.loads(again.out)["code"]) == (4, "store_constraint"), again.out
    assert "rename it there" in json.loads(again.out)["hint"]
    assert query(target, "SELECT count(*) FROM session_traces WHERE session_id = 'one-more'") == [(0,)]


def test_what_the_application_left_without_its_experiment_goes_from_the_legacy_store_with_it(
    sessionlift: Warm, target: Path
) -> None:
    source = at_hand(target)
    ((gone,),) = query(target, "SELECT min(experiment_id) FROM experimental_systems")
    links = query(target, "SELECT * FROM experimental_systems WHERE experiment_id = ?", gone)
    assert links
    change(target, "DELETE FROM experiments WHERE experiment_id = ?", gone)

    back = sessionlift("rollback", target, "--all", "--json")

    assert back.code == 0, back.out
    for table, column in (("experiments", "id"), ("experimental_systems", "experiment_id")):
        assert v2(source, f"SELECT count(*) FROM {table} WHERE {column} = ?", gone) == [(0,)]
    losses = {(loss["code"], loss["table"]): loss["count"] for loss in json.loads(back.out)["report"]["losses"]}
    assert losses["row_not_held", "experimental_systems"] == len(links)
    checked = sessionlift("verify", source, target, "--json")
    assert (checked.code, report_of(checked)["verification"]["differences"]) == (0, []), checked.out
    asked = sessionlift("schema", "downgrade", target, "base")
    assert asked.code != 0
    assert "--drop-kept" in asked.err, asked.err
    assert sessionlift("schema", "downgrade", target, "base", "--drop-kept").code == 0


def test_an_id_that_the_application_deleted_may_be_used_again_by_the_old_program(
    sessionlift: Warm, legacy: Legacy, target: Path
) -> None:
    source = legacy(sessions=4, traps="none")
    row = "VALUES ('again', '{}', NULL, TIMESTAMP '2026-01-01 00:00:00', TIMESTAMP '2026-01-01 00:00:00')"
    change_source(source, f"INSERT INTO experiments {row.format('first')}")
    assert sessionlift("migrate", source, target, "--json").code == 0
    change(target, "DELETE FROM experiments WHERE experiment_id = 'again'")
    assert sessionlift("rollback", target, "--all", "--json").code == 0
    assert v2(source, "SELECT 1 FROM experiments WHERE id = 'again'") == []
    change_source(source, f"INSERT INTO experiments {row.format('second')}")

    done = sessionlift("migrate", source, target, "--json")

    assert (done.code, errors(done)) == (0, []), done.out
    assert query(target, "SELECT name FROM experiments WHERE experiment_id = 'again'") == [("second",)]
    assert sessionlift("verify", source, target, "--json").code == 0


def test_a_way_back_that_says_nothing_new_of_the_catalog_copies_nothing(sessionlift: Warm, target: Path) -> None:
    at_hand(target)
    change(target, "INSERT INTO systems (system_id, name) VALUES ('new', 'of the application')")
    assert sessionlift("rollback", target, "--all", "--json").code == 0
    before = content(target)

    again = sessionlift("rollback", target, "--all", "--json")

    report = json.loads(again.out)["report"]
    assert (again.code, report["backups"]) == (0, []), again.out
    assert difference(before, content(target)) == ""


def test_a_source_that_goes_back_after_a_conflict_is_looked_at_again(
    sessionlift: Warm, both: Path, target: Path, tmp_path: Path
) -> None:
    before = tmp_path / "before.duckdb"
    change_source(both, f"UPDATE experiments SET description = 'as it was' WHERE id LIKE '{CHANGED}-%'")
    shutil.copy(both, before)
    settled = sessionlift("migrate", both, target, "--json")
    assert (settled.code, errors(settled)) == (0, [])
    change_source(both, f"UPDATE experiments SET description = 'by the old one' WHERE id LIKE '{CHANGED}-%'")
    assert sorted(errors(sessionlift("migrate", both, target, "--json"))) == CONFLICTS
    assert told(target)[name(CHANGED, SAME)] == "by the old one"
    shutil.copy(before, both)

    rehearsed = sessionlift("rollback", target, "--all", "--dry-run", "--json")
    again = sessionlift("migrate", both, target, "--json")

    # neither program has changed a row in another way than the other since what each of them was moved as
    assert errors(rehearsed) == []
    assert (again.code, errors(again)) == (0, []), again.out
    assert told(target)[name(CHANGED, SAME)] == "as it was"
    assert sessionlift("verify", both, target, "--json").code == 0


@pytest.mark.parametrize("all_of_it", [True, False])
def test_the_store_of_before_changes_nothing_of_a_catalog_that_was_carried_into_another(
    sessionlift: Warm, target: Path, tmp_path: Path, *, all_of_it: bool
) -> None:
    source, other = at_hand(target), tmp_path / "other.duckdb"
    change(target, "UPDATE systems SET description = 'by the new one', system_type = 'kept' WHERE system_id = 'sys0'")
    chosen = ("--all",) if all_of_it else ("--session", session_ids(source)[0])
    assert sessionlift("rollback", target, *chosen, "--to", other, "--json").code == 0
    mine = query(target, "SELECT * FROM systems ORDER BY system_id")

    for store in (source, other, source):
        foreseen = sessionlift("plan", store, target, "--json")
        done = sessionlift("migrate", store, target, "--json")
        assert query(target, "SELECT * FROM systems ORDER BY system_id") == mine, store
        assert [line["code"] for line in report_of(foreseen)["errors"]] == [code for code, *_ in errors(done)]
    change_source(source, "UPDATE systems SET description = 'by the old one' WHERE id = 'sys1'")
    sessionlift("migrate", source, target, "--no-verify", "--json")
    assert query(target, "SELECT description FROM systems WHERE system_id = 'sys1'") == [("by the old one",)]
    assert query(target, "SELECT * FROM systems WHERE system_id = 'sys0'") == mine[:1]
    back = sessionlift("rollback", target, "--all", "--to", source, "--json")
    assert v2(source, "SELECT description FROM systems WHERE id = 'sys0'") == [("by the new one",)], back.out


def test_a_report_of_a_run_that_left_rows_alone_is_right_also_when_the_source_goes_on(
    sessionlift: Warm, both: Path, target: Path
) -> None:
    done = sessionlift("migrate", both, target, "--json")
    path = next(target.parent.glob(f"*.reports/{report_of(done)['run_id']}.json"))
    for _ in range(2):
        claimed = sessionlift("verify", "--report", path, "--json")
        assert {line["code"] for line in report_of(claimed)["errors"]} <= {"changed_in_source", "differs_from_source"}
        change_source(both, "UPDATE systems SET description = 'later' WHERE id = 'sys0'")
    report = json.loads(path.read_text())
    report["tables"]["experiments"]["read"] += 1
    report["tables"]["experiments"]["written"] += 1
    path.write_text(json.dumps(report))
    forged = sessionlift("verify", "--report", path, "--json")
    assert "claim_written" in {line["code"] for line in report_of(forged)["errors"]}


def test_a_row_that_the_old_program_deleted_and_made_again_moves(
    sessionlift: Warm, legacy: Legacy, target: Path
) -> None:
    source = legacy(sessions=3, traps="none")
    make = (
        "INSERT INTO experiments VALUES ('nine', 'n', NULL, TIMESTAMP '2026-01-01 00:00:00', "
        "TIMESTAMP '2026-01-01 00:00:00')"
    )
    for statement in (make, "DELETE FROM experiments WHERE id = 'nine'", make):
        change_source(source, statement)
        done = sessionlift("migrate", source, target, "--json")
        assert (done.code, errors(done)) == (0, []), done.out
    assert query(target, "SELECT count(*) FROM experiments WHERE experiment_id = 'nine'") == [(1,)]
