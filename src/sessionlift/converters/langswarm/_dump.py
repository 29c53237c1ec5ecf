"""A dump of V1's in-memory store, read in parts: no more than one session of it is ever in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import TextIOBase
from json.decoder import scanstring  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any

from sessionlift.errors import StoreCorruptError, StoreError, StoreFormatError

_WHITE = " \t\n\r"
_CHUNK = 1 << 16
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


def dump_entries(path: Path) -> Iterator[tuple[str, str]]:
    """(key, the value's own text) of each member of the one JSON object in the file, in its order.

    Raises StoreFormatError for a file that holds something else, StoreCorruptError where it breaks off.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _Scanner(file, path).entries()
    except UnicodeDecodeError as error:
        raise StoreFormatError(
            f"{path} is no text in UTF-8", hint="a dump is a JSON file", store=str(path), role="source"
        ) from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}", store=str(path), role="source") from error


class _Scanner:
    def __init__(self, file: TextIOBase | Any, path: Path) -> None:
        self._file, self._path = file, path
        self._text, self._at, self._gone, self._ended = "", 0, 0, False

    def entries(self) -> Iterator[tuple[str, str]]:
        if self._next() != "{":
            raise StoreFormatError(
                f"{self._path} is no dump: it does not hold a JSON object",
                hint='a dump is {"<session id>": {"metadata": {...}, "history": {...}}, ...}',
                store=str(self._path),
                role="source",
            )
        self._at += 1
        if self._next() == "}":
            self._finish()
            return
        while True:
            self._expect('"')
            key = self._read(lambda text, at: scanstring(text, at, True))[0]
            self._expect(":")
            self._next()
            yield key, self._read(_scan)[1]
            if self._next() == "}":
                self._finish()
                return
            self._expect(",")

    def _next(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _WHITE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _expect(self, character: str) -> None:
        if self._next() != character:
            raise self._broken(f"there is no {character!r}")
        self._at += 1

    def _read(self, scan: Any) -> tuple[Any, str]:
        """The value at the current place and its own text; as much is read as it needs."""
        if self._at > _CHUNK:
            self._gone += self._at
            self._text, self._at = self._text[self._at :], 0
        while True:
            try:
                value, end = scan(self._text, self._at)
                if end < len(self._text) or self._ended:
                    text, self._at = self._text[self._at : end], end
                    return value, text
            except (ValueError, StopIteration, RecursionError) as error:
                if self._ended:
                    raise self._broken(str(error) or "a value is missing") from None
            self._more()

    def _more(self) -> bool:
        """Read as much again as there is, so that a long value is not scanned too often."""
        part = "" if self._ended else self._file.read(max(_CHUNK, len(self._text)))
        self._ended = not part
        self._text += part
        return bool(part)

    def _finish(self) -> None:
        self._at += 1
        if self._next():
            raise self._broken("something follows the object")

    def _broken(self, why: str) -> StoreCorruptError:
        return StoreCorruptError(
            f"the dump {self._path} cannot be read at character {self._gone + self._at}: {why}",
            hint="write the dump again, or cut off what is broken",
            store=str(self._path),
            role="source",
        )
