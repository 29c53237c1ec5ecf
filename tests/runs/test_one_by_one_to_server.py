"""Sessions that move one by one into a server: what a file gets, by a backfill, a catch-up, a bridge, and back."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.support.made import make_synth_v2
from tests.support.moved import change, change_source
from tests.support.warm import Warm

from sessionlift._demo import make_langswarm_v1
from sessionlift.bridge.langswarm import SyncSessionBridge
from sessionlift.stores import open_store

pytestmark = [pytest.mark.slow, pytest.mark.sqld]

TABLES = {
    "synth": ("session_traces", "session_timesteps", "events", "messages", "event_rewards", "outcome_rewards"),
    "langswarm": ("sessions", "session_messages", "session_metrics"),
}


def made(system: str, folder: Path) -> Path:
    folder.mkdir()
    if system == "synth":
        return Path(make_synth_v2(folder / "old.duckdb", sessions=5, traps="usual").path)
    make_langswarm_v1(folder / "old.db", sessions=5, traps="none")
    return folder / "old.db"


def old_program_writes(system: str, source: Path) -> None:
    if system == "synth":
        change_source(source, "UPDATE messages SET message_time = 7 WHERE id IN (SELECT id FROM messages LIMIT 30)")
        return
    with closing(sqlite3.connect(source)) as db:
        texts = db.execute("SELECT session_id, history FROM sessions LIMIT 3").fetchall()
    for key, text in texts:
        history = json.loads(text)
        history["messages"].append({**history["messages"][-1], "id": "late", "content": "late \0 and \u00e9"})
        change(source, "UPDATE sessions SET history = ? WHERE session_id = ?", json.dumps(history), key)


def rows(url: str, system: str) -> dict[str, list[tuple[Any, ...]]]:
    with open_store(url, mode="ro", role="target") as store:
        return {table: store.query(f'SELECT * FROM "{table}" ORDER BY rowid') for table in TABLES[system]}


@pytest.mark.parametrize("system", ["synth", "langswarm"])
def test_a_server_gets_what_a_file_gets(sessionlift: Warm, sqld: str, tmp_path: Path, system: str) -> None:
    source = made(system, tmp_path / "one")
    target = tmp_path / "new.db"
    for goal in (str(target), sqld):
        done = sessionlift("backfill", source, goal, "--json", cwd=tmp_path)
        assert done.code == 0, done.out + done.err
        assert json.loads(done.out)["report"]["migrated_sessions"] == 5
    assert rows(sqld, system) == rows(str(target), system)
    old_program_writes(system, source)
    for goal in (str(target), sqld):
        done = sessionlift("catch-up", source, goal, "--json", cwd=tmp_path)
        assert done.code == 0, done.out + done.err
        assert json.loads(done.out)["report"]["migrated_sessions"] > 0
    assert rows(sqld, system) == rows(str(target), system)
    assert sessionlift("verify", source, sqld, "--quiet", cwd=tmp_path).code == 0
    legacy = source.read_bytes()
    back = sessionlift("rollback", sqld, "--all", "--json", cwd=tmp_path)
    assert back.code == 0, back.out + back.err
    assert source.read_bytes() == legacy, "nobody has written to the sessions in the new store"
    assert not any(rows(sqld, system).values())


def test_a_bridge_serves_from_a_server(sqld: str, tmp_path: Path) -> None:
    source = made("langswarm", tmp_path / "one")
    shutil.copy(source, tmp_path / "other.db")
    told = []
    for place, goal in ((source, sqld), (tmp_path / "other.db", str(tmp_path / "new.db"))):
        with SyncSessionBridge(str(place), goal, reports=tmp_path) as bridge:
            ids = [key for (key,) in _asked(place)]
            for key in ids:
                session = bridge.get_session(key)
                assert session is not None
                assert session.where == "new"
                session.append_message("said \u00e9 \0 through the bridge")
            told.append([[message.content for message in bridge.get_messages(key)] for key in ids])
    assert told[0] == told[1]


def _asked(path: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT session_id FROM sessions ORDER BY rowid").fetchall()
