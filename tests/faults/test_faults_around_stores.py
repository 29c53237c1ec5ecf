"""Locked, read-only, damaged, cut off, out of time: which error, what the stores hold, that the next run goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.faults.spoiling import make_with_log
from tests.support.cutting_proxy import When, cutting_proxy
from tests.support.failing_disk import NAME, SYNC, WRITE, FailingDisk, Fault
from tests.support.laws import TORTURE, strided
from tests.support.made import make_moved
from tests.support.moved import REAL_TABLES, query, rows, snapshot
from tests.support.roads_back import SWARM, SYNTH, System
from tests.support.run_fixtures import Legacy
from tests.support.servers import running_sqld
from tests.support.surroundings import another_process, small_disk
from tests.support.taken_back import ledger
from tests.support.warm import Outcome, Warm

from sessionlift._demo import make_langswarm_v1, make_session_buddy
from sessionlift.reports import check_file
from sessionlift.stores import open_store

pytestmark = [pytest.mark.torture, pytest.mark.slow]


def told(ended: Outcome, exit_code: int, code: str, *words: str) -> dict[str, Any]:
    """The error that ended a command: ours, with the next step, and in a report that the contract allows."""
    assert "Traceback" not in ended.err
    assert ended.out, ended.err
    said: dict[str, Any] = json.loads(ended.out)
    assert (ended.code, said["code"]) == (exit_code, code), said
    assert said["hint"]
    for word in words:
        assert word in said["error"] + said["hint"]
    if "report" in said:
        report = json.loads(Path(said["report"]).read_text())
        assert report["status"] == "failed"
        assert report["errors"][0]["code"] == code
        assert check_file(said["report"]) == []
    return said


@dataclass
class Moved:
    """A store that was moved and then written to, and what a rollback makes of it."""

    system: System
    folder: Path

    @property
    def legacy(self) -> Path:
        return self.folder / "legacy" / "legacy.db"

    @property
    def target(self) -> Path:
        return self.folder / "new" / "new.db"

    def lie(self) -> tuple[Any, ...]:
        return self.system.legacy(self.legacy), self.system.living(self.target), ledger(self.target)

    def taken_back(self, sessionlift: Warm) -> None:
        """The next run goes on to the end that there always is."""
        again = sessionlift("rollback", self.target, "--all", "--json")
        assert again.code == 0, again.out + again.err
        assert self.system.living(self.target) == {}
        assert set(ledger(self.target).values()) <= {"rolled_back", "deleted"}
        assert "said after the move" in str(self.system.legacy(self.legacy))


SIDES = [(SYNTH, "legacy"), (SWARM, "target"), *([(SYNTH, "target"), (SWARM, "legacy")] if TORTURE else [])]
sides = pytest.mark.parametrize(
    ("moved", "which"), SIDES, indirect=["moved"], ids=[f"{system.name}-{which}" for system, which in SIDES]
)


@pytest.fixture
def moved(request: pytest.FixtureRequest, tmp_path: Path) -> Moved:
    made = Moved(request.param, tmp_path)
    make_moved(made.legacy, made.target, make=made.system.make)
    made.system.change(made.target)
    return made


# --- locked, and read-only --------------------------------------------------------------------------------------


def copying(path: Path, goal: Path) -> Callable[[], None]:
    def copy() -> None:
        shutil.copy(path, goal)

    return copy


def holder(path: Path, engine: str) -> str:
    """A program that keeps a store for itself."""
    if engine == "duckdb":
        return f"import duckdb, time; db = duckdb.connect({str(path)!r}); print('ready', flush=True); time.sleep(90)"
    return (
        f"import sqlite3, time; db = sqlite3.connect({str(path)!r}, isolation_level=None);"
        "db.execute('BEGIN EXCLUSIVE'); print('ready', flush=True); time.sleep(90)"
    )


@sides
def test_a_rollback_meets_a_store_that_is_locked_for_longer_than_it_waits(
    sessionlift: Warm, moved: Moved, which: str
) -> None:
    before = moved.lie()
    path = moved.legacy if which == "legacy" else moved.target
    engine = "duckdb" if (which, moved.system) == ("legacy", SYNTH) else "sqlite"
    with another_process(holder(path, engine)):
        ended = sessionlift("rollback", moved.target, "--all", "--json", patience=1)
    told(ended, 3 if which == "legacy" else 4, "store_locked")
    assert moved.lie() == before
    moved.taken_back(sessionlift)


@sides
def test_a_rollback_meets_a_store_in_a_read_only_place(sessionlift: Warm, moved: Moved, which: str) -> None:
    kept = moved.legacy if which == "legacy" else moved.target
    aside = moved.folder / "aside.db"
    shutil.move(kept, aside)
    kept.parent.rename(moved.folder / "was")
    with small_disk(kept.parent, "64m", read_only_after=copying(aside, kept)):
        before = moved.lie()
        told(
            sessionlift("rollback", moved.target, "--all", "--json"),
            3 if which == "legacy" else 4,
            "store_read_only",
        )
        after = moved.lie()
        assert after[:2] == before[:2]
    shutil.move(aside, kept)
    moved.taken_back(sessionlift)


@pytest.mark.parametrize("verb", ["upgrade", "downgrade"])
def test_a_change_in_place_meets_a_read_only_place(sessionlift: Warm, tmp_path: Path, verb: str) -> None:
    old, new = (
        ("session_buddy.v1", "session_buddy.v4") if verb == "upgrade" else ("session_buddy.v4", "session_buddy.v1")
    )
    aside = make_session_buddy(tmp_path / "s.db", generation=old, invocations=20).path
    path = tmp_path / "disk" / "s.db"
    with small_disk(path.parent, "64m", read_only_after=copying(aside, path)):
        before = snapshot(path.parent)
        told(sessionlift(verb, path, "--to", new, "--json"), 4, "store_read_only")
        assert snapshot(path.parent) == before
    assert sessionlift(verb, aside, "--to", new, "--json").code == 0


def test_a_limit_on_the_size_of_files_ends_a_run_in_order(
    sessionlift: Warm, legacy_store: Legacy, target: Path
) -> None:
    """A quota that needs no root, as ``ulimit -f`` sets it."""
    source = legacy_store(sessions=40, traps="usual")
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000));"
        "from sessionlift.cli import main; main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, "migrate", str(source), str(target), "--json"], capture_output=True, text=True
    )
    said = told(Outcome(done.returncode, done.stdout, done.stderr), 4, "store_full", "ulimit")
    assert "report" in said
    assert query(target, "SELECT status FROM sessionlift_runs") == [("failed",)]
    assert sessionlift("migrate", source, target, "--json").code == 0
    assert query(target, "SELECT count(*) FROM session_traces") == [(40,)]


# --- damaged ----------------------------------------------------------------------------------------------------


def spoil(path: Path, table: str) -> None:
    """Overwrite the first page of a SQLite table, or a part of each block that a DuckDB file uses."""
    data = bytearray(path.read_bytes())
    pages: Iterable[int]
    if data.startswith(b"SQLite"):
        root, size = query(path, "SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_master "
                                 "WHERE name = ?", table)[0]  # fmt: skip
        pages = [(root - 1) * size]
    else:
        pages = range(3 * 4096 + 64, len(data), 256 << 10)
    for page in pages:
        data[page : page + 512] = b"\xa5" * 512
    path.write_bytes(data)


@sides
def test_a_damaged_page_ends_a_rollback_and_a_move(sessionlift: Warm, moved: Moved, which: str) -> None:
    path = moved.legacy if which == "legacy" else moved.target
    whole = path.read_bytes()
    before = moved.lie()
    spoil(path, "sessions" if moved.system is SWARM else "session_traces")
    spoiled = path.read_bytes()
    ended = sessionlift("rollback", moved.target, "--all", "--json")
    told(ended, 3 if which == "legacy" else 4, "store_corrupt", "backup")
    if which == "legacy":
        assert (moved.system.living(moved.target), ledger(moved.target)) == before[1:]
        fresh = moved.folder / "fresh.db"
        told(sessionlift("migrate", path, fresh, "--json"), 3, "store_corrupt", "backup")
        assert path.read_bytes() == spoiled
    else:
        assert moved.system.legacy(moved.legacy) == before[0]
    path.write_bytes(whole)
    moved.taken_back(sessionlift)


def goes_on(sessionlift: Warm, system: System, source: Path, target: Path, expected: Path) -> None:
    """With the whole log there again the next run takes what it lacked, and holds every value against the source."""
    again = sessionlift("migrate", source, target, "--json")
    assert again.code == 0, again.out
    assert sessionlift("verify", source, target, "--json").code == 0
    one, other = system.living(expected), system.living(target)
    assert {key: len(rows) for key, rows in one.items()} == {key: len(rows) for key, rows in other.items()}


@pytest.mark.parametrize("share", [0.99, 0.5, 0.02] if TORTURE else [0.5])
def test_a_log_that_is_cut_short_is_read_as_far_as_it_goes(
    sessionlift: Warm, tmp_path: Path, target: Path, share: float
) -> None:
    source = tmp_path / "source" / "v2.duckdb"
    source.parent.mkdir()
    make_with_log(source)
    log = Path(f"{source}.wal")
    whole = log.read_bytes()
    expected = target.with_name("whole.db")
    assert sessionlift("migrate", source, expected, "--json").code == 0

    log.write_bytes(whole[: int(len(whole) * share)])
    before = snapshot(source.parent)
    ended = sessionlift("migrate", source, target, "--json")
    assert snapshot(source.parent) == before
    if ended.code != 0:
        told(ended, 3, "store_corrupt")
    log.write_bytes(whole)
    goes_on(sessionlift, SYNTH, source, target, expected)


KILLED_IN_WAL = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA journal_mode = WAL")
db.execute("PRAGMA wal_autocheckpoint = 0")
for (key,) in db.execute("SELECT session_id FROM sessions").fetchall():
    db.execute("UPDATE sessions SET metadata = json_set(metadata, '$.late', 1) WHERE session_id = ?", (key,))
os._exit(0)
"""


