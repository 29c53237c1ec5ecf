"""The made-up LangSwarm V1 stores: repeatable, full of traps, and with what the old program answers for them."""

from __future__ import annotations

import ast
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sessionlift._demo import (
    SwarmStore,
    make_langswarm_dump,
    make_langswarm_enhanced,
    make_langswarm_v1,
)
from sessionlift._demo._swarm_traps import ALSO_READABLE, UNREADABLE, USUAL
from sessionlift.cli._demo import demo_store
from sessionlift.errors import UsageError
from sessionlift.generations import detect

Make = Callable[..., SwarmStore]
MAKERS: dict[str, Make] = {
    "s.db": make_langswarm_v1,
    "s.json": make_langswarm_dump,
    "s.db.enhanced": make_langswarm_enhanced,
}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> SwarmStore:
    return make_langswarm_v1(tmp_path_factory.mktemp("swarm") / "all.db", sessions=90, seed=3, traps="all")


def rows(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM sessions ORDER BY rowid").fetchall()


@pytest.mark.parametrize("name", MAKERS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path, name: str) -> None:
    def text(folder: str, seed: int) -> list[Any]:
        path = MAKERS[name](tmp_path / folder / name, sessions=60, seed=seed, traps="all").path
        if name.endswith(".json"):
            return [path.read_text(encoding="utf-8")]
        with closing(sqlite3.connect(path)) as connection:
            return list(connection.iterdump())

    first = text("one", 7)
    assert text("two", 7) == first
    assert text("three", 8) != first


def test_a_longer_store_begins_like_a_shorter_one(tmp_path: Path) -> None:
    short, long = (make_langswarm_v1(tmp_path / f"{n}.db", sessions=n).path for n in (30, 60))
    assert rows(long)[:30] == rows(short)


def test_every_trap_is_in_a_store_of_all(full: SwarmStore) -> None:
    wanted = {*USUAL, *ALSO_READABLE, *(f"unreadable_{name}" for name in UNREADABLE)}
    assert full.trapped.keys() == wanted
    assert full.unreadable.keys() == {full.trapped[name] for name in wanted if name.startswith("unreadable_")}
    assert full.truth.keys() | full.unreadable.keys() == {row[0] for row in rows(full.path)}
    assert not full.truth.keys() & full.unreadable.keys()


def test_a_store_without_traps_is_plain(tmp_path: Path) -> None:
    made = make_langswarm_v1(tmp_path / "plain.db", sessions=60, traps="none")
    assert not made.trapped
    assert not made.unreadable
    assert len(made.truth) == 60
    for row in rows(made.path):
        metadata, history = json.loads(row[9]), json.loads(row[10])
        assert list(row[1:9]) == [metadata[name] for name in COLUMNS]
        assert all(isinstance(message["content"], str) and message["content"] for message in history["messages"])
        times = [datetime.fromisoformat(message["timestamp"]) for message in history["messages"]]
        assert times == sorted(times)


COLUMNS = ("user_id", "provider", "model", "status", "session_control", "created_at", "updated_at", "last_activity")


def test_the_truth_is_what_the_cells_say(full: SwarmStore) -> None:
    # an independent reading of the readable rows: their own JSON, by key
    for row in rows(full.path):
        if row[0] in full.unreadable:
            continue
        metadata, history = json.loads(row[9]), json.loads(row[10])  # bytes too, in any UTF
        answer = full.truth[row[0]]
        assert answer["metadata"]["user_id"] == metadata["user_id"]
        assert [one["content"] for one in answer["history"]["messages"]] == [
            one["content"] for one in history.get("messages", [])
        ]
        assert len(answer["metadata"]) == 19
        assert len(answer["history"]) == 5


@pytest.mark.parametrize(
    ("trap", "holds"),
    [
        (
            "odd_content",
            lambda one: {type(m["content"]) for m in one["history"]["messages"]} >= {list, dict, type(None)},
        ),
        ("duplicate_ids", lambda one: [m["id"] for m in one["history"]["messages"]].count("openai_unknown") == 3),
        ("big", lambda one: len(one["history"]["messages"]) == 1002),
        ("surrogates", lambda one: any("\ud83d" in str(m["content"]) for m in one["history"]["messages"])),
        ("empty_history", lambda one: one["history"]["messages"] == [] and one["metadata"]["last_activity"] is None),
        ("counters", lambda one: one["metadata"]["message_count"] == 1 and one["metadata"]["total_tokens"] > 2**63),
        ("other_id", lambda one: one["metadata"]["session_id"] != one["history"]["session_id"]),
    ],
)
def test_a_trap_is_what_its_name_says(full: SwarmStore, trap: str, holds: Callable[[Any], bool]) -> None:
    assert holds(full.truth[full.trapped[trap]])


def test_a_dump_holds_the_same_sessions_but_for_what_only_a_cell_can_hold(tmp_path: Path, full: SwarmStore) -> None:
    made = make_langswarm_dump(tmp_path / "all.json", sessions=90, seed=3, traps="all")
    held = json.loads(made.path.read_text(encoding="utf-8"))
    assert list(held) == [one.key for one in made.made()]
    assert json.dumps(made.truth) == json.dumps({key: one for key, one in full.truth.items() if key in held})
    left_out = (full.truth.keys() | full.unreadable.keys()) - held.keys()
    assert {full.trapped[name] for name in ("blob", "unreadable_history_cut")} <= left_out


def test_an_enhanced_store_holds_the_same_sessions_as_texts_of_python(tmp_path: Path) -> None:
    made = make_langswarm_enhanced(tmp_path / "all.enhanced", sessions=90, seed=3, traps="all")
    with closing(sqlite3.connect(made.path)) as connection:
        found = connection.execute("SELECT key, metadata FROM memory ORDER BY rowid").fetchall()
    sessions = {key.removeprefix("session:"): metadata for key, metadata in found if key.startswith("session:")}
    assert sessions.keys() == made.truth.keys() | made.unreadable.keys()
    for key, metadata in sessions.items():
        data = json.loads(ast.literal_eval(metadata)["session_data"])
        if key in made.truth:
            assert data["metadata"]["provider"] == made.truth[key]["metadata"]["provider"]
    assert {key.split(":")[0] for key, _ in found} == {"session", "conversation", "message"}


@pytest.mark.parametrize("name", MAKERS)
def test_a_path_that_is_taken_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match="there already"):
        MAKERS[name](tmp_path / name, sessions=1)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", MAKERS)
