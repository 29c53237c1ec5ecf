"""A store of a chain looked at as a whole: its structure, its rows against another copy, and whether it works."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sessionlift.errors import GenerationError, SessionliftError, StoreError, StoreNotFoundError, UsageError
from sessionlift.generations import RevisionInfo, chain_of, detect, kept_state, over, standing, step_of
from sessionlift.reports import Difference, ErrorLine, Report, Throughput, Verification, read_digests
from sessionlift.runs._in_place_check import check_integrity, columns_that_stay, digest_stay, facts_of, said_by_own
from sessionlift.runs._in_place_roads import InPlaceRoad, in_place_road
from sessionlift.runs._kept_check import KEPT_TABLE, altered, latest_runs, not_kept, owed, unchecked
from sessionlift.runs._progress import Progress
from sessionlift.runs._report_files import new_run_id, report_path, store_info, tells_of_a_store, write_report
from sessionlift.runs._row_digests import TableDigest, columns_of, count_rows, tables_of
from sessionlift.runs._snapshot import in_place_url, open_file, reading, snapshot
from sessionlift.stores import PrivateDirectory, SqliteFileStore, StoreURL, quote_identifier

METHOD = (
    "on a private copy: SQLite's check of every page and index; tables, columns, keys, indexes, views and triggers "
    "against the revision; what a way down kept, by the digests that its steps noted; every view asked for all its "
    "rows; what the program does with the store, tried; and, where another copy is named, every row of every table "
    "that both have, as a digest, and of what only that has what is kept here"
)
CANNOT_SEE = [
    "a fault in SQLite itself",
    "the wording of a view or a trigger that the real program made: names, columns and effects are compared",
    "what of a difference the program itself has written since",
    "whether a store that was led up has everything that an older copy of it keeps for its own way up",
]


@dataclass(frozen=True)
class InPlaceCheck:
    """The finished report of kind "verify", and the file it was written to."""

    report: Report
    path: Path | None


def verify_in_place(
    store: str,
    against: str | None = None,
    *,
    claimed: Report | None = None,
    report_file: str | Path | None = None,
    claimed_file: Path | None = None,
) -> InPlaceCheck:
    """Check a store of a chain; ``against`` is another copy of it: the old file, or a backup that a run made.

    With ``claimed``, the report of a run (in ``claimed_file``), its digests are worked out again from the store and
    from the backup or the source. Nothing is written but the report. What was found is in the report.
    """
    where = in_place_url(store)
    run_id = new_run_id("verify")
    path = report_path(where, run_id, report_file)
    report = Report(
        kind="verify", run_id=run_id, source=store_info(where), target=store_info(where), options={"against": against}
    )
    report.verification = Verification(method=METHOD, cannot_see=list(CANNOT_SEE))
    begun = time.monotonic()
    try:
        with PrivateDirectory("verify") as directory:
            copy = replace(where, path=directory / "store.db")
            snapshot(where, directory / "store.db")
            _check(report, where, copy, None if against is None else _other(against), claimed)
            if claimed is not None and claimed_file is not None:
                _check_claims(report, copy, None if against is None else _other(against), claimed, claimed_file)
    except SessionliftError as error:
        report.errors.append(ErrorLine.of(error))
        report.verification = Verification()
        report.finish("failed")
        written = (
            write_report(report, path, report_file, Progress(quiet=True))
            if tells_of_a_store(error, report_file)
            else None
        )
        if written is not None:
            error.fields["report"] = str(written)
        raise
    rows = report.verification.checked_rows
    report.verification.status = "failed" if report.verification.differences else "passed"
    report.throughput = Throughput.measured(
        sessions=report.total_sessions, rows=rows, bytes=0, seconds=time.monotonic() - begun
    )
    report.finish()
    return InPlaceCheck(report, write_report(report, path, report_file, Progress(quiet=True)))


def _other(against: str) -> StoreURL:
    """Another copy of the store: a file, or the directory of a backup."""
    with suppress(OSError):
        if Path(against).is_dir():
            against = str(Path(against) / "store.db")
    return in_place_url(against)


def _check(
    report: Report, where: StoreURL, copy: StoreURL, other: StoreURL | None, claimed: Report | None = None
) -> None:
    found = detect(copy, role="target")
    road = in_place_road(found.system)
    chain = chain_of(found.generation)
    if road is None or not chain:
        raise UsageError(
            f"{where.redacted} holds {found.generation}, which is verified against its source",
            hint="sessionlift verify SOURCE TARGET",
        )
    for info in (report.source, report.target):
        if info is not None:
            info.system, info.generation = found.system, found.generation
    check_integrity(copy, where)
    with open_file(copy, mode="rw", role="target") as store, over(store) as connection, connection.begin():
        here = next(info for info in chain if info.generation == found.generation)
        try:
            oddities = standing(connection, copy).oddities
        except GenerationError as error:
            listed = error.fields.get("found") or [error.what]
            report.verification.differences += [Difference(message=str(said)) for said in listed]
            oddities = []
        report.source_facts = facts_of([*oddities, *road.oddities(store, step_of(here.revision).all_names)])
        report.total_sessions = report.verification.checked_sessions = road.sessions(store)
        kept = kept_state(connection, [info.revision for info in chain])
        report.verification.checked_values += kept.values
        report.verification.differences += altered(kept)
        report.verification.cannot_see += unchecked(kept)
        _ask_views(report, store)
        _try(report, store, road, found.generation)
        _count(report, store)
        if other is not None:
            _hold_against(report, store, other, here, chain, None if claimed is None else claimed.run_id)


def _ask_views(report: Report, store: SqliteFileStore) -> None:
    for (name,) in store.query("SELECT name FROM sqlite_master WHERE type = 'view' ORDER BY name"):
        try:
            store.query(f"SELECT count(*) FROM {quote_identifier(str(name))}")
        except StoreError as error:
            report.verification.differences.append(
                Difference(table=str(name), message=f"the view does not answer: {error.what}")
            )


def _try(report: Report, store: SqliteFileStore, road: InPlaceRoad, generation: str) -> None:
    checks = road.works(store, road.number(generation))
    report.options["tried"] = {check.name: check.ok for check in checks}
    report.verification.cannot_see += [said_by_own(check) for check in checks if check.ok and check.own]
    report.verification.differences += [
        Difference(message=f"{check.name}: no; {check.said}") for check in checks if not check.ok
    ]


def _count(report: Report, store: SqliteFileStore) -> None:
    report.verification.checked_rows = sum(count_rows(store, table) for table in tables_of(store))


def _hold_against(
    report: Report,
    store: SqliteFileStore,
    other: StoreURL,
    here: RevisionInfo,
    chain: list[RevisionInfo],
    run_id: str | None,
) -> None:
    """Every row that both copies have must be the same, in the same order, and what is kept that of the other copy.

    ``run_id``: the run that is to be checked; what another one kept is that one's.
    """
    found = detect(other)
    there = next((info for info in chain if info.generation == found.generation), None)
    if there is None:
        raise UsageError(
            f"{other.redacted} holds {found.generation}, and the store {here.generation}",
            hint="name a copy of the same store",
        )
    low = min(here, there, key=chain.index)
    with reading(other, role="source") as copy:
        kept_by = latest_runs(store, [info.revision for info in chain])
        runs = {revision: run for revision, run in kept_by.items() if run_id in (None, run)}
        owing = owed(copy, there, here, chain)
        report.verification.differences += not_kept(store, owing, runs, f"{other.redacted} has")
        staying = columns_that_stay(copy, there, here, chain)
        for table, columns in staying.items():
            was = digest_stay(copy, table, columns, there, here, chain)
            now = _digest_here(store, table, columns, here, there, chain)
            report.verification.checked_values += was.rows * len(columns)
            if now != was:
                report.verification.differences.append(
                    Difference(
                        table=table,
                        expected=f"{was.rows} rows, {was.digest}",
                        found="no such table" if now is None else f"{now.rows} rows, {now.digest}",
                        message=f"the rows that {low.generation} has are not those of {other.redacted}",
                    )
                )


def _digest_here(
    store: SqliteFileStore,
    table: str,
    columns: list[str],
    at: RevisionInfo,
    to: RevisionInfo,
    chain: list[RevisionInfo],
) -> TableDigest | None:
    if not set(columns) <= set(columns_of(store, table)):
        return None
    return digest_stay(store, table, columns, at, to, chain)


def _check_claims(report: Report, copy: StoreURL, other: StoreURL | None, claimed: Report, claimed_file: Path) -> None:
    """The digests that a run's report vouches for, worked out again on both sides."""
    if claimed.digests is None or claimed.source is None or claimed.target is None:
        raise UsageError(
            f"{claimed_file} changed nothing, so there is nothing to check again",
            hint="give the report of a run that changed the store, or sessionlift session-buddy verify STORE",
        )
    chain = chain_of(str(claimed.target.generation))
    names = {info.generation: info for info in chain}
    at, to = names[str(claimed.source.generation)], names[str(claimed.target.generation)]
    sides = [(copy, "the store", "target_digest")]
    if other is not None:
        sides.append((other, "the copy from before", "source_digest"))
    lines = list(read_digests(claimed_file, claimed.digests))
    for where, said, name in sides:
        with reading(where, role="target") as store:
            staying = columns_that_stay(store, at, to, chain)
            for line in lines:
                if line.session_id == KEPT_TABLE and where is copy and _led_on(store, claimed.run_id):
                    continue  # a later run's
                now = _digest_of(store, line.session_id, staying, at, to, chain)
                if now != getattr(line, name):
                    report.verification.differences.append(
                        Difference(
                            table=line.session_id,
                            expected=getattr(line, name),
                            found=now,
                            message=f"the report's digest is not that of {said}",
                        )
                    )


