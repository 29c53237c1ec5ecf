"""The way back as a run: sessions leave the target for a legacy store, with everything that was written since."""

from __future__ import annotations

import resource
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from sessionlift._version import __version__
from sessionlift.converters import SESSION, Backward, Changes
from sessionlift.errors import (
    SessionliftError,
    StoreNotFoundError,
    StoreTextError,
    UsageError,
)
from sessionlift.generations import added_columns, detect, make_late_indexes, require_generation, schema_upgrade
from sessionlift.ledger import Intents, Ledger, LedgerUnit
from sessionlift.reports import ErrorLine, Report, current_environment, utc_now
from sessionlift.runs._auto_backup import AutoBackup, BackupOptions, holds_data, refuse_read_only, unfinished
from sessionlift.runs._broken import told_when_broken
from sessionlift.runs._catalog_merge import row_name
from sessionlift.runs._free_ids import keep_ids_free
from sessionlift.runs._interrupts import Interrupts
from sessionlift.runs._places import refuse_same
from sessionlift.runs._progress import Progress
from sessionlift.runs._report_files import ledger_use, new_run_id, report_path, store_info, store_size, write_report
from sessionlift.runs._roads import road_from
from sessionlift.runs._rollback_carry import LEGACY_CHANGED, TARGET_UNREADABLE, Carrier
from sessionlift.runs._rollback_catalog import CarriedCatalog, carry_catalog, note_catalog, to_note
from sessionlift.runs._rollback_check import Check
from sessionlift.runs._rollback_choice import (
    Chosen,
    choose,
    refuse_what_nothing_moved_into,
    refuse_without_directory,
    store_of,
)
from sessionlift.runs._rollback_leave import Leaver, left_behind
from sessionlift.runs._rollback_options import RollbackOptions, RollbackResult
from sessionlift.runs._rollback_rounds import Rounds, carried
from sessionlift.runs._rollback_rows import Watched
from sessionlift.runs._rollback_tally import RollbackTally
from sessionlift.runs._verification import with_token
from sessionlift.runs._ways_back import WayBack, way_back_from
from sessionlift.stores import (
    BUSY_SECONDS,
    PrivateDirectory,
    Store,
    StoreURL,
    open_store,
    parse_store_url,
    side_file,
    sniff,
    through_stdlib,
)


def rollback(
    target: str,
    options: RollbackOptions,
    *,
    dry_run: bool = False,
    report_file: str | Path | None = None,
    progress: Progress | None = None,
    interrupts: Interrupts | None = None,
    backup: BackupOptions | None = None,
    own_process: bool = False,
) -> RollbackResult:
    """Take sessions of ``target`` back into the legacy store, verify them there, and write a report.

    Each session is written in one transaction of the legacy store and looked at there by separate code in a process
    of its own. Only then, in one transaction of the target that first finds its rows as they were read, do its rows
    leave, and the ledger says that the legacy store has it. Killed anywhere, the same call goes on. With ``dry_run``
    neither store is written to. Both stores are copied before, as ``backup`` says.

    With ``own_process`` nobody else opens the target in this process as long as this lasts: then a libSQL file is
    opened through the standard library, which is quicker (``stores.through_stdlib``).

    Raises an error of our tree after the report was written, where anything but single sessions went wrong.
    """
    run = _Rollback(
        target,
        options,
        dry_run,
        report_file,
        progress or Progress(quiet=True),
        interrupts or Interrupts(),
        backup or BackupOptions(),
        own_process,
    )
    return run.go()


