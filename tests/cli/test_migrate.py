"""Bad input through the command line: its message, its exit code, and nothing half-written."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.laws import TORTURE
from tests.support.moved import change, query, snapshot
from tests.support.run_fixtures import Legacy
from tests.support.surroundings import another_process, small_disk
from tests.support.warm import Outcome, Warm

from sessionlift._demo import make_langswarm_v1, make_session_buddy

GO_ON = "make room, then run the same command again: what was committed stays"
PERMISSIONS = "check the permissions of the file and of its directory"


@pytest.fixture
def good(legacy: Legacy) -> Path:
    return legacy(sessions=4, traps="usual")


def assert_refused(outcome: Outcome, code: int, error: str, *words: str) -> None:
    """The exit code, the error's code, its words, what to do next, and no traceback."""
    assert outcome.code == code, outcome.out + outcome.err
    # the error's own lines: a report that could not be written has a next step, too
    said = re.search(rf"^Error \[{error}\]: .+\n  next: .+", outcome.err, re.MULTILINE)
    assert said, outcome.err
    for word in words:
        assert word in said[0], outcome.err
    assert "Traceback" not in outcome.err + outcome.out


def assert_nothing_made(target: Path) -> None:
    """Only the report of the failed run may lie beside the target, which is not there."""
    assert {path.name for path in target.parent.iterdir()} <= {f"{target.name}.reports"}
    for path in target.parent.glob("*.reports/*"):
        report = json.loads(path.read_text())
        assert report["status"] == "failed"
        assert report["errors"], "a failed run says why"


# --- the source -------------------------------------------------------------------------------------------


def test_a_missing_source(sessionlift: Warm, tmp_path: Path, target: Path) -> None:
    outcome = sessionlift("migrate", tmp_path / "none.duckdb", target)
    assert_refused(outcome, 3, "store_not_found", "there is no file", "none.duckdb")
    assert_nothing_made(target)


@pytest.mark.parametrize(
    ("content", "found"), [(b"", "is an empty file"), (b"just some words\n" * 99, "is a text file")]
)
def test_a_source_that_is_no_database(
    sessionlift: Warm, tmp_path: Path, target: Path, content: bytes, found: str
) -> None:
    source = tmp_path / "source.duckdb"
    source.write_bytes(content)
    assert_refused(sessionlift("migrate", source, target), 3, "store_format", found)
    assert_nothing_made(target)


def test_a_source_whose_main_file_is_gone(sessionlift: Warm, tmp_path: Path, target: Path) -> None:
    (tmp_path / "source.duckdb.wal").write_bytes(b"\0" * 64)
    outcome = sessionlift("migrate", tmp_path / "source.duckdb", target)
    missing = ("source.duckdb is missing", "source.duckdb.wal is there", "put the main file back beside its .wal")
    assert_refused(outcome, 3, "store_not_found", *missing)
    assert_nothing_made(target)


def test_sqlite_in_place_of_duckdb(sessionlift: Warm, tmp_path: Path, target: Path) -> None:
    source = tmp_path / "source.duckdb"
    with closing(sqlite3.connect(source)) as db:
        db.execute("CREATE TABLE notes (text)")
        db.commit()
    outcome = sessionlift("migrate", source, target)
    assert_refused(outcome, 3, "generation_unknown", "notes", "no known schema fits")
    outcome = sessionlift("migrate", f"duckdb://{source}", target)
    assert_refused(outcome, 3, "store_format", "SQLite")
    assert_nothing_made(target)


def test_a_source_that_another_process_writes_to(sessionlift: Warm, good: Path, target: Path) -> None:
    holder = f"import duckdb, time; db = duckdb.connect({str(good)!r}); print('ready', flush=True); time.sleep(60)"
    with another_process(holder) as process:
        outcome = sessionlift("migrate", good, target)
    assert_refused(outcome, 3, "store_locked", str(process.pid))
    assert_nothing_made(target)


@pytest.mark.fixtures
def test_a_source_of_a_newer_engine(sessionlift: Warm, real_stores: Path, target: Path) -> None:
    outcome = sessionlift("migrate", real_stores / "synth" / "w_2.0.0.duckdb", target)
    if outcome.code == 0:
        pytest.skip("the installed DuckDB reads this file")
    assert_refused(outcome, 3, "store_too_new", "DuckDB")
    assert_nothing_made(target)


