"""synth.v3 as our revision makes it: pinned here in our own words, and equal to the real empty store."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sessionlift.generations import schema_upgrade

# name, type, ! for NOT NULL, = for a default, > for a reference; the first line says what the key is
TABLES = {
    "experiments": """key experiment_id
        experiment_id VARCHAR, name VARCHAR!, description TEXT, created_at DATETIME=CURRENT_TIMESTAMP,
        updated_at DATETIME=CURRENT_TIMESTAMP, configuration TEXT, metadata TEXT""",
    "systems": """key system_id
        system_id VARCHAR, name VARCHAR!, system_type VARCHAR, description TEXT,
        created_at DATETIME=CURRENT_TIMESTAMP, metadata TEXT""",
    "system_versions": """key version_id
        version_id VARCHAR, system_id VARCHAR!>systems.system_id, version_number VARCHAR!,
        commit_hash VARCHAR, created_at DATETIME=CURRENT_TIMESTAMP, configuration TEXT, metadata TEXT""",
    "experimental_systems": """autoincrement
        id INTEGER, experiment_id VARCHAR!>experiments.experiment_id, system_id VARCHAR!>systems.system_id,
        version_id VARCHAR!>system_versions.version_id""",
    "session_traces": """key session_id
        session_id VARCHAR, created_at DATETIME!, num_timesteps INTEGER!, num_events INTEGER!,
        num_messages INTEGER!, metadata TEXT, experiment_id VARCHAR>experiments.experiment_id,
        embedding VECTOR""",
    "session_timesteps": """autoincrement
        id INTEGER, session_id VARCHAR!>session_traces.session_id, step_id VARCHAR!, step_index INTEGER!,
        turn_number INTEGER, started_at DATETIME, completed_at DATETIME, num_events INTEGER,
        num_messages INTEGER, step_metadata TEXT""",
    "events": """autoincrement
        id INTEGER, session_id VARCHAR!>session_traces.session_id, timestep_id INTEGER>session_timesteps.id,
        event_type VARCHAR!, system_instance_id VARCHAR, event_time FLOAT, message_time INTEGER,
        created_at DATETIME, model_name VARCHAR, provider VARCHAR, input_tokens INTEGER,
        output_tokens INTEGER, total_tokens INTEGER, cost_usd INTEGER, latency_ms INTEGER, span_id VARCHAR,
        trace_id VARCHAR,
        call_records TEXT, reward FLOAT, terminated BOOLEAN, truncated BOOLEAN, system_state_before TEXT,
        system_state_after TEXT, metadata TEXT, event_metadata TEXT, embedding VECTOR""",
    "messages": """autoincrement
        id INTEGER, session_id VARCHAR!>session_traces.session_id, timestep_id INTEGER>session_timesteps.id,
        message_type VARCHAR!, content TEXT!, timestamp DATETIME, event_time FLOAT, message_time INTEGER,
        metadata TEXT, embedding VECTOR""",
    "outcome_rewards": """autoincrement
        id INTEGER, session_id VARCHAR!>session_traces.session_id, total_reward INTEGER!,
        achievements_count INTEGER!, total_steps INTEGER!, created_at DATETIME!, reward_metadata TEXT""",
    "event_rewards": """autoincrement
        id INTEGER, event_id INTEGER!>events.id, session_id VARCHAR!>session_traces.session_id,
        message_id INTEGER>messages.id, turn_number INTEGER, reward_value FLOAT!, reward_type VARCHAR,
        key VARCHAR, annotation TEXT, source VARCHAR, created_at DATETIME!""",
}

INDEXES = """
    idx_session_created session_traces created_at
    idx_session_experiment session_traces experiment_id
    idx_timestep_session_step session_timesteps session_id step_id
    idx_timestep_turn session_timesteps turn_number
    idx_event_session_step events session_id timestep_id
    idx_event_type events event_type
    idx_event_created events created_at
    idx_event_model events model_name
    idx_event_trace events trace_id
    idx_message_session_step messages session_id timestep_id
    idx_message_type messages message_type
    idx_message_timestamp messages timestamp
    idx_experiment_created experiments created_at
    idx_experiment_name experiments name
    idx_system_name systems name
    idx_system_type systems system_type
    uq_system_version system_versions system_id version_number
    idx_version_system system_versions system_id
    idx_version_created system_versions created_at
    uq_experiment_system experimental_systems experiment_id system_id
    idx_experimental_system experimental_systems experiment_id system_id
    idx_outcome_rewards_session outcome_rewards session_id
    idx_outcome_rewards_total outcome_rewards total_reward
    idx_event_rewards_session event_rewards session_id
    idx_event_rewards_event event_rewards event_id
    idx_event_rewards_type event_rewards reward_type
    idx_event_rewards_key event_rewards key
