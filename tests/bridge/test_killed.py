"""Processes that share a target, and processes that are killed: each session is whole, in exactly one place."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.bridge.first_uses import ids_in
from tests.support.laws import TORTURE
from tests.support.moved import query

from sessionlift._demo import make_langswarm_v1
from sessionlift.bridge import BridgeCore
from sessionlift.runs import status, verify

PROGRAM = str(Path(__file__).with_name("first_uses.py"))
SESSIONS = int(os.environ.get("SESSIONLIFT_MIXED_SESSIONS", "60"))
PROCESSES = 8 if TORTURE else 4
KILLS = 8 if TORTURE else 4

pytestmark = [
    pytest.mark.slow,
    pytest.mark.torture,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
]


def start(*arguments: object) -> subprocess.Popen[str]:
    words = [sys.executable, "-W", "ignore", PROGRAM, *map(str, arguments)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=_environment())


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def made(folder: Path, sessions: int) -> tuple[Path, Path]:
    make_langswarm_v1(folder / "v1.db", sessions=sessions, seed=2, traps="none")
    with BridgeCore(str(folder / "v1.db"), str(folder / "v2.db")):
        pass
    return folder / "v1.db", folder / "v2.db"


def assert_each_is_there_once(source: Path, target: Path) -> None:
    ids = ids_in(source)
    assert status(str(target)).sessions == {"moved": len(ids)}
    assert sorted(key for (key,) in query(target, "SELECT session_id FROM sessions")) == sorted(ids)
    report = verify(str(source), str(target)).report
    assert report.verification.status == "passed", report.verification.differences[:3]
    assert report.verification.checked_sessions == len(ids)


def test_processes_that_use_the_same_sessions_move_each_once(tmp_path: Path) -> None:
    source, target = made(tmp_path, SESSIONS)
    users = [start(source, target, seed) for seed in range(PROCESSES)]
    told = [user.communicate(timeout=500)[0] for user in users]
    assert [user.returncode for user in users] == [0] * PROCESSES
    assert sum(map(int, told)) == SESSIONS, "the moves that each process says it made"
    assert_each_is_there_once(source, target)


def test_processes_that_are_killed_at_random_lose_and_double_nothing(tmp_path: Path) -> None:
    source, target = made(tmp_path, SESSIONS)
    chance = random.Random(4)  # noqa: S311 - the same each time, as far as the clock lets it
    users = [start(source, target, seed) for seed in range(KILLS // 2)]
    killed = 0
    for kill in range(KILLS):
        time.sleep(chance.uniform(0.2, 1.2))
        victim = chance.randrange(len(users))
        if users[victim].poll() is None:
            users[victim].send_signal(signal.SIGKILL)
            killed += 1
        users[victim].communicate()
        users[victim] = start(source, target, 100 + kill)
    for user in users:
        user.communicate(timeout=500)
        assert user.returncode == 0
    assert killed
    assert_each_is_there_once(source, target)
    runs = status(str(target)).runs
    assert sum(run.status == "running" for run in runs) <= killed, "killed windows stay open in the ledger"
