"""Up and back again: nothing is lost, nothing is doubled, and the schema is the one that was there."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.buddy_stores import V4_TABLES, ask, invoke, rows, schema, shift, tell
from tests.support.laws import TORTURE

from sessionlift._demo import make_session_buddy

pytestmark = pytest.mark.slow

GENERATIONS = [f"session_buddy.v{number}" for number in (1, 2, 3, 4)]


@pytest.mark.parametrize("engine", ["sqlite", "libsql"])
@pytest.mark.parametrize("generation", GENERATIONS[:3])
def test_up_to_v4_and_back_leaves_schema_and_rows_as_they_were(tmp_path: Path, generation: str, engine: str) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation=generation, traps="all").path
    before = schema(path), rows(path)

    began = shift(path, "session_buddy_v4", engine=engine)
    assert began == generation.replace(".", "_")
    assert schema(path) != before[0]
    shift(path, began, engine=engine)

    assert schema(path) == before[0]
    assert rows(path) == before[1]


@pytest.mark.torture
@pytest.mark.parametrize("engine", ["sqlite", "libsql"])
@pytest.mark.parametrize("traps", ["usual", "all"] if TORTURE else ["all"])
@pytest.mark.parametrize("down", ["session_buddy_v3", "session_buddy_v2", "session_buddy_v1"])
def test_v4_with_rows_in_all_fourteen_tables_comes_back_identical(
    tmp_path: Path, down: str, traps: str, engine: str
) -> None:
    made = make_session_buddy(tmp_path / "s.db", generation=GENERATIONS[3], traps=traps, filled=True)  # type: ignore[arg-type]
    assert all(made.rows[table] for table in V4_TABLES)
    before = schema(made.path), rows(made.path)

    shift(made.path, down, engine=engine)
    there = {name for kind, name, *_ in schema(made.path) if kind == "table"}
    assert not there & set(V4_TABLES)
    shift(made.path, "session_buddy_v4", engine=engine)

    after = schema(made.path), rows(made.path)
    assert [one[:3] for one in after[0]] == [one[:3] for one in before[0]]
    assert after[1] == before[1]
    assert not ask(made.path, "SELECT 1 FROM sqlite_master WHERE name = 'sessionlift_kept'")


def test_row_ids_are_not_given_out_twice_after_a_way_down_and_up(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation=GENERATIONS[3], filled=True).path
    used = ask(path, "SELECT seq FROM sqlite_sequence WHERE name = 'skill_anomalies'")[0][0]
    assert used > ask(path, "SELECT max(id) FROM skill_anomalies")[0][0]
    shift(path, "session_buddy_v3")
    shift(path, "session_buddy_v4")
    tell(path, "INSERT INTO skill_anomalies (skill_name, detected_at, anomaly_type) VALUES ('git-push', 'n', 'drop')")
    assert ask(path, "SELECT max(id) FROM skill_anomalies") == [(used + 1,)]


def test_an_empty_v4_has_no_row_id_counters_after_a_way_down_and_up(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation=GENERATIONS[3], invocations=0).path
    before = rows(path)["sqlite_sequence"]
    shift(path, "session_buddy_v3")
    shift(path, "session_buddy_v4")
    assert rows(path)["sqlite_sequence"] == before


def test_the_programs_own_record_comes_back_with_its_time(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation=GENERATIONS[3]).path
    before = ask(path, "SELECT * FROM skill_migrations ORDER BY version")
    shift(path, "session_buddy_v1")
    assert ask(path, "SELECT * FROM skill_migrations") == before[:1]
    shift(path, "session_buddy_v4")
    assert ask(path, "SELECT * FROM skill_migrations ORDER BY version") == before


@pytest.mark.parametrize("down", ["session_buddy_v3", "session_buddy_v1"])
def test_fifty_invocations_written_in_between_are_all_counted_once(tmp_path: Path, down: str) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation=GENERATIONS[3], filled=True).path
    cache = dict(ask(path, "SELECT skill_name, invocation_count_24h FROM skill_metrics_cache"))
    series = rows(path)["skill_time_series"]
    shift(path, down)
    invoke(path, 50)

    shift(path, "session_buddy_v4")

    after = dict(ask(path, "SELECT skill_name, invocation_count_24h FROM skill_metrics_cache"))
    assert sum(after.values()) == sum(cache.values()) + 50
    new = dict(ask(path, "SELECT skill_name, count(*) FROM skill_invocation WHERE session_id LIKE 'late-%' GROUP BY 1"))
    assert after == {skill: cache.get(skill, 0) + new.get(skill, 0) for skill in cache | new}
    last = "SELECT last_invocation_at FROM skill_metrics_cache WHERE skill_name = 'git-push'"
    assert ask(path, last) == ask(
        path, "SELECT invoked_at FROM skill_invocation WHERE skill_name = 'git-push' ORDER BY id DESC LIMIT 1"
    )
    hours = ask(path, "SELECT sum(invocation_count) FROM skill_time_series WHERE timestamp LIKE '2026-11-20%'")
    assert hours == [(50,)]
    assert set(series) <= set(rows(path)["skill_time_series"])
    # and the trigger goes on from there
    invoke(path, 3)
    assert ask(path, "SELECT sum(invocation_count_1h) FROM skill_metrics_cache") == [(sum(after.values()) + 3,)]


def test_a_second_way_down_and_up_counts_nothing_again(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation=GENERATIONS[3], filled=True).path
    shift(path, "session_buddy_v3")
    invoke(path, 50)
    shift(path, "session_buddy_v4", run_id="a")
    before = rows(path)
    shift(path, "session_buddy_v3", run_id="b")
    shift(path, "session_buddy_v4", run_id="c")
    assert rows(path) == before


def test_an_hour_that_another_making_covers_is_not_counted_again(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation=GENERATIONS[3], invocations=0).path
    tell(
        path,
        "INSERT INTO skill_metrics (skill_name) VALUES ('git-push')",
        "INSERT INTO skill_time_series (skill_name, timestamp, invocation_count) "
        "VALUES ('git-push', '2026-11-20T00:30:00.250000', 9)",
    )
    shift(path, "session_buddy_v3")
    invoke(path, 15, at="2026-11-20T{hour:02}:{minute:02}:00")  # git-push at 00:00, 00:33, 01:11, 01:44, 02:22
    shift(path, "session_buddy_v4")
    counted = ask(path, "SELECT timestamp, invocation_count FROM skill_time_series WHERE skill_name = 'git-push'")
    assert sorted(counted) == [
        ("2026-11-20T00:00:00", 1),
        ("2026-11-20T00:30:00.250000", 9),
        ("2026-11-20T01:00:00", 1),
        ("2026-11-20T02:00:00", 1),
    ]


def test_rows_whose_skill_was_deleted_in_between_stay_in_the_complement(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation=GENERATIONS[3], filled=True).path
    whole = rows(path)
    shift(path, "session_buddy_v3")
    tell(path, "DELETE FROM skill_metrics WHERE skill_name = 'git-push'")

    shift(path, "session_buddy_v4")

    assert ask(path, "PRAGMA foreign_key_check") == []
    kept = ask(path, "SELECT DISTINCT table_name FROM sessionlift_kept")
    assert ("skill_modalities",) in kept
    assert ask(path, "SELECT value FROM sessionlift_kept WHERE column_name = 'centroid_embedding'") == []
    gone = ask(path, "SELECT count(*) FROM (SELECT DISTINCT table_name, row_id FROM sessionlift_kept)")[0][0]
    there = rows(path)
    assert gone == sum(len(whole[table]) - len(there[table]) for table in V4_TABLES) > 0


def test_embeddings_of_rows_deleted_in_between_stay_in_the_complement(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation=GENERATIONS[2]).path
    before = ask(path, "SELECT id, embedding, workflow_phase, workflow_step_id FROM skill_invocation ORDER BY id")
    shift(path, "session_buddy_v1")
    tell(path, "DELETE FROM skill_invocation WHERE id = 1")
    shift(path, "session_buddy_v3")
    after = ask(path, "SELECT id, embedding, workflow_phase, workflow_step_id FROM skill_invocation ORDER BY id")
    assert after == before[1:]
    kept = dict(ask(path, "SELECT column_name, value FROM sessionlift_kept WHERE row_id = 1"))
    assert kept["embedding"] == before[0][1]
