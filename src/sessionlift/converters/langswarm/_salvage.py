"""Every readable message of a history that V1 cannot read as a whole."""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass, field
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from sessionlift.converters.langswarm._reading import check_message
from sessionlift.converters.langswarm._row import NotUtf8

_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_WHITE = re.compile(r"[ \t\n\r]*")
_SEPARATORS = ", \t\n\r"
_FIRST_KEY = re.compile(r'\{[ \t\n\r]*"')
"""How an object begins that has members. Code in a string hardly looks so, since its quotes are escaped there."""
_BROKEN_BYTES = re.compile("[\udc80-\udcff]")
_MARKED = "sessionlift.marked"


def _marked(error: UnicodeError) -> tuple[str, int]:
    """As "surrogateescape", which however cannot escape a byte below 0x80, such as the half of a last UTF-16 unit."""
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101 - it is used for nothing else
    broken = error.object[error.start : error.end]
    return "".join(chr(0xDC00 + max(byte, 0x80)) for byte in broken), error.end


codecs.register_error(_MARKED, _marked)
_TOO_DEEP = 500
_NOT_THROUGH = (
    f"it was not looked through to its end, for {_TOO_DEEP} objects in it are nested more deeply than Python reads"
)


@dataclass
class Salvaged:
    """``messages`` can be read; ``entries`` cannot: place in the list, reason, text."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    entries: list[tuple[int, str, str]] = field(default_factory=list)
    history: dict[str, Any] = field(default_factory=dict)
    """the history's other values, as far as V1 can read them"""

    def take(self, text: str, value: Any) -> None:
        """Add one entry of the list."""
        reason = "its text is no UTF-8" if _BROKEN_BYTES.search(text) else _reason(value)
        if reason is None:
            self.messages.append(value)
        else:
            self.refuse(text, reason)

    def refuse(self, text: str, reason: str) -> None:
        shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        self.entries.append((len(self.messages) + len(self.entries), reason, shown))


def salvage(cell: Any) -> Salvaged:
    """What can be read of the history in ``cell``."""
    found = Salvaged()
    text = _text(cell)
    at = _list_begins(text)
    if at is not None:
        _items(text, at, found)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        for key in ("summary", "total_tokens"):
            if key in document and not _BROKEN_BYTES.search(json.dumps(document[key], ensure_ascii=False)):
                found.history[key] = document[key]
    return found


def _text(cell: Any) -> str:
    if isinstance(cell, bytes):
        encoding = "utf-8" if isinstance(cell, NotUtf8) else json.detect_encoding(cell)
        return cell.decode(encoding, _MARKED).removeprefix("\ufeff")
    return cell.removeprefix("\ufeff") if isinstance(cell, str) else ""


def _list_begins(text: str) -> int | None:
    """Where the value of the outer object's ``messages`` begins, if that is a list; the last one if there are more."""
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        return None
    found, at = None, _skip(text, at + 1)
    while text[at : at + 1] == '"':
        try:
            key, at = scanstring(text, at + 1, True)
            at = _skip(text, at)
            if text[at : at + 1] != ":":
                break
            at = _skip(text, at + 1)
            if key == "messages":
                found = at + 1 if text[at : at + 1] == "[" else None
            _, at = _scan(text, at)
        except (ValueError, StopIteration, RecursionError):
            break
        at = _skip(text, at)
        if text[at : at + 1] != ",":
            break
        at = _skip(text, at + 1)
    return found


def _items(text: str, at: int, found: Salvaged) -> None:
    at = _next(text, at)
    while at < len(text) and text[at] != "]":
        try:
            value, end = _scan(text, at)
        except (ValueError, StopIteration, RecursionError) as error:
            end, through = _taken_up(text, at + 1)
            why = f"no JSON: {error or 'the text ends'}"
            found.refuse(text[at:end].rstrip(_SEPARATORS), why if through else f"{why}; {_NOT_THROUGH}")
            at = end
            continue
        found.take(text[at:end], value)
        at = _next(text, end)


def _next(text: str, at: int) -> int:
    """Where the next entry begins, or the list ends: behind any number of commas, and JSON's white space."""
    while at < len(text) and text[at] in _SEPARATORS:
        at += 1
    return at


def _taken_up(text: str, at: int) -> tuple[int, bool]:
    """The next place from ``at`` on where an object begins that is a message, the text's end if there is none; and
    whether all of it was looked through.

    An object that cannot be read is given up where it breaks. Only nesting makes that dear: each level may cost a look
    at all that is in it.
    """
    deep = 0
    for place in _FIRST_KEY.finditer(text, at):
        try:
            value, _ = _scan(text, place.start())
        except (ValueError, StopIteration):
            continue
        except RecursionError:
            deep += 1
            if deep == _TOO_DEEP:
                return len(text), False
            continue
        if _reason(value) is None:
            return place.start(), True
    return len(text), True


def _reason(value: Any) -> str | None:
    try:
        check_message(value)
    except ValueError as error:
        return str(error)
    return None


def _skip(text: str, at: int) -> int:
    match = _WHITE.match(text, at)
    return match.end() if match else at
