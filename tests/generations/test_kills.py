"""A schema operation killed at every boundary leaves the old generation whole, or the new one whole."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sessionlift.generations import prepare_target, schema_upgrade

KILLER = Path(__file__).with_name("killer.py")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
]


def boundaries(folder: Path, name: str, operation: str, *arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(KILLER), str(folder), name, operation, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_whole(runs: list[dict[str, Any]], *, least: int) -> None:
    """Killed runs left what was there before, the one that was not killed the new state; all end the same."""
    *killed, finished = runs
    assert len(killed) >= least, f"only {len(killed)} boundaries were seen"
    assert all(run["killed"] for run in killed)
    assert not finished["killed"]
    old, new = killed[0]["left"], finished["left"]
    assert old != new
    for run in killed:
        assert run["left"] in (old, new), f"boundary {run['boundary']} left half of it: {run['left']['tables']}"
        assert run["again"] == new, f"boundary {run['boundary']}: the same command did not end the same"
    # everything is one transaction, so only the kill after its COMMIT may show the new state
    assert all(run["left"] == old for run in killed)


@pytest.mark.parametrize(
    ("name", "revision", "tables"),
    [
        ("t.db", "synth_v3", 10),
        ("t.db", "langswarm_v1", 1),
        ("t.db", "langswarm_v2", 3),
        ("t.db", "ledger_1", 9),
        ("t.duckdb", "synth_v2", 8),
    ],
)
def test_an_upgrade_killed_at_every_statement_leaves_nothing_or_all(
    tmp_path: Path, name: str, revision: str, tables: int
) -> None:
    runs = boundaries(tmp_path, name, "upgrade", revision)

    assert_whole(runs, least=tables + 4)
    assert runs[0]["left"] == {"objects": [], "stamps": [], "tables": []}
    assert runs[-1]["left"]["stamps"] == [revision]
    assert len(runs[-1]["left"]["tables"]) == tables + 1  # and sessionlift_version


@pytest.mark.parametrize(("name", "generation", "tables"), [("t.db", "synth.v3", 19), ("t.duckdb", "synth.v2", 8)])
def test_a_downgrade_killed_at_every_statement_leaves_all_or_nothing(
    tmp_path: Path, name: str, generation: str, tables: int
) -> None:
    (tmp_path / "start").mkdir()
    prepare_target(str(tmp_path / "start" / name), generation)

    runs = boundaries(tmp_path, name, "downgrade", "base")

    assert_whole(runs, least=tables + 4)
    assert len(runs[0]["left"]["tables"]) == tables + 1
    assert all(run["reader"] == "ok" for run in runs), "a program that only looks must be able to"
    assert runs[-1]["left"] == {"objects": [], "stamps": [], "tables": []}


def test_preparing_a_target_killed_at_every_statement_ends_the_same_when_run_again(tmp_path: Path) -> None:
    runs = boundaries(tmp_path, "t.db", "prepare", "synth.v3")

    assert_whole(runs, least=60)
    assert runs[-1]["left"]["stamps"] == ["ledger_1", "synth_v3"]


def test_an_applications_own_store_adopted_under_kills_keeps_its_sessions(tmp_path: Path) -> None:
    (tmp_path / "start").mkdir()
    store = tmp_path / "start" / "t.db"
    schema_upgrade(str(store), "langswarm_v2")
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("DROP TABLE sessionlift_version")
        connection.execute(
            "INSERT INTO sessions (session_id, user_id, provider, model, backend, context_data) "
            "VALUES ('new', 'u', 'openai', 'gpt-4o', 'hybrid', '{}')"
        )

    runs = boundaries(tmp_path, "t.db", "prepare", "langswarm.v2")

    assert_whole(runs, least=20)
    assert runs[0]["left"]["tables"] == ["session_messages", "session_metrics", "sessions"]
    assert runs[-1]["left"]["stamps"] == ["langswarm_v2", "ledger_1"]


def test_a_ledger_added_under_kills_leaves_the_generation_alone(tmp_path: Path) -> None:
    (tmp_path / "start").mkdir()
    schema_upgrade(str(tmp_path / "start" / "t.db"), "synth_v3")

    runs = boundaries(tmp_path, "t.db", "prepare", "synth.v3")

    assert_whole(runs, least=20)
    assert runs[0]["left"]["stamps"] == ["synth_v3"]
    assert "events" in runs[0]["left"]["tables"]
