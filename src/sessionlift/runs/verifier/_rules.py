"""What v3 must hold for a value of v2, worked out one value at a time and by no code of the converter's."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any
from zoneinfo import ZoneInfo

from sessionlift.runs.verifier._depth import DEEP, depth

EPOCH = datetime(1970, 1, 1)
WHITE = " \t\n\r"
TOP_KEYS = (
    "task_split",
    "task_id",
    "model",
    "env_name",
    "policy_name",
    "seed",
    "judge_scores",
    "prompt",
    "completion",
)
OURS = "sessionlift"
MOST_DOLLARS = 1.7976931348623157e306
"""Beyond these no double holds the cents."""
FIRST, LAST = -9_213_651_676_800_000_000, 9_089_348_860_800_000_000
"""Local microseconds (290000 BC, 290000 AD) further out than which no time has a UTC in the engine's range."""


class Clock:
    """Naive local microseconds since 1970 to UTC ones, through ``zoneinfo``, a second at a time."""

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self._offsets: dict[int, int] = {}
        years = [datetime(year, month, 1, tzinfo=self._zone) for year in range(1850, 2200) for month in (1, 7)]
        self._shifts = any(moment.utcoffset() for moment in years)
        self._heads = _Heads()

    def utc(self, local: int) -> int | None:
        """None for the engine's last times, from which no offset can be taken."""
        if self._shifts and not FIRST <= local <= LAST:
            return None
        second = local // 1_000_000
        offset = self._offsets.get(second)
        if offset is None:
            if len(self._offsets) > 20_000:
                self._offsets.clear()
            offset = self._offsets[second] = self._offset(second)
        return local - offset

    def _offset(self, second: int) -> int:
        try:
            moment = EPOCH + timedelta(seconds=second)
        except OverflowError:
            moment = datetime.max if second > 0 else datetime.min
        # beyond these years zones repeat or are unknown; the offset of the last one stands
        moment = min(max(moment, datetime(1850, 1, 1)), datetime(2200, 1, 1))
        offset = moment.replace(tzinfo=self._zone).utcoffset() or timedelta()
        return round(offset.total_seconds()) * 1_000_000

    def text(self, utc: int | None) -> str | None:
        """v3's text of a moment, None outside the years 1 to 9999."""
        return self.texts([utc])[0]

    def texts(self, moments: Sequence[int | None]) -> list[str | None]:
        """v3's texts of many moments."""
        heads = self._heads
        if len(heads) > 20_000:
            heads.clear()
        try:
            return [
                None
                if m is None
                else f"{heads[m // 60_000_000]}{_SECONDS[(rest := m % 60_000_000) // 1_000]}{_TAILS[rest % 1_000]}"
                for m in moments
            ]
        except OverflowError:
            return [None if m is None else self._text_or_none(m) for m in moments]

    def _text_or_none(self, moment: int) -> str | None:
        try:
            rest = moment % 60_000_000
            return f"{self._heads[moment // 60_000_000]}{_SECONDS[rest // 1_000]}{_TAILS[rest % 1_000]}"
        except OverflowError:
            return None


# digits looked up: spelling them takes half as long again
_SECONDS = [f":{number // 1_000:02d}.{number % 1_000:03d}" for number in range(60_000)]
_TAILS = [f"{number:03d}+00:00" for number in range(1_000)]


class _Heads(dict[int, str]):
    """The text of a moment up to its minute; OverflowError where v3's text has no form for the year."""

    def __missing__(self, minute: int) -> str:
        moment = EPOCH + timedelta(minutes=minute)
        head = self[minute] = moment.isoformat(timespec="minutes")
        return head


class _Cents(dict[float, "float | None"]):
    """Cents for dollars: the decimal of their shortest text moved by two places, then the nearest double."""

    def __missing__(self, dollars: float) -> float | None:
        if len(self) > 10_000:
            self.clear()
        shortest = repr(dollars)
        if dollars != dollars or MOST_DOLLARS < abs(dollars) < math.inf:
            cents = None
        elif "e" in shortest or "n" in shortest:
            cents = float(Decimal(shortest).scaleb(2)) if math.isfinite(dollars) else dollars
        else:
            cents = float(shortest + "e2")
        self[dollars] = cents
        return cents


def cents_of(costs: Sequence[float | None]) -> list[float | None]:
    """v3's cost_usd for v2's costs; what is no number has none."""
    return [None if cost is None else _CENTS[cost] for cost in costs]


_CENTS = _Cents()


def message_type_of(real: str, overrides: Mapping[str, str]) -> str:
    if real in overrides:
        return overrides[real]
    match real:
        case "user" | "assistant" | "system" | "tool_use" | "tool_result":
            return real
        case "llm_prompt":
            return "user"
        case "llm_completion":
            return "assistant"
        case "tool_call" | "action":
            return "tool_use"
    return "system"


def event_type_of(recorded: str, overrides: Mapping[str, str]) -> str | None:
    if recorded in overrides:
        return overrides[recorded]
    low = recorded.lower()
    for known in ("cais", "environment", "runtime"):
        if low.endswith(known):
            return known
    return None


