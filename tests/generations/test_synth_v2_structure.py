"""synth.v2 as our revision makes it: pinned here in our own words, and equal to the real stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from sessionlift.generations import detect, schema_upgrade, schema_verify

# name, type, ! for NOT NULL, # for a number from a sequence
TABLES = {
    "session_traces": """session_id VARCHAR!, created_at TIMESTAMP, num_timesteps INTEGER, num_events INTEGER,
        num_messages INTEGER, metadata JSON, experiment_id VARCHAR""",
    "session_timesteps": """id INTEGER!#timestep_id_seq, session_id VARCHAR!, step_id VARCHAR!,
        step_index INTEGER!, timestamp TIMESTAMP!, num_events INTEGER, num_messages INTEGER,
        step_metadata JSON""",
    "events": """id INTEGER!#event_id_seq, session_id VARCHAR!, timestep_id INTEGER, event_type VARCHAR!,
        system_instance_id VARCHAR!, event_time TIMESTAMP, message_time INTEGER, span_id VARCHAR,
        trace_id VARCHAR, model_name VARCHAR, provider VARCHAR, prompt_tokens INTEGER,
        completion_tokens INTEGER, total_tokens INTEGER, cost DOUBLE, latency_ms DOUBLE, reward DOUBLE,
        terminated BOOLEAN,
        system_state_before JSON, system_state_after JSON, metadata JSON, event_metadata JSON""",
    "messages": """id INTEGER!#message_id_seq, session_id VARCHAR!, timestep_id INTEGER,
        message_type VARCHAR!, content JSON!, timestamp TIMESTAMP, event_time TIMESTAMP,
        message_time INTEGER""",
    "systems": "id VARCHAR!, name VARCHAR!, description VARCHAR",
    "system_versions": """id VARCHAR!, system_id VARCHAR!, branch VARCHAR, commit VARCHAR,
        created_at TIMESTAMP!, description VARCHAR""",
    "experiments": """id VARCHAR!, name VARCHAR!, description VARCHAR, created_at TIMESTAMP!,
        updated_at TIMESTAMP!""",
    "experimental_systems": "experiment_id VARCHAR!, system_id VARCHAR!, system_version_id VARCHAR!",
}
RULES = {
    "session_traces: PRIMARY KEY(session_id)",
    "session_timesteps: PRIMARY KEY(id)",
    "session_timesteps: UNIQUE(session_id, step_id)",
    "events: PRIMARY KEY(id)",
    "messages: PRIMARY KEY(id)",
    "systems: PRIMARY KEY(id)",
    "system_versions: PRIMARY KEY(id)",
    "system_versions: FOREIGN KEY (system_id) REFERENCES systems(id)",
    "experiments: PRIMARY KEY(id)",
    "experimental_systems: PRIMARY KEY(experiment_id, system_id)",
    "experimental_systems: FOREIGN KEY (experiment_id) REFERENCES experiments(id)",
    "experimental_systems: FOREIGN KEY (system_id) REFERENCES systems(id)",
    "experimental_systems: FOREIGN KEY (system_version_id) REFERENCES system_versions(id)",
}
MID_RULES = {
    "session_timesteps: FOREIGN KEY (session_id) REFERENCES session_traces(session_id)",
    "events: FOREIGN KEY (session_id) REFERENCES session_traces(session_id)",
    "events: FOREIGN KEY (timestep_id) REFERENCES session_timesteps(id)",
    "messages: FOREIGN KEY (session_id) REFERENCES session_traces(session_id)",
    "messages: FOREIGN KEY (timestep_id) REFERENCES session_timesteps(id)",
}
INDEXES = {
    "idx_events_session_time": "events(session_id, event_time)",
    "idx_events_system": "events(system_instance_id, event_type)",
    "idx_events_model": "events(model_name, provider)",
    "idx_messages_session_time": 'messages(session_id, "timestamp")',
    "idx_messages_type": "messages(message_type)",
    "idx_system_versions_system": "system_versions(system_id)",
    "idx_experimental_systems": "experimental_systems(experiment_id)",
    "idx_session_experiment": "session_traces(experiment_id)",
}
VIEWS = {
    "model_usage_stats": (
        "model_name provider call_count total_prompt_tokens total_completion_tokens total_tokens "
        "avg_latency_ms total_cost first_call last_call"
    ),
    "session_summary": (
        "session_id created_at num_timesteps num_events num_messages models_used providers_used "
        "total_tokens_used total_cost"
    ),
    "experiment_overview": ("experiment_id experiment_name session_count system_count first_session last_session"),
}


def catalog(path: Path) -> dict[str, Any]:
    """Everything that DuckDB says of a store's structure, but its views' wording and our own stamp."""
    with duckdb.connect(str(path), read_only=True) as store:
        return {
            "columns": store.execute(
                "SELECT table_name, column_index, column_name, data_type, is_nullable, column_default "
                "FROM duckdb_columns() WHERE NOT internal AND table_name <> 'sessionlift_version' "
                "ORDER BY ALL"
            ).fetchall(),
            "rules": sorted(
                f"{table}: {text}"
                for table, text in store.execute(
                    "SELECT table_name, constraint_text FROM duckdb_constraints() "
                    "WHERE constraint_type <> 'NOT NULL' AND table_name <> 'sessionlift_version'"
                ).fetchall()
            ),
            "indexes": dict(
                store.execute("SELECT index_name, regexp_extract(sql, 'ON (.*);', 1) FROM duckdb_indexes()").fetchall()
            ),
            "unique indexes": store.execute("SELECT index_name FROM duckdb_indexes() WHERE is_unique").fetchall(),
            "views": sorted(store.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()),
            "sequences": store.execute(
                "SELECT sequence_name, increment_by, min_value, max_value, cycle FROM duckdb_sequences() ORDER BY 1"
            ).fetchall(),
        }


@pytest.fixture(params=["final", "mid"])
def dress(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ours(tmp_path: Path, dress: str) -> Path:
    path = tmp_path / "ours.duckdb"
    schema_upgrade(f"duckdb://{path}", "synth_v2", dress=dress)
    return path


def test_the_structure_is_the_pinned_one(ours: Path, dress: str) -> None:
    found = catalog(ours)

    columns: dict[str, list[str]] = {}
    for table, _, name, kind, nullable, default in found["columns"]:
        number = f"#{default.split(chr(39))[1]}" if default else ""
        columns.setdefault(table, []).append(f"{name} {kind}{'' if nullable else '!'}{number}")
    views = VIEWS if dress == "final" else {name: VIEWS[name] for name in VIEWS if name != "experiment_overview"}
    assert {table: columns[table] for table in TABLES} == {
        table: [" ".join(part.split()) for part in body.split(",")] for table, body in TABLES.items()
    }
    assert set(columns) == TABLES.keys() | views.keys()
    assert {view: [column.split()[0] for column in columns[view]] for view in views} == {
        view: names.split() for view, names in views.items()
    }
    assert set(found["rules"]) == (RULES if dress == "final" else RULES | MID_RULES)
    assert found["indexes"] == INDEXES
    assert found["unique indexes"] == []
    assert found["sequences"] == [
        (name, 1, 1, 2**63 - 1, False) for name in ("event_id_seq", "message_id_seq", "timestep_id_seq")
    ]


def test_numbers_start_at_one(ours: Path) -> None:
    with duckdb.connect(str(ours)) as store:
        store.execute("INSERT INTO session_traces (session_id) VALUES ('s')")
        store.execute(
            "INSERT INTO session_timesteps (session_id, step_id, step_index, timestamp) "
            "VALUES ('s', 'a', 0, TIMESTAMP '2025-01-01')"
        )
        assert store.execute("SELECT id FROM session_timesteps").fetchall() == [(1,)]


def test_detect_and_verify_name_the_dress(ours: Path, dress: str) -> None:
    assert detect(str(ours)).dress == ("final" if dress == "final" else "early/mid")
    assert schema_verify(str(ours)) == ["synth_v2"]


@pytest.mark.fixtures
def test_it_equals_the_real_store_by_introspection(real_copy: Callable[[str], Path], ours: Path, dress: str) -> None:
    real = catalog(real_copy("synth/small.duckdb" if dress == "final" else "synth/small_mid.duckdb"))
    found = catalog(ours)
    for part, expected in real.items():
        assert found[part] == expected, part


@pytest.mark.fixtures
def test_the_views_answer_as_the_real_ones_do(real_copy: Callable[[str], Path], ours: Path, dress: str) -> None:
    real = real_copy("synth/small.duckdb" if dress == "final" else "synth/small_mid.duckdb")
    views = [name for name in VIEWS if dress == "final" or name != "experiment_overview"]
    with duckdb.connect(str(ours)) as store:
        store.execute(f"ATTACH '{real}' AS theirs (READ_ONLY)")
        order = "systems system_versions experiments experimental_systems session_traces session_timesteps"
        for table in (order + " events messages").split():
            store.execute(f"INSERT INTO {table} SELECT * FROM theirs.main.{table}")
        answers = [_answers(store, views)]
    with duckdb.connect(str(real), read_only=True) as store:
        answers.append(_answers(store, views))
    for view in views:
        assert len(answers[1][view][1]) > 1
        assert answers[0][view] == answers[1][view], view


def _answers(store: duckdb.DuckDBPyConnection, views: list[str]) -> dict[str, Any]:
    # sums of doubles depend on the order in which threads add them
    store.execute("SET threads = 1")
    found = {}
    for view in views:
        rows = store.execute(f"SELECT * FROM {view} ORDER BY ALL").fetchall()
        names = [column[0] for column in store.description or []]
        found[view] = (
            names,
            [tuple(round(v, 9) if isinstance(v, float) else v for v in row) for row in rows],
        )
    return found
