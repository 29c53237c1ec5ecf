"""Rows in quarantine: each as the source has it, all that should be there, and none that could have been moved."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import closing
from typing import Any

import duckdb

from sessionlift.runs.verifier._compare import Comparison, Found
from sessionlift.runs.verifier._digests import SESSION_TABLES, SOURCE
from sessionlift.runs.verifier._readers import TargetReader
from sessionlift.runs.verifier._reasons import REFUSED
from sessionlift.runs.verifier._source import Batch
from sessionlift.runs.verifier._tables import micros
from sessionlift.stores import quote_identifier

CHUNK = 50
_COLUMNS = ("table_name", "row_id", "session_id", "row", "unit", "code")
_NUMBERS = ("INTEGER", "BIGINT")
EVENT_TYPE = "event_type_unknown"
"""The code of an event whose session was moved without it."""
ORPHAN = "orphan_row"
"""The code of a row of no session, the only ones that the catalog's move puts aside."""
TIME, METADATA = "time_out_of_range", "metadata_unreadable"
WHOLE = frozenset((TIME, METADATA, REFUSED))
"""The codes of rows whose whole session is in quarantine. Why a target refused it, the source does not tell."""


def check(
    db: duckdb.DuckDBPyConnection, target: TargetReader, result: Comparison, where: str, params: Sequence[Any]
) -> dict[str, int]:
    """Compare each row of the quarantine with the source's; returns how many there are by table.

    ``v_apart`` has then (table, row id, unit, session id) of each.
    """
    db.execute(
        "CREATE OR REPLACE TEMP TABLE v_apart (table_name VARCHAR, row_id VARCHAR, unit VARCHAR, session_id VARCHAR)"
    )
    counts: dict[str, int] = {}
    with closing(target.stream("sessionlift_quarantine", _COLUMNS, where, params, ("id",))) as stream:
        while rows := stream.fetch(CHUNK):
            for table in dict.fromkeys(str(row[0]) for row in rows):
                mine = [row for row in rows if str(row[0]) == table]
                own = [(str(row[1]), row[2], row[3]) for row in mine]
                counts[table] = counts.get(table, 0) + len(own)
                places = [(table, str(row[1]), str(row[4]), str(row[2])) for row in mine]
                db.executemany("INSERT INTO v_apart VALUES (?, ?, ?, ?)", places)
                _compare(db, result, table, own)
            for table, row_id, session, _, unit, code in rows:
                if unit != "session" and code != ORPHAN:
                    out_of_place(result, session, str(table), str(row_id), f"by {code!r}, as a row of no session")
    # of a session that the source has lost since, rows that are still there stand as rows of none, too
    twice = "SELECT session_id, table_name, row_id, unit FROM v_apart GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL"
    for session, table, row_id, _ in db.execute(twice).fetchall():
        out_of_place(result, session, table, row_id, "more than once")
    return counts


def _compare(db: duckdb.DuckDBPyConnection, result: Comparison, table: str, rows: list[tuple[str, Any, Any]]) -> None:
    wanted = _source_rows(db, table, [row[0] for row in rows]) if table in SESSION_TABLES else {}
    for row_id, session, text in rows:
        owner = None if session is None else str(session)
        want = wanted.get(row_id)
        if want is None:
            _tell(result, owner, table, row_id, None, text, "is in quarantine and has no source")
        elif _read(text) != json.dumps(want, sort_keys=True) or owner != want["session_id"]:
            _tell(
                result, owner, table, row_id, json.dumps(want), text, "is in quarantine, and not as the source has it"
            )


def _source_rows(db: duckdb.DuckDBPyConnection, table: str, ids: list[str]) -> dict[str, dict[str, Any]]:
    names = [name.lstrip("*") for name in SOURCE[table].split()]
    kinds = {str(row[0]): str(row[1]) for row in db.execute(f"DESCRIBE {quote_identifier(table)}").fetchall()}
    cells = ", ".join(
        quote_identifier(name) + ("" if kinds[name] in _NUMBERS and name != "id" else "::VARCHAR") for name in names
    )
    key = "session_id" if table == "session_traces" else "id"
    where = f"{key}::VARCHAR IN (SELECT unnest(from_json(?, '[\"VARCHAR\"]')))"
    found = db.execute(f"SELECT {cells} FROM {quote_identifier(table)} WHERE {where}", [json.dumps(ids)]).fetchall()
    rows = [dict(zip(names, row, strict=True)) for row in found]
    return {str(row[key]): row for row in rows}


def _read(text: Any) -> str | None:
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return None


def _tell(result: Comparison, session: str | None, table: str, row: str, want: Any, have: Any, said: str) -> None:
    have = have[:1000] if isinstance(have, str) else None if have is None else repr(have)[:1000]
    want = None if want is None else want[:1000]
    result.differ(Found(session, table, row, None, want, have, f"{table} row {row} {said}"))


def out_of_place(result: Comparison, session: str | None, table: str, row_id: str, why: str) -> None:
    """Tell of a row that must not be in quarantine, or not so."""
    _tell(result, session, table, row_id, None, "a row", f"is in quarantine {why}")


def event_types(db: duckdb.DuckDBPyConnection, ids: Collection[int]) -> list[tuple[int, str, str]]:
    """(id, session id, type) of those of the events ``ids`` that belong to the batch that is out."""
    if not ids:
        return []
    return db.execute(
        "SELECT id, session_id, event_type FROM events WHERE id BETWEEN ? AND ? "
        "AND id IN (SELECT unnest(from_json(?, '[\"BIGINT\"]'))) "
        "AND session_id IN (SELECT session_id FROM v_ids) ORDER BY id",
        [min(ids), max(ids), json.dumps(sorted(ids))],
    ).fetchall()


def traces(db: duckdb.DuckDBPyConnection, batch: Batch) -> list[tuple[str, bool, int | None, str | None]]:
    """Of each session of a batch its id, whether it has a time, that time, and its metadata."""
    return db.execute(
        f"SELECT session_id, created_at IS NOT NULL, {micros('created_at')}, metadata::VARCHAR FROM session_traces "
        "WHERE rowid BETWEEN ? AND ? AND session_id IN (SELECT session_id FROM v_ids)",
        list(batch.places),
    ).fetchall()


def missing(db: duckdb.DuckDBPyConnection, result: Comparison, table: str, condition: str) -> None:
    """Tell of source rows that must be in quarantine by ``condition`` and are not."""
    key = "session_id" if table == "session_traces" else "id"
    cursor = db.execute(
        f"SELECT session_id, {key}::VARCHAR FROM {quote_identifier(table)} AS r WHERE {condition} "
        f"AND {key}::VARCHAR NOT IN (SELECT row_id FROM v_apart WHERE table_name = '{table}') ORDER BY {key}"
    )
    while rows := cursor.fetchmany(1_000):
        for session, row in rows:
            _tell(result, session, table, row, "a row", None, "is neither in the target nor in quarantine")
