"""The digest of target rows: one SHA-256 for each unit, over its rows as the target's engine gives them back.

The form, so that anyone can compute it again: for each table in the order the system's converter names, the
table's name and a line feed; then for each row, in the order of its key, a comma and the row's columns as one
compact JSON array in UTF-8 (no spaces, text unescaped where JSON allows it, doubles in their shortest form that
reads back to the same bits). What JSON has no word for goes in as an object, which no column's value is: a blob as
``{"blob":"<hex>"}``, an infinity as ``{"double":"inf"}`` or ``{"double":"-inf"}``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import orjson


class UnitDigests:
    """SHA-256 digests of many units at once: by table its name and a line feed, and then what is added of it."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._hashes = {session_id: hashlib.sha256() for session_id in ids}
        # every unit gets every table's head; they are hashed together with what follows, since a call costs more
        # than the few bytes
        self._heads = b""
        self._told = dict.fromkeys(self._hashes, 0)

    def table(self, name: str) -> None:
        """Say that what follows belongs to table ``name``."""
        self._heads += f"{name}\n".encode()

    def add(self, session_id: str, data: bytes) -> None:
        """Add ``data`` to a unit's digest."""
        told = self._told[session_id]
        if told != len(self._heads):
            data = self._heads[told:] + data
            self._told[session_id] = len(self._heads)
        self._hashes[session_id].update(data)

    def hexdigests(self) -> dict[str, str]:
        """The digests by id, in the order of the ids."""
        for session_id in self._hashes:
            self.add(session_id, b"")
        return {session_id: each.hexdigest() for session_id, each in self._hashes.items()}


class TargetDigests(UnitDigests):
    """Digests of target rows, fed table by table in a fixed order.

    ``finite`` says that no infinity is among the rows, so that none is looked for in each of them.
    """

    def __init__(self, ids: Iterable[str], *, finite: bool = False) -> None:
        super().__init__(ids)
        self._finite = finite

    def rows(self, rows: Sequence[tuple[Any, ...]], key: int) -> dict[str, int]:
        """Take rows that stand grouped by the session id in column ``key``; returns how many each session got."""
        counts: dict[str, int] = {}
        for session_id, group in groupby(rows, itemgetter(key)):
            members = list(group)
            self.add(session_id, encode_rows(members, finite=self._finite))
            counts[session_id] = counts.get(session_id, 0) + len(members)
        return counts


def encode_rows(rows: Sequence[tuple[Any, ...]], *, finite: bool = False) -> bytes:
    """The digest's text of ``rows``; lone surrogates, which UTF-8 cannot hold, go in as their escapes.

    The quick encoder would write an infinity as null; the look for one is left out where all is known to be ``finite``.
    """
    if finite or not any(math.inf in row or -math.inf in row for row in rows):
        try:
            return b"," + orjson.dumps(rows)[1:-1]
        except orjson.JSONEncodeError:
            pass  # the slower way takes what it does not
    return b"," + orjson.dumps([tuple(map(_encodable, row)) for row in rows])[1:-1]


def as_double(value: Any) -> Any:
    """A value of an INTEGER column that holds fractions too: an integer is the double that it equals, since SQLite
    turns 29.0 into 29 on its own. One that no double holds stays an integer."""
    return float(value) if type(value) is int and float(value) == value else value


def row_digest(rows: Sequence[tuple[Any, ...]]) -> str:
    """What is noted of one row of the catalog (or of those that share its key): the first 16 digits of the SHA-256 of
    its digest's text."""
    return hashlib.sha256(encode_rows(rows)).hexdigest()[:16]


def _encodable(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"blob": value.hex()}
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, float) and math.isinf(value):
        return {"double": str(value)}
    return value