def members(text: str) -> Iterator[tuple[str, str]]:
    """The members of a JSON object, each with its value's own text. ValueError where it is none."""
    at = text.index("{") + 1
    while True:
        while text[at] in WHITE + ",":
            at += 1
        if text[at] == "}":
            return
        key, at = _DECODER.raw_decode(text, at)
        at = text.index(":", at) + 1
        while text[at] in WHITE:
            at += 1
        _, end = _DECODER.raw_decode(text, at)
        yield key, text[at:end]
        at = end


def member(text: str, key: str, value: Any) -> str:
    """The own text of the member ``key`` of a JSON object, whose value is ``value``.

    Where the key stands once only, in the usual spelling, and the value too, there is no need to read all members:
    without escapes of ASCII there is no other spelling of the key, and the one found is not that of an object inside.
    """
    if (value is None or isinstance(value, (str, int))) and "\\u00" not in text and text.count(f'"{key}"') == 1:
        usual = _DUMPS(value)
        at = text.find(f'"{key}": {usual}') + len(key) + 4
        if at >= len(key) + 4 and text[at + len(usual)] in ",}":
            return usual
    return dict(members(text))[key]


@lru_cache(maxsize=4_000)
def spelled(text: str) -> str:
    """``text`` as a JSON string, as Python's writers spell it."""
    return _DUMPS(text)


_DUMPS = json.JSONEncoder().encode


def items(text: str) -> Iterator[tuple[str, str, Any]]:
    """The items of a metadata list: each one's type, its data's own text and its data."""
    scan = _DECODER.scan_once  # type: ignore[attr-defined]
    at = text.index("[") + 1
    while True:
        while text[at] in WHITE + ",":
            at += 1
        if text[at] == "]":
            return
        if text.startswith(_HEAD, at):
            # as the real writers spell an item: then no second look at its parts is needed
            kind, start = scanstring(text, at + len(_HEAD))
            if text.startswith(_NEXT, start):
                start += len(_NEXT)
                start += len(text[start:]) - len(text[start:].lstrip(WHITE)) if text[start] in WHITE else 0
                value, end = scan(text, start)
                close = end
                if text.startswith(_STAMP, end):
                    _, close = scanstring(text, end + len(_STAMP))
                if text[close] == "}":
                    yield kind, text[start:end], value
                    at = close + 1
                    continue
        value, end = _DECODER.raw_decode(text, at)
        own = text[at:end]
        at = end
        if isinstance(value, dict) and "data" in value and isinstance(value.get("metadata_type"), str):
            yield value["metadata_type"], dict(members(own))["data"], value["data"]
        else:
            yield "unknown", own, value


_HEAD = '{"metadata_type": "'
_NEXT = ', "data": '
_STAMP = ', "timestamp": "'
_DECODER = json.JSONDecoder()


def first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose repeated keys have their first value, as the source's engine reads them."""
    return dict(reversed(pairs))


def spellings(text: str) -> tuple[str, ...]:
    """How ``text`` may be spelled as a JSON string: non-ASCII escaped or not, escapes in either case."""
    raw = json.dumps(text, ensure_ascii=False)
    return json.dumps(text), raw, _ESCAPE.sub(_in_capitals, raw)


_ESCAPE = re.compile(r"\\(u00[0-9a-f]{2}|.)")


def _in_capitals(escape: re.Match[str]) -> str:
    return f"\\u{escape[1][1:].upper()}" if len(escape[1]) == 5 else escape[0]


class SessionMetadata:
    """v3's metadata for v2's JSON text, and the data of the last item that tells an episode's outcome."""

    __slots__ = ("episode", "text")

    def __init__(self, text: str | None) -> None:
        self.episode: dict[str, Any] | None = None
        bare = (text or "").strip(WHITE)
        if bare in ("", "null"):
            self.text = "{}"
        elif bare[0] == "{":
            self.text = text or ""
        elif bare[0] == "[":
            self.text = self._of_list(bare)
        else:
            self.text = f'{{"{OURS}": {{"metadata": {bare}}}}}'

    def _of_list(self, text: str) -> str:
        by_type: dict[str, list[str]] = {}
        lifted: dict[str, list[str]] = {}
        for kind, data, value in items(text):
            by_type.setdefault(kind, []).append(data)
            if not isinstance(value, dict):
                continue
            if not _TOP.isdisjoint(value):
                for key in TOP_KEYS:
                    if key in value:
                        lifted.setdefault(key, []).append(member(data, key, value[key]))
            told = "total_reward" in value and ("num_achievements" in value or "achievements" in value)
            if kind == "episode_results" or (kind == "SessionMetadum" and told):
                self.episode = value
        parts = [
            f"{spelled(kind)}: {texts[0] if len(texts) == 1 else '[' + ', '.join(texts) + ']'}"
            for kind, texts in by_type.items()
        ]
        parts += [
            f'"{key}": {lifted[key][0]}' for key in TOP_KEYS if len(lifted.get(key, ())) == 1 and key not in by_type
        ]
        return "{" + ", ".join(parts) + "}"


def metadata_is_readable(text: str | None) -> bool | None:
    """Whether v3's metadata can be made of v2's JSON text; None where that depends on the interpreter that reads it."""
    try:
        SessionMetadata(text)
    except Exception:  # noqa: BLE001 - however it shows that it cannot be read
        return False
    told = text or ""
    return None if _LONG_NUMBER.search(told) or depth(told) >= DEEP else True


_LONG_NUMBER = re.compile("[0-9]{640}")
"""As many digits are read by every Python, however it is set up."""
_TOP = frozenset(TOP_KEYS)
