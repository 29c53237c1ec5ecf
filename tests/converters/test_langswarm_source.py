"""The three dresses are read as they lie, also while they are written to or after a crash, and stay as they are."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.support.langswarm_rows import (
    V1_TABLE,
    Keep,
    history,
    legacy_row,
    message,
    metadata,
    moved,
    moved_by,
    source,
    units,
)

from sessionlift.converters import CATALOG
from sessionlift.converters.langswarm import (
    LangswarmForward,
    LangswarmOptions,
    LegacyReader,
    LegacyRow,
    LiveSource,
    open_legacy,
)
from sessionlift.converters.langswarm._forward import Group
from sessionlift.errors import StoreCorruptError, StoreFormatError, StoreNotFoundError, WrongGenerationError
from sessionlift.stores import parse_store_url

INSERT = f"INSERT OR REPLACE INTO sessions VALUES ({', '.join('?' * 11)})"


def row(key: str, contents: list[Any]) -> LegacyRow:
    said = [message(content=each, timestamp=f"2025-05-01T10:{at:02}:00") for at, each in enumerate(contents)]
    return legacy_row(metadata(key, message_count=len(said)), history(said, key), key)


def make_v1(path: Path, *rows: LegacyRow, pragma: str = "journal_mode = DELETE") -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA {pragma}")
    connection.execute(V1_TABLE)
    connection.executemany(INSERT, [tuple(each.cells.values()) for each in rows])
    connection.commit()
    connection.close()


def files(folder: Path) -> dict[str, str]:
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in folder.iterdir() if each.is_file()}


def keys(path: Path) -> list[str]:
    with source(path) as opened:
        return [each.key for _, each in opened.walk()]


# --- SQLite


def test_sessions_move_in_the_order_of_their_row_ids(tmp_path: Path) -> None:
    make_v1(tmp_path / "v1.db", row("b", ["x"]), row("a", []), row("ü 'q'", ["y"]))
    before = files(tmp_path)
    keep, batches = moved(tmp_path / "v1.db")
    assert [unit.session_id for unit in units(batches)] == ["b", "a", "ü 'q'"]
    assert [line[0] for line in keep.tables["sessions"]] == ["b", "a", "ü 'q'"]
    assert files(tmp_path) == before


KILLED = """
import os, signal, sqlite3, sys
path, mode = sys.argv[1:]
c = sqlite3.connect(path, isolation_level=None)
c.execute("PRAGMA cache_size = 5")
c.execute("BEGIN IMMEDIATE")
c.execute("UPDATE sessions SET history = 'half of a save', metadata = ?", ("x" * 200_000,))
if mode == "wal":
    c.execute("COMMIT")
os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_a_writer(path: Path, mode: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), mode], check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("snapshot", "linked"), [(True, False), (False, False), (True, True), (False, True)])
def test_a_hot_journal_is_rolled_back_in_a_private_copy(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, snapshot: bool, linked: bool
) -> None:
    path = tmp_path / "v1.db"
    named = tmp_path_factory.mktemp("links") / "named.db" if linked else path
    if linked:
        named.symlink_to(path)
    make_v1(path, *(row(f"s{n}", ["hello " * 300]) for n in range(20)))
    kill_a_writer(path, "journal")
    before = files(tmp_path)
    assert set(before) == {"v1.db", "v1.db-journal"}
    assert b"half of a save" in path.read_bytes() or b"x" * 1000 in path.read_bytes(), "the journal is hot"
    with open_legacy(parse_store_url(f"sqlite://{named}"), snapshot=snapshot) as opened:
        assert opened.is_copy
        found = [each for _, each in opened.walk()]
    assert len(found) == 20
    assert "hello" in found[0].cells["history"]
    assert files(tmp_path) == before


