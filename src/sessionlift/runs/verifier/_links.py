"""Which timestep each event and message belongs to, by the counts that v2 recorded, and which turn a timestep is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain, groupby, repeat
from typing import Any

from sessionlift.runs.verifier import _rules

Steps = dict[str, list[tuple[int, int, Any, Any]]]
"""By session its timesteps: (step_index, id, num_events, num_messages)."""


def deal(steps: Steps, which: int, counts: Mapping[str, int]) -> dict[str, list[int]]:
    """By session the timestep of its first, second, … row, for sessions whose recorded counts add up."""
    dealt: dict[str, list[int]] = {}
    for session, own in steps.items():
        sizes = [step[which] for step in own]
        if None in sizes or sum(sizes) != counts[session] or min(sizes) < 0:
            continue
        if len({step[0] for step in own}) == len(own):
            dealt[session] = list(chain.from_iterable(map(repeat, [step[1] for step in own], sizes)))
    return dealt


def steps_of(
    sessions: Sequence[str],
    recorded: list[int | None],
    dealt: Mapping[str, list[int]],
    places: dict[str, int],
) -> list[int | None]:
    """The timestep of each row; ``places`` counts each session's rows from chunk to chunk."""
    found: list[int | None] = []
    for session, group in groupby(sessions):
        size = len(list(group))
        place = places.get(session, 0)
        places[session] = place + size
        own = dealt.get(session)
        found += own[place : place + size] if own is not None else [None] * size
    if recorded.count(None) != len(recorded):
        return [step if said is None else said for said, step in zip(recorded, found, strict=True)]
    return found


def own_steps(sessions: Sequence[str], timesteps: list[int | None], steps: Steps) -> list[int | None]:
    """``timesteps`` without those that are no timestep of their row's session: these say nothing of its turns."""
    own = {session: {step[1] for step in steps.get(session, ())} for session in set(sessions)}
    return [step if step in own[session] else None for session, step in zip(sessions, timesteps, strict=True)]


@lru_cache(maxsize=4_000)
def turn_of(text: str, place: int) -> int:
    """The turn of a timestep, ``place`` where its metadata names none.

    ValueError or RecursionError for what the source's engine takes for JSON and Python does not."""
    if "turn_number" not in text and "\\" not in text:
        return place
    value = json.loads(text, object_pairs_hook=_rules.first_wins)
    turn = value.get("turn_number") if isinstance(value, dict) else None
    if isinstance(turn, int) and not isinstance(turn, bool) and -(2**63) <= turn < 2**63:
        return turn
    return place
