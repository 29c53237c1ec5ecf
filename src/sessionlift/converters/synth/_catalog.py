"""The catalog: systems, their versions, experiments and the links between them. They move first, as one unit."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import duckdb

from sessionlift.converters._batch import CATALOG, Batch, Fact, Loss, Quarantined, Sink, Unit
from sessionlift.converters._digest import TargetDigests, row_digest
from sessionlift.converters._forward import RowKeys
from sessionlift.converters._jsontext import quote
from sessionlift.converters.synth import _sql
from sessionlift.converters.synth._columns import (
    V2_CATALOG_TABLES,
    V2_COLUMNS,
    V3_CATALOG_TABLES,
    V3_COLUMNS,
    row_key,
)
from sessionlift.converters.synth._inventory import CHILD_BYTES
from sessionlift.converters.synth._quarantine import raw_rows
from sessionlift.stores import quote_identifier

_ORPHAN = "r.session_id NOT IN (SELECT session_id FROM session_traces)"
_KEY = {"experimental_systems": "experiment_id, system_id"}


def tables_with_orphans(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """The tables in which there is a row that belongs to no session. Reads one column of each, and no row whole."""
    return frozenset(
        table
        for table in CHILD_BYTES
        if connection.execute(f"SELECT 1 FROM {table} AS r WHERE {_ORPHAN} LIMIT 1").fetchone()
    )


def catalog_digest(connection: duckdb.DuckDBPyConnection, orphans: Collection[str]) -> str:
    """The SHA-256 of the catalog's rows in the order of their keys, and of rows that belong to no session.

    ``orphans`` names the tables that have such rows.
    """
    digest = hashlib.sha256()
    queries = [
        (table, f"SELECT {_sql.source_text(table, 'r')} FROM {table} AS r ORDER BY {_KEY.get(table, 'id')}")
        for table in V2_CATALOG_TABLES
    ]
    queries.extend(
        (
            table,
            f"SELECT {_sql.source_text(table, 'r')} FROM {table} AS r "
            f"WHERE {_ORPHAN if table in orphans else 'FALSE'} ORDER BY id",
        )
        for table in CHILD_BYTES
    )
    for table, query in queries:
        digest.update(f"{table}\n".encode())
        result = connection.execute(query)
        while rows := result.fetchmany(1000):
            for (text,) in rows:
                digest.update(text.encode())
    return digest.hexdigest()


def convert_catalog(
    connection: duckdb.DuckDBPyConnection, sink: Sink, digest: str, orphans: Collection[str], leave: RowKeys
) -> Batch:
    """All rows of the catalog, and every row whose session does not exist, which goes to quarantine.

    ``orphans`` as for the digest. Rows that ``leave`` names go to neither ``sink`` nor any count; the digests and the
    complement are those of the whole catalog.
    """
    unit = Unit(CATALOG, "", digest)
    batch = Batch([unit])
    digests = TargetDigests([""])
    rows = _rows(connection)
    left = {table: set(leave.get(table, ())) for table in rows}
    owned: dict[str, list[Any]] = {}
    for table, all_rows in rows.items():
        owned[table] = [row_key(table, row) for row in all_rows]
        digests.table(table)
        taken = [row for row, key in zip(all_rows, owned[table], strict=True) if key not in left[table]]
        sink.rows(table, V3_COLUMNS[table], taken)
        # every catalog row belongs to the one unit, whose id is the empty text
        digests.rows([("", *row) for row in all_rows], 0)
        unit.written_counts[table] = len(taken)
        unit.read_counts[table] = unit.read_counts.get(table, 0) + len(taken)
        with_nul = [row for row in taken if any(isinstance(value, str) and "\0" in value for value in row)]
        if with_nul:
            example = {"row": str(row_key(table, with_nul[0]))}
            batch.facts.append(Fact(None, "text_with_nul", table, len(with_nul), example))
    _orphans(connection, batch, unit, orphans)
    unit.target_digest = digests.hexdigests()[""]
    each = {table: [row_digest([row]) for row in all_rows] for table, all_rows in rows.items()}
    unit.complement = {"sequences": _sequences(connection), "owned": owned, "rows": each}
    moved = [row for row in rows["system_versions"] if row[6] is not None and row[0] not in left["system_versions"]]
    if moved:
        example = {"row": moved[0][0]}
        batch.losses.append(Loss("column_to_metadata", "system_versions", "branch, description", len(moved), example))
    cells = _odd_times(connection, batch, left)
    if cells:
        unit.complement["cells"] = cells
    if batch.quarantine:
        unit.state = "partial"
    return batch


def _rows(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[Any, ...]]]:
    def all_of(table: str, order: str = "rowid") -> list[tuple[Any, ...]]:
        columns = []
        for column in V2_COLUMNS[table]:
            name = quote_identifier(column)
            columns.append(_sql.iso(name) if column in ("created_at", "updated_at") else name)
        return connection.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {order}").fetchall()

    rows: dict[str, list[tuple[Any, ...]]] = {
        "systems": [(key, name, None, text, None, None) for key, name, text in all_of("systems")],
        "system_versions": [
            (key, system, key, commit, created, None, _version_metadata(branch, text))
            for key, system, branch, commit, created, text in all_of("system_versions")
        ],
        "experiments": [
            (key, name, text, created, updated, None, None)
            for key, name, text, created, updated in all_of("experiments")
        ],
        "experimental_systems": all_of("experimental_systems"),
    }
    return {table: rows[table] for table in V3_CATALOG_TABLES}


def _odd_times(
    connection: duckdb.DuckDBPyConnection, batch: Batch, left: Mapping[str, Collection[Any]]
) -> dict[str, dict[str, dict[str, str]]]:
    """By table and column, the texts of the times that v3 cannot hold; each column of them is told as a loss, those of
    the rows ``left`` alone aside."""
    cells: dict[str, dict[str, dict[str, str]]] = {}
    for table, column in (
        ("system_versions", "created_at"),
        ("experiments", "created_at"),
        ("experiments", "updated_at"),
    ):
        odd = dict(
            connection.execute(
                f"SELECT id, {column}::VARCHAR FROM {table} WHERE ({_sql.iso(column)}) IS NULL ORDER BY id"
            ).fetchall()
        )
        if odd:
            cells.setdefault(table, {})[column] = odd
            told = {row_id: text for row_id, text in odd.items() if row_id not in left[table]}
            for row_id, text in list(told.items())[:1]:
                example = {"row": row_id, "value": text}
                batch.losses.append(Loss("time_out_of_range", table, column, len(told), example))
    return cells


def _version_metadata(branch: str | None, description: str | None) -> str | None:
    parts = []
    if branch is not None:
        parts.append(f'"branch": {quote(branch)}')
    if description is not None:
        parts.append(f'"description": {quote(description)}')
    return "{" + ", ".join(parts) + "}" if parts else None


def _orphans(connection: duckdb.DuckDBPyConnection, batch: Batch, unit: Unit, tables: Collection[str]) -> None:
    for table in (each for each in CHILD_BYTES if each in tables):
        for session_id, row_id, row in raw_rows(connection, table, table, _ORPHAN):
            reason = f"no row of session_traces has the session id {session_id!r}"
            batch.quarantine.append(Quarantined(CATALOG, session_id, table, row_id, "orphan_row", reason, row))
            unit.read_counts[table] = unit.read_counts.get(table, 0) + 1


def _sequences(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """The next value of each sequence: rows that were deleted or failed have used numbers, too."""
    rows = connection.execute("SELECT sequence_name, start_value, last_value FROM duckdb_sequences()").fetchall()
    return {name: start if last is None else max(start, last) for name, start, last in rows}