@pytest.mark.parametrize("snapshot", [True, False])
def test_a_log_that_nobody_has_open_is_read_in_a_private_copy(tmp_path: Path, snapshot: bool) -> None:
    path = tmp_path / "live" / "v1.db"
    path.parent.mkdir()
    make_v1(path, row("s", ["old"]), pragma="journal_mode = WAL")
    kill_a_writer(path, "wal")
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("v1.db", "v1.db-wal"):
        shutil.copy(path.parent / name, copy / name)
    before = files(copy)
    with open_legacy(parse_store_url(f"sqlite://{copy / 'v1.db'}"), snapshot=snapshot) as opened:
        found = opened.get("s")
    assert found is not None
    assert found.cells["history"] == "half of a save"
    assert files(copy) == before


def test_a_snapshot_is_one_moment_while_the_application_writes(tmp_path: Path) -> None:
    path = tmp_path / "v1.db"
    make_v1(path, *(row(f"s{n}", ["x" * 2_000]) for n in range(300)))
    stop = threading.Event()
    rounds: list[int] = []

    def write() -> None:
        connection = sqlite3.connect(path, timeout=30)
        while not stop.is_set():
            rounds.append(len(rounds))
            connection.execute("UPDATE sessions SET user_id = ?", (str(rounds[-1]),))
            connection.commit()
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            with source(path) as opened:
                assert len({each.cells["user_id"] for _, each in opened.walk()}) == 1
    finally:
        stop.set()
        writer.join()
    assert len(rounds) > 2


def test_a_text_that_is_no_utf8_is_a_row_for_the_quarantine(tmp_path: Path) -> None:
    path = tmp_path / "v1.db"
    make_v1(path, row("good", ["x"]), row("bad", ["y"]), row("key", ["z"]), row("none", []))
    connection = sqlite3.connect(path)
    connection.execute("UPDATE sessions SET history = CAST(x'7bff' AS TEXT) WHERE session_id = 'bad'")
    connection.execute("UPDATE sessions SET session_id = CAST(x'ff' AS TEXT) WHERE session_id = 'key'")
    connection.execute("UPDATE sessions SET session_id = NULL WHERE session_id = 'none'")
    connection.commit()
    connection.close()
    keep, batches = moved(path)
    aside = [each for batch in batches for each in batch.quarantine]
    assert [(each.kind, each.session_id, each.row_id, each.code) for each in aside] == [
        (CATALOG, "", "3", "session_id_unusable"),
        (CATALOG, "", "4", "session_id_unusable"),
        ("session", "bad", "bad", "history_unreadable"),
    ]
    assert (aside[0].row["session_id"], aside[2].row["history"]) == ({"text": "ff"}, {"text": "7bff"})
    assert [line[0] for line in keep.tables["sessions"]] == ["good"]
    catalog = batches[0].units[0]
    assert (catalog.read_counts, catalog.state) == ({"sessions": 2}, "partial")
    with source(path) as opened:
        again = LangswarmForward(opened, LangswarmOptions()).catalog(Keep(), known=catalog.source_digest)
    assert (again.units, again.unchanged) == ([], [""])


def test_another_programs_store_is_refused(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "other.db").executescript("CREATE TABLE t (x)").close()
    with pytest.raises(WrongGenerationError, match="no V1 store"):
        source(tmp_path / "other.db")
    with pytest.raises(StoreNotFoundError):
        open_legacy(parse_store_url(f"sqlite://{tmp_path / 'none.db'}"), snapshot=False)


# --- a run's view


def test_groups_keep_their_bounds_and_cover_every_session_once(tmp_path: Path) -> None:
    path = tmp_path / "v1.db"
    make_v1(path, *(row(f"s{n}", ["x" * 100] * (n % 7)) for n in range(40)))
    with source(path) as opened:
        converter = LangswarmForward(opened, LangswarmOptions())
        inventory = converter.inventory()
        assert inventory.rows == {"sessions": 40, "session_messages": sum(n % 7 for n in range(40))}
        for limits in ({"max_rows": 10}, {"max_bytes": 5_000}, {"max_rows": 1}):
            groups = list(converter.groups(**limits))
            assert [place for group in groups for place in group.places] == list(range(1, 41))
            assert sum(group.rows for group in groups) == sum(inventory.rows.values())
            assert all(group.rows <= limits.get("max_rows", 10**9) or len(group.places) == 1 for group in groups)
            assert all(group.bytes <= limits.get("max_bytes", 10**9) or len(group.places) == 1 for group in groups)
        whole = moved_by(converter, max_rows=7)[0].tables
        assert whole == moved_by(converter)[0].tables
        [single] = [list(converter.singles(each)) for each in list(converter.groups())]
        assert [each.places for each in single] == [(n,) for n in range(1, 41)]


