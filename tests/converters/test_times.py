"""Local times to UTC: the SQL that the converter makes, beside Python's zoneinfo, value by value."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple
from zoneinfo import TZPATH, ZoneInfo

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.laws import TORTURE, tries
from tests.support.synth_stores import LegacyStore

from sessionlift.converters._times import load_zone, local_time, same_clock
from sessionlift.converters.synth import SynthForward, SynthOptions
from sessionlift.converters.synth._clock import Clock
from sessionlift.converters.synth._sql import texts, unix
from sessionlift.errors import UsageError
from sessionlift.runs.verifier._rules import Clock as VerifierClock

ZONES = [
    "UTC",
    "America/New_York",
    "America/St_Johns",  # changes at one minute past midnight, offsets with half hours
    "Europe/London",  # double summer time in the war
    "Asia/Kathmandu",  # +05:45, before +05:30
    "Australia/Lord_Howe",  # a clock change of half an hour
    "Africa/Casablanca",  # negative summer time, around Ramadan
    "Africa/Monrovia",  # -00:44:30 until 1972
    "Pacific/Apia",  # one whole day left out
    "America/Juneau",  # one whole day lived twice
]


class Read(NamedTuple):
    local: datetime
    utc: datetime
    repeated: bool
    skipped: bool


def by_python(zone: ZoneInfo, local: datetime) -> Read:
    """PEP 495 with fold=0: the first of two, and the offset before the change for a time that never was."""
    offset = local.replace(tzinfo=zone).utcoffset()
    late = local.replace(tzinfo=zone, fold=1).utcoffset()
    assert offset is not None
    assert late is not None
    utc = local - offset
    shown = utc.replace(tzinfo=timezone.utc).astimezone(zone).replace(tzinfo=None)
    return Read(local, utc, repeated=late < offset, skipped=shown != local)


def by_sql(name: str, moments: list[datetime], years: set[int] | None = None) -> list[Read]:
    rules = local_time(load_zone(name), min(moments), max(moments), years)
    db = engine()
    db.execute("CREATE OR REPLACE TABLE t (n INTEGER, m TIMESTAMP)")
    values = ", ".join(f"({i}, TIMESTAMP '{moment}')" for i, moment in enumerate(moments))
    db.execute(f"INSERT INTO t VALUES {values}")
    rows = db.execute(
        f"SELECT m, {rules.utc('m')}, {rules.is_repeated('m')}, {rules.is_skipped('m')} FROM t ORDER BY n"
    ).fetchall()
    return [Read(*row) for row in rows]


@cache
def engine() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def moments_of_interest(zone: ZoneInfo, first: int, last: int) -> list[datetime]:
    """A time every tenth day, and the microseconds around each clock change between two years."""
    found = set()
    day, before = datetime(first, 1, 1), zone.utcoffset(datetime(first, 1, 1))
    while day.year <= last:
        found.add(day)
        following = day + timedelta(hours=239)
        if zone.utcoffset(following) != before:
            for edge in edges(zone, day, following):
                found.update(edge + timedelta(microseconds=d) for d in (-1, 0, 1))
                found.update(edge + timedelta(minutes=d) for d in (-61, -30, 29, 60))
        day, before = following, zone.utcoffset(following)
    return sorted(found)


def edges(zone: ZoneInfo, low: datetime, high: datetime) -> list[datetime]:
    """The first local seconds between two times at which the offset is another, for either fold."""
    found = []
    for fold in (0, 1):
        left, right = low, high
        before = zone.utcoffset(low.replace(fold=fold))
        while right - left > timedelta(seconds=1):
            middle = (left + (right - left) / 2).replace(microsecond=0)
            same = zone.utcoffset(middle.replace(fold=fold)) == before
            left, right = (middle, right) if same else (left, middle)
        found.append(right)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ZONES)
def test_every_local_time_reads_as_python_reads_it(name: str) -> None:
    zone = ZoneInfo(name)
    moments = moments_of_interest(zone, 1960, 2030)
    assert by_sql(name, moments) == [by_python(zone, moment) for moment in moments]


@pytest.mark.slow
@pytest.mark.torture
@pytest.mark.parametrize("name", ZONES if TORTURE else ["Africa/Monrovia", "Europe/London", "Pacific/Apia"])
def test_three_and_a_half_centuries_read_as_python_reads_them(name: str) -> None:
    zone = ZoneInfo(name)
    moments = moments_of_interest(zone, 1851, 2198)
    assert by_sql(name, moments) == [by_python(zone, moment) for moment in moments]


@pytest.mark.slow
@pytest.mark.torture
@pytest.mark.parametrize("name", ZONES if TORTURE else ["America/New_York", "America/St_Johns", "Europe/London"])
def test_the_rules_do_not_hang_on_where_the_span_ends(name: str) -> None:
    """A store whose first or last time lies within two days of a clock change reads like any other."""
    zone = ZoneInfo(name)
    middle = datetime(2025, 3, 9, 2, 30)
    for days in range(-3, 4):
        for minutes in (-31, 0, 31):
            moment = middle + timedelta(days=days, minutes=minutes)
            assert by_sql(name, [moment]) == [by_python(zone, moment)]


def test_the_hour_left_out_in_spring_is_skipped_and_the_one_lived_twice_is_repeated() -> None:
    rules = local_time(load_zone("America/New_York"), datetime(2025, 1, 1), datetime(2025, 12, 31))
    assert rules.skipped == ((datetime(2025, 3, 9, 2), datetime(2025, 3, 9, 3)),)
    assert rules.repeated == ((datetime(2025, 11, 2, 1), datetime(2025, 11, 2, 2)),)


def test_samoa_had_no_thirtieth_of_december_in_2011() -> None:
    rules = local_time(load_zone("Pacific/Apia"), datetime(2011, 12, 1), datetime(2012, 1, 15))
    assert rules.skipped == ((datetime(2011, 12, 30), datetime(2011, 12, 31)),)


def test_times_that_no_datetime_holds_stay_or_become_infinity() -> None:
    rules = local_time(load_zone("America/New_York"), None, None)
    far = {
        "0044-03-15 (BC) 12:00:00": "0044-03-15 (BC) 17:00:00",
        "10000-01-01 00:00:00": "10000-01-01 05:00:00",
        "infinity": "infinity",
        "-infinity": "infinity",
        "294247-01-10 04:00:54.775806": "infinity",
        "290309-12-22 (BC) 00:00:00": "infinity",
    }
    with duckdb.connect() as db:
        for text, expected in far.items():
            found = db.execute(f"SELECT ({rules.utc('m')})::VARCHAR FROM (SELECT ?::TIMESTAMP AS m)", [text]).fetchone()
            assert found == (expected,), text
        assert db.execute(f"SELECT {rules.utc('m')} FROM (SELECT NULL::TIMESTAMP AS m)").fetchone() == (None,)
        assert rules.utc("m") != "m"


def test_utc_is_left_as_it_is() -> None:
    for name in ("UTC", "Etc/UTC", "GMT"):
        rules = local_time(load_zone(name), datetime(1990, 1, 1), datetime(2030, 1, 1))
        assert (rules.is_utc, rules.utc("m"), rules.repeated, rules.skipped) == (True, "m", (), ())


LAST = 2**63 - 2
"""The engine's last microsecond; the first has the same number below zero."""
FAR_AND_NEAR = st.one_of(
    st.integers(-LAST, LAST),
    st.integers(-(2**54), 2**54),
    st.builds(
        lambda bits, beside, sign: sign * min(2**bits + beside, LAST),
        st.integers(32, 63),
        st.integers(-2000, 2000),
        st.sampled_from([1, -1]),
    ),
)
ALL_AROUND = [number for middle in (-(2**53), 0, 2**53) for number in range(middle - 2000, middle + 2000)]


