"""The members of one JSON object by their places in the text, so that none has to be kept to know where it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_STOPS = re.compile(rb'["\[\]{}]')
_MEMBER_STOPS = re.compile(rb'["\[\]{},]')
_WHITE = b" \t\n\r"
BOM = b"\xef\xbb\xbf"


class NotAnObjectError(ValueError):
    """The text is no JSON object, or breaks off."""


def members(data: Any) -> Iterator[tuple[str, int, int]]:
    """(name, start, end) of each member's value in the JSON object that ``data`` (bytes, or a mapped file) holds.

    Only the outline is followed: brackets and texts. What a value holds is its reader's affair.
    """
    at = _after_white(data, len(BOM) if data[: len(BOM)] == BOM else 0)
    if data[at : at + 1] != b"{":
        raise NotAnObjectError("it does not begin with {")
    at = _after_white(data, at + 1)
    if data[at : at + 1] == b"}":
        return
    while True:
        if data[at : at + 1] != b'"':
            raise NotAnObjectError(f"no name at byte {at}")
        end = _text_end(data, at)
        name = json.loads(data[at:end].decode("utf-8", "surrogateescape"), strict=True)
        at = _after_white(data, end)
        if data[at : at + 1] != b":":
            raise NotAnObjectError(f"no colon at byte {at}")
        at = _after_white(data, at + 1)
        stop = _value_end(data, at)
        end = stop
        while end > at and data[end - 1 : end] in (b" ", b"\t", b"\n", b"\r"):
            end -= 1
        yield name, at, end
        if data[stop : stop + 1] == b"}":
            return
        at = _after_white(data, stop + 1)


def _after_white(data: Any, at: int) -> int:
    while (byte := data[at : at + 1]) and byte in _WHITE:
        at += 1
    return at


def _text_end(data: Any, at: int) -> int:
    """The place after the text that begins with the quote at ``at``."""
    here = at + 1
    while (quote := data.find(b'"', here)) >= 0:
        back = quote
        while back > at + 1 and data[back - 1 : back] == b"\\":
            back -= 1
        if (quote - back) % 2 == 0:
            return int(quote) + 1
        here = quote + 1
    raise NotAnObjectError("a text does not end")


def _value_end(data: Any, at: int) -> int:
    """The place of the comma or bracket that ends the value at ``at``."""
    depth = 0
    while found := (_STOPS if depth else _MEMBER_STOPS).search(data, at):
        byte = found.group()
        if byte == b'"':
            at = _text_end(data, found.start())
            continue
        at = found.end()
        if byte in (b"{", b"["):
            depth += 1
        elif byte in (b"}", b"]"):
            if not depth:
                return int(found.start())
            depth -= 1
        elif byte == b",":
            return int(found.start())
    raise NotAnObjectError("a value does not end")
