"""Cells that no release is known to have written: the verifier must read them as the converter does, on its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
from tests.support.moved import query
from tests.support.synth_stores import LegacyStore

from sessionlift.reports import Report, check_file
from sessionlift.runs import TransferOptions, migrate, verify

pytestmark = pytest.mark.slow

Moved = Callable[..., Report]


@pytest.fixture
def source(tmp_path: Path) -> Iterator[LegacyStore]:
    """A legacy store for hand-written rows; moving it closes it."""
    store = LegacyStore(tmp_path / "v2.duckdb")
    yield store
    store.close()


@pytest.fixture
def move(source: LegacyStore, tmp_path: Path, target: Path) -> Moved:
    """Moves the store, and gives the move's report; whatever was moved must then be found whole and unchanged."""

    def run(zone: str = "UTC") -> Report:
        source.close()
        legacy = str(tmp_path / "v2.duckdb")
        moved = migrate(legacy, str(target), TransferOptions(timezone=zone, timezone_given=True))
        assert [each.message for each in moved.report.verification.differences] == []
        again = verify(legacy, str(target))
        assert [each.error for each in again.report.errors] == []
        for result in (moved, again):
            assert result.path is not None
            assert check_file(result.path) == []
        return moved.report

    return run


def test_an_outcome_of_any_spelling_is_not_taken_for_changed(source: LegacyStore, move: Moved, target: Path) -> None:
    totals = ("-0.0", "-0", "-0e0", "29.0", "1e18")
    for place, total in enumerate(totals):
        data = f'{{"total_reward": {total}}}'
        source.session(f"s{place}", metadata=f'[{{"metadata_type": "episode_results", "data": {data}}}]')
    assert move().status == "completed"
    found = query(target, "SELECT total_reward, typeof(total_reward) FROM outcome_rewards ORDER BY session_id")
    assert found == [(int(float(total)), "integer") for total in totals]


# when a session and its message were saved, and how it is dated
DATED = (
    (None, "2025-03-01 10:00:02", "2025-03-01T15:00:02.000000+00:00"),
    (None, "infinity", "1970-01-01T00:00:00.000000+00:00"),
    (None, "0044-03-15 (BC) 12:00:00", "1970-01-01T00:00:00.000000+00:00"),
    ("2025-03-01 10:00:00", "2025-03-01 09:00:00", "2025-03-01T15:00:00.000000+00:00"),
)


def test_a_reward_without_a_time_is_dated_as_its_session_is(source: LegacyStore, move: Moved, target: Path) -> None:
    expected: list[tuple[str, str]] = []
    for event_time, (created, saved, dated), name in product((None, "infinity", "10000-01-02 00:00:00"), DATED, "st"):
        session = f"{len(expected):02}{name}"
        event = {"event_type": "environment", "reward": 1.0, "event_time": event_time}
        source.session(session, created_at=created, events=[event], messages=[{"timestamp": saved}])
        expected.append((session, dated))
    move("America/New_York")
    for table in ("session_traces", "event_rewards", "outcome_rewards"):
        assert query(target, f"SELECT session_id, created_at FROM {table} ORDER BY 1") == expected, table


def test_rows_of_a_session_without_a_name_in_quarantine_are_told_as_any_others(
    source: LegacyStore, move: Moved
) -> None:
    source.session("", events=[{"event_type": "weird"}, {}])
    source.session("s")
    source.add("session_timesteps", {"session_id": "t", "step_id": "", "step_index": 0, "timestamp": "2025-03-01"})
    report = move()
    assert {(line.session_id, line.code) for line in report.errors} == {
        ("", "event_type_unknown"),
        ("t", "orphan_row"),
    }


def test_a_session_without_a_name_goes_to_quarantine_whole(source: LegacyStore, move: Moved) -> None:
    source.session("", created_at="infinity")
    assert [(line.session_id, line.row) for line in move().errors] == [("", "")]


def test_a_timestep_of_another_session_gives_a_reward_no_turn(source: LegacyStore, move: Moved, target: Path) -> None:
    turns = '{"turn_number": 7}'
    for session, step in (("s", 10), ("t", 20)):
        events = [{"event_type": "environment", "reward": 1.0, "timestep_id": each} for each in (10, 20, 30, None)]
        source.session(session, timesteps=[{"id": step, "num_events": 4, "step_metadata": turns}], events=events)
    source.add(
        "session_timesteps", {"id": 30, "session_id": "none", "step_id": "", "step_index": 3, "timestamp": "2025-03-01"}
    )
    move()
    found = query(
        target, "SELECT e.session_id, e.timestep_id, r.turn_number FROM events e JOIN event_rewards r USING (id)"
    )
    assert sorted(found, key=str) == sorted([
        ("s", 10, 7), ("s", 20, None), ("s", 30, None), ("s", 10, 7),
        ("t", 10, None), ("t", 20, 7), ("t", 30, None), ("t", 20, 7),
    ], key=str)  # fmt: skip


