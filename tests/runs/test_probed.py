"""What a run makes of the probe of its driver: it stands in the report, and a driver that changes values is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.support.made import make_synth_v2

from sessionlift.cli import main
from sessionlift.stores import Fidelity


def probed(classes: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[str, Any]]:
    """A move of one session by a driver of which the probe finds this, and the report that it leaves."""
    monkeypatch.setattr(
        "sessionlift.runs._migrate.probe_fidelity", lambda _: Fidelity("libsql", "a driver 1.0", classes)
    )
    make_synth_v2(folder / "legacy.duckdb", sessions=1, traps="none")
    command = ["migrate", str(folder / "legacy.duckdb"), str(folder / "v3.db"), "--no-verify"]
    result = CliRunner().invoke(main, command)
    (report,) = (folder / "v3.db.reports").glob("*.json")
    return result, json.loads(report.read_text())


def test_a_driver_that_changes_values_is_refused_before_the_target_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = {"integers": "changed: 1 became 2 (inserted rows)", "text": "exact"}
    result, report = probed(classes, tmp_path, monkeypatch)
    assert result.exit_code == 4, result.output
    said = "a driver 1.0 would change values: integers: changed: 1 became 2 (inserted rows)"
    assert f"Error [fidelity]: {said}\n" in result.stderr
    assert "\n  next: install a release of the driver that this tool knows, or use another engine" in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"legacy.duckdb", "v3.db.reports"}, "no target was made"
    assert (report["status"], [error["code"] for error in report["errors"]]) == ("failed", ["fidelity"])
    assert report["environment"]["fidelity"]["classes"] == classes, "who reads the report sees which"


def test_what_the_probe_found_stands_in_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = {"integers": "exact by a way round it", "NaN": "exact by the complement"}
    result, report = probed(classes, tmp_path, monkeypatch)
    assert result.exit_code == 0, result.output
    assert report["environment"]["fidelity"] == {"engine": "libsql", "driver": "a driver 1.0", "classes": classes}
