"""Session metadata: v2's list of typed items becomes v3's object, and what rewards can be derived from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sessionlift.converters._jsontext import array_items, object_items, quote
from sessionlift.converters.synth._sql import OUR_KEY

WELL_KNOWN = (
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
"""The top-level keys that the real ``synth-ai filter`` reads."""
_NAMES = {key: quote(key) for key in WELL_KNOWN}
_LIFTABLE = frozenset(WELL_KNOWN)

LOST_TYPE = "SessionMetadum"
"""What the early and middle writers put into metadata_type of every item: the real type is lost."""


@dataclass
class Reshaped:
    """``text`` is v3's metadata. ``results`` is the data of the last item that tells an episode's outcome."""

    text: str
    types_lost: int = 0
    results: dict[str, Any] | None = None
    results_count: int = 0


def reshape(text: str | None) -> Reshaped:
    """v3's metadata for v2's JSON ``text``; each part keeps the exact text it had.

    A list becomes an object with one key for each metadata_type, its data as value; a type that occurs again
    gets a list, in order. A key that the real filter reads is lifted to the top where exactly one item's data has
    it and no type claims its name. An object stays as it is, nothing becomes ``{}``, and any other value stands
    under our own key. Raises ValueError or RecursionError for text that is not JSON, or too deep to read.
    """
    stripped = (text or "").strip(" \t\n\r")
    if stripped in ("", "null"):
        return Reshaped("{}")
    if stripped.startswith("{"):
        return Reshaped(text or "")
    if not stripped.startswith("["):
        return Reshaped(f'{{"{OUR_KEY}": {{"metadata": {stripped}}}}}')
    grouped: dict[str, list[str]] = {}
    sources: dict[str, list[str]] = {}
    result = Reshaped("")
    for item_text, item in array_items(stripped):
        kind, data_text, data = _item(item_text, item)
        grouped.setdefault(kind, []).append(data_text)
        result.types_lost += kind == LOST_TYPE
        if isinstance(data, dict):
            for key in _LIFTABLE.intersection(data):
                sources.setdefault(key, []).append(_member_text(data_text, key, data[key]))
            if kind == "episode_results" or (kind == LOST_TYPE and _tells_outcome(data)):
                result.results = data
                result.results_count += 1
    parts = [
        f"{_quoted(kind)}: {texts[0] if len(texts) == 1 else '[' + ', '.join(texts) + ']'}"
        for kind, texts in grouped.items()
    ]
    for key in WELL_KNOWN if sources else ():
        found = sources.get(key, ())
        if len(found) == 1 and key not in grouped:
            parts.append(f"{_NAMES[key]}: {found[0]}")
    result.text = "{" + ", ".join(parts) + "}"
    return result


def item_type(item: Any) -> str:
    """The type under which an item of v2's list stands in v3's object."""
    typed = isinstance(item, dict) and isinstance(item.get("metadata_type"), str) and "data" in item
    return str(item["metadata_type"]) if typed else "unknown"


def _item(text: str, item: Any) -> tuple[str, str, Any]:
    """An item's type, its data's own text and its data; an item of another shape is its own data, untyped."""
    if isinstance(item, dict) and isinstance(item.get("metadata_type"), str) and "data" in item:
        kind: str = item["metadata_type"]
        # as the real writers spell it; a key that comes twice would make the rest another value
        head = f'{{"metadata_type": {_quoted(kind)}, "data": '
        stamp = item.get("timestamp")
        tail = f', "timestamp": {quote(stamp)}}}' if isinstance(stamp, str) else "}"
        plain = len(item) == (3 if isinstance(stamp, str) else 2) and _names_once(text)
        if plain and text.startswith(head) and text.endswith(tail):
            return kind, text[len(head) : len(text) - len(tail)].strip(" \t\n\r"), item["data"]
        members = {key: member for key, member, _ in object_items(text)}
        return kind, members["data"], item["data"]
    return "unknown", text, item


@lru_cache(maxsize=1_000)
def _quoted(kind: str) -> str:
    """A type as JSON; a store has few, and each of its sessions some."""
    return quote(kind)


def _names_once(text: str) -> bool:
    """False where a key of an item may come twice, in one spelling or another."""
    return (
        text.count('"data"') == 1
        and text.count('"metadata_type"') == 1
        and text.count('"timestamp"') <= 1
        and "\\u00" not in text
    )


def _member_text(text: str, key: str, value: Any) -> str:
    """The own text of a member of the object ``text``. Most have one spelling only, and then a look confirms it: where
    the key stands once in the text, and cannot stand there in escapes, it is the member's and of no object inside."""
    if (isinstance(value, (bool, int, str)) or value is None) and "\\u00" not in text:
        spelled = quote(value) if isinstance(value, str) else json.dumps(value)
        name = _NAMES[key]
        if text.count(name) == 1 and f"{name}: {spelled}" in text:
            return spelled
    return {name: member for name, member, _ in object_items(text)}[key]


def _tells_outcome(data: dict[str, Any]) -> bool:
    return "total_reward" in data and ("num_achievements" in data or "achievements" in data)


@dataclass(frozen=True)
class Outcome:
    """One row of outcome_rewards, but for its session and time."""

    total_reward: float | int
    achievements_count: int
    total_steps: int
    metadata: str


def outcome(reshaped: Reshaped, reward_sum: float | None, num_timesteps: int) -> Outcome | None:
    """The session's outcome from its episode results, else from the sum of its events' rewards, else None."""
    results = reshaped.results
    if results is not None and _is_number(results.get("total_reward")):
        achieved = results.get("achievements")
        names = [name for name, done in achieved.items() if done] if isinstance(achieved, dict) else []
        if isinstance(achieved, list):
            names = [name for name in achieved if isinstance(name, str)]
        count = results.get("num_achievements")
        steps = results.get("rollout_length")
        total = results["total_reward"]
        return Outcome(
            # an integer stays one, to the last digit; of a double the zero loses its sign, as it does in the target
            total + 0.0 if isinstance(total, float) else total,
            _count(count, len(names)),
            _count(steps, num_timesteps),
            _note("episode_results", names),
        )
    if reward_sum is not None:
        return Outcome(reward_sum, 0, num_timesteps, _note("sum of events.reward", []))
    return None


def _note(source: str, names: list[str]) -> str:
    achievements = "[" + ", ".join(quote(name) for name in names) + "]"
    return f'{{"achievements": {achievements}, "{OUR_KEY}": {{"derived_from": {quote(source)}}}}}'


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return value == value and abs(value) < 2**63


def _count(value: Any, otherwise: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    return otherwise
