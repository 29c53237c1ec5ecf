"""What a run would do, without doing it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path

from sessionlift import generations
from sessionlift.converters import SESSION, Forecast, Forward, Group, Inventory, Quarantined
from sessionlift.errors import UsageError
from sessionlift.generations import detect, require_source
from sessionlift.reports import Report, Throughput, write
from sessionlift.runs._batches import ERRORS as NAMED
from sessionlift.runs._known import Known, known_in
from sessionlift.runs._moved_before import Counted, MovedBefore, offered_catalog
from sessionlift.runs._options import TransferOptions, assumptions
from sessionlift.runs._pairs import read_pairs
from sessionlift.runs._places import refuse_same
from sessionlift.runs._protocol import Message
from sessionlift.runs._report_files import new_run_id, refuse_other_file, store_info
from sessionlift.runs._roads import SOURCES, Source, chosen_road
from sessionlift.runs._tally import ERRORS, Tally
from sessionlift.stores import PrivateDirectory, open_store, parse_store_url

SAMPLE_ROWS = 8_000
# of the time that a run takes, measured on stores of 1,000 to 200,000 sessions: converting its rows is this share of it
_CONVERTING = 0.65
_START = 0.8
# bytes of a finished target, its indexes and ledger included, for each byte of a source row's values
_GROWTH = 2.0
# and of one without rows, about
_EMPTY = 200_000


def plan(source: str, target: str | None, options: TransferOptions, *, report_file: str | Path | None = None) -> Report:
    """Count what a move would read, write, derive, lose and put aside, and estimate its size and time.

    Opens both stores read-only and writes nothing but ``report_file``, if one is given. Of sessions that were moved
    before it foresees what a run makes of them, too. The time comes from converting a sample here and now. Raises what
    a run does where it would refuse the stores or the options.
    """
    where = parse_store_url(source)
    goal = None if target is None else parse_store_url(target)
    if goal is None and options.same_source:
        raise UsageError("--same-source says where the sessions of a target came from", hint="name the target, too")
    if goal is not None:
        refuse_same(where, goal)
    if report_file is not None:
        refuse_other_file(report_file, *(url for url in (where, goal) if url is not None))
    found = detect(where)
    require_source(found, *SOURCES, store=where.redacted)
    road = chosen_road(found.generation, options)
    report = Report(
        kind="plan",
        run_id=new_run_id("plan"),
        source=store_info(where, found),
        target=None if goal is None else store_info(goal),
        options=options.to_message(),
        assumptions=assumptions(options),
    )
    tally = Tally()
    tally.beside(found.beside)
    with ExitStack() as stack:
        there, known, before = None, Known(), None
        if goal is not None and not generations.is_vacant(goal, road.target):
            generations.check_target(goal, road.target)
            there = stack.enter_context(open_store(goal, mode="ro", role="target"))
        if there is not None:
            known = known_in(there, where, options, stack.enter_context(PrivateDirectory("plan")))
            before = MovedBefore(where, there, road, known, options) if known.sessions else None
        # digests take twice the work in two threads, and hardly less time
        store = stack.enter_context(road.open_source(where, 2 if before is None else 1))
        stack.enter_context(store.mapped())
        converter = store.forward(options, dict(read_pairs(known.kept)))
        catalog = _catalog(store, converter, before)
        inventory = store.inventory(converter)
        missing = store.with_room(lambda: converter.missing(options.only or ()))
        if missing:
            raise UsageError(f"the source has no session {missing[0]!r}", hint="check the ids given with --only")
        report.total_sessions = inventory.sessions
        alone: dict[str, str | None] = {}
        if before is not None and goal is not None:
            converter.know(before.digests())
            report.assumptions += known.refuse_other_source(converter.foreign(), where, goal, options)
            report.assumptions += known.told_of_mappings()
            converter.know(before.once_more())
            alone = before.left_alone(store, converter)
            if alone:
                inventory = store.with_room(lambda: converter.leave_out(alone))
        forecast = Forecast()
        if inventory.sessions or inventory.orphans:
            forecast = store.with_room(lambda: converter.forecast(inventory))
        seconds = store.with_room(lambda: _estimate(converter, inventory))
        # the last that is asked of the converter, which numbers its sessions anew
        ailing = _ailing(store, converter, forecast) if forecast.ailing else []
    failed = forecast.sessions_quarantined
    tally.take(catalog, moved=0, failed=0)
    tally.take(_sessions(inventory, forecast, ailing, alone), moved=inventory.sessions - failed, failed=failed)
    tally.into(report)
    report.throughput = Throughput.measured(
        sessions=report.migrated_sessions,
        rows=tally.rows,
        bytes=round(_EMPTY + inventory.bytes * _GROWTH),
        seconds=seconds,
    )
    report.assumptions.append(
        "throughput is an estimate: seconds from a sample converted on this machine, bytes of the finished target"
    )
    report.finish()
    if report_file is not None:
        write(report, report_file)
    return report


def _catalog(store: Source, converter: Forward, before: MovedBefore | None) -> Message:
    """The catalog as the run's batch of it describes itself, when it is written or left alone."""
    if before is not None:
        return before.catalog(store, converter)
    return store.with_room(lambda: offered_catalog(converter))


