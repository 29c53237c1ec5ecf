"""The values that move, and the names they are stored under."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Union

Value = Union[int, float, str, bytes, None]  # noqa: UP007 - `X | Y` at run time would need a type on both sides
Row = tuple[Any, ...]

INT32_MIN = -(2**31)
INT32_MAX = 2**31 - 1
INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1


def quote_identifier(name: str) -> str:
    """A table or column name, quoted so that it can stand in SQL text on every engine.

    Raises ValueError for a name that no engine can hold (empty, or with a NUL).
    """
    if not name or "\0" in name:
        raise ValueError(f"not a name for a table or column: {name!r}")
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """``text`` as an SQL string literal of DuckDB, for constants, checked files and names of temporary files: where a
    statement takes no parameter, or is made once for many rows."""
    return "'" + text.replace("'", "''") + "'"


def column_list(columns: Iterable[str]) -> str:
    """Column names as they stand between the brackets of an INSERT."""
    return ", ".join(quote_identifier(column) for column in columns)
