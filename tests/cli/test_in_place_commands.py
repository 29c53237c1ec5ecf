"""The commands for stores changed in place, called wrongly or for little: what they say, and what they leave."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.support.made import make_moved
from tests.support.surroundings import small_disk
from tests.support.warm import Warm

from sessionlift._demo import make_langswarm_v1, make_session_buddy
from sessionlift.generations import schema_upgrade

CHANGING = [
    ("upgrade",),
    ("downgrade", "--to", "session_buddy.v1"),
    ("session-buddy", "taxonomy"),
    ("session-buddy", "backfill"),
    ("session-buddy", "dependencies"),
    ("session-buddy", "baselines"),
]
READING = [("session-buddy", "verify"), ("session-buddy", "history")]
IDS = ["-".join(words[:2]) for words in [*CHANGING, *READING]]


@pytest.fixture
def v3(tmp_path: Path) -> Path:
    return make_session_buddy(tmp_path / "v3.db", generation="session_buddy.v3").path


@pytest.fixture
def v4(tmp_path: Path) -> Path:
    return make_session_buddy(tmp_path / "v4.db", generation="session_buddy.v4", filled=True).path


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("command", [*CHANGING, *READING], ids=IDS)
def test_what_is_no_store_is_told_with_a_next_step_and_gets_no_directory_of_reports(
    sessionlift: Warm, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "empty.db").touch()
    (tmp_path / "text.db").write_text("not a store\n")
    (tmp_path / "directory").mkdir()
    before = names(tmp_path)
    for name in ("empty.db", "text.db", "directory", "missing.db", "nowhere/missing.db"):
        refused = sessionlift(*command, tmp_path / name)
        assert refused.code == (4 if command in CHANGING else 3), name
        assert "next: " in refused.err
        assert "will be created" not in refused.err, "a store is not made by these commands"
        assert "could not be written" not in refused.err
        assert "Traceback" not in refused.err
    assert names(tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize("command", [*CHANGING, *READING], ids=IDS)
def test_a_store_that_moves_into_a_new_one_is_a_wrong_call(
    sessionlift: Warm, tmp_path: Path, command: tuple[str, ...]
) -> None:
    path = tmp_path / "v1.db"
    schema_upgrade(str(path), "langswarm_v1")
    before = names(tmp_path)
    refused = json.loads(sessionlift(*command, path, "--json").out)
    assert (refused["ok"], refused["code"]) == (False, "usage")
    assert refused["hint"].startswith("sessionlift ")
    assert names(tmp_path) == before


@pytest.mark.slow
def test_what_a_store_that_was_moved_into_is_told_to_do_can_be_done(sessionlift: Warm, tmp_path: Path) -> None:
    make_moved(tmp_path / "v1.db", tmp_path / "v2.db", make=make_langswarm_v1, sessions=2)
    assert sessionlift("rollback", tmp_path / "v2.db", "--all", "--dry-run").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("command", CHANGING, ids=IDS[: len(CHANGING)])
def test_a_store_that_was_moved_into_is_not_sent_to_be_moved(
    sessionlift: Warm, tmp_path: Path, command: tuple[str, ...]
) -> None:
    make_moved(tmp_path / "v1.db", tmp_path / "v2.db", make=make_langswarm_v1, sessions=2)
    schema_upgrade(str(tmp_path / "v3.db"), "synth_v3")
    told = sessionlift(*command, tmp_path / "v2.db")
    assert told.code == 2
    assert "langswarm.v2, the newest generation" in told.err
    assert "sessionlift rollback STORE --all" in told.err
    told = sessionlift(*command, tmp_path / "v3.db")
    assert "nothing was moved into it" in told.err
    assert "migrate" not in told.err


def test_a_report_that_was_asked_for_is_written_for_a_wrong_path_too(sessionlift: Warm, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    refused = json.loads(sessionlift("upgrade", tmp_path / "missing.db", "--report-file", report, "--json").out)
    assert refused["report"] == str(report)
    assert json.loads(report.read_text())["status"] == "failed"


@pytest.mark.parametrize("target", ["new.duckdb", "duckdb:///{}/new.db", "json:///{}/new.db"])
def test_a_copy_is_not_made_under_the_name_of_another_kind_of_store(
    sessionlift: Warm, v3: Path, tmp_path: Path, target: str
) -> None:
    before = names(tmp_path)
    goal = target.format(tmp_path) if ":" in target else tmp_path / target
    refused = sessionlift("migrate", v3, goal)
    assert refused.code == 2
    assert "names another kind of store" in refused.err
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    "option", [("--timezone", "Europe/Berlin"), ("--timezone", "UTC"), ("--salvage",), ("--only", "s1"), ("--mapping",)]
)
def test_what_says_how_to_convert_is_refused_for_a_copy_and_not_passed_over(
    sessionlift: Warm, v3: Path, tmp_path: Path, option: tuple[str, ...]
) -> None:
    if option == ("--mapping",):
        (tmp_path / "map.json").write_text('{"event_types": {"a": "cais"}}')
        option = ("--mapping", str(tmp_path / "map.json"))
    refused = sessionlift("migrate", v3, tmp_path / "new.db", *option)
    assert refused.code == 2
    assert f"leave out {option[0]}" in refused.err
    assert not (tmp_path / "new.db").exists()


@pytest.mark.slow
def test_a_copy_of_the_newest_generation_is_a_copy_that_was_verified(
    sessionlift: Warm, v4: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new.db"
    done = json.loads(sessionlift("migrate", v4, new, "--json").out)
    report = done["report"]
    assert (report["migrated_sessions"], report["skipped_sessions"]) == (report["total_sessions"], 0)
    assert report["total_sessions"] > 0
    assert report["verification"]["status"] == "passed"
    assert report["verification"]["checked_values"] > 0
    assert report["tables"]["skill_clusters"]["written"] == _count(new, "skill_clusters") > 0
    assert sessionlift("report", "check", done["path"]).code == 0
    assert sessionlift("verify", "--report", done["path"]).code == 0
    again = json.loads(sessionlift("migrate", v4, new, "--json").out)["report"]
    assert again["skipped_sessions"] == again["total_sessions"]
    with sqlite3.connect(new) as db:
        db.execute("UPDATE skill_clusters SET description = 'other'")
    spoiled = sessionlift("verify", "--report", done["path"])
    assert spoiled.code == 1
    assert "skill_clusters" in spoiled.out


def _count(path: Path, table: str) -> int:
    with sqlite3.connect(path) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.mark.slow
def test_what_a_report_says_to_do_next_can_be_done(sessionlift: Warm, v3: Path, v4: Path) -> None:
    done = sessionlift("upgrade", v3)
    assert "digests of every table: " in done.out
    assert "`sessionlift verify --report FILE` holds the store against its backup" in done.out
    assert sessionlift("verify", "--report", _report(done.out)).code == 0

    nothing = sessionlift("upgrade", v4)
    assert "nothing to change" in nothing.out
    assert "`sessionlift session-buddy verify STORE`" in nothing.out
    assert "verify --report" not in nothing.out
    refused = sessionlift("verify", "--report", _report(nothing.out))
    assert refused.code == 2
    assert "changed nothing" in refused.err
    assert "sessionlift session-buddy verify STORE" in refused.err

    rehearsed = sessionlift("downgrade", v4, "--to", "v2", "--dry-run")
    assert "The store was not changed." in rehearsed.out
    assert "rehearsal" not in rehearsed.out + rehearsed.err, "the private copy is nobody's business"
    refused = sessionlift("verify", "--report", _report(rehearsed.out))
    assert refused.code == 2
    assert "a dry run" in refused.err

    checked = sessionlift("session-buddy", "verify", v4)
    assert " rows looked at, nothing found" in checked.out
    assert "verify --report" not in checked.out

    failed = sessionlift("upgrade", v4, "--to", "session_buddy.v1", "--report-file", v4.parent / "failed.json")
    assert failed.code == 2
    shown = sessionlift("report", "show", v4.parent / "failed.json")
    assert "Nothing was changed. Run the same command" in shown.out


def _report(out: str) -> str:
    return out.rsplit("Report: ", 1)[1].strip()


def test_commands_for_moved_sessions_name_the_command_for_stores_changed_in_place(
    sessionlift: Warm, v3: Path, v4: Path, tmp_path: Path
) -> None:
    told: list[tuple[tuple[Any, ...], int, str]] = [
        (("status", v4), 4, "sessionlift session-buddy history STORE"),
        (("rollback", v4, "--all"), 4, "sessionlift downgrade STORE --to GENERATION"),
        (("plan", v3), 3, "sessionlift upgrade STORE --dry-run"),
        (("verify", v3, v4), 3, "sessionlift session-buddy verify STORE"),
    ]
    for words, code, hint in told:
        refused = sessionlift(*words)
        assert refused.code == code
        assert hint in refused.err


def test_a_store_without_a_step_of_ours_says_so_in_its_history(sessionlift: Warm, v4: Path) -> None:
    assert "no step of sessionlift's" in sessionlift("session-buddy", "history", v4).out


@pytest.mark.slow
def test_a_path_with_spaces_and_another_working_directory_is_no_matter(sessionlift: Warm, tmp_path: Path) -> None:
    place = tmp_path / "my stores"
    place.mkdir()
    path = make_session_buddy(place / "skills of mine.db", generation="session_buddy.v2").path
    told = json.loads(sessionlift("upgrade", path, "--json").out)
    assert told["ok"]
    assert Path(told["backup"]).parent == place / "skills of mine.db.backups"
    assert (
        sessionlift("session-buddy", "verify", told["report"]["target"]["url"], "--against", told["backup"]).code == 0
    )
    assert sessionlift("downgrade", path, "--to", "v2", "-q").out == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("upgrade",), "Missing argument 'STORE'"),
        (("downgrade", "x.db"), "Missing option '--to'"),
        (("upgrade", "x.db", "--wait", "soon"), "'soon' is not a valid float range"),
        (("session-buddy", "backfill", "x.db", "--days", "0"), "0 is not in the range"),
        (("migrate", "x.db"), "Missing argument 'TARGET'"),
        (("restore", "nowhere"), "'nowhere' does not exist"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_wrong_call_is_told_as_json_where_that_was_asked_for(
    sessionlift: Warm, words: tuple[str, ...], said: str
) -> None:
    outcome = sessionlift(*words, "--json")
    assert outcome.code == 2
    told = json.loads(outcome.out)
    assert (told["ok"], told["code"]) == (False, "usage")
    assert said in told["error"]
    assert told["hint"].endswith("--help")
    assert outcome.err == ""
    plain = sessionlift(*words)
    assert (plain.code, plain.out) == (2, "")
    assert said in plain.err


@pytest.mark.slow
def test_a_store_on_a_read_only_disk_is_refused_before_its_backup_and_can_be_looked_at(
    sessionlift: Warm, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"

    def fill() -> None:
        make_session_buddy(disk / "s.db", generation="session_buddy.v3")

    with small_disk(disk, "8m", read_only_after=fill):
        path, reports = disk / "s.db", tmp_path / "report.json"
        for command in CHANGING[:2]:
            refused = sessionlift(*command, path, "--backup-dir", tmp_path / "backups")
            assert refused.code == 4
            assert "Error [store_read_only]" in refused.err
            assert "Backing up" not in refused.err
        refused = sessionlift("migrate", path, disk / "new.db")
        assert refused.code == 4
        assert f"{disk / 'new.db'} may not be written" in refused.err
        assert "TMPDIR" not in refused.err
        assert sessionlift("upgrade", path, "--dry-run", "--report-file", reports).code == 0
        assert sessionlift("session-buddy", "verify", path, "--report-file", reports).code == 0
        assert sessionlift("migrate", path, tmp_path / "new.db", "-q").code == 0
    assert not (tmp_path / "backups").exists()


def test_a_copy_of_a_write_protected_store_can_be_written_to(sessionlift: Warm, v3: Path, tmp_path: Path) -> None:
    v3.chmod(0o444)
    assert sessionlift("migrate", v3, tmp_path / "new.db", "-q").code == 0
    assert (tmp_path / "new.db").stat().st_mode & 0o777 == 0o644
    assert v3.stat().st_mode & 0o777 == 0o444


def test_the_directory_of_backups_is_made_however_deep_it_lies(sessionlift: Warm, v3: Path, tmp_path: Path) -> None:
    told = json.loads(sessionlift("upgrade", v3, "--backup-dir", tmp_path / "a" / "b" / "c", "--json").out)
    assert told["ok"]
    assert Path(told["backup"]).parent == tmp_path / "a" / "b" / "c"