def _ailing(store: Source, converter: Forward, forecast: Forecast) -> list[Quarantined]:
    """Rows that would be put aside, each with its reason: those of the first sessions that have any."""
    found: list[Quarantined] = []
    for group in store.with_room(lambda: converter.pick(forecast.ailing[:ERRORS])):
        # as many of a batch as a run names
        found += store.with_room(partial(converter.convert, group, Counted())).quarantine[:NAMED]
        if len(found) >= ERRORS:
            break
    return found


def _sessions(
    inventory: Inventory, forecast: Forecast, ailing: list[Quarantined], alone: dict[str, str | None]
) -> Message:
    """All sessions as one batch would describe itself."""
    aside = {
        table: count - inventory.orphans.get(table, 0)
        for table, count in forecast.quarantined.items()
        if count > inventory.orphans.get(table, 0)
    }
    read = {table: count - forecast.unread.get(table, 0) for table, count in inventory.rows.items()}
    written = {table: count - aside.get(table, 0) for table, count in read.items()}
    return {
        "kind": SESSION,
        "unchanged": len(alone),
        "bytes": 0,
        "read": read,
        "written": {**written, **forecast.derived},
        "derived": list(forecast.derived),
        "excluded": {},
        "quarantined": aside,
        "losses": [[loss.code, loss.table, loss.column, loss.count, loss.example] for loss in forecast.losses],
        "facts": [],
        "errors": [[row.session_id, row.table, row.row_id, row.code, row.reason] for row in ailing],
        # the others are counted without a look at each
        "more_errors": sum(aside.values()) - len(ailing),
        "aside": [[key, why] for key, why in alone.items() if why is not None],
    }


def _estimate(converter: Forward, inventory: Inventory) -> float:
    """Seconds that a run takes, from converting some of the store's first sessions.

    What a batch takes however few its rows are, is no part of what a row takes: a run's batches are larger than the
    sample. One session on its own tells it.
    """
    # of many batches the first is a small one
    sample = list(islice(converter.groups(max_rows=SAMPLE_ROWS), 2))[-1:]
    if not sample:
        return _START
    alone = next(iter(converter.singles(sample[0])))
    for_one, for_all = (_seconds(converter, group) for group in (alone, *sample))
    rows, more = sample[0].rows, sample[0].rows - alone.rows
    each = (for_all - for_one) / more if for_all > for_one and more > 0 else for_all / max(rows, 1)
    return _START + for_one + each * sum(inventory.rows.values()) / _CONVERTING


def _seconds(converter: Forward, group: Group) -> float:
    begun = time.perf_counter()
    converter.convert(group, Counted())
    return time.perf_counter() - begun
