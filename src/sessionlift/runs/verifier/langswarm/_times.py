"""V1's times as V2's text, worked out in whole microseconds."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

_SHAPE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:.(\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{3}|\d{6}))?)?)?"
    r"(?:([+-])(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{6}))?)?)?)?",
    re.ASCII | re.DOTALL,
)
_EPOCH = datetime(1970, 1, 1)
_MICRO = timedelta(microseconds=1)
EARLIEST = (datetime.min - _EPOCH) // _MICRO
LATEST = (datetime.max - _EPOCH) // _MICRO


class Moment(NamedTuple):
    """UTC in microseconds since 1970, and the code of what was lost on the way there, if anything was."""

    micros: int
    loss: str | None


def is_time(text: object) -> bool:
    """True for what the oldest Python that V1 runs on reads as a time."""
    return isinstance(text, str) and _parts(text) is not None


@lru_cache(maxsize=1_000)
def _parts(text: str) -> tuple[datetime, timedelta | None] | None:
    """The time as written, and its offset from UTC if it has one."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, *offset = found.groups()
    try:
        naive = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0),
            int((fraction or "0").ljust(6, "0")),
        )  # fmt: skip
    except ValueError:
        return None
    if sign is None:
        return naive, None
    hours, minutes, seconds, micros = (int(each or 0) for each in offset)
    if minutes > 59 or seconds > 59:
        return None
    ahead = timedelta(hours=hours, minutes=minutes, seconds=seconds, microseconds=micros)
    if ahead >= timedelta(days=1):
        return None
    return naive, ahead if sign == "+" else -ahead


def isoformat(text: str) -> str:
    """The time in ``text`` as V1 writes it."""
    parts = _parts(text)
    assert parts is not None  # noqa: S101 - asked only of times
    naive, offset = parts
    return (naive if offset is None else naive.replace(tzinfo=timezone(offset))).isoformat()


class Clock:
    """Reads the times of one run, whose naive ones are of ``zone``."""

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self.name = zone
        self.moment = lru_cache(maxsize=4_000)(self._moment)

    def _moment(self, text: str) -> Moment:
        parts = _parts(text)
        assert parts is not None  # noqa: S101 - asked only of times
        naive, offset = parts
        loss = None
        if offset is None:
            offset, loss = self._offset(naive)
        micros = (naive - _EPOCH) // _MICRO - offset // _MICRO
        if not EARLIEST <= micros <= LATEST:
            return Moment(min(max(micros, EARLIEST), LATEST), "time_clamped")
        return Moment(micros, loss)

    def _offset(self, naive: datetime) -> tuple[timedelta, str | None]:
        """How far the zone's clock was ahead; the first of two times, and in a gap what held before it."""
        before, after = (self._ahead(naive.replace(fold=fold)) for fold in (0, 1))
        if before == after:
            return before, None
        # a clock that was set back shows an hour twice, one that was set forward leaves one out
        return before, "time_ambiguous" if before > after else "time_nonexistent"

    def _ahead(self, naive: datetime) -> timedelta:
        found = self._zone.utcoffset(naive)
        return timedelta(0) if found is None else found


def text_of(micros: int) -> str:
    """V2's text of a UTC time."""
    moment = _EPOCH + timedelta(microseconds=micros)
    # years before 1000 with their zeros, which strftime leaves out
    return moment.isoformat(" ")
