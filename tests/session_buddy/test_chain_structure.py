"""Each generation is the real one: by introspection, by the rows of its views, and by what its triggers do."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.buddy_stores import ask, rows, schema, shift

from sessionlift._demo import make_session_buddy
from sessionlift.generations import _structure, chain_of, step_of

GENERATIONS = [info.generation for info in chain_of("session_buddy.v1")]
# tables, views, triggers, indexes that have a statement; by generation, as counted in the real stores
REAL_COUNTS = {1: (6, 4, 2, 8), 2: (6, 4, 2, 9), 3: (6, 7, 2, 12), 4: (20, 13, 3, 28)}
ADDED = "skill_invocation_fts_"


@pytest.fixture
def real(real_stores: Path, tmp_path: Path) -> Path:
    """A folder with copies of the real stores of Session-Buddy."""
    source = real_stores / "session_buddy"
    if not source.is_dir():
        pytest.skip("the stores of the real Session-Buddy are not here (set SESSIONLIFT_FIXTURES to their folder)")
    folder = tmp_path / "real"
    folder.mkdir()
    for store in source.glob("*.db"):
        shutil.copyfile(store, folder / store.name)
    return folder


def facts(path: Path) -> dict[str, str]:
    """Everything introspection says, and each index and trigger by name and table."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT type, name, tbl_name FROM sqlite_master").fetchall()
        names = {name for kind, name, _ in found if kind in ("table", "view") and not is_aside(name)}
        said = _structure.facts("sqlite", lambda sql, *params: connection.execute(sql, params).fetchall(), names)
    return said | {f"{kind} {name}": table for kind, name, table in found if not is_aside(name) and not is_aside(table)}


def is_aside(name: str) -> bool:
    return name.startswith(("sessionlift_", "sqlite_", ADDED))


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_made_generation_equals_the_real_one(real: Path, tmp_path: Path, number: int) -> None:
    made = make_session_buddy(tmp_path / "made.db", generation=GENERATIONS[number - 1], invocations=3).path
    assert facts(made) == facts(real / f"small_V{number}.db")


@pytest.mark.parametrize("engine", ["sqlite", "libsql"])
@pytest.mark.parametrize("name", ["V1", "V2", "V3", "V3_onesecond"])
def test_a_real_store_upgrades_to_what_the_real_program_makes(real: Path, name: str, engine: str) -> None:
    store = real / f"small_{name}.db"
    before = rows(store)
    shift(store, "session_buddy_v4", engine=engine)
    assert facts(store) == facts(real / "small_V4.db")
    after = rows(store)
    width = {table: len(listed[0]) for table, listed in before.items() if listed}
    for table, listed in before.items():
        if table not in ("skill_migrations", "sqlite_sequence"):
            assert [row[: width[table]] for row in after[table]] == listed
    assert set(before["skill_migrations"]) <= set(after["skill_migrations"])


def test_the_real_store_with_oddities_upgrades_and_keeps_the_users_own(real: Path) -> None:
    store = real / "small_V3_mess.db"
    before = facts(store)
    notes = ask(store, "SELECT * FROM user_notes")
    shift(store, "session_buddy_v4")
    assert facts(store).items() >= before.items()
    assert facts(store).items() >= facts(real / "small_V4.db").items()
    assert ask(store, "SELECT * FROM user_notes") == notes
    shift(store, "session_buddy_v3")
    assert facts(store) == before


@pytest.mark.parametrize("number", [3, 2, 1])
def test_the_real_v4_goes_down_to_what_the_real_program_had(real: Path, number: int) -> None:
    store = real / "small_V4.db"
    before = schema(store), rows(store)
    shift(store, f"session_buddy_v{number}")
    assert facts(store) == facts(real / f"small_V{number}.db")
    shift(store, "session_buddy_v4")
    assert rows(store) == before[1]
    assert [one[:3] for one in schema(store)] == [one[:3] for one in before[0]]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_every_view_of_ours_gives_the_rows_of_the_real_one(real: Path, tmp_path: Path, number: int) -> None:
    """The same rows under both schemas: the real store, and a copy in which our statements made the views."""
    theirs = real / f"small_V{number}.db"
    ours = tmp_path / "ours.db"
    with closing(sqlite3.connect(theirs)) as connection:
        if number == 4:
            fill(connection)
        with closing(sqlite3.connect(ours)) as copy:
            connection.backup(copy)
    step = step_of(f"session_buddy_v{number}")
    views: dict[str, str] = {}
    at: object = step
    while at is not None:
        views |= at.views  # type: ignore[attr-defined]
        at = at.after  # type: ignore[attr-defined]
    with closing(sqlite3.connect(ours)) as connection, connection:
        for name, sql in views.items():
            connection.execute(f"DROP VIEW {name}")
            connection.execute(sql)
    assert len(views) == REAL_COUNTS[number][1]
    empty = {name for name in views if not ask(theirs, f"SELECT * FROM {name}")}
    assert empty <= {"v_skill_effectiveness_trend"}, "the trend looks back seven days from now"
    for name in views:
        assert ask(ours, f"SELECT * FROM {name}") == ask(theirs, f"SELECT * FROM {name}"), name


