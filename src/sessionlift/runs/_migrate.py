"""The one-shot run: everything from a legacy store into a new one, verified and reported."""

from __future__ import annotations

import queue
import resource
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sessionlift import generations
from sessionlift._version import __version__
from sessionlift.converters import CATALOG
from sessionlift.errors import SessionliftError, UsageError
from sessionlift.generations import detect, require_source
from sessionlift.ledger import Ledger
from sessionlift.reports import (
    ErrorLine,
    Report,
    Throughput,
    current_environment,
    utc_now,
)
from sessionlift.runs._auto_backup import AutoBackup, BackupOptions, goes_on_from_nothing
from sessionlift.runs._broken import told_when_broken
from sessionlift.runs._free_ids import keep_ids_free
from sessionlift.runs._in_place_sources import is_of_a_chain
from sessionlift.runs._interrupts import Interrupts
from sessionlift.runs._known import Known, what_is_known
from sessionlift.runs._lone_file import left_alone
from sessionlift.runs._options import TransferOptions, assumptions
from sessionlift.runs._places import never_verified, refuse_same
from sessionlift.runs._progress import Progress
from sessionlift.runs._protocol import Message, Worker
from sessionlift.runs._report_files import (
    ledger_use,
    new_run_id,
    refuse_mistyped,
    report_path,
    store_info,
    store_size,
    unit_digests,
    write_report,
)
from sessionlift.runs._roads import SOURCES, Road, chosen_road
from sessionlift.runs._tally import Tally
from sessionlift.runs._transfer import Committed, Transfer
from sessionlift.runs._verification import Verifier, with_token
from sessionlift.runs._ways_back import put_back_of
from sessionlift.stores import (
    PrivateDirectory,
    Store,
    StoreURL,
    open_store,
    parse_store_url,
    probe_fidelity,
    quote_identifier,
)

LATE_FROM = 32 << 20
"""From so many bytes on, indexes of a new target are made when its rows are there."""


@dataclass(frozen=True)
class MigrateResult:
    """The finished report, and the file that it was written to (None where that could not be)."""

    report: Report
    path: Path | None


def migrate(
    source: str,
    target: str,
    options: TransferOptions,
    *,
    dry_run: bool = False,
    verify: bool = True,
    report_file: str | Path | None = None,
    progress: Progress | None = None,
    interrupts: Interrupts | None = None,
    limits: Mapping[str, int] | None = None,
    backup: BackupOptions | None = None,
) -> MigrateResult:
    """Move what is new or changed in ``source`` into ``target``, verify it, and write a report.

    The source is opened read-only. Every batch is one transaction; a run that ends early, however, leaves whole
    sessions only, and the same call goes on from there. With ``dry_run`` the target is a throwaway file.
    ``interrupts`` that listen to signals keep a KeyboardInterrupt away from the steps that write. ``limits``
    bounds a batch (``max_rows``, ``max_bytes``) in place of the converter's own bounds, and says from how many bytes
    on indexes come late (``late_from``). A target that holds data is
    copied before its first change, as ``backup`` says.

    Raises an error of our tree after the report was written, where anything but single rows went wrong.
    """
    if is_of_a_chain(source):
        from sessionlift.runs._in_place_copy import copy_up

        copied = copy_up(
            source,
            target,
            options,
            dry_run=dry_run,
            report_file=report_file,
            verify=verify,
            progress=progress,
            interrupts=interrupts,
            backup=backup,
        )
        return MigrateResult(copied.report, copied.path)
    run = _Run(
        source,
        target,
        options,
        dry_run=dry_run,
        verify=verify,
        report_file=report_file,
        progress=progress,
        backup=backup or BackupOptions(),
    )
    run.limits = dict(limits or {})
    run.late_from = run.limits.pop("late_from", LATE_FROM)
    run.interrupts = interrupts or Interrupts()
    return run.go()


