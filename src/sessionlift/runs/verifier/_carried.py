"""What a rollback has noted of a catalog that it carried: the rows belong to both stores from then on."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from sessionlift.runs.verifier._audit import parsed
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
