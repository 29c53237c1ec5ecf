"""Legacy rows into DuckDB, and what its engine takes for JSON."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.laws import tries

from sessionlift.converters.synth import _load
from sessionlift.converters.synth._scratch import Scratch

LINE = (1, "s", None, "user", '"hi"', "2025-03-01 10:00:00.000001", None, None)


@pytest.fixture(scope="module")
def scratch() -> Iterator[Scratch]:
    with Scratch() as made:
        yield made


@pytest.fixture
def db() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE messages (id INTEGER, session_id VARCHAR, timestep_id INTEGER, message_type VARCHAR, "
            "content VARCHAR, timestamp TIMESTAMP, event_time TIMESTAMP, message_time INTEGER)"
        )
        yield connection


def message(number: int, kind: str | None) -> tuple[Any, ...]:
    return (number, *LINE[1:3], kind, *LINE[4:])


def kinds(db: duckdb.DuckDBPyConnection) -> list[tuple[int, str | None]]:
    return db.execute("SELECT id, message_type FROM messages ORDER BY rowid").fetchall()


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [1, 40, 300, 10_000_000])
@pytest.mark.parametrize("rows_at_once", [1, 3, 5_000])
def test_rows_lie_whole_and_in_order_however_they_are_cut(
    db: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, at_once: int, rows_at_once: int
) -> None:
    monkeypatch.setattr(_load, "_BYTES", at_once)
    monkeypatch.setattr(_load, "_ROWS", rows_at_once)
    texts = ["", None, "x" * 50, '[1, "a"]', "null", "ä\u0000b", "\\u0000", '"', "\n"]
    rows = [message(number, text) for number, text in enumerate(texts * 2)]
    _load.insert(db, "messages", "messages", rows)
    assert kinds(db) == list(enumerate(texts * 2))


def test_no_rows_are_nothing_to_do(db: duckdb.DuckDBPyConnection) -> None:
    _load.insert(db, "messages", "messages", [])
    assert kinds(db) == []


def engine_takes(text: str) -> bool:
    found = duckdb.execute("SELECT TRY_CAST(? AS JSON) IS NOT NULL", [text]).fetchone()
    return found is not None and bool(found[0])


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.text(st.sampled_from('\\"\u0000\u007f\u2028/')),
    lambda each: (
        st.lists(each, max_size=4) | st.dictionaries(st.text(st.sampled_from('ab"\\\u0000')), each, max_size=4)
    ),
    max_leaves=12,
)
BITS = st.sampled_from(["{", "}", "[", "]", '"', ":", ",", "\\", "u0041", "ud800", "1", "-", ".", "e", "+", "0", "null",
                        "true", "NaN", "Infinity", " ", "\t", "\u0000", "\ufeff", "a", "é"])  # fmt: skip


@pytest.mark.slow
@tries(400)
@given(
    st.builds(lambda value, plain: json.dumps(value, ensure_ascii=plain), JSON_VALUES, st.booleans())
    | st.lists(BITS, max_size=12).map("".join)
)
@example("1e999")
@example("-0")
@example("123456789012345678901234567890.5")
@example('"\\ud83d\\ude00"')
@example('{"a": 1, "a": 2}')
@example("[" * 900 + "]" * 900)
@example("[" * 5_000 + "]" * 5_000)
@example("")
def test_a_text_is_json_where_the_legacy_engine_says_so(scratch: Scratch, text: str) -> None:
    """Most texts are never shown to the engine, since a quicker reader has taken them."""
    assert scratch.is_json(text) is engine_takes(text)


def test_large_texts_that_were_asked_about_are_not_kept(scratch: Scratch) -> None:
    assert not scratch.is_json("no JSON")
    tracemalloc.start()
    try:
        for number in range(30):
            assert not scratch.is_json(f"{number} words" * 50_000)
        assert tracemalloc.get_traced_memory()[0] < 2_000_000
    finally:
        tracemalloc.stop()
