"""What the metadata of events and messages must say: the legacy text, and our key for the rest."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sessionlift.runs.verifier import _rules

ENVELOPE = "SessionEventMessage"


# --- events -------------------------------------------------------------------------------------------------


def event_metadata(
    texts: Sequence[str | None],
    costs: Sequence[float | None],
    types: Sequence[str],
    mapped: Sequence[str | None],
) -> list[tuple[str, ...] | str | None]:
    """v3's metadata for many events: the text it must be, or several where it may be spelled in more ways."""
    ours = f'"{_rules.OURS}"'
    tail = f", {ours}: "
    return [
        text
        if cost is None
        and kind == new
        and (text is None or (text[:2] == '{"' and text[-1] == "}" and text[-2] not in _COMMA and ours not in text))
        else f'{text[:-1]}{tail}{{"cost": {cost!r}}}}}'
        if cost is not None
        and text is not None
        and text[:2] == '{"'
        and text[-1] == "}"
        and text[-2] not in _COMMA
        and ours not in text
        and -1e300 < cost < 1e300
        and kind == new
        else _carefully(text, cost, kind if kind != new else None)
        for text, cost, kind, new in zip(texts, costs, types, mapped, strict=True)
    ]


_COMMA = frozenset("," + _rules.WHITE)


def _is_open(text: str) -> bool:
    """True for an object to which a member can be added; the engine takes a comma before the end, too."""
    return (
        text[0] == "{"
        and text[-1] == "}"
        and f'"{_rules.OURS}"' not in text
        and not text[:-1].rstrip(_rules.WHITE).endswith(",")
    )


def _carefully(text: str | None, cost: float | None, recorded_type: str | None) -> tuple[str, ...] | str | None:
    extras = [""]
    if cost is not None:
        extras = [f'"cost": {cost!r}' if math.isfinite(cost) else f'"cost": "{cost!r}"']
    if recorded_type is not None:
        head = f"{extras[0]}, " if extras[0] else ""
        extras = [f'{head}"event_type": {spelled}' for spelled in _rules.spellings(recorded_type)]
    if text == "null":
        text = None
    ours = f'"{_rules.OURS}"'
    if text is not None and not _is_open(text):
        inner = [f'"metadata": {text}' + (f", {extra}" if extra else "") for extra in extras]
        return tuple(f"{{{ours}: {{{each}}}}}" for each in inner)
    if extras == [""]:
        return text
    if text is None or not text[1:-1].strip():
        return tuple(f"{{{ours}: {{{extra}}}}}" for extra in extras)
    return tuple(f"{text[:-1]}, {ours}: {{{extra}}}}}" for extra in extras)


def settle(wanted: list[tuple[str, ...] | str | None], found: Sequence[tuple[Any, ...]], place: int) -> list[Any]:
    """``wanted`` with one text each: the spelling at ``place`` of the row found where it is one of those allowed."""
    if tuple not in set(map(type, wanted)):
        return wanted
    return [
        (row[place] if row[place] in want else want[0]) if isinstance(want, tuple) else want
        for want, row in zip(wanted, found, strict=True)
    ]


# --- messages -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Message:
    """A legacy message as it must come out. ``utc``: its event_time is UTC already, whatever the zone."""

    kind: str
    content: str
    metadata: tuple[str, ...] | str | None
    utc: bool = False


def read_messages(
    kinds: Sequence[str],
    texts: Sequence[str],
    new: Callable[[str], str],
    is_json: Callable[[str], bool],
    bound: Callable[[str], str | None],
) -> tuple[list[str], list[str], list[tuple[str, ...] | str | None], list[bool] | None]:
    """Real types, contents, metadata and (None: none) which times are UTC, for many messages.

    ``new`` gives v3's type of a legacy one; ``is_json`` asks the source's engine what it takes for JSON, and ``bound``
    what the time of an envelope is that only the engine can read.
    """
    if ENVELOPE in kinds:
        read = [read_message(kind, text, new, is_json, bound) for kind, text in zip(kinds, texts, strict=True)]
        return (
            [each.kind for each in read],
            [each.content for each in read],
            [each.metadata for each in read],
            [each.utc for each in read],
        )
    # one call of the parser for all of them: a call for each costs five times as much
    values = json.loads("[" + ",".join([text if text[0] == '"' else "0" for text in texts]) + "]")
    contents = [value if text[0] == '"' else text for value, text in zip(values, texts, strict=True)]
    known = {form: {kind: _metadata_of(kind, form, new(kind) != kind) for kind in set(kinds)} for form in FORMS}
    strings, others, marked = known["string"], known["json"], known["marked"]
    metadata = [strings[kind] if text[0] == '"' else others[kind] for kind, text in zip(kinds, texts, strict=True)]
    for place, (head, text) in enumerate(zip(map(MAY_BE_JSON, contents), texts, strict=True)):
        if head is not None and text[0] == '"' and looks_like_json(contents[place], is_json):
            metadata[place] = marked[kinds[place]]
    return list(kinds), contents, metadata, None


