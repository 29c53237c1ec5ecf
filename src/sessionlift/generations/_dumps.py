"""LangSwarm V1 sessions that were dumped from memory into one JSON file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sessionlift.errors import StoreCorruptError, StoreError, UnknownGenerationError
from sessionlift.stores import Role, StoreURL, not_a_database, sniff

_SPACE = re.compile(r"[ \t\r\n]*")
_HEAD = re.compile(r'\s*\{\s*"(?:[^"\\]|\\.)*"\s*:\s*\{\s*"(?:metadata|history)"\s*:\s*\{')
# only the shape is looked at: no number is worth its making, and none is too long
_DECODER = json.JSONDecoder(parse_int=len, parse_float=len, parse_constant=len)


@dataclass(frozen=True)
class Dump:
    """What a dump holds: its members, and how many of these have the parts of a session."""

    members: int
    sessions: int

    @property
    def evidence(self) -> list[str]:
        said = [f"a JSON file of {_sessions(self.sessions)} dumped from memory, each with metadata and history"]
        if self.members > self.sessions:
            said.append(f"{self.members - self.sessions:,} of {self.members:,} members have no such parts")
        return said


def read_dump(url: StoreURL, *, role: Role) -> Dump:
    """Read the dump from its first byte to its last, a member at a time.

    Raises StoreFormatError (no JSON object of sessions), StoreCorruptError (one that is cut short or damaged),
    UnknownGenerationError (an object without members, which says nothing) and StoreError.
    """
    named = url.redacted
    text = _text(url, role)
    members = sessions = 0
    try:
        for value in _members(text):
            members += 1
            sessions += _is_session(value)
    except (ValueError, RecursionError) as error:
        if not sessions and not _HEAD.match(text):
            raise not_a_database(url, role=role) from error
        at = f" at character {error.pos:,}" if isinstance(error, json.JSONDecodeError) else ""
        raise StoreCorruptError(
            f"{named} is a dump of sessions that cannot be read to its end: after {members:,} whole members{at}, "
            f"{'it is nested too deeply' if isinstance(error, RecursionError) else 'it is no JSON'}",
            hint="dump the sessions again, or restore the file from a backup; what is cut off cannot be told",
            store=named,
            role=role,
            found=str(error),
        ) from error
    if not members:
        raise UnknownGenerationError(
            f"{named} is an empty JSON object: a dump of no sessions, or of anything else",
            hint="there is nothing in it to move; check that it is the right file",
            store=named,
            role=role,
            found=[],
        )
    if not sessions:
        raise not_a_database(url, role=role)
    return Dump(members, sessions)


def _sessions(count: int) -> str:
    return f"{count:,} session{'' if count == 1 else 's'}"


def _text(url: StoreURL, role: Role) -> str:
    if url.path is None or sniff(url.path) != "json":
        raise not_a_database(url, role=role)
    try:
        return url.path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise StoreCorruptError(
            f"{url.redacted} is not UTF-8 from byte {error.start:,} on",
            hint="dump the sessions again, or restore the file from a backup",
            store=url.redacted,
            role=role,
        ) from error
    except OSError as error:
        raise StoreError(
            f"{url.path} cannot be read: {error.strerror or error}",
            hint="check the file's permissions",
            store=url.redacted,
            role=role,
        ) from error


def _members(text: str) -> Iterator[Any]:
    """The values of the outer object, one by one. Raises JSONDecodeError where it is none or ends early."""
    at = _after(text, 0, "{")
    if text.startswith("}", at):
        at += 1
    else:
        while True:
            name, at = _DECODER.raw_decode(text, at)
            if not isinstance(name, str):
                raise json.JSONDecodeError("a member without a name", text, at)
            value, at = _DECODER.raw_decode(text, _after(text, at, ":"))
            yield value
            at = _space(text, at)
            if text.startswith("}", at):
                at += 1
                break
            at = _after(text, at, ",")
    if _space(text, at) != len(text):
        raise json.JSONDecodeError("more behind the object", text, at)


def _space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _after(text: str, at: int, sign: str) -> int:
    """Behind ``sign`` and the space around it."""
    at = _space(text, at)
    if not text.startswith(sign, at):
        raise json.JSONDecodeError(f"no {sign}", text, at)
    return _space(text, at + 1)


def _is_session(value: Any) -> bool:
    parts = [value.get(name) for name in ("metadata", "history")] if isinstance(value, dict) else []
    return len(parts) == 2 and all(isinstance(part, dict) for part in parts)
