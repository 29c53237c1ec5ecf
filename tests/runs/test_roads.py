"""Which generations can be moved, and what their sources promise to a run."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import duckdb
import pytest
from tests.support.made import make_synth_v2

from sessionlift.errors import StoreError, StoreFullError, UsageError
from sessionlift.generations import MOVED
from sessionlift.runs import TransferOptions, _roads, migrate, plan
from sessionlift.runs._roads import SOURCES, road_from, road_to
from sessionlift.runs.verifier import _synth_audit, open_reader, system_of
from sessionlift.runs.verifier._audit import Unit
from sessionlift.runs.verifier._compare import Comparison
from sessionlift.runs.verifier._room import RoomyEngine
from sessionlift.runs.verifier._source import Batch
from sessionlift.runs.verifier._synth import SynthVerifier
from sessionlift.runs.verifier._units import THERE
from sessionlift.stores import DuckdbStore, Need, open_store, parse_store_url


def test_every_generation_that_is_said_to_move_has_a_road() -> None:
    assert {source: road_from(source).target for source in SOURCES} == MOVED


def test_a_road_is_found_by_its_end_too() -> None:
    road = road_to("synth.v3")
    assert road is not None
    assert road.source == "synth.v2"
    assert road_to("synth.v2") is None
    with pytest.raises(UsageError, match=r"no converter begins at synth\.v3"):
        road_from("synth.v3")


@pytest.mark.parametrize("failures", [0, 1, 2, 3])
def test_work_that_needs_more_memory_gets_it_step_by_step_and_the_limit_comes_back(
    tmp_path: Path, failures: int
) -> None:
    make_synth_v2(tmp_path / "old.duckdb", sessions=1, seed=3)
    limits: list[float] = []
    with road_from("synth.v2").open_source(parse_store_url(str(tmp_path / "old.duckdb")), 1) as source:
        connection = source._store.connection  # type: ignore[attr-defined]

        def limit() -> float:
            size, unit = connection.execute("SELECT current_setting('memory_limit')").fetchone()[0].split()
            return float(size) * {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[unit]

        def work() -> str:
            limits.append(limit())
            if len(limits) <= failures:
                raise duckdb.OutOfMemoryException("not enough")
            return "done"

        usual = limit()
        assert source.with_room(work) == "done"
        assert limit() == usual
    assert limits[0] == usual
    assert limits == sorted(set(limits)), "each try has more than the one before"
    assert len(limits) == failures + 1


def test_what_does_not_fit_into_half_of_the_machine_is_an_error(tmp_path: Path) -> None:
    make_synth_v2(tmp_path / "old.duckdb", sessions=1, seed=3)
    tries = []

    def work() -> None:
        tries.append(1)
        raise duckdb.OutOfMemoryException("not enough")

    store = parse_store_url(str(tmp_path / "old.duckdb"))
    with (
        road_from("synth.v2").open_source(store, 1) as source,
        pytest.raises(duckdb.OutOfMemoryException),
    ):
        source.with_room(work)
    assert len(tries) == 4


def test_what_follows_begins_with_the_memory_that_the_work_before_needed_and_after_a_while_with_the_usual(
    tmp_path: Path,
) -> None:
    make_synth_v2(tmp_path / "old.duckdb", sessions=1, seed=3)
    limits: list[str] = []
    with road_from("synth.v2").open_source(parse_store_url(str(tmp_path / "old.duckdb")), 1) as source:
        connection = source._store.connection  # type: ignore[attr-defined]

        def work(least: int) -> None:
            limits.append(connection.execute("SELECT current_setting('memory_limit')").fetchone()[0])
            if len(limits) < least:
                raise duckdb.OutOfMemoryException("not enough")

        need = Need()
        source.with_room(lambda: work(3), need)
        usual, _, enough = limits
        limits.clear()
        source.with_room(lambda: work(0))
        assert limits == [usual], "of another kind"
        limits.clear()
        for _ in range(64):
            source.with_room(lambda: work(0), need)
        assert set(limits) == {usual, enough}
        assert limits.count(enough) < 32, "not for ever"
        assert limits == sorted(limits, key=lambda each: each == usual), "and then no more"


@pytest.mark.slow
def test_a_plan_gets_the_room_that_a_run_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_synth_v2(tmp_path / "old.duckdb", sessions=300, seed=3)
    expected = plan(str(tmp_path / "old.duckdb"), None, TransferOptions())
    monkeypatch.setattr(_roads, "MEMORY_LIMIT", "12MB")
    cramped = plan(str(tmp_path / "old.duckdb"), None, TransferOptions())
    assert (cramped.migrated_sessions, cramped.tables) == (expected.migrated_sessions, expected.tables)


def compared(source: str, target: str) -> Comparison:
    """What the verifier finds in all sessions of the target."""
    reader = open_reader(parse_store_url(target))
    with system_of("synth.v2").open(parse_store_url(source), reader, {}) as checker:
        with closing(sqlite3.connect(target)) as db:
            checker.check([str(key) for (key,) in db.execute("SELECT session_id FROM session_traces")])
        checker.finish()
    reader.close()
    return checker.result


@pytest.mark.slow
def test_a_verifier_gets_the_room_that_it_needs_to_look_at_all_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it does not fit into the usual, as that of a million sessions does not."""
    source, target = str(tmp_path / "old.duckdb"), str(tmp_path / "new.db")
    make_synth_v2(tmp_path / "old.duckdb", sessions=20, seed=3)
    migrate(source, target, TransferOptions(), verify=False)
    monkeypatch.setattr(_synth_audit, "MEMORY_LIMIT", "12MB")
    result = compared(source, target)
    assert (result.sessions, result.differences) == (20, [])


