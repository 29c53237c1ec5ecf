"""What the ledger notes of a catalog whose rows do not all follow from the older store: what a rollback has carried,
which belongs to both stores from then on, and what a move has left alone, which the application changed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

from sessionlift.runs.verifier._audit import parsed
from sessionlift.runs.verifier._digests import row_digest
from sessionlift.runs.verifier._readers import TargetReader


def catalog_complement(target: TargetReader) -> dict[str, Any]:
    """What the ledger says of the catalog besides its digests; empty where that cannot be read."""
    for (data,) in target.read("sessionlift_complement", ("data",), "unit = 'catalog'"):
        return parsed(data)
    return {}


def carried(complement: dict[str, Any]) -> dict[str, Any]:
    """Where v2 could not hold all of it: the digest of the target's rows, and the values that v2 has no place for."""
    found = complement.get("carried")
    return found if isinstance(found, dict) else {}


class LeftAlone:
    """The rows of the catalog that a move left alone, since the application had changed them, as they were then."""

    def __init__(self, complement: dict[str, Any]) -> None:
        left = complement.get("left")
        self._left: dict[str, dict[Any, Any]] = {}
        for table, rows in left.items() if isinstance(left, dict) else ():
            self._left[table] = {
                tuple(key) if isinstance(key, list) else (key,): digest
                for key, digest in rows
                if isinstance(digest, (str, type(None)))
            }

    def holds(self, table: str, key: tuple[Any, ...], rows: Sequence[tuple[Any, ...]]) -> bool:
        """Whether the row under ``key`` was left alone, and the target has now what it had then: ``rows``, or none."""
        left = self._left.get(table, {})
        return key in left and left[key] == (row_digest(rows) if rows else None)

    def counts(self) -> dict[str, int]:
        """By table, how many."""
        return {table: len(rows) for table, rows in self._left.items() if rows}

    def keys(self, table: str) -> list[Any]:
        """The first part of each key of a table."""
        return [key[0] for key in self._left.get(table, {})]


class Cells:
    """The values of the catalog that v2 has no place for, each with the name of what a move makes in its place."""

    def __init__(self, complement: dict[str, Any]) -> None:
        cells = carried(complement).get("cells")
        self._cells: dict[tuple[str, str, str], tuple[Any, Any]] = {}
        for cell in cells if isinstance(cells, list) else ():
            if isinstance(cell, list) and len(cell) == 5:
                table, key, column, made, value = cell
                self._cells[str(table), str(key), str(column)] = (made, value)

    def expected(self, table: str, key: str, column: str, made: Any) -> Any:
        """What a cell must hold where a move would make ``made``; that itself, unless such a value stands for it."""
        name, value = self._cells.get((table, key, column), (None, None))
        if name is None or name != _name(made):
            return made
        try:
            return _unpacked(value)
        except (TypeError, ValueError, KeyError):
            return made


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        return bytes.fromhex(value["blob"]) if "blob" in value else float(value["double"])
    return value


def _name(value: Any) -> str:
    """The name of a value: see docs/synth.md."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        value = int(value)
    if isinstance(value, bytes):
        value = {"blob": value.hex()}
    elif isinstance(value, float) and not math.isfinite(value):
        value = {"double": repr(value)}
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
