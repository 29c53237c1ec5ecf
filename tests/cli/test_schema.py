"""``sessionlift schema``: thin, with its exit codes and its JSON."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sessionlift.cli._schema import schema
from sessionlift.generations import schema_config


def call(*arguments: object) -> Result:
    return CliRunner().invoke(schema, [str(argument) for argument in arguments])


def test_up_current_verify_and_down(tmp_path: Path) -> None:
    store = tmp_path / "t.db"
    assert call("upgrade", store, "synth_v3").output == "synth_v3\n"
    assert call("upgrade", store, "ledger_2").output == "ledger_2\nsynth_v3\n"
    assert call("current", store).output == "ledger_2\nsynth_v3\n"
    assert call("verify", store).output == "exactly ledger_2 and synth_v3\n"
    assert call("downgrade", store, "ledger@base").output == "synth_v3\n"
    assert call("downgrade", store, "base").output == "no revision is stamped in this store\n"


def test_the_dress_of_synth_v2(tmp_path: Path) -> None:
    assert call("upgrade", tmp_path / "t.duckdb", "synth_v2", "--dress", "mid").exit_code == 0
    assert call("verify", tmp_path / "t.duckdb").output == "exactly synth_v2\n"
    assert call("upgrade", tmp_path / "u.duckdb", "synth_v2", "--dress", "red").exit_code == 2


def test_a_dress_for_a_revision_that_has_none(tmp_path: Path) -> None:
    for revision in ("langswarm_v2", "synth_v3", "ledger_2", "session_buddy_v4"):
        refused = call("upgrade", tmp_path / "t.db", revision, "--dress", "mid")
        assert refused.exit_code == 2
        assert "leave out --dress" in refused.stderr
    assert call("upgrade", tmp_path / "t.db", "nothing", "--dress", "mid").exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_json_has_the_store_and_the_revisions(tmp_path: Path) -> None:
    store = tmp_path / "t.db"
    expected = {"ok": True, "store": f"libsql://{store}", "revisions": ["synth_v3"]}
    assert json.loads(call("upgrade", store, "synth_v3", "--json").output) == expected
    assert json.loads(call("current", store, "--json").output) == expected
    assert json.loads(call("verify", store, "--json").output) == {**expected, "differences": []}


def test_history_lists_every_revision_with_its_generation() -> None:
    buddies = [f"session_buddy_v{number}" for number in (1, 2, 3, 4)]
    lines = call("history").output.splitlines()
    names = ["langswarm_v1", "langswarm_v2", "ledger_1", "ledger_2", *buddies, "synth_v2", "synth_v3"]
    assert [line.split()[0] for line in lines] == names
    after = {**dict(zip(buddies[1:], buddies, strict=False)), "ledger_2": "ledger_1"}
    assert all(f"(after {after.get(line.split()[0], 'base')})" in line for line in lines)
    listed = json.loads(call("history", "--json").output)["revisions"]
    labels = [one.replace("_v", ".v") for one in buddies]
    assert [one["generation"] for one in listed] == [
        "langswarm.v1", "langswarm.v2", "ledger", "ledger", *labels, "synth.v2", "synth.v3"
    ]  # fmt: skip
    assert [one["dialect"] for one in listed] == ["duckdb" if one == "synth_v2" else "sqlite" for one in names]


def test_config_prints_the_path_for_plain_alembic() -> None:
    assert call("config").output == f"{schema_config()}\n"
    assert json.loads(call("config", "--json").output)["config"] == str(schema_config())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["upgrade", "{}/t.db", "nothing"], 2, "nothing"),
        (["upgrade", "{}/t.db", "synth_v2"], 4, "lives on DuckDB"),
        (["current", "{}/t.db"], 4, "no file"),
        (["verify", "{}"], 4, "directory"),
        (["upgrade", "gopher://x", "synth_v3"], 2, "gopher"),
    ],
)
def test_refusals_have_their_exit_code_and_leave_no_file(
    tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    ended = call(*[argument.format(tmp_path) for argument in arguments])
    assert ended.exit_code == code, ended.output
    assert said in ended.output
    assert "next:" in ended.output
    assert list(tmp_path.iterdir()) == []


def test_verify_lists_the_differences_and_ends_with_one(tmp_path: Path) -> None:
    store = tmp_path / "t.db"
    call("upgrade", store, "synth_v3")
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("DROP INDEX idx_event_type")
    ended = call("verify", store)
    assert ended.exit_code == 1
    assert "table events, index idx_event_type: missing" in ended.output
    asked = call("verify", store, "--json")
    assert asked.exit_code == 1
    assert json.loads(asked.output)["found"] == ["table events, index idx_event_type: missing (should be (event_type))"]


def test_every_command_has_help() -> None:
    for name, command in schema.commands.items():
        assert command.help, name
        assert call(name, "--help").exit_code == 0
