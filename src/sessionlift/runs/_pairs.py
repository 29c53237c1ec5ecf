"""Files of what a ledger says of its sessions, for processes that do not have it open: JSON, one [id, what] a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


def write_pairs(path: Path, pairs: Iterable[tuple[str, Any]]) -> Path | None:
    """Write pairs into ``path``; None, and no file, where there are none."""
    found = False
    with path.open("w", encoding="utf-8") as lines:
        for pair in pairs:
            lines.write(json.dumps(pair) + "\n")
            found = True
    if not found:
        path.unlink()
    return path if found else None


def read_pairs(path: str | Path | None) -> Iterator[tuple[str, Any]]:
    """The pairs that were written, in their order; none where there is no file."""
    if path is not None:
        with Path(path).open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)
