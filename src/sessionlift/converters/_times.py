"""Naive local times to UTC, as SQL for the source's engine.

A zone's rules come from the standard library's ``zoneinfo``; what is built from them is a chain of comparisons, so
that no extension of the engine is needed and millions of rows convert in one pass. An ambiguous local time (the
hour that a clock change repeats) is read as its first occurrence, a local time that never was (the hour that a
change leaves out) with the offset in force before the change, as PEP 495 has it for fold=0.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sessionlift.errors import UsageError

_SECOND = timedelta(seconds=1)


def load_zone(name: str) -> ZoneInfo:
    """The zone ``name`` ("UTC", "Europe/Berlin"). Raises UsageError for one that the zone data does not know."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(
            f"there is no time zone named {name!r}", hint="use a name such as UTC or America/New_York", zone=name
        ) from error


@dataclass(frozen=True)
class LocalTime:
    """The offsets of a zone between two local times, as needed for SQL.

    ``offsets``: (first local time, seconds east of UTC) in rising order; the first entry holds from the beginning.
    """

    name: str
    offsets: tuple[tuple[datetime, int], ...]
    repeated: tuple[tuple[datetime, datetime], ...]
    skipped: tuple[tuple[datetime, datetime], ...]

    @property
    def is_utc(self) -> bool:
        return all(seconds == 0 for _, seconds in self.offsets)

    def utc(self, column: str) -> str:
        """SQL for the TIMESTAMP expression ``column``, read in this zone, as a UTC TIMESTAMP."""
        if self.is_utc:
            return column
        cases = "".join(
            f" WHEN {column} >= TIMESTAMP '{start}' THEN {seconds * 1_000_000}"
            for start, seconds in reversed(self.offsets[1:])
        )
        first = self.offsets[0][1] * 1_000_000
        offset = f"CASE{cases} ELSE {first} END" if cases else str(first)
        return f"(CASE WHEN isfinite({column}) THEN make_timestamp(epoch_us({column}) - ({offset})) ELSE {column} END)"

    def is_repeated(self, column: str) -> str:
        return _within(column, self.repeated)

    def is_skipped(self, column: str) -> str:
        return _within(column, self.skipped)


def _within(column: str, spans: tuple[tuple[datetime, datetime], ...]) -> str:
    if not spans:
        return "FALSE"
    return (
        "(" + " OR ".join(f"({column} >= TIMESTAMP '{a}' AND {column} < TIMESTAMP '{b}')" for a, b in spans) + ")"
    )


def local_time(zone: ZoneInfo, first: datetime | None, last: datetime | None) -> LocalTime:
    """The rules of ``zone`` for naive local times from ``first`` to ``last`` (None: no time there at all)."""
    start = max(first or datetime(2000, 1, 1), datetime(1850, 1, 1)) - timedelta(days=2)
    end = min(last or datetime(2000, 1, 2), datetime(2200, 1, 1)) + timedelta(days=2)
    early, late = _changes(zone, start, end, 0), _changes(zone, start, end, 1)
    repeated = tuple((b, a) for (a, _), (b, _) in zip(early, late, strict=True) if b < a)
    skipped = tuple((a, b) for (a, _), (b, _) in zip(early, late, strict=True) if a < b)
    offsets = ((start, _offset(zone, start, 0)), *early)
    return LocalTime(zone.key, offsets, repeated, skipped)


def _offset(zone: ZoneInfo, local: datetime, fold: int) -> int:
    offset = local.replace(tzinfo=zone, fold=fold).utcoffset()
    return 0 if offset is None else round(offset.total_seconds())


def _changes(zone: ZoneInfo, start: datetime, end: datetime, fold: int) -> list[tuple[datetime, int]]:
    found = []
    day = start
    while day < end:
        following = day + timedelta(days=1)
        before, after = _offset(zone, day, fold), _offset(zone, following, fold)
        if before != after:
            low, high = day, following
            while high - low > _SECOND:
                middle = low + (high - low) // 2
                middle = middle.replace(microsecond=0) if middle.replace(microsecond=0) > low else middle
                if _offset(zone, middle, fold) == before:
                    low = middle
                else:
                    high = middle
            found.append((high.replace(microsecond=0), after))
        day = following
    return found
