"""What is looked at before a store is changed in place, and what is held against it afterwards."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sessionlift.errors import StoreCorruptError, StoreError, StoreFullError
from sessionlift.generations import Oddity, RevisionInfo, step_of
from sessionlift.reports import Difference, SourceFact, Verification
from sessionlift.runs._in_place_roads import InPlaceRoad
from sessionlift.runs._kept_check import Going, not_kept, owed
from sessionlift.runs._report_files import store_size
from sessionlift.runs._row_digests import TableDigest, columns_of, digest_rows, tables_of
from sessionlift.runs._snapshot import open_file
from sessionlift.runs.session_buddy import Check
from sessionlift.stores import Store, StoreURL, quote_identifier

METHOD = (
    "in the transaction of the change, before it was committed: every row of every table that both generations have, "
    "as a digest before and after; on a way down, what was kept of every row that goes, cell by cell; the structure "
    "with all tables, columns, keys, indexes, views and triggers; each view compiled; and what the program does with "
    "the store, tried and taken back"
)
CANNOT_SEE = (
    "a fault in SQLite itself: the same library wrote and read",
    "the wording of a view or a trigger that the real program made: names, columns and effects are compared",
    "a change by another program after the transaction",
    "on a way up, whether each value that was kept came back in its place: what was kept is checked before, and the "
    "step counts what it brings back",
)
_SPARE = 16 << 20


def check_integrity(where: StoreURL, named: StoreURL) -> None:
    """Raise StoreCorruptError with SQLite's own findings unless the store is whole. Read-only."""
    with open_file(where, mode="ro", role="target") as store:
        found = [str(row[0]) for row in store.query("SELECT integrity_check FROM pragma_integrity_check LIMIT 5")]
    if found != ["ok"]:
        raise StoreCorruptError(
            f"the store is damaged: {'; '.join(found)}",
            hint="restore it from a backup; `.recover` of the sqlite3 program saves what can be read",
            store=named.redacted,
            role="target",
            found=found,
        )


def check_space(where: StoreURL, directories: Sequence[Path]) -> None:
    """Raise StoreFullError unless the copies and the change have room: twice the store, and a little."""
    needed = 2 * (store_size(where) or 0) + _SPARE
    for named in directories:
        directory = next((place for place in (named, *named.absolute().parents) if place.is_dir()), named)
        info = os.statvfs(directory)
        free = info.f_bavail * info.f_frsize
        if free < needed:
            raise StoreFullError(
                f"{directory} has {free:,} bytes free; copies and the change may need {needed:,}",
                hint="make room there, or name other directories: TMPDIR for a dry run, --backup-dir for the backup",
                store=where.redacted,
                role="target",
                free_bytes=free,
                needed_bytes=needed,
            )


@dataclass
class Before:
    """What the store held before the change: the digest of every table, over the columns that both shapes have."""

    columns: dict[str, list[str]] = field(default_factory=dict)
    tables: dict[str, TableDigest] = field(default_factory=dict)
    broken_views: set[str] = field(default_factory=set)
    owed: dict[Going, TableDigest] = field(default_factory=dict)


def take_down(store: Store, at: RevisionInfo, to: RevisionInfo, chain: Sequence[RevisionInfo]) -> Before:
    """The digests of what has to stay, read in the transaction of the change."""
    before = Before(broken_views={name for name, _ in broken_views(store)}, owed=owed(store, at, to, chain))
    staying = columns_that_stay(store, at, to, chain)
    for table, columns in staying.items():
        before.columns[table] = columns
        before.tables[table] = digest_stay(store, table, columns, at, to, chain)
    return before


def columns_that_stay(
    store: Store, at: RevisionInfo, to: RevisionInfo, chain: Sequence[RevisionInfo]
) -> dict[str, list[str]]:
    """The tables that both generations have, the user's own among them, with the columns that both have."""
    names = [info.revision for info in chain]
    low, high = sorted((names.index(at.revision), names.index(to.revision)))
    between = [step_of(revision) for revision in names[low + 1 : high + 1]]
    passing = {table for step in between for table in step.tables}
    added = {column for step in between for column in step.columns}
    return {
        table: [column for column in columns_of(store, table) if (table, column) not in added]
        for table in tables_of(store)
        if table not in passing
    }


def digest_stay(
    store: Store, table: str, columns: list[str], at: RevisionInfo, to: RevisionInfo, chain: Sequence[RevisionInfo]
) -> TableDigest:
    """The digest of a table's rows; of the program's own record, those of generations that both have."""
    names = [info.revision for info in chain]
    low = min(names.index(at.revision), names.index(to.revision))
    records = [record for revision in names if (record := step_of(revision).record) is not None]
    if not records or table != records[0].table:
        return digest_rows(store, table, columns)
    later = tuple(record.pattern for record in records[low + 1 :])
    where = " AND ".join(["version NOT GLOB ?"] * len(later))
    return digest_rows(store, table, columns, where=where, params=later)


def broken_views(store: Store) -> list[tuple[str, str]]:
    """The views that SQLite cannot compile, with what it says."""
    found = []
    for (name,) in store.query("SELECT name FROM sqlite_master WHERE type = 'view' ORDER BY name"):
        try:
            store.execute(f"EXPLAIN SELECT * FROM {quote_identifier(str(name))}")
        except StoreError as error:
            found.append((str(name), error.what))
    return found


def verify_change(
    store: Store,
    before: Before,
    road: InPlaceRoad,
    at: RevisionInfo,
    to: RevisionInfo,
    chain: Sequence[RevisionInfo],
    *,
    run_id: str,
    may_dangle: bool = False,
) -> tuple[Verification, dict[str, TableDigest]]:
    """Hold what is there now against what was there. Needs a transaction of the caller's; changes nothing."""
    verification = Verification(method=METHOD, cannot_see=list(CANNOT_SEE))
    after: dict[str, TableDigest] = {}
    for table, was in before.tables.items():
        now = after[table] = digest_stay(store, table, before.columns[table], at, to, chain)
        verification.checked_rows += now.rows
        verification.checked_values += now.rows * len(before.columns[table])
        if now != was:
            verification.differences.append(
                Difference(
                    table=table,
                    expected=f"{was.rows} rows, {was.digest}",
                    found=f"{now.rows} rows, {now.digest}",
                    message="the rows are not those that were there before",
                )
            )
    runs = {going.revision: run_id for going in before.owed}
    verification.checked_values += sum(was.rows for was in before.owed.values())
    verification.differences += not_kept(store, before.owed, runs, "the rows held that went")
    for name, said in broken_views(store):
        if name not in before.broken_views and not may_dangle:
            verification.differences.append(Difference(table=name, message=f"the view cannot be asked: {said}"))
    for check in road.works(store, road.number(to.generation)):
        if not check.ok:
            verification.differences.append(Difference(message=f"{check.name}: no; {check.said}"))
        elif check.own:
            verification.cannot_see.append(said_by_own(check))
    verification.checked_sessions = road.sessions(store)
    verification.status = "failed" if verification.differences else "passed"
    return verification, after


def said_by_own(check: Check) -> str:
    """The line of a report for what works only without the user's own triggers and unique indexes."""
    return f"{check.name}: tried without your own triggers and unique indexes, for with them: {check.own}"


def facts_of(oddities: Sequence[Oddity]) -> list[SourceFact]:
    """Oddities as lines of a report: one for each code and table."""
    return [
        SourceFact(code=one.code, table=one.table, count=one.count, meaning=one.meaning, examples=one.examples)
        for one in oddities
    ]
