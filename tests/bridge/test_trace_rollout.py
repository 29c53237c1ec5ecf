"""Traces under a rollout: who is served from where, shadow mode, moves that fail, and a legacy store that is held."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.laws import TORTURE
from tests.support.moved import change_source, query, session_ids
from tests.support.traces import Traces, held, make_traces

from sessionlift.bridge import Rollout
from sessionlift.bridge.synth import SyncTraceBridge, TraceBridge
from sessionlift.bridge.synth._compare import ShadowCompare
from sessionlift.errors import StoreFullError, StoreLockedError
from sessionlift.runs import TransferOptions
from sessionlift.stores import open_store, parse_store_url

pytestmark = pytest.mark.slow

SHADOW = Rollout(mode="shadow")


@pytest.fixture
def traces(tmp_path: Path) -> Traces:
    return make_traces(tmp_path, sessions=3)


def moved(traces: Traces) -> set[str]:
    return {key for (key,) in query(traces.target, "SELECT session_id FROM session_traces")}


def test_only_chosen_sessions_move_and_all_are_answered(traces: Traces) -> None:
    first, second, *_ = traces.ids
    chosen = Rollout(share=0.0, allow=frozenset({first, second}), deny=frozenset({second}))
    for rollout, wanted in (
        (Rollout(mode="off"), set()),
        (Rollout(paused=True), set()),
        (chosen, {first}),
        (Rollout(mode="off"), {first}),
        (Rollout(), set(traces.ids)),
    ):
        with SyncTraceBridge(*traces.both, rollout=rollout) as bridge:
            for each in traces.ids:
                trace = bridge.get_session_trace(each)
                assert trace is not None
                assert trace["session_id"] == each
        assert moved(traces) == wanted


def test_the_rollout_may_change_while_a_bridge_runs(traces: Traces) -> None:
    now = [Rollout(mode="off")]
    with SyncTraceBridge(*traces.both, rollout=lambda: now[0]) as bridge:
        before = [bridge.get_session_trace(each) for each in traces.ids]
        assert moved(traces) == set()
        now[0] = Rollout()
        assert [bridge.get_session_trace(each) for each in traces.ids] == before
    assert moved(traces) == set(traces.ids)


@pytest.mark.torture
@pytest.mark.parametrize("dress", ["final", "mid", "mixed"] if TORTURE else ["mixed"])
def test_in_shadow_mode_nothing_moves_and_nothing_differs(tmp_path: Path, dress: str) -> None:
    made = make_traces(tmp_path, sessions=4, dress=dress, traps="all")
    options = TransferOptions(timezone="Europe/Berlin", timezone_given=True)
    with SyncTraceBridge(*made.both, options, rollout=SHADOW) as bridge:
        for each in made.ids:
            assert bridge.get_session_trace(each) is not None
    assert moved(made) == set()
    assert query(made.target, "SELECT session_id, field, example FROM sessionlift_shadow WHERE field <> ''") == []
    assert query(made.target, "SELECT count(*) FROM sessionlift_shadow")[0][0] > 0


@pytest.mark.torture
@pytest.mark.parametrize("name", ["partial", "small_mid", "crash_1.1.3"])
def test_the_real_programs_stores_are_answered_alike_before_and_after_the_move(
    real_stores: Path, tmp_path: Path, name: str
) -> None:
    for store in (real_stores / "synth").glob(f"{name}.duckdb*"):
        if store.suffix in (".duckdb", ".wal"):
            shutil.copyfile(store, tmp_path / store.name)
    source = tmp_path / f"{name}.duckdb"
    made = Traces(source, tmp_path / "v3.db", session_ids(source)[: None if TORTURE else 3])
    with SyncTraceBridge(*made.both, rollout=SHADOW) as bridge:
        before = [repr(bridge.get_session_trace(each)) for each in made.ids]
    assert "None" not in before
    assert query(made.target, "SELECT session_id, field, example FROM sessionlift_shadow WHERE field <> ''") == []
    with SyncTraceBridge(*made.both) as bridge:
        assert [repr(bridge.get_session_trace(each)) for each in made.ids] == before


def test_shadow_mode_names_each_field_that_differs(traces: Traces) -> None:
    with SyncTraceBridge(*traces.both, rollout=Rollout(mode="off")) as bridge:
        assert bridge.core is not None
        found = [each for each in map(bridge.core.convert, traces.ids) if each is not None]
    converted = next(each for each in found if len(each.rows.get("session_timesteps", [])) > 1)
    compare = ShadowCompare(parse_store_url(str(traces.source)), "UTC")
    assert compare(converted) == {}

    def differing(table: str, **cells: Any) -> dict[str, Any]:
        rows = {name: [dict(row) for row in some] for name, some in converted.rows.items()}
        rows[table][0].update(cells)
        return dict(compare(replace(converted, rows=rows)))

    other = "2001-01-01T00:00:00.000000+00:00"
    assert differing("session_traces", created_at=other).keys() == {"created_at"}
    assert differing("session_traces", num_messages=4711)["num_messages"]["new"] == 4711
    assert differing("session_traces", metadata="{}").keys() == {"metadata"}
    assert differing("session_timesteps", turn_number=99).keys() == {"timesteps.turn_number"}
    assert differing("session_timesteps", started_at=other).keys() == {"timesteps.started_at"}
    assert differing("session_timesteps", step_metadata='{"x": 1}').keys() == {"timesteps.metadata"}
    rows = {**converted.rows, "session_timesteps": converted.rows["session_timesteps"][:-1]}
    count = len(converted.rows["session_timesteps"])
    assert compare(replace(converted, rows=rows)) == {"timesteps": {"legacy": count, "new": count - 1}}
    # another zone than the store's: every time is another moment
    elsewhere = ShadowCompare(parse_store_url(str(traces.source)), "Asia/Tokyo")
    assert {"created_at", "timesteps.started_at"} <= elsewhere(converted).keys()
    compare.close()
    elsewhere.close()


@pytest.mark.torture
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"] if TORTURE else ["Europe/Berlin"])
def test_shadow_mode_holds_nothing_against_what_follows_the_rules(traces: Traces, zone: str) -> None:
    turns = ('{"turn_number": 1, "turn_number": 2}', '{"turn_number": 9223372036854775808}', '{"turn_number": -5}')
    times = ("0001-01-01 00:00:00.5", "2200-07-01 12:00:00", "9999-12-31 23:59:59.999999", "1849-12-31 23:00:00")
    for place, text in enumerate(turns):
        nth = f"(SELECT id FROM session_timesteps ORDER BY id LIMIT 1 OFFSET {place})"
        change_source(traces.source, f"UPDATE session_timesteps SET step_metadata = '{text}' WHERE id = {nth}")
    for place, text in enumerate(times):
        nth = f"(SELECT id FROM session_timesteps ORDER BY id LIMIT 1 OFFSET {place + 3})"
        change_source(traces.source, f"UPDATE session_timesteps SET timestamp = '{text}' WHERE id = {nth}")
    options = TransferOptions(timezone=zone, timezone_given=True)
    with SyncTraceBridge(*traces.both, options=options, rollout=Rollout(mode="off")) as bridge:
        assert bridge.core is not None
        compare = ShadowCompare(parse_store_url(str(traces.source)), zone)
        for session_id in traces.ids:
            converted = bridge.core.convert(session_id)
            assert converted is not None
            assert compare(converted) == {}
        compare.close()


# --- moves that fail -------------------------------------------------------------------------------------------


def test_a_session_whose_move_fails_is_served_from_the_legacy_store(
    traces: Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sessionlift.stores._libsql import LibsqlStore

    def refuse(*_: object, **__: object) -> int:
        raise StoreFullError("no room", role="target")

    first = traces.ids[0]
    with SyncTraceBridge(*traces.both, rollout=Rollout(mode="off")) as bridge:
        wanted = bridge.get_session_trace(first)
    with SyncTraceBridge(*traces.both, retry_after=0.01) as bridge:
        with monkeypatch.context() as patch:
            patch.setattr(LibsqlStore, "insert_rows", refuse)
            assert bridge.get_session_trace(first) == wanted
        assert moved(traces) == set()
        assert wanted is not None
    with SyncTraceBridge(*traces.both, on_error="raise") as bridge:
        with monkeypatch.context() as patch:
            patch.setattr(LibsqlStore, "insert_rows", refuse)
            with pytest.raises(StoreFullError):
                bridge.get_session_trace(first)
        assert bridge.get_session_trace(first) == wanted
    assert moved(traces) == {first}


def test_a_target_that_another_writer_keeps_holds_up_no_answer(traces: Traces) -> None:
    first, second, *_ = traces.ids
    with SyncTraceBridge(*traces.both, wait=0.1) as bridge:
        wanted = bridge.get_session_trace(first)
        with open_store(traces.both[1], mode="rw", role="target") as other, other.transaction():
            assert bridge.get_session_trace(first) == wanted
            assert bridge.get_session_trace(second) is not None
    assert moved(traces) == {first}


# --- a legacy store that another process holds -----------------------------------------------------------------


def test_what_has_moved_is_served_while_another_process_holds_the_legacy_store(traces: Traces) -> None:
    first, gone, left, *_ = traces.ids
    with SyncTraceBridge(*traces.both) as bridge:
        wanted = bridge.get_session_trace(first)
        assert wanted is not None
        bridge.delete_session(gone)
    with held(traces.source):
        bridge = SyncTraceBridge(*traces.both, retry_after=0.0)
        assert bridge.core is None
        assert bridge.get_session_trace(first) == wanted
        assert bridge.get_session_trace(gone) is None
        for unknown in (left, "nobody's"):
            with pytest.raises(StoreLockedError, match="another process holds") as caught:
                bridge.get_session_trace(unknown)
            assert (caught.value.transient, caught.value.fields["session_id"]) == (True, unknown)
            assert caught.value.fields["role"] == "source"
        with pytest.raises(StoreLockedError):
            bridge.delete_session(first)
    assert bridge.get_session_trace(left) is not None
    assert bridge.get_session_trace("nobody's") is None
    core = bridge.core
    assert core is not None
    assert bridge.get_session_trace(first) == wanted
    bridge.close()
    assert "held the legacy store" in core.report.read_text()
    assert moved(traces) == {first, left}


def test_an_application_that_has_the_legacy_store_open_itself_is_told_so(traces: Traces) -> None:
    with SyncTraceBridge(*traces.both) as bridge:
        assert bridge.get_session_trace(traces.ids[0]) is not None
    with duckdb.connect(str(traces.source)), SyncTraceBridge(*traces.both, retry_after=0.0) as bridge:
        with pytest.raises(StoreLockedError, match=r"this process holds .* in another way") as caught:
            bridge.get_session_trace(traces.ids[1])
        assert caught.value.hint.startswith("close that connection")


def test_a_held_legacy_store_and_no_target_is_an_error_for_every_session(traces: Traces) -> None:
    async def use() -> None:
        async with await TraceBridge.open(*traces.both) as bridge:
            with pytest.raises(StoreLockedError, match="another process holds"):
                await bridge.get_session_trace(traces.ids[0])

    with held(traces.source):
        asyncio.run(use())
    assert not traces.target.exists()