@pytest.mark.parametrize("share", [0.99, 0.5, 0.02] if TORTURE else [0.5])
def test_a_sqlite_log_that_is_cut_short_is_read_as_far_as_it_goes(
    sessionlift: Warm, tmp_path: Path, target: Path, share: float
) -> None:
    source = tmp_path / "source" / "v1.db"
    source.parent.mkdir()
    make_langswarm_v1(source, sessions=6, traps="none")
    subprocess.run([sys.executable, "-c", KILLED_IN_WAL, str(source)], check=True)
    log = source.with_name("v1.db-wal")
    whole = log.read_bytes()
    source.with_name("v1.db-shm").unlink(missing_ok=True)
    expected = target.with_name("whole.db")
    assert sessionlift("migrate", source, expected, "--json").code == 0

    log.write_bytes(whole[: int(len(whole) * share)])
    before = snapshot(source.parent)
    ended = sessionlift("migrate", source, target, "--json")
    assert snapshot(source.parent) == before
    assert ended.code == 0, ended.out
    assert len(SWARM.living(target)) == 6
    log.write_bytes(whole)
    goes_on(sessionlift, SWARM, source, target, expected)


# --- the clock --------------------------------------------------------------------------------------------------

BACK = Fault("clock", WRITE | SYNC | NAME, 0, stays=True, jump=-40 * 86400)


