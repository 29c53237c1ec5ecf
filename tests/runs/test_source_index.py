"""Which rows the verifier takes for a session's, whatever is asked before and in which order."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.made import make_synth_v2

from sessionlift.runs.verifier import _source
from sessionlift.runs.verifier._source import CHILDREN, SourceIndex
from sessionlift.stores import DuckdbStore, parse_store_url

SESSIONS = 60


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    path = tmp_path_factory.mktemp("index") / "old.duckdb"
    make_synth_v2(path, sessions=SESSIONS)
    with DuckdbStore(parse_store_url(str(path))) as store:
        yield store.connection


@pytest.fixture(scope="module")
def index(source: duckdb.DuckDBPyConnection) -> SourceIndex:
    return SourceIndex(source)


@pytest.fixture(scope="module")
def counted(source: duckdb.DuckDBPyConnection) -> dict[str, dict[str, tuple[int, int, int]]]:
    """By session and table: its rows, and the least and the greatest of their ids."""
    found: dict[str, dict[str, tuple[int, int, int]]] = {
        session: {} for (session,) in source.execute("SELECT session_id FROM session_traces ORDER BY rowid").fetchall()
    }
    for table in CHILDREN:
        rows = f"SELECT session_id, count(*), min(id), max(id) FROM {table} GROUP BY 1"
        for session, *numbers in source.execute(rows).fetchall():
            found[session][table] = (numbers[0], numbers[1], numbers[2])
    return found


def test_sessions_with_large_metadata_are_given_a_few_at_a_time(
    index: SourceIndex, counted: dict[str, dict[str, tuple[int, int, int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_source, "MAX_BYTES", 1)
    batches = [batch.ids for batch in index.batches(list(counted))]
    assert [session for ids in batches for session in ids] == list(counted)
    assert len(batches) > 1


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(0, SESSIONS + 5), max_size=12), max_size=5))
def test_every_session_is_given_once_with_all_of_its_rows(
    index: SourceIndex, counted: dict[str, dict[str, tuple[int, int, int]]], asked: list[list[int]]
) -> None:
    everybody = list(counted)
    for places in asked:
        # those past the end are in no store
        ids = [everybody[place] if place < SESSIONS else f"nobody {place}" for place in places]
        batches = list(index.batches(ids))
        assert [session for batch in batches for session in batch.ids if session not in batch.missing] == [
            session for session in everybody if session in ids
        ], "in the order of the source"
        assert {session for batch in batches for session in batch.missing} == set(ids) - set(everybody)
        for batch in batches:
            there = [session for session in batch.ids if session in counted]
            for table in CHILDREN:
                own = [counted[session][table] for session in there if table in counted[session]]
                assert batch.counts[table] == {session: counted[session].get(table, (0, 0, 0))[0] for session in there}
                assert batch.ranges[table] == (
                    (min(least for _, least, _ in own), max(most for *_, most in own)) if own else None
                )