@pytest.mark.parametrize("share", [0.0005, 0.3, 0.7, 0.99])
def test_a_truncated_source(sessionlift: Warm, good: Path, target: Path, share: float) -> None:
    data = good.read_bytes()
    good.write_bytes(data[: int(len(data) * share)])
    outcome = sessionlift("migrate", good, target)
    assert_refused(outcome, 3, "store_corrupt", "cut short")
    assert_nothing_made(target)


@pytest.mark.fixtures
@pytest.mark.parametrize(
    ("name", "generation"),
    [
        ("langswarm/v2_real.db", "langswarm.v2"),
        ("semloop/metrics_v2.csv", "semloop.v2"),
        ("synth/v3_fresh.db", "synth.v3"),
    ],
)
def test_a_source_of_another_system(
    sessionlift: Warm, real_stores: Path, tmp_path: Path, target: Path, name: str, generation: str
) -> None:
    source = tmp_path / Path(name).name
    shutil.copy(real_stores / name, source)
    assert_refused(sessionlift("migrate", source, target), 3, "generation_wrong", generation)
    assert_nothing_made(target)


def test_stores_of_two_systems(sessionlift: Warm, good: Path, tmp_path: Path, target: Path) -> None:
    skills, swarm, moved = tmp_path / "skills.db", tmp_path / "v1.db", tmp_path / "v2.db"
    make_session_buddy(skills, sessions=1, invocations=2, embeddings=False)
    make_langswarm_v1(swarm, sessions=1)
    assert sessionlift("schema", "upgrade", moved, "langswarm_v2").code == 0
    before = [path.read_bytes() for path in (skills, swarm, moved)]
    outcome = sessionlift("migrate", swarm, skills)
    assert_refused(outcome, 4, "generation_wrong", "session_buddy.v3", "as the target", "name another file")
    outcome = sessionlift("migrate", good, moved)
    assert_refused(outcome, 4, "generation_wrong", "langswarm.v2", "synth.v3 store is needed", "name such a store")
    outcome = sessionlift("migrate", skills, swarm)
    assert_refused(outcome, 4, "generation_wrong", "v1.db is there already", "name a new file")
    outcome = sessionlift("migrate", moved, target)
    assert_refused(outcome, 3, "generation_wrong", "langswarm.v2", "this looks like a target")
    assert_nothing_made(target)
    assert [path.read_bytes() for path in (skills, swarm, moved)] == before


@pytest.mark.slow
def test_a_source_in_a_read_only_place(sessionlift: Warm, good: Path, target: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "64m", read_only_after=lambda: _copy(good, disk)) as place:
        before = snapshot(place)
        outcome = sessionlift("migrate", place / good.name, target, "--json")
        assert outcome.code == 0, outcome.out + outcome.err
        assert snapshot(place) == before


@pytest.mark.slow
@pytest.mark.torture
@pytest.mark.fixtures
@pytest.mark.parametrize(
    "name",
    ["crash_1.5.6.duckdb", "small.duckdb", *(["crash_1.1.3.duckdb"] if TORTURE else [])],
)
def test_every_command_leaves_the_source_byte_for_byte(
    sessionlift: Warm, real_stores: Path, tmp_path: Path, target: Path, name: str
) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    for path in (real_stores / "synth").glob(f"{name}*"):
        shutil.copy(path, folder)
    before = snapshot(folder)
    for command in (
        ("detect",),
        ("plan",),
        ("plan", target),
        ("migrate", target, "--dry-run"),
        ("migrate", target),
    ):
        outcome = sessionlift(command[0], folder / name, *command[1:])
        assert outcome.code == 0, outcome.out + outcome.err
        assert snapshot(folder) == before, f"{command[0]} changed the source"
    if name.startswith("crash"):
        assert query(target, "SELECT count(*) FROM session_traces") == [(5,)], "all that its .wal holds"


# --- the target -------------------------------------------------------------------------------------------


def test_a_target_that_holds_something_else(sessionlift: Warm, good: Path, target: Path) -> None:
    with closing(sqlite3.connect(target)) as db:
        db.execute("CREATE TABLE notes (text)")
        db.commit()
    before = target.read_bytes()
    assert_refused(sessionlift("migrate", good, target), 4, "generation_unknown", "notes")
    assert target.read_bytes() == before


def test_a_target_with_rows_of_the_new_program(sessionlift: Warm, good: Path, target: Path) -> None:
    assert sessionlift("schema", "upgrade", target, "synth_v3").code == 0
    change(target, "INSERT INTO systems (system_id, name) VALUES ('one', 'of the new program')")
    before = target.read_bytes()
    assert_refused(sessionlift("migrate", good, target), 4, "generation_wrong", "systems 1", "no ledger")
    assert target.read_bytes() == before


