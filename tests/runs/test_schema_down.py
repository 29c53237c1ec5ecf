"""A target's schema goes when every session has been taken back, and leaves no trace; not before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.made import make_moved
from tests.support.moved import change, query, snapshot
from tests.support.taken_back import V2_MESSAGE, ledger, take_back
from tests.support.warm import Warm

from sessionlift._demo import make_langswarm_v1
from sessionlift.errors import GenerationError, NotTakenBackError
from sessionlift.generations import schema_downgrade
from sessionlift.runs import BackupOptions, TransferOptions, downgrade_schema, migrate

pytestmark = pytest.mark.slow

OBJECTS = "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite^_%' ESCAPE '^' ORDER BY 1, 2"


def one_broken(path: Path) -> None:
    """V1's store with a session that waits in quarantine after a move."""
    make_langswarm_v1(path, sessions=4, seed=5, traps="none")
    change(path, "UPDATE sessions SET history = 'no JSON' WHERE rowid = 4")


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    return tmp_path / "v1.db"


@pytest.fixture
def v2(v1: Path, tmp_path: Path) -> Path:
    target = tmp_path / "new" / "v2.db"
    make_moved(v1, target, make=one_broken)
    return target


@pytest.fixture
def v3(target: Path) -> Path:
    """Traces that were moved."""
    make_moved(target.parent.with_name("source") / "legacy.duckdb", target, sessions=3, seed=1)
    return target


def moved(source: Path, target: Path) -> Path:
    migrate(str(source), str(target), TransferOptions(), verify=False, backup=BackupOptions(False))
    return target


def refused(target: Path, revision: str = "base") -> dict[str, Any]:
    """The error's fields; the target must be as it was."""
    before = snapshot(target.parent)
    with pytest.raises(NotTakenBackError) as error:
        downgrade_schema(str(target), revision)
    assert error.value.exit_code == 4
    assert snapshot(target.parent) == before
    return {**error.value.fields, "what": error.value.what, "hint": error.value.hint}


def living(target: Path) -> list[str]:
    return [key for (key,) in query(target, "SELECT session_id FROM sessions ORDER BY rowid")]


@pytest.mark.parametrize("revision", ["base", "ledger@base", "langswarm.v2@base"])
def test_a_target_with_sessions_is_refused_and_the_message_names_the_way(v2: Path, revision: str) -> None:
    count = len(living(v2))
    said = refused(v2, revision)
    assert said["sessions"] == count
    assert f"{count} sessions" in said["what"]
    assert "sessionlift rollback STORE --all" in said["hint"]


def test_when_all_are_taken_back_no_trace_is_left(sessionlift: Warm, v1: Path, v2: Path) -> None:
    one, two = living(v2)[:2]
    assert take_back(sessionlift, v2, "--session", one, "--no-backup").code == 0
    assert refused(v2)["sessions"] == len(living(v2))
    assert take_back(sessionlift, v2, "--all", "--no-backup").code == 0
    assert query(v2, "SELECT count(*) FROM sessionlift_quarantine") != [(0,)], "rows that V1 has all the same"
    with pytest.raises(GenerationError, match="rows"):
        schema_downgrade(str(v2), "base")  # as plain Alembic, which does not ask the ledger

    done = sessionlift("schema", "downgrade", v2, "base", "--json")

    assert (done.code, json.loads(done.out)["revisions"]) == (0, [])
    assert query(v2, OBJECTS) == []
    assert two in living(moved(v1, v2)), "and it can be moved into again"


def test_what_has_not_been_carried_back_is_not_taken_back(sessionlift: Warm, v2: Path) -> None:
    one = living(v2)[0]
    change(
        v2,
        "INSERT INTO sessions (session_id, user_id, provider, model, backend, context_data) SELECT ?, user_id, "
        "provider, model, backend, replace(context_data, session_id, 'of the application') FROM sessions LIMIT 1",
        "of the application",
    )
    options = [each for key in ledger(v2) for each in ("--session", key) if key != one]
    take_back(sessionlift, v2, *options, "--no-backup")
    for table in ("session_messages", "session_metrics", "sessions"):
        change(v2, f"DELETE FROM {table} WHERE session_id = ?", one)
    assert refused(v2)["sessions"] == 2, "one that V1 never had, and one that it has to delete"
    assert take_back(sessionlift, v2, "--all", "--no-backup").code == 0
    assert downgrade_schema(str(v2), "base", drop_kept=True) == []


