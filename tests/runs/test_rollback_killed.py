"""A rollback that is killed anywhere: each session is whole in one place, and the same command goes on."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support.moved import change, query
from tests.support.roads_back import SWARM, SYNTH, System
from tests.support.taken_back import ledger, notes
from tests.support.warm import Outcome, Warm

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")

SHARDS = 4


@dataclass
class Killer:
    """A moved store with new writes, what a calm rollback makes of it, and the boundaries of that."""

    sessionlift: Warm
    system: System
    folder: Path
    boundaries: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source, self.target = self.folder / "legacy.db", self.folder / "new.db"
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()
        self.system.make(self.source)
        assert self.sessionlift("migrate", self.source, self.target, "--quiet").code == 0
        self.system.change(self.target)
        self.before = self.system.living(self.target)
        self.state = ledger(self.target)
        self.old = self.system.legacy(self.source)
        source, target = self.copy("calm")
        calm = self.run(target)
        assert calm.code == 0, calm.err
        self.boundaries = calm.boundaries
        self.new = self.system.legacy(source)
        self.after = ledger(target)
        assert self.new != self.old
        assert self.system.living(target) == {}

    def copy(self, name: str) -> tuple[Path, Path]:
        """Both stores at places of their own, of which the ledger knows."""
        folder = self.folder / name
        folder.mkdir()
        source, target = folder / "legacy.db", folder / "new.db"
        shutil.copy(self.source, source)
        shutil.copy(self.target, target)
        change(target, "UPDATE sessionlift_runs SET source = replace(source, ?, ?)", str(self.source), str(source))
        return source, target

    def run(self, target: Path, at: int = 0) -> Outcome:
        return self.sessionlift("rollback", target, "--all", "--json", at=at, env={"TMPDIR": str(self.temporary)})

    def check(self, boundary: int) -> None:
        what = f"boundary {boundary} ({self.boundaries[boundary - 1]})"
        source, target = self.copy(f"at{boundary}")
        killed = self.run(target, at=boundary)
        assert killed.code == -signal.SIGKILL, f"{what}: the run ended with {killed.code}: {killed.err}"
        states, legacy, living = ledger(target), self.system.legacy(source), self.system.living(target)
        for key, state in states.items():
            if state in ("rolled_back", "deleted"):
                assert legacy.get(key) == self.new.get(key), f"{what}: {key} is not whole in the legacy store"
                assert key not in living, f"{what}: {key} is in both stores"
            else:
                assert living.get(key) == self.before.get(key), f"{what}: {key} is not whole in the target"
                assert legacy.get(key) in (self.old.get(key), self.new.get(key)), f"{what}: {key} lies there in part"
        again = self.run(target)
        assert again.code == 0, f"{what}: {again.out}{again.err}"
        assert self.system.legacy(source) == self.new, what
        assert self.system.living(target) == {}, what
        assert ledger(target) == self.after, what
        assert notes(target) == [], what
        assert query(target, "PRAGMA integrity_check") == [("ok",)], what
        shutil.rmtree(target.parent)


@pytest.fixture(scope="module", params=[SWARM, SYNTH], ids=lambda system: system.name)
def killer(request: pytest.FixtureRequest, sessionlift: Warm, tmp_path_factory: pytest.TempPathFactory) -> Killer:
    system: System = request.param
    return Killer(sessionlift, system, tmp_path_factory.mktemp(f"kills-{system.name}"))


def test_killed_at_some_boundaries_a_rollback_goes_on(killer: Killer) -> None:
    print(f"\n{len(killer.boundaries)} write boundaries")  # noqa: T201 - the number that the docs tell
    seen = killer.boundaries
    commits = [n for n, what in enumerate(seen, 1) if what in ("COMMIT", "commit in DuckDB")]
    leaving = next(n for n, what in enumerate(seen, 1) if what.startswith(f'DELETE FROM "{killer.system.tables[-1]}"'))
    for boundary in (commits[len(commits) // 2], commits[len(commits) // 2] + 1, leaving):
        killer.check(boundary)


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
def test_killed_at_every_boundary_a_rollback_goes_on(killer: Killer, shard: int) -> None:
    for boundary in range(1 + shard, len(killer.boundaries) + 1, SHARDS):
        killer.check(boundary)
