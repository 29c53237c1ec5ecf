"""v3's times as v2's: what the clock of a zone shows at a moment, as the legacy engine's text or microseconds."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1)
MICRO = timedelta(microseconds=1)
_HOUR = 3_600_000_000
# beyond these years the offsets of their first and last moments stand, as on the way forward
_FIRST = (datetime(1850, 1, 1) - EPOCH) // MICRO
_LAST = (datetime(2200, 1, 1) - EPOCH) // MICRO
_WRITTEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")
_SECONDS_LIMIT = 9_000_000_000_000
"""Seconds on either side of 1970 that the legacy engine's times reach, with room for an offset."""
_FINE = 2**32
"""Seconds below which a double is nearer to the microsecond it was made of than a quarter of one."""


class Clock:
    """Local times of one zone. A cell that begins with ``@`` is microseconds since 1970, else the engine's text."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._is_utc = zone.key in ("UTC", "Etc/UTC")
        self._offsets: dict[int, int | None] = {}

    def of_text(self, text: object) -> str | None:
        """The local time of a text that v3 holds; None for NULL, and for what is no time."""
        if not isinstance(text, str):
            return None
        if self._is_utc and _WRITTEN.fullmatch(text) and _is_date(text):
            return f"{text[:10]} {text[11:26]}"
        micros = _micros(text)
        return None if micros is None else f"@{self.shown(micros)}"

    def of_seconds(self, seconds: object) -> str | None:
        """The local time of unix seconds, to the nearest microsecond."""
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
            return None
        if abs(seconds) > _SECONDS_LIMIT:
            return None
        return f"@{self.shown(nearest_micros(seconds))}"

    def shown(self, micros: int) -> int:
        """What the clock shows at a moment of UTC, both as microseconds since 1970."""
        if self._is_utc:
            return micros
        within = min(max(micros, _FIRST), _LAST)
        hour = within // _HOUR
        if hour not in self._offsets:
            first, last = self._offset(hour * _HOUR), self._offset(hour * _HOUR + _HOUR - 1)
            self._offsets[hour] = first if first == last else None
        offset = self._offsets[hour]
        return micros + (self._offset(within) if offset is None else offset)

    def _offset(self, micros: int) -> int:
        moment = (EPOCH + timedelta(microseconds=micros)).replace(tzinfo=timezone.utc)
        offset = moment.astimezone(self._zone).utcoffset()
        # whole seconds, as on the way forward
        return 0 if offset is None else round(offset.total_seconds()) * 1_000_000


def nearest_micros(seconds: float) -> int:
    """Unix seconds in whole microseconds. From 2106 the product of doubles is too coarse: rounded to a half first, the
    nearest microsecond's double would lead to the one beside it."""
    return round(seconds * 1_000_000 if abs(seconds) < _FINE else Fraction(seconds) * 1_000_000)


def _is_date(text: str) -> bool:
    """Whether a text of the right form names a time there is; a look, since most are a move's own."""
    if text < "0001" or not "01" <= text[5:7] <= "12" or text[11:13] > "23" or text[14:16] > "59" or text[17:19] > "59":
        return False
    day = text[8:10]
    if "01" <= day <= "28":
        return True
    return day >= "01" and _micros(text) is not None


def _micros(text: str) -> int | None:
    """Microseconds of UTC of an ISO text; a time without an offset is UTC."""
    plain = text.strip()
    if plain[-1:] in ("Z", "z"):
        plain = plain[:-1] + "+00:00"
    try:
        moment = datetime.fromisoformat(plain)
    except ValueError:
        return None
    offset = moment.utcoffset() or timedelta(0)
    return (moment.replace(tzinfo=None) - EPOCH - offset) // MICRO
