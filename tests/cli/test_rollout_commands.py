"""``rollout``, ``backfill``, ``catch-up`` and what ``status`` says of them, as a user meets them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sessionlift._demo import make_langswarm_v1
from sessionlift.bridge import BridgeCore
from sessionlift.cli import main


@pytest.fixture
def stores(tmp_path: Path) -> tuple[str, str]:
    make_langswarm_v1(tmp_path / "v1.db", sessions=6, seed=1, traps="none")
    source, target = str(tmp_path / "v1.db"), str(tmp_path / "v2.db")
    with BridgeCore(source, target, rollout="ledger"):
        pass
    return source, target


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_a_rollout_is_set_and_shown(stores: tuple[str, str]) -> None:
    _, target = stores
    assert "no rollout is set" in run("rollout", target).output
    out = run(
        "rollout", target, "--mode", "lazy", "--share", "0.25", "--allow", "me", "--deny", "you", "--pause"
    ).output
    assert "lazy, share 0.25, PAUSED" in out
    assert "allow: me" in out
    assert "deny: you" in out
    found = json.loads(run("rollout", target, "--resume", "--unlist", "you", "--json").output)
    assert found["rollout"] == {
        "mode": "lazy",
        "share": 0.25,
        "allow": ["me"],
        "deny": [],
        "paused": False,
        "shadow_budget": 10,
    }
    assert json.loads(run("rollout", target, "--show", "--json").output) == found


@pytest.mark.parametrize(
    "words",
    [
        ("--share", "1.5"),
        ("--mode", "eager"),
        ("--pause", "--resume"),
        ("--show", "--share", "1"),
        ("--shadow-budget", "0"),
        ("--allow", "x", "--deny", "x"),
        ("--allow", "x", "--unlist", "x"),
        ("--deny", "x", "--allow", "y", "--deny", "z", "--unlist", "z"),
    ],
)
def test_a_rollout_that_makes_no_sense_is_wrong_usage(stores: tuple[str, str], words: tuple[str, ...]) -> None:
    assert run("rollout", stores[1], *words).exit_code == 2
    told = run("rollout", stores[1], *words, "--json")
    assert told.exit_code == 2
    assert (json.loads(told.stdout)["ok"], json.loads(told.stdout)["code"]) == (False, "usage")
    assert "no rollout is set" in run("rollout", stores[1]).output


def test_a_rollout_needs_a_target(stores: tuple[str, str], tmp_path: Path) -> None:
    assert run("rollout", stores[0], "--mode", "lazy").exit_code == 4
    assert run("rollout", str(tmp_path / "none.db"), "--mode", "lazy").exit_code == 4


def test_a_backfill_moves_all_and_status_tells_it(stores: tuple[str, str]) -> None:
    source, target = stores
    assert json.loads(run("status", target, source, "--json").output)["waiting"]["left"] == 6
    found = run("backfill", source, target)
    assert found.exit_code == 0, found.output
    assert "6 of 6 sessions moved" in found.output
    assert "Left in the legacy store: 0 sessions" in found.output
    told = run("status", target, source).output
    assert "0 sessions left in the legacy store" in told
    assert "6 sessions moved" in told
    assert run("backfill", source, target, "--rate", "0").exit_code == 2


def test_a_conflict_is_shown_with_both_tails_and_settled(stores: tuple[str, str]) -> None:
    source, target = stores
    run("backfill", source, target)
    with closing(sqlite3.connect(source)) as db, db:
        key, text = db.execute("SELECT session_id, history FROM sessions ORDER BY rowid").fetchone()
        history = json.loads(text)
        history["messages"].append({**history["messages"][-1], "content": "old tail"})
        db.execute("UPDATE sessions SET history = ? WHERE session_id = ?", (json.dumps(history), key))
    with closing(sqlite3.connect(target)) as db, db:
        db.execute(
            "INSERT INTO session_messages (session_id, message_id, role, content, timestamp) "
            "VALUES (?, 'm', 'user', 'new tail', '2026-11-21 00:00:00')",
            (key,),
        )
    found = run("catch-up", source, target)
    assert found.exit_code == 1
    assert '"old tail"' in found.output
    assert '"new tail"' in found.output
    assert "1 sessions in conflict" in run("status", target).output
    conflicts = json.loads(run("catch-up", source, target, "--json", "--quiet").output)["conflicts"]
    assert [each["session_id"] for each in conflicts] == [key]
    assert run("catch-up", source, target, "--on-conflict", "append_legacy").exit_code == 0
    assert "in conflict" not in run("status", target).output
    assert run("catch-up", source, target).exit_code == 0