def _digest_of(
    store: SqliteFileStore,
    table: str,
    staying: dict[str, list[str]],
    at: RevisionInfo,
    to: RevisionInfo,
    chain: list[RevisionInfo],
) -> str | None:
    if table == KEPT_TABLE:
        with over(store) as connection:
            return kept_state(connection, [info.revision for info in chain]).digest or "-"
    columns = staying.get(table)
    return None if columns is None else digest_stay(store, table, columns, at, to, chain).digest


def _led_on(store: SqliteFileStore, run_id: str) -> bool:
    """Whether a later run has changed the store, and what it keeps, since this one."""
    if not store.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'sessionlift_steps'"):
        return False
    runs = [str(run) for (run,) in store.query("SELECT run_id FROM sessionlift_steps ORDER BY id")]
    return run_id in runs and runs[-1] != run_id


def verify_claims(claimed: Report, claimed_file: Path, *, report_file: str | Path | None = None) -> InPlaceCheck:
    """Check the report of an upgrade, a downgrade or a copy again, from the store and its backup or source."""
    if claimed.dry_run:
        raise UsageError(
            f"{claimed_file} is the report of a dry run: its copy was thrown away",
            hint="give the report of a run that changed the store, or sessionlift session-buddy verify STORE",
        )
    if claimed.target is None or claimed.digests is None:
        raise UsageError(
            f"{claimed_file} changed nothing, so there is nothing to check again",
            hint="give the report of a run that changed the store, or sessionlift session-buddy verify STORE",
        )
    backup = claimed.options.get("backup")
    against = str(backup) if backup else claimed.source.url if claimed.kind == "migrate" and claimed.source else None
    if backup and not Path(str(backup)).is_dir():
        raise StoreNotFoundError(
            f"the backup {backup} is no longer there",
            hint="sessionlift session-buddy verify STORE checks the store without it",
            store=claimed.target.url,
        )
    return verify_in_place(
        claimed.target.url, against, claimed=claimed, claimed_file=claimed_file, report_file=report_file
    )
