"""JSON as text: find the parts of a document without changing a character of them.

Numbers beyond 64 bits, ``1e400``, ``NaN`` and the spelling of escapes do not survive a parse and a dump. So the
originals are cut out of the text where they stand. The standard library's scanner finds where a value ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from json.encoder import encode_basestring_ascii
from typing import Any

_WHITE = " \t\n\r"
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _WHITE:
        at += 1
    return at


def array_items(text: str) -> Iterator[tuple[str, Any]]:
    """Each item of the JSON array ``text`` as its own text and its value. Raises ValueError on other documents."""
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        raise ValueError("not a JSON array")
    at = _skip(text, at + 1)
    while text[at : at + 1] != "]":
        value, end = _value(text, at)
        yield text[at:end], value
        at = _skip(text, end)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif text[at : at + 1] != "]":
            raise ValueError(f"neither ',' nor ']' at {at}")


def object_items(text: str) -> Iterator[tuple[str, str, Any]]:
    """Each member of the JSON object ``text`` as key, the value's own text, and the value, in their order."""
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        raise ValueError("not a JSON object")
    at = _skip(text, at + 1)
    while text[at : at + 1] != "}":
        if text[at : at + 1] != '"':
            raise ValueError(f"no key at {at}")
        key, at = scanstring(text, at + 1, False)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise ValueError(f"no ':' at {at}")
        at = _skip(text, at + 1)
        value, end = _value(text, at)
        yield key, text[at:end], value
        at = _skip(text, end)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif text[at : at + 1] != "}":
            raise ValueError(f"neither ',' nor '}}' at {at}")


def _value(text: str, at: int) -> tuple[Any, int]:
    try:
        value, end = _scan(text, at)
    except StopIteration as stop:
        raise ValueError(f"no JSON value at {stop.value}") from None
    return value, end


def quote(text: str) -> str:
    """``text`` as a JSON string the way both real writers spell it: every non-ASCII character escaped."""
    return str(encode_basestring_ascii(text))


def is_strict(text: str) -> bool:
    """False where ``text`` holds NaN or Infinity, which strict readers of JSON refuse, or is no JSON at all."""
    loose: list[str] = []
    try:
        json.loads(text, parse_constant=loose.append)
    except (ValueError, RecursionError):
        return False
    return not loose