def fill(connection: sqlite3.Connection) -> None:
    """Rows behind every view of v4, with the edges of each comparison."""
    skills = [name for (name,) in connection.execute("SELECT skill_name FROM skill_metrics ORDER BY 1")]
    with connection:
        for at, lift in enumerate((None, 0.1, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 3.5)):
            connection.execute(
                "INSERT INTO skill_dependencies (skill_a, skill_b, co_occurrence_count, lift_score) "
                "VALUES (?, ?, ?, ?)",
                (skills[at], skills[at + 1], 100 - at, lift),
            )
        for at, skill in enumerate(skills[:4]):
            connection.execute(
                "INSERT INTO skill_community_baselines (skill_name, global_completion_rate, last_updated) "
                "VALUES (?, ?, 'x')",
                (skill, at / 3),
            )
            connection.execute("INSERT INTO skill_modalities (skill_name, modality_type) VALUES (?, 'code')", (skill,))
            connection.execute("INSERT INTO skill_categories (category_name, domain) VALUES (?, 'code')", (f"c{at}",))
            connection.execute("INSERT INTO skill_category_mapping (skill_name, category_id) VALUES (?, 1)", (skill,))
        connection.execute(
            "INSERT INTO ab_test_configs (test_name, control_strategy, treatment_strategy, start_date) "
            "VALUES ('t', 'c', 't', 'd')"
        )
        for at in range(6):
            connection.execute(
                "INSERT INTO ab_test_assignments (test_id, user_id, group_name) VALUES (1, ?, ?)",
                (f"u{at}", ("control", "treatment", "other")[at % 3]),
            )
            for completed in range(at % 3):
                connection.execute(
                    "INSERT INTO ab_test_outcomes (test_id, user_id, skill_name, completed) VALUES (1, ?, ?, ?)",
                    (f"u{at}", skills[0], completed),
                )


INVOCATIONS = [
    # skill, path, completed, duration, follow-ups, error
    ("new-skill", None, 0, None, None, None),
    ("new-skill", "quick", 1, 3.25, '["git commit"]', None),
    ("new-skill", "quick", 1, None, "[]", None),
    ("new-skill", "a.b", 0, 7.0, '["run", "again"]', "timeout"),
    ("new-skill", "größe", 1, 0.1, '["größe"]', "x y"),
    ("git-push", "comprehensive", 1, 0.2, None, None),
    ("git-push", None, 2, 9.0, None, None),
    ("third", "quick", 1, -1.5, '[{"a": 1}]', None),
    ("", "", 1, 1.0, None, None),
]
REFUSED = [
    ("broken", 'a"b', 1, 1.0, None, None),
    ("broken", None, 1, 1.0, "no json", None),
]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_triggers_of_ours_do_what_the_real_ones_do(real: Path, tmp_path: Path, number: int) -> None:
    theirs = real / f"small_V{number}.db"
    ours = tmp_path / "ours.db"
    with closing(sqlite3.connect(theirs)) as connection, closing(sqlite3.connect(ours)) as copy:
        connection.backup(copy)
    triggers: dict[str, str] = {}
    at: object = step_of(f"session_buddy_v{number}")
    while at is not None:
        triggers |= at.triggers  # type: ignore[attr-defined]
        at = at.after  # type: ignore[attr-defined]
    with closing(sqlite3.connect(ours)) as connection, connection:
        for name, sql in triggers.items():
            connection.execute(f"DROP TRIGGER {name}")
            connection.execute(sql)
    found = [effects(path, number) for path in (theirs, ours)]
    assert found[0] == found[1]


def effects(path: Path, number: int) -> list[object]:
    """What the triggers leave behind after awkward invocations, and which of those are refused."""
    said: list[object] = []
    with closing(sqlite3.connect(path)) as connection:
        for at, row in enumerate((*INVOCATIONS, *REFUSED, *INVOCATIONS[:3])):
            try:
                with connection:
                    connection.execute(
                        "INSERT INTO skill_invocation (skill_name, invoked_at, session_id, workflow_path, completed, "
                        "duration_seconds, follow_up_actions, error_type) VALUES (?, ?, 's', ?, ?, ?, ?, ?)",
                        (row[0], f"2026-11-20T10:{at:02}:00", *row[1:]),
                    )
            except sqlite3.Error as error:
                said.append((at, re.sub(r"['\"].*", "", str(error))))
        tables = ["skill_metrics", "session_skills"] + ["skill_metrics_cache"] * (number == 4)
        for table in tables:
            cursor = connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2")
            clock = [c[0] == "updated_at" for c in cursor.description]
            said.append([[v is not None if c else v for v, c in zip(row, clock, strict=True)] for row in cursor])
    return said


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_made_store_has_as_many_objects_as_the_real_one(tmp_path: Path, number: int) -> None:
    made = make_session_buddy(tmp_path / "made.db", generation=GENERATIONS[number - 1], invocations=3).path
    kinds = Counter(kind for kind, name, _, sql in schema(made) if sql != "None" and not is_aside(name))
    assert (kinds["table"], kinds["view"], kinds["trigger"], kinds["index"]) == REAL_COUNTS[number]


def test_the_step_to_v4_adds_what_it_should() -> None:
    v4 = step_of("session_buddy_v4")
    assert (len(v4.tables), len(v4.views), len(v4.triggers), len(v4.indexes)) == (14, 6, 1, 16)


def test_the_newest_record_is_later_than_all_others_even_where_they_tie(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v1").path
    shift(path, "session_buddy_v4")
    by_time = ask(path, "SELECT version FROM skill_migrations ORDER BY applied_at")
    assert [version[:2] for (version,) in by_time] == ["V1", "V2", "V3", "V4"]
    times = [time for (time,) in ask(path, "SELECT applied_at FROM skill_migrations")]
    assert len(set(times)) == 4, "the program takes any of two rows with the same second for the newest"
    assert ask(path, "SELECT DISTINCT applied_by, success, checksum, rollback_sql FROM skill_migrations") == [
        ("session-buddy", 1, None, None)
    ]
    assert ask(path, "PRAGMA user_version") == [(0,)]
