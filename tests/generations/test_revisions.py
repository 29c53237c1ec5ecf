"""Every revision goes up, down and up again, checks itself, and refuses what it should."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
import pytest_alembic
from alembic.config import Config
from alembic.script import ScriptDirectory
from pytest_alembic.config import Config as RunnerConfig
from pytest_alembic.plugin.error import AlembicTestFailure
from pytest_alembic.runner import MigrationContext
from pytest_alembic.tests import default as checks
from sqlalchemy import Column, Integer, MetaData
from tests.generations.conftest import RealCopy

from sessionlift.errors import GenerationError, StoreError, TargetNewerError, UsageError, WrongGenerationError
from sessionlift.generations import (
    schema_config,
    schema_current,
    schema_downgrade,
    schema_history,
    schema_upgrade,
    schema_verify,
)
from sessionlift.generations._connect import _engine, connect
from sessionlift.stores import open_store

REVISIONS = {
    "synth_v2": "duckdb",
    "synth_v3": "libsql",
    "langswarm_v1": "libsql",
    "langswarm_v2": "libsql",
    "session_buddy_v4": "libsql",
    "ledger_2": "libsql",
}
# a chain: each is in the same file before the one after it
BEFORE = {
    "session_buddy_v4": ["session_buddy_v1", "session_buddy_v2", "session_buddy_v3"],
    "ledger_2": ["ledger_1"],
}
LABELS = {
    "synth_v2": "synth.v2",
    "synth_v3": "synth.v3",
    "langswarm_v1": "langswarm.v1",
    "langswarm_v2": "langswarm.v2",
    "session_buddy_v1": "session_buddy.v1",
    "session_buddy_v2": "session_buddy.v2",
    "session_buddy_v3": "session_buddy.v3",
    "session_buddy_v4": "session_buddy.v4",
    # the same in another form
    "ledger_1": "ledger",
    "ledger_2": "ledger",
}


@pytest.fixture(params=REVISIONS)
def revision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(revision: str, tmp_path: Path) -> str:
    return f"{REVISIONS[revision]}://{tmp_path / 'store.db'}"


def objects(url: str) -> list[tuple[str, str]]:
    """Everything in a store by kind and name, SQLite's own left out."""
    with open_store(url, mode="ro", role="target") as store:
        if store.engine == "duckdb":
            sql = (
                "SELECT 'table', table_name FROM duckdb_tables() UNION ALL "
                "SELECT 'view', view_name FROM duckdb_views() WHERE NOT internal UNION ALL "
                "SELECT 'index', index_name FROM duckdb_indexes() UNION ALL "
                "SELECT 'sequence', sequence_name FROM duckdb_sequences()"
            )
        else:
            sql = "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite^_%' ESCAPE '^'"
        return sorted((str(kind), str(name)) for kind, name in store.query(sql))


# --- pytest-alembic's checks, one branch at a time


@pytest.fixture
def one_branch(revision: str, url: str, tmp_path: Path) -> Iterator[MigrationContext]:
    """The runner of pytest-alembic over our environment, with this branch alone in it."""
    home = schema_config().parent
    versions = tmp_path / "versions"
    versions.mkdir()
    for name in (*BEFORE.get(revision, []), revision):
        source = next(home.glob(f"versions/*/{name}.py"))
        (versions / source.name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    config = Config()
    config.set_main_option("script_location", str(home))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(versions))
    with open_store(url, mode="create", role="target") as store:
        engine = _engine(store)
        with pytest_alembic.runner(RunnerConfig(alembic_config=config), engine) as runner:
            yield runner
        engine.dispose()


@pytest.mark.slow
@pytest.mark.parametrize("check", ["single_head_revision", "upgrade", "up_down_consistency"])
def test_pytest_alembic_accepts_each_branch(one_branch: MigrationContext, check: str) -> None:
    getattr(checks, f"test_{check}")(one_branch)


# what each branch has to lead to: a store that the real program made. The ledger is nobody's but ours
MODELS = {
    "synth_v2": "synth/small.duckdb",
    "synth_v3": "synth/v3_empty_0.2.10.db",
    "langswarm_v1": "langswarm/v1_small.db",
    "langswarm_v2": "langswarm/v2_real.db",
    "session_buddy_v4": "session_buddy/small_V4.db",
}


def model(store: Path, engine: str) -> MetaData:
    """A store's tables, columns, keys and indexes as SQLAlchemy sees them."""
    found = MetaData()
    with connect(f"{engine}://{store}", mode="ro") as connection:
        found.reflect(connection)
    return found


