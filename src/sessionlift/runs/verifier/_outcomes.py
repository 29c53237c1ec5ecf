"""The outcome of a session, as v3 must have it: from its recorded results, or else from its rewards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sessionlift.runs.verifier import _rules


def outcome_of(
    session: str, episode: Mapping[str, Any] | None, created: str, steps: int, rewards: list[float]
) -> tuple[Any, ...] | None:
    """The row that outcome_rewards must have, None for none."""
    total: Any = episode.get("total_reward") if episode is not None else None
    if episode is not None and _is_number(total) and total == total and abs(total) < 2**63:
        done = episode.get("achievements")
        if isinstance(done, dict):
            names = [name for name, value in done.items() if value]
        else:
            names = [name for name in done if isinstance(name, str)] if isinstance(done, list) else []
        count, length = _whole(episode.get("num_achievements")), _whole(episode.get("rollout_length"))
        return (
            session,
            total,
            len(names) if count is None else count,
            steps if length is None else length,
            created,
            _derivation(names, "episode_results"),
        )
    if not rewards:
        return None
    try:
        summed = math.fsum(rewards)
    except (OverflowError, ValueError):
        return None
    if not math.isfinite(summed):
        return None
    return (session, summed, 0, steps, created, _derivation([], "sum of events.reward"))


def _derivation(names: list[str], source: str) -> str:
    achieved = ", ".join([_rules.spelled(name) for name in names])
    return f'{{"achievements": [{achieved}], "{_rules.OURS}": {{"derived_from": "{source}"}}}}'


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: Any) -> int | None:
    return value if _is_number(value) and isinstance(value, int) and 0 <= value < 2**63 else None
