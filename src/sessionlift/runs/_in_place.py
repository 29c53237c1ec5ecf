"""A store changed in place: checked, backed up, led up or down its chain of generations, verified, reported."""

from __future__ import annotations

import resource
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection

from sessionlift.errors import (
    SessionliftError,
    StoreError,
    UsageError,
    VerificationError,
)
from sessionlift.generations import (
    KeptState,
    RevisionInfo,
    Standing,
    adopt,
    chain_of,
    chain_target,
    change,
    detect,
    kept_rows,
    kept_state,
    not_in_place,
    refuse_altered,
    refuse_dependents,
    standing,
    step_of,
    steps_of_run,
)
from sessionlift.reports import (
    Digest,
    ErrorLine,
    Report,
    TableCounts,
    Throughput,
    current_environment,
    digests_path,
    write_digests,
)
from sessionlift.runs._auto_backup import line_of
from sessionlift.runs._backup import read_backup, take_backup
from sessionlift.runs._broken import told_when_broken
from sessionlift.runs._in_place_check import (
    Before,
    check_integrity,
    check_space,
    facts_of,
    take_down,
    verify_change,
)
from sessionlift.runs._in_place_roads import InPlaceRoad, in_place_road
from sessionlift.runs._in_place_told import loss_of, tell_own
from sessionlift.runs._interrupts import Interrupts
from sessionlift.runs._kept_check import KEPT_TABLE, altered, unchecked
from sessionlift.runs._locks import WAIT_SECONDS, commit, one_transaction, open_elsewhere
from sessionlift.runs._progress import Progress
from sessionlift.runs._report_files import (
    ledger_use,
    new_run_id,
    refuse_mistyped,
    report_path,
    store_info,
    store_size,
    tells_of_a_store,
    write_report,
)
from sessionlift.runs._row_digests import ALGORITHM, TableDigest, count_rows
from sessionlift.runs._snapshot import file_of, in_place_url, refuse_empty, refuse_read_only, snapshot
from sessionlift.stores import PrivateDirectory, SqliteFileStore

Verb = Literal["upgrade", "downgrade"]
OWN_TABLES = ("sessionlift_version", "sessionlift_steps", "sessionlift_kept")


@dataclass(frozen=True)
class InPlaceResult:
    """The finished report, the file it was written to (None where that could not be), and the backup's directory."""

    report: Report
    path: Path | None
    backup: Path | None


@dataclass(frozen=True)
class InPlaceOptions:
    """How to change a store in place.

    ``to``: the generation, the newest if it is not named. ``backup``: the directory for the copy that is made
    before, STORE.backups if it is not named. ``wait``: seconds to wait for another process that writes.
    ``let_dangle``: go down although objects of the user's need what goes.
    """

    to: str | None = None
    backup: str | Path | None = None
    wait: float = WAIT_SECONDS
    let_dangle: bool = False
    dry_run: bool = False


def change_in_place(
    store: str,
    verb: Verb,
    options: InPlaceOptions,
    *,
    report_file: str | Path | None = None,
    progress: Progress | None = None,
    interrupts: Interrupts | None = None,
) -> InPlaceResult:
    """Lead ``store`` to another generation of its chain. All or nothing: one transaction, and nothing before it.

    In that transaction the store is looked at again, copied as it is (the backup), changed, verified and stamped;
    only then is it committed. A store that stands there already is left alone. With ``dry_run`` everything is done
    to a private copy. A report is written however it ends, and an error is raised after it.
    """
    run = InPlaceRun(store, verb, options, report_file, progress or Progress(quiet=True), interrupts or Interrupts())
    return run.go()


