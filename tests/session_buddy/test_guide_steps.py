"""The guide's optional steps: each once or many times with the same outcome, in one transaction, with a report."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from tests.support.buddy_stores import ask, invoke, rows, tell

from sessionlift import reports
from sessionlift._demo import make_session_buddy
from sessionlift.errors import SessionliftError, VerificationError, WrongGenerationError
from sessionlift.runs import session_buddy, verify_in_place
from sessionlift.runs.session_buddy import _backfill, _derive, derive


@pytest.fixture
def v4(tmp_path: Path) -> Path:
    return make_session_buddy(tmp_path / "s.db", generation="session_buddy.v4", invocations=400, traps="all").path


def do(path: Path, step: session_buddy.StepName, **options: Any) -> reports.Report:
    report, file = derive(str(path), step, options)
    assert file is not None
    assert reports.check_file(file) == []
    assert report.status == "completed"
    return report


def hour(text: str) -> str | None:
    """The hour of UTC that a time lies in, worked out apart from SQLite."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    if len(text) < 16 or "-" not in text[:8]:
        return None
    if moment.tzinfo is not None:
        moment = moment.astimezone(timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:00:00")


# --- time series


def test_backfill_puts_every_invocation_into_exactly_one_hour(v4: Path) -> None:
    report = do(v4, "backfill")
    known = {name for (name,) in ask(v4, "SELECT skill_name FROM skill_metrics")}
    expected: Counter[tuple[str, str]] = Counter()
    left_out = Counter({"time": 0, "skill": 0})
    for skill, at in ask(v4, "SELECT skill_name, invoked_at FROM skill_invocation"):
        which = hour(at)
        if which is None:
            left_out["time"] += 1
        elif skill not in known:
            left_out["skill"] += 1
        else:
            expected[skill, which] += 1
    found = ask(v4, "SELECT skill_name, timestamp, invocation_count FROM skill_time_series")
    assert {(skill, at): count for skill, at, count in found} == dict(expected)
    facts = {fact.code: fact.count for fact in report.source_facts}
    assert facts == {"time_unreadable": left_out["time"], "skill_without_metrics": left_out["skill"]}
    assert left_out["time"] == 5
    assert report.tables["skill_time_series"].derived == len(found)
    assert ask(v4, "PRAGMA foreign_key_check(skill_time_series)") == []


def test_a_time_is_what_begins_with_a_date_and_sqlite_reads(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v4").path
    tell(path, "DELETE FROM skill_invocation")
    taken = {
        "2025-06-01": "2025-06-01T00:00:00",
        "2025-06-02T": "2025-06-02T00:00:00",
        "2025-06-03 10:20": "2025-06-03T10:00:00",
        "2025-06-04  10:20:30.5Z": "2025-06-04T10:00:00",
        "2025-06-05T00:20:30+02:00": "2025-06-04T22:00:00",
    }
    left = ["12:30", "2460000.5", "now", "", "junk", "20260210T120000", "2026-13-01", "2026-02-10 24 h", "-2026-02-10"]
    for at in (*taken, *left):
        tell(path, f"INSERT INTO skill_invocation (skill_name, invoked_at, session_id) VALUES ('a', '{at}', 's')")
    facts = {fact.code: fact for fact in do(path, "backfill").source_facts}
    assert {at for (at,) in ask(path, "SELECT timestamp FROM skill_time_series")} == set(taken.values())
    assert facts["time_unreadable"].count == len(left)
    # hour by hour as the guide's script counts
    guide = (
        "SELECT sum(invocation_count = (SELECT count(*) FROM skill_invocation WHERE datetime(invoked_at) >= "
        "datetime(timestamp) AND datetime(invoked_at) < datetime(timestamp, '+1 hour'))) = count(*) "
        "FROM skill_time_series"
    )
    assert ask(path, guide) == [(1,)]
    found = {fact.code: fact for fact in verify_in_place(str(path)).report.source_facts}
    assert found["time_unreadable"].count == len(left)
    assert "in no day" not in found["time_unreadable"].meaning


def test_its_rates_are_percents_and_its_durations_those_of_the_completed(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v4", invocations=0).path
    invoke(path, 20)
    do(path, "backfill")
    for skill, at, rate, duration, sessions in ask(
        path,
        "SELECT skill_name, timestamp, completion_rate, avg_duration_seconds, unique_sessions FROM skill_time_series",
    ):
        used = ask(
            path,
            "SELECT completed, duration_seconds, session_id FROM skill_invocation WHERE skill_name = ? "
            "AND substr(invoked_at, 1, 13) = ?",
            skill,
            at[:13],
        )
        done = [seconds for completed, seconds, _ in used if completed]
        assert rate == 100.0 * len(done) / len(used)
        assert duration == (sum(done) / len(done) if done else None)
        assert sessions == len({session for *_, session in used})


def test_a_second_backfill_writes_nothing_and_a_later_one_only_what_is_new(v4: Path) -> None:
    do(v4, "backfill")
    before = rows(v4)
    assert do(v4, "backfill").tables["skill_time_series"].derived == 0
    assert rows(v4) == before
    invoke(v4, 5)
    again = do(v4, "backfill")
    assert again.options["result"]["added"] + again.options["result"]["changed"] == 3
    assert set(before["skill_time_series"]) <= set(rows(v4)["skill_time_series"])


def test_the_days_are_counted_in_utc_whatever_the_machines_zone(v4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2026, 10, 4, 23, 30, tzinfo=timezone(timedelta(hours=9)))
    plain = _backfill.backfill
    monkeypatch.setitem(
        _derive._STEPS, "backfill", lambda store, connection, **more: plain(store, connection, now=moment, **more)
    )
    report = do(v4, "backfill", days=3)
    assert report.options["result"]["since"] == "2026-10-01T14:00:00"
    assert ask(v4, "SELECT min(timestamp) >= '2026-10-01T14:00:00' FROM skill_time_series") == [(1,)]


def test_rows_of_the_guides_script_are_left_and_not_counted_again_or_replaced_on_demand(v4: Path) -> None:
    tell(
        v4,
        "INSERT INTO skill_time_series (skill_name, timestamp, invocation_count) SELECT skill_name, "
        "strftime('%Y-%m-%dT%H:10:00.5', min(invoked_at)), 1 FROM skill_invocation WHERE id > 10 "
        "AND skill_name IN (SELECT skill_name FROM skill_metrics) GROUP BY skill_name",
    )
    theirs = len(rows(v4)["skill_time_series"])
    report = do(v4, "backfill")
    assert {fact.code: fact.count for fact in report.source_facts}["series_off_the_hour"] == theirs
    covered = ask(
        v4,
        "SELECT count(*) FROM skill_time_series AS s JOIN skill_invocation AS i USING (skill_name) "
        "WHERE s.timestamp LIKE '%:10:00.5' AND datetime(i.invoked_at) >= datetime(s.timestamp) "
        "AND datetime(i.invoked_at) < datetime(s.timestamp, '+1 hour')",
    )[0][0]
    total = "SELECT sum(invocation_count) FROM skill_time_series WHERE timestamp LIKE '%:00:00'"
    partly = ask(v4, total)[0][0]
    replaced = do(v4, "backfill", replace=True)
    assert replaced.options["result"]["removed"] == theirs
    assert ask(v4, total)[0][0] == partly + covered


# --- dependencies


def test_dependencies_follow_the_programs_formula_with_the_textbooks_beside_it(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v4", invocations=0).path
    used = {"s1": "aaabb", "s2": "abbb", "s3": "ac", "s4": "c"}
    for session, skills in used.items():
        for skill in skills:
            tell(
                path,
                "INSERT INTO skill_invocation (skill_name, invoked_at, session_id) "
                f"VALUES ('{skill}', '2026-11-01T00:00:00', '{session}')",
            )
    report = do(path, "dependencies", min_count=5)
    together = 3 * 2 + 1 * 3
    found = ask(path, "SELECT skill_a, skill_b, co_occurrence_count, lift_score FROM skill_dependencies")
    assert found == [("a", "b", together, together / (5 * 5))]
    told = report.options["result"]["strongest_by_textbook"]
    assert told == [
        {
            "pair": ["a", "b"],
            "together": together,
            "lift_score": together / 25,
            "sessions": 2,
            "textbook": 4 * 2 / (3 * 2),
        }
    ]
    assert do(path, "dependencies", min_count=5).tables["skill_dependencies"].derived == 0
    assert len(rows(path)["skill_dependencies"]) == 1
    do(path, "dependencies", min_count=1)
    assert len(rows(path)["skill_dependencies"]) == 2


def test_computed_rows_never_wipe_seeded_ones_nor_stand_beside_them(v4: Path) -> None:
    do(v4, "taxonomy")
    seeds = rows(v4)["skill_dependencies"]
    assert len(seeds) == 4
    report = do(v4, "dependencies")
    after = rows(v4)["skill_dependencies"]
    assert set(seeds) <= set(after)
    assert len(after) > 4
    pairs = [frozenset((row[1][1], row[2][1])) for row in after]
    assert len(pairs) == len(set(pairs)), "a pair stands in both orders"
    assert {fact.code for fact in report.source_facts} >= {"seed_kept"}
    do(v4, "taxonomy")
    assert rows(v4)["skill_dependencies"] == after


# --- baselines and taxonomy


def test_baselines_are_committed_with_a_percentile_for_every_skill(v4: Path) -> None:
    do(v4, "baselines")
    found = ask(
        v4,
        "SELECT skill_name, total_users, total_invocations, global_completion_rate, effectiveness_percentile "
        "FROM skill_community_baselines",
    )
    skills = ask(v4, "SELECT count(*) FROM skill_metrics")[0][0]
    assert len(found) == skills
    rates = sorted(rate for *_, rate, _ in found)
    for skill, users, invocations, rate, percentile in found:
        used = ask(v4, "SELECT session_id, completed FROM skill_invocation WHERE skill_name = ?", skill)
        assert (users, invocations) == (len({s for s, _ in used}), len(used))
        assert rate == pytest.approx(sum(done for _, done in used) / len(used))
        assert percentile == pytest.approx(100.0 * rates.index(rate) / (len(rates) - 1))
    assert ask(v4, "SELECT count(*) FROM v_community_baseline_comparison WHERE abs(delta_from_baseline) < 1e-9") == [
        (skills,)
    ]
    before = rows(v4)
    assert do(v4, "baselines").tables["skill_community_baselines"].derived == 0
    assert rows(v4) == before


@pytest.mark.parametrize("known_only", [False, True])
def test_the_taxonomy_is_whole_and_nothing_of_it_is_orphaned(tmp_path: Path, known_only: bool) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v4", invocations=0).path
    tell(path, "INSERT INTO skill_metrics (skill_name) VALUES ('ruff-check')")
    do(path, "taxonomy", known_only=known_only)
    counted = {
        table: ask(path, f"SELECT count(*) FROM {table}")[0][0]
        for table in ("skill_categories", "skill_modalities", "skill_dependencies")
    }
    whole = {"skill_categories": 6, "skill_modalities": 4, "skill_dependencies": 4}
    assert counted == (
        whole if not known_only else {"skill_categories": 6, "skill_modalities": 1, "skill_dependencies": 0}
    )
    assert ask(path, "PRAGMA foreign_key_check") == []
    before = rows(path)
    do(path, "taxonomy", known_only=known_only)
    assert rows(path) == before


def test_what_is_there_already_is_not_changed_by_the_taxonomy(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v4").path
    tell(path, "INSERT INTO skill_categories (category_name, description) VALUES ('Testing', 'mine')")
    assert do(path, "taxonomy").tables["skill_categories"].derived == 5
    assert ask(path, "SELECT description FROM skill_categories WHERE category_name = 'Testing'") == [("mine",)]


# --- refusals


@pytest.mark.parametrize("step", ["taxonomy", "backfill", "dependencies", "baselines"])
def test_an_older_generation_is_refused(tmp_path: Path, step: session_buddy.StepName) -> None:
    path = make_session_buddy(tmp_path / "s.db").path
    before = rows(path)
    with pytest.raises(WrongGenerationError, match="tables of session_buddy.v4") as refused:  # noqa: RUF043
        derive(str(path), step)
    assert rows(path) == before
    assert reports.load(refused.value.fields["report"]).status == "failed"


def test_a_step_that_breaks_off_leaves_nothing(v4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rows(v4)
    plain = _backfill.backfill

    def spoiled(*arguments: Any, **more: Any) -> Any:
        result = plain(*arguments, **more)
        result.wrong.append("made up")
        return result

    monkeypatch.setitem(_derive._STEPS, "backfill", spoiled)
    with pytest.raises(VerificationError, match="made up"):
        derive(str(v4), "backfill")
    assert rows(v4) == before

    def breaking(*_: Any, **__: Any) -> Any:
        raise SessionliftError("it broke")

    monkeypatch.setattr(_backfill, "_look_again", breaking)
    monkeypatch.setitem(_derive._STEPS, "backfill", plain)
    with pytest.raises(SessionliftError, match="it broke"):
        derive(str(v4), "backfill")
    assert rows(v4) == before
