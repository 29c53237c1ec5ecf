"""A store of the real V2 becomes a target with the sessions that it has; a V1 file never becomes one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sessionlift._demo import make_langswarm_dump, make_langswarm_enhanced, make_langswarm_v1
from sessionlift.errors import GenerationError, SessionliftError, WrongGenerationError
from sessionlift.generations import (
    check_target,
    prepare_target,
    schema_downgrade,
    schema_upgrade,
    schema_verify,
)

RealCopy = Callable[[str], Path]
READY = ["langswarm_v2", "ledger_2"]
NATIVE = (
    "INSERT INTO sessions (session_id, user_id, provider, model, backend, context_data) "
    "VALUES ('new', 'u', 'openai', 'gpt-4o', 'hybrid', '{}')",
    "INSERT INTO session_messages (session_id, message_id, role, content, timestamp) "
    "VALUES ('new', 'm', 'user', 'hello', '2025-01-01 00:00:00')",
)


def run(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def contents(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [line for line in connection.iterdump() if "sessionlift" not in line]


def refused(path: Path, kind: type[SessionliftError]) -> SessionliftError:
    """The refusal of both the check and the preparation; the file is the same afterwards."""
    before = path.read_bytes()
    errors = []
    for ask in (check_target, prepare_target):
        with pytest.raises(kind) as caught:
            ask(str(path), "langswarm.v2")
        assert type(caught.value) is kind
        assert caught.value.exit_code == 4
        assert path.read_bytes() == before
        errors.append(caught.value)
    assert errors[0].what == errors[1].what
    return errors[1]


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    """An empty store as the real program would make it: no stamp, no ledger."""
    path = tmp_path / "v2.db"
    schema_upgrade(str(path), "langswarm_v2")
    run(path, "DROP TABLE sessionlift_version")
    return path


@pytest.mark.parametrize("scheme", ["libsql", "sqlite"])
def test_a_missing_target_is_made_with_its_ledger(tmp_path: Path, scheme: str) -> None:
    url = f"{scheme}://{tmp_path / 't.db'}"
    assert check_target(url, "langswarm.v2") is None
    found = prepare_target(url, "langswarm.v2")
    assert (found.generation, found.ledger, found.stamps) == ("langswarm.v2", True, READY)
    assert sum(found.rows.values()) == 0
    assert schema_verify(url) == READY


def test_an_empty_store_of_the_application_is_taken_as_it_is(v2: Path) -> None:
    before = contents(v2)
    found = prepare_target(str(v2), "langswarm.v2")
    assert found.stamps == READY
    assert not any("taken as it is" in said for said in found.evidence)
    assert contents(v2) == before


def test_a_store_with_sessions_of_the_application_is_taken_with_them_and_says_so(v2: Path) -> None:
    run(v2, *NATIVE)
    before = contents(v2)
    said = "taken as it is, with what the application wrote there before: sessions 1, session_messages 1"
    checked = check_target(str(v2), "langswarm.v2")
    assert checked is not None
    assert any(line.startswith(said) for line in checked.evidence)
    assert contents(v2) == before

    found = prepare_target(str(v2), "langswarm.v2")

    assert (found.stamps, found.ledger, found.rows["sessions"]) == (READY, True, 1)
    assert any(line.startswith(said) for line in found.evidence)
    assert contents(v2) == before
    again = prepare_target(str(v2), "langswarm.v2")
    assert again.rows == found.rows
    assert not any("taken as it is" in line for line in again.evidence), "it is ours now"


@pytest.mark.fixtures
def test_a_store_of_the_real_program_is_taken_with_its_sessions(real_copy: RealCopy) -> None:
    path = real_copy("langswarm/v2_real.db")
    before = contents(path)
    found = prepare_target(str(path), "langswarm.v2")
    assert found.rows == {"sessions": 12, "session_messages": 100, "session_metrics": 12}
    assert found.stamps == READY
    assert contents(path) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER TABLE sessions ADD COLUMN tenant TEXT", "table sessions, column tenant: unexpected (TEXT)"),
        ("DROP INDEX idx_messages_timestamp", "index idx_messages_timestamp: missing"),
        ("CREATE UNIQUE INDEX mine ON session_messages (message_id)", "index mine: unexpected (unique"),
        ("CREATE TRIGGER t AFTER INSERT ON sessions BEGIN SELECT 1; END", "trigger t: unexpected"),
    ],
)
@pytest.mark.parametrize("rows", [(), NATIVE])
def test_a_store_whose_structure_is_not_exact_is_refused(
    v2: Path, change: str, said: str, rows: tuple[str, ...]
) -> None:
    run(v2, change, *rows)
    error = refused(v2, GenerationError)
    assert any(said in line for line in error.fields["found"]), error.fields["found"]


def test_an_older_form_is_refused(v2: Path) -> None:
    run(v2, "DROP TABLE session_metrics")
    assert "older form: lacks table session_metrics" in refused(v2, WrongGenerationError).what


@pytest.mark.parametrize("sessions", [0, 3])
def test_a_v1_file_is_refused_and_the_way_on_is_said(tmp_path: Path, sessions: int) -> None:
    path = make_langswarm_v1(tmp_path / "langswarm_sessions.db", sessions=3, traps="none").path
    if not sessions:
        run(path, "DELETE FROM sessions")
    error = refused(path, WrongGenerationError)
    assert "is a langswarm.v1 store; a langswarm.v2 store is needed as the target" in error.what
    assert "share their default file name" in error.hint
    assert "another file" in error.hint
    assert "db_path" in error.hint


def test_a_v1_file_that_v2_has_opened_is_refused_too(tmp_path: Path, v2: Path) -> None:
    path = make_langswarm_v1(tmp_path / "langswarm_sessions.db", sessions=3, traps="none").path
    with closing(sqlite3.connect(v2)) as connection:
        tables = connection.execute(
            "SELECT sql FROM sqlite_master WHERE tbl_name IN ('session_messages', 'session_metrics') AND sql NOT NULL"
        ).fetchall()
    run(path, *(sql for (sql,) in tables))
    assert "is a langswarm.v1 store" in refused(path, WrongGenerationError).what


def test_the_other_dresses_of_v1_are_refused_as_targets(tmp_path: Path) -> None:
    enhanced = make_langswarm_enhanced(tmp_path / "s.enhanced", sessions=2, traps="none").path
    assert "is a langswarm.v1 store" in refused(enhanced, WrongGenerationError).what
    dump = make_langswarm_dump(tmp_path / "s.json", sessions=2, traps="none").path
    assert "is on a JSON file" in refused(dump, WrongGenerationError).what


def test_the_ledger_goes_and_the_application_keeps_its_store(v2: Path) -> None:
    run(v2, *NATIVE)
    before = contents(v2)
    prepare_target(str(v2), "langswarm.v2")
    assert schema_downgrade(str(v2), "ledger@base") == ["langswarm_v2"]
    assert contents(v2) == before
