"""What others do to a store between a way down and the way up: nothing is lost, put beside another row, or doubled."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.buddy_stores import V4_TABLES, ask, invoke, rows, schema, shift, tell

from sessionlift._demo import make_session_buddy
from sessionlift.errors import DependentObjectsError, MixedGenerationError

pytestmark = pytest.mark.slow

V3, V4 = "session_buddy.v3", "session_buddy.v4"
NEW = "INSERT INTO skill_invocation (skill_name, invoked_at, session_id) VALUES ('{}', '2026-11-20T00:00:00', 's')"


def made(tmp_path: Path, generation: str = V4, *, filled: bool = True) -> Path:
    return make_session_buddy(tmp_path / "s.db", generation=generation, filled=filled and generation == V4).path


def kept_of(path: Path, table: str, column: str) -> list[object]:
    sql = "SELECT value FROM sessionlift_kept WHERE table_name = ? AND column_name = ? ORDER BY row_id"
    return [value for (value,) in ask(path, sql, table, column)]


# --- rows that stay in the complement


def test_a_row_that_stays_aside_is_not_lost_to_a_new_one_that_gets_its_row_id(tmp_path: Path) -> None:
    path = made(tmp_path)
    last, skill = ask(path, "SELECT rowid, skill_name FROM skill_metrics_cache ORDER BY rowid DESC")[0]
    shift(path, "session_buddy_v3")
    tell(path, f"DELETE FROM skill_metrics WHERE skill_name = '{skill}'", NEW.format("brand-new"))
    shift(path, "session_buddy_v4")
    assert ask(path, "SELECT skill_name FROM skill_metrics_cache WHERE rowid = ?", last) == [("brand-new",)]
    assert kept_of(path, "skill_metrics_cache", "skill_name") == [skill]


def test_rows_that_stayed_aside_come_back_once_their_skill_is_there_again(tmp_path: Path) -> None:
    path = made(tmp_path)
    before = rows(path)
    shift(path, "session_buddy_v3", run_id="a")
    tell(
        path,
        "CREATE TABLE aside AS SELECT * FROM skill_metrics WHERE skill_name = 'git-push'",
        "DELETE FROM skill_metrics WHERE skill_name = 'git-push'",
    )
    shift(path, "session_buddy_v4", run_id="b")
    assert rows(path)["skill_modalities"] != before["skill_modalities"]
    tell(path, "INSERT INTO skill_metrics SELECT * FROM aside")
    shift(path, "session_buddy_v3", run_id="c")
    shift(path, "session_buddy_v4", run_id="d")
    after = rows(path)
    assert {table: after[table] for table in V4_TABLES} == {table: before[table] for table in V4_TABLES}
    assert not ask(path, "SELECT 1 FROM sqlite_master WHERE name = 'sessionlift_kept'")


@pytest.fixture
def led_up_by_the_program(tmp_path: Path) -> Path:
    """Led down by us and up again by the program itself, which made tables of its own and wrote into them."""
    path = made(tmp_path)
    other = make_session_buddy(tmp_path / "other.db", generation=V4, invocations=0).path
    shift(path, "session_buddy_v3", run_id="a")
    there = {name for (name,) in ask(path, "SELECT name FROM sqlite_master")}
    order = "CASE type WHEN 'table' THEN 0 WHEN 'index' THEN 1 WHEN 'view' THEN 2 ELSE 3 END"
    new = ask(other, f"SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY {order}")
    tell(
        path,
        *(sql for name, sql in new if name not in there and not name.startswith("sessionlift_")),
        "INSERT INTO skill_migrations (version, applied_at) VALUES ('V4__phase4_extensions', '2026-11-22 00:00:00')",
        "INSERT INTO skill_categories (category_name) VALUES ('mine')",
        "INSERT INTO skill_user_interactions (user_id, session_id, skill_name, invoked_at, completed) "
        "VALUES ('me', 's', 'git-push', 'x', 1)",
        "INSERT INTO skill_time_series (id, skill_name, timestamp, invocation_count) "
        "VALUES (900, 'git-push', '2026-09-01T05:00:00', 77)",
    )
    return path


def test_what_waits_comes_back_beside_the_rows_of_the_program_where_it_fits(led_up_by_the_program: Path) -> None:
    path = led_up_by_the_program
    waiting = len(kept_of(path, "skill_user_interactions", "user_id"))
    first = ask(path, "SELECT * FROM skill_user_interactions WHERE id = 1")
    shift(path, "session_buddy_v3", run_id="b")
    shift(path, "session_buddy_v4", run_id="c")
    assert ask(path, "SELECT count(*) FROM ab_test_assignments")[0][0] > 0
    # row id 1 is the program's own now: the older row stays where it is
    assert ask(path, "SELECT * FROM skill_user_interactions WHERE id = 1") == first
    assert ask(path, "SELECT count(*) FROM skill_user_interactions") == [(waiting,)]
    assert len(kept_of(path, "skill_user_interactions", "user_id")) == 1
    assert ask(path, "PRAGMA foreign_key_check") == []


def test_a_row_never_comes_back_to_another_parent(led_up_by_the_program: Path) -> None:
    """The program gave a category's number to a category of its own: what was mapped to the old one waits with it."""
    path = led_up_by_the_program
    taken = kept_of(path, "skill_categories", "category_id")
    assert 1 in taken
    mapped = kept_of(path, "skill_category_mapping", "category_id")
    shift(path, "session_buddy_v3", run_id="b")
    shift(path, "session_buddy_v4", run_id="c")
    assert ask(path, "SELECT category_name FROM skill_categories WHERE category_id = 1") == [("mine",)]
    there = [one for (one,) in ask(path, "SELECT category_id FROM skill_category_mapping")]
    stayed = kept_of(path, "skill_categories", "category_id")
    assert 1 in stayed
    assert not set(there) & set(stayed)
    assert sorted([*there, *kept_of(path, "skill_category_mapping", "category_id")]) == sorted(mapped)  # type: ignore[type-var]


