"""A store with the old program's names, but not with its types and keys, is refused before anything is moved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.moved import query, session_ids
from tests.support.warm import Warm

from sessionlift._demo import make_synth_v2
from sessionlift.bridge.synth import SyncTraceBridge
from sessionlift.errors import WrongGenerationError
from sessionlift.generations import detect
from sessionlift.runs import TransferOptions, migrate

Change = Callable[..., Path]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All rows of a store in tables that declare no key, as ``CREATE TABLE AS`` makes them."""
    folder = tmp_path_factory.mktemp("plain")
    made = make_synth_v2(folder / "old.duckdb", sessions=3)
    with duckdb.connect(str(folder / "plain.duckdb")) as copy:
        copy.execute(f"ATTACH '{made.path}' AS old (READ_ONLY)")
        tables = copy.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'old' AND NOT internal ORDER BY 1"
        ).fetchall()
        for (table,) in tables:
            copy.execute(f"CREATE TABLE {table} AS FROM old.{table}")
    return folder / "plain.duckdb"


@pytest.fixture
def changed(plain: Path, tmp_path: Path) -> Change:
    def change(*statements: str) -> Path:
        source = tmp_path / "changed.duckdb"
        source.write_bytes(plain.read_bytes())
        with duckdb.connect(str(source)) as store:
            for statement in statements:
                store.execute(statement)
        return source

    return change


def type_of(table: str, column: str, kind: str) -> str:
    return f"ALTER TABLE {table} ALTER {column} TYPE {kind}"


CASES = [
    (type_of("session_traces", "metadata", "VARCHAR"), "session_traces.metadata is VARCHAR, and should be JSON"),
    (type_of("session_traces", "created_at", "TIMESTAMPTZ"), "created_at is TIMESTAMP WITH TIME ZONE, and should be"),
    (type_of("events", "prompt_tokens", "HUGEINT"), "events.prompt_tokens is HUGEINT, and should be INTEGER"),
    (type_of("events", "cost", "DECIMAL(38,10)"), "events.cost is DECIMAL(38,10), and should be DOUBLE"),
    (type_of("events", "terminated", "INTEGER"), "events.terminated is INTEGER, and should be BOOLEAN"),
    (type_of("messages", "event_time", "TIMESTAMP_NS"), "messages.event_time is TIMESTAMP_NS, and should be"),
    ("UPDATE events SET id = NULL WHERE rowid = 2", "events.id is NULL in 1 row (the first has rowid 2)"),
    ("UPDATE messages SET session_id = NULL", "messages.session_id is NULL in"),
    ("UPDATE events SET event_type = NULL WHERE rowid < 3", "events.event_type is NULL in 3 rows"),
    ("UPDATE session_traces SET session_id = NULL WHERE rowid = 0", "session_traces.session_id is NULL in 1 row"),
    ("INSERT INTO session_traces FROM session_traces LIMIT 1", "session_traces has 1 value of session_id more than"),
    ("INSERT INTO messages FROM messages WHERE id < 3", "messages has 2 values of id more than once (such as 1)"),
    (
        "INSERT INTO experimental_systems FROM experimental_systems LIMIT 1",
        "experimental_systems has 1 value of experiment_id, system_id more than once",
    ),
]


@pytest.mark.parametrize(("statement", "said"), CASES, ids=[said.split(",")[0].split(" (")[0] for _, said in CASES])
def test_what_its_program_cannot_have_made_is_named(changed: Change, statement: str, said: str) -> None:
    found = detect(str(changed(statement)))
    assert found.generation == "synth.v2"
    (line,) = found.unlike
    assert said in line
    assert line in found.evidence[-1]


def test_nothing_moves_out_of_such_a_store(sessionlift: Warm, changed: Change, tmp_path: Path) -> None:
    source, target = changed("UPDATE messages SET id = NULL WHERE rowid = 5"), tmp_path / "out" / "v3.db"
    target.parent.mkdir()
    before = source.read_bytes()
    for command in ("plan", "migrate"):
        answer = sessionlift(command, source, target, "--json")
        assert answer.code == 3
        assert "generation_wrong" in answer.out
        assert "messages.id is NULL in 1 row (the first has rowid 5)" in json.dumps(json.loads(answer.out))
    with pytest.raises(WrongGenerationError, match=r"messages\.id is NULL"):
        SyncTraceBridge(str(source), str(target), reports=tmp_path).get_session_trace("any")
    assert not target.exists()
    assert source.read_bytes() == before


def test_sound_rows_move_out_of_tables_that_declare_no_key(changed: Change, plain: Path, tmp_path: Path) -> None:
    """Integers of other widths are integers."""
    widths = [type_of("events", "prompt_tokens", "BIGINT"), type_of("messages", "message_time", "UINTEGER")]
    source, target = changed("UPDATE messages SET message_time = 0 WHERE message_time < 0", *widths), tmp_path / "v3.db"
    assert detect(str(source)).unlike == []
    report = migrate(str(source), str(target), TransferOptions()).report
    assert (report.status, report.verification.status) == ("completed", "passed")
    assert [key for (key,) in query(target, "SELECT session_id FROM session_traces ORDER BY rowid")] == session_ids(
        plain
    )


def test_a_store_of_the_old_program_is_as_it_makes_it(tmp_path: Path) -> None:
    for dress in ("final", "mid"):
        made: Any = make_synth_v2(tmp_path / f"{dress}.duckdb", sessions=2, dress=dress)
        assert detect(str(made.path)).unlike == []
