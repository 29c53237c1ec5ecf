"""Memory that is too short is an error like any other: told in a line with what to do, and in the run's report."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sessionlift.cli import main
from sessionlift.errors import EXIT_TARGET, MemoryShortError
from sessionlift.runs import _migrate, _protocol
from sessionlift.runs._protocol import Worker

SHORT = [MemoryError(), RuntimeError("can't start new thread"), OSError(errno.ENOMEM, "Cannot allocate memory")]


@pytest.mark.parametrize("error", SHORT, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_memory_that_is_too_short_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, error: Exception, extra: list[str]
) -> None:
    def read_status(*_: object) -> None:
        raise error

    monkeypatch.setattr("sessionlift.cli._status.read_status", read_status)
    done = CliRunner().invoke(main, ["status", "v3.db", *extra])
    assert done.exit_code == EXIT_TARGET
    assert isinstance(done.exception, SystemExit)
    assert "memory is too short" in done.output
    assert "run the same command again" in done.output
    assert ("Error [memory_short]" in done.output) is not bool(extra)


@pytest.mark.parametrize("error", SHORT, ids=lambda error: type(error).__name__)
def test_the_report_of_a_run_says_that_memory_was_too_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def begin(_: object) -> None:
        raise error

    monkeypatch.setattr(_migrate._Run, "_begin", begin)
    report = tmp_path / "report.json"
    told = ["--report-file", str(report), "--json"]
    done = CliRunner().invoke(main, ["migrate", str(tmp_path / "old.duckdb"), str(tmp_path / "v3.db"), *told])
    assert done.exit_code == EXIT_TARGET
    found = json.loads(report.read_text())
    assert (found["status"], [line["code"] for line in found["errors"]]) == ("failed", ["memory_short"])


@pytest.mark.parametrize("side", ["send", "receive"])
def test_a_run_does_not_wait_for_a_process_that_it_can_no_longer_talk_to(
    monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    def short(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(_protocol, side, short)
    worker = Worker("sessionlift.runs._taken_back_worker", {}, name="reader")
    try:
        with pytest.raises(MemoryShortError):
            worker.answer(timeout=20)
    finally:
        worker.stop()
