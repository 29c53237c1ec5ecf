"""Columns of expected and found values side by side, and what differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

KEPT = 100
"""How many differences are kept with their values; the rest are counted."""


@dataclass(frozen=True)
class Found:
    """One value, row or session that is not as it must be."""

    session_id: str | None
    table: str
    row: str | None
    column: str | None
    expected: Any
    found: Any
    message: str


@dataclass
class Comparison:
    """The running result of a verification."""

    sessions: int = 0
    rows: int = 0
    values: int = 0
    differences: list[Found] = field(default_factory=list)
    more: int = 0

    def differ(self, found: Found) -> None:
        if len(self.differences) < KEPT:
            self.differences.append(found)
        else:
            self.more += 1

    def column(
        self,
        table: str,
        name: str,
        sessions: Sequence[Any],
        rows: Sequence[Any],
        expected: Sequence[Any],
        found: Sequence[Any],
    ) -> None:
        """Compare one column of as many rows; equal lists cost next to nothing."""
        self.values += len(found)
        if expected == found and _same_kinds(expected, found):
            return
        for session_id, row, want, have in zip(sessions, rows, expected, found, strict=True):
            if not same(want, have):
                message = f"{table} row {row}: {name} is {_short(have)}, must be {_short(want)}"
                self.differ(Found(session_id, table, str(row), name, _plain(want), _plain(have), message))


def same(want: Any, have: Any) -> bool:
    """Equal in value and in kind: 1 is neither True nor '1'; 1 and 1.0 are the same number to SQLite's columns."""
    if want is None or have is None:
        return want is have
    if isinstance(want, (int, float)) and isinstance(have, (int, float)):
        return want == have
    return type(want) is type(have) and want == have


def _same_kinds(expected: Sequence[Any], found: Sequence[Any]) -> bool:
    number = {int, float}
    left, right = set(map(type, expected)), set(map(type, found))
    return left == right or (left - number == right - number and bool(left & number) == bool(right & number))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return repr(value)
    if isinstance(value, str) and len(value) > 2000:
        return value[:2000] + f"... ({len(value)} characters)"
    return value