def test_a_store_of_no_sessions_is_refused_and_not_made(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="at least one"):
        MAKERS[name](tmp_path / name, sessions=0)
    assert not (tmp_path / name).exists()


def test_a_path_with_the_signs_of_a_url_is_only_a_path(tmp_path: Path) -> None:
    assert make_langswarm_v1(tmp_path / "a%20b?c.db", sessions=1).path.name == "a%20b?c.db"


@pytest.mark.parametrize("dress", ["sqlite", "dump", "enhanced"])
def test_the_command_makes_each_dress(tmp_path: Path, dress: str) -> None:
    path = tmp_path / "store"
    asked = [str(path), "--system", "langswarm", "--sessions", "60", "--traps", "all", "--dress", dress, "--json"]
    done = CliRunner().invoke(demo_store, asked)
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    assert (said["ok"], said["dress"], said["sessions"]) == (True, dress, 60)
    found = detect(str(path))
    assert (found.generation, found.dress, found.rows) == ("langswarm.v1", dress, said["rows"])


def test_the_command_refuses_a_dress_of_another_system(tmp_path: Path) -> None:
    done = CliRunner().invoke(demo_store, [str(tmp_path / "s"), "--system", "langswarm", "--dress", "mixed"])
    assert done.exit_code == 2
    assert "sqlite, dump, enhanced" in done.output
    assert not list(tmp_path.iterdir())
