"""The catalog of both generations: systems, their versions, experiments and the links between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import duckdb

from sessionlift.runs.verifier._carried import Cells, LeftAlone, catalog_complement
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
    that the ledger names. Rows that a move has left alone, since the application had changed them, must be what they
    were then.
    """
    complement = catalog_complement(target)
    alone, left = Cells(complement), LeftAlone(complement)
    rules: dict[str, Callable[[_Row], _Row]] = {
        "systems": lambda r: (r[0], r[1], None, r[2], None, None),
        "system_versions": lambda r: (r[0], r[1], r[0], r[3], clock.text(r[4]), None, _version(r[2], r[5])),
        "experiments": lambda r: (r[0], r[1], r[2], clock.text(r[3]), clock.text(r[4]), None, None),
        "experimental_systems": lambda r: r,
    }
    for table, rule in rules.items():
        keys = 2 if table == "experimental_systems" else 1
        columns = COLUMNS[table]
        have: dict[_Row, list[_Row]] = {}
        for row in target.read(table, columns, order_by=("rowid",)):
            have.setdefault(row[:keys], []).append(row)
        cursor = source.execute(SOURCE[table])
        while rows := cursor.fetchmany(1_000):
            for want in map(rule, rows):
                name = "/".join(map(str, want[:keys]))
                there = have.get(want[:keys], [])
                if left.holds(table, want[:keys], there):
                    continue
                if not there:
                    result.row(None, table, name, missing=True)
                    continue
                found = there[-1]
                result.found(table, 1)
                for column, expected, value in zip(columns, want, found, strict=True):
                    told = alone.expected(table, name, column, expected)
                    result.column(table, column, [None], [name], [told], [value])


def _version(branch: str | None, description: str | None) -> str | None:
    """What v3 has no columns for."""
    kept = {"branch": branch, "description": description}
    told = {key: text for key, text in kept.items() if text is not None}
    return json.dumps(told) if told else None