def comparable(_item: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
    """Alembic cannot lay constraints without a name side by side; the tests of each structure do."""
    if kind in ("unique_constraint", "foreign_key_constraint"):
        return name is not None
    return kind != "table" or not str(name).startswith("sessionlift_")


@pytest.mark.parametrize("revision", MODELS)
def test_pytest_alembic_finds_each_branch_equal_to_what_the_real_program_makes(
    revision: str, one_branch: MigrationContext, real_copy: RealCopy
) -> None:
    attributes = one_branch.command_executor.alembic_config.attributes
    attributes["target_metadata"] = model(real_copy(MODELS[revision]), REVISIONS[revision])
    attributes["include_object"] = comparable
    checks.test_model_definitions_match_ddl(one_branch)


@pytest.mark.parametrize("revision", MODELS)
def test_pytest_alembic_sees_a_model_that_differs(
    one_branch: MigrationContext, revision: str, real_copy: RealCopy
) -> None:
    other = model(real_copy(MODELS[revision]), REVISIONS[revision])
    table = other.tables[sorted(other.tables)[0]]
    table.append_column(Column("of_nobody", Integer))
    one_branch.command_executor.alembic_config.attributes.update(target_metadata=other, include_object=comparable)
    with pytest.raises(AlembicTestFailure, match="of_nobody"):
        checks.test_model_definitions_match_ddl(one_branch)


def test_every_branch_has_one_head_and_one_label() -> None:
    scripts = ScriptDirectory.from_config(Config(str(schema_config())))
    assert sorted(scripts.get_heads()) == sorted(REVISIONS)
    assert sorted(scripts.get_bases()) == sorted(BEFORE.get(head, [head])[0] for head in REVISIONS)
    assert {info.revision: info.generation for info in schema_history()} == LABELS


# --- up, down, up


@pytest.mark.slow
def test_up_down_up_ends_where_it_began(revision: str, url: str) -> None:
    assert schema_upgrade(url, revision) == [revision]
    first = objects(url)
    assert schema_verify(url) == [revision]

    assert schema_downgrade(url, "base") == []
    assert objects(url) == []
    assert schema_current(url) == []

    assert schema_upgrade(url, f"{LABELS[revision]}@head") == [revision]
    assert objects(url) == first


def test_an_upgrade_that_is_done_already_changes_nothing(revision: str, url: str) -> None:
    schema_upgrade(url, revision)
    before = objects(url)
    assert schema_upgrade(url, revision) == [revision]
    assert objects(url) == before


def test_one_branch_goes_and_the_other_stays(tmp_path: Path) -> None:
    url = f"libsql://{tmp_path / 't.db'}"
    schema_upgrade(url, "synth_v3")
    alone = objects(url)
    assert schema_upgrade(url, "ledger_2") == ["ledger_2", "synth_v3"]
    assert schema_downgrade(url, "ledger@base") == ["synth_v3"]
    assert objects(url) == alone
    assert schema_verify(url) == ["synth_v3"]


def test_the_ledger_works_through_the_standard_library_too(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path / 't.db'}"
    schema_upgrade(url, "ledger_2")
    assert schema_verify(url) == ["ledger_2"]


def test_a_rollback_journal_stays_and_no_file_lies_beside(tmp_path: Path) -> None:
    schema_upgrade(f"libsql://{tmp_path / 't.db'}", "synth_v3")
    assert [path.name for path in tmp_path.iterdir()] == ["t.db"]
    with closing(sqlite3.connect(tmp_path / "t.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


# --- refusals


def test_a_downgrade_refuses_while_rows_are_there_and_says_how_many(v3: Path) -> None:
    with closing(sqlite3.connect(v3)) as connection, connection:
        connection.executemany("INSERT INTO systems (system_id, name) VALUES (?, 'n')", [("a",), ("b",)])
        connection.execute("INSERT INTO experiments (experiment_id, name) VALUES ('e', 'n')")
    before = objects(str(v3))

    with pytest.raises(GenerationError, match=r"3 rows .*systems 2") as refused:
        schema_downgrade(str(v3), "base")

    assert refused.value.fields["rows"] == {"experiments": 1, "systems": 2}
    assert refused.value.exit_code == 4
    assert objects(str(v3)) == before
    assert schema_current(str(v3)) == ["synth_v3"]


def test_a_downgrade_of_the_ledger_refuses_while_it_remembers(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    schema_upgrade(str(path), "ledger_2")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO sessionlift_runs (run_id, kind, status) VALUES ('r', 'migrate', 'running')")
    with pytest.raises(GenerationError, match=r"1 rows .sessionlift_runs 1"):
        schema_downgrade(str(path), "base")


def test_a_downgrade_of_duckdb_refuses_while_rows_are_there(v2: Path) -> None:
    with duckdb.connect(str(v2)) as store:
        store.execute("INSERT INTO systems VALUES ('s', 'n', NULL)")
    with pytest.raises(GenerationError, match="systems 1"):
        schema_downgrade(str(v2), "base")
    assert schema_current(str(v2)) == ["synth_v2"]


@pytest.mark.parametrize(
    ("revision", "name"), [("synth_v3", "t.duckdb"), ("ledger_2", "t.duckdb"), ("synth_v2", "t.db")]
)
def test_a_revision_of_another_engine_is_refused_before_a_file_is_made(
    revision: str, name: str, tmp_path: Path
) -> None:
    with pytest.raises(WrongGenerationError, match="lives on"):
        schema_upgrade(str(tmp_path / name), revision)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        ("synth_v3", "langswarm_v2"),
        ("langswarm_v1", "synth_v3"),
        ("langswarm_v2", "synth.v3"),
        ("session_buddy_v1", "langswarm_v1"),
    ],
)
@pytest.mark.parametrize("stamped", [True, False])
def test_no_store_gets_the_tables_of_another_system(there: str, asked: str, stamped: bool, tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    schema_upgrade(str(path), there)
    if not stamped:  # as the real program left it
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DROP TABLE sessionlift_version")
    before = objects(str(path))

    with pytest.raises(WrongGenerationError, match="is a store of"):
        schema_upgrade(str(path), asked)

    assert objects(str(path)) == before


def test_an_unknown_revision_is_refused_before_a_file_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="synth_v9") as refused:
        schema_upgrade(str(tmp_path / "t.db"), "synth_v9")
    assert "synth_v3" in refused.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_stamp_of_a_newer_build_is_refused(v3: Path) -> None:
    with closing(sqlite3.connect(v3)) as connection, connection:
        connection.execute("INSERT INTO sessionlift_version VALUES ('ledger_7')")
    for call in (
        schema_verify,
        lambda url: schema_upgrade(url, "ledger_2"),
        lambda url: schema_downgrade(url, "base"),
    ):
        with pytest.raises(TargetNewerError, match="ledger_7"):
            call(str(v3))
    assert schema_current(str(v3)) == ["ledger_7", "synth_v3"]


def test_a_schema_that_is_there_in_part_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, something TEXT)")

    with pytest.raises(GenerationError) as refused:
        schema_upgrade(str(path), "synth_v3")

    assert "table events, column something: unexpected (TEXT)" in refused.value.fields["found"]
    assert any(line.startswith("table messages, columns in order: missing") for line in refused.value.fields["found"])
    assert objects(str(path)) == [("table", "events")]


def test_a_failed_upgrade_takes_everything_back(v3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(v3)) as connection, connection:
        connection.execute("CREATE VIEW sessionlift_quarantine_session AS SELECT 1")
    before = objects(str(v3))
    with pytest.raises(StoreError):
        schema_upgrade(str(v3), "ledger_2")
    assert objects(str(v3)) == before


# --- verify


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DROP INDEX idx_event_type", "table events, index idx_event_type: missing (should be (event_type))"),
        (
            "CREATE UNIQUE INDEX mine ON events (span_id)",
            "table events, index mine: unexpected (unique (span_id))",
        ),
        ("ALTER TABLE events ADD COLUMN more TEXT", "table events, column more: unexpected (TEXT)"),
        (
            "ALTER TABLE events RENAME COLUMN cost_usd TO cost",
            "table events, column cost_usd: missing (should be INTEGER)",
        ),
        ("DROP VIEW session_summary", "view session_summary, columns in order: missing"),
        (
            "DROP TABLE event_rewards",
            "table event_rewards, column reward_value: missing (should be FLOAT not null)",
        ),
        (
            "CREATE TRIGGER t AFTER INSERT ON messages BEGIN SELECT 1; END",
            "table messages, trigger t: unexpected (a trigger)",
        ),
    ],
)
def test_verify_names_each_difference(v3: Path, change: str, said: str) -> None:
    with closing(sqlite3.connect(v3)) as connection:
        connection.execute(change)
    with pytest.raises(GenerationError) as refused:
        schema_verify(str(v3))
    assert any(line.startswith(said) for line in refused.value.fields["found"]), refused.value.fields["found"]
    assert said in str(refused.value)
    assert refused.value.exit_code == 1