class _Run:
    limits: dict[str, int]
    late_from: int
    interrupts: Interrupts

    def __init__(
        self,
        source: str,
        target: str,
        options: TransferOptions,
        *,
        dry_run: bool,
        verify: bool,
        report_file: str | Path | None,
        progress: Progress | None,
        backup: BackupOptions,
    ) -> None:
        self._source = parse_store_url(source)
        self._asked_target = parse_store_url(target)
        self._options = options
        self._dry_run, self._verify = dry_run, verify
        self._progress = progress or Progress(quiet=True)
        self._run_id = new_run_id("migrate")
        self._report_file = report_file
        self._path = report_path(self._asked_target, self._run_id, report_file, source=self._source)
        self._tally = Tally()
        self._verifier: Verifier | None = None
        self._snapshot: StoreURL | None = None
        self._converter: Worker | None = None
        self._peaks: dict[str, float] = {}
        self._caught_up: list[str] = []
        self._total = self._bytes = 0
        self._next_ids: dict[str, int] = {}
        self._begun = time.monotonic()
        self._known = Known()
        self._started = self._late = False
        self._road: Road
        self._report = Report(
            kind="migrate",
            run_id=self._run_id,
            dry_run=dry_run,
            source=store_info(self._source),
            target=store_info(self._asked_target),
            options={**options.to_message(), "verify": verify, **backup.to_message()},
            assumptions=assumptions(options),
        )
        self._backup = AutoBackup(backup, self._report, self._progress)

    # --- from the first look to the report --------------------------------------------------------------------

    def go(self) -> MigrateResult:
        with told_when_broken(self._broken, "the run was interrupted"):
            with ExitStack() as stack:
                self._temporary = stack.enter_context(PrivateDirectory("run"))
                stack.callback(self._stop_workers)
                self._begin()
                self._move()
            with self.interrupts.held():
                self._finish()
                return MigrateResult(self._report, self._write())

    def _begin(self) -> None:
        """Look at both stores and refuse whatever is wrong, before anything is written."""
        self._target = self._asked_target
        refuse_same(self._source, self._target)
        # it loads what it needs while this process does
        self._converter = Worker("sessionlift.runs._convert_worker", name="converter", temporary=self._temporary)
        found = detect(self._source)
        require_source(found, *SOURCES, store=self._source.redacted)
        self._road = chosen_road(found.generation, self._options)
        self._report.source = store_info(self._source, found)
        self._tally.beside(found.beside)
        self._known = what_is_known(self._source, self._asked_target, self._options, self._temporary)
        # the source is counted while the driver is probed, and everything is refused before the target is made
        self._converter.tell(self._converter_request())
        fidelity = probe_fidelity(self._target)
        self._report.environment = current_environment(fidelity.to_dict())
        fidelity.refuse_if_changed()
        # what compares the target loads while this process loads what makes it, and the source is counted
        if self._verify:
            self._verifier = Verifier(self._road.source, temporary=self._temporary)
        _ = generations.prepare_target
        self._take_inventory(self._first_word())
        if self._dry_run:
            self._target = parse_store_url(f"libsql://{self._temporary / 'dry-run.db'}")
        elif self._known.filled and (self._known.earlier or not self._known.runs):
            # the application's own, that is taken as it is, or with a ledger that is led up: refused before it is
            # copied, and copied before it changes
            generations.check_target(self._target, self._road.target)
            self._backup.before_writing(self._target, self._known.runs)
        with self.interrupts.held():
            made = generations.prepare_target(self._target, self._road.target, size=self._bytes)
        self._report.target = store_info(self._asked_target, made)
        self._progress.step(f"Moving {self._total:,} sessions from {self._source.redacted} to {self._target.redacted}")
        if self._dry_run:
            self._report.assumptions.append("dry run: everything was written to a throwaway target and removed")
            if self._known.digests:
                self._report.assumptions.append(
                    "dry run: a session that changed in the source counts as moved, though a run leaves it alone where "
                    "the target has changed, or deleted, it too"
                )

    def _move(self) -> None:
        with open_store(self._target, mode="rw", role="target") as store, ExitStack() as stack:
            ledger = Ledger(store)
            unfinished = [run.run_id for run in ledger.runs() if run.status == "running"]
            if unfinished:
                self._progress.step(f"Going on after {len(unfinished)} run(s) that never came to their end.")
            stack.callback(self._leave, store)
            # first of all that is done at the end: the store cannot be put back while the verifier reads it
            stack.callback(self._stop_workers)
            try:
                if not self._needs_backup(store):
                    self._start(store, ledger)
                if self._verifier is not None:
                    # what was read is what is compared, though the application goes on writing
                    source = self._snapshot or self._source
                    self._verifier.begin(source, with_token(self._target), self._options, late=self._late)
                self._take_all(store, ledger)
                self._verify_earlier(ledger)
                # while the verifier does the rest: all that does not depend on what it finds
                with self.interrupts.held():
                    self._make_late_indexes(store)
                    self._write_digests(ledger)
                    store.flush()
                self._wait_for_verifier()
                self._report.ledger = ledger_use(store)
                with self.interrupts.held():
                    self._summarise()
                    self._report.finish()
                    self._end(ledger, self._report.status)
                    # a report that is interrupted would gainsay the ledger
                    self.interrupts.over()
            except KeyboardInterrupt:
                self._end_broken(store, ledger, "interrupted")
                raise
            except BaseException:
                self._end_broken(store, ledger, "failed")
                raise

    def _needs_backup(self, store: Store) -> bool:
        """Whether the target is to be copied before its first change, as soon as it is known that there will be one."""
        if self._dry_run or not self._known.filled or self._report.backups:
            return False
        if not goes_on_from_nothing(self._known.runs, "migrate"):
            return True
        # nothing but what runs of ours wrote into an empty target, and can write again; unless others did, too
        moved = "SELECT count(*) FROM sessionlift_units WHERE unit = 'session' AND state IN ('moved', 'partial')"
        there = f"SELECT count(*) FROM {quote_identifier(self._road.home)}"
        return store.query(moved) != store.query(there)

    def _start(self, store: Store, ledger: Ledger, *, writes: bool = True) -> None:
        """Begin to write: the first thing is that the ledger knows of the run. Unless it ``writes``, the only one."""
        with self.interrupts.held():
            self._started = True
            store.begin_bulk()
            # what an earlier run has left out and never came to make
            self._make_late_indexes(store)
            ledger.start_run(
                self._run_id,
                kind="migrate",
                tool=f"sessionlift {__version__}",
                source=self._source.redacted,
                generations=(self._road.source, self._road.target),
                options={**self._report.options, "backups": self._backup.noted()},
                started_at=self._report.started_at,
            )
            if writes and self._comes_late(store):
                generations.leave_out_indexes(store, self._run_id, self._road.late_indexes)
                self._late = True
            if writes and not self._dry_run:
                self._report.assumptions += keep_ids_free(self._road.rows, store, self._next_ids)

    def _comes_late(self, store: Store) -> bool:
        """Whether it is worth to leave indexes out until the rows are there: of a new target, and a large one."""
        new = self._dry_run or not (self._known.filled or self._known.runs)
        return new and store.engine in ("libsql", "sqlite") and self._bytes >= self.late_from

    def _make_late_indexes(self, store: Store) -> None:
        """Also where the run has failed: others may want to use what has moved."""
        generations.make_late_indexes(store, told=self._tell_of_indexes)

    def _tell_of_indexes(self, names: Sequence[str]) -> None:
        self._progress.step(f"Making {len(names)} indexes over the sessions' ids.")

    def _end(self, ledger: Ledger, status: str) -> None:
        ledger.finish_run(self._run_id, status=status, finished_at=utc_now(), summary=self._summary())

    def _end_broken(self, store: Store, ledger: Ledger, status: str) -> None:
        """Say in the ledger how the run ended, if the target still takes it; the error that ended it matters more."""
        with self.interrupts.held():
            with suppress(SessionliftError):
                self._end(ledger, status)
            if not self._started:
                return  # the target is as it was
            try:
                self._make_late_indexes(store)
            except SessionliftError:
                with suppress(SessionliftError):
                    if generations.late_indexes(store):
                        self._report.assumptions.append(
                            "the target is without indexes over the sessions' ids, which were to come last: the next "
                            "`sessionlift migrate` makes them first"
                        )

    def _converter_request(self) -> Message:
        stages = self._temporary / "stages"
        stages.mkdir()
        return {
            "road": self._road.source,
            "source": self._source.redacted,
            "options": self._options.to_message(),
            "run_id": self._run_id,
            "stages": str(stages),
            "known": None if self._known.digests is None else str(self._known.digests),
            "known_catalog": self._known.catalog,
            "kept": None if self._known.kept is None else str(self._known.kept),
            "aside": self._known.unwell,
            "limits": self.limits,
            "temporary": str(self._temporary),
            "threads": 1,
        }

    def _first_word(self) -> Message:
        assert self._converter is not None  # noqa: S101 - started just before
        return self._converter.answer()

    def _take_all(self, store: Store, ledger: Ledger) -> None:
        assert self._converter is not None  # noqa: S101 - started just before
        transfer = Transfer(
            store,
            self._road.rows,
            self._run_id,
            self._committed,
            retry=self._known.retry,
            revive=self._known.revived,
            others=self._known.others,
            options=self._options,
            giver=put_back_of(self._road.target),
            home=self._road.home,
            source=self._source.redacted,
        )
        while True:
            try:
                message = self._converter.answer(timeout=1.0)
            except queue.Empty:
                self._hear_verifier()
                continue
            if message["type"] == "batch":
                if not self._started and transfer.would_write(message):
                    self._backup.before_writing(self._target, self._known.runs)
                    self._start(store, ledger)
                with self.interrupts.held():
                    self._converter.tell(transfer.take(message))
            elif message["type"] == "done":
                self._peaks["converter"] = message["peak_memory_mb"]
                break
            self._hear_verifier()
        if not self._started:
            self._start(store, ledger, writes=False)

    def _take_inventory(self, message: Message) -> None:
        self._total, self._bytes = message["sessions"], message["bytes"]
        self._next_ids = message["next_ids"]
        if message["snapshot"] is not None:
            self._snapshot = replace(self._source, path=Path(message["snapshot"]))
        self._report.total_sessions = self._total
        if message["missing"]:
            raise UsageError(
                f"the source has no session {message['missing'][0]!r}"
                + (f" (nor {len(message['missing']) - 1} more)" if len(message["missing"]) > 1 else ""),
                hint="check the ids given with --only: they are the source's, letter for letter",
                session_id=message["missing"][0],
            )
        told = self._known.refuse_other_source(message["foreign"], self._source, self._asked_target, self._options)
        self._report.assumptions.extend([*told, *self._known.told_of_mappings()])

    def _committed(self, batch: Committed) -> None:
        message = batch.message
        self._tally.take(message, moved=len(batch.moved), failed=len(batch.failed))
        if self._verifier is not None:
            if message["kind"] == CATALOG and message["units"]:
                self._verifier.catalog()
            self._verifier.sessions(batch.moved)
        done = self._tally.migrated + self._tally.skipped + self._tally.failed
        self._progress.count(
            "moved" if done == self._tally.migrated else "looked at", done, self._total, self._tally.rows
        )

    def _verify_earlier(self, ledger: Ledger) -> None:
        """Give the verifier what earlier runs committed but never came to verify: killed, failed, or told not to."""
        if self._verifier is None or self._dry_run:
            return
        mine, others = never_verified(ledger.runs(), self._source, self._options)
        self._caught_up = [run.run_id for run in mine if run.run_id != self._run_id]
        self._report.assumptions += [
            f"what {run.run_id} moved from {run.source} was not verified: it lives in another store than this source; "
            "`sessionlift migrate` from there compares it"
            for run in others
            if ledger.holds_any_of(run.run_id)
        ]
        for run_id in self._caught_up:
            self._verifier.earlier(ledger.units_of_run(run_id))

    def _hear_verifier(self) -> None:
        if self._verifier is not None:
            self._verifier.progress()

    def _wait_for_verifier(self) -> None:
        if self._verifier is not None:
            self._report.verification = self._verifier.finish()
            if self._verifier.changed_since:
                self._report.assumptions.append(
                    f"{self._verifier.changed_since:,} sessions that earlier runs moved without comparing them have "
                    "changed since in one store or in both, and were not compared; `sessionlift verify SOURCE TARGET` "
                    "names them"
                )
            self._peaks["verifier"] = self._verifier.peak_memory_mb

    def _stop_workers(self) -> None:
        for worker in (self._converter, self._verifier):
            if worker is not None:
                worker.stop()

    def _leave(self, store: Store) -> None:
        with self.interrupts.held():
            self._report.assumptions += left_alone(store, self._run_id)

    # --- the report -------------------------------------------------------------------------------------------

    def _write_digests(self, ledger: Ledger) -> None:
        refuse_mistyped(self._path, self._report_file)
        self._report.digests = unit_digests(ledger, self._run_id, self._path)

    def _summarise(self) -> None:
        self._tally.into(self._report)
        seconds = time.monotonic() - self._begun
        self._peaks["writer"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self._report.throughput = Throughput.measured(
            sessions=self._tally.migrated,
            rows=self._tally.rows,
            bytes=self._tally.bytes,
            seconds=seconds,
            peak_memory_mb=self._peaks,
        )

    def _summary(self) -> dict[str, Any]:
        return {
            "total_sessions": self._total,
            "migrated_sessions": self._tally.migrated,
            "skipped_sessions": self._tally.skipped,
            "failed_sessions": self._tally.failed,
            "rows": self._tally.rows,
            "verification": self._report.verification.status,
            "verified_runs": self._caught_up if self._report.verification.status == "passed" else [],
        }

    def _finish(self) -> None:
        self._progress.done()
        if self._report.target is not None:
            self._report.target.size_bytes = store_size(self._asked_target)
        self._report.finish()

    def _broken(self, status: Any, error: SessionliftError) -> None:
        """Write down what is known of a run that did not come to its end."""
        with self.interrupts.held():
            self._tell_broken(status, error)

    def _tell_broken(self, status: Any, error: SessionliftError) -> None:
        self._progress.done()
        self._summarise()
        self._report.errors.insert(0, ErrorLine.of(error))
        self._report.finish(status)
        written = self._write()
        if written is not None:
            error.fields["report"] = str(written)

    def _write(self) -> Path | None:
        return write_report(self._report, self._path, self._report_file, self._progress, token=self._asked_target.token)