@pytest.mark.parametrize("system", [SYNTH, SWARM] if TORTURE else [SWARM], ids=lambda system: system.name)
def test_a_clock_that_jumps_back_changes_nothing_but_times(
    on_disk: Warm, disk: FailingDisk, tmp_path: Path, system: System
) -> None:
    source, target = tmp_path / "legacy.db", tmp_path / "new.db"
    system.make(source)
    calm = tmp_path / "calm.db"
    assert on_disk("migrate", source, calm, "--quiet").code == 0
    old = system.legacy(source)

    def run(at: int, *command: object) -> dict[str, Any]:
        with disk.failing(BACK, tmp_path / "new.db", at=at) as seen:
            ended = on_disk(*command, "--json")
        assert ended.code == 0, ended.out + ended.err
        assert "new.db" in seen.what, "the clock did not jump"
        answer: dict[str, Any] = json.loads(ended.out)
        assert check_file(answer["path"]) == []
        return answer

    # in the middle of a move; then a whole run in the past of the first; the same for the way back
    first = run(60, "migrate", source, target)
    assert first["report"]["migrated_sessions"] == 3
    assert system.living(target) == system.living(calm)
    second = run(1, "migrate", source, target)
    assert (second["report"]["migrated_sessions"], second["report"]["skipped_sessions"]) == (0, 3)
    assert first["report"]["run_id"] != second["report"]["run_id"]
    system.change(target)
    back = run(60, "rollback", target, "--all")
    assert back["report"]["failed_sessions"] == 0
    assert system.living(target) == {}
    assert system.legacy(source) != old
    status = json.loads(on_disk("status", target, "--json").out)
    assert "completed" in json.dumps(status)
    assert set(query(target, "SELECT status FROM sessionlift_runs")) == {("completed",)}


# --- the road to a server ---------------------------------------------------------------------------------------


def rows_at(url: str) -> dict[str, list[tuple[Any, ...]]]:
    with open_store(url, mode="ro", role="target") as store:
        return {table: store.query(f'SELECT rowid, * FROM "{table}" ORDER BY rowid') for table in REAL_TABLES}


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.sqld
@pytest.mark.parametrize("when", ["before", "after"] if TORTURE else ["after"])
def test_a_connection_that_is_cut_ends_a_move_and_the_next_one_goes_on(
    sessionlift: Warm, legacy_store: Legacy, tmp_path: Path, target: Path, when: When
) -> None:
    source, limits = legacy_store(sessions=4, traps="usual"), {"max_rows": 80}
    assert sessionlift("migrate", source, target, "--json").code == 0
    with running_sqld(made(tmp_path / "calm")) as (url, _), cutting_proxy(url) as (through, proxy):
        calm = sessionlift("migrate", source, through, "--json", cwd=tmp_path, limits=limits)
        assert calm.code == 0, calm.out + calm.err
        count = proxy.seen
    print(f"\n{count} requests")  # noqa: T201 - the number that the docs tell
    # most of the time goes by until the server gives up the transaction that was cut
    at = strided(count, 16) if TORTURE else (count // 2,)
    for number in at:
        with running_sqld(made(tmp_path / f"{when}-{number}")) as (url, _), cutting_proxy(url) as (through, proxy):
            proxy.orders(number, when)
            ended = sessionlift("migrate", source, through, "--json", cwd=tmp_path, limits=limits)
            if ended.code != 0:
                said = json.loads(ended.out)
                assert (ended.code, said["code"]) == (4, "store_unavailable"), f"{when} {number}: {ended.out}"
                assert "run the same command again" in said["hint"]
            assert "Traceback" not in ended.err
            proxy.orders(0, when)
            again = sessionlift("migrate", source, through, "--json", cwd=tmp_path, limits=limits)
            assert again.code == 0, f"{when} {number}: {again.out}{again.err}"
            assert rows_at(url) == rows(target), f"{when} {number}"
