"""The law that a way back stands on: what v2 holds converts, is accounted for, and comes back exactly."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from tests.support.laws import TORTURE, tries
from tests.support.synth_backward import assert_accounted, assert_metadata_is_read_alike, assert_taken_back
from tests.support.synth_stores import LegacyStore
from tests.support.synth_strategies import CLOSE_TIMES, TIMES, stores

# where the rules of a zone are laid out for all its centuries, an example takes seconds
COSTLY = tries(4)
MANY = tries(15, calm=5)
ZONES = ["UTC", "America/New_York", "Europe/London", "Pacific/Apia", "Asia/Kathmandu"]


def check(store: LegacyStore, sessions: dict[str, dict[str, Any]], zone: str) -> None:
    store.clear()
    for session_id, session in sessions.items():
        store.session(session_id, **session)
    done = store.convert(zone)
    assert_accounted(store, done)
    assert_taken_back(store, done, zone)
    assert_metadata_is_read_alike(store, done)
    unreadable = any(each.code == "metadata_unreadable" for each in done.quarantine)
    if not unreadable:
        assert done.forecast_losses == done.loss_counts, "a plan foresees what a run does not do"


@pytest.mark.slow
@pytest.mark.torture
@MANY
@given(sessions=stores(TIMES))
def test_any_session_converts_and_can_be_taken_back(
    legacy_store: LegacyStore, sessions: dict[str, dict[str, Any]]
) -> None:
    check(legacy_store, sessions, "UTC")


@pytest.mark.slow
@pytest.mark.torture
@pytest.mark.parametrize("zone", ZONES if TORTURE else ["America/New_York", "Pacific/Apia"])
@MANY
@given(sessions=stores(CLOSE_TIMES))
def test_so_it_is_with_times_of_another_zone(
    legacy_store: LegacyStore, zone: str, sessions: dict[str, dict[str, Any]]
) -> None:
    check(legacy_store, sessions, zone)


@pytest.mark.slow
@pytest.mark.torture
@pytest.mark.parametrize("zone", ["Europe/London", "America/New_York"] if TORTURE else ["Europe/London"])
@COSTLY
@given(sessions=stores(TIMES))
def test_so_it_is_with_times_of_all_centuries(
    legacy_store: LegacyStore, zone: str, sessions: dict[str, dict[str, Any]]
) -> None:
    check(legacy_store, sessions, zone)
