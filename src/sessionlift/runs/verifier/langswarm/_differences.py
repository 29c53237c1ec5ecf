"""Where two lists of rows, or two JSON texts, differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any


def unpaired(want: Sequence[Any], have: Sequence[Any]) -> Iterator[tuple[int | None, int | None]]:
    """The places of rows that have no equal at the same place of the other list, in pairs; None for no partner.

    What both lists begin and end with is left out, so that one row too many or too few is told as that.
    """
    first, last = 0, 0
    shorter = min(len(want), len(have))
    while first < shorter and want[first] == have[first]:
        first += 1
    while last < shorter - first and want[-1 - last] == have[-1 - last]:
        last += 1
    wanted = range(first, len(want) - last)
    found = range(first, len(have) - last)
    both = min(len(wanted), len(found))
    yield from zip(wanted[:both], found[:both], strict=True)
    yield from ((place, None) for place in wanted[both:])
    yield from ((None, place) for place in found[both:])


def first_difference(want: Any, have: Any) -> str | None:
    """The path of the first place at which two JSON texts differ; None where they are not both JSON, or equal so."""
    if not isinstance(want, str) or not isinstance(have, str):
        return None
    try:
        return _path(json.loads(want), json.loads(have), "$")
    except (ValueError, RecursionError):
        return None


def _path(want: Any, have: Any, path: str) -> str | None:
    if type(want) is not type(have):
        return path
    if isinstance(want, dict):
        if list(want) != list(have):
            odd = next((key for key in (*want, *have) if key not in want or key not in have), None)
            return f"{path} (its keys in their order)" if odd is None else f"{path}.{odd}"
        return next((found for key in want if (found := _path(want[key], have[key], f"{path}.{key}"))), None)
    if isinstance(want, list):
        if len(want) != len(have):
            return f"{path} (its length)"
        pairs = enumerate(zip(want, have, strict=True))
        return next((found for place, (a, b) in pairs if (found := _path(a, b, f"{path}[{place}]"))), None)
    # NaN is the same value in both texts, and equals nothing
    return None if want == have or (want != want and have != have) else path
