"""What a run would do, without doing it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from sessionlift import generations
from sessionlift.converters import CATALOG, SESSION, Batch, Forecast, Forward, Inventory
from sessionlift.errors import StoreNotFoundError, UsageError
from sessionlift.generations import detect, require_generation
from sessionlift.ledger import Ledger
from sessionlift.reports import ErrorLine, Loss, Report, TableCounts, Throughput, write
from sessionlift.runs._codes import LOSSES
from sessionlift.runs._known import has_ledger, is_blank, refuse_other_zone
from sessionlift.runs._options import TransferOptions, assumptions
from sessionlift.runs._places import refuse_same, taken_back_into
from sessionlift.runs._report_files import new_run_id, refuse_other_file, store_info
from sessionlift.runs._roads import SOURCES, road_from
from sessionlift.stores import StoreURL, open_store, parse_store_url

SAMPLE_ROWS = 10_000
# of the time that a run takes, measured on stores of 1,000 to 200,000 sessions: converting is this share of it
_CONVERTING = 0.55
_START = 0.8
# bytes of a finished target, its indexes and ledger included, for each byte of a source row's values
_GROWTH = 2.0


def plan(source: str, target: str | None, options: TransferOptions, *, report_file: Path | None = None) -> Report:
    """Count what a move would read, write, derive, lose and put aside, and estimate its size and time.

    Opens both stores read-only and writes nothing but ``report_file``, if one is given. Sessions that the target's
    ledger names are counted as skipped; whether they changed since is found out by the run itself. The time comes
    from converting a sample here and now.
    """
    where = parse_store_url(source)
    goal = None if target is None else parse_store_url(target)
    if goal is not None:
        refuse_same(where, goal)
    if report_file is not None:
        refuse_other_file(report_file, *(url for url in (where, goal) if url is not None))
    found = detect(where)
    require_generation(found, *SOURCES, store=where.redacted, role="source")
    road = road_from(found.generation)
    report = Report(
        kind="plan",
        run_id=new_run_id("plan"),
        source=store_info(where, found),
        target=None if goal is None else store_info(goal),
        options=options.to_message(),
        assumptions=assumptions(options),
    )
    if goal is not None:
        generations.check_target(goal, road.target)
    known, known_catalog = _moved_before(where, goal, options) if goal is not None else (set(), None)
    with road.open_source(where, 2) as store, store.mapped():
        # as in the run: the catalog is whole, whichever sessions are chosen
        whole = store.forward(replace(options, only=None))
        catalog = store.with_room(lambda: whole.catalog(_Nowhere(), known_catalog))
        converter = store.forward(options)
        inventory = store.with_room(converter.inventory)
        missing = converter.missing(options.only or ())
        if missing:
            raise UsageError(f"the source has no session {missing[0]!r}", hint="check the ids given with --only")
        report.total_sessions = inventory.sessions
        there = [session_id for session_id in converter.session_ids() if session_id in known]
        report.skipped_sessions = len(there)
        if there:
            inventory = store.with_room(lambda: converter.leave_out(there))
        forecast = store.with_room(lambda: converter.forecast(inventory))
        _count(report, converter, inventory, catalog, forecast)
        seconds = store.with_room(lambda: _estimate(converter, inventory))
    rows = sum(table.written + table.derived for table in report.tables.values())
    report.throughput = Throughput.measured(
        sessions=report.migrated_sessions, rows=rows, bytes=round(inventory.bytes * _GROWTH), seconds=seconds
    )
    report.assumptions.append(
        "throughput is an estimate: seconds from a sample converted on this machine, bytes of the finished target"
    )
    if known:
        report.assumptions.append(
            "sessions that the ledger names were taken for unchanged and are not counted by table"
        )
    report.finish()
    if report_file is not None:
        write(report, report_file)
    return report


def _moved_before(source: StoreURL, goal: StoreURL, options: TransferOptions) -> tuple[set[str], str | None]:
    """The sessions that the target's ledger names and a run leaves alone, and the digest of the catalog as it was
    moved. Raises UsageError where a run would refuse the zone."""
    if is_blank(goal):
        return set(), None
    try:
        with open_store(goal, mode="ro", role="target") as store:
            if not has_ledger(store):
                return set(), None
            ledger = Ledger(store)
            refuse_other_zone(ledger, options, goal)
            revived = taken_back_into(source, ledger.runs(), options)
            return {key for key, digest in ledger.digests(SESSION, revive=revived) if digest}, next(
                (each for _, each in ledger.digests(CATALOG)), None
            )
    except StoreNotFoundError:
        return set(), None


def _count(report: Report, converter: Forward, inventory: Inventory, catalog: Batch, forecast: Forecast) -> None:
    orphans = Counter(row.table for row in catalog.quarantine)
    report.failed_sessions = forecast.sessions_quarantined
    report.migrated_sessions = report.total_sessions - report.skipped_sessions - report.failed_sessions
    rows = inventory.rows
    if catalog.units:
        rows = {**converter.catalog_rows(), **rows}
    for table, count in rows.items():
        read = count + orphans[table]
        aside = forecast.quarantined.get(table, 0) - inventory.orphans.get(table, 0) + orphans[table]
        report.tables[table] = TableCounts(read=read, written=read - aside, quarantined=aside)
        if aside:
            report.errors.append(
                ErrorLine(error=f"rows that would go to quarantine: {aside:,}", code="quarantine_foreseen", table=table)
            )
    # they are counted without a look at each, so there is no line for any of them
    report.errors_truncated = report.failed_sessions
    for table, count in forecast.derived.items():
        report.tables[table] = TableCounts(derived=count)
    for table, count in forecast.excluded.items():
        report.tables[table] = TableCounts(read=count, excluded=count)
    report.losses = [
        Loss(
            code=loss.code,
            table=loss.table,
            column=loss.column,
            count=loss.count,
            meaning=LOSSES[loss.code][0],
            original_kept_in=LOSSES[loss.code][1],
        )
        for loss in (*catalog.losses, *forecast.losses)
    ]


def _estimate(converter: Forward, inventory: Inventory) -> float:
    """Seconds that a run takes, from converting the store's first few sessions."""
    first = next(iter(converter.groups(max_rows=SAMPLE_ROWS)), None)
    if first is None or first.rows == 0:
        return _START
    begun = time.perf_counter()
    converter.convert(first, _Nowhere())
    seconds = time.perf_counter() - begun
    rows = sum(inventory.rows.values())
    return _START + seconds * (rows / first.rows) / _CONVERTING if rows > first.rows else _START + seconds


class _Nowhere:
    """A sink that keeps nothing."""

    def rows(self, *_: Any) -> None:
        return None
