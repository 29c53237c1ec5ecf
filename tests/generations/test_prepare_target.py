"""A target is made, adopted or refused before anything is written into it."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from sessionlift.errors import (
    GenerationError,
    SessionliftError,
    StoreFormatError,
    StoreLockedError,
    StoreNotFoundError,
    TargetNewerError,
    UnknownGenerationError,
    UsageError,
    WrongGenerationError,
)
from sessionlift.generations import prepare_target, schema_current, schema_upgrade, schema_verify

READY = ["ledger_2", "synth_v3"]


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def refused(path: Path, kind: type[SessionliftError], generation: str = "synth.v3") -> SessionliftError:
    """The refusal; the file is the same afterwards, and the exit code is that of a target."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(kind) as caught:
        prepare_target(str(path), generation)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert type(caught.value) is kind
    assert caught.value.exit_code == 4
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("scheme", ["libsql", "sqlite"])
def test_a_missing_target_is_made_with_its_ledger(tmp_path: Path, scheme: str) -> None:
    url = f"{scheme}://{tmp_path / 't.db'}"
    found = prepare_target(url, "synth.v3")
    assert (found.generation, found.ledger, found.stamps) == ("synth.v3", True, READY)
    assert sum(found.rows.values()) == 0
    assert schema_verify(url) == READY
    assert [path.name for path in tmp_path.iterdir()] == ["t.db"]


def test_an_empty_file_is_made_into_a_target(tmp_path: Path) -> None:
    (tmp_path / "t.db").touch()
    assert prepare_target(str(tmp_path / "t.db"), "synth.v3").stamps == READY


def test_without_create_a_missing_target_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError) as caught:
        prepare_target(str(tmp_path / "t.db"), "synth.v3", create=False)
    assert caught.value.exit_code == 4
    assert list(tmp_path.iterdir()) == []


def test_a_target_of_ours_is_ready_again_with_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    prepare_target(str(path), "synth.v3")
    change(path, "INSERT INTO systems (system_id, name) VALUES ('s', 'n')")
    before = path.read_bytes()
    assert prepare_target(str(path), "synth.v3").rows["systems"] == 1
    assert path.read_bytes() == before


def test_a_target_that_lacks_only_the_ledger_gets_it(v3: Path) -> None:
    assert prepare_target(str(v3), "synth.v3").stamps == READY


def test_a_store_with_only_the_ledger_gets_the_generation(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    schema_upgrade(str(path), "ledger_2")
    assert prepare_target(str(path), "synth.v3").stamps == READY


@pytest.mark.fixtures
def test_an_empty_store_of_the_real_program_is_taken_as_it_is(real_copy: Callable[[str], Path]) -> None:
    path = real_copy("synth/v3_empty_0.2.10.db")
    sql = "SELECT name, sql FROM sqlite_master WHERE tbl_name NOT LIKE 'sessionlift%'"
    with closing(sqlite3.connect(path)) as connection:
        before = connection.execute(sql).fetchall()
    assert prepare_target(str(path), "synth.v3").stamps == READY
    assert schema_verify(str(path)) == READY
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(sql).fetchall() == before


@pytest.mark.fixtures
def test_a_store_of_the_real_program_with_rows_is_refused(real_copy: Callable[[str], Path]) -> None:
    error = refused(real_copy("synth/v3_fresh.db"), WrongGenerationError)
    assert "holds 133 rows (session_traces 6" in error.what
    assert "no ledger" in error.what


def test_our_own_store_with_rows_and_no_ledger_is_refused(v3: Path) -> None:
    change(v3, "INSERT INTO systems (system_id, name) VALUES ('s', 'n')")
    assert "1 rows (systems 1) and no ledger" in refused(v3, WrongGenerationError).what


def test_a_source_named_as_the_target_is_refused(v2: Path) -> None:
    error = refused(v2, WrongGenerationError)
    assert "is a synth.v2 store; a synth.v3 store is needed as the target" in error.what
    assert "looks like a source" in error.hint


def test_a_new_duckdb_name_for_a_libsql_generation_is_refused_and_not_made(tmp_path: Path) -> None:
    assert "lives on SQLite or libSQL" in refused(tmp_path / "t.duckdb", WrongGenerationError).what
    assert list(tmp_path.iterdir()) == []


def test_a_libsql_name_for_a_duckdb_generation_is_refused_and_not_made(tmp_path: Path) -> None:
    assert "lives on DuckDB" in refused(tmp_path / "t.db", WrongGenerationError, "synth.v2").what
    assert list(tmp_path.iterdir()) == []


def test_a_generation_that_cannot_be_made_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"session_buddy\.v4"):
        prepare_target(str(tmp_path / "t.db"), "session_buddy.v4")
    assert list(tmp_path.iterdir()) == []


