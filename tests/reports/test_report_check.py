"""Each law of a report, broken alone."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sessionlift.errors import ReportError
from sessionlift.reports import Digest, Report, check, check_file, digests_path, schema, write, write_digests
from sessionlift.reports._check import LAWS

Change = Callable[[dict[str, Any]], Any]
HASH = "c" * 64
DIFFERENCE = {
    "session_id": "s-1",
    "table": "events",
    "row": "1",
    "column": "cost_usd",
    "expected": 1,
    "found": 2,
    "message": "other value",
}


def put(path: str, value: Any) -> Change:
    """A change that sets the value at a dotted path."""

    def change(data: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        node: Any = data
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node[part]
        node[int(last) if isinstance(node, list) else last] = value

    return change


def all_of(*changes: Change) -> Change:
    def change(data: dict[str, Any]) -> None:
        for one in changes:
            one(data)

    return change


def not_verified(data: dict[str, Any]) -> None:
    data["verification"].update(
        status="not_run", checked_sessions=0, checked_rows=0, checked_values=0, method="", cannot_see=[]
    )


def clean(data: dict[str, Any]) -> None:
    """Take every finding out."""
    data.update(errors=[], failed_sessions=0, migrated_sessions=17)
    data["tables"] = {"events": {"read": 1, "written": 1, "quarantined": 0, "excluded": 0, "derived": 0}}


CASES: list[tuple[str, Change, str]] = [
    ("version_is_known", put("report_version", "2.0"), "report_version is 2.0"),
    ("version_is_known", put("report_version", "0.9"), "report_version is 0.9"),
    ("no_number_is_negative", put("ledger.rows", -1), "ledger.rows is -1"),
    ("no_number_is_negative", put("source.size_bytes", -1), "source.size_bytes is -1"),
    ("no_number_is_negative", put("tables.event_rewards.derived", -3), "tables.event_rewards.derived is -3"),
    (
        "no_number_is_negative",
        put("throughput.peak_memory_mb.main", float("nan")),
        "throughput.peak_memory_mb.main is nan",
    ),
    ("no_text_is_blank", put("run_id", ""), "run_id is empty"),
    ("no_text_is_blank", put("losses.0.original_kept_in", ""), "losses[0].original_kept_in is empty"),
    ("no_text_is_blank", put("assumptions.0", ""), "assumptions[0] is empty"),
    (
        "tables_add_up",
        put("tables.events.written", 12_125),
        "tables.events: 12126 rows read, but 12125 written",
    ),
    ("tables_add_up", put("tables.events.read", 12_127), "= 12126"),
    (
        "tables_add_up",
        all_of(put("status", "interrupted"), put("tables.events.written", 12_125)),
        "tables.events: 12126 rows read",
    ),
    ("sessions_add_up", put("skipped_sessions", 2), "total_sessions is 20, but 16 migrated + 2 skipped"),
    ("sessions_add_up", all_of(put("kind", "verify"), put("skipped_sessions", 4)), "= 21"),
    ("times_are_utc", put("started_at", "2026-01-02 03:04:05"), "started_at is '2026-01-02 03:04:05'"),
    ("times_are_utc", put("finished_at", "2026-01-02T03:04:06+01:00"), "finished_at is"),
    ("times_are_utc", put("finished_at", "2026-02-30T03:04:06+00:00"), "finished_at is"),
    ("end_follows_start", put("finished_at", "2026-01-02T03:04:04.999999+00:00"), "is before started_at"),
    ("end_follows_start", put("finished_at", None), "but finished_at is None"),
    ("end_follows_start", put("status", "running"), "status is running, but finished_at is 2026"),
    ("stores_are_named", put("source", None), "there is no source"),
    ("stores_are_named", put("target", None), "there is no target"),
    ("status_tells_findings", put("status", "completed"), "status is completed, but there are errors"),
    ("status_tells_findings", clean, "status is completed_with_findings, but there are none"),
    ("status_tells_findings", all_of(clean, put("status", "failed")), "no error says why"),
    (
        "failures_have_errors",
        all_of(put("failed_sessions", 3), put("skipped_sessions", 1)),
        "failed_sessions is 3, but errors name 2 sessions",
    ),
    (
        "failures_have_errors",
        all_of(put("errors", []), put("failed_sessions", 0), put("skipped_sessions", 4)),
        "2 rows are in quarantine, but no error says why",
    ),
    ("failures_have_errors", all_of(clean, put("errors_truncated", 2)), "but no error is shown"),
    (
        "losses_are_told_once",
        put("losses.1.column", "cost"),
        "losses has 2 lines for cost_fraction events cost",
    ),
    (
        "losses_are_told_once",
        all_of(put("source_facts.1.code", "counter_differs"), put("source_facts.1.table", "session_traces")),
        "source_facts has 2 lines for counter_differs",
    ),
    ("losses_are_told_once", put("losses.1.count", 0), "losses[1].count is 0"),
    ("losses_are_told_once", put("source_facts.1.examples", [1, 2]), "source_facts[1] has 2 examples of 1"),
    ("verification_is_whole", put("verification.differences", [DIFFERENCE]), "passed, but has 1 differences"),
    ("verification_is_whole", put("verification.differences_truncated", 5), "passed, but has 5 differences"),
    ("verification_is_whole", put("verification.status", "failed"), "failed, but shows no difference"),
    ("verification_is_whole", put("verification.status", "not_run"), "was not run, but has results"),
    ("verification_is_whole", put("verification.method", ""), "does not say how it compared"),
    ("verification_is_whole", put("verification.cannot_see", []), "does not say what it cannot see"),
    ("verification_is_whole", put("verification.checked_sessions", 0), "without a look at any of 16"),
    ("rate_is_right", put("throughput.rows_per_second", 12_440.0), "are not 12440.0 rows per second"),
    ("backups_are_where_they_say", put("backups.0.path", None), "backups[0] is earlier, but lacks its path"),
    ("backups_are_where_they_say", put("backups.0.digest", None), "backups[0] is earlier, but lacks its path"),
    ("backups_are_where_they_say", put("backups.0.taken_at", "yesterday"), "backups[0].taken_at is 'yesterday'"),
    ("backups_are_where_they_say", put("backups.1.reason", None), "backups[1] was not taken, but nothing says why"),
    ("backups_are_where_they_say", put("backups.1.path", "/b"), "backups[1] was not taken, but lies at /b"),
    ("digests_are_digests", put("backups.0.digest", "d"), "backups[0].digest is"),
    ("digests_are_digests", put("source.sha256", "A" * 64), "source.sha256 is"),
    ("digests_are_digests", put("digests.sha256", "b" * 63), "digests.sha256 is"),
    ("digests_are_digests", put("digests.path", "../run.jsonl"), "not the name of a file beside the report"),
]


@pytest.mark.parametrize(("law", "change", "told"), CASES, ids=[f"{law}-{i}" for i, (law, _, _) in enumerate(CASES)])
def test_a_broken_law_is_told(sound: Report, law: str, change: Change, told: str) -> None:
    data = sound.to_dict()
    change(data)
    (function,) = (f for f in LAWS if f.__name__ == law)
    said = list(function(Report.from_dict(data)))
    assert [s for s in said if told in s], said
    assert set(said) <= set(check(data))


def test_every_law_has_a_case_and_says_what_it_is() -> None:
    assert {law for law, _, _ in CASES} == {f.__name__ for f in LAWS}
    assert all(f.__doc__ for f in LAWS)


@pytest.mark.parametrize("status", ["interrupted", "failed"])
def test_a_run_cut_short_may_have_read_more_than_it_wrote(sound: Report, status: Any) -> None:
    sound.tables["events"].read += 500
    sound.total_sessions += 7
    sound.status = status
    assert check(sound.to_dict()) == []


def test_a_verify_need_not_move_anything(sound: Report) -> None:
    sound.kind = "verify"
    sound.migrated_sessions = sound.skipped_sessions = 0
    assert check(sound.to_dict()) == []


def test_a_plan_needs_no_target_and_no_verification(sound: Report) -> None:
    data = sound.to_dict()
    not_verified(data)
    data.update(kind="plan", target=None, digests=None)
    assert check(data) == []


def test_no_law_looks_into_what_is_free(sound: Report) -> None:
    sound.options = {"seed": -1, "note": "", "sessions": [-1]}
    sound.losses[0].examples = [-5, ""]
    assert check(sound.to_dict()) == []


@pytest.mark.parametrize("key", ["session_id", "row"])
def test_an_id_that_is_empty_in_the_store_is_no_blank(sound: Report, key: str) -> None:
    data = sound.to_dict()
    data["errors"].append({**data["errors"][0], key: ""})
    data["verification"].update(status="failed", differences=[{**DIFFERENCE, key: ""}])
    Draft202012Validator(schema()).validate(data)
    assert check(data) == []


def test_a_credential_is_told_with_its_place_but_not_repeated(sound: Report) -> None:
    assert sound.source is not None
    sound.source.url = "libsql+http://me:hunter22@host:8080"
    sound.options = {"token": "hunter22"}
    sound.losses[0].examples[0] = ["Authorization: Bearer hunter22"]
    said = check(sound.to_dict())
    assert said == [
        "source.url holds a credential",
        "options.token holds a credential",
        "losses[0].examples[0][0] holds a credential",
    ]


@pytest.mark.slow
def test_check_refuses_whatever_the_schema_refuses(sound: Report) -> None:
    """One value at a time is replaced by awkward ones: check() may be stricter than the schema, not laxer."""
    validator = Draft202012Validator(schema())
    data = sound.to_dict()
    laxer = []
    for path in places(data):
        for value in (None, "", "x", -1, 0, 0.5, True, [], {}, [None], {"x": None}, [""]):
            broken = copy.deepcopy(data)
            put_at(broken, path, value)
            # check() first: it is quick, and most of what is broken ends there
            if not check(broken) and not validator.is_valid(broken):
                laxer.append((path, value))
    assert not laxer


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [p for key, item in items for p in [(*path, key), *places(item, (*path, key))]]


def put_at(node: Any, path: tuple[Any, ...], value: Any) -> None:
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value


def test_check_file_looks_at_the_digests_file_too(sound: Report, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    lines = [Digest(f"s-{i}", HASH, HASH) for i in range(3)]
    sound.digests = write_digests(digests_path(path), lines, algorithm="x")
    write(sound, path)
    assert check_file(path) == []

    sound.digests.sessions = 4
    write(sound, path)
    assert check_file(path) == ["digests.sessions is 4, but run.digests.jsonl has 3 sessions"]

    digests_path(path).write_text("")
    (said,) = check_file(path)
    assert "is not the digests file of this report" in said

    digests_path(path).unlink()
    (said,) = check_file(path)
    assert "cannot read the digests file" in said


def test_check_file_tells_a_broken_report_before_its_digests(sound: Report, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    sound.total_sessions = 100
    write(sound, path)
    (said,) = check_file(path)
    assert said.startswith("total_sessions is 100")
    path.write_text(json.dumps([1]))
    with pytest.raises(ReportError, match="not a report"):
        check_file(path)