@pytest.mark.slow
def test_a_target_that_is_a_legacy_store(sessionlift: Warm, good: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.duckdb"
    shutil.copy(good, other)
    before = other.read_bytes()
    outcome = sessionlift("migrate", good, other)
    assert_refused(outcome, 4, "generation_wrong", "synth.v2", "the target comes second")
    assert other.read_bytes() == before


@pytest.mark.parametrize("content", [b"just some words\n" * 99, b"\xff\x00\xfe" * 400])
def test_a_target_that_is_no_database(sessionlift: Warm, good: Path, target: Path, content: bytes) -> None:
    target.write_bytes(content)
    outcome = sessionlift("migrate", good, target)
    assert outcome.code == 4
    assert "Error [store_format]" in outcome.err
    assert target.read_bytes() == content


@pytest.mark.slow
def test_a_target_newer_than_this_build(sessionlift: Warm, good: Path, target: Path) -> None:
    assert sessionlift("migrate", good, target, "--json").code == 0
    for ours, newer in (("ledger_2", "ledger_9"), ("synth_v3", "synth_v9")):
        change(target, "UPDATE sessionlift_version SET version_num = ? WHERE version_num = ?", newer, ours)
        before = target.read_bytes()
        for command in (
            ("migrate", good, target),
            ("plan", good, target),
            ("verify", good, target),
            ("rollback", target, "--all"),
            ("rollback", target, "--all", "--dry-run"),
            ("rollout", target, "--allow", "some"),
            ("rollout", target),
            ("status", target),
            ("schema", "downgrade", target, "base"),
        ):
            assert_refused(sessionlift(*command), 4, "target_newer", newer)
        assert target.read_bytes() == before
        assert f"stamped {newer}, which this build" in sessionlift("detect", target).out
        change(target, "UPDATE sessionlift_version SET version_num = ? WHERE version_num = ?", ours, newer)


def test_a_target_in_a_directory_that_is_not_there(sessionlift: Warm, good: Path, tmp_path: Path) -> None:
    outcome = sessionlift("migrate", good, tmp_path / "nowhere" / "v3.db")
    assert_refused(outcome, 4, "store_not_found", "there is no directory")
    assert not (tmp_path / "nowhere").exists()


def test_the_same_file_as_source_and_target(sessionlift: Warm, good: Path) -> None:
    before = good.read_bytes()
    link = good.with_name("link.duckdb")
    link.symlink_to(good)
    for target in (good, link):
        assert_refused(sessionlift("migrate", good, target), 2, "usage", "the same file")
    assert good.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "option"),
    [
        *((command, "--mapping") for command in ("migrate", "plan", "backfill", "catch-up")),
        *((command, "--salvage") for command in ("migrate", "plan")),
    ],
)
def test_an_option_that_means_nothing_for_the_system(
    sessionlift: Warm, legacy: Legacy, tmp_path: Path, target: Path, command: str, option: str
) -> None:
    if option == "--salvage":
        source = legacy(sessions=2, traps="none")
    else:
        source = make_langswarm_v1(tmp_path / "v1.db", sessions=2).path
    if command == "catch-up":
        assert sessionlift("migrate", source, target).code == 0
    (tmp_path / "map.json").write_text('{"message_types": {"policy_call": "tool_use"}}')
    given = (option, *([tmp_path / "map.json"] if option == "--mapping" else []))
    there = target.exists()
    refused = sessionlift(command, source, target, *given)
    assert_refused(refused, 2, "usage", f"leave out {option}")
    assert target.exists() == there


def test_an_empty_target_file_is_filled(sessionlift: Warm, good: Path, target: Path) -> None:
    target.touch()
    assert sessionlift("plan", good, target).code == 0
    assert target.stat().st_size == 0
    assert sessionlift("migrate", good, target, "--json").code == 0


def test_odd_file_names(sessionlift: Warm, good: Path, target: Path) -> None:
    source = good.rename(good.with_name("odd %41 ?a=b#c 'é'.duckdb"))
    odd = target.with_name("odd %41 ?a=b#c 'é'.db")
    outcome = sessionlift("migrate", source, odd, "--json")
    assert outcome.code == 0, outcome.out + outcome.err
    assert {path.name for path in target.parent.iterdir()} == {odd.name, f"{odd.name}.reports"}
    assert sessionlift("status", odd).code == 0


