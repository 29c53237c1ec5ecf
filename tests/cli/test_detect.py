"""``sessionlift detect``: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sessionlift.cli._detect import detect
from sessionlift.generations import prepare_target, schema_upgrade


def call(*arguments: object) -> Result:
    return CliRunner().invoke(detect, [str(argument) for argument in arguments])


def test_a_source_is_named_with_its_evidence_and_the_next_step(tmp_path: Path) -> None:
    store = tmp_path / "t.duckdb"
    schema_upgrade(str(store), "synth_v2", dress="mid")
    ended = call(store)
    assert ended.exit_code == 0
    said = ended.output
    assert "generation  synth.v2\n" in said
    assert "dress       early/mid\n" in said
    assert "foreign keys on events, messages, session_timesteps" in said
    assert "moves it to synth.v3: sessionlift migrate" in said


def test_a_target_is_named_with_its_ledger(tmp_path: Path) -> None:
    store = tmp_path / "t.db"
    prepare_target(str(store), "synth.v3")
    said = call(store).output
    assert "ledger      yes\n" in said
    assert "moves stores into this generation" in said


def test_a_store_of_another_system_is_only_recognised(tmp_path: Path) -> None:
    store = tmp_path / "metrics.csv"
    store.write_text("team_id,timestamp,agent,tokens,credits,wall_time_ms,model,tool_call,exit_status\n")
    ended = call(store)
    assert ended.exit_code == 0
    assert "generation  semloop.v2\n" in ended.output
    assert "moves it nowhere" in ended.output


def test_json_holds_everything(tmp_path: Path) -> None:
    store = tmp_path / "t.db"
    prepare_target(str(store), "synth.v3")
    found = json.loads(call(store, "--json").output)
    assert list(found) == [
        "ok", "store", "system", "generation", "engine", "dress", "evidence", "ledger", "rows", "lacks",
        "newer", "stamps", "beside", "unlike", "moves_to",
    ]  # fmt: skip
    assert found["stamps"] == ["ledger_2", "synth_v3"]


@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_no_store_ends_with_three_and_says_what_to_do(tmp_path: Path, as_json: bool) -> None:
    (tmp_path / "notes.txt").write_text("hello\n")
    ended = call(tmp_path / "notes.txt", *(["--json"] if as_json else []))
    assert ended.exit_code == 3
    if as_json:
        answer = json.loads(ended.output)
        assert (answer["ok"], answer["code"]) == (False, "store_format")
        assert answer["hint"]
    else:
        assert "next:" in ended.output