def test_only_some_sessions_are_chosen_and_any_can_be_picked(tmp_path: Path) -> None:
    path = tmp_path / "v1.db"
    make_v1(path, *(row(f"s{n}", ["x"]) for n in range(5)))
    with source(path) as opened:
        converter = LangswarmForward(opened, LangswarmOptions(only=("s3", "s1", "s3", "nobody", "\ud800")))
        assert converter.inventory().sessions == 2
        assert list(converter.session_ids()) == ["s1", "s3"]
        assert converter.missing(["s3", "nobody", "\ud800"]) == ["nobody", "\ud800"]
        left = converter.leave_out(["s1"])
        assert (left.sessions, list(converter.session_ids())) == (1, ["s3"])
        keep = Keep()
        for group in converter.pick(["s4", "nobody", "s0"]):
            converter.convert(group, keep)
        assert [line[0] for line in keep.tables["sessions"]] == ["s4", "s0"]


def test_a_picked_session_is_read_by_its_id_though_v1_has_given_its_place_away(tmp_path: Path) -> None:
    path = tmp_path / "v1.db"
    make_v1(path, row("a", ["x"]), row("b", ["y"]))
    with closing(LiveSource(parse_store_url(f"sqlite://{path}"))) as live:
        converter = LangswarmForward(live, LangswarmOptions())
        [group] = converter.pick(["b"])
        connection = sqlite3.connect(path)
        # V1 saves a row by replacing it; the place of the last one goes to the next that is saved
        connection.execute("DELETE FROM sessions WHERE session_id = 'b'")
        for each in (row("c", ["z"]), row("b", ["y", "again"])):
            connection.execute(INSERT, tuple(each.cells.values()))
        connection.commit()
        connection.close()
        keep = Keep()
        converter.convert(group, keep)
    assert [line[0] for line in keep.tables["sessions"]] == ["b"]
    assert len(keep.tables["session_messages"]) == 2


def test_what_was_moved_before_and_is_the_same_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "v1.db"
    make_v1(path, row("same", ["x"]), row("changed", ["x"]))
    _, batches = moved(path)
    known = [(unit.session_id, unit.source_digest) for unit in units(batches)]
    connection = sqlite3.connect(path)
    connection.execute(INSERT, tuple(row("changed", ["x", "y"]).cells.values()))
    connection.commit()
    connection.close()
    with source(path) as opened:
        converter = LangswarmForward(opened, LangswarmOptions())
        converter.know([*known, ("gone", "00" * 32)])
        keep, again = moved_by(converter)
        assert converter.foreign() == (3, 1, "gone")
    assert [batch.unchanged for batch in again] == [[], ["same"]]
    assert [line[0] for line in keep.tables["sessions"]] == ["changed"]


def test_what_the_target_refused_goes_to_quarantine_whole(tmp_path: Path) -> None:
    path = tmp_path / "v1.db"
    make_v1(path, row("a", ["x"]), row("b", ["y"]))
    keep = Keep()
    with source(path) as opened:
        converter = LangswarmForward(opened, LangswarmOptions())
        converter.inventory()
        [group] = converter.groups()
        batch = converter.convert(group, keep, {"a": ("target_refused", "no")})
    assert [(each.session_id, each.code) for each in batch.quarantine] == [("a", "target_refused")]
    assert [line[0] for line in keep.tables["sessions"]] == ["b"]
    assert batch.units[0].read_counts == {"sessions": 1}