@pytest.mark.slow
def test_a_target_on_a_disk_that_fills_up(sessionlift: Warm, legacy: Legacy, tmp_path: Path) -> None:
    source = legacy(sessions=60, traps="usual")
    with small_disk(tmp_path / "disk", "1m") as place:
        outcome = sessionlift("migrate", source, place / "v3.db", limits={"max_rows": 300})
        assert_refused(outcome, 4, "store_full", f"no space is left on the disk that holds {place / 'v3.db'}", GO_ON)
    with small_disk(tmp_path / "other", "64k") as place:
        outcome = sessionlift("migrate", source, place / "v3.db")
        assert_refused(outcome, 4, "store_full", f"no space is left on the disk that holds {place / 'v3.db'}", GO_ON)


@pytest.mark.slow
def test_a_run_goes_on_when_there_is_room_again(sessionlift: Warm, legacy: Legacy, tmp_path: Path) -> None:
    source = legacy(sessions=60, traps="usual")
    with small_disk(tmp_path / "disk", "3m") as place:
        ballast = place / "ballast"
        ballast.write_bytes(b"\0" * 2_000_000)
        target = place / "v3.db"
        outcome = sessionlift("migrate", source, target, limits={"max_rows": 200})
        assert_refused(outcome, 4, "store_full", "no space is left", GO_ON)
        ballast.unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
        again = sessionlift("migrate", source, target, "--json")
        assert again.code == 0, again.out + again.err
        assert query(target, "SELECT count(*) FROM session_traces") == [(60,)]
        assert query(target, "PRAGMA integrity_check") == [("ok",)]
        assert not [path for path in place.iterdir() if path.name.endswith(("-wal", "-shm", "-journal"))]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a b%20?#'\"ü;", "two slashes"])
@pytest.mark.parametrize("system", ["synth", "langswarm"])
def test_temporary_files_in_a_directory_of_an_odd_name(
    sessionlift: Warm, legacy: Legacy, target: Path, tmp_path: Path, system: str, name: str
) -> None:
    source = tmp_path / "sessions.db"
    if system == "synth":
        source = legacy(sessions=4, traps="none")
    else:
        make_langswarm_v1(source, sessions=4, traps="none")
    place = tmp_path / name
    place.mkdir()
    # what begins with two slashes is another thing in a URI
    named = f"/{place}" if name == "two slashes" else str(place)
    moved = sessionlift("migrate", source, target, "--json", env={"TMPDIR": named})
    assert moved.code == 0, moved.err
    verified = sessionlift("verify", source, target, "--json", env={"TMPDIR": named})
    assert (verified.code, list(place.iterdir())) == (0, []), verified.err


def test_temporary_files_below_a_path_that_is_not_utf8_are_refused(
    sessionlift: Warm, legacy: Legacy, target: Path, tmp_path: Path
) -> None:
    place = tmp_path / "\udcff"
    place.mkdir()
    outcome = sessionlift("migrate", legacy(sessions=4), target, env={"TMPDIR": str(place)})
    assert_refused(outcome, 4, "store", "\\udcff: the path is not UTF-8", "set TMPDIR")
    assert list(place.iterdir()) == []


@pytest.mark.slow
@pytest.mark.torture
@pytest.mark.parametrize("size", ["64k", "200k", "400k", "600k", "1m"] if TORTURE else ["64k", "600k"])
def test_temporary_files_on_a_disk_that_fills_up(
    sessionlift: Warm, legacy: Legacy, target: Path, tmp_path: Path, size: str
) -> None:
    source = legacy(sessions=200, traps="usual")
    with small_disk(tmp_path / "disk", size) as place:
        outcome = sessionlift("migrate", source, target, env={"TMPDIR": str(place)})
        assert_refused(outcome, 4, "store_full", f"temporary files in {place}", "set TMPDIR", "nothing was written")
        assert list(place.iterdir()) == []
    assert sessionlift("migrate", source, target, "--no-verify", "--json").code == 0


def test_a_target_in_a_read_only_place(sessionlift: Warm, good: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "8m", read_only_after=lambda: None) as place:
        outcome = sessionlift("migrate", good, place / "v3.db")
        assert_refused(outcome, 4, "store_read_only", f"{place / 'v3.db'} may not be written", PERMISSIONS)
        assert list(place.iterdir()) == []