class InPlaceRun:
    """One change in place, from the first look to the report."""

    def __init__(
        self,
        store: str,
        verb: Verb,
        options: InPlaceOptions,
        report_file: str | Path | None,
        progress: Progress,
        interrupts: Interrupts,
    ) -> None:
        self._named = self._where = self._goal = in_place_url(store)
        self._verb, self._options = verb, options
        self._progress, self._interrupts = progress, interrupts
        self._run_id = new_run_id(verb)
        self._report_file = report_file
        self._path = report_path(self._named, self._run_id, report_file)
        self._backup: Path | None = None
        self._keeps_backup = not options.dry_run
        self._keeps_generation = False  # whether there is work to do where the generation stays
        self._digests: list[Digest] = []
        self._changed = False
        self._begun = time.monotonic()
        self._report = Report(
            kind=verb,
            run_id=self._run_id,
            dry_run=options.dry_run,
            source=store_info(self._named),
            target=store_info(self._named),
            options={
                "to": options.to,
                "wait": options.wait,
                "let_dangle": options.let_dangle,
                "backup": None,
            },
        )

    # --- from the first look to the report --------------------------------------------------------------------

    def go(self) -> InPlaceResult:
        with told_when_broken(self._broken, "the run was interrupted; nothing was changed"):
            with ExitStack() as stack:
                self._look()
                self._place(stack)
                self._change()
                self._settle()
            with self._interrupts.held():
                self._finish()
                self._interrupts.over()
                return InPlaceResult(self._report, self._write(), self._backup)

    def _look(self) -> None:
        """Refuse whatever can be refused before anything is opened for writing."""
        refuse_empty(self._where)
        found = detect(self._where, role="target")
        chain = chain_of(found.generation)
        road = in_place_road(found.system)
        if not chain or road is None:
            raise not_in_place(found, self._where)
        self._road: InPlaceRoad = road
        self._chain = chain
        self._to = chain_target(chain, self._options.to)
        self._refuse_direction(found.generation)
        self._report.source = store_info(self._named, found)
        self._report.environment = current_environment({})
        self._refuse_goal(found.generation)
        check_space(self._where, sorted(self._fills()))
        path = file_of(self._where)
        elsewhere = [] if self._options.dry_run else open_elsewhere(path)
        if elsewhere:
            listed = ", ".join(str(number) for number in elsewhere[:5])
            self._report.assumptions.append(
                f"other processes had the store open ({listed}): they see the new schema with their next statement"
            )

    def _refuse_goal(self, generation: str) -> None:
        if not self._options.dry_run and generation != self._to.generation:
            refuse_read_only(self._goal)

    def _fills(self) -> set[Path]:
        """The directories that need room for what the run writes."""
        if self._options.dry_run:
            return {Path(tempfile.gettempdir())}
        return {file_of(self._named).parent, self._backup_place()}

    def _refuse_direction(self, generation: str) -> None:
        names = [info.generation for info in self._chain]
        here, there = names.index(generation), names.index(self._to.generation)
        if self._verb == "upgrade" and there < here:
            raise UsageError(
                f"{self._named.redacted} is {generation} already; {self._to.generation} lies before it",
                hint=f"sessionlift downgrade STORE --to {self._to.generation}",
            )
        if self._verb == "downgrade" and there > here:
            raise UsageError(
                f"{self._named.redacted} is {generation}; {self._to.generation} lies after it",
                hint=f"sessionlift upgrade STORE --to {self._to.generation}",
            )

    def _place(self, stack: ExitStack) -> None:
        """Where the change is made: in the store itself, or, to rehearse it, in a private copy."""
        if not self._options.dry_run:
            return
        copy = stack.enter_context(PrivateDirectory("rehearsal")) / "rehearsal.db"
        snapshot(self._where, copy)
        self._where = replace(self._where, path=copy)
        self._report.assumptions.append("dry run: everything was done to a private copy, which was removed")

    def _settle(self) -> None:
        """What is left to do after the commit."""

    def _change(self) -> None:
        self._progress.step(f"Waiting for {self._named.redacted}")
        with one_transaction(self._where, self._named, wait=self._options.wait) as held:
            if self._in_transaction(held.store, held.connection):
                with self._interrupts.held():
                    commit(held)
                    self._is_changed()
            self._count_own(held.store)

    def _is_changed(self) -> None:
        """From here on nothing may say that the store is as it was, and nobody needs to be interrupted."""
        if not self._options.dry_run:
            self._changed = True
            self._interrupts.over()

    def _in_transaction(self, store: SqliteFileStore, connection: Connection) -> bool:
        """Everything that is done under the lock; false where there is nothing to do."""
        found = standing(connection, self._where)
        self._refuse_direction(found.generation)
        here = next(info for info in self._chain if info.generation == found.generation)
        self._report.total_sessions = self._road.sessions(store)
        self._tell_odd(store, found)
        if here == self._to and not self._keeps_generation:
            self._report.skipped_sessions = self._report.total_sessions
            self._count_unchanged(store, found)
            return self._adopt_only(connection, found)
        self._progress.step(f"Checking {self._named.redacted} ({found.generation})")
        if self._verb == "downgrade" and not self._options.let_dangle:
            refuse_dependents(connection, here.revision, self._to.revision)  # before the backup, too
        chained = [info.revision for info in self._chain]
        kept = refuse_altered(connection, chained, store=self._named.redacted)
        self._report.assumptions += unchecked(kept)
        with ThreadPoolExecutor(1) as beside:
            backup = beside.submit(self._back_up)
            before = take_down(store, here, self._to, self._chain)
            self._backup = backup.result()
        self._report.options["backup"] = None if self._backup is None else str(self._backup)
        if self._backup is not None:
            self._report.backups = [line_of(read_backup(self._backup))]
        adopt(connection, found, self._where, run_id=self._run_id)
        counted = {table: count_rows(store, table) for table in self._passing(here)}
        if here != self._to:
            verb = "Upgrading" if self._verb == "upgrade" else "Downgrading"
            self._progress.step(f"{verb} to {self._to.generation}")
            change(
                connection,
                self._where,
                at=here.revision,
                to=self._to.revision,
                run_id=self._run_id,
                let_dangle=self._options.let_dangle,
                kept_looked_at=True,
            )
        self._progress.step("Verifying")
        self._hold_against(store, before, here, kept_state(connection, chained), kept)
        self._tell(connection, before, counted)
        return True

    def _adopt_only(self, connection: Connection, found: Standing) -> bool:
        if found.stamped == found.revision:
            self._report.assumptions.append(f"the store is {found.generation} already: nothing was to do")
            return False
        self._report.assumptions.append(f"the store is {found.generation} already: only our stamp was written")
        return adopt(connection, found, self._where, run_id=self._run_id)

    def _passing(self, here: RevisionInfo) -> list[str]:
        """The tables that go on a way down; none on a way up."""
        names = [info.revision for info in self._chain]
        low, high = names.index(self._to.revision), names.index(here.revision)
        return [table for revision in names[low + 1 : high + 1] for table in step_of(revision).tables]

    def _hold_against(
        self, store: SqliteFileStore, before: Before, here: RevisionInfo, kept: KeptState, kept_before: KeptState
    ) -> None:
        verification, after = verify_change(
            store,
            before,
            self._road,
            here,
            self._to,
            self._chain,
            run_id=self._run_id,
            may_dangle=self._options.let_dangle,
        )
        if differences := altered(kept):
            verification.differences += differences
            verification.status = "failed"
        self._report.verification = verification
        self._digests = [
            Digest(table, was.digest, after.get(table, TableDigest(0, "-")).digest, "catalog")
            for table, was in before.tables.items()
        ]
        if kept.digest or kept_before.digest:
            self._digests.append(Digest(KEPT_TABLE, kept_before.digest or "-", kept.digest or "-", "catalog"))
        if verification.differences:
            raise VerificationError(
                f"the store is not as it must be after the change; {len(verification.differences)} differences, the "
                f"first: {verification.differences[0].table or ''} {verification.differences[0].message}",
                hint="everything was taken back; this is a fault of ours, or the store is not what it seemed: "
                "the report has every difference",
            )

    # --- the backup -------------------------------------------------------------------------------------------

    def _backup_place(self) -> Path:
        path = file_of(self._named)
        return Path(self._options.backup or path.with_name(path.name + ".backups"))

    def _back_up(self) -> Path | None:
        """A copy of the store as it is now, found whole: nobody else can write to it before it is changed.

        The copy has the same pages, so what SQLite says of it holds for the store.
        """
        if not self._keeps_backup:
            check_integrity(self._where, self._named)
            return None
        self._progress.step(f"Backing up to {self._backup_place()}")
        backup = take_backup(self._where, self._backup_place()).path
        try:
            check_integrity(replace(self._where, path=backup / "store.db"), self._named)
        except StoreError:
            shutil.rmtree(backup, ignore_errors=True)
            raise
        return backup

    # --- the report -------------------------------------------------------------------------------------------

    def _tell_odd(self, store: SqliteFileStore, found: Standing) -> None:
        odd = [*found.oddities, *self._road.oddities(store, step_of(found.revision).all_names)]
        self._report.source_facts = facts_of(odd)

    def _count_unchanged(self, store: SqliteFileStore, found: Standing) -> None:
        for table in found.rows:
            rows = count_rows(store, table)
            self._report.tables[table] = TableCounts(read=rows, written=rows)

    def _tell(self, connection: Connection, before: Before, passing: dict[str, int]) -> None:
        """What went where, by the steps' own account."""
        report = self._report
        report.migrated_sessions = report.total_sessions
        tables = report.tables
        for table, was in before.tables.items():
            tables[table] = TableCounts(read=was.rows, written=was.rows)
        for table, rows in passing.items():
            tables[table] = TableCounts(read=rows, excluded=rows)
        taken_out: list[str] = []
        dangling: list[str] = []
        left_out: list[str] = []
        for _, revision, told in steps_of_run(connection, self._run_id):
            for name, count in told.get("kept", {}).items():
                report.losses.append(
                    loss_of(name, count, f"{step_of(revision).name} alone can hold these", "kept_aside")
                )
            taken_out += told.get("taken_out", [])
            dangling += told.get("dangling", [])
            left_out += told.get("left_out", [])
            withheld = told.get("withheld", {})
            for name, count in told.get("restored", {}).items():
                if "." not in name:
                    aside = withheld.get(name, 0)
                    tables[name] = TableCounts(read=count, written=count - aside, excluded=aside)
            for name, count in withheld.items():
                report.losses.append(
                    loss_of(name, count, "what these belong to was deleted in between; they stay aside", "withheld")
                )
            replayed = told.get("replayed", {})
            for name, count in replayed.items():
                if name != "invocations":
                    tables.setdefault(name, TableCounts()).derived = count
            if replayed:
                report.assumptions.append(
                    f"{replayed['invocations']:,} invocations were written while the store was on an older generation: "
                    "they are counted in, each once"
                )
        tell_own(report, taken_out, dangling, left_out)
        report.losses.sort(key=lambda loss: (loss.code, loss.table, loss.column or ""))
        rows = sum(counts.read for counts in tables.values())
        self._throughput = (rows, store_size(self._where) or 0)

    def _count_own(self, store: SqliteFileStore) -> None:
        self._report.ledger = ledger_use(store, OWN_TABLES)
        waiting = kept_rows(store.query)
        if waiting and self._verb == "upgrade":
            listed = ", ".join(f"{table} {rows:,}" for table, rows in waiting.items())
            self._report.assumptions.append(
                f"the complement keeps rows that could not come back: {listed}; the next way up tries them again"
            )

    def _finish(self) -> None:
        self._summarise()
        found = detect(self._where, role="target") if not self._options.dry_run else None
        self._report.target = store_info(self._goal, found)
        self._report.target.generation = self._to.generation
        self._report.target.system = self._road.system
        if self._digests and not self._options.dry_run:
            try:
                refuse_mistyped(self._path, self._report_file)
                self._report.digests = write_digests(digests_path(self._path), self._digests, algorithm=ALGORITHM)
            except (OSError, SessionliftError) as error:
                self._progress.step(f"The digests could not be written beside {self._path}: {error}")
        self._report.finish()

    def _summarise(self) -> None:
        rows, size = getattr(self, "_throughput", (0, 0))
        self._progress.done()
        self._report.throughput = Throughput.measured(
            sessions=self._report.migrated_sessions,
            rows=rows,
            bytes=size,
            seconds=time.monotonic() - self._begun,
            peak_memory_mb={"run": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024},
        )

    def _broken(self, status: Literal["failed", "interrupted"], error: SessionliftError) -> None:
        """Write down what is known of a run that did not come to its end. Before the commit the store is as it was."""
        with self._interrupts.held():
            report = self._report
            if self._changed:
                error.what = f"the store was led to {self._to.generation}, whole and for good; only then: {error.what}"
            else:
                report.migrated_sessions = 0
                report.tables, report.losses = {}, []
            self._summarise()
            report.errors.insert(0, ErrorLine.of(error))
            report.finish(status)
            written = self._write() if tells_of_a_store(error, self._report_file) else None
            if written is not None:
                error.fields["report"] = str(written)

    def _write(self) -> Path | None:
        return write_report(self._report, self._path, self._report_file, self._progress)
