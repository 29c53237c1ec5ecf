"""V1's local times to V2's UTC texts and back."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

from sessionlift.converters._times import load_zone
from sessionlift.converters.langswarm._reading import REMEMBERED, read_time

TICK = timedelta(microseconds=1)
_NONE = timedelta(0)


class Zone:
    """The zone of the legacy store's naive times, by its IANA name. Raises UsageError for an unknown one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._rules = load_zone(name)
        self._is_utc = name == "UTC"
        # the way back, which each move forward looks at, asks for every time again
        self._known = lru_cache(maxsize=REMEMBERED)(self._utc)

    def utc(self, text: Any) -> tuple[datetime, str | None]:
        """A V1 time as naive UTC, and the code of what was lost. Raises ValueError for what V1 cannot read."""
        return self._known(text) if isinstance(text, str) else self._utc(text)

    def _utc(self, text: Any) -> tuple[datetime, str | None]:
        time = read_time(text)
        if self._is_utc and time.tzinfo is None:
            return time, None
        code = None
        if time.tzinfo is None:
            offset = time.replace(tzinfo=self._rules).utcoffset() or _NONE
            later = time.replace(tzinfo=self._rules, fold=1).utcoffset() or _NONE
            if offset != later:
                code = "time_ambiguous" if offset > later else "time_nonexistent"
        else:
            offset = time.utcoffset() or _NONE
            time = time.replace(tzinfo=None)
        try:
            return time - offset, code
        except OverflowError:
            return (datetime.min if offset > _NONE else datetime.max), "time_clamped"

    def local(self, text: Any) -> tuple[str, str | None]:
        """A V2 time as V1 writes it: naive local, and the code of what was lost.

        Raises ValueError for what V2 itself cannot read.
        """
        if not isinstance(text, str):
            raise ValueError(f"not a time that V2 reads: {text!r}")
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            time = time.replace(tzinfo=timezone.utc)
        try:
            local = time.astimezone(self._rules)
        except OverflowError:
            return time.replace(tzinfo=None).isoformat(), "time_clamped"
        return local.replace(tzinfo=None, fold=0).isoformat(), "time_ambiguous" if local.fold else None


@lru_cache(maxsize=16)
def zone_named(name: str) -> Zone:
    """The zone of that name, made once."""
    return Zone(name)


def utc_text(time: datetime) -> str:
    """Naive UTC in V2's one format; as text it sorts as the time does."""
    return time.isoformat(" ")