class _Rollback:
    def __init__(
        self,
        target: str,
        options: RollbackOptions,
        dry_run: bool,
        report_file: str | Path | None,
        progress: Progress,
        interrupts: Interrupts,
        backup: BackupOptions,
        own_process: bool,
    ) -> None:
        self._named = parse_store_url(target)
        self._target = through_stdlib(self._named) if own_process else self._named
        self._options, self._dry_run = options, dry_run
        self._progress, self._interrupts = progress, interrupts
        self._run_id = new_run_id("rollback")
        self._report_file = report_file
        self._path = report_path(self._target, self._run_id, report_file)
        self._tally = RollbackTally()
        self._check: Check | None = None
        self._started = self._copied = False
        self._begun = time.monotonic()
        self._report = Report(
            kind="rollback",
            run_id=self._run_id,
            dry_run=dry_run,
            source=store_info(self._named),
            options={**options.to_message(), **backup.to_message()},
        )
        self._backup = AutoBackup(backup, self._report, progress)

    # --- from the first look to the report --------------------------------------------------------------------

    def go(self) -> RollbackResult:
        with told_when_broken(self._broken, "the run was interrupted"):
            self._look()
            with ExitStack() as stack:
                temporary = stack.enter_context(PrivateDirectory("rollback"))
                store = stack.enter_context(open_store(self._target, mode=self._mode, role="target"))
                self._prepare(store)
                back: Backward = stack.enter_context(self._way.backward(self._zone, self._ledger.quarantined_ids()))
                self._choose(store, back)
                self._open_legacy()
                self._check = Check(self._legacy, self._way.legacy, with_token(self._target), self._runs, temporary)
                stack.callback(self._check.stop)
                self._take_back(store, back)
            with self._interrupts.held():
                self._finish()
                self._interrupts.over()
                return RollbackResult(self._report, self._write(), self._tally.lines, self._tally.more_lines)

    @property
    def _mode(self) -> Any:
        return "ro" if self._dry_run else "rw"

    def _look(self) -> None:
        """Look at the target and refuse whatever can be refused before it is opened for writing."""
        self._options.after()
        found = detect(self._target, role="target")
        refuse_what_nothing_moved_into(found, self._named)
        self._way: WayBack = way_back_from(str(found.generation))
        self._road = road_from(self._way.legacy)
        self._report.source = store_info(self._named, found)
        self._report.environment = current_environment()

    def _prepare(self, store: Store) -> None:
        store.be_patient(BUSY_SECONDS)
        store.expect_changes()
        self._ledger = Ledger(store)
        self._runs = self._ledger.runs()
        self._origins = {run.run_id: run.source for run in self._runs if run.kind != "rollback"}
        zones = [str(run.options["timezone"]) for run in self._runs if "timezone" in run.options]
        self._zone = zones[-1] if zones else "UTC"

    def _choose(self, store: Store, back: Backward) -> None:
        self._chosen: Chosen = choose(self._ledger, back.session_ids(store), self._options)
        self._report.total_sessions = len(self._chosen.ids)
        if self._chosen.left:
            self._report.assumptions.append(
                f"{self._chosen.left:,} sessions that the application began in the target were not chosen, and stay; "
                "--all takes them, too"
            )

    # --- the legacy store -------------------------------------------------------------------------------------

    def _open_legacy(self) -> None:
        """Find the legacy store, or make it; it is opened for each part of the work anew."""
        asked = parse_store_url(store_of(self._chosen, self._runs, self._options))
        self._report.target = store_info(asked)
        refuse_same(asked, self._target)
        if asked.path is None:
            raise UsageError(f"{asked.redacted} names no file", hint="a legacy store is a file")
        found_there = sniff(asked.path)
        self._is_new = found_there in ("missing", "empty") or (
            self._options.to is not None and found_there == "duckdb" and _is_bare(asked)
        )
        if not self._is_new:
            # one library for one file, from the first look on; a dump is told apart, and then refused
            self._legacy = asked if asked.engine == "json" else replace(asked, engine=self._way.engine)
            found = detect(self._legacy)
            require_generation(found, self._way.legacy, store=asked.redacted, role="source")
            if found.dress not in (None, *self._way.dresses):
                raise UsageError(
                    f"{asked.redacted} is a {found.generation} store in the dress {found.dress!r}, which is only read",
                    hint="say --to NEW.db: the sessions are rebuilt there in a store that the old program reads",
                )
            self._report.target = store_info(asked, found)
        elif self._options.to is None:
            raise StoreNotFoundError(
                f"{asked.redacted}, which the sessions came from, is not there",
                hint="say --to STORE: where it lies now, or a new file, in which they are rebuilt",
                store=asked.redacted,
                role="source",
            )
        else:
            refuse_without_directory(asked)
            self._legacy = StoreURL(self._way.engine, asked.path)
            self._report.target = store_info(self._legacy)
        self._name = self._legacy_name(asked)

    def _legacy_name(self, asked: StoreURL) -> str:
        """The store's URL as the ledger has it, where it is one that sessions came from."""
        for named in self._origins.values():
            if parse_store_url(named).place == asked.place:
                return named
        return self._legacy.redacted

    def _make_legacy(self) -> None:
        if self._is_new and not self._dry_run:
            with self._interrupts.held():
                schema_upgrade(self._legacy, self._way.revision, dress=self._dress())
            self._report.target = store_info(self._legacy, detect(self._legacy))

    def _dress(self) -> str | None:
        """The form of a new store: that of the one the sessions came from, as far as it can still be looked at."""
        if self._way.engine != "duckdb":
            return None
        for named in set(self._origins.values()):
            with suppress(SessionliftError):
                return "final" if detect(named).dress == "final" else "mid"
        return "final"

    def _legacy_is_filled(self) -> bool:
        with self._legacy_store(write=False) as legacy:
            return holds_data(legacy)

    def _legacy_store(self, write: bool) -> Store:
        # only DuckDB keeps others out of what is open for writing; in SQLite he who may write also undoes what a killed
        # program has left half done
        write = write or (self._legacy.engine != "duckdb" and not self._dry_run)
        legacy = open_store(self._legacy, mode="rw" if write else "ro", role="source")
        if write:
            legacy.expect_changes()
        return legacy

    # --- session by session -----------------------------------------------------------------------------------

    def _take_back(self, store: Store, back: Backward) -> None:
        watched = Watched(store, self._way.tables, added_columns(store, self._road.target))
        carrier = Carrier(
            store,
            self._way,
            back,
            watched,
            self._options,
            run_id=self._run_id,
            legacy=self._name,
            origins=self._origins,
            may_write=self._dry_run or self._is_new or not self._legacy_is_filled(),
        )
        if self._dry_run:
            self._report.assumptions.append("dry run: neither store was written to")
            with ExitStack() as stack:
                legacy = None if self._is_new else stack.enter_context(self._legacy_store(write=False))
                self._carry_catalog(store, back, legacy)
                for batch in carried(carrier, self._chosen.ids, legacy, self._interrupts, write=False):
                    behind = [] if self._options.keep_target else left_behind(batch.turns, watched)
                    self._tally.settle(batch.turns, [*batch.losses, *behind])
            self._tally.into(self._report)
            return
        if carrier.may_write:
            # what goes into a store of its own is not looked at there before
            self._start(store, leaves=self._may_leave())
        leaver = Leaver(
            store,
            self._road.rows,
            watched,
            run_id=self._run_id,
            home=self._road.home,
            zone=self._zone,
            keep=self._options.keep_target,
            came_from=self._came_from,
        )
        try:
            self._make_legacy()
            if not carrier.may_write and self._goes_on_in_legacy():
                # only who opens DuckDB's file for writing takes in the log that the killed run has left beside it
                self._back_up_legacy(store)
                carrier.may_write = True
            self._progress.step(
                f"Taking {len(self._chosen.ids):,} sessions from {self._named.redacted} back to {self._legacy.redacted}"
            )
            assert self._check is not None  # noqa: S101 - made before
            rounds = Rounds(
                store,
                back,
                carrier,
                self._check,
                leaver,
                self._tally,
                open_legacy=self._legacy_store,
                before_first_write=lambda: self._back_up_legacy(store),
                written=lambda legacy: self._keep_ids_free(store, legacy),
                begin=lambda: self._start(store),
                interrupts=self._interrupts,
                progress=self._progress,
            )
            self._take_catalog(rounds, store, back)
            rounds.take_back(self._chosen.ids)
            self._start(store, leaves=False)
            with self._interrupts.held():
                self._settle_intents(store)
                self._summarise()
                self._report.ledger = ledger_use(store)
                self._report.finish()
                self._end(self._report.status)
                # a report that is interrupted would gainsay the ledger
                self._interrupts.over()
        except BaseException as error:
            with self._interrupts.held(), suppress(SessionliftError):
                self._end("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
            raise

    def _start(self, store: Store, *, leaves: bool = True) -> None:
        """Begin to write: where sessions leave the target, it is copied before the first change, which is that the
        ledger knows of the run."""
        if leaves and not self._options.keep_target and not self._copied and holds_data(store):
            self._backup.before_writing(self._named, self._runs)
            self._copied = True
        if self._started:
            return
        with self._interrupts.held():
            self._ledger.start_run(
                self._run_id,
                kind="rollback",
                tool=f"sessionlift {__version__}",
                source=self._name,
                generations=(self._way.legacy, self._road.target),
                options=self._ledger_options(),
                started_at=self._report.started_at,
            )
            self._started = True
            # sessions are about to be looked for by them
            make_late_indexes(store)

    def _may_leave(self) -> bool:
        """Whether any session is left that can leave the target, as far as the ledger tells."""

        def stays(unit: LedgerUnit) -> bool:
            gone = unit.state == "rolled_back" or (unit.state == "deleted" and unit.run_id not in self._origins)
            return gone or (unit.state == "quarantined" and self._came_from(unit))

        units = [self._chosen.units.get(key) for key in self._chosen.ids]
        return any(unit is None or not stays(unit) for unit in units)

    def _goes_on_in_legacy(self) -> bool:
        """Whether a rollback into this legacy store did not come to its end, and left a log of DuckDB's there."""
        begun = any(run.source == self._name for run in unfinished(self._runs, "rollback"))
        return begun and self._legacy.path is not None and side_file(self._legacy.path, ".wal").exists()

    def _back_up_legacy(self, store: Store) -> None:
        """Copy the legacy store, just before its first change; the ledger knows of the copy from then on."""
        refuse_read_only(self._legacy, "source")
        self._start(store)
        self._backup.before_writing(self._legacy, self._runs)
        with self._interrupts.held():
            self._ledger.note_options(self._run_id, self._ledger_options())

    def _keep_ids_free(self, store: Store, legacy: Store) -> None:
        """What the new program has added may have taken the legacy store's counters to its own."""
        self._report.assumptions += keep_ids_free(self._road.rows, store, self._way.rows.next_ids(legacy))

    def _ledger_options(self) -> dict[str, Any]:
        return {**self._report.options, "backups": self._backup.noted()}

    def _came_from(self, unit: LedgerUnit | None) -> bool:
        if unit is None:
            return self._name in self._origins.values()
        return self._origins.get(unit.run_id) == self._name

    def _settle_intents(self, store: Store) -> None:
        noted = Intents(store).all()
        units = self._ledger.units(SESSION, list(noted))
        gone = {key for key, unit in units.items() if unit.state in ("rolled_back", "deleted")}
        with store.transaction():
            Intents(store).settle(noted.keys() - gone - self._tally.done - {""})

    # --- the catalog ------------------------------------------------------------------------------------------

    def _take_catalog(self, rounds: Rounds, store: Store, back: Backward) -> None:
        def carry(legacy: Store) -> CarriedCatalog:
            with self._interrupts.held():
                return self._carry_catalog(store, back, legacy, may_write=rounds.carrier.may_write)

        carried = rounds.into_legacy(carry)
        if carried.digest is None or carried.known is None:
            return
        if rounds.check.catalog_lies(carried.digest):
            note = to_note(store, self._road.rows, carried, self._name)
            if note is not None:
                self._start(store, leaves=self._may_leave())
                with self._interrupts.held():
                    note_catalog(store, note, run_id=self._run_id)
        else:
            self._tally.error(ErrorLine(error="the catalog does not lie there as it must", code="not_verified"))

    def _carry_catalog(
        self, store: Store, back: Backward, legacy: Store | None, *, may_write: bool = True
    ) -> CarriedCatalog:
        """With all sessions, and into another store than they came from, goes what no session owns."""
        if not self._options.everything and self._name in self._origins.values():
            return CarriedCatalog()
        try:
            carried = carry_catalog(
                store,
                self._way,
                back,
                legacy,
                run_id=self._run_id,
                name=self._name,
                write=not self._dry_run,
                may_write=may_write,
            )
        except StoreTextError as error:
            # no session needs it to be carried
            why = f"the catalog: {error.what}; it stays as it is in both stores"
            self._tally.error(ErrorLine(error=why, code=TARGET_UNREADABLE, table=error.fields.get("table")))
            return CarriedCatalog()
        why = "both stores have changed it since the move, each in its own way; it was left as it is in each"
        for conflict in carried.conflicts:
            if conflict is None:
                self._tally.error(ErrorLine(error=f"the catalog: {why}", code=LEGACY_CHANGED))
            else:
                table, key = conflict
                row = row_name(key)
                self._tally.error(ErrorLine(error=f"{table} {row}: {why}", code=LEGACY_CHANGED, table=table, row=row))
        self._tally.catalog(carried.changes or Changes(), carried.losses, carried.rows)
        return carried

    # --- the report -------------------------------------------------------------------------------------------

    def _end(self, status: str) -> None:
        self._ledger.finish_run(
            self._run_id,
            status=status,
            finished_at=utc_now(),
            summary={
                "total_sessions": self._report.total_sessions,
                "migrated_sessions": self._tally.migrated,
                "skipped_sessions": self._tally.skipped,
                "failed_sessions": self._tally.failed,
                "rows": self._tally.rows,
                "verification": self._report.verification.status,
            },
        )

    def _summarise(self) -> None:
        peaks = {"writer": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        if self._check is not None:
            self._report.verification = self._check.result()
            peaks.update(self._check.peaks)
        self._tally.into(self._report)
        self._report.throughput = self._tally.throughput(time.monotonic() - self._begun, peaks)

    def _finish(self) -> None:
        self._progress.done()
        for info, url in ((self._report.source, self._named), (self._report.target, self._legacy)):
            if info is not None:
                info.size_bytes = store_size(url)
        self._report.finish()

    def _broken(self, status: Any, error: SessionliftError) -> None:
        """Write down what is known of a run that did not come to its end."""
        with self._interrupts.held():
            self._progress.done()
            if not self._dry_run:
                self._summarise()
            self._report.errors.insert(0, ErrorLine.of(error))
            self._report.finish(status)
            written = self._write()
            if written is not None:
                error.fields["report"] = str(written)

    def _write(self) -> Path | None:
        return write_report(self._report, self._path, self._report_file, self._progress, token=self._target.token)


def _is_bare(where: StoreURL) -> bool:
    """Whether a DuckDB file holds nothing at all: a run that was to make a store of it was killed in the middle."""
    with open_store(replace(where, engine="duckdb"), mode="ro", role="source") as store:
        return not store.query("SELECT 1 FROM duckdb_tables() UNION ALL SELECT 1 FROM duckdb_sequences() LIMIT 1")