@pytest.mark.slow
@tries(60, calm=15)
@given(numbers=st.lists(FAR_AND_NEAR, min_size=50))
@example(numbers=[*ALL_AROUND, LAST, -LAST])
def test_any_time_becomes_the_nearest_double_of_its_seconds(numbers: list[int]) -> None:
    with duckdb.connect() as db:
        found = db.execute(
            f"SELECT n, {unix('moment')}, {unix('infinite')} FROM (SELECT n::BIGINT AS n, make_timestamp(n::BIGINT) "
            f"AS moment, TIMESTAMP '-infinity' AS infinite FROM ({texts()} AS n))",
            [json.dumps([str(number) for number in numbers])],
        ).fetchall()
    assert found == [(number, number / 1_000_000, None) for number in numbers]


WITHIN = 2**33 * 10**6
"""Microseconds on either side of 1970 whose nearest doubles all lie nearer to them than to their neighbours."""


@tries(400)
@given(st.one_of(st.integers(1 - WITHIN, WITHIN - 1), st.integers(2**32 * 10**6, 2**52 + 2000)))
@example(2**32 * 10**6 + 1)
@example(4_451_183_502_810_867)  # of which the product of doubles made the one before
@example(-4_451_183_502_810_867)
def test_the_seconds_lead_back_to_the_same_microsecond(number: int) -> None:
    assert Clock(ZoneInfo("UTC")).of_seconds(number / 1_000_000) == f"@{number}"


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../etc/passwd", "Europe", "a\0b"])
def test_a_zone_that_is_none_is_refused_by_name(name: str) -> None:
    with pytest.raises(UsageError, match="no time zone named"):
        load_zone(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("UTC", "UTC"),
        ("UTC", "Etc/UTC"),
        ("UTC", "Zulu"),
        ("Etc/UTC", "Etc/Universal"),
        ("UTC", "GMT"),  # another word for the time, and the same time
        ("Etc/GMT-0", "Etc/GMT+0"),
        ("Asia/Calcutta", "Asia/Kolkata"),
    ],
)
def test_names_of_one_clock_are_the_same(one: str, other: str) -> None:
    assert same_clock(one, other)
    assert same_clock(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("UTC", "Europe/London"),
        ("UTC", "Africa/Abidjan"),  # the same since 1912
        ("Etc/GMT-1", "Etc/GMT+1"),
        ("Europe/Berlin", "Europe/Paris"),  # the same since 1980
        ("UTC", "Mars/Olympus"),
    ],
)
def test_zones_that_ever_differed_are_two(one: str, other: str) -> None:
    assert not same_clock(one, other)
    assert not same_clock(other, one)


