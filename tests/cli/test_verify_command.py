"""``sessionlift verify`` on the command line."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.support.made import make_synth_v2

from sessionlift.cli import main
from sessionlift.runs import MigrateResult, TransferOptions, migrate


@pytest.fixture
def moved(tmp_path: Path) -> MigrateResult:
    make_synth_v2(tmp_path / "legacy.duckdb", sessions=5)
    return migrate(str(tmp_path / "legacy.duckdb"), str(tmp_path / "v3.db"), TransferOptions())


def spoil(target: Path) -> None:
    with closing(sqlite3.connect(target)) as db:
        db.execute("UPDATE messages SET content = 'else' WHERE id = 1")
        db.commit()


def test_a_sound_target_exits_0_and_says_what_was_compared(moved: MigrateResult, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["verify", str(tmp_path / "legacy.duckdb"), str(tmp_path / "v3.db")])
    assert result.exit_code == 0, result.output
    assert "5 of 5 sessions compared" in result.output
    assert "no difference" in result.output


def test_findings_exit_1_and_are_named(moved: MigrateResult, tmp_path: Path) -> None:
    spoil(tmp_path / "v3.db")
    stores = [str(tmp_path / "legacy.duckdb"), str(tmp_path / "v3.db")]
    result = CliRunner().invoke(main, ["verify", *stores])
    assert result.exit_code == 1
    assert "changed_in_target" in result.output
    assert "messages" in result.output
    quiet = CliRunner().invoke(main, ["verify", *stores, "--quiet"])
    assert (quiet.exit_code, quiet.output) == (1, "")


@pytest.mark.slow
def test_a_report_is_checked_from_the_stores_it_names_or_those_given(moved: MigrateResult, tmp_path: Path) -> None:
    command = ["verify", "--report", str(moved.path), "--json"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    (tmp_path / "v3.db").rename(tmp_path / "elsewhere.db")
    assert CliRunner().invoke(main, command).exit_code == 4
    result = CliRunner().invoke(
        main, [*command, "--target", str(tmp_path / "elsewhere.db"), "--report-file", str(tmp_path / "mine.json")]
    )
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed["ok"]
    assert printed["path"] == str(tmp_path / "mine.json")
    assert printed["report"]["kind"] == "verify"


@pytest.mark.parametrize(
    "arguments",
    [[], ["only-one"], ["a", "b", "--report", "c"], ["--report", "c", "--only", "x"], ["a", "b", "--source", "c"]],
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["verify", *arguments])
    assert result.exit_code == 2, result.output
