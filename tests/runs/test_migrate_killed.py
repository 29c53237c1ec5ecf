"""A run that is killed again and again, or whose worker is killed, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from tests.support.moved import content, difference, query, snapshot
from tests.support.run_fixtures import Legacy
from tests.support.warm import Outcome, Warm

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")]

LIMITS = {"max_rows": 120}


class Killer:
    """One small store, the target of a run that nobody disturbed, and the boundaries of that run."""

    def __init__(self, sessionlift: Warm, source: Path, folder: Path) -> None:
        self.sessionlift, self.source, self.folder = sessionlift, source, folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        calm = self.run(self.folder / "calm" / "v3.db")
        assert calm.code == 1, calm.err  # rows without a session are in quarantine
        self.boundaries = calm.boundaries
        self.expected = content(self.folder / "calm" / "v3.db")

    def run(self, target: Path, *options: str, at: int = 0, do: str = "SIGKILL") -> Outcome:
        target.parent.mkdir(exist_ok=True)
        return self.sessionlift(
            "migrate",
            self.source,
            target,
            "--json",
            *options,
            limits=LIMITS,
            env={"TMPDIR": str(self.temporary)},
            at=at,
            do=do,
        )


@pytest.fixture(scope="module")
def killer(sessionlift: Warm, legacy_store: Legacy, tmp_path_factory: pytest.TempPathFactory) -> Killer:
    folder = tmp_path_factory.mktemp("kills")
    return Killer(sessionlift, legacy_store(sessions=4), folder)


@pytest.mark.slow
def test_killed_again_and_again_a_run_still_ends_with_the_same_target(killer: Killer) -> None:
    target = killer.folder / "often" / "v3.db"
    for boundary in (58, 70, 30, 45, 25):
        killer.run(target, at=boundary)
    assert killer.run(target).code == 1
    assert difference(killer.expected, content(target)) == ""


def test_killed_runs_leave_nothing_that_the_next_run_does_not_remove(killer: Killer) -> None:
    target = killer.folder / "tidy" / "v3.db"
    middle = next(i for i, what in enumerate(killer.boundaries, 1) if 'main."events"' in what)
    assert killer.run(target, at=middle).code == -signal.SIGKILL
    before = snapshot(killer.source.parent)
    assert killer.run(target).code == 1
    deadline = time.monotonic() + 20
    while list(killer.temporary.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.1)  # the killed run's own converter tidies up, too
    assert list(killer.temporary.iterdir()) == []
    assert snapshot(killer.source.parent) == before


@pytest.mark.parametrize(("worker", "code"), [("converter", 3), ("verifier", 4)])
def test_a_worker_that_is_killed_ends_the_run_with_a_report(killer: Killer, worker: str, code: int) -> None:
    target = killer.folder / f"without-{worker}" / "v3.db"
    middle = next(i for i, what in enumerate(killer.boundaries, 1) if 'main."events"' in what)
    ended = killer.run(target, at=middle, do=f"SIGKILL {worker}")
    assert ended.code == code, ended.out + ended.err
    assert f"the {worker} process was killed (SIGKILL)" in ended.out
    assert "run the same command again" in ended.out
    assert "Traceback" not in ended.err
    (report,) = (target.parent / "v3.db.reports").glob("migrate-*Z-????????.json")
    assert '"worker_lost"' in report.read_text()
    assert {path.name for path in target.parent.iterdir()} == {"v3.db", "v3.db.reports"}
    assert query(target, "SELECT status FROM sessionlift_runs") == [("failed",)]

    assert killer.run(target).code == 1
    assert difference(killer.expected, content(target)) == ""
