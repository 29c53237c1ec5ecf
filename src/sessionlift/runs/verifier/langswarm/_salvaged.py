"""A broken history, walked along what was moved of it and what was put aside: nothing may be left between them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sessionlift.runs.verifier.langswarm._reading import is_message
from sessionlift.runs.verifier.langswarm._store import BadText, Cell

_DECODER = json.JSONDecoder()
_WHITE = re.compile(r"[ \t\n\r]*")
_BETWEEN = re.compile(r"[, \t\n\r]*")
_OPENED = re.compile(r'\{(?=[ \t\n\r]*")')
_PATIENCE = 400
"""So many objects of an entry that are nested too deeply to be read: fewer than end a salvage, so that what it could
not look for is not asked of it."""


@dataclass
class Walk:
    """The messages that can be read, the history's other values, and what is not as it must be."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    history: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def walk(cell: Cell, aside: Mapping[int, str]) -> Walk:
    """Go through the list of messages in ``cell``; ``aside`` are the texts in quarantine by their place in the list."""
    found = Walk()
    text = _shown(cell)
    at = _list_start(text)
    left = dict(aside)
    place = 0
    if at is not None:
        at = _skip(_BETWEEN, text, at)
        while at < len(text) and text[at] != "]":
            entry = left.pop(place, None)
            end = _message(text, at, found) if entry is None else _entry(text, at, entry, found, place)
            if end is None:
                found.problems.append(f"what stands at place {place} of the list is neither moved nor in quarantine")
                return found
            at = _skip(_BETWEEN, text, end)
            place += 1
    found.problems += [f"the entry in quarantine for place {place} is not in the list" for place in sorted(left)]
    found.history = _rest(text)
    return found


def _message(text: str, at: int, found: Walk) -> int | None:
    """The end of the message at ``at``, which is noted; None where there is none."""
    try:
        value, end = _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None
    if not is_message(value):
        return None
    found.messages.append(value)
    return end


def _entry(text: str, at: int, entry: str, found: Walk, place: int) -> int | None:
    """The end of an unreadable entry."""
    if not entry or not text.startswith(entry, at):
        return None
    end = at + len(entry)
    try:
        value, stop = _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        if _hides_message(entry):
            found.problems.append(f"the entry in quarantine for place {place} holds a message that can be read")
        return end
    if is_message(value):
        found.problems.append(f"the entry in quarantine for place {place} is a message that can be read")
    return end if stop == end else None


def _hides_message(entry: str) -> bool:
    patience = _PATIENCE
    for opened in _OPENED.finditer(entry, 1):
        try:
            value, _ = _DECODER.raw_decode(entry, opened.start())
        except ValueError:
            continue
        except RecursionError:
            patience -= 1
            if not patience:
                return False
            continue
        if is_message(value):
            return True
    return False


def _shown(cell: Cell) -> str:
    """The text of a cell, bytes that are no text as escapes."""
    if isinstance(cell, bytes):
        encoding = "utf-8" if isinstance(cell, BadText) else json.detect_encoding(cell)
        return cell.decode(encoding, "backslashreplace").removeprefix("\ufeff")
    return cell.removeprefix("\ufeff") if isinstance(cell, str) else ""


def _list_start(text: str) -> int | None:
    """The place after the bracket that begins the outer object's messages; of the last ones, if they come twice."""
    at = _skip(_WHITE, text, 0)
    if text[at : at + 1] != "{":
        return None
    start: int | None = None
    at = _skip(_WHITE, text, at + 1)
    while text[at : at + 1] == '"':
        try:
            name, at = _DECODER.raw_decode(text, at)
            at = _skip(_WHITE, text, at)
            if text[at : at + 1] != ":":
                break
            at = _skip(_WHITE, text, at + 1)
            if name == "messages":
                start = at + 1 if text[at : at + 1] == "[" else None
            _, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        at = _skip(_WHITE, text, at)
        if text[at : at + 1] != ",":
            break
        at = _skip(_WHITE, text, at + 1)
    return start


def _rest(text: str) -> dict[str, Any]:
    """What else of the history can be read, where it is JSON at all."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {name: value[name] for name in ("summary", "total_tokens") if name in value}


def _skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return at if found is None else found.end()
