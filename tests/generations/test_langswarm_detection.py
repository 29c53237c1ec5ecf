"""langswarm.v1 in its three dresses, and langswarm.v2: told apart from each other and from anything else."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sessionlift._demo import make_langswarm_dump, make_langswarm_enhanced, make_langswarm_v1
from sessionlift.errors import (
    MixedGenerationError,
    SessionliftError,
    StoreCorruptError,
    StoreFormatError,
    StoreNotFoundError,
    UnknownGenerationError,
    WrongGenerationError,
)
from sessionlift.generations import detect, require_generation, schema_upgrade
from sessionlift.stores import open_store, parse_store_url

RealCopy = Callable[[str], Path]


def run(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return path


def refused(path: Path | str, kind: type[SessionliftError]) -> SessionliftError:
    with pytest.raises(kind) as caught:
        detect(str(path))
    assert type(caught.value) is kind
    assert caught.value.hint
    assert caught.value.exit_code == 3
    return caught.value


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    return make_langswarm_v1(tmp_path / "v1.db", sessions=4, traps="none").path


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return make_langswarm_dump(tmp_path / "dump.json", sessions=4, traps="none").path


# --- the SQLite dress


def test_a_sqlite_store_is_named_with_its_rows(tmp_path: Path) -> None:
    made = make_langswarm_v1(tmp_path / "langswarm_sessions.db", sessions=60, traps="all")
    before = hashlib.sha256(made.path.read_bytes()).hexdigest()
    found = detect(str(made.path))
    assert (found.generation, found.dress, found.rows) == ("langswarm.v1", "sqlite", {"sessions": 60})
    assert found.moves_to == "langswarm.v2"
    assert require_generation(found, "langswarm.v1", store="x", role="source") is found
    assert hashlib.sha256(made.path.read_bytes()).hexdigest() == before
    assert [path.name for path in tmp_path.iterdir()] == ["langswarm_sessions.db"]


V2_MADE = (
    "CREATE TABLE session_messages (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id, message_id, role, content, "
    "timestamp, metadata, provider_message_id, token_count, finish_reason)",
    "CREATE TABLE session_metrics (session_id, message_count, total_tokens, session_duration, last_activity, "
    "created_at)",
    "CREATE INDEX idx_sessions_user_id ON sessions (user_id)",
)


def test_a_v1_file_that_v2_has_opened_is_still_a_v1_source(v1: Path) -> None:
    run(v1, *V2_MADE)
    found = detect(str(v1))
    assert (found.generation, found.dress, found.rows) == ("langswarm.v1", "sqlite", {"sessions": 4})
    assert any("langswarm.v2 opened this file, and could store nothing in it" in said for said in found.evidence)
    assert require_generation(found, "langswarm.v1", store="x", role="source") is found


def test_but_not_when_rows_of_v2_are_in_it(v1: Path) -> None:
    run(v1, *V2_MADE, "INSERT INTO session_metrics (session_id) VALUES ('s')")
    assert "langswarm.v2 (session_messages, session_metrics)" in refused(v1, MixedGenerationError).what


def test_a_form_without_a_column_is_an_older_one(v1: Path) -> None:
    run(v1, "ALTER TABLE sessions DROP COLUMN last_activity")
    found = detect(str(v1))
    assert found.described == "langswarm.v1 (older form: lacks sessions.last_activity)"
    with pytest.raises(WrongGenerationError, match="older form"):
        require_generation(found, "langswarm.v1", store="x", role="source")


def test_a_store_that_is_cut_short_is_damaged(v1: Path) -> None:
    whole = v1.read_bytes()
    v1.write_bytes(whole[:5000])
    refused(v1, StoreCorruptError)


# --- the enhanced dress


def test_an_enhanced_store_is_known_by_its_rows(tmp_path: Path) -> None:
    made = make_langswarm_enhanced(tmp_path / "s.enhanced", sessions=5, traps="none")
    found = detect(str(made.path))
    assert (found.generation, found.dress) == ("langswarm.v1", "enhanced")
    assert found.rows == made.rows
    assert f"5 of {made.rows['memory']} rows of memory are sessions; the others are" in "\n".join(found.evidence)
    assert not found.lacks


def test_an_enhanced_store_with_only_its_index_left_is_one(tmp_path: Path) -> None:
    made = make_langswarm_enhanced(tmp_path / "s.enhanced", sessions=5, traps="none")
    run(made.path, "DELETE FROM memory WHERE key LIKE 'session:%'")
    found = detect(str(made.path))
    assert found.dress == "enhanced"
    assert found.evidence[-1].startswith("0 of ")


MEMORY = "CREATE TABLE memory (key TEXT PRIMARY KEY, value TEXT NOT NULL, metadata TEXT)"


def test_an_empty_memory_says_nothing_and_is_refused(tmp_path: Path) -> None:
    assert "one empty table memory" in refused(run(tmp_path / "m.db", MEMORY), UnknownGenerationError).what


@pytest.mark.parametrize(
    "row",
    [
        "('note', 'text', '{}')",
        "('session:1', 'text', NULL)",
        "('session:1', 'text', '{\"user\": 1}')",
        "('conversation:1', 'text', 'of us two')",
        "(CAST('session:1' AS BLOB), 'text', '{''session_data'': ''{}''}')",
    ],
)
def test_a_memory_of_another_program_is_refused(tmp_path: Path, row: str) -> None:
    error = refused(run(tmp_path / "m.db", MEMORY, f"INSERT INTO memory VALUES {row}"), UnknownGenerationError)
    assert "1 rows are not sessions of LangSwarm" in error.what


def test_a_memory_beside_the_sessions_is_only_another_table(v1: Path) -> None:
    run(v1, MEMORY)
    found = detect(str(v1))
    assert found.dress == "sqlite"
    assert found.rows == {"sessions": 4}


# --- the dump


def test_a_dump_is_named_by_what_is_in_it(tmp_path: Path) -> None:
    made = make_langswarm_dump(tmp_path / "no suffix", sessions=60, traps="all")
    found = detect(str(made.path))
    assert (found.generation, found.engine, found.dress, found.rows) == ("langswarm.v1", "json", "dump", made.rows)
    assert require_generation(found, "langswarm.v1", store="x", role="source") is found
    assert detect(f"json://{tmp_path}/no%20suffix") == found


@pytest.mark.parametrize("text", ["\ufeff{}", " {} ", "\n{}\n"])
def test_space_and_a_byte_order_mark_around_a_dump_are_allowed(dump: Path, text: str) -> None:
    dump.write_text(text.replace("{}", dump.read_text()), encoding="utf-8")
    assert detect(str(dump)).rows == {"sessions": 4}


def test_members_that_are_no_sessions_are_told(dump: Path) -> None:
    long_number = "7" * 5000  # longer than Python's json would make an integer of
    held = dump.read_text()
    dump.write_text(f'{{"first": {long_number}, {held[1:-1]}, "x": {{"metadata": {{}}}}, "y": null}}')
    found = detect(str(dump))
    assert found.rows == {"sessions": 7}
    assert "3 of 7 members have no such parts" in found.evidence


@pytest.mark.parametrize("keep", [0.2, 0.6, 0.999])
def test_a_dump_that_is_cut_short_is_damaged(dump: Path, keep: float) -> None:
    text = dump.read_text()
    dump.write_text(text[: int(len(text) * keep)])
    error = refused(dump, StoreCorruptError)
    assert "cannot be read to its end" in error.what


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text + "{}", "it is no JSON"),
        (
            lambda text: text.replace('"metadata"', "'metadata'", 3).replace("'metadata'", '"metadata"', 1),
            "it is no JSON",
        ),
        (lambda text: text[:-1] + ', "deep": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
    ],
)
def test_a_damaged_dump_says_where(dump: Path, change: Callable[[str], str], said: str) -> None:
    dump.write_text(change(dump.read_text()))
    assert said in refused(dump, StoreCorruptError).what


def test_a_dump_that_is_not_utf8_is_damaged(dump: Path) -> None:
    dump.write_bytes(dump.read_bytes()[:-1] + b', "\xff": 1}')
    assert "not UTF-8 from byte" in refused(dump, StoreCorruptError).what


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("{}", UnknownGenerationError, "empty JSON object"),
        ('{"a": 1}', StoreFormatError, "JSON text file"),
        ("[]", StoreFormatError, "JSON text file"),
        ('[{"metadata": {}, "history": {}}]', StoreFormatError, "JSON text file"),
        ('{"a": {"metadata": [], "history": {}}}', StoreFormatError, "JSON text file"),
        ("{not json", StoreFormatError, "JSON text file"),
        ("{1: 2}", StoreFormatError, "JSON text file"),
    ],
)
def test_other_json_is_refused(tmp_path: Path, text: str, kind: type[SessionliftError], said: str) -> None:
    (tmp_path / "x.json").write_text(text)
    assert said in refused(tmp_path / "x.json", kind).what


def test_json_named_as_such_has_to_be_json(tmp_path: Path, v1: Path) -> None:
    assert "is a SQLite/libSQL database, not a JSON text file" in refused(f"json://{v1}", StoreFormatError).what
    refused(f"json://{tmp_path}/missing.json", StoreNotFoundError)
    (tmp_path / "empty.json").touch()
    refused(f"json://{tmp_path}/empty.json", StoreFormatError)


def test_a_dump_is_never_opened_as_a_database(dump: Path) -> None:
    for url in (str(dump), f"libsql://{dump}", f"sqlite://{dump}"):
        with pytest.raises(StoreFormatError, match="a JSON text file, not a"):
            open_store(url, mode="ro", role="source")
    assert parse_store_url(str(dump)).redacted == f"json://{dump}"


# --- V2


def test_an_empty_v2_store_is_named(tmp_path: Path) -> None:
    schema_upgrade(str(tmp_path / "v2.db"), "langswarm_v2")
    found = detect(str(tmp_path / "v2.db"))
    assert (found.generation, found.dress, found.moves_to) == ("langswarm.v2", None, None)
    assert found.rows == {"sessions": 0, "session_messages": 0, "session_metrics": 0}


def test_a_v2_store_without_its_metrics_is_an_older_form(tmp_path: Path) -> None:
    path = tmp_path / "v2.db"
    schema_upgrade(str(path), "langswarm_v2")
    run(path, "DROP TABLE session_metrics")
    assert detect(str(path)).lacks == ["table session_metrics"]


@pytest.mark.fixtures
@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("v1_small.db", {"sessions": 20}),
        ("v1_corrupt.db", {"sessions": 14}),
        ("v1_mem.json", {"sessions": 50}),
        ("v1_mem.db.enhanced", {"memory": 400}),
        ("v2_real.db", {"sessions": 12, "session_messages": 100, "session_metrics": 12}),
    ],
)
def test_the_rows_of_the_real_stores_are_counted(real_stores: Path, tmp_path: Path, name: str, rows: object) -> None:
    shutil.copyfile(real_stores / "langswarm" / name, tmp_path / name)
    assert detect(str(tmp_path / name)).rows == rows


# --- what a killed program left


def left_by_a_killed_program(path: Path, into: Path, *, journal: str) -> Path:
    """The files of a store as they lie while a program writes, or has written and not closed."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("PRAGMA cache_size = 2")  # so that pages reach the file before the end
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM sessions WHERE rowid > 20")
        connection.execute("UPDATE sessions SET user_id = user_id || '!', history = history || ' '")
        if journal == "wal":
            connection.execute("COMMIT")
        into.mkdir()
        for suffix in ("", "-journal", "-wal"):
            if Path(f"{path}{suffix}").exists():
                shutil.copyfile(f"{path}{suffix}", into / f"left.db{suffix}")
    return into / "left.db"


