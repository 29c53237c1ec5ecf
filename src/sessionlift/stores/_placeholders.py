"""Values that a driver cannot bind exactly get an expression in place of their ``?``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from sessionlift.errors import UsageError
from sessionlift.stores._value import Value

#: For a value the driver binds exactly: None. Else the SQL in place of ``?``, and what that binds.
Special = Callable[[Value], "tuple[str, tuple[Value, ...]] | None"]

# strings, quoted names and comments are stepped over: a question mark in them is text
_TOKENS = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|/\*.*?\*/|\?\d*""",
    re.DOTALL,
)


def expand(sql: str, params: Sequence[Value], special: Special) -> tuple[str, tuple[Value, ...]]:
    """``sql`` and ``params`` with each special value's ``?`` replaced by its expression.

    Untouched when no value is special. Only plain ``?`` placeholders are allowed where one is.
    """
    found = [special(value) for value in params]
    if not any(found):
        return sql, tuple(params)
    bound: list[Value] = []
    index = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal index
        piece = match.group()
        if not piece.startswith("?"):
            return piece
        if piece != "?" or index >= len(params):
            raise UsageError(f"cannot bind to the placeholder {piece} number {index + 1}", sql=sql)
        replacement = found[index]
        value = params[index]
        index += 1
        if replacement is None:
            bound.append(value)
            return "?"
        bound.extend(replacement[1])
        return replacement[0]

    text = _TOKENS.sub(replace, sql)
    if index != len(params):
        raise UsageError(f"{len(params)} values for {index} placeholders", sql=sql)
    return text, tuple(bound)
