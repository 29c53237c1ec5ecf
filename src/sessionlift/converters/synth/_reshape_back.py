"""Session metadata on the way back: v3's object becomes v2's list of typed items."""

from __future__ import annotations

import json

from sessionlift.converters._jsontext import array_items, object_items, quote
from sessionlift.converters.synth._metadata import item_type, reshape
from sessionlift.converters.synth._sql import OUR_KEY


def unshape(text: object, original: str | None = None) -> str | None:
    """v2's metadata for what v3 holds now; ``original`` is v2's text as it was moved, None for NULL or none.

    Where the original leads to v3's text, it is what comes back. Else the items stay whose types v3 holds
    unchanged, in their order and to the character; a type that changed gets items with the new data in the place of
    its first; one that is gone takes its items with it; a new key becomes an item at the end. What was no list stays
    what it was: an object is v3's object, and a value under our key is that value.
    """
    now = text if isinstance(text, str) else None
    was = _reshaped(original)
    if was is not None and was == now:
        return original
    if now is None:
        return None
    members = _members(now)
    if members is None:
        # no object: v2 holds any JSON, but its readers look for items
        return f"[{_item('unknown', now if _is_json(now) else quote(now))}]"
    stripped = (original or "").strip(" \t\n\r")
    if stripped.startswith("{"):
        return now
    if list(members) == [OUR_KEY] and (inner := _members(members[OUR_KEY])) is not None and list(inner) == ["metadata"]:
        return inner["metadata"]
    items = list(_kept_items(stripped, was, members)) if stripped.startswith("[") and was is not None else []
    known = {kind for kind, _ in items}
    before = _members(was) if was is not None and stripped.startswith("[") else {}
    named = {kind for kind, _ in _typed(stripped)} if stripped.startswith("[") else set()
    for key, raw in members.items():
        lifted = key not in named and (before or {}).get(key) == raw
        if key not in known and not lifted:
            items.append((key, _item(key, raw)))
    return "[" + ", ".join(item for _, item in items) + "]"


def _kept_items(original: str, was: str, members: dict[str, str]) -> list[tuple[str, str]]:
    """(type, item) of the original's items, with the data that v3 holds now."""
    before = _members(was) or {}
    typed = _typed(original)
    counts: dict[str, int] = {}
    for kind, _ in typed:
        counts[kind] = counts.get(kind, 0) + 1
    items: list[tuple[str, str]] = []
    done: set[str] = set()
    for kind, item in typed:
        if kind not in members:
            continue
        if members[kind] == before.get(kind):
            items.append((kind, item))
        elif kind not in done:
            done.add(kind)
            items.extend((kind, _item(kind, data)) for data in _datas(members[kind], counts[kind]))
    return items


def _datas(raw: str, count: int) -> list[str]:
    """The data of each item of a type: several items made one list."""
    if count > 1:
        try:
            parts = [part for part, _ in array_items(raw)]
        except (ValueError, RecursionError):
            return [raw]
        if len(parts) > 1:
            return parts
    return [raw]


def _typed(original: str) -> list[tuple[str, str]]:
    try:
        return [(item_type(item), text) for text, item in array_items(original)]
    except (ValueError, RecursionError):
        return []


def _item(kind: str, data: str) -> str:
    return f'{{"metadata_type": {quote(kind)}, "data": {data}}}'


def _reshaped(original: str | None) -> str | None:
    try:
        return reshape(original).text
    except (ValueError, RecursionError):
        return None


def _members(text: str) -> dict[str, str] | None:
    try:
        return {key: raw for key, raw, _ in object_items(text)}
    except (ValueError, RecursionError):
        return None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
