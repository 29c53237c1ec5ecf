"""What lies in quarantine and does not go back into the legacy store stays in the ledger, and is told."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.made import make_synth_v2
from tests.support.moved import change, change_source, query, session_ids
from tests.support.taken_back import V2_MESSAGE, Answer, take_back
from tests.support.warm import Warm

from sessionlift._demo import make_langswarm_v1

pytestmark = pytest.mark.slow

MARK = "words of the old program"


def kept(target: Path) -> str:
    """Everything that the ledger keeps of sessions."""
    return repr(query(target, "SELECT data FROM sessionlift_complement"))


def v1_says(path: Path, key: str, column: str = "history") -> str:
    with closing(sqlite3.connect(path)) as db:
        return str(db.execute(f"SELECT {column} FROM sessions WHERE session_id = ?", (key,)).fetchone()[0])


@pytest.fixture
def stores(sessionlift: Warm, tmp_path: Path) -> tuple[Path, Path, str]:
    """A V1 store that has moved, its target, and a session that both programs have gone on with."""
    source, target = tmp_path / "v1.db", tmp_path / "v2.db"
    make_langswarm_v1(source, sessions=4, traps="none")
    assert sessionlift("migrate", source, target, "--quiet").code == 0
    ((key,),) = query(source, "SELECT session_id FROM sessions ORDER BY rowid LIMIT 1")
    change(target, V2_MESSAGE, key, "new", "the new program's")
    return source, target, str(key)


def old_program_writes(source: Path, key: str) -> None:
    history = json.loads(v1_says(source, key))
    history["messages"].append({**history["messages"][-1], "id": "late", "content": MARK})
    change(source, "UPDATE sessions SET history = ? WHERE session_id = ?", json.dumps(history), key)


def old_program_renames_the_model(source: Path, key: str) -> None:
    metadata = json.loads(v1_says(source, key, "metadata"))
    metadata["model"] = MARK
    change(source, "UPDATE sessions SET metadata = ?, model = ? WHERE session_id = ?", json.dumps(metadata), MARK, key)


def new_program_renames_the_model(target: Path, key: str) -> None:
    ((text,),) = query(target, "SELECT context_data FROM sessions WHERE session_id = ?", key)
    context = json.dumps({**json.loads(str(text)), "model": "new"})
    change(target, "UPDATE sessions SET context_data = ?, model = 'new' WHERE session_id = ?", context, key)


def catch_up(sessionlift: Warm, source: Path, target: Path, how: str) -> None:
    assert sessionlift("catch-up", source, target, "--on-conflict", how, "--quiet").code in (0, 1)
    assert MARK in repr(query(target, "SELECT * FROM sessionlift_quarantine"))


@pytest.fixture
def put_aside(sessionlift: Warm, stores: tuple[Path, Path, str]) -> tuple[Path, Path, str]:
    """The same, and what the old program wrote lies in quarantine, since a catch-up was to keep the new store's."""
    source, target, key = stores
    old_program_writes(source, key)
    catch_up(sessionlift, source, target, "keep_new")
    return stores


def there_and_back(sessionlift: Warm, source: Path, target: Path) -> Answer:
    assert sessionlift("migrate", source, target, "--quiet").code == 0
    assert MARK in kept(target), "the next move has dropped it"
    answer = take_back(sessionlift, target, "--all")
    assert MARK in kept(target), "the next way back has dropped it"
    return answer


def test_messages_that_a_catch_up_kept_aside_stay_in_the_ledger(
    sessionlift: Warm, put_aside: tuple[Path, Path, str]
) -> None:
    source, target, key = put_aside
    rehearsed = take_back(sessionlift, target, "--all", "--dry-run")
    answer = take_back(sessionlift, target, "--all")
    assert MARK not in v1_says(source, key)
    assert MARK in kept(target)
    assert answer.losses == rehearsed.losses == {"aside_kept": 1}
    assert ("carried_deleted", "messages") not in answer.facts, "the application has deleted nothing"
    assert answer.sessions[key]["deleted"] == {}
    assert there_and_back(sessionlift, source, target).losses == {}


def test_so_do_values_that_both_sides_had_changed(sessionlift: Warm, stores: tuple[Path, Path, str]) -> None:
    source, target, key = stores
    old_program_renames_the_model(source, key)
    new_program_renames_the_model(target, key)
    catch_up(sessionlift, source, target, "append_legacy")
    answer = take_back(sessionlift, target, "--all")
    assert v1_says(source, key, "model") == "new"
    assert MARK in kept(target)
    assert answer.losses == {"aside_kept": 1}
    there_and_back(sessionlift, source, target)


def test_where_the_target_keeps_its_sessions_so_it_does_its_quarantine(
    sessionlift: Warm, put_aside: tuple[Path, Path, str]
) -> None:
    _, target, _ = put_aside
    answer = take_back(sessionlift, target, "--all", "--keep-target")
    assert answer.losses == {}
    assert MARK in repr(query(target, "SELECT * FROM sessionlift_quarantine"))


def test_where_the_legacy_store_keeps_its_own_nothing_is_aside(
    sessionlift: Warm, put_aside: tuple[Path, Path, str]
) -> None:
    source, target, key = put_aside
    answer = take_back(sessionlift, target, "--session", key, "--discard-new")
    assert answer.losses == {"new_writes_discarded": 1}
    assert MARK in v1_says(source, key)


def test_what_could_not_be_read_of_a_session_that_was_written_to_stays_in_the_ledger(
    sessionlift: Warm, tmp_path: Path
) -> None:
    source, target = tmp_path / "v1.db", tmp_path / "v2.db"
    make_langswarm_v1(source, sessions=3, traps="none")
    ((key,),) = query(source, "SELECT session_id FROM sessions ORDER BY rowid LIMIT 1")
    history = json.loads(v1_says(source, str(key)))
    history["messages"].append({"id": "bad", "role": "no such role", "content": MARK})
    change(source, "UPDATE sessions SET history = ? WHERE session_id = ?", json.dumps(history), key)
    assert sessionlift("migrate", source, target, "--salvage", "--quiet").code == 1
    change(target, V2_MESSAGE, key, "new", "the new program's")
    answer = take_back(sessionlift, target, "--all")
    assert MARK in kept(target)
    assert answer.losses["aside_kept"] == 2, "the entry, and the broken history"
    assert ("carried_deleted", "messages") not in answer.facts
    there_and_back(sessionlift, source, target)


def test_rows_in_quarantine_of_a_deleted_session_stay_in_the_ledger(sessionlift: Warm, tmp_path: Path) -> None:
    source, target = make_synth_v2(tmp_path / "v2.duckdb", sessions=3, traps="none").path, tmp_path / "v3.db"
    first = session_ids(source)[0]
    change_source(
        source,
        f"UPDATE events SET event_type = 'billing', span_id = '{MARK}' "
        f"WHERE id = (SELECT min(id) FROM events WHERE session_id = '{first}')",
    )
    assert sessionlift("migrate", source, target, "--quiet").code == 1
    for table in ("messages", "event_rewards", "events", "session_timesteps", "outcome_rewards", "session_traces"):
        change(target, f"DELETE FROM {table} WHERE session_id = ?", first)
    answer = take_back(sessionlift, target, "--all")
    assert first not in session_ids(source)
    assert MARK in kept(target)
    assert answer.losses == {"aside_kept": 1}