def test_verify_sees_a_changed_check_and_autoincrement(v3: Path) -> None:
    with closing(sqlite3.connect(v3)) as connection:
        sql = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'messages'").fetchone()[0]
        changed = sql.replace("'tool_result'", "'observation'").replace(" AUTOINCREMENT", "")
        connection.execute("DROP TABLE messages")
        connection.execute(changed)
    with pytest.raises(GenerationError) as refused:
        schema_verify(str(v3))
    said = "\n".join(refused.value.fields["found"])
    assert "table messages, checks: should be" in said
    assert "observation" in said
    assert "table messages, kind: should be autoincrement, is plain row ids" in said


def test_verify_lets_an_index_more_pass_for_it_changes_no_answer(v3: Path) -> None:
    with closing(sqlite3.connect(v3)) as connection:
        connection.execute("CREATE INDEX mine ON events (reward)")
    assert schema_verify(str(v3)) == ["synth_v3"]


def test_verify_of_duckdb_names_each_difference(v2: Path) -> None:
    with duckdb.connect(str(v2)) as store:
        store.execute("DROP INDEX idx_events_model")
        store.execute("ALTER TABLE systems ADD COLUMN more VARCHAR")
        store.execute("DROP VIEW session_summary")
    with pytest.raises(GenerationError) as refused:
        schema_verify(str(v2))
    said = "\n".join(refused.value.fields["found"])
    assert "table events, index idx_events_model: missing" in said
    assert "table systems, column more: unexpected (VARCHAR)" in said
    assert "view session_summary, columns in order: missing" in said


def test_verify_of_a_store_without_stamps_says_so(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a)")
    with pytest.raises(GenerationError, match="no stamp"):
        schema_verify(str(path))
