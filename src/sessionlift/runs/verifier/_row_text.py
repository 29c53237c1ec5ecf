"""A target row as the text that digests are made of, by the definition in docs/digests.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

_INFINITE = {float("inf"): {"double": "inf"}, float("-inf"): {"double": "-inf"}}


def row_text(row: Sequence[Any]) -> bytes:
    """The row as a JSON array, a comma before it."""
    if any(infinity in row for infinity in _INFINITE):
        # the encoder would write null and ask nobody
        row = [_INFINITE.get(value, value) if isinstance(value, float) else value for value in row]
    return b"," + orjson.dumps(row, default=_blob)


def _blob(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"blob": value.hex()}
    raise TypeError(f"a {type(value).__name__} has no digest")
