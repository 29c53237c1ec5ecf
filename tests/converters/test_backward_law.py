"""The laws of the way back: there and back again gives the same rows, whichever side was written to meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.laws import TORTURE, tries
from tests.support.synth_back import V3Target, move_again, take_back, texts
from tests.support.synth_edits import EDITS, Edit, apply
from tests.support.synth_stores import LegacyStore
from tests.support.synth_strategies import CLOSE_TIMES, TIMES, stores

FEW = tries(5)
MANY = tries(8, calm=3)

Sessions = dict[str, dict[str, Any]]


def fill(store: LegacyStore, sessions: Sessions) -> None:
    store.clear()
    for session_id, session in sessions.items():
        store.session(session_id, **session)
    for number in ("1", "2"):
        store.add("systems", {"id": f"sys{number}", "name": "a", "description": None})
        moment = {"created_at": "2025-01-01 00:00:00"}
        store.add("system_versions", {"id": f"v{number}", "system_id": f"sys{number}", "branch": "b", **moment})
        store.add("experiments", {"id": f"e{number}", "name": "x", **moment, "updated_at": "infinity"})
        store.add(
            "experimental_systems",
            {"experiment_id": f"e{number}", "system_id": f"sys{number}", "system_version_id": f"v{number}"},
        )
    store.add("messages", {"session_id": "\x00 nobody", "message_type": "user", "content": "1"})


def unchanged(legacy: LegacyStore, copy: LegacyStore, target: V3Target, sessions: Sessions, zone: str) -> None:
    fill(legacy, sessions)
    copy.clear()
    target.clear()
    target.move(legacy, zone)
    batches = take_back(target, copy)
    assert texts(copy) == texts(legacy)
    assert not [loss for batch in batches for loss in batch.losses]
    assert {unit.found for batch in batches for unit in batch.units} <= {"unchanged", "quarantined"}
    before = texts(legacy)
    take_back(target, legacy)
    assert texts(legacy) == before, "what lay there already was touched"


def edited(
    legacy: LegacyStore,
    copy: LegacyStore,
    target: V3Target,
    sessions: Sessions,
    edits: list[Edit],
    zone: str,
) -> None:
    fill(legacy, sessions)
    target.clear()
    target.move(legacy, zone)
    for edit in edits:
        apply(target, edit)
    expected = target.all()
    copy.clear()
    for into in (copy, legacy):
        batches = take_back(target, into, zone=zone)
        moved, memory = target.all(), target.memory
        assert moved == expected, "taking back changed the target"
        move_again(target, into, batches, zone)
        assert target.all() == expected
        # as it was, for the other store
        restore(target, expected, memory)


def restore(target: V3Target, rows: dict[str, list[dict[str, Any]]], memory: Any) -> None:
    target.clear()
    target.memory = memory
    with target.store.transaction():
        for table, own in rows.items():
            for row in own:
                target.store.insert_rows(table, tuple(row), [tuple(row.values())])


@pytest.mark.slow
@pytest.mark.torture
@FEW
@given(sessions=stores(TIMES))
def test_what_was_moved_comes_back_row_for_row(
    legacy_store: LegacyStore, other_store: LegacyStore, v3_target: V3Target, sessions: Sessions
) -> None:
    unchanged(legacy_store, other_store, v3_target, sessions, "UTC")


@pytest.mark.slow
@pytest.mark.torture
@pytest.mark.parametrize(
    "zone", ["America/New_York", "Pacific/Apia", "Asia/Kathmandu"] if TORTURE else ["Pacific/Apia"]
)
@MANY
@given(sessions=stores(CLOSE_TIMES))
def test_what_was_moved_from_another_zone_comes_back_row_for_row(
    legacy_store: LegacyStore, other_store: LegacyStore, v3_target: V3Target, zone: str, sessions: Sessions
) -> None:
    unchanged(legacy_store, other_store, v3_target, sessions, zone)


@pytest.mark.slow
@pytest.mark.torture
@pytest.mark.parametrize("zone", ["Europe/London", "America/New_York"] if TORTURE else ["Europe/London"])
@FEW
@given(sessions=stores(TIMES))
def test_so_do_times_of_all_centuries(
    legacy_store: LegacyStore, other_store: LegacyStore, v3_target: V3Target, zone: str, sessions: Sessions
) -> None:
    unchanged(legacy_store, other_store, v3_target, sessions, zone)


@pytest.mark.slow
@pytest.mark.torture
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"] if TORTURE else ["America/New_York"])
@MANY
@given(sessions=stores(CLOSE_TIMES), edits=st.lists(EDITS, min_size=1, max_size=5))
def test_what_the_application_wrote_is_there_again_after_going_back_and_forward(
    legacy_store: LegacyStore,
    other_store: LegacyStore,
    v3_target: V3Target,
    zone: str,
    sessions: Sessions,
    edits: list[Edit],
) -> None:
    edited(legacy_store, other_store, v3_target, sessions, edits, zone)


def added(target: V3Target) -> list[tuple[Any, ...]]:
    read = (
        "SELECT id, event_id, message_id, annotation FROM event_rewards WHERE annotation LIKE 'written %' ORDER BY id"
    )
    return target.store.query(read)


@pytest.mark.slow
@MANY
@given(
    rewards=st.lists(
        st.tuples(st.sampled_from([0, 1, 2, 4711]), st.sampled_from([None, 0, 1, 4711])), min_size=1, max_size=6
    ),
    gone=st.lists(st.tuples(st.sampled_from(["events", "messages"]), st.integers(0, 2)), min_size=1, max_size=3),
)
def test_whatever_the_old_program_deletes_each_reward_is_in_the_store_or_waits_and_breaks_no_key(
    legacy_store: LegacyStore,
    v3_target: V3Target,
    rewards: list[tuple[int, int | None]],
    gone: list[tuple[str, int]],
) -> None:
    legacy, target = legacy_store, v3_target
    legacy.clear()
    target.clear()
    legacy.session("s", events=[{"event_type": "environment", "reward": 1.0}] * 3, messages=[{}, {}])
    target.move(legacy)
    ids = {
        table: [key for (key,) in target.store.query(f"SELECT id FROM {table} ORDER BY id")]
        for table in ("events", "messages")
    }
    add = (
        "INSERT INTO event_rewards (id, event_id, message_id, session_id, reward_value, created_at, annotation) "
        "VALUES (?, ?, ?, 's', 0.5, '2025-06-01', ?)"
    )
    for number, (event, message) in enumerate(rewards):
        named = ids["events"][event] if event < 3 else event
        other = message if message in (None, 4711) else ids["messages"][message or 0]
        target.change(add, 9000 + number, named, other, f"written {number}")
    expected = added(target)
    batches = take_back(target, legacy)
    away = {table: {keys[at % len(keys)] for name, at in gone if name == table} for table, keys in ids.items()}
    for table, keys in away.items():
        some = ", ".join(map(str, sorted(keys))) or "NULL"
        legacy.db.execute(f"CREATE OR REPLACE TEMP TABLE away_{table} AS SELECT * FROM {table} WHERE id IN ({some})")
        legacy.db.execute(f"DELETE FROM {table} WHERE id IN ({some})")
    whole = [each for each in expected if each[1] not in away["events"] and each[2] not in away["messages"]]
    for _ in range(2):
        waits = move_again(target, legacy, batches)
        assert added(target) == whole
        assert waits.get("event_rewards", 0) == len(expected) - len(whole)
        batches = take_back(target, legacy)
    for table in away:
        legacy.db.execute(f"INSERT INTO {table} SELECT * FROM away_{table}")
    assert move_again(target, legacy, batches) == {}
    assert added(target) == expected
