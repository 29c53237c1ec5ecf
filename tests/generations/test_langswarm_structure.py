"""langswarm.v1 and .v2 as our revisions make them: pinned here in our own words, and equal to the real stores."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sessionlift.errors import GenerationError
from sessionlift.generations import schema_current, schema_downgrade, schema_upgrade, schema_verify

RealCopy = Callable[[str], Path]

REVISIONS = {"langswarm_v1": "langswarm/v1_small.db", "langswarm_v2": "langswarm/v2_real.db"}

# per table: name, type, ! for NOT NULL, = for a default
COLUMNS = {
    "langswarm_v1": {
        "sessions": "session_id TEXT, user_id TEXT!, provider TEXT!, model TEXT!, status TEXT!, session_control TEXT!, "
        "created_at TEXT!, updated_at TEXT!, last_activity TEXT, metadata TEXT!, history TEXT!"
    },
    "langswarm_v2": {
        "sessions": "session_id TEXT, user_id TEXT!, provider TEXT!, model TEXT!, backend TEXT!, context_data TEXT!, "
        "created_at TIMESTAMP=CURRENT_TIMESTAMP, updated_at TIMESTAMP=CURRENT_TIMESTAMP",
        "session_messages": "id INTEGER, session_id TEXT!, message_id TEXT!, role TEXT!, content TEXT!, "
        "timestamp TIMESTAMP!, metadata TEXT, provider_message_id TEXT, token_count INTEGER, finish_reason TEXT",
        "session_metrics": "session_id TEXT, message_count INTEGER=0, total_tokens INTEGER=0, "
        "session_duration REAL=0.0, last_activity TIMESTAMP, created_at TIMESTAMP=CURRENT_TIMESTAMP",
    },
}
INDEXES = {
    "langswarm_v1": {
        "idx_user_id": ("sessions", "user_id"),
        "idx_status": ("sessions", "status"),
        "idx_updated_at": ("sessions", "updated_at"),
    },
    "langswarm_v2": {
        "idx_sessions_user_id": ("sessions", "user_id"),
        "idx_messages_session_id": ("session_messages", "session_id"),
        "idx_messages_timestamp": ("session_messages", "timestamp"),
    },
}


@pytest.fixture(params=REVISIONS)
def revision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ours(revision: str, tmp_path: Path) -> Path:
    """An empty store of ours of the generation, without a ledger."""
    path = tmp_path / f"{revision}.db"
    schema_upgrade(f"libsql://{path}", revision)
    return path


def introspected(path: Path) -> dict[str, Any]:
    """Everything that SQLite says of the tables, ours and its own left out. The wording is no part of it."""
    found: dict[str, Any] = {}
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'table' "
            "AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'sessionlift%'"
        ).fetchall()
        for table, sql in tables:

            def ask(pragma: str, table: str = table) -> list[Any]:
                return connection.execute(f"SELECT * FROM pragma_{pragma}(?)", (table,)).fetchall()

            indexes = {row[1]: row[2:] for row in ask("index_list")}
            found[table] = {
                "columns": ask("table_xinfo"),
                "references": ask("foreign_key_list"),
                "indexes": {
                    name: (said, connection.execute("SELECT * FROM pragma_index_xinfo(?)", (name,)).fetchall())
                    for name, said in indexes.items()
                },
                "autoincrement": "AUTOINCREMENT" in sql.upper(),
                "options": connection.execute("SELECT wr, strict FROM pragma_table_list(?)", (table,)).fetchall(),
            }
        found["others"] = connection.execute(
            "SELECT type, name FROM sqlite_master WHERE type IN ('view', 'trigger')"
        ).fetchall()
    return found


def test_the_columns_are_the_pinned_ones(ours: Path, revision: str) -> None:
    found = introspected(ours)
    assert found.keys() - {"others"} == COLUMNS[revision].keys()
    for table, pinned in COLUMNS[revision].items():
        said = [
            f"{name} {kind}{'!' if notnull else ''}{'' if default is None else f'={default}'}"
            for _, name, kind, notnull, default, _, _ in found[table]["columns"]
        ]
        assert ", ".join(said) == pinned
        assert [row[1] for row in found[table]["columns"] if row[5]] == [said[0].split()[0]], "the key is the first"


def test_the_indexes_and_references_are_the_pinned_ones(ours: Path, revision: str) -> None:
    found = introspected(ours)
    indexes = {
        name: (table, ",".join(row[2] for row in columns if row[5]))
        for table in COLUMNS[revision]
        for name, (said, columns) in found[table]["indexes"].items()
        if said[1] == "c" and not said[0]
    }
    assert indexes == INDEXES[revision]
    references = {(table, *row[2:7]) for table in COLUMNS[revision] for row in found[table]["references"]}
    cascade = ("sessions", "session_id", "session_id", "NO ACTION", "CASCADE")
    assert references == {(table, *cascade) for table in COLUMNS[revision] if table != "sessions"}
    assert not found["others"]


@pytest.mark.fixtures
def test_it_is_equal_to_the_real_store_by_introspection(ours: Path, revision: str, real_copy: RealCopy) -> None:
    assert introspected(ours) == introspected(real_copy(REVISIONS[revision]))


@pytest.mark.fixtures
def test_a_real_store_with_its_rows_is_taken_as_it_is(revision: str, real_copy: RealCopy) -> None:
    path = real_copy(REVISIONS[revision])
    with closing(sqlite3.connect(path)) as connection:
        before = list(connection.iterdump())
    assert schema_upgrade(str(path), revision) == [revision]
    assert schema_verify(str(path)) == [revision]
    with closing(sqlite3.connect(path)) as connection:
        assert [line for line in connection.iterdump() if "sessionlift_version" not in line] == before

    with pytest.raises(GenerationError, match="cannot be taken away: it holds") as refused:
        schema_downgrade(str(path), "base")
    assert refused.value.fields["rows"]["sessions"] > 0
    assert schema_current(str(path)) == [revision]


@pytest.mark.parametrize(("there", "asked"), [("langswarm_v1", "langswarm_v2"), ("langswarm_v2", "langswarm_v1")])
def test_the_two_generations_do_not_go_into_one_file(tmp_path: Path, there: str, asked: str) -> None:
    path = tmp_path / "langswarm_sessions.db"
    schema_upgrade(str(path), there)
    before = introspected(path)
    with pytest.raises(GenerationError, match="is not langswarm") as refused:
        schema_upgrade(str(path), asked)
    assert any("table sessions, columns in order" in line for line in refused.value.fields["found"])
    assert introspected(path) == before
    assert schema_current(str(path)) == [there]