def test_a_row_whose_key_is_taken_waits_with_all_that_refers_to_it(led_up_by_the_program: Path) -> None:
    path = led_up_by_the_program
    name = kept_of(path, "ab_test_configs", "test_name")[0]
    sql = (
        "INSERT INTO ab_test_configs (test_id, test_name, control_strategy, treatment_strategy, start_date) "
        f"VALUES (50, '{name}', 'a', 'b', 'c')"
    )
    tell(path, sql)
    waiting = kept_of(path, "ab_test_assignments", "user_id")
    shift(path, "session_buddy_v3", run_id="b")
    shift(path, "session_buddy_v4", run_id="c")
    assert ask(path, "SELECT test_id FROM ab_test_configs") == [(50,)]
    assert kept_of(path, "ab_test_assignments", "user_id") == waiting
    assert ask(path, "SELECT * FROM ab_test_outcomes") == []


def test_an_hour_does_not_come_back_beside_the_same_hour(led_up_by_the_program: Path) -> None:
    path = led_up_by_the_program
    assert kept_of(path, "skill_time_series", "timestamp") == ["2026-09-01T05:00:00"]
    shift(path, "session_buddy_v3", run_id="b")
    shift(path, "session_buddy_v4", run_id="c")
    hours = "SELECT skill_name, timestamp, count(*) FROM skill_time_series GROUP BY 1, 2 HAVING count(*) > 1"
    assert ask(path, hours) == []
    assert kept_of(path, "skill_time_series", "timestamp") == ["2026-09-01T05:00:00"]


