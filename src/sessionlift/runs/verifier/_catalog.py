"""The catalog of both generations: systems, their versions, experiments and the links between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import duckdb

from sessionlift.runs.verifier._audit import parsed
from sessionlift.runs.verifier._compare import Comparison
from sessionlift.runs.verifier._readers import TargetReader
from sessionlift.runs.verifier._rules import Clock
from sessionlift.runs.verifier._tables import micros

_Row = tuple[Any, ...]

# experiment and version times are UTC already in v2
COLUMNS: dict[str, tuple[str, ...]] = {
    "systems": ("system_id", "name", "system_type", "description", "created_at", "metadata"),
    "system_versions": (
        "version_id", "system_id", "version_number", "commit_hash", "created_at", "configuration", "metadata",
    ),
    "experiments": (
        "experiment_id", "name", "description", "created_at", "updated_at", "configuration", "metadata",
    ),
    "experimental_systems": ("experiment_id", "system_id", "version_id"),
}  # fmt: skip

SOURCE = {
    "systems": "SELECT id, name, description FROM systems",
    "system_versions": (
        f'SELECT id, system_id, branch, "commit", {micros("created_at")}, description FROM system_versions'
    ),
    "experiments": (f"SELECT id, name, description, {micros('created_at')}, {micros('updated_at')} FROM experiments"),
    "experimental_systems": "SELECT experiment_id, system_id, system_version_id FROM experimental_systems",
}


def check_catalog(source: duckdb.DuckDBPyConnection, target: TargetReader, clock: Clock, result: Comparison) -> None:
    """Compare every row of the source's catalog with the target's; the target may have rows of its own.

    So may the rows that a rollback has carried have values that v2 has no column for: each of these must be the one
    that the ledger names.
    """
    alone = carried_cells(catalog_complement(target))
    rules: dict[str, Callable[[_Row], _Row]] = {
        "systems": lambda r: (r[0], r[1], None, r[2], None, None),
        "system_versions": lambda r: (r[0], r[1], r[0], r[3], clock.text(r[4]), None, _version(r[2], r[5])),
        "experiments": lambda r: (r[0], r[1], r[2], clock.text(r[3]), clock.text(r[4]), None, None),
        "experimental_systems": lambda r: r,
    }
    for table, rule in rules.items():
        keys = 2 if table == "experimental_systems" else 1
        columns = COLUMNS[table]
        have = {row[:keys]: row for row in target.read(table, columns)}
        cursor = source.execute(SOURCE[table])
        while rows := cursor.fetchmany(1_000):
            for want in map(rule, rows):
                name = "/".join(map(str, want[:keys]))
                found = have.get(want[:keys])
                if found is None:
                    result.row(None, table, name, missing=True)
                    continue
                result.found(table, 1)
                for column, expected, value in zip(columns, want, found, strict=True):
                    expected = alone.get((table, name, column), expected)
                    result.column(table, column, [None], [name], [expected], [value])


def catalog_complement(target: TargetReader) -> dict[str, Any]:
    """What the ledger says of the catalog besides its digests; empty where that cannot be read."""
    for (data,) in target.read("sessionlift_complement", ("data",), "unit = 'catalog'"):
        return parsed(data)
    return {}


def carried(complement: dict[str, Any]) -> dict[str, Any]:
    """What a rollback has noted of a catalog that v2 could not hold all of: the target's digest, and such cells."""
    found = complement.get("carried")
    return found if isinstance(found, dict) else {}


def carried_cells(complement: dict[str, Any]) -> dict[tuple[str, str, str], Any]:
    """By table, key and column the values that v2 has no place for."""
    cells = carried(complement).get("cells")
    found: dict[tuple[str, str, str], Any] = {}
    for cell in cells if isinstance(cells, list) else ():
        if isinstance(cell, list) and len(cell) == 5:
            table, key, column, _, value = cell
            found[str(table), str(key), str(column)] = _unpacked(value)
    return found


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict) and "blob" in value:
        return bytes.fromhex(str(value["blob"]))
    return float(value["double"]) if isinstance(value, dict) and "double" in value else value


def _version(branch: str | None, description: str | None) -> str | None:
    """What v3 has no columns for."""
    kept = {"branch": branch, "description": description}
    told = {key: text for key, text in kept.items() if text is not None}
    return json.dumps(told) if told else None
