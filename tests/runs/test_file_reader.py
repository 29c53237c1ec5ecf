"""The verifier's reader of files gives every value as it lies there, and says what is wrong where it cannot."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.support.surroundings import another_process

from sessionlift.errors import StoreCorruptError, StoreError, StoreLockedError
from sessionlift.runs.verifier import TargetReader, open_reader
from sessionlift.runs.verifier import _readers as readers
from sessionlift.stores import StoreURL

ODD_TEXT = "CAST(x'61ff62' AS TEXT)"
VALUES: list[Any] = [
    None, -(2**63), 2**63 - 1, 0, 1.5, -0.1, 1e308, float("inf"), "", "a\0b", "\u03c0 \U0001d11e", b"", b"\xff\0", "61",
]  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a b%20?#'ü.db"


def make(file: Path, encoding: str = "UTF-8") -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute(f"PRAGMA encoding = '{encoding}'")
    connection.execute("CREATE TABLE cells (id INTEGER PRIMARY KEY, value, number REAL)")
    return connection


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
@pytest.mark.parametrize("at", [None, 0, 5, len(VALUES)], ids=lambda at: f"odd text at {at}")
def test_every_value_comes_as_it_lies_there(file: Path, encoding: str, at: int | None) -> None:
    with closing(make(file, encoding)) as db:
        for number, value in enumerate(VALUES):
            if number == at:
                db.execute(f"INSERT INTO cells VALUES (?, {ODD_TEXT}, 29)", (number * 2 - 1,))
            db.execute("INSERT INTO cells VALUES (?, ?, 29)", (number * 2, value))
        if at == len(VALUES):
            db.execute(f"INSERT INTO cells VALUES (?, {ODD_TEXT}, 29)", (at * 2,))
    with closing(open_reader(StoreURL("sqlite", file))) as reader:
        for most in (1, 3, 1_000):
            rows = list(read_by(most, reader))
            assert all(same(row[2], 29.0) for row in rows)
            found = {row[0]: row[1] for row in rows if row[0] % 2 == 0 and row[0] < 2 * len(VALUES)}
            assert list(found) == [2 * number for number in range(len(VALUES))]
            assert all(same(found[2 * number], value) for number, value in enumerate(VALUES))
            if at is not None and encoding == "UTF-8":
                (odd,) = (row[1] for row in rows if row[0] % 2 or row[0] == 2 * len(VALUES))
                assert same(odd, b"a\xffb")


def read_by(most: int, reader: TargetReader) -> Iterator[tuple[Any, ...]]:
    with closing(reader.stream("cells", ("id", "value", "number"), "id > ?", (-9,), ("id",))) as stream:
        while rows := stream.fetch(most):
            yield from rows


def test_rows_after_an_odd_text_are_neither_left_out_nor_doubled(file: Path) -> None:
    with closing(make(file)) as db:
        db.executemany("INSERT INTO cells VALUES (?, 'x', 1)", [(number,) for number in range(3_000)])
        db.execute(f"UPDATE cells SET value = {ODD_TEXT} WHERE id IN (0, 1234, 2999)")
    with closing(open_reader(StoreURL("sqlite", file))) as reader:
        rows = reader.read("cells", ("id", "value"), "", (), ("id",))
    assert [row[0] for row in rows] == list(range(3_000))
    assert [row[0] for row in rows if row[1] == b"a\xffb"] == [0, 1234, 2999]
    assert all(row[1] == "x" for row in rows if row[0] not in (0, 1234, 2999))


def test_a_file_that_is_locked_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_BUSY_MS", 10)
    make(file).close()
    # locks of one process are not in each other's way
    holder = (
        f"import sqlite3, time; db = sqlite3.connect({str(file)!r}, isolation_level=None);"
        "db.execute('BEGIN EXCLUSIVE'); print('ready', flush=True); time.sleep(60)"
    )
    with (
        another_process(holder),
        closing(open_reader(StoreURL("sqlite", file))) as reader,
        pytest.raises(StoreLockedError, match="locked by another program") as caught,
    ):
        reader.read("cells", ("id",))
    assert "verify again" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (None, StoreError, "unable to open"),
        (b"no database at all" * 100, StoreCorruptError, "not a database"),
    ],
    ids=["not there", "a text"],
)
def test_what_is_no_store_is_told(file: Path, content: bytes | None, kind: type[StoreError], said: str) -> None:
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(kind, match=said), closing(open_reader(StoreURL("sqlite", file))) as reader:
        reader.tables()


def test_a_damaged_page_is_told(file: Path) -> None:
    with closing(make(file)) as db:
        db.executemany("INSERT INTO cells VALUES (?, ?, 1)", [(number, "x" * 50) for number in range(500)])
    content = bytearray(file.read_bytes())
    content[8192:12288] = b"\x99" * 4096
    file.write_bytes(content)
    with closing(open_reader(StoreURL("sqlite", file))) as reader, pytest.raises(StoreCorruptError, match="malformed"):
        reader.read("cells", ("id", "value"))


def test_a_table_that_is_not_there_is_told(file: Path) -> None:
    make(file).close()
    with (
        closing(open_reader(StoreURL("sqlite", file))) as reader,
        pytest.raises(StoreError, match="no such table: others"),
    ):
        reader.read("others", ("id",))


def test_a_reader_writes_nothing(file: Path) -> None:
    make(file).close()
    before = file.read_bytes()
    with closing(open_reader(StoreURL("sqlite", file))) as reader:
        assert reader.tables() == {"cells"}
        assert reader.count("cells") == 0
    assert (file.read_bytes(), [each.name for each in file.parent.iterdir()]) == (before, [file.name])
