"""What v3 must hold for a value of v2, worked out one value at a time and by no code of the converter's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)
WHITE = " \t\n\r"
TOP_KEYS = ("task_split", "task_id", "model", "env_name", "policy_name", "seed", "judge_scores", "prompt", "completion")
OURS = "sessionlift"


class Clock:
    """Naive local microseconds since 1970 to UTC ones, through ``zoneinfo``, a second at a time."""

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self._offsets: dict[int, int] = {}
        self._prefixes: dict[int, str] = {}

    def utc(self, local: int) -> int:
        second = local // 1_000_000
        offset = self._offsets.get(second)
        if offset is None:
            if len(self._offsets) > 200_000:
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
        if utc is None:
            return None
        second, micro = divmod(utc, 1_000_000)
        prefix = self._prefixes.get(second)
        if prefix is None:
            if len(self._prefixes) > 200_000:
                self._prefixes.clear()
            try:
                moment = EPOCH + timedelta(seconds=second)
            except OverflowError:
                return None
            prefix = self._prefixes[second] = moment.replace(tzinfo=timezone.utc).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
        return f"{prefix}.{micro:06d}+00:00"


@lru_cache(maxsize=100_000)
def cents_of(shortest: str) -> float | None:
    """Cents for dollars given by their shortest text: moved by two places in decimal, then the nearest double."""
    dollars = Decimal(shortest)
    if dollars.is_nan():
        return None
    return float(dollars.scaleb(2)) if dollars.is_finite() else float(dollars)


def null_or(text: str | None) -> str | None:
    """JSON text, or None for JSON null."""
    if text is None or text == "null" or (text[:1] in " \t\n\rn" and text.strip(WHITE) == "null"):
        return None
    return text


class Exact:
    """A JSON number by its digits: 1.0, 1.00 and 1e0 are not the same text."""

    __slots__ = ("digits",)

    def __init__(self, digits: str) -> None:
        self.digits = digits

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Exact) and self.digits == other.digits

    def __hash__(self) -> int:
        return hash(self.digits)

    def __repr__(self) -> str:
        return self.digits


def exact_json(text: str) -> Any:
    """The value of JSON text, its numbers (NaN and Infinity too) as their digits."""
    return json.loads(text, parse_float=Exact, parse_int=Exact, parse_constant=Exact)


def number_of(value: Any) -> int | float | None:
    """The Python number that an exact JSON number stands for, None for anything else."""
    if not isinstance(value, Exact):
        return None
    try:
        return int(value.digits)
    except ValueError:
        return float(value.digits)


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


def session_metadata_of(text: str | None) -> Any:
    """v3's metadata object for v2's JSON text, as an exact value."""
    value = None if text is None or not text.strip(WHITE) else exact_json(text)
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    if not isinstance(value, list):
        return {OURS: {"metadata": value}}
    by_type: dict[str, list[Any]] = {}
    lifted: dict[str, list[Any]] = {}
    for kind, data in map(_typed, value):
        by_type.setdefault(kind, []).append(data)
        if isinstance(data, dict):
            for key in TOP_KEYS:
                if key in data:
                    lifted.setdefault(key, []).append(data[key])
    result: dict[str, Any] = {kind: found[0] if len(found) == 1 else found for kind, found in by_type.items()}
    for key, found in lifted.items():
        if len(found) == 1 and key not in by_type:
            result[key] = found[0]
    return result


def _typed(item: Any) -> tuple[str, Any]:
    if isinstance(item, dict) and isinstance(item.get("metadata_type"), str) and "data" in item:
        return item["metadata_type"], item["data"]
    return "unknown", item


def episode_of(text: str | None) -> dict[str, Any] | None:
    """The data of the last metadata item that tells an episode's outcome."""
    value = None if text is None or not text.strip(WHITE) else exact_json(text)
    last = None
    for kind, data in map(_typed, value if isinstance(value, list) else []):
        told = isinstance(data, dict) and "total_reward" in data
        told = told and ("num_achievements" in data or "achievements" in data)
        if isinstance(data, dict) and (kind == "episode_results" or (kind == "SessionMetadum" and told)):
            last = data
    return last