# what an envelope says of its time, and whether that was stored as UTC
TIMES = {
    "1700000000.5": True,
    "-5E+3": True,
    "1e400": True,
    '"1700000000"': True,
    '"2025-01-01T00:00:00Z"': True,
    '"2025-01-01T00:00:00+02:00"': True,
    '"2025-01-01T00:00:00-0500"': True,
    '"2025-01-01T00:00:00Z", "event_time": "2025-01-01"': True,
    '5, "event_time": "2025-01-01"': True,
    '5}, "time_record": {"event_time": "2025-01-01"': True,
    '"2025-01-01", "event_time": 5': False,
    'null, "event_time": 5': False,
    'null}, "time_record": {"event_time": 5': False,
    '"2025-01-01T00:00:00"': False,
    '"2025-01-01T00:00:00+2:00"': False,
    '"2025-01-01T00:00:00+\u0660\u0662:\u0660\u0660"': False,
    '"\u0661"': False,
    '"2025-01-01T00:00:00Z\\n"': False,
    '"5\\n"': False,
    "true": False,
    "NaN": False,
    "[5]": False,
    '{"event_time": 5}': False,
}
# contents that Python reads, and that only the engine reads
CONTENTS = ['"x"', '{"a": [1,]}', '{"a": nan}', "[" * 1500 + "]" * 1500]


def test_an_envelope_says_whether_its_time_is_utc_even_if_it_stays_whole(
    source: LegacyStore, move: Moved, target: Path
) -> None:
    for number, content in enumerate(CONTENTS):
        for place, bound in enumerate(TIMES):
            text = f'{{"content": {content}, "message_type": "user", "time_record": {{"event_time": {bound}}}}}'
            source.session(f"{number}s{place:02}", messages=[envelope(text)])
    source.session("without", messages=[envelope('{"time_record": {"event_time": 5}}')])
    move("America/New_York")
    hours = query(target, "SELECT (event_time - 1735725600) / 3600 FROM messages ORDER BY session_id")
    assert [shift for (shift,) in hours] == [*[0 if utc else 5 for utc in TIMES.values()] * len(CONTENTS), 5]


def test_a_letter_that_only_becomes_one_of_ascii_makes_no_type(source: LegacyStore, move: Moved, target: Path) -> None:
    kinds = [
        "CA\u0130S",
        "env\u0130ronment",
        "\u0130CAIS",
        "e\u0301Cais",
        "\u212aRUNTIME",
        "runt\u0131me",
        "cais\0",
        "\0cais",
        "AIS",
    ]
    source.session("s", events=[{"event_type": kind, "reward": 1.0} for kind in kinds])
    apart = [line.row for line in move().errors]
    assert len(apart) == 5
    assert query(target, "SELECT event_type FROM events ORDER BY id") == [("cais",), ("cais",), ("runtime",), ("cais",)]


# a session's data, a key that is lifted out of it, and the text of its member
LIFTED = (
    ('{"cfg": {"task_id": "\\u00e9"}, "task_id": "\u00e9"}', "task_id", '"\u00e9"'),
    ('{"cfg": {"seed": 0}, "seed": -0}', "seed", "-0"),
    ('{"cfg": {"seed": 0}, "seed" :0}', "seed", "0"),
    ('{"cfg": {"model": "x"}, "m\\u006fdel": "\\u0078"}', "model", '"\\u0078"'),
    ('{"m\\u006fdel": "\\/", "cfg": {"model": "/"}}', "model", '"\\/"'),
    ('{"model": "\\/", "x": "\\"model\\": \\"/\\""}', "model", '"\\/"'),
    ('{"prompt": {"prompt": null}, "prompt": null }', "prompt", "null"),
    ('{"seed": 1, "seed": 1.0, "seed": true}', "seed", "true"),
    ('{"seed": 1, "cfg": {"seed": 12}, "model": "seed"}', "seed", "1"),
)


def test_a_lifted_key_has_its_members_own_text(source: LegacyStore, move: Moved, target: Path) -> None:
    for place, (data, _, _) in enumerate(LIFTED):
        source.session(f"s{place}", metadata=f'[{{"metadata_type": "env", "data": {data}}}]')
    move()
    found = query(target, "SELECT metadata FROM session_traces ORDER BY session_id")
    for (text,), (data, key, own) in zip(found, LIFTED, strict=True):
        lifted = text.removeprefix(f'{{"env": {data}')
        assert lifted != text
        assert f', "{key}": {own},' in lifted or lifted.endswith(f', "{key}": {own}}}'), data


def envelope(text: str) -> dict[str, str]:
    return {"message_type": "SessionEventMessage", "content": text, "event_time": "2025-01-01 10:00:00"}