def test_a_batch_that_is_made_again_gives_its_example_again(tmp_path: Path) -> None:
    path = tmp_path / "v1.db"
    make_v1(path, *(legacy_row(metadata(key), history([message(), message()], key), key) for key in "ab"))
    with source(path) as opened:
        converter = LangswarmForward(opened, LangswarmOptions())
        converter.inventory()
        [group], (a, b) = converter.groups(), converter.pick("ab")

        def example(group: Group, *refused: str) -> Any:
            found = converter.convert(group, Keep(), dict.fromkeys(refused, ("target_refused", "no")))
            return [loss.example for loss in found.losses]

        assert [example(group) for _ in "12"] == [[{"session_id": "a"}]] * 2
        assert example(group, "a") == [{"session_id": "b"}]
        assert [example(each) for each in converter.singles(group)] == [[{"session_id": key}] for key in "ab"]
        assert example(b) == [None], "one example is enough"
        converter = LangswarmForward(opened, LangswarmOptions())
        assert [example(each) for each in (a, a, b)] == [[{"session_id": "a"}], [{"session_id": "a"}], [None]]


def test_messages_of_the_future_are_told(tmp_path: Path) -> None:
    late = legacy_row(metadata(), history([message(), message(timestamp="2999-01-01T00:00:00")]))
    make_v1(tmp_path / "v1.db", late)
    _, batches = moved(tmp_path / "v1.db")
    told = [fact for batch in batches for fact in batch.facts if fact.code == "times_in_future"]
    assert [(fact.count, fact.detail) for fact in told] == [(1, "2999-01-01 00:00:00")]


# --- dumps