MAY_BE_JSON = re.compile(rf'[{{\["\-0-9{_rules.WHITE}]|true|false|null|nan|inf', re.ASCII | re.IGNORECASE).match
"""Leaves out most texts that cannot be mistaken for JSON; ``looks_like_json`` decides of the others."""


def looks_like_json(text: str, is_json: Callable[[str], bool]) -> bool:
    """True for text that could be mistaken for JSON once it stands bare."""
    start = text.lstrip(_rules.WHITE)[:16].lower()
    if start[:1] in "tfni" and not start.startswith(("true", "false", "null", "nan", "inf")):
        return False
    if not start:
        return False
    if "\\u" not in text:
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            # the engine takes more for JSON than Python does: it shall say
            return is_json(text)
        return True
    return is_json(text)


def _final(kind: str, form: str, new: Callable[[str], str]) -> tuple[str, ...] | str | None:
    """The metadata of a message of the final dress: what was mapped, what could be mistaken, nothing else."""
    return _metadata_of(kind, form, new(kind) != kind)


FORMS = {"json": '"content": "json"', "marked": '"content": "string"', "string": ""}
"""What is said of a content, by its form."""


@lru_cache(maxsize=1_000)
def _metadata_of(kind: str, form: str, mapped: bool) -> tuple[str, ...] | str | None:
    types = [f'"message_type": {spelled}' for spelled in _rules.spellings(kind)] if mapped else [""]
    mark = FORMS[form]
    texts = [", ".join(part for part in (each, mark) if part) for each in types]
    if texts[0] == "":
        return None
    found = dict.fromkeys(f'{{"{_rules.OURS}": {{{text}}}}}' for text in texts)
    return next(iter(found)) if len(found) == 1 else tuple(found)


def read_message(
    kind: str,
    text: str,
    new: Callable[[str], str],
    is_json: Callable[[str], bool],
    bound: Callable[[str], str | None],
) -> Message:
    """One message, whatever its dress."""
    if kind == ENVELOPE and text[0] == "{":
        opened = _opened(text)
        # one that stays whole tells of its time all the same
        return opened or Message(kind, text, _final(kind, "json", new), _was_utc(bound(text)))
    if text[0] == '"':
        value = json.loads(text)
        return Message(kind, value, _final(kind, "marked" if looks_like_json(value, is_json) else "string", new))
    return Message(kind, text, _final(kind, "json", new))


def _opened(text: str) -> Message | None:
    parts: dict[str, str] = {}
    try:
        for key, member in _rules.members(text):
            parts.setdefault(key, member)
    except (ValueError, IndexError, RecursionError):
        return None
    if "content" not in parts:
        return None
    content = parts["content"]
    value = json.loads(content)
    is_text = isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)
    named = json.loads(parts.get("message_type", "null"))
    kind = named if isinstance(named, str) else "unknown" if named is None else parts["message_type"]
    rest = {key: member for key, member in parts.items() if key not in ("content", "message_type")}
    form = "string" if is_text else "json"
    told = f'"dress": "{ENVELOPE}", "message_type": {json.dumps(kind)}, "content": "{form}"'
    if rest:
        told += ', "envelope": {' + ", ".join(f"{json.dumps(key)}: {own}" for key, own in rest.items()) + "}"
    metadata = f'{{"{_rules.OURS}": {{{told}}}}}'
    return Message(kind, value if is_text else content, metadata, _bound_as_utc(rest))


def _bound_as_utc(rest: Mapping[str, str]) -> bool:
    if "time_record" not in rest:
        return False
    record, _ = _RECORD.raw_decode(rest["time_record"])
    return isinstance(record, dict) and _was_utc(record.get("event_time"))


def _was_utc(bound: Any) -> bool:
    """The writer's driver turned numbers and texts with an offset into UTC when it bound them."""
    return isinstance(bound, str) and _NUMBER_OR_OFFSET.fullmatch(bound) is not None


_RECORD = json.JSONDecoder(object_pairs_hook=_rules.first_wins, parse_int=str, parse_float=str, parse_constant=str)
"""Reads numbers as their digits."""
_NUMBER_OR_OFFSET = re.compile(r"-?[0-9.]+([eE][+-]?[0-9]+)?|.*(Z|[+-][0-9]{2}:?[0-9]{2})", re.DOTALL)