def test_what_only_the_ledger_keeps_goes_only_when_that_is_said(sessionlift: Warm, v1: Path, v2: Path) -> None:
    one = living(v2)[0]
    change(v2, V2_MESSAGE, one, "new", "said after the move")
    change(v2, "UPDATE session_messages SET token_count = 3 WHERE message_id = 'new'")
    assert take_back(sessionlift, v2, "--all", "--no-backup").code == 0

    said = refused(v2)

    assert one in said["what"]
    assert "--drop-kept" in said["hint"]
    assert downgrade_schema(str(v2), "langswarm.v2@base") == ["ledger_2"], "told to leave the ledger"
    assert ("table", "sessions") not in query(v2, OBJECTS)
    moved(v1, v2)
    assert query(v2, "SELECT token_count FROM session_messages WHERE token_count IS NOT NULL") == [(3,)]
    assert take_back(sessionlift, v2, "--all", "--no-backup").code == 0
    assert sessionlift("schema", "downgrade", v2, "base", "--drop-kept").code == 0
    assert query(v2, OBJECTS) == []


def test_what_no_session_owns_has_to_lie_in_the_legacy_store_too(sessionlift: Warm, v3: Path) -> None:
    assert query(v3, "SELECT count(*) FROM systems") != [(0,)]
    options = [each for key in ledger(v3) for each in ("--session", key)]
    take_back(sessionlift, v3, *options, "--no-backup")
    change(v3, "INSERT INTO systems (system_id, name) VALUES ('new', 'of the application')")
    assert "systems" in refused(v3)["rows"]
    answer = take_back(sessionlift, v3, "--all", "--no-backup")
    assert answer.facts["carried_added", "systems"] == 1
    assert refused(v3)["values"] == {"systems.created_at": 1}, "the old program knows no such time"
    assert downgrade_schema(str(v3), "base", drop_kept=True) == []
    assert query(v3, OBJECTS) == []


def test_what_the_legacy_store_cannot_hold_of_a_row_of_no_session_goes_only_when_that_is_said(
    sessionlift: Warm, v3: Path
) -> None:
    change(v3, "UPDATE systems SET system_type = 'agent' WHERE rowid = 1")
    assert take_back(sessionlift, v3, "--all", "--no-backup").code == 0
    for revision in ("base", "synth.v3@base"):
        said = refused(v3, revision)
        assert said["values"] == {"systems.system_type": 1}
        assert "--drop-kept" in said["hint"]
    assert downgrade_schema(str(v3), "synth.v3@base", drop_kept=True) == ["ledger_2"]


def test_whoever_is_told_of_such_a_value_is_told_of_what_the_ledger_keeps_too(sessionlift: Warm, target: Path) -> None:
    make_moved(target.parent.with_name("source") / "legacy.duckdb", target, sessions=3, traps="none", seed=1)
    change(target, "UPDATE systems SET system_type = 'agent' WHERE rowid = 1")
    change(target, "UPDATE session_timesteps SET turn_number = 77")
    assert take_back(sessionlift, target, "--all", "--no-backup").code == 0
    for revision in ("base", "synth.v3@base", "ledger@base"):
        said = refused(target, revision)
        assert said["values"] == {"systems.system_type": 1}
        assert said["sessions"] == 3
        assert "systems.system_type 1" in said["what"]
        assert "of 3 sessions" in said["what"]


def test_the_catalog_goes_when_nobody_has_changed_it(sessionlift: Warm, v3: Path) -> None:
    take_back(sessionlift, v3, "--all", "--no-backup")
    assert query(v3, "SELECT count(*) FROM systems") != [(0,)]
    assert downgrade_schema(str(v3), "synth.v3@base") == ["ledger_2"]
    assert downgrade_schema(str(v3), "base") == []
    assert query(v3, OBJECTS) == []


def test_the_next_move_brings_what_no_session_owns_again_though_the_ledger_was_left(
    sessionlift: Warm, target: Path
) -> None:
    source = target.parent.with_name("source") / "legacy.duckdb"
    make_moved(source, target, sessions=4, traps="usual", seed=1)
    systems = query(target, "SELECT * FROM systems ORDER BY 1")
    assert systems
    assert take_back(sessionlift, target, "--all").code in (0, 1)
    downgrade_schema(str(target), "synth.v3@base")
    assert moved(source, target) == target
    assert query(target, "SELECT * FROM systems ORDER BY 1") == systems
    verified = sessionlift("verify", source, target)
    assert verified.code == 0, verified.out


def test_a_value_in_a_column_that_the_application_has_added_is_not_dropped_unasked(sessionlift: Warm, v3: Path) -> None:
    change(v3, "ALTER TABLE systems ADD COLUMN note TEXT")
    change(v3, "UPDATE systems SET note = 'mine' WHERE rowid = 1")
    assert take_back(sessionlift, v3, "--all", "--no-backup").code == 0
    said = refused(v3)
    assert said["values"] == {"systems.note": 1}
    assert "save what is wanted of it" in said["hint"]
    change(v3, "UPDATE systems SET note = NULL")
    assert downgrade_schema(str(v3), "base") == []
