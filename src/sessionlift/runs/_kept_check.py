"""What a way down kept, held against the rows that it took away: cell by cell, and by no code that keeps anything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from sessionlift.generations import KeptState, RevisionInfo, step_of
from sessionlift.reports import Difference
from sessionlift.runs._row_digests import TableDigest, columns_of
from sessionlift.stores import Store, Value, quote_identifier

KEPT_TABLE = "sessionlift_kept"
_AT_ONCE = 500
_FIRST = -(1 << 63)
_EXACT = "typeof({0}), CASE typeof({0}) WHEN 'text' THEN CAST({0} AS BLOB) ELSE {0} END"


@dataclass(frozen=True)
class Going:
    """One column of one table that the way down from ``revision`` takes away."""

    revision: str
    table: str
    column: str


def owed(store: Store, at: RevisionInfo, to: RevisionInfo, chain: Sequence[RevisionInfo]) -> dict[Going, TableDigest]:
    """What has to be kept on the way down from ``at`` to ``to``; nothing on a way up. Read-only."""
    names = [info.revision for info in chain]
    found = {}
    for revision in names[names.index(to.revision) + 1 : names.index(at.revision) + 1]:
        step = step_of(revision)
        for table in step.tables:
            for column in columns_of(store, table):
                found[Going(revision, table, column)] = _cells(store, table, column)
        for table, column in step.columns:
            there = f"{quote_identifier(column)} IS NOT NULL"
            found[Going(revision, table, column)] = _cells(store, table, column, there)
        if step.record is not None:
            for column in columns_of(store, step.record.table):
                one = _cells(store, step.record.table, column, "version GLOB ?", (step.record.pattern,))
                found[Going(revision, step.record.table, column)] = one
    return found


def not_kept(store: Store, owing: dict[Going, TableDigest], runs: dict[str, str], whose: str) -> list[Difference]:
    """Where what the run of each revision kept is not what is ``owing``; revisions without a run are left out."""
    found = []
    for going, was in owing.items():
        if (run := runs.get(going.revision)) is None:
            continue
        now = _cells(
            store,
            KEPT_TABLE,
            "value",
            "revision = ? AND run_id = ? AND table_name = ? AND column_name = ?",
            (going.revision, run, going.table, going.column),
            row="row_id",
        )
        if now != was:
            found.append(
                Difference(
                    table=going.table,
                    column=going.column,
                    expected=f"{was.rows} values, {was.digest}",
                    found=f"{now.rows} values, {now.digest}",
                    message=f"what {KEPT_TABLE} keeps is not what {whose}",
                )
            )
    return found


def latest_runs(store: Store, revisions: Sequence[str]) -> dict[str, str]:
    """The run of the latest way down from each revision, where something is kept of it."""
    if not store.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (KEPT_TABLE,)):
        return {}
    found = {}
    for revision in revisions:
        rows = store.query(
            f"SELECT run_id FROM {KEPT_TABLE} WHERE revision = ? AND table_name = '(mark)' AND column_name = 'at' "
            "ORDER BY value DESC LIMIT 1",
            (revision,),
        )
        if rows:
            found[revision] = str(rows[0][0])
    return found


def altered(state: KeptState) -> list[Difference]:
    """What is kept and is not what the steps noted."""
    return [
        Difference(
            table=one.table,
            expected=one.expected,
            found=one.found,
            message=f"what {KEPT_TABLE} keeps by the way down from {one.revision} is not what was left there",
        )
        for one in state.findings
    ]


def unchecked(state: KeptState) -> list[str]:
    """The line of a report for what no step noted a digest of."""
    if not state.unknown:
        return []
    return [
        f"what {KEPT_TABLE} keeps of {', '.join(state.unknown)} could not be checked: it was kept by a build that "
        "noted no digest of it"
    ]


def not_brought_back(source: Store, made: Store, there: Store, chain: Sequence[RevisionInfo]) -> list[str]:
    """The tables in which ``there`` lacks what ``source`` keeps and ``made``, a copy of it that was led up, has back.

    A value that ``made`` does not have as it was kept was counted on from since, and is not compared. Nor are the
    program's records, which were checked before, and whose row ids are new.
    """
    if not source.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (KEPT_TABLE,)):
        return []
    steps = [step_of(info.revision) for info in chain]
    known = {name for step in steps for name in (*step.tables, *(table for table, _ in step.columns))}
    groups = source.query(f"SELECT DISTINCT table_name, revision, run_id FROM {KEPT_TABLE} ORDER BY 1, 2, 3")
    lacking: dict[str, None] = {}
    for table, *mine in groups:
        if table in known and _lacks(source, made, there, str(table), mine):
            lacking[str(table)] = None
    return list(lacking)


def _lacks(source: Store, made: Store, there: Store, table: str, mine: Sequence[Value]) -> bool:
    last: tuple[Value, Value] = (_FIRST, "")
    columns = [name for name in columns_of(made, table) if name in columns_of(there, table)]
    while True:
        kept = source.query(
            f"SELECT row_id, column_name, {_EXACT.format('value')} FROM {KEPT_TABLE} WHERE table_name = ? "
            "AND revision = ? AND run_id = ? AND (row_id, column_name) > (?, ?) "
            f"ORDER BY row_id, column_name LIMIT {_AT_ONCE}",
            (table, *mine, *last),
        )
        ids = json.dumps(sorted({int(str(row)) for row, *_ in kept}))
        here, other = _by_row(made, table, columns, ids), _by_row(there, table, columns, ids)
        for row, column, kind, value in kept:
            if column not in columns:
                continue
            cell, found = here.get(row, {}).get(str(column)), other.get(row, {}).get(str(column))
            if cell in (None, (kind, value)) and found != cell:
                return True
        if len(kept) < _AT_ONCE:
            return False
        last = kept[-1][0], kept[-1][1]


def _by_row(store: Store, table: str, columns: Sequence[str], ids: str) -> dict[Value, dict[str, tuple[Value, Value]]]:
    values = ", ".join(_EXACT.format(quote_identifier(column)) for column in columns)
    rows = store.query(
        f"SELECT rowid, {values} FROM {quote_identifier(table)} WHERE rowid IN (SELECT value FROM json_each(?))", (ids,)
    )
    return {row: dict(zip(columns, zip(rest[::2], rest[1::2], strict=True), strict=True)) for row, *rest in rows}


def _cells(
    store: Store, table: str, column: str, where: str = "1", params: Sequence[Value] = (), *, row: str = "rowid"
) -> TableDigest:
    """The digest of one column with its row ids. A text goes in as the bytes that it is in the store."""
    whole, count, last, first = hashlib.sha256(), 0, _FIRST, True
    value = _EXACT.format(quote_identifier(column))
    while True:
        rows = store.query(
            f"SELECT {row}, {value} FROM {quote_identifier(table)} WHERE {where} "
            f"AND {row} {'>=' if first else '>'} ? ORDER BY {row} LIMIT {_AT_ONCE}",
            (*params, last),
        )
        whole.update(b"".join(repr(tuple(one)).encode() for one in rows))
        count += len(rows)
        if len(rows) < _AT_ONCE:
            return TableDigest(count, whole.hexdigest())
        last, first = int(str(rows[-1][0])), False
