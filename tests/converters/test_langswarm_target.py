"""V2's rows in real stores: the digest of what was made is the digest of what lies there, through every driver."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.langswarm_rows import Keep, moved, units

from sessionlift._demo import make_langswarm_v1
from sessionlift.converters import CATALOG, SESSION
from sessionlift.converters.langswarm import (
    V2_COLUMNS,
    LangswarmBackward,
    LangswarmRows,
    backward,
    open_legacy,
    read_session,
)
from sessionlift.generations import prepare_target
from sessionlift.stores import Store, open_store, parse_store_url

ROWS = LangswarmRows()


@pytest.fixture(scope="module")
def legacy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("v1") / "v1.db"
    make_langswarm_v1(path, sessions=70, seed=3, traps="all")
    return path


@pytest.fixture(params=["libsql", "sqlite"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    url = parse_store_url(f"{request.param}://{tmp_path / 'v2.db'}")
    prepare_target(url, "langswarm.v2")
    with open_store(url, mode="rw", role="target") as store:
        yield store


def fill(store: Store, keep: Keep) -> None:
    with store.transaction():
        for table, rows in keep.tables.items():
            store.insert_rows(table, V2_COLUMNS[table], rows)


def test_the_digest_of_made_rows_is_that_of_the_rows_in_the_store(legacy: Path, target: Store) -> None:
    keep, batches = moved(legacy, timezone="Europe/Berlin")
    fill(target, keep)
    told = {unit.session_id: unit.target_digest for unit in units(batches) if unit.kind == SESSION}
    assert ROWS.digests(target, SESSION, list(told)) == told
    assert len(set(told.values())) == len(keep.tables["sessions"]) + 1, "those in quarantine have no rows"
    for unit in units(batches):
        if unit.kind == CATALOG:
            assert ROWS.digests(target, CATALOG, [""]) == {"": unit.target_digest}


def test_a_stored_session_is_read_in_v2s_order_and_comes_back(legacy: Path, target: Store) -> None:
    keep, batches = moved(legacy, timezone="Europe/Berlin")
    fill(target, keep)
    complements = {unit.session_id: unit.complement for unit in units(batches)}
    with open_legacy(parse_store_url(str(legacy)), snapshot=True) as source:
        rows = {row.key: row for _, row in source.walk()}
    stored = [row[0] for row in keep.tables["sessions"]]
    for session_id in stored:
        found = read_session(target, session_id)
        assert found is not None
        assert backward(found, complements[session_id]).cells == dict(rows[session_id].cells)
    assert read_session(target, "nobody") is None


def test_only_the_sessions_that_are_named_are_removed(legacy: Path, target: Store) -> None:
    keep, _ = moved(legacy)
    fill(target, keep)
    first, second, *_rest = (row[0] for row in keep.tables["sessions"])
    before = ROWS.digests(target, SESSION, [second])
    with target.transaction():
        ROWS.remove(target, SESSION, [first])
    assert read_session(target, first) is None
    for table in V2_COLUMNS:
        assert target.query(f"SELECT count(*) FROM {table} WHERE session_id = ?", (first,)) == [(0,)]
    assert ROWS.digests(target, SESSION, [second]) == before
    empty = set(ROWS.digests(target, SESSION, [first, "nobody"]).values())
    assert len(empty) == 1, "a session without rows has the digest of no rows"


def test_a_session_with_token_counts_was_written_to_by_the_application(legacy: Path, target: Store) -> None:
    keep, _ = moved(legacy)
    fill(target, keep)
    ids = [row[0] for row in keep.tables["sessions"]]
    assert ROWS.touched(target, ids) == set()
    first = keep.tables["session_messages"][0][0]
    with target.transaction():
        target.execute("UPDATE session_messages SET token_count = 3 WHERE session_id = ?", (first,))
    assert ROWS.touched(target, ids) == {first}


def test_every_trap_of_the_demo_store_moves_or_is_put_aside(legacy: Path, tmp_path: Path) -> None:
    made = make_langswarm_v1(tmp_path / "again.db", sessions=70, seed=3, traps="all")
    keep, batches = moved(tmp_path / "again.db")
    aside = {row.session_id for batch in batches for row in batch.quarantine if row.kind == SESSION}
    strays = [row for batch in batches for row in batch.quarantine if row.kind == CATALOG]
    assert len(aside) + len(strays) == len(made.unreadable)
    assert aside <= set(made.unreadable)
    assert {row[0] for row in keep.tables["sessions"]} == set(made.truth)
    for session_id, rows in made.truth.items():
        contents = [json.dumps(each["content"]) for each in rows["history"]["messages"]]
        assert len(contents) == sum(1 for row in keep.tables["session_messages"] if row[0] == session_id)


def test_whatever_goes_wrong_with_one_session_is_told_of_it_and_the_others_are_made(
    legacy: Path, target: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, _ = moved(legacy)
    fill(target, keep)
    bad, *others = (row[0] for row in keep.tables["sessions"][:3])

    def odd(rows: Any, *more: Any) -> Any:
        if rows.session[0] == bad:
            raise KeyError("messages")
        return backward(rows, *more)

    monkeypatch.setattr("sessionlift.converters.langswarm._way_back.backward", odd)
    with LangswarmBackward() as way:
        batch = way.backward(target, [bad, *others], {})
    assert [(each.session_id, each.code) for each in batch.refused] == [(bad, "target_unreadable")]
    assert [unit.session_id for unit in batch.units] == others
