"""One session as it lies in a legacy store, in any of its three dresses."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sessionlift.converters._jsontext import object_items
from sessionlift.converters.langswarm._columns import V1_COLUMNS

Dress = Literal["sqlite", "dump", "enhanced"]

CELLS: dict[Dress, tuple[str, tuple[str, ...]]] = {
    "sqlite": ("sessions", V1_COLUMNS),
    "dump": ("sessions", ("session_id", "entry")),
    "enhanced": ("memory", ("key", "value", "metadata")),
}
"""By dress the table whose name begins the source digest, and the cells of a row in their order."""


class NotUtf8(bytes):
    """A text cell whose bytes are no UTF-8. No BLOB: those are plain ``bytes``."""


@dataclass(frozen=True)
class LegacyRow:
    """A session's row: ``key`` names the session, ``cells`` are as the store gave them, by column."""

    key: str
    cells: Mapping[str, Any]
    dress: Dress = "sqlite"


ODD_VALUES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What Python raises on values of other kinds than those that a shape has."""


class Unreadable(Exception):  # noqa: N818 - what it names is a row, and no fault of ours
    """V1 itself could not read the row."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


@dataclass(frozen=True)
class Texts:
    """The two JSON documents of a session as they stand in its row. None where there is none."""

    metadata: Any
    history: Any


def texts_of(row: LegacyRow) -> Texts:
    """Take a row's dress off. Raises Unreadable where its wrapping is broken."""
    if row.dress == "sqlite":
        return Texts(row.cells.get("metadata"), row.cells.get("history"))
    document: Any = row.cells.get("entry") if row.dress == "dump" else _session_data(row.cells.get("metadata"))
    try:
        json.loads(document)
        parts = {key: text for key, text, _ in object_items(document)}
    except (ValueError, TypeError, RecursionError) as error:
        raise Unreadable("entry_unreadable", f"the session's document cannot be read: {error}") from None
    return Texts(parts.get("metadata"), parts.get("history"))


def _session_data(text: Any) -> str:
    """What the ``repr`` of a dict in an enhanced store has under ``session_data``; nothing of it is run."""
    try:
        wrapped = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise Unreadable("entry_unreadable", f"the row's metadata is no Python literal: {error}") from None
    found = wrapped.get("session_data") if isinstance(wrapped, dict) else None
    if not isinstance(found, str):
        raise Unreadable("entry_unreadable", "the row's metadata has no text under session_data")
    return found


def field(value: Any) -> bytes:
    """A cell as it goes into a source digest."""
    if value is None:
        return b"~"
    if isinstance(value, bytes):
        return b"x%d:%b" % (len(value), bytes(value))
    text = (value if isinstance(value, str) else str(value)).encode("utf-8", "surrogatepass")
    return b"%d:%b" % (len(text), text) if isinstance(value, str) else text


def digest_of(table: str, rows: Iterable[Iterable[Any]]) -> str:
    """The SHA-256 of source rows: the table's name, then each row's cells."""
    found = hashlib.sha256(f"{table}\n".encode())
    for cells in rows:
        for value in cells:
            found.update(field(value))
            found.update(b"\x1f")
        found.update(b"\x1e")
    return found.hexdigest()


def source_digest(row: LegacyRow) -> str:
    """The digest of a session's row as docs/langswarm.md has it."""
    table, columns = CELLS[row.dress]
    return digest_of(table, [[row.cells.get(column) for column in columns]])


def cell_digest(value: Any) -> str:
    return hashlib.sha256(field(value)).hexdigest()


def json_cell(value: Any) -> Any:
    """A cell in a form that JSON has."""
    if isinstance(value, NotUtf8):
        return {"text": value.hex()}
    if isinstance(value, bytes):
        return {"blob": value.hex()}
    return value


def cell_from_json(value: Any) -> Any:
    """What ``json_cell`` was given."""
    if isinstance(value, dict):
        return NotUtf8.fromhex(value["text"]) if "text" in value else bytes.fromhex(value["blob"])
    return value


def raw_row(row: LegacyRow) -> dict[str, Any]:
    """A row whole, for the quarantine."""
    return {column: json_cell(row.cells.get(column)) for column in CELLS[row.dress][1]}