@pytest.mark.parametrize(("journal", "sessions"), [("delete", 60), ("wal", 20)])
@pytest.mark.parametrize("scheme", ["libsql", "sqlite"])
def test_a_store_that_a_killed_program_left_is_read_in_a_copy(
    tmp_path: Path, journal: str, sessions: int, scheme: str
) -> None:
    made = make_langswarm_v1(tmp_path / "v1.db", sessions=60, traps="usual")
    left = left_by_a_killed_program(made.path, tmp_path / "left", journal=journal)
    before = {path.name: path.read_bytes() for path in left.parent.iterdir()}
    assert len(before) == 2, "the journal or the log lies beside"

    found = detect(f"{scheme}://{left}")

    assert (found.generation, found.dress, found.rows) == ("langswarm.v1", "sqlite", {"sessions": sessions})
    assert found.engine == scheme
    assert any("private copy" in said for said in found.evidence)
    assert {path.name: path.read_bytes() for path in left.parent.iterdir()} == before


def test_a_refusal_of_such_a_store_names_the_store_and_not_the_copy(tmp_path: Path) -> None:
    made = make_langswarm_v1(tmp_path / "v1.db", sessions=60, traps="usual")
    run(made.path, "ALTER TABLE sessions RENAME COLUMN history TO past")
    left = tmp_path / "left" / "left.db"
    with closing(sqlite3.connect(made.path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("UPDATE sessions SET user_id = 'x'")
        left.parent.mkdir()
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{made.path}{suffix}", f"{left}{suffix}")
    assert str(left) in refused(left, UnknownGenerationError).what