def dump(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_dump_is_read_in_parts_whatever_its_layout(tmp_path: Path) -> None:
    sessions = {
        f"s{n} é": {"metadata": metadata(f"s{n} é"), "history": history([message(content="x" * n * 900)], f"s{n} é")}
        for n in range(120)
    }
    tables = []
    for text in (
        json.dumps(sessions),
        "\ufeff" + json.dumps(sessions, ensure_ascii=False, indent=2),
        f"\n {json.dumps(sessions, separators=(',', ':'))}\n ",
    ):
        tables.append(moved(dump(tmp_path / "d.json", text))[0].tables)
    assert tables[0] == tables[1] == tables[2]
    assert len(tables[0]["sessions"]) == 120


def test_of_a_session_that_a_dump_names_twice_the_last_one_counts(tmp_path: Path) -> None:
    one, two = (
        json.dumps({"metadata": metadata("a"), "history": history([message(content=each)], "a")}) for each in "12"
    )
    path = dump(tmp_path / "d.json", f'{{"a": {one}, "b": 5, "\\ud800": {one}, "a": {two}}}')
    keep, batches = moved(path)
    assert [line[3] for line in keep.tables["session_messages"]] == ["2"]
    aside = [(each.kind, each.code) for batch in batches for each in batch.quarantine]
    assert aside == [
        (CATALOG, "session_id_unusable"),
        (CATALOG, "session_repeated"),
        ("session", "entry_unreadable"),
    ]
    assert batches[0].quarantine[0].row["session_id"] == '"\\ud800"'


def test_an_empty_dump_has_no_sessions(tmp_path: Path) -> None:
    assert keys(dump(tmp_path / "d.json", " { } ")) == []


@pytest.mark.parametrize("text", ['{"a": {"metadata": ', '{"a": 1', '{"a": 1} x', '{"a" 1}', '{"a": 1, }', '{"a": 01}'])
def test_a_broken_dump_is_refused_with_the_place(tmp_path: Path, text: str) -> None:
    with pytest.raises(StoreCorruptError, match="at character"):
        source(dump(tmp_path / "d.json", text))


def test_what_is_no_dump_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreFormatError, match="no dump"):
        source(dump(tmp_path / "d.json", "[1]"))
    (tmp_path / "d.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(StoreFormatError, match="UTF-8"):
        open_legacy(parse_store_url(f"json://{tmp_path / 'd.json'}"), snapshot=True)


# --- the enhanced store


def enhanced(path: Path, rows: list[tuple[Any, Any, Any]]) -> Path:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE memory (key TEXT PRIMARY KEY, value TEXT NOT NULL, metadata TEXT)")
    connection.executemany("INSERT INTO memory VALUES (?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return path


def test_an_enhanced_stores_literals_are_read_and_never_run(tmp_path: Path) -> None:
    document = json.dumps({"metadata": metadata("a"), "history": history([message(content="it's \n ok")], "a")})
    mark = tmp_path / "ran"
    path = enhanced(
        tmp_path / "e.db",
        [
            ("session:a", "Session a", repr({"type": "session", "session_data": document})),
            ("session:code", "x", f"__import__('pathlib').Path({str(mark)!r}).touch()"),
            ("session:none", "x", None),
            ("session:list", "x", "[1]"),
            ("session:number", "x", "{'session_data': 5}"),
            ("session:json", "x", "{'session_data': '[1'}"),
            ("conversation:1", "x", None),
            (b"session:blob", "x", None),
            (None, "x", None),
        ],
    )
    keep, batches = moved(path)
    assert not mark.exists()
    assert [line[0] for line in keep.tables["sessions"]] == ["a"]
    assert keep.tables["session_messages"][0][3] == "it's \n ok"
    aside = [each for batch in batches for each in batch.quarantine]
    assert {each.session_id: each.code for each in aside} == dict.fromkeys(
        ("code", "none", "list", "number", "json"), "entry_unreadable"
    )
    assert batches[0].excluded == {"memory": 3}
    assert batches[0].losses[0].code == "search_index"


# --- single reads, for a bridge


def test_a_reader_sees_each_save_and_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "v1.db"
    make_v1(path, row("s", ["one"]))
    with LegacyReader(parse_store_url(f"sqlite://{path}")) as reader:
        assert reader.get("nobody") is None
        first = reader.get("s")
        connection = sqlite3.connect(path)
        connection.execute(INSERT, tuple(row("s", ["one", "two"]).cells.values()))
        connection.commit()
        connection.close()
        second = reader.get("s")
        assert first is not None
        assert second is not None
        assert len(json.loads(second.cells["history"])["messages"]) == 2
        _made(tmp_path / "new.db", row("other", ["x"])).replace(path)
        assert reader.get("s") is None
        assert reader.get("other") is not None
    assert set(files(tmp_path)) == {"v1.db"}


def _made(path: Path, *rows: LegacyRow) -> Path:
    make_v1(path, *rows)
    return path


def test_a_reader_goes_on_after_a_writer_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "v1.db"
    make_v1(path, *(row(f"s{n}", ["hello " * 300]) for n in range(20)))
    with LegacyReader(parse_store_url(f"sqlite://{path}")) as reader:
        before = reader.get("s7")
        kill_a_writer(path, "journal")
        hot = files(tmp_path)
        assert reader.get("s7") == before
        assert files(tmp_path) == hot
        # the application comes back and rolls its journal back itself
        sqlite3.connect(path).execute("SELECT count(*) FROM sessions").connection.close()
        assert reader.get("s7") == before


def test_a_reader_reads_a_dump_again_when_it_was_written_again(tmp_path: Path) -> None:
    entry = {"metadata": metadata("a"), "history": history([], "a")}
    path = dump(tmp_path / "d.json", json.dumps({"a": entry}))
    with LegacyReader(parse_store_url(str(path))) as reader:
        assert reader.get("a") is not None
        dump(path, json.dumps({"b": entry, "a": entry}))
        assert reader.get("b") is not None


def test_readers_in_many_threads_share_one_connection(tmp_path: Path) -> None:
    path = tmp_path / "v1.db"
    make_v1(path, *(row(f"s{n}", [f"c{n}"]) for n in range(50)))
    wrong: list[str] = []
    with LegacyReader(parse_store_url(f"sqlite://{path}")) as reader:

        def read() -> None:
            for n in range(50):
                found = reader.get(f"s{n}")
                if found is None or f"c{n}" not in found.cells["history"]:
                    wrong.append(f"s{n}")

        threads = [threading.Thread(target=read) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
