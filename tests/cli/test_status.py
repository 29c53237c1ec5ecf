"""``sessionlift status``: what the ledger says, without a change to the target."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.support.moved import snapshot
from tests.support.run_fixtures import Legacy
from tests.support.warm import Warm


def test_sessions_runs_and_quarantine(sessionlift: Warm, legacy: Legacy, target: Path) -> None:
    source = legacy(sessions=8, traps="all")
    assert sessionlift("migrate", source, target, "--json").code == 1
    before = snapshot(target.parent)
    found = json.loads(sessionlift("status", target, "--json").out)
    assert found["sessions"] == {"moved": 8}
    assert found["quarantined_rows"] > 0
    assert [run["status"] for run in found["runs"]] == ["completed_with_findings"]
    text = sessionlift("status", target)
    assert text.code == 0
    assert "8 sessions moved" in text.out
    assert snapshot(target.parent) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_run_that_was_killed_is_told(sessionlift: Warm, legacy: Legacy, target: Path) -> None:
    source = legacy(sessions=8, traps="usual")
    calm = sessionlift("migrate", source, target.with_name("calm.db"), limits={"max_rows": 80})
    last = max(i for i, what in enumerate(calm.boundaries, 1) if what.startswith("DETACH"))
    assert sessionlift("migrate", source, target, at=last, limits={"max_rows": 80}).code == -9
    told = sessionlift("status", target)
    assert told.code == 0
    assert "never came to its end; run the same command again" in told.out


def test_a_store_without_a_ledger(sessionlift: Warm, legacy: Legacy, target: Path, tmp_path: Path) -> None:
    outcome = sessionlift("status", legacy(sessions=4))
    assert outcome.code == 4
    assert "no ledger: nothing was moved into it" in outcome.err
    for missing in (target, tmp_path / "nowhere" / "v3.db"):
        outcome = sessionlift("status", missing)
        assert (outcome.code, "Error [store_not_found]" in outcome.err) == (4, True)
    assert list(target.parent.iterdir()) == []
