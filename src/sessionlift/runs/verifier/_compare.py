"""Columns of expected and found values side by side, and what differs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

KEPT = 100
"""How many differences are kept with their values; the rest are counted."""
_TOLD, _IN_MESSAGE = 2_000, 110
"""About how many characters of a text are told, and how many in the sentence about it."""


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
    """The running result of a verification.

    ``differing`` counts by session id what was found wrong, ``by_table`` the target's rows that were read.
    ``given_back`` counts sessions that were compared by their digests alone.
    """

    sessions: int = 0
    rows: int = 0
    values: int = 0
    differences: list[Found] = field(default_factory=list)
    more: int = 0
    differing: dict[str, int] = field(default_factory=dict)
    by_table: dict[str, int] = field(default_factory=dict)
    given_back: int = 0

    def found(self, table: str, rows: int) -> None:
        """Count rows of ``table`` that were read from the target."""
        self.rows += rows
        self.by_table[table] = self.by_table.get(table, 0) + rows

    def differ(self, found: Found) -> None:
        if found.session_id is not None:
            self.differing[found.session_id] = self.differing.get(found.session_id, 0) + 1
        if len(self.differences) < KEPT:
            self.differences.append(found)
        else:
            self.more += 1

    def row(self, session_id: str | None, table: str, row: Any, *, missing: bool, why: str = "") -> None:
        """Tell of a row that is not in the target (``missing``), or that must not be there."""
        said = "is missing in the target" if missing else "is in the target and has no source"
        want, have = ("a row", None) if missing else (None, "a row")
        self.differ(
            Found(
                session_id,
                table,
                str(row),
                None,
                want,
                have,
                f"{table} row {row} {said}" + (f": {why}" if why else ""),
            )
        )

    def value(
        self, session_id: str | None, table: str, row: Any, column: str, want: Any, have: Any, at: str | None = None
    ) -> None:
        """Tell of one value that is not the one it must be. ``at``: the place inside of it that differs first."""
        message = f"{table} row {row}: {column} differs at {at}"
        if at is None:
            told, must = _where_they_differ(have, want, _IN_MESSAGE)
            message = f"{table} row {row}: {column} is {_short(told)}, must be {_short(must)}"
        want, have = _where_they_differ(want, have, _TOLD)
        self.differ(Found(session_id, table, str(row), column, _plain(want), _plain(have), message))

    def column(
        self,
        table: str,
        name: str,
        sessions: Sequence[Any],
        rows: Sequence[Any],
        expected: Sequence[Any],
        found: Sequence[Any],
    ) -> None:
        """Compare one column of as many rows (lists); equal ones cost next to nothing."""
        self.values += len(found)
        # lists compare in C; neither side ever holds booleans or NaN, and a text equals no number
        if expected == found:
            return
        for session_id, row, want, have in zip(sessions, rows, expected, found, strict=True):
            if not same(want, have):
                self.value(session_id, table, row, name, want, have)


def same(want: Any, have: Any) -> bool:
    """Equal in value and in kind; 1 and 1.0 are the same number to SQLite's columns, and 1 is not '1'."""
    if isinstance(want, (int, float)) and isinstance(have, (int, float)):
        return want == have
    return type(want) is type(have) and bool(want == have)


def _where_they_differ(one: Any, other: Any, most: int) -> tuple[Any, Any]:
    """Two values of which about ``most`` characters are told: of long texts that begin alike, not the beginning."""
    if not isinstance(one, str) or not isinstance(other, str) or max(len(one), len(other)) <= most:
        return one, other
    pairs = enumerate(zip(one, other, strict=False))
    alike = next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
    left_out = alike - most // 4
    if left_out <= 0:
        return one, other
    return f"...{one[left_out:]}", f"...{other[left_out:]}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$bytes": value[:1000].hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    if isinstance(value, str) and len(value) > _TOLD:
        return value[:_TOLD] + f"... ({len(value)} characters)"
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value