"""

VIEWS = {
    "model_usage_stats": (
        "model_name provider usage_count total_input_tokens total_output_tokens total_tokens total_cost_usd "
        "avg_latency_ms first_used last_used"
    ),
    "session_summary": (
        "session_id created_at num_timesteps num_events num_messages experiment_id experiment_name "
        "unique_models_used total_cost_usd"
    ),
    "experiment_overview": (
        "experiment_id name description created_at session_count total_events total_messages avg_timesteps_per_session"
    ),
}
COLUMN = re.compile(r"(?P<name>\w+) (?P<type>\w+)(?P<null>!?)(=(?P<default>\w+))?(>(?P<table>\w+)\.(?P<to>\w+))?")


@pytest.fixture
def ours(v3: Path) -> sqlite3.Connection:
    return sqlite3.connect(v3)


@pytest.mark.parametrize("table", TABLES)
def test_the_columns_keys_and_references_are_the_pinned_ones(ours: sqlite3.Connection, table: str) -> None:
    head, body = TABLES[table].split("\n", 1)
    key = "id" if head == "autoincrement" else head.removeprefix("key ")
    expected_columns, expected_references = [], set()
    for part in body.split(","):
        column = COLUMN.fullmatch(" ".join(part.split()))
        assert column, f"the test's own line is wrong: {part}"
        expected_columns.append(
            (
                column["name"],
                column["type"],
                int(bool(column["null"])),
                column["default"],
                int(column["name"] == key),
            )
        )
        if column["table"]:
            expected_references.add((column["name"], column["table"], column["to"], "NO ACTION", "NO ACTION"))

    with closing(ours):
        columns = [tuple(row[1:6]) for row in ours.execute(f'PRAGMA table_info("{table}")')]
        references = {
            (row[3], row[2], row[4], row[5], row[6]) for row in ours.execute(f"PRAGMA foreign_key_list({table})")
        }
        sql = ours.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]

    assert columns == expected_columns
    assert references == expected_references
    assert ("AUTOINCREMENT" in sql) == (head == "autoincrement")


def test_there_are_no_other_tables_and_no_triggers(ours: sqlite3.Connection) -> None:
    with closing(ours):
        found = set(ours.execute("SELECT type, name FROM sqlite_master WHERE type IN ('table', 'trigger')"))
    own = {"sqlite_sequence", "sessionlift_version"}
    assert found == {("table", name) for name in TABLES.keys() | own}


def test_the_indexes_are_the_pinned_ones(ours: sqlite3.Connection) -> None:
    expected = {}
    for line in INDEXES.split("\n"):
        if line.strip():
            name, table, *columns = line.split()
            expected[name] = (table, columns, int(name.startswith("uq_")))
    with closing(ours):
        found = {
            name: (table, [row[2] for row in ours.execute(f"PRAGMA index_info({name})")], unique)
            for table in TABLES
            for _, name, unique, origin, _ in ours.execute(f"PRAGMA index_list({table})").fetchall()
            if origin == "c"
        }
        unique_rules = {
            (table, *[row[2] for row in ours.execute(f"PRAGMA index_info({name})")])
            for table in TABLES
            for _, name, _, origin, _ in ours.execute(f"PRAGMA index_list({table})").fetchall()
            if origin == "u"
        }
    assert found == expected
    assert unique_rules == {
        ("system_versions", "system_id", "version_number"),
        ("session_timesteps", "session_id", "step_id"),
    }


@pytest.mark.parametrize("view", VIEWS)
def test_the_views_have_the_pinned_columns(ours: sqlite3.Connection, view: str) -> None:
    with closing(ours):
        assert [row[1] for row in ours.execute(f"PRAGMA table_info({view})")] == VIEWS[view].split()


@pytest.mark.parametrize(
    ("table", "column", "allowed"),
    [
        ("events", "event_type", ["cais", "environment", "runtime"]),
        ("messages", "message_type", ["user", "assistant", "system", "tool_use", "tool_result"]),
    ],
)
def test_the_checks_let_in_the_allowed_words_and_nothing_else(
    ours: sqlite3.Connection, table: str, column: str, allowed: list[str]
) -> None:
    more = ", content" if table == "messages" else ""
    sql = f"INSERT INTO {table} (session_id, {column}{more}) VALUES ('s', ?{', 1' if more else ''})"
    with closing(ours):
        for word in allowed:
            ours.execute(sql, (word,))
        for word in ("User", "lmcais", "observation", ""):
            with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
                ours.execute(sql, (word,))


# --- equal to the store that synth-ai 0.2.10 made


def catalog(path: Path) -> dict[str, Any]:
    """Everything that SQLite says of a store's structure, but its wording and our own stamp."""
    found: dict[str, Any] = {}
    with closing(sqlite3.connect(path)) as connection:
        objects = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
        for kind, name, table, sql in objects:
            if "sessionlift_version" in (name, table) or name == "sqlite_sequence":
                continue
            found[f"{kind} {name} of {table}"] = True
            if kind == "table":
                found[f"{name} columns"] = connection.execute(f"PRAGMA table_xinfo({name})").fetchall()
                found[f"{name} references"] = sorted(
                    row[2:] for row in connection.execute(f"PRAGMA foreign_key_list({name})")
                )
                listed = connection.execute(f"PRAGMA index_list({name})").fetchall()
                found[f"{name} indexes"] = sorted(row[1:] for row in listed)
                for row in listed:
                    found[f"index {row[1]}"] = connection.execute(f"PRAGMA index_xinfo({row[1]})").fetchall()
                found[f"{name} autoincrement"] = "AUTOINCREMENT" in sql
                found[f"{name} checks"] = re.findall(r"CHECK\s*\((\w+ IN \([^)]*\))\)", sql)
                found[f"{name} kind"] = connection.execute(
                    "SELECT type, wr, strict FROM pragma_table_list WHERE schema = 'main' AND name = ?",
                    (name,),
                ).fetchall()
            elif kind == "view":
                found[f"{name} columns"] = connection.execute(f"PRAGMA table_xinfo({name})").fetchall()
        for pragma in (
            "encoding",
            "page_size",
            "auto_vacuum",
            "user_version",
            "application_id",
            "journal_mode",
        ):
            found[f"pragma {pragma}"] = connection.execute(f"PRAGMA {pragma}").fetchone()
    return found


