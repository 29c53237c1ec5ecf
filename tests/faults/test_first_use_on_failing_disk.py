"""The n-th file operation of a first use fails: the session is served whole from one of the stores, and moves later."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.bridge.first_uses import ids_in
from tests.support.failing_disk import BROKEN, FULL, HICCUP, FailingDisk, Fault
from tests.support.laws import TORTURE, strided
from tests.support.moved import query, snapshot
from tests.support.roads_back import SWARM

from sessionlift._demo import make_langswarm_v1
from sessionlift.bridge import BridgeCore
from sessionlift.runs import verify

pytestmark = [pytest.mark.torture, pytest.mark.slow]

STRIDE = 20
"""The long form: each so many-th operation, divided by TORTURE, fails, from one drawn at random on."""
PROGRAM = str(Path(__file__).with_name("first_use_on_disk.py"))


class User:
    def __init__(self, disk: FailingDisk, folder: Path) -> None:
        self.disk, self.folder = disk, folder
        self.source = folder / "source" / "v1.db"
        self.source.parent.mkdir()
        make_langswarm_v1(self.source, sessions=3, traps="none")
        self.ids = ids_in(self.source)
        self.empty = folder / "empty" / "v2.db"
        self.empty.parent.mkdir()
        with BridgeCore(str(self.source), str(self.empty)):
            pass
        shutil.rmtree(f"{self.empty}.reports", ignore_errors=True)
        path = os.pathsep.join(each for each in sys.path if each)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **disk.environment, "PYTHONPATH": path},
        )

    def use(self, target: Path) -> dict[str, str]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([str(self.source), str(target), self.ids]) + "\n")
        self.process.stdin.flush()
        found: dict[str, str] = json.loads(self.process.stdout.readline())
        return found

    def place(self, name: str) -> Path:
        made = self.folder / name
        shutil.copytree(self.empty.parent, made)
        return made / "v2.db"

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()

    def check(self, fault: Fault, at: int) -> None:
        target = self.place(f"{fault.name}-{at}")
        before = snapshot(self.source.parent)
        with self.disk.failing(fault, target.parent, at=at) as seen:
            found = self.use(target)
        what = f"{fault.name} at {at} ({seen.what}): {found}"
        assert "traceback" not in found, what
        codes = {said.rpartition(" ")[2] for said in found.values()} - {"new", "legacy"}
        # a journal that the disk does not let anybody roll back looks like another's lock
        assert codes <= {"store", "store_full", "store_corrupt", *(["store_locked"] if fault.stays else [])}, what
        # what the ledger names is there, whole; what it does not name is not there at all
        there = rolled_back(target)
        living = SWARM.living(there)
        moved = query(there, "SELECT session_id FROM sessionlift_units WHERE unit = 'session' AND state = 'moved'")
        assert living.keys() == {key for (key,) in moved}, what
        assert {key for key, said in found.items() if said == "new"} <= living.keys(), what
        assert query(there, "PRAGMA integrity_check") == [("ok",)], what
        shutil.rmtree(there.parent)
        assert self.use(target) == dict.fromkeys(self.ids, "new"), what
        checked = verify(str(self.source), str(target)).report
        assert checked.verification.status == "passed", what
        assert checked.verification.checked_sessions == len(self.ids), what
        assert snapshot(self.source.parent) == before, what
        shutil.rmtree(target.parent)


def rolled_back(target: Path) -> Path:
    """A copy of what was left, in which a hot journal is rolled back, as whoever opens the store next does it."""
    copy = target.parent.with_name(f"{target.parent.name}-looked-at") / target.name
    shutil.copytree(target.parent, copy.parent)
    with closing(sqlite3.connect(copy)) as db:
        db.execute("SELECT count(*) FROM sqlite_master").fetchall()
    return copy


@pytest.fixture(scope="module")
def user(disk: FailingDisk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    made = User(disk, tmp_path_factory.mktemp("first-use"))
    yield made
    made.close()


@pytest.mark.parametrize("fault", [FULL, BROKEN, HICCUP] if TORTURE else [HICCUP], ids=lambda fault: fault.name)
def test_a_first_use_that_fails_is_served_from_the_legacy_store_and_moves_later(user: User, fault: Fault) -> None:
    target = user.place(f"count-{fault.name}")
    with user.disk.failing(fault, target.parent) as seen:
        assert user.use(target) == dict.fromkeys(user.ids, "new")
    print(f"\n{seen.operations} operations")  # noqa: T201 - the number that the docs tell
    every = strided(seen.operations, STRIDE) if TORTURE else (seen.operations // 2,)
    for at in every:
        user.check(fault, at)
