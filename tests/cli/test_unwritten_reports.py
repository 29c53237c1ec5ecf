"""A command whose report cannot be written says so and ends with 5, whatever it is that it did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.run_fixtures import Legacy
from tests.support.warm import Warm

from sessionlift._demo import make_langswarm_v1, make_session_buddy
from sessionlift.errors import EXIT_OUTPUT

pytestmark = pytest.mark.slow


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """A place for a report below a file."""
    (tmp_path / "file").write_text("no directory", "utf-8")
    return tmp_path / "file" / "report.json"


def unwritten(sessionlift: Warm, nowhere: Path, *command: object, then: str = "") -> None:
    told = sessionlift(*command, "--report-file", nowhere, "--json")
    assert told.code == EXIT_OUTPUT, told.out + told.err
    assert "its report could not be written" in told.err
    assert then in told.err
    answer = json.loads(told.out)
    assert (answer["ok"], answer["path"]) == (False, None)


def test_of_a_verification(sessionlift: Warm, legacy: Legacy, target: Path, nowhere: Path) -> None:
    source = legacy(sessions=2, traps="none")
    assert sessionlift("migrate", source, target).code == 0
    unwritten(sessionlift, nowhere, "verify", source, target, then="run the same command again")


def test_of_a_backfill(sessionlift: Warm, tmp_path: Path, nowhere: Path) -> None:
    make_langswarm_v1(tmp_path / "old.db", sessions=2)
    then = "`sessionlift verify SOURCE TARGET` compares"
    unwritten(sessionlift, nowhere, "backfill", tmp_path / "old.db", tmp_path / "new.db", then=then)
    assert json.loads(sessionlift("status", tmp_path / "new.db", "--json").out)["sessions"]["moved"] == 2


CHECKS = "`sessionlift session-buddy verify STORE` checks"


@pytest.mark.parametrize(("step", "then"), [("verify", "run the same command again"), ("taxonomy", CHECKS)])
def test_of_a_step_in_place(sessionlift: Warm, tmp_path: Path, nowhere: Path, step: str, then: str) -> None:
    store = tmp_path / "skills.db"
    make_session_buddy(store, generation="session_buddy.v4")
    unwritten(sessionlift, nowhere, "session-buddy", step, store, then=then)


@pytest.mark.parametrize(("given", "then"), [((), CHECKS), (("--dry-run",), "run the same command again")])
def test_of_a_change_in_place(
    sessionlift: Warm, tmp_path: Path, nowhere: Path, given: tuple[str, ...], then: str
) -> None:
    store = tmp_path / "skills.db"
    make_session_buddy(store, generation="session_buddy.v3")
    unwritten(sessionlift, nowhere, "upgrade", store, *given, then=then)
    assert sessionlift("session-buddy", "verify", store).code == 0
