"""Two runs on one target at once: nothing is doubled, and each ends with a clear outcome."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.made import make_moved
from tests.support.moved import content, difference, query, session_ids
from tests.support.run_fixtures import Legacy
from tests.support.warm import Warm

from sessionlift.ledger import Ledger
from sessionlift.reports import utc_now
from sessionlift.runs import _lone_file
from sessionlift.stores import _sqlfile, open_store

PROGRAM = "import sys; from sessionlift.cli import main; main(sys.argv[1:])"


@pytest.mark.slow
def test_two_runs_at_once_share_the_work(sessionlift: Warm, legacy_store: Legacy, target: Path, tmp_path: Path) -> None:
    source = legacy_store(sessions=40, traps="usual")
    alone = tmp_path / "alone.db"
    assert sessionlift("migrate", source, alone, "--json").code == 0

    both = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "migrate", str(source), str(target), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120) for process in both]

    moved = 0
    for process, (out, err) in zip(both, said, strict=True):
        assert "Traceback" not in err
        answer = json.loads(out)
        if process.returncode == 0:
            report = answer["report"]
            assert report["migrated_sessions"] + report["skipped_sessions"] == 40
            assert report["failed_sessions"] == 0
            moved += report["migrated_sessions"]
        else:
            # it may lose the race for the target, but must say so
            assert (process.returncode, answer["code"]) == (4, "store_locked"), out
    assert any(process.returncode == 0 for process in both)
    if all(process.returncode == 0 for process in both):
        assert moved == 40
    assert difference(content(alone), content(target)) == ""
    assert query(target, "PRAGMA journal_mode") == [("delete",)]
    assert {path.name for path in target.parent.iterdir()} == {"v3.db", "v3.db.reports"}


@pytest.mark.slow
def test_a_reader_does_not_keep_a_run_from_ending(sessionlift: Warm, legacy_store: Legacy, target: Path) -> None:
    source = legacy_store(sessions=8, traps="usual")
    assert sessionlift("migrate", source, target, "--only", session_ids(source)[0], "--json").code == 0
    reader = (
        "import sqlite3, sys, time; db = sqlite3.connect(sys.argv[1]); db.execute('BEGIN');"
        "db.execute('SELECT count(*) FROM events').fetchall(); print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", reader, str(target)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        done = sessionlift("migrate", source, target, "--json", patience=1)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    # a rollback journal lets nobody write while somebody reads: that has to be told, not waited for for ever
    assert done.code in (0, 4)
    if done.code == 4:
        assert json.loads(done.out)["code"] == "store_locked"
    assert sessionlift("migrate", source, target, "--json").code == 0
    assert query(target, "SELECT count(*) FROM session_traces") == [(8,)]


def test_of_runs_that_end_together_the_last_one_waits_for_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "v2.duckdb", tmp_path / "v3.db"
    make_moved(source, target, sessions=1, traps="none")
    waits: list[float] = []
    monkeypatch.setattr("sessionlift.runs._lone_file.time.sleep", waits.append)
    monkeypatch.setattr(_sqlfile, "BUSY_SECONDS", 0.01)
    with open_store(f"sqlite://{target}", mode="rw", role="target") as store:
        store.begin_bulk()
        with closing(sqlite3.connect(target)) as reader:
            reader.execute("SELECT count(*) FROM session_traces").fetchall()
            (told,) = _lone_file.left_alone(store, "mine")
            assert "another program has it open" in told
            last = len(waits)
            Ledger(store).start_run(
                "other", kind="migrate", tool="", source="", generations=("", ""), options={}, started_at=utc_now()
            )
            assert _lone_file.left_alone(store, "mine") == [told]
        assert len(waits) - last < last / 5
        assert _lone_file.left_alone(store, "mine") == []
    assert query(target, "PRAGMA journal_mode") == [("delete",)]
