"""The copies that runs make by themselves: before the first change, once, told of, and good for a restore."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.support.made import make_moved
from tests.support.moved import change, change_source, query, session_ids, snapshot
from tests.support.run_fixtures import Legacy
from tests.support.surroundings import small_disk
from tests.support.taken_back import V2_MESSAGE, ledger, take_back
from tests.support.warm import Outcome, Warm

from sessionlift._demo import make_langswarm_v1
from sessionlift.errors import StoreFullError, StoreReadOnlyError, UsageError
from sessionlift.generations import schema_upgrade
from sessionlift.reports import check_file
from sessionlift.runs import BackupOptions, TransferOptions, migrate, restore_backup
from sessionlift.runs._auto_backup import NOT_WANTED, refuse_without_room
from sessionlift.runs._content import content_of
from sessionlift.stores import StoreURL, parse_store_url

pytestmark = pytest.mark.slow

V3_MESSAGE = (
    "INSERT INTO messages (session_id, message_type, content, timestamp, event_time, metadata) "
    "VALUES (?, 'user', 'said after the move', '2031-05-06T07:08:09.123456+00:00', 1900000000.5, '{}')"
)
V2_SESSION = (
    "INSERT INTO sessions (session_id, user_id, provider, model, backend, context_data) "
    "VALUES (?, 'u', 'openai', 'm', 'native', '{}')"
)


CHOICES: dict[str, Any] = {"sessions": 6, "seed": 5, "traps": "none"}


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    path = tmp_path / "source" / "v1.db"
    path.parent.mkdir()
    make_langswarm_v1(path, **CHOICES)
    return path


@pytest.fixture
def v2(v1: Path, tmp_path: Path) -> Path:
    """A target that holds one of six sessions."""
    target = tmp_path / "new" / "v2.db"
    make_moved(v1, target, TransferOptions(only=(ids(v1)[0],)), make=make_langswarm_v1, **CHOICES)
    return target


def ids(v1: Path) -> list[str]:
    return [key for (key,) in query(v1, "SELECT session_id FROM sessions ORDER BY rowid")]


def report_of(outcome: Outcome) -> dict[str, Any]:
    assert outcome.code in (0, 1), outcome.out + outcome.err
    told = json.loads(outcome.out)
    assert check_file(told["path"]) == []
    report: dict[str, Any] = told["report"]
    return report


def held(path: Path) -> str:
    """The digest of all that a store holds."""
    url = parse_store_url(str(path))
    return content_of(url if url.engine == "duckdb" else StoreURL("sqlite", path)).digest


def copies(store: Path) -> list[Path]:
    return sorted(store.with_name(f"{store.name}.backups").glob("*"))


# --- migrate --------------------------------------------------------------------------------------------------


def test_a_target_that_holds_data_is_what_it_was_after_a_restore(sessionlift: Warm, v1: Path, v2: Path) -> None:
    change(v2, V2_MESSAGE, ids(v1)[0], "new", "said after the move")
    before = held(v2)

    report = report_of(sessionlift("migrate", v1, v2, "--json"))

    assert report["migrated_sessions"] == 5
    ((backup,),) = [report["backups"]]
    assert (backup["store"], backup["state"]) == (f"libsql://{v2}", "taken")
    assert [str(path) for path in copies(v2)] == [backup["path"]]
    assert backup["digest"] == before
    assert held(v2) != before
    shown = sessionlift("report", "show", next(v2.parent.glob(f"*/{report['run_id']}.json")), cwd=v2.parent).out
    assert backup["path"] in shown
    restored = sessionlift("restore", backup["path"], "--replace", "--json")
    assert json.loads(restored.out)["aside"], restored.err
    assert held(v2) == before
    assert report_of(sessionlift("migrate", v1, v2, "--json"))["migrated_sessions"] == 5, "and can be moved into again"


def test_no_copy_is_made_where_nothing_is_there_or_nothing_is_written(sessionlift: Warm, v1: Path, v2: Path) -> None:
    assert copies(v2) == [], "the target was new"
    one = ids(v1)[0]
    change(v2, V2_MESSAGE, one, "new", "said after the move")
    change(v1, "UPDATE sessions SET history = replace(history, 'm', 'n') WHERE session_id = ?", one)
    first = report_of(sessionlift("migrate", v1, v2, "--json", "--only", one))
    assert [line["code"] for line in first["errors"]] == ["changed_on_both_sides"]
    assert report_of(sessionlift("migrate", v1, v2, "--json", "--dry-run"))["backups"] == []
    assert first["backups"] == []
    assert copies(v2) == []


def test_a_copy_is_made_elsewhere_or_not_at_all_where_that_is_asked_for(
    sessionlift: Warm, v1: Path, v2: Path, tmp_path: Path
) -> None:
    one, two = ids(v1)[1:3]
    done = report_of(sessionlift("migrate", v1, v2, "--json", "--only", one, "--backup-dir", tmp_path / "kept"))
    assert Path(done["backups"][0]["path"]).parent == tmp_path / "kept"
    assert done["options"]["backup_dir"] == str(tmp_path / "kept")
    bare = sessionlift("migrate", v1, v2, "--only", two, "--no-backup")
    assert f"NO backup of libsql://{v2}\n      {NOT_WANTED}\n" in bare.out
    assert copies(v2) == []
    with pytest.raises(UsageError, match="at odds"):
        BackupOptions(False, tmp_path)
    assert sessionlift("rollback", v2, "--all", "--no-backup", "--backup-dir", tmp_path).code == 2


def test_runs_that_go_on_after_each_other_make_one_copy(sessionlift: Warm, v1: Path, v2: Path) -> None:
    before = held(v2)
    calm = v2.with_name("calm.db")
    calm.write_bytes(v2.read_bytes())
    limits = {"max_rows": 8}
    seen = sessionlift("migrate", v1, calm, "--json", limits=limits).boundaries
    commits = [number for number, what in enumerate(seen, 1) if what == "COMMIT"]
    begun = next(number for number, what in enumerate(seen, 1) if "journal_mode = WAL" in what)
    # just after the copy, before the ledger knows of it; then in the middle, twice
    for at in (begun, commits[2] + 1, commits[1] + 1):
        killed = sessionlift("migrate", v1, v2, "--json", limits=limits, at=at)
        assert killed.code == -signal.SIGKILL, killed.err
    report = report_of(sessionlift("migrate", v1, v2, "--json", limits=limits))
    assert report["backups"][0]["state"] == "earlier"
    assert "did not come to its end" in report["backups"][0]["reason"]
    assert [str(path) for path in copies(v2)] == [report["backups"][0]["path"]]
    restore_backup(Path(report["backups"][0]["path"]), replace=True)
    assert held(v2) == before


def test_a_run_that_began_with_an_empty_target_goes_on_without_a_copy(
    sessionlift: Warm, v1: Path, tmp_path: Path
) -> None:
    target, limits = tmp_path / "v2.db", {"max_rows": 8}
    calm = sessionlift("migrate", v1, tmp_path / "calm.db", "--json", limits=limits).boundaries
    commits = [number for number, what in enumerate(calm, 1) if what == "COMMIT"]
    for at in (commits[3] + 1, commits[2] + 1):
        assert sessionlift("migrate", v1, target, "--json", limits=limits, at=at).code == -signal.SIGKILL
        assert ledger(target), "something was moved"
    whole = tmp_path / "whole.db"
    whole.write_bytes(target.read_bytes())
    assert report_of(sessionlift("migrate", v1, target, "--json"))["backups"] == []
    change(whole, V2_SESSION, "of the application")
    assert report_of(sessionlift("migrate", v1, whole, "--json"))["backups"][0]["state"] == "taken"


def test_a_store_of_the_application_is_copied_before_it_gets_a_ledger(
    sessionlift: Warm, v1: Path, tmp_path: Path
) -> None:
    target = tmp_path / "own.db"
    schema_upgrade(str(target), "langswarm_v2")
    change(target, V2_SESSION, "of the application")
    change(target, "DROP TABLE sessionlift_version")
    before = held(target)
    (backup,) = report_of(sessionlift("migrate", v1, target, "--json"))["backups"]
    assert backup["digest"] == before
    restore_backup(Path(backup["path"]), replace=True)
    assert held(target) == before
    refused = sessionlift("migrate", v1, v1, "--json")
    assert (refused.code, copies(v1)) == (2, [])


def test_no_room_for_the_copy_ends_the_run_before_anything_is_written(
    sessionlift: Warm, v1: Path, v2: Path, tmp_path: Path
) -> None:
    before = snapshot(v2.parent)
    with small_disk(tmp_path / "disk", "64k") as place:
        refused = sessionlift("migrate", v1, v2, "--json", "--backup-dir", place / "kept", "--report-file", tmp_path)
        assert list(place.iterdir()) == []
    assert refused.code == 4
    said = json.loads(refused.out)
    assert said["code"] == "store_full"
    assert "--no-backup" in said["hint"]
    assert "--backup-dir" in said["hint"]
    assert snapshot(v2.parent) == before
    with pytest.raises(StoreFullError, match="may need"):
        refuse_without_room(StoreURL("libsql", v2), Path("/proc"))


def test_an_interrupt_while_the_copy_is_made_leaves_everything_as_it_was(sessionlift: Warm, v1: Path, v2: Path) -> None:
    calm = v2.with_name("calm.db")
    calm.write_bytes(v2.read_bytes())
    seen = sessionlift("migrate", v1, calm, "--json").boundaries
    begun = next(number for number, what in enumerate(seen, 1) if "journal_mode = WAL" in what)
    syncs = [number for number, what in enumerate(seen[:begun], 1) if what == "fsync a file"]
    before = held(v2)
    ended = sessionlift("migrate", v1, v2, "--json", at=syncs[-2], do="SIGINT")
    assert ended.code == 130, ended.out + ended.err
    assert held(v2) == before
    assert copies(v2) == []
    assert report_of(sessionlift("migrate", v1, v2, "--json"))["backups"][0]["digest"] == before


# --- rollback -------------------------------------------------------------------------------------------------


def test_both_stores_of_a_rollback_are_what_they_were_after_a_restore(
    sessionlift: Warm, v1: Path, tmp_path: Path
) -> None:
    target = tmp_path / "v2.db"
    make_moved(v1, target, make=make_langswarm_v1, **CHOICES)
    change(target, V2_MESSAGE, ids(v1)[0], "new", "said after the move")
    before = {v1: held(v1), target: held(target)}
    assert take_back(sessionlift, target, "--all", "--dry-run").report["backups"] == []

    answer = take_back(sessionlift, target, "--all")

    lines = answer.report["backups"]
    assert {line["store"] for line in lines} == {f"sqlite://{v1}", f"libsql://{target}"}
    assert all(line["state"] == "taken" for line in lines)
    assert all(held(store) != digest for store, digest in before.items())
    for line in lines:
        restore_backup(Path(line["path"]), replace=True)
    assert {store: held(store) for store in before} == before
    assert take_back(sessionlift, target, "--all", "--no-backup").code == 0, "and can be taken back again"
    assert take_back(sessionlift, target, "--all").report["backups"] == [], "nothing was left to do"


@pytest.mark.parametrize("system", ["langswarm", "synth"])
def test_a_target_of_which_nothing_leaves_is_not_copied_though_sessions_wait_in_quarantine(
    sessionlift: Warm, legacy: Legacy, v1: Path, target: Path, system: str
) -> None:
    if system == "langswarm":
        source, one = v1, ids(v1)[0]
        change(v1, "UPDATE sessions SET history = 'broken' WHERE session_id = ?", one)
    else:
        source = legacy(sessions=3, traps="none")
        one = session_ids(source)[0]
        change_source(source, f"UPDATE session_traces SET created_at = '9999-12-31 23:30' WHERE session_id = '{one}'")
    report_of(sessionlift("migrate", source, target, "--json", "--timezone", "America/New_York"))
    assert ledger(target)[one] == "quarantined"
    assert [line["state"] for line in take_back(sessionlift, target, "--all").report["backups"]] == ["taken"]
    before = copies(target), copies(source)
    again = take_back(sessionlift, target, "--all")
    assert (again.code, again.report["backups"]) == (0, [])
    assert (copies(target), copies(source)) == before
    assert query(target, "SELECT status FROM sessionlift_runs")[-1] == ("completed",), "the ledger knows of the run"


def test_a_target_is_not_copied_for_sessions_that_stay_in_it(sessionlift: Warm, v1: Path, v2: Path) -> None:
    one = ids(v1)[0]
    change(v2, V2_MESSAGE, one, "new", "said after the move")
    change(v1, "UPDATE sessions SET updated_at = '2031-01-01T00:00:00' WHERE session_id = ?", one)
    answer = take_back(sessionlift, v2, "--all")
    assert (answer.errors, answer.report["backups"]) == ({one: "legacy_changed"}, [])
    assert copies(v2) == copies(v1) == []


def test_a_legacy_store_that_is_not_written_to_is_not_copied(sessionlift: Warm, v1: Path, v2: Path) -> None:
    before = snapshot(v1.parent)
    (line,) = take_back(sessionlift, v2, "--all").report["backups"]
    assert line["store"] == f"libsql://{v2}"
    assert snapshot(v1.parent) == before


def test_a_target_that_keeps_its_sessions_and_a_new_file_are_not_copied(sessionlift: Warm, v1: Path, v2: Path) -> None:
    change(v2, V2_MESSAGE, ids(v1)[0], "new", "said after the move")
    (line,) = take_back(sessionlift, v2, "--all", "--keep-target").report["backups"]
    assert line["store"] == f"sqlite://{v1}"
    new = v1.parent / "again.db"
    (line,) = take_back(sessionlift, v2, "--all", "--to", new).report["backups"]
    assert line["store"] == f"libsql://{v2}"
    assert copies(new) == []


def test_a_rollback_that_goes_on_makes_no_second_copies(sessionlift: Warm, legacy: Legacy, target: Path) -> None:
    source = target.parent.with_name("source") / "legacy.duckdb"
    make_moved(source, target, sessions=2, traps="none", dress="mixed", seed=1)
    change(target, V3_MESSAGE, session_ids(source)[0])
    before = {source: held(source), target: held(target)}
    saved = source.read_bytes(), target.read_bytes()
    seen = sessionlift("rollback", target, "--all", "--json").boundaries
    written = seen.index("COMMIT in DuckDB") + 2  # just after it
    source.write_bytes(saved[0])
    target.write_bytes(saved[1])
    first = {store: copies(store) for store in before}

    killed = sessionlift("rollback", target, "--all", "--json", at=written)
    assert killed.code == -signal.SIGKILL
    answer = take_back(sessionlift, target, "--all")

    assert answer.code == 0, answer.report["errors"]
    assert {line["state"] for line in answer.report["backups"]} == {"earlier"}
    assert {store: copies(store) for store in before} == first, "what is equal is kept once"
    for line in answer.report["backups"]:
        restore_backup(Path(line["path"]), replace=True)
    assert {store: held(store) for store in before} == before


def test_a_target_that_may_not_be_written_is_not_copied(v1: Path, v2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = ids(v1)[0]
    change(v1, "UPDATE sessions SET history = replace(history, 'm', 'n') WHERE session_id = ?", one)
    monkeypatch.setattr("sessionlift.runs._auto_backup.may_write", lambda _: False)
    with pytest.raises(StoreReadOnlyError, match="read-only"):
        migrate(str(v1), str(v2), TransferOptions())
    assert copies(v2) == []
