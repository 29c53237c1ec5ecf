"""A chain's store copied into a new file, and looked at as a whole; both through the command line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.support.buddy_stores import ask, invoke, rows, schema, tell

from sessionlift._demo import make_session_buddy
from sessionlift.cli import main

pytestmark = pytest.mark.slow


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def answer(*arguments: object) -> Any:
    return json.loads(call(*arguments, "--json").stdout)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return make_session_buddy(tmp_path / "old.db", generation="session_buddy.v2", traps="all").path


def test_migrate_copies_and_leaves_the_old_file_byte_identical(old: Path, tmp_path: Path) -> None:
    before = hashlib.sha256(old.read_bytes()).hexdigest()
    new = tmp_path / "new.db"

    done = answer("migrate", old, new)

    assert done["ok"], done
    assert hashlib.sha256(old.read_bytes()).hexdigest() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.db", "new.db.reports", "old.db"]
    assert (done["report"]["source"]["generation"], done["report"]["target"]["generation"]) == (
        "session_buddy.v2",
        "session_buddy.v4",
    )
    assert done["report"]["migrated_sessions"] == 10
    was, now = rows(old), rows(new)
    assert [row[: len(was["skill_invocation"][0])] for row in now["skill_invocation"]] == was["skill_invocation"]
    assert all(now[table] == was[table] for table in ("skill_metrics", "session_skills", "user_notes"))
    assert call("report", "check", done["path"]).exit_code == 0
    assert call("verify", "--report", done["path"]).exit_code == 0


@pytest.mark.parametrize(
    "given",
    [
        ("--no-verify",),
        ("--on-error", "stop"),
        ("--same-source",),
        ("--no-backup",),
        ("--backup-dir", "elsewhere"),
        ("--timezone", "UTC"),
    ],
    ids=lambda given: given[0],
)
def test_an_option_that_means_nothing_for_a_copy(old: Path, tmp_path: Path, given: tuple[str, ...]) -> None:
    refused = call("migrate", old, tmp_path / "new.db", *given)
    assert refused.exit_code == 2
    assert f"leave out {given[0]}" in refused.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old.db"]


def test_an_option_that_says_what_is_done_anyway_is_taken(old: Path, tmp_path: Path) -> None:
    assert call("migrate", old, tmp_path / "new.db", "--on-error", "quarantine").exit_code == 0


@pytest.mark.parametrize("given", ["--source", "--target"])
def test_the_report_of_a_copy_is_checked_with_the_stores_that_it_names(old: Path, tmp_path: Path, given: str) -> None:
    done = answer("migrate", old, tmp_path / "new.db")
    refused = call("verify", "--report", done["path"], given, tmp_path / "none.db")
    assert refused.exit_code == 2
    assert "leave out --source and --target" in refused.stderr
    assert call("session-buddy", "verify", tmp_path / "new.db", "--against", old).exit_code == 0


def test_the_same_command_again_finds_it_done_and_another_target_is_refused(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.db"
    answer("migrate", old, new)
    raw = new.read_bytes()
    again = answer("migrate", old, new)
    assert again["report"]["skipped_sessions"] == 10
    assert new.read_bytes() == raw
    invoke(old, 3)
    refused = call("migrate", old, new)
    assert refused.exit_code == 4
    assert "other rows" in refused.output
    assert new.read_bytes() == raw


def test_a_damaged_store_is_the_sources_fault_and_leaves_no_target(old: Path, tmp_path: Path) -> None:
    (root,) = ask(old, "SELECT rootpage FROM sqlite_master WHERE name = 'idx_invocation_session'")[0]
    (size,) = ask(old, "SELECT page_size FROM pragma_page_size")[0]
    data = bytearray(old.read_bytes())
    data[(root - 1) * size + 12 : root * size] = b"\x5a" * (size - 12)
    old.write_bytes(data)
    refused = CliRunner().invoke(main, ["migrate", str(old), str(tmp_path / "new.db"), "--json"])
    said = json.loads(refused.stdout)
    assert (refused.exit_code, said["code"], said["role"]) == (3, "store_corrupt", "source")
    assert said["store"].endswith(str(old))
    assert not (tmp_path / "new.db").exists()


def test_a_dry_run_of_a_copy_makes_no_file(old: Path, tmp_path: Path) -> None:
    done = answer("migrate", old, tmp_path / "new.db", "--dry-run")
    assert done["report"]["dry_run"]
    assert done["report"]["target"]["generation"] == "session_buddy.v4"
    assert not (tmp_path / "new.db").exists()


def test_upgrade_verify_and_downgrade_through_the_command_line(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db").path
    before = schema(path), rows(path)
    done = answer("upgrade", path, "--to", "session_buddy.v4")
    assert done["report"]["verification"]["status"] == "passed"
    backup = Path(done["backup"])

    checked = call("session-buddy", "verify", path, "--against", backup)
    assert checked.exit_code == 0, checked.output
    assert call("verify", "--report", done["path"]).exit_code == 0
    seen = answer("session-buddy", "verify", path)["report"]["options"]["tried"]
    assert len(seen) == 7
    assert all(seen.values())

    assert call("downgrade", path, "--to", "v3", "--quiet").exit_code == 0
    assert (schema(path), rows(path)) == before
    assert call("session-buddy", "verify", path, "--against", backup).exit_code == 0


def test_verify_leaves_the_store_as_it_is(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v4", filled=True).path
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    assert call("session-buddy", "verify", path).exit_code == 0
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


@pytest.fixture(scope="module")
def upgrade(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, Any]:
    """A store that was upgraded, its bytes, and what the command said."""
    path = make_session_buddy(tmp_path_factory.mktemp("upgraded") / "s.db").path
    done = answer("upgrade", path)
    return path, path.read_bytes(), done


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("UPDATE skill_invocation SET user_query = user_query || char(0) WHERE user_query > ''", "skill_invocation"),
        ("DELETE FROM session_skills WHERE rowid = 1", "session_skills"),
        ("UPDATE skill_invocation SET selection_rank = '1' || '' WHERE id = 1", None),
        ("DROP TRIGGER trg_metrics_cache_after_insert", "trg_metrics_cache_after_insert"),
        ("DROP INDEX idx_anomalies_skill", "idx_anomalies_skill"),
        ("CREATE VIEW broken AS SELECT * FROM nowhere", "broken"),
        ("DROP VIEW v_ab_test_summary", "v_ab_test_summary"),
    ],
)
def test_verify_finds_what_is_not_as_it_was(upgrade: tuple[Path, bytes, Any], spoil: str, said: str | None) -> None:
    path, whole, done = upgrade
    path.write_bytes(whole)
    value = ask(path, "SELECT selection_rank FROM skill_invocation WHERE id = 1")
    tell(path, spoil)
    changed = said or ask(path, "SELECT selection_rank FROM skill_invocation WHERE id = 1") != value
    for command in (
        ("session-buddy", "verify", path, "--against", done["backup"]),
        ("verify", "--report", done["path"]),
    ):
        found = call(*command, "--json")
        assert found.exit_code == (1 if changed else 0), found.output
        if said:
            assert said in found.stdout


def test_a_refusal_has_its_exit_code_and_says_what_to_do(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v4").path
    tell(path, "CREATE VIEW mine AS SELECT * FROM skill_clusters")
    refused = call("downgrade", path, "--to", "session_buddy.v3")
    assert refused.exit_code == 4
    assert "view mine" in refused.output
    assert "--let-dangle" in refused.output
    assert not (tmp_path / "s.db.backups").exists(), "nothing was done yet"
    assert call("downgrade", path, "--to", "session_buddy.v3", "--let-dangle", "-q").exit_code == 0
    assert call("session-buddy", "backfill", path).exit_code == 4
    assert call("upgrade", tmp_path / "none.db").exit_code == 4
    assert call("upgrade", path, "-q").exit_code == 0
    assert call("session-buddy", "backfill", path, "-q").exit_code == 0


def test_history_tells_every_step_and_what_is_kept(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db", generation="session_buddy.v4", filled=True).path
    assert answer("session-buddy", "history", path)["steps"] == []
    call("downgrade", path, "--to", "v3")
    found = answer("session-buddy", "history", path)
    assert found["generation"] == "session_buddy.v3"
    assert [(step["direction"], step["revision"]) for step in found["steps"]] == [
        ("adopted", "session_buddy_v4"),
        ("down", "session_buddy_v4"),
    ]
    assert found["kept"]["skill_clusters"] == 1
    assert "kept: 1 rows of skill_clusters" in call("session-buddy", "history", path).output
    call("upgrade", path)
    assert answer("session-buddy", "history", path)["kept"] == {}


def test_a_plan_of_such_a_store_says_the_right_command(tmp_path: Path) -> None:
    path = make_session_buddy(tmp_path / "s.db").path
    refused = call("plan", path)
    assert refused.exit_code == 3
    assert "upgrade STORE --dry-run" in refused.output
