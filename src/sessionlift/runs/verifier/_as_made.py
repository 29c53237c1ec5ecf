"""Where the rows of one session in a legacy store are not those that a way back has made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sessionlift.runs.verifier._compare import Comparison, Found

Cells = tuple[Any, ...]


@dataclass(frozen=True)
class Sides:
    """A session's rows of one table by their keys: as they were made, and as they lie there.

    ``place`` gives by column where two values begin to differ, for those that hold more than one.
    """

    table: str
    columns: tuple[str, ...]
    made: Mapping[str, Cells]
    there: Mapping[str, Cells]
    place: Mapping[str, Callable[[Any, Any], str | None]]


def compare(session_id: str, tables: Iterable[Sides]) -> Comparison:
    """Every cell of both sides, to the type. The first of ``tables`` has the session itself: where that is missing,
    or must not be there, nothing else of it is named."""
    result = Comparison()
    for place, sides in enumerate(tables):
        for key in [*sides.made, *(key for key in sides.there if key not in sides.made)]:
            _compare_row(result, session_id, sides, key)
        if place == 0 and sides.made.keys() != sides.there.keys():
            break
    return result


def _compare_row(result: Comparison, session_id: str, sides: Sides, key: str) -> None:
    made, there = sides.made.get(key), sides.there.get(key)
    if made is None or there is None:
        said = "is missing in the legacy store" if there is None else "is in the legacy store and was not made"
        want, have = (None if cells is None else "a row" for cells in (made, there))
        result.differ(Found(session_id, sides.table, key, None, want, have, f"{sides.table} row {key} {said}"))
        return
    for column, want, have in zip(sides.columns, made, there, strict=True):
        result.values += 1
        if type(want) is not type(have) or want != have:
            place = sides.place.get(column)
            result.value(session_id, sides.table, key, column, want, have, place(want, have) if place else None)