@pytest.mark.fixtures
@pytest.mark.parametrize("scheme", ["libsql", "sqlite"])
def test_it_equals_the_real_empty_store_by_introspection(
    real_copy: Callable[[str], Path], tmp_path: Path, scheme: str
) -> None:
    ours = tmp_path / "ours.db"
    schema_upgrade(f"{scheme}://{ours}", "synth_v3")

    expected, found = catalog(real_copy("synth/v3_empty_0.2.10.db")), catalog(ours)

    assert len(expected) > 100
    assert {name: value for name, value in found.items() if expected.get(name) != value} == {}
    assert found == expected


@pytest.mark.fixtures
def test_the_views_answer_as_the_real_ones_do(real_copy: Callable[[str], Path], v3: Path) -> None:
    fresh, empty = real_copy("synth/v3_fresh.db"), real_copy("synth/v3_empty_0.2.10.db")
    answers = []
    for path in (empty, v3):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("ATTACH ? AS fresh", (str(fresh),))
            for table in TABLES:
                connection.execute(f"INSERT INTO {table} SELECT * FROM fresh.{table}")
            connection.executemany(
                "INSERT INTO events (session_id, event_type, model_name, provider, cost_usd, latency_ms, "
                "input_tokens, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    ("one", "cais", "m", None, 28.5, 1.25, None, "2025-01-01"),
                    ("one", "cais", "m", None, None, None, 7, None),
                    ("one", "runtime", "m", "p", 100, 3, 1, "2025-01-02"),
                    ("one", "cais", None, "p", 5, 3, 1, None),
                    ("nobody", "cais", "n", "p", 1, 1, 1, None),
                ],
            )
            connection.executemany(
                "INSERT INTO session_traces VALUES (?, ?, ?, ?, ?, NULL, ?, NULL)",
                [
                    ("one", "2025", 1, 2, 3, "e"),
                    ("two", "2025", 4, 0, 0, "missing"),
                    ("three", "2025", 0, 0, 0, None),
                ],
            )
            connection.executemany(
                "INSERT INTO experiments (experiment_id, name, created_at) VALUES (?, ?, '2025')",
                [("e", "an experiment"), ("alone", "an experiment without sessions")],
            )
            answers.append(
                {
                    view: [
                        connection.execute(f"SELECT * FROM {view} ORDER BY 1, 2").fetchall(),
                        [column[0] for column in connection.execute(f"SELECT * FROM {view}").description],
                    ]
                    for view in VIEWS
                }
            )
    assert all(len(rows) > 1 for rows, _ in answers[0].values())
    assert answers[1] == answers[0]
