"""What a move put under our own key in v3's JSON objects, taken out of them again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from sessionlift.converters._jsontext import object_items, quote
from sessionlift.converters.synth._sql import OUR_KEY

_HEAD = f'"{OUR_KEY}": {{'
_ALONE = "{" + _HEAD

Ours = Mapping[str, str]
"""By member the text of its JSON value."""

_NOTHING: Ours = {}
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_MARK = re.compile(rf'{_STRING.pattern}|["\[\]{{}}]', re.DOTALL)


def split(text: object, *, trusted: bool) -> tuple[str | None, Ours]:
    """An event's metadata without our key, and what stands under it; ``trusted`` text is as a move wrote it.

    A move puts our key behind all others, and the text before it is v2's, character for character. Where the
    application has written the object anew, the other members keep their own texts. An object of our key alone leaves
    ``{}``. Text that is no object is given back as it is.
    """
    if not isinstance(text, str):
        return None, _NOTHING
    if f'"{OUR_KEY}"' not in text:
        return text, _NOTHING
    found = _last_member(text, trusted=trusted)
    if found is not None:
        return found
    try:
        members = list(object_items(text))
    except (ValueError, RecursionError):
        return text, _NOTHING
    mine = [raw for key, raw, value in members if key == OUR_KEY and isinstance(value, dict)]
    if not mine:
        return text, _NOTHING
    rest = ", ".join(f"{quote(key)}: {raw}" for key, raw, _ in members if key != OUR_KEY)
    return "{" + rest + "}", _members(mine[-1])


def _last_member(text: str, *, trusted: bool) -> tuple[str, Ours] | None:
    if not text.endswith("}}"):
        return None
    if text.startswith(_ALONE):
        head, block = "{}", text[len(_ALONE) - 1 : -1]
    else:
        at = text.rfind(", " + _HEAD)
        if at < 0:
            return None
        head, block = text[:at] + "}", text[at + len(_HEAD) + 1 : -1]
    try:
        # both parts must be objects by themselves: the mark may stand inside a string, or further down
        if not trusted and not (_is_whole(block) and _is_whole(head)):
            return None
        ours = _members(block)
    except (ValueError, RecursionError):
        return None
    return head, ours


def _is_whole(text: str) -> bool:
    """Whether ``text`` is one object from its first character to its last, by its strings and brackets alone.

    v2's metadata may be what only DuckDB takes for JSON: no reader that knows less may judge it.
    """
    open_brackets: list[str] = []
    for mark in _MARK.finditer(text):
        it = mark[0]
        if it in ("{", "["):
            open_brackets.append("}" if it == "{" else "]")
        elif it == '"':
            return False
        elif it in ("}", "]"):
            if not open_brackets or open_brackets.pop() != it:
                return False
            if not open_brackets:
                return text.lstrip(" \t\n\r").startswith("{") and not text[mark.end() :].strip(" \t\n\r")
    return False


def ours_alone(text: object) -> Ours:
    """What stands under our key in a message's metadata, which a move makes of nothing else."""
    if not isinstance(text, str) or f'"{OUR_KEY}"' not in text:
        return _NOTHING
    return _cached(text) if len(text) < 200 else _of_message(text)


def _of_message(text: str) -> Ours:
    try:
        found = {key: (raw, value) for key, raw, value in object_items(text)}
        raw, value = found.get(OUR_KEY, ("", None))
        return _members(raw) if isinstance(value, dict) else _NOTHING
    except (ValueError, RecursionError):
        return _NOTHING


_cached = lru_cache(maxsize=1024)(_of_message)


def _members(block: str) -> Ours:
    try:
        return {key: raw for key, raw, _ in object_items(block)}
    except (ValueError, RecursionError):
        # v2's metadata as a value of ours may be what only DuckDB takes for JSON: trailing commas, nan, any depth
        return dict(_by_brackets(block))


def _by_brackets(block: str) -> Iterator[tuple[str, str]]:
    """The members of an object by counting brackets outside of strings. Raises ValueError where there is no end."""
    at, end = 1, len(block) - 1
    while key := _STRING.search(block, at, end):
        first = last = block.index(":", key.end()) + 1
        depth = 0
        while last < end and (depth or block[last] != ","):
            string = _STRING.match(block, last)
            depth += (block[last] in "[{") - (block[last] in "]}")
            last = string.end() if string is not None else last + 1
        yield json.loads(key[0]), block[first:last].strip(" \t\n\r")
        at = last + 1


def text_of(ours: Ours, member: str) -> str | None:
    """A member that is a JSON string, as its text."""
    raw = ours.get(member)
    if raw is None:
        return None
    try:
        value = json.loads(raw)
    except ValueError:
        return None
    return value if isinstance(value, str) else None
