"""One session's trace: the same answer from the legacy store and from the new one, and moved in between."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from itertools import product
from pathlib import Path

import pytest
from tests.support.laws import TORTURE
from tests.support.moved import query
from tests.support.synth_stores import LegacyStore
from tests.support.traces import Traces, make_traces

from sessionlift.bridge import Rollout
from sessionlift.bridge.synth import SyncTraceBridge, TraceBridge
from sessionlift.converters import SESSION
from sessionlift.errors import SessionliftError, UsageError, WrongGenerationError
from sessionlift.runs import TransferOptions, verify
from sessionlift.stores import open_store

pytestmark = pytest.mark.slow

OFF = Rollout(mode="off")
NEW_YORK = TransferOptions(timezone="America/New_York", timezone_given=True)


@pytest.fixture
def traces(tmp_path: Path) -> Traces:
    return make_traces(tmp_path)


TRAPS = ["none", "usual", "all"]
DRESSES = ["mid", "final", "mixed"]


@pytest.mark.torture
@pytest.mark.parametrize(
    ("dress", "traps"), list(product(DRESSES, TRAPS) if TORTURE else zip(DRESSES, TRAPS, strict=True))
)
def test_both_stores_give_one_answer(tmp_path: Path, dress: str, traps: str) -> None:
    made = make_traces(tmp_path, sessions=4, dress=dress, traps=traps)
    with SyncTraceBridge(*made.both, NEW_YORK, rollout=OFF) as bridge:
        legacy = [bridge.get_session_trace(each) for each in made.ids]
    assert query(made.target, "SELECT count(*) FROM session_traces") == [(0,)]
    with SyncTraceBridge(*made.both, NEW_YORK) as bridge:
        first_use = [bridge.get_session_trace(each) for each in made.ids]
        later = [bridge.get_session_trace(each) for each in made.ids]
    for each, answers in zip(made.ids, zip(legacy, first_use, later, strict=True), strict=True):
        assert answers[0] is not None, each
        # as text: NaN is not equal to itself, 1 is not True, and the order of keys counts
        assert len(set(map(repr, answers))) == 1, each
    found = query(made.target, "SELECT session_id FROM session_traces ORDER BY 1")
    assert found == [(each,) for each in sorted(made.ids)]


def test_the_answer_has_the_real_managers_keys_types_and_order(tmp_path: Path) -> None:
    source = tmp_path / "v2.duckdb"
    store = LegacyStore(source)
    store.session(
        "s",
        created_at="2025-07-01 10:00:00.25",
        metadata=json.dumps([{"metadata_type": "env", "data": {"π": [1, 2.5, None]}, "timestamp": "t"}]),
        num_events=9,
        timesteps=[
            {"step_id": "b", "step_index": 2, "timestamp": "2025-07-01 10:00:02"},
            {"step_id": "é", "step_index": 1},
            {"step_id": "a", "step_index": 1, "step_metadata": '{"turn_number": 7}'},
        ],
    )
    store.close()
    for rollout in (OFF, Rollout()):
        with SyncTraceBridge(str(source), str(tmp_path / "v3.db"), NEW_YORK, rollout=rollout) as bridge:
            trace = bridge.get_session_trace("s")
        assert trace is not None
        assert list(trace) == [
            "session_id", "created_at", "num_timesteps", "num_events", "num_messages", "metadata", "timesteps"
        ]  # fmt: skip
        assert trace["created_at"] == datetime(2025, 7, 1, 14, 0, 0, 250_000, tzinfo=timezone.utc)
        assert trace["created_at"].utcoffset() == timedelta(0)
        assert (trace["num_timesteps"], trace["num_events"], trace["num_messages"]) == (3, 9, 0)
        assert trace["metadata"] == {"env": {"π": [1, 2.5, None]}}
        steps = trace["timesteps"]
        assert [list(step) for step in steps] == [
            ["step_id", "step_index", "turn_number", "started_at", "completed_at", "metadata"]
        ] * 3
        assert [(step["step_id"], step["step_index"], step["turn_number"]) for step in steps] == [
            ("a", 1, 7),
            ("é", 1, 1),
            ("b", 2, 2),
        ]
        assert steps[2]["started_at"] == datetime(2025, 7, 1, 14, 0, 2, tzinfo=timezone.utc)
        assert [step["completed_at"] for step in steps] == [None] * 3
        assert [step["metadata"] for step in steps] == [{"turn_number": 7}, {}, {}]


def test_what_the_real_program_wrote_is_read_as_it_reads_it(traces: Traces) -> None:
    first = traces.ids[0]
    with SyncTraceBridge(*traces.both) as bridge:
        moved = bridge.get_session_trace(first)
        assert moved is not None
        with open_store(traces.both[1], mode="rw", role="target") as other, other.transaction():
            other.execute(
                "INSERT INTO session_traces (session_id, created_at, num_timesteps, num_events, num_messages, metadata)"
                " VALUES ('native', '2025-09-01 08:00:00', 1, 0, 0, NULL)"
            )
            other.execute(
                "INSERT INTO session_timesteps (session_id, step_id, step_index, started_at, step_metadata)"
                " VALUES ('native', 'one', 0, 'no time', '{broken')"
            )
            other.execute("UPDATE session_traces SET num_messages = 4711 WHERE session_id = ?", (first,))
        assert bridge.get_session_trace("native") == {
            "session_id": "native",
            "created_at": datetime(2025, 9, 1, 8),
            "num_timesteps": 1,
            "num_events": 0,
            "num_messages": 0,
            "metadata": {},
            "timesteps": [
                {
                    "step_id": "one",
                    "step_index": 0,
                    "turn_number": None,
                    "started_at": "no time",
                    "completed_at": None,
                    "metadata": {},
                }
            ],
        }
        assert bridge.get_session_trace(first) == {**moved, "num_messages": 4711}


def test_the_first_use_moves_the_session_whole_and_only_that_one(traces: Traces) -> None:
    first, *others = traces.ids
    with SyncTraceBridge(*traces.both) as bridge:
        assert bridge.get_session_trace(first) is not None
        assert query(traces.target, "SELECT session_id FROM session_traces") == [(first,)]
        for each in others:
            bridge.get_session_trace(each)
    assert not verify(*traces.both).report.has_findings


def test_coroutines_that_use_one_session_at_once_get_one_answer_from_one_move(traces: Traces) -> None:
    async def use() -> list[str]:
        async with await TraceBridge.open(*traces.both) as bridge:
            answers = await asyncio.gather(*(bridge.get_session_trace(each) for each in traces.ids * 6))
            assert bridge.core is not None
            assert bridge.core.rows_written > 0
            with pytest.raises(UsageError):
                await bridge.get_session_trace("half a \ud83d pair")
        return [repr(answer) for answer in answers]

    answers = asyncio.run(use())
    assert len(set(answers)) == len(traces.ids)
    assert "None" not in answers
    assert query(traces.target, "SELECT count(*) FROM session_traces") == [(len(traces.ids),)]
    (report,) = Path(f"{traces.target}.reports").glob("bridge-*.json")
    assert json.loads(report.read_text())["migrated_sessions"] == len(traces.ids)


def test_threads_may_share_a_bridge(traces: Traces) -> None:
    with SyncTraceBridge(*traces.both) as bridge, ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(bridge.get_session_trace, traces.ids * 6))
    assert len({repr(answer) for answer in answers}) == len(traces.ids)


# --- unknown, deleted, taken back ------------------------------------------------------------------------------


@pytest.mark.parametrize("rollout", [OFF, Rollout(), Rollout(mode="shadow")])
def test_an_unknown_session_is_none(traces: Traces, rollout: Rollout) -> None:
    with SyncTraceBridge(*traces.both, rollout=rollout) as bridge:
        assert bridge.get_session_trace("nobody's") is None
        assert bridge.get_session_trace("") is None
        assert bridge.delete_session("nobody's") is False


def test_a_deleted_session_is_gone_with_its_rows_and_stays_away(traces: Traces) -> None:
    moved, unmoved, *_ = traces.ids
    with SyncTraceBridge(*traces.both) as bridge:
        bridge.get_session_trace(moved)
        for each in (moved, unmoved):
            assert bridge.delete_session(each) is True
            assert bridge.delete_session(each) is False
            assert bridge.get_session_trace(each) is None
    for table in ("session_traces", "session_timesteps", "events", "messages", "event_rewards", "outcome_rewards"):
        assert query(traces.target, f"SELECT count(*) FROM {table}") == [(0,)], table
    with SyncTraceBridge(*traces.both, rollout=OFF) as bridge:
        assert [bridge.get_session_trace(each) for each in (moved, unmoved)] == [None, None]
    with SyncTraceBridge(*traces.both) as bridge:
        assert [bridge.get_session_trace(each) for each in (moved, unmoved)] == [None, None]


def test_a_session_that_another_program_deleted_does_not_come_back(traces: Traces) -> None:
    first = traces.ids[0]
    with SyncTraceBridge(*traces.both) as bridge:
        bridge.get_session_trace(first)
        assert bridge.core is not None
        with open_store(traces.both[1], mode="rw", role="target") as other, other.transaction():
            bridge.core.road.rows.remove(other, SESSION, [first])
        assert bridge.get_session_trace(first) is None
        assert bridge.delete_session(first) is False


@pytest.mark.parametrize("rows_left", [False, True])
def test_a_session_that_was_taken_back_is_served_from_the_legacy_store(traces: Traces, rows_left: bool) -> None:
    first = traces.ids[0]
    with SyncTraceBridge(*traces.both) as bridge:
        before = bridge.get_session_trace(first)
        assert bridge.core is not None
        with open_store(traces.both[1], mode="rw", role="target") as other, other.transaction():
            if rows_left:
                other.execute("UPDATE session_traces SET num_events = 4711 WHERE session_id = ?", (first,))
            else:
                bridge.core.road.rows.remove(other, SESSION, [first])
            other.execute("UPDATE sessionlift_units SET state = 'rolled_back' WHERE session_id = ?", (first,))
        assert before is not None
        assert [bridge.get_session_trace(first) for _ in range(2)] == [before, before]
        assert bridge.delete_session(first) is True
        assert bridge.get_session_trace(first) is None


# --- what cannot be answered is raised -------------------------------------------------------------------------


def test_a_closed_bridge_says_so(traces: Traces) -> None:
    bridge = SyncTraceBridge(*traces.both)
    bridge.close()
    bridge.close()
    with pytest.raises(UsageError, match="closed"):
        bridge.get_session_trace(traces.ids[0])


def test_an_id_that_no_store_can_hold_is_refused(traces: Traces) -> None:
    with SyncTraceBridge(*traces.both) as bridge:
        for wrong in ("half a \ud83d pair", 7, None):
            with pytest.raises(UsageError, match="no session id"):
                bridge.get_session_trace(wrong)  # type: ignore[arg-type]
            with pytest.raises(UsageError, match="no session id"):
                bridge.delete_session(wrong)  # type: ignore[arg-type]


def test_a_store_of_another_system_is_refused(tmp_path: Path) -> None:
    from sessionlift._demo import make_langswarm_v1

    make_langswarm_v1(tmp_path / "v1.db", sessions=2, seed=1)
    with pytest.raises(WrongGenerationError, match="holds no traces"):
        SyncTraceBridge(str(tmp_path / "v1.db"), str(tmp_path / "v2.db"))


def test_a_session_that_cannot_be_converted_is_an_error_and_not_absent(tmp_path: Path) -> None:
    source = tmp_path / "v2.duckdb"
    store = LegacyStore(source)
    store.session("bad", created_at="infinity")
    store.session("good")
    store.close()
    for rollout in (OFF, Rollout()):
        with SyncTraceBridge(str(source), str(tmp_path / "v3.db"), rollout=rollout) as bridge:
            with pytest.raises(SessionliftError) as caught:
                bridge.get_session_trace("bad")
            assert caught.value.fields["session_id"] == "bad"
            assert bridge.get_session_trace("good") is not None
