"""Naive local times to UTC, as SQL for the source's engine.

A zone's rules come from the standard library's ``zoneinfo``; they become a chain of comparisons,
so that no extension of the engine is needed and millions of rows convert in one pass. An ambiguous local time
(the hour that a clock change repeats) is read as its first occurrence, a local time that never was (the hour
that a change leaves out) with the offset in force before the change, as PEP 495 has it for fold=0.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sessionlift.errors import UsageError

_SECOND = timedelta(seconds=1)
_FIRST, _LAST = "TIMESTAMP '290000-01-01 (BC)'", "TIMESTAMP '290000-01-01'"
"""Further out, a time minus an offset could leave the engine's range."""
_ROOM = timedelta(days=2)
"""How far around local times is looked for changes: no offset is as large."""
_BEGIN, _END = datetime(1850, 1, 1), datetime(2200, 1, 1)
"""Further out, the offsets of these stand: zone data says nothing there that a store means."""


def load_zone(name: str) -> ZoneInfo:
    """The zone ``name`` ("UTC", "Europe/Berlin"). Raises UsageError for one that zone data does not know."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(
            f"there is no time zone named {name!r}",
            hint="use a name such as UTC or America/New_York",
            zone=name,
        ) from error


def same_clock(one: str, other: str) -> bool:
    """Whether two names stand for one clock, as "UTC", "Etc/UTC" and "GMT" do, or "Asia/Kolkata" and "Asia/Calcutta".

    Zone data says so, not a list of names: both have the same offsets, changed at the same moments, from 1800, before
    its first change, to 2200, when the rules that hold from then on have held for generations. What the zones call
    their times, or count as summer time, changes no time. A name that zone data does not know is like no other.
    """
    if one == other:
        return True
    try:
        return _all_changes(one) == _all_changes(other)
    except UsageError:
        return False


@lru_cache(maxsize=16)
def _all_changes(name: str) -> tuple[tuple[datetime, int, int], ...]:
    zone, start = load_zone(name), datetime(1800, 1, 1)
    first = _offset(zone, start)
    return ((start, first, first), *_changes(zone, start, datetime(2200, 1, 1)))


@dataclass(frozen=True)
class LocalTime:
    """The offsets of a zone between two local times, as needed for SQL.

    ``offsets``: (first local time, seconds east of UTC) in rising order; the first holds from the beginning.
    ``is_utc``: whether the zone's clock always shows UTC, and not only at the times there are. Every time is then its
    own, also those too far out for any other zone: what a time becomes must not depend on the others in the store.
    """

    name: str
    is_utc: bool
    offsets: tuple[tuple[datetime, int], ...]
    repeated: tuple[tuple[datetime, datetime], ...]
    skipped: tuple[tuple[datetime, datetime], ...]

    def utc(self, column: str) -> str:
        """SQL for the TIMESTAMP expression ``column``, read in this zone, as a UTC TIMESTAMP.

        Infinity stands for what has no UTC: infinity, and the engine's last times, from which no offset can
        be taken without leaving its range. In UTC itself every time is its own.
        """
        if self.is_utc:
            return column
        cases = "".join(
            f" WHEN {column} >= TIMESTAMP '{start}' THEN {seconds * 1_000_000}"
            for start, seconds in reversed(self.offsets[1:])
        )
        first = self.offsets[0][1] * 1_000_000
        offset = f"CASE{cases} ELSE {first} END" if cases else str(first)
        moment = f"make_timestamp(epoch_us({column}) - ({offset}))" if cases or first else column
        return (
            f"(CASE WHEN {column} BETWEEN {_FIRST} AND {_LAST} THEN {moment} "
            f"WHEN {column} IS NOT NULL THEN TIMESTAMP 'infinity' END)"
        )

    def is_repeated(self, column: str) -> str:
        return _within(column, self.repeated)

    def is_skipped(self, column: str) -> str:
        return _within(column, self.skipped)


def _within(column: str, spans: tuple[tuple[datetime, datetime], ...]) -> str:
    if not spans:
        return "FALSE"
    parts = (f"({column} >= TIMESTAMP '{a}' AND {column} < TIMESTAMP '{b}')" for a, b in spans)
    return "(" + " OR ".join(parts) + ")"


def local_time(
    zone: ZoneInfo, first: datetime | None, last: datetime | None, years: Collection[int] | None = None
) -> LocalTime:
    """The rules of ``zone`` for naive local times from ``first`` to ``last`` (None: no time at all).

    ``years``: those that there are times of, where not of all between. One time of 1600 in a store of this year's would
    else have every comparison go through the clock changes of a century and a half.
    """
    start = _held(first or datetime(2000, 1, 1)) - _ROOM
    end = _held(last or datetime(2000, 1, 2)) + _ROOM
    offsets: list[tuple[datetime, int]] = []
    repeated, skipped = [], []
    for moment, before, after in _changes_within(zone, start, end, years):
        if before == after:
            offsets.append((moment, after))
            continue
        # the clock shows these two when it is set: what lies between is shown twice, or never
        old, new = moment + timedelta(seconds=before), moment + timedelta(seconds=after)
        if new < old:
            repeated.append((new, old))
        else:
            skipped.append((old, new))
        offsets.append((max(old, new), after))
    return LocalTime(zone.key, _shows_utc(zone), tuple(offsets), tuple(repeated), tuple(skipped))


def _changes_within(
    zone: ZoneInfo, start: datetime, end: datetime, years: Collection[int] | None
) -> Iterator[tuple[datetime, int, int]]:
    """The offset in force at ``start``, as a change from itself, and the changes since; so for each span of ``years``
    there."""
    for low, high in [(start, end)] if years is None else _spans(years):
        left, right = max(low, start), min(high, end)
        offset = _offset(zone, left)
        yield left, offset, offset
        yield from _changes(zone, left, right)


def _spans(years: Collection[int]) -> Iterator[tuple[datetime, datetime]]:
    """The first and the last time of each row of years without a gap, with room on both sides."""
    begin = before = min(years)
    for year in [*sorted(years), max(years) + 2]:
        if year > before + 1:
            yield datetime(begin, 1, 1) - _ROOM, datetime(before + 1, 1, 1) + _ROOM
            begin = year
        before = year


def _held(moment: datetime) -> datetime:
    return min(max(moment, _BEGIN), _END)


@lru_cache(maxsize=16)
def _shows_utc(zone: ZoneInfo) -> bool:
    """Whether the zone's clock shows UTC at all times. In any other it shows another time in some summer or winter: at
    the latest in 1850, when each place had the time of its own sun."""
    return not any(_offset(zone, datetime(year, month, 1)) for year in range(1850, 2200) for month in (1, 7))


def _offset(zone: ZoneInfo, utc: datetime) -> int:
    """Seconds east of UTC at a naive UTC moment."""
    offset = utc.replace(tzinfo=timezone.utc).astimezone(zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds())


def _changes(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[tuple[datetime, int, int]]:
    """The UTC moments at which the zone's offset changes, with the offsets before and after.

    A look at each day is enough: no zone has changed its clocks twice within two days.
    """
    low, before = start, _offset(zone, start)
    while low < end:
        high = low + timedelta(days=1)
        after = _offset(zone, high)
        if before != after:
            # whole seconds: zone data knows no finer moments
            left, right = low.replace(microsecond=0), high.replace(microsecond=0) + _SECOND
            while right - left > _SECOND:
                middle = left + (right - left) // (2 * _SECOND) * _SECOND
                left, right = (middle, right) if _offset(zone, middle) == before else (left, middle)
            yield right, before, after
        low, before = high, after