def test_a_filled_target_in_a_read_only_place(sessionlift: Warm, good: Path, tmp_path: Path) -> None:
    filled = tmp_path / "v3.db"
    assert sessionlift("migrate", good, filled, "--json").code == 0
    with small_disk(tmp_path / "disk", "8m", read_only_after=lambda: _copy(filled, tmp_path / "disk")) as place:
        before = snapshot(place)
        outcome = sessionlift("migrate", good, place / "v3.db")
        assert_refused(outcome, 4, "store_read_only", f"{place / 'v3.db'} may not be written", PERMISSIONS)
        assert sessionlift("status", place / "v3.db").code == 0
        assert snapshot(place) == before


@pytest.mark.slow
def test_a_target_that_another_program_left_in_the_middle_of_a_write(
    sessionlift: Warm, legacy: Legacy, target: Path
) -> None:
    source = legacy(sessions=60, traps="usual")
    assert sessionlift("migrate", source, target, "--json").code == 0
    before = query(target, "SELECT * FROM messages ORDER BY id")
    killed = (
        "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "db.execute('PRAGMA cache_size = 1'); db.execute('BEGIN');"
        "db.execute('UPDATE messages SET content = 1'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", killed, str(target)], check=True)
    assert target.with_name("v3.db-journal").exists(), "the journal that has to be rolled back"
    again = sessionlift("migrate", source, target, "--json")
    assert again.code == 0, again.out + again.err
    assert query(target, "SELECT * FROM messages ORDER BY id") == before
    assert {path.name for path in target.parent.iterdir()} == {"v3.db", "v3.db.reports"}


# --- the call ---------------------------------------------------------------------------------------------


def test_a_session_that_is_not_there(sessionlift: Warm, good: Path, target: Path) -> None:
    outcome = sessionlift("migrate", good, target, "--only", "none", "--only", "nor-this")
    assert_refused(outcome, 2, "usage", "no session", "nor 1 more")
    assert_nothing_made(target)


def test_a_time_zone_that_is_not_there(sessionlift: Warm, good: Path, target: Path) -> None:
    outcome = sessionlift("migrate", good, target, "--timezone", "Nowhere/Land")
    assert_refused(outcome, 2, "usage", "Nowhere/Land")
    assert_nothing_made(target)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "must be an object"),
        ('{"else": 1}', "must be an object"),
        ('{"message_types": {"note": "poem"}}', "'poem'"),
        ('{"event_types": {"odd": "cais", "odd": "runtime"}}', "the key 'odd' is there more than once"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_a_mapping_file_that_is_wrong(
    sessionlift: Warm, good: Path, target: Path, tmp_path: Path, text: str, said: str
) -> None:
    mapping = tmp_path / "mapping.json"
    mapping.write_text(text)
    outcome = sessionlift("migrate", good, target, "--mapping", mapping)
    assert outcome.code == 2
    assert "Error [mapping_file]" in outcome.err
    assert said in outcome.err
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [(), ("one",), ("--on-error", "shrug", "a", "b"), ("--only",), ("a", "b", "c"), ("", "b")]
)
def test_a_call_that_is_wrong(sessionlift: Warm, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    outcome = sessionlift("migrate", *arguments, cwd=tmp_path)
    assert outcome.code == 2
    assert outcome.err
    assert "Traceback" not in outcome.err


def test_an_error_as_json(sessionlift: Warm, tmp_path: Path, target: Path) -> None:
    outcome = sessionlift("migrate", tmp_path / "none.duckdb", target, "--json")
    said = json.loads(outcome.out)
    assert (outcome.code, said["ok"], said["code"]) == (3, False, "store_not_found")
    assert Path(said["report"]).is_file()
    assert outcome.err == ""


def test_quiet_says_nothing_and_a_pipe_gets_plain_lines(
    sessionlift: Warm, good: Path, target: Path, tmp_path: Path
) -> None:
    told = sessionlift("migrate", good, target)
    assert "Moving 4 sessions" in told.err
    assert "\x1b" not in told.err + told.out
    assert "Report: " in told.out
    quiet = sessionlift("migrate", good, tmp_path / "other.db", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_the_report_goes_where_it_was_asked_to(sessionlift: Warm, good: Path, target: Path, tmp_path: Path) -> None:
    asked = tmp_path / "new" / "report.json"
    assert sessionlift("migrate", good, target, "--report-file", asked, "--json").code == 0
    assert json.loads(asked.read_text())["status"] == "completed"
    assert [path.name for path in target.parent.iterdir()] == ["v3.db"]
    assert sessionlift("report", "check", asked).code == 0


def _copy(path: Path, folder: Path) -> None:
    shutil.copy(path, folder)
