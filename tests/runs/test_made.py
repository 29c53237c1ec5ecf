"""The moved stores that tests start from are what a move leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.made import make_moved, make_synth_v2
from tests.support.moved import query

from sessionlift import _demo
from sessionlift.runs import TransferOptions, migrate, verify

TOLD_BY_THE_CLOCK = {"run_id", "moved_at", "started_at", "finished_at"}


def contents(target: Path) -> dict[str, list[dict[str, object]]]:
    """Every row of every table but what the clock makes of it; and of a run, whatever it says."""
    found = {}
    for (table,) in query(target, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1"):
        names = [row[1] for row in query(target, f'PRAGMA table_info("{table}")') if row[1] not in TOLD_BY_THE_CLOCK]
        rows = query(target, f'SELECT {", ".join(names)} FROM "{table}"')
        found[str(table)] = sorted((dict(zip(names, row, strict=True)) for row in rows), key=repr)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("make", [make_synth_v2, _demo.make_langswarm_v1], ids=["synth", "langswarm"])
def test_a_copied_move_is_the_move_of_the_copy(make: object, tmp_path: Path) -> None:
    assert callable(make)
    source, target, own = tmp_path / "legacy.store", tmp_path / "copied.db", tmp_path / "moved.db"
    for _ in range(2):
        make_moved(source, target, make=make, sessions=5)
        migrate(str(source), str(own), TransferOptions())
        assert json.dumps(contents(target), default=repr) == json.dumps(contents(own), default=repr)
        assert verify(str(source), str(target)).report.verification.status == "passed"
        assert migrate(str(source), str(target), TransferOptions()).report.migrated_sessions == 0
        for path in tmp_path.glob("*.db"):
            path.unlink()
