"""Behind the lines of an error stands where the report of the run is that it ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sessionlift._demo import make_langswarm_v1
from sessionlift.bridge import BridgeCore
from sessionlift.cli import main
from sessionlift.errors import EXIT_INTERRUPTED, EXIT_SOURCE, EXIT_TARGET, StoreFullError


def ended(code: int, *words: str) -> str:
    """The status in the report that the command names last on standard error, and nowhere else."""
    done = CliRunner().invoke(main, words)
    assert done.exit_code == code, done.output
    first, *_, last = done.stderr.splitlines()
    assert first.startswith("Interrupted" if code == EXIT_INTERRUPTED else "Error [")
    assert last.startswith("Report: "), done.stderr
    assert "Report: " not in done.stdout
    return str(json.loads(Path(last.removeprefix("Report: ")).read_text("utf-8"))["status"])


@pytest.mark.parametrize(
    ("code", "command"),
    [
        (EXIT_SOURCE, "migrate none.duckdb new.db"),
        (EXIT_SOURCE, "verify none.duckdb new.db"),
        (EXIT_TARGET, "rollback none.db --all"),
        (EXIT_TARGET, "upgrade none.db --report-file run.json"),
        (EXIT_SOURCE, "session-buddy verify none.db --report-file run.json"),
        (EXIT_TARGET, "session-buddy baselines none.db --report-file run.json"),
    ],
)
def test_of_a_run_that_was_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, command: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert ended(code, *command.split()) == "failed"


@pytest.mark.parametrize(
    ("stopped", "code", "status"),
    [
        (StoreFullError("full", role="target"), EXIT_TARGET, "failed"),
        (KeyboardInterrupt(), EXIT_INTERRUPTED, "interrupted"),
    ],
)
def test_of_a_run_beside_the_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: BaseException, code: int, status: str
) -> None:
    def stop(*_: object) -> None:
        raise stopped

    source, target = str(tmp_path / "old.db"), str(tmp_path / "new.db")
    make_langswarm_v1(tmp_path / "old.db", sessions=1, traps="none")
    with BridgeCore(source, target):
        pass
    monkeypatch.setattr("sessionlift.runs._catch_up._look_at_all", stop)
    monkeypatch.setattr("sessionlift.bridge._backfill._Backfill.go", stop)
    for command in ("backfill", "catch-up"):
        assert ended(code, command, source, target) == status
