"""One target, one reading of the legacy store's clock: whoever moves sessions into it, by whichever way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.made import make_moved
from tests.support.moved import change_source, query, session_ids
from tests.support.run_fixtures import Legacy
from tests.support.warm import Warm

from sessionlift.bridge import backfill
from sessionlift.bridge.synth import SyncTraceBridge
from sessionlift.errors import UsageError
from sessionlift.runs import RollbackOptions, TransferOptions, catch_up, migrate, plan, rollback

pytestmark = pytest.mark.slow


BERLIN, OSLO = (
    TransferOptions(timezone=zone, timezone_given=True) for zone in ("Europe/Berlin", "Arctic/Longyearbyen")
)
# in this process, which works each clock out once
COMMANDS: dict[str, Callable[[str, str, TransferOptions], object]] = {
    "migrate": migrate,
    "catch-up": catch_up,
    "plan": plan,
    "backfill": backfill,
}


@pytest.fixture
def moved(legacy_store: Legacy, target: Path, tmp_path: Path) -> Path:
    """A store of which one session was moved by the clock of Berlin, and has changed since."""
    source = tmp_path / "legacy.duckdb"
    first = session_ids(legacy_store(sessions=3, traps="none"))[0]
    make_moved(source, target, replace(BERLIN, only=(first,)), sessions=3, dress="final", traps="none", seed=1)
    change_source(source, f"UPDATE session_traces SET num_messages = num_messages + 1 WHERE session_id = '{first}'")
    return source


def times(target: Path) -> list[tuple[object, ...]]:
    return query(target, "SELECT session_id, created_at FROM session_traces ORDER BY 1")


@pytest.mark.parametrize("command", COMMANDS)
def test_another_zone_is_refused_by_every_command_that_moves_or_plans(moved: Path, target: Path, command: str) -> None:
    before = times(target)
    with pytest.raises(UsageError, match="were moved with --timezone Europe/Berlin; now it is UTC") as refused:
        COMMANDS[command](str(moved), str(target), TransferOptions())
    assert "say --timezone Europe/Berlin" in str(refused.value.hint)
    assert times(target) == before
    assert query(target, "SELECT count(*) FROM sessionlift_runs") == [(1,)]
    COMMANDS[command](str(moved), str(target), BERLIN)


@pytest.mark.parametrize("command", COMMANDS)
def test_another_name_of_the_same_clock_is_no_other_zone(moved: Path, target: Path, command: str) -> None:
    COMMANDS[command](str(moved), str(target), OSLO)


def test_a_target_that_names_of_one_clock_filled_says_which_zone_it_wants(
    sessionlift: Warm, moved: Path, target: Path
) -> None:
    migrate(str(moved), str(target), OSLO, verify=False)
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
    ids = session_ids(moved)
    with SyncTraceBridge(str(moved), str(target), BERLIN) as bridge:
        assert all(bridge.get_session_trace(each) for each in ids)
    assert len(times(target)) == 3


def test_a_zone_that_there_is_not_is_told_as_such(sessionlift: Warm, moved: Path, target: Path) -> None:
    refused = sessionlift("migrate", moved, target, "--timezone", "Mars/Olympus")
    assert refused.code == 2
    assert "no time zone named 'Mars/Olympus'" in refused.err


def test_after_everything_was_taken_back_another_zone_may_be_said(moved: Path, target: Path) -> None:
    rollback(str(target), RollbackOptions(everything=True, on_conflict="keep-legacy"))
    done = migrate(str(moved), str(target), TransferOptions(timezone="America/New_York", timezone_given=True))
    assert done.report.migrated_sessions == 3


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