def test_values_are_not_put_into_other_rows_that_have_the_row_ids_now(tmp_path: Path) -> None:
    path = made(tmp_path, V3)
    phases = ask(path, "SELECT count(workflow_phase) FROM skill_invocation")[0][0]
    shift(path, "session_buddy_v1")
    tell(
        path,
        "DELETE FROM skill_invocation",
        "DELETE FROM sqlite_sequence WHERE name = 'skill_invocation'",
        *[NEW.format("other")] * 20,
        "UPDATE skill_invocation SET created_at = '2026-11-20 00:00:00'",
    )
    shift(path, "session_buddy_v3")
    assert ask(path, "SELECT count(workflow_phase), count(embedding) FROM skill_invocation") == [(0, 0)]
    assert len(kept_of(path, "skill_invocation", "workflow_phase")) == phases


def test_rows_that_were_edited_in_between_get_their_values_all_the_same(tmp_path: Path) -> None:
    path = made(tmp_path, V3)
    kept = "SELECT id, embedding, workflow_phase, workflow_step_id FROM skill_invocation ORDER BY id"
    before = ask(path, kept)
    shift(path, "session_buddy_v1")
    tell(
        path,
        "UPDATE skill_invocation SET user_query = 'edited', completed = 1, session_id = 'edited', error_type = 'x'",
    )
    shift(path, "session_buddy_v3")
    assert ask(path, kept) == before
    assert ask(path, "SELECT DISTINCT user_query FROM skill_invocation") == [("edited",)]


# --- the words, the counters, the record


def test_the_programs_own_words_come_back(tmp_path: Path) -> None:
    path = made(tmp_path)
    tell(
        path,
        "DROP VIEW v_ab_test_summary",
        "CREATE VIEW v_ab_test_summary AS SELECT test_id, test_name, control_strategy, treatment_strategy, status, "
        "0 AS total_users, 0 AS control_users, 0 AS treatment_users, 0.5 AS control_completion_rate, "
        "0.25 AS treatment_completion_rate FROM ab_test_configs -- made otherwise",
    )
    before = schema(path)
    shift(path, "session_buddy_v3")
    shift(path, "session_buddy_v4")
    assert schema(path) == before


def test_a_counter_with_two_rows_is_kept_with_both(tmp_path: Path) -> None:
    path = made(tmp_path)
    tell(path, "INSERT INTO sqlite_sequence (name, seq) VALUES ('skill_anomalies', 3)")
    before = rows(path)["sqlite_sequence"]
    shift(path, "session_buddy_v3")
    shift(path, "session_buddy_v4")
    assert rows(path)["sqlite_sequence"] == before


def test_a_generation_that_the_record_calls_otherwise_goes_and_comes_with_its_name(tmp_path: Path) -> None:
    path = made(tmp_path)
    tell(path, "UPDATE skill_migrations SET version = 'V4__other_words' WHERE version LIKE 'V4%'")
    before = ask(path, "SELECT * FROM skill_migrations ORDER BY version")
    shift(path, "session_buddy_v3")
    assert ask(path, "SELECT count(*) FROM skill_migrations WHERE version LIKE 'V4%'") == [(0,)]
    shift(path, "session_buddy_v4")
    assert ask(path, "SELECT * FROM skill_migrations ORDER BY version") == before


def test_a_record_of_failure_counts_as_the_program_counts_it(tmp_path: Path) -> None:
    path = made(tmp_path, V3)
    tell(path, "INSERT INTO skill_migrations (version, applied_at, success) VALUES ('V4__phase4_extensions', 'x', 0)")
    with pytest.raises(MixedGenerationError, match="says V4__phase4_extensions"):
        shift(path, "session_buddy_v4")


# --- objects of the user's


@pytest.mark.parametrize("table", ["skill_invocation", "Skill_Invocation", "skill_migrations"])
def test_a_trigger_of_yours_does_not_take_our_writing_for_the_programs(tmp_path: Path, table: str) -> None:
    path = made(tmp_path, V3)
    tell(path, "CREATE TABLE audit (what)")
    for verb in ("INSERT", "UPDATE", "DELETE"):
        tell(path, f"CREATE TRIGGER on_{verb} AFTER {verb} ON {table} BEGIN INSERT INTO audit VALUES ('{verb}'); END")
    before = schema(path)
    shift(path, "session_buddy_v1")
    shift(path, "session_buddy_v4")
    shift(path, "session_buddy_v3")
    assert ask(path, "SELECT * FROM audit") == []
    assert [one[:3] for one in schema(path)] == [one[:3] for one in before]
    if table != "skill_migrations":
        invoke(path, 2)
        assert ask(path, "SELECT what, count(*) FROM audit GROUP BY 1") == [("INSERT", 2)]


