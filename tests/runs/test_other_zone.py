"""One target, one reading of the legacy store's clock: whoever moves sessions into it, by whichever way."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from tests.support.moved import change_source, query, session_ids
from tests.support.run_fixtures import Legacy
from tests.support.warm import Warm

from sessionlift.bridge.synth import SyncTraceBridge
from sessionlift.errors import UsageError
from sessionlift.runs import TransferOptions

pytestmark = pytest.mark.slow


@pytest.fixture
def moved(sessionlift: Warm, legacy: Legacy, target: Path) -> Path:
    """A store of which one session was moved by the clock of Berlin, and has changed since."""
    source = legacy(sessions=3, traps="none")
    first = session_ids(source)[0]
    done = sessionlift("migrate", source, target, "--only", first, "--timezone", "Europe/Berlin", "--json")
    assert done.code == 0, done.out
    change_source(source, f"UPDATE session_traces SET num_messages = num_messages + 1 WHERE session_id = '{first}'")
    return source


def times(target: Path) -> list[tuple[object, ...]]:
    return query(target, "SELECT session_id, created_at FROM session_traces ORDER BY 1")


@pytest.mark.parametrize("command", ["migrate", "catch-up", "plan"])
def test_another_zone_is_refused_by_every_command_that_moves_or_plans(
    sessionlift: Warm, moved: Path, target: Path, command: str
) -> None:
    before = times(target)
    refused = sessionlift(command, moved, target)
    assert refused.code == 2, refused.out
    assert "were moved with --timezone Europe/Berlin; now it is UTC" in refused.err
    assert "say --timezone Europe/Berlin" in refused.err
    assert times(target) == before
    assert query(target, "SELECT count(*) FROM sessionlift_runs") == [(1,)]
    assert sessionlift(command, moved, target, "--timezone", "Europe/Berlin").code == 0


@pytest.mark.parametrize("command", ["plan", "migrate", "catch-up", "backfill"])
def test_another_name_of_the_same_clock_is_no_other_zone(
    sessionlift: Warm, moved: Path, target: Path, command: str
) -> None:
    assert sessionlift(command, moved, target, "--timezone", "Arctic/Longyearbyen").code == 0


def test_a_target_that_names_of_one_clock_filled_says_which_zone_it_wants(
    sessionlift: Warm, moved: Path, target: Path
) -> None:
    assert sessionlift("migrate", moved, target, "--timezone", "Arctic/Longyearbyen").code == 0
    refused = sessionlift("migrate", moved, target)
    assert refused.code == 2
    assert "say --timezone Arctic/Longyearbyen" in refused.err


def test_a_backfill_in_another_zone_is_refused(sessionlift: Warm, moved: Path, target: Path) -> None:
    assert sessionlift("backfill", moved, target).code == 2
    assert len(times(target)) == 1
    assert sessionlift("backfill", moved, target, "--timezone", "Europe/Berlin").code == 0
    assert len(times(target)) == 3


def test_a_bridge_in_another_zone_does_not_open(moved: Path, target: Path) -> None:
    with pytest.raises(UsageError, match=r"timezone Europe/Berlin; now it is UTC"):
        SyncTraceBridge(str(moved), str(target)).close()
    assert len(times(target)) == 1
    zone = TransferOptions(timezone="Europe/Berlin", timezone_given=True)
    ids = session_ids(moved)
    with SyncTraceBridge(str(moved), str(target), zone) as bridge:
        assert all(bridge.get_session_trace(each) for each in ids)
    assert len(times(target)) == 3


def test_a_zone_that_there_is_not_is_told_as_such(sessionlift: Warm, moved: Path, target: Path) -> None:
    refused = sessionlift("migrate", moved, target, "--timezone", "Mars/Olympus")
    assert refused.code == 2
    assert "no time zone named 'Mars/Olympus'" in refused.err


def test_after_everything_was_taken_back_another_zone_may_be_said(sessionlift: Warm, moved: Path, target: Path) -> None:
    assert sessionlift("rollback", target, "--all", "--on-conflict", "keep-legacy").code == 0
    assert sessionlift("migrate", moved, target, "--timezone", "America/New_York").code == 0


def test_what_waits_in_quarantine_was_moved_by_no_clock_and_another_one_is_tried(
    sessionlift: Warm, legacy: Legacy, target: Path
) -> None:
    source = legacy(sessions=3, traps="none")
    one, *_ = session_ids(source)
    # a moment that the target can still hold west of Greenwich, and not east of it
    change_source(source, f"UPDATE session_traces SET created_at = '0001-01-01 00:30:00' WHERE session_id = '{one}'")
    quarantined = "SELECT session_id FROM sessionlift_units WHERE state = 'quarantined'"
    assert sessionlift("migrate", source, target, "--timezone", "Europe/Berlin").code == 1
    assert query(target, quarantined) == [(one,)]
    assert sessionlift("migrate", source, target, "--timezone", "America/New_York").code == 2, "two are there"
    assert sessionlift("rollback", target, "--all").code in (0, 1)
    assert query(target, quarantined) == [(one,)]
    assert sessionlift("migrate", source, target, "--timezone", "America/New_York").code == 0
    assert len(times(target)) == 3
    assert query(target, quarantined) == []


def test_a_bridge_that_is_open_moves_nothing_once_another_clock_was_said(
    sessionlift: Warm, legacy: Legacy, target: Path
) -> None:
    source = legacy(sessions=3, traps="none")
    one, two, _ = session_ids(source)
    with SyncTraceBridge(str(source), str(target), TransferOptions(timezone="Europe/Berlin")) as bridge:
        assert sessionlift("migrate", source, target, "--only", one, "--timezone", "America/New_York").code == 0
        with contextlib.suppress(UsageError):
            bridge.get_session_trace(two)
    assert [key for key, _ in times(target)] == [one], "two readings of one clock must not meet in one target"
