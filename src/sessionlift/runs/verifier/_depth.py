"""How deep a document is nested: how much of that an interpreter reads, each decides for itself."""

from __future__ import annotations

import re

DEEP = 200
"""Levels of brackets below which no Python refuses a document; how many it takes depends on the interpreter."""
_BRACKETS = re.compile(r'[\[\]{}]|"(?:[^"\\]|\\.)*"', re.DOTALL)


def depth(text: str) -> int:
    """Levels of brackets of JSON text."""
    level = deepest = 0
    for found in _BRACKETS.finditer(text):
        level += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found.group(), 0)
        deepest = max(deepest, level)
    return deepest