def test_something_else_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    change(path, "CREATE TABLE customers (id)")
    error = refused(path, UnknownGenerationError)
    assert "1 table (customers)" in error.what
    assert "new target" in error.hint


def test_a_store_of_another_system_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "swarm.db"
    change(
        path,
        "CREATE TABLE sessions (session_id, user_id, provider, model, status, session_control, created_at, "
        "updated_at, last_activity, metadata, history)",
    )
    error = refused(path, WrongGenerationError)
    assert "is a langswarm.v1 store" in error.what
    assert "name a new target" in error.hint


def test_an_older_form_is_refused(v3: Path) -> None:
    change(v3, "DELETE FROM sessionlift_version", "DROP TABLE event_rewards")
    assert "older form: lacks table event_rewards" in refused(v3, WrongGenerationError).what


def test_a_newer_target_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    prepare_target(str(path), "synth.v3")
    change(path, "UPDATE sessionlift_version SET version_num = 'ledger_8' WHERE version_num = 'ledger_2'")
    assert "ledger_8" in refused(path, TargetNewerError).what


def test_a_changed_target_is_refused_with_the_change(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    prepare_target(str(path), "synth.v3")
    change(path, "ALTER TABLE sessionlift_units ADD COLUMN more TEXT", "DROP INDEX idx_event_type")
    ledger, order, generation = refused(path, GenerationError).fields["found"]
    assert ledger == "table sessionlift_units, column more: unexpected (TEXT)"
    assert order.startswith("table sessionlift_units, columns in order: should be unit, session_id, run_id")
    assert order.endswith("state, more")
    assert generation == "table events, index idx_event_type: missing (should be (event_type))"


@pytest.mark.parametrize("content", [b"some words\n", b"\x00\x01\x02" * 50])
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.db"
    path.write_bytes(content)
    refused(path, StoreFormatError)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, StoreFormatError)


def test_on_duckdb_the_generation_is_made_without_a_ledger(tmp_path: Path) -> None:
    url = f"duckdb://{tmp_path / 't.duckdb'}"
    found = prepare_target(url, "synth.v2")
    assert (found.generation, found.ledger, found.stamps) == ("synth.v2", False, ["synth_v2"])
    assert prepare_target(url, "synth.v2").stamps == ["synth_v2"]


@pytest.mark.fixtures
def test_a_real_duckdb_store_keeps_its_rows_when_it_is_made_ready(real_copy: Callable[[str], Path]) -> None:
    path = real_copy("synth/small_mid.duckdb")
    assert prepare_target(str(path), "synth.v2").rows["events"] == 378
    with duckdb.connect(str(path), read_only=True) as store:
        assert store.execute("SELECT count(*) FROM events").fetchone() == (378,)


@pytest.mark.slow
def test_two_at_the_same_time_make_one_target(tmp_path: Path) -> None:
    url = f"libsql://{tmp_path / 't.db'}"
    # in processes of their own: the driver holds the interpreter's lock while it waits for the file's
    program = (
        "import sys; from sessionlift.generations import prepare_target; "
        "sys.stdin.readline(); print(prepare_target(sys.argv[1], 'synth.v3').stamps)"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", program, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("go\n")
        run.stdin.flush()
    assert [run.communicate(timeout=60)[0] for run in runs] == [f"{READY}\n"] * 4
    assert schema_verify(url) == READY


def test_a_target_that_another_program_writes_to_is_busy_and_not_damaged(
    v3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessionlift.stores._sqlfile.BUSY_SECONDS", 0.1)
    copy = v3.with_name("copy.db")
    shutil.copyfile(v3, copy)
    with closing(sqlite3.connect(copy, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        # the same library on both sides: two in one process would drop each other's locks
        with pytest.raises(StoreLockedError) as caught:
            prepare_target(f"sqlite://{copy}", "synth.v3")
        assert caught.value.transient
        assert caught.value.exit_code == 4
        other.execute("ROLLBACK")
    assert schema_current(str(copy)) == ["synth_v3"]