def test_what_zone_data_has_as_one_file_is_one_clock_and_other_files_are_others() -> None:
    by_file: dict[bytes, list[str]] = {}
    for name in ("Europe/London", "GB", "Pacific/Apia"):
        by_file.setdefault(zone_file(name), []).append(name)
    groups = list(by_file.values())
    assert len(groups) == 2
    for place, group in enumerate(groups):
        assert all(same_clock(group[0], each) for each in group)
        assert not any(same_clock(group[0], other[0]) for other in groups[place + 1 :])


def zone_file(name: str) -> bytes:
    for place in TZPATH:
        if (Path(place) / name).is_file():
            return (Path(place) / name).read_bytes()
    return resources.files("tzdata.zoneinfo").joinpath(name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Europe/London", "Africa/Abidjan", "Europe/Berlin", "GMT"])
def test_what_a_far_time_becomes_does_not_hang_on_the_others_in_the_store(name: str) -> None:
    """Where those all lie in a winter in which the clock showed UTC, or where there are none but it."""
    zone = load_zone(name)
    spans = [
        (datetime(1850, 1, 1), datetime(2200, 1, 1)),
        (datetime(2024, 12, 1), datetime(2025, 1, 31)),
        (datetime(9999, 7, 1), datetime(9999, 7, 1)),
        (None, None),
    ]
    moments = ["290001-01-01 00:00:00", "290001-01-01 (BC) 00:00:00", "infinity"]
    rules = [local_time(zone, *span) for span in spans]
    for each in rules:
        read = f"SELECT ({each.utc('m')})::VARCHAR FROM (SELECT unnest(?::VARCHAR[])::TIMESTAMP AS m)"
        found = engine().execute(read, [moments]).fetchall()
        assert found == [(moment if name == "GMT" else "infinity",) for moment in moments]
    assert rules[2].offsets[0][1] == rules[0].offsets[-1][1]


@pytest.mark.parametrize("name", ["Europe/London", "Africa/Abidjan", "GMT"])
def test_both_programs_know_the_zones_that_always_show_utc(name: str) -> None:
    far = (datetime(1970, 1, 1) - datetime(1, 1, 1)) // timedelta(microseconds=1) * 200
    kept = far if name == "GMT" else None
    assert (VerifierClock(name).utc(far), VerifierClock(name).utc(-far)) == (kept, kept and -kept)
    assert local_time(load_zone(name), None, None).is_utc == (kept is not None)


@pytest.mark.parametrize("name", ["America/New_York", "Europe/London", "Pacific/Apia", "Africa/Casablanca"])
@pytest.mark.parametrize("years", [{1850, 1918, 2200}, {1970, 1971, 2011, 2025, 2026}])
def test_times_of_single_years_read_as_python_reads_them(name: str, years: set[int]) -> None:
    """The first and last microseconds of each of the years, and those around its clock changes."""
    zone = ZoneInfo(name)
    moments = [
        moment for year in years for moment in moments_of_interest(zone, year, year) if 1850 < moment.year < 2200
    ]
    for year in years - {1850, 2200}:
        moments += [datetime(year, 1, 1), datetime(year, 12, 31, 23, 59, 59, 999999)]
    assert by_sql(name, moments, years) == [by_python(zone, moment) for moment in moments]


def test_a_far_time_brings_no_clock_changes_of_years_without_times(legacy: LegacyStore) -> None:
    """Every comparison would go through all of them: 8 seconds for a few rows, once."""
    far = ("1600-01-01 00:00:00", "1918-03-31 02:30:00", "2300-07-01 00:00:00")
    legacy.session("s", events=[{"event_time": moment} for moment in (*far, "2025-07-01 00:00:00")])
    times = SynthForward(legacy.store, SynthOptions("America/New_York")).times
    assert len(times.offsets) < 20
    found = [row["created_at"] for row in legacy.convert("America/New_York").tables["events"]]
    assert found == [
        "1600-01-01T04:56:02.000000+00:00",
        "1918-03-31T07:30:00.000000+00:00",
        "2300-07-01T05:00:00.000000+00:00",
        "2025-07-01T04:00:00.000000+00:00",
    ]
