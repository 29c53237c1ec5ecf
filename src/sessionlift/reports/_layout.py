"""Small means to lay text out for a terminal: tables in columns, wrapped paragraphs, safe strings."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any


def printable(text: str) -> str:
    """``text`` with what a terminal would obey or not show as escapes: a store may hold anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def sample(value: Any, width: int) -> str:
    """A JSON value in one line of at most ``width`` characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shorten(printable(text), width)


def shorten(text: str, width: int) -> str:
    """``text``, or its beginning with an ellipsis."""
    return text if len(text) <= width else text[: width - 1] + "…"


def columns(
    head: Sequence[str], rows: Iterable[Sequence[str | int]], *, left: int = 1, indent: str = "  "
) -> list[str]:
    """Lines of a table: the first ``left`` columns are set to the left, the others, numbers, to the right."""
    cells = [list(head)]
    cells += [[f"{c:,}" if isinstance(c, int) else printable(c) for c in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return [
        indent
        + "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def paragraph(text: str, width: int, *, indent: str = "  ", first: str | None = None) -> list[str]:
    """``text`` wrapped to ``width``; ``first`` stands before the first line instead of ``indent``."""
    return textwrap.wrap(
        printable(text),
        width,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_on_hyphens=False,  # an option that is cut in two can be copied by nobody
    )


def plural(count: int, noun: str) -> str:
    """``1 row``, ``2 rows``, ``2 losses``, ``2 bytes``."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith('s') else 's'}"


def size(number: int) -> str:
    """A number of bytes as a person reads it."""
    amount, unit = float(number), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{number} B" if unit == "B" else f"{amount:.1f} {unit}"


def duration(seconds: float) -> str:
    """Seconds as a person reads them: ``0.3 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