@pytest.mark.slow
def test_sessions_with_large_metadata_are_compared_together_where_they_need_more_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one, each of them reads what lies beside it as well: minutes in place of seconds."""
    source, target = str(tmp_path / "old.duckdb"), str(tmp_path / "new.db")
    make_synth_v2(tmp_path / "old.duckdb", sessions=80, seed=3)
    with duckdb.connect(source) as db:
        large = """'[{"metadata_type": "x", "data": {"a": "' || repeat(md5(session_id), 12_000) || '"}}]'"""
        db.execute(f"UPDATE session_traces SET metadata = {large}")
    migrate(source, target, TransferOptions(), verify=False)
    monkeypatch.setattr(_synth_audit, "MEMORY_LIMIT", "16MB")
    monkeypatch.setattr(SynthVerifier, "_one_by_one", lambda *_: pytest.fail("compared one by one"))
    result = compared(source, target)
    assert (result.sessions, result.differences) == (80, [])


@pytest.mark.slow
def test_a_batch_that_cannot_be_compared_twice_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = str(tmp_path / "old.duckdb"), str(tmp_path / "new.db")
    make_synth_v2(tmp_path / "old.duckdb", sessions=6, seed=3)
    migrate(source, target, TransferOptions(), verify=False)
    with closing(sqlite3.connect(target)) as db:
        db.execute("UPDATE messages SET content = 'changed' WHERE id IN (SELECT id FROM messages LIMIT 2)")
        db.commit()
    compare = SynthVerifier._compare
    tries: list[int] = []
    broken = [False]

    def fail(self: SynthVerifier, batch: Batch, after: Any) -> None:
        compare(self, batch, after)
        tries.append(len(batch.ids))
        if broken[0] and len(batch.ids) > 1:
            raise duckdb.OutOfMemoryException("not enough")

    monkeypatch.setattr(SynthVerifier, "_compare", fail)
    counted = []
    for broken[0] in (False, True):
        result = compared(source, target)
        assert len(result.differences) == 2
        counted.append((result.sessions, result.rows, result.values, result.by_table, result.differing))
    assert counted[0] == counted[1]
    assert tries == [6, 6, 6, 1, 1, 1, 1, 1, 1], "once, once with more memory, then each alone"


@pytest.mark.slow
def test_an_audit_of_many_sessions_gets_the_memory_that_it_needs(tmp_path: Path) -> None:
    sessions = 40_000
    config: dict[str, Any] = {"temp_directory": str(tmp_path / "spill"), "threads": 1}
    with duckdb.connect(str(tmp_path / "some.duckdb"), config=config) as db:
        db.execute(
            f"CREATE TABLE v_index AS SELECT range AS n, md5(range::VARCHAR) AS session_id FROM range({sessions})"
        )
        ids = [str(key) for (key,) in db.execute("SELECT session_id FROM v_index ORDER BY n").fetchall()]
        db.execute("SET memory_limit = '8MB'")
        before = db.execute("SELECT current_setting('memory_limit')").fetchone()
        engine = RoomyEngine(db)
        units = _synth_audit.DuckdbUnits(engine)
        units.load(Unit("session", key, "run", key * 2, key * 2, "moved") for key in sorted(ids))
        assert [key for chunk in units.chunks("run", THERE) for key in chunk] == ids
        units.meet([ids[: sessions // 2]])
        assert (units.sessions(), units.lost(), units.unmoved(None)[0], units.native()[0]) == (sessions, 0, 0, 0)
        assert db.execute("SELECT current_setting('memory_limit')").fetchone() == before, "again and again"


def test_a_temporary_file_that_grows_too_large_is_told_as_that(tmp_path: Path) -> None:
    make_synth_v2(tmp_path / "old.duckdb", sessions=1, seed=3)
    said = 'IO Error: Could not write file "/tmp/x/duckdb_temp_storage_DEFAULT-0.tmp": File too large'
    with (
        open_store(str(tmp_path / "old.duckdb"), mode="ro", role="source") as store,
        pytest.raises(StoreFullError, match="larger than this process may write") as told,
        cast("DuckdbStore", store).mapped(),
    ):
        raise duckdb.IOException(said)
    assert "ulimit -f" in told.value.hint


def test_memory_that_is_short_is_told_as_that(tmp_path: Path) -> None:
    make_synth_v2(tmp_path / "old.duckdb", sessions=5, seed=3)
    with open_store(str(tmp_path / "old.duckdb"), mode="ro", role="source") as store:
        store.execute("SET memory_limit = '1MB'")
        with pytest.raises(StoreError, match="memory is too short") as raised:
            store.query("SELECT count(DISTINCT n) FROM (SELECT random()::VARCHAR AS n FROM range(200_000))")
    assert raised.value.hint is not None
    assert "memory" in raised.value.hint


def test_nobody_takes_the_memory_away_that_another_one_works_with(tmp_path: Path) -> None:
    make_synth_v2(tmp_path / "old.duckdb", sessions=1, seed=3)
    store = parse_store_url(str(tmp_path / "old.duckdb"))
    road = road_from("synth.v2")
    with road.open_live(store) as one, road.open_live(store) as other:
        connection = one._store.connection  # type: ignore[attr-defined]

        def limit() -> str:
            return str(connection.execute("SELECT current_setting('memory_limit')").fetchone()[0])

        usual, seen = limit(), list[str]()

        def work() -> None:
            before = limit()
            other.with_room(lambda: None)
            with road.open_live(store):
                pass
            assert limit() == before, "one file has one limit in a process"
            seen.append(before)
            if len(seen) < 3:
                raise duckdb.OutOfMemoryException("not enough")

        one.with_room(work)
        assert len(set(seen)) == 3
        assert limit() == usual