def test_a_table_of_yours_that_names_a_parent_in_capitals_is_in_nobodys_way(tmp_path: Path) -> None:
    path = made(tmp_path)
    tell(path, "CREATE TABLE mine (s TEXT REFERENCES Skill_Metrics (skill_name), o INTEGER REFERENCES nowhere (x))")
    shift(path, "session_buddy_v3")
    tell(path, "CREATE TABLE more (id INTEGER)")
    shift(path, "session_buddy_v4")
    assert ask(path, "SELECT count(*) FROM sqlite_master WHERE name IN ('mine', 'more')") == [(2,)]


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE INDEX IDX_dependencies_lift ON skill_metrics (updated_at)",
        "CREATE VIEW v_ab_test_summary AS SELECT 1",
        "CREATE TRIGGER trg_metrics_cache_after_insert AFTER INSERT ON skill_metrics BEGIN SELECT 1; END",
    ],
)
def test_a_name_that_is_taken_is_told_before_anything_is_done(tmp_path: Path, sql: str) -> None:
    path = made(tmp_path, V3)
    tell(path, sql)
    before = schema(path), rows(path)
    with pytest.raises(DependentObjectsError, match=r"have the name of one of session_buddy\.v4") as refused:
        shift(path, "session_buddy_v4")
    assert refused.value.hint == "rename or drop them first"
    assert (schema(path), rows(path)) == before


# --- values of every kind


@pytest.mark.parametrize("engine", ["sqlite", "libsql"])
def test_values_of_every_type_in_every_column_come_back_bit_by_bit(tmp_path: Path, engine: str) -> None:
    path = made(tmp_path, filled=False)
    fill_with_odd_values(path)
    before = spelled(path)
    shift(path, "session_buddy_v1", engine=engine)
    shift(path, "session_buddy_v4", engine=engine)
    after = spelled(path)  # by the standard library's SQLite, whichever of the two changed it
    for table, listed in before.items():
        assert after[table] == listed, table


ODD = (
    b"\x00\xff", "a\0b", 2**63 - 1, -(2**63), 1e308, 5e-324, -0.0, float("inf"), "", b"", "12", "1e3", "é😀", None,
    0.1 + 0.2, 2**53 + 1,
)  # fmt: skip


def fill_with_odd_values(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in V4_TABLES:
            columns = connection.execute(
                'SELECT name, type, "notnull", pk FROM pragma_table_info(?)', (table,)
            ).fetchall()
            keys = [name for name, _, _, key in columns if key]
            for at, value in enumerate(ODD):
                row = [
                    -100 - at
                    if declared == "INTEGER" and keys == [name]
                    else f"x{at}"
                    if value is None and fixed
                    else value
                    for name, declared, fixed, _ in columns
                ]
                # a key takes each of them once only
                sql = f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(row))})"
                connection.execute(sql, row)
        connection.execute(
            "UPDATE skill_invocation SET user_query = CAST(x'410042' AS TEXT), duration_seconds = 'abc', "
            "selection_rank = x'00', workflow_phase = x'01', workflow_step_id = 'é', embedding = 'text' WHERE id = 3"
        )


def spelled(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every value with its type, and its bytes."""
    found = {}
    with closing(sqlite3.connect(path)) as connection:
        for table in (*V4_TABLES, "skill_invocation", "skill_metrics"):
            names = [name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]
            picked = ", ".join(f"typeof({name}), CAST({name} AS BLOB), quote({name})" for name in names)
            sql = f"SELECT rowid, {picked} FROM {table} ORDER BY rowid"
            found[table] = connection.execute(sql).fetchall()
    return found
