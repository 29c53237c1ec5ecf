"""``sessionlift report``: what people and programs see, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sessionlift import reports
from sessionlift.cli._report import report as group


@pytest.fixture
def run_json(tmp_path: Path) -> Path:
    path = tmp_path / "run.json"
    done = reports.Report(
        kind="migrate",
        run_id="run-1",
        source=reports.StoreInfo(url="duckdb:///old.duckdb", generation="synth.v2"),
        target=reports.StoreInfo(url="libsql:///new.db", generation="synth.v3"),
        total_sessions=2,
        migrated_sessions=2,
    )
    done.digests = reports.write_digests(
        reports.digests_path(path),
        [reports.Digest("s-1", "a", "b"), reports.Digest("s-2", "a", "b")],
        algorithm="x",
    )
    done.options = {"half": "\ud800"}
    done.finish()
    return reports.write(done, path)


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(group, [str(arg) for arg in args])


def test_show_prints_the_text(run_json: Path) -> None:
    result = run("show", run_json)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Migration completed: 2 of 2 sessions moved")


def test_show_json_prints_the_file_as_it_is(run_json: Path) -> None:
    result = run("show", run_json, "--json")
    assert result.exit_code == 0
    assert result.output == run_json.read_text("utf-8")


def test_show_refuses_a_missing_file(tmp_path: Path) -> None:
    result = run("show", tmp_path / "none.json")
    assert result.exit_code == 2
    assert "Error [report]: there is no report at" in result.stderr
    assert "next: " in result.stderr
    assert result.stdout == ""


def test_show_json_refuses_as_json(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text('{"report_version": "1.0", "run_id": "r"}')
    result = run("show", tmp_path / "broken.json", "--json")
    assert result.exit_code == 2
    said = json.loads(result.stdout)
    assert said["ok"] is False
    assert "kind is missing" in said["problems"]


def test_list_shows_the_reports_of_a_directory(run_json: Path) -> None:
    (run_json.parent / "broken.json").write_text('{"report_version": "1.0", "run_id": "r"}')
    result = run("list", run_json.parent)
    assert result.exit_code == 0
    assert "run.json" in result.output
    assert "broken.json: " in result.output


def test_list_is_the_current_directory_if_none_is_given(run_json: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run_json.parent)
    assert "run.json" in run("list").output


def test_list_json_gives_one_object_per_file(run_json: Path) -> None:
    (run_json.parent / "broken.json").write_text('{"report_version": "1.0", "run_id": "r"}')
    found = json.loads(run("list", run_json.parent, "--json").stdout)["reports"]
    assert [(item["file"], item.get("run_id")) for item in found] == [
        (str(run_json), "run-1"),
        (str(run_json.parent / "broken.json"), None),
    ]
    assert found[0]["migrated_sessions"] == 2
    assert "kind is missing" in found[1]["problem"]


def test_list_of_nothing_says_so(tmp_path: Path) -> None:
    assert run("list", tmp_path).output.startswith("No reports in ")
    assert json.loads(run("list", tmp_path, "--json").stdout) == {"ok": True, "reports": []}
    assert run("list", tmp_path / "none").exit_code == 2


def test_schema_prints_the_published_schema() -> None:
    result = run("schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == reports.schema()


def test_check_passes_a_sound_report(run_json: Path) -> None:
    result = run("check", run_json)
    assert (result.exit_code, result.output) == (0, f"{run_json} keeps its contract.\n")
    assert json.loads(run("check", run_json, "--json").stdout) == {
        "ok": True,
        "file": str(run_json),
        "problems": [],
    }


def test_check_lists_everything_that_is_wrong(run_json: Path) -> None:
    data = json.loads(run_json.read_text("utf-8"))
    data["total_sessions"] = 3
    data["ledger"]["rows"] = -1
    run_json.write_text(json.dumps(data))
    result = run("check", run_json)
    assert result.exit_code == 1
    assert "total_sessions is 3, but 2 migrated" in result.output
    assert "ledger.rows is -1" in result.output
    as_json = run("check", run_json, "--json")
    assert as_json.exit_code == 1
    assert len(json.loads(as_json.stdout)["problems"]) == 2


def test_check_sees_a_changed_digests_file(run_json: Path) -> None:
    reports.digests_path(run_json).write_text("")
    result = run("check", run_json)
    assert result.exit_code == 1
    assert "is not the digests file of this report" in result.output


def test_every_command_has_help() -> None:
    for command in ("show", "list", "schema", "check"):
        result = run(command, "--help")
        assert result.exit_code == 0
        assert command in group.commands
        assert group.commands[command].help
