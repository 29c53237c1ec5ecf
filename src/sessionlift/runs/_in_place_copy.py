"""A store of a chain moved into a new file: a whole copy is led up to the newest generation; the old file stays."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from sessionlift.errors import (
    GenerationError,
    StoreConstraintError,
    StoreCorruptError,
    StoreNotFoundError,
    UsageError,
    WrongGenerationError,
)
from sessionlift.generations import chain_of, detect
from sessionlift.runs._auto_backup import BackupOptions
from sessionlift.runs._backup import SIDES
from sessionlift.runs._in_place import InPlaceOptions, InPlaceResult, InPlaceRun
from sessionlift.runs._in_place_check import columns_that_stay, digest_stay
from sessionlift.runs._interrupts import Interrupts
from sessionlift.runs._kept_check import not_brought_back
from sessionlift.runs._options import TransferOptions, refuse_choices
from sessionlift.runs._progress import Progress
from sessionlift.runs._report_files import new_run_id, report_path, store_info
from sessionlift.runs._snapshot import file_of, in_place_url, reading, refuse_read_only, snapshot
from sessionlift.stores import PrivateDirectory, StoreURL, real_file, side_file, sniff


def copy_up(
    source: str,
    target: str,
    options: TransferOptions,
    *,
    dry_run: bool = False,
    verify: bool = True,
    report_file: str | Path | None = None,
    progress: Progress | None = None,
    interrupts: Interrupts | None = None,
    backup: BackupOptions | None = None,
) -> InPlaceResult:
    """Copy ``source`` into the new file ``target`` and lead the copy to the newest generation of its chain.

    The source is only read, and byte-identical afterwards. The target has its name only when it is whole, verified
    and on the disk. Where it is there already with the same rows nothing is done; with others it is refused. So there
    is nothing to leave unverified or to back up: UsageError is raised where ``options``, ``verify`` or ``backup`` say
    otherwise.
    """
    copies = backup or BackupOptions()
    refuse_choices(
        options,
        (),
        "a store of this kind moves as a whole and verified, every value as it is, and over no store that is there",
        beside={
            "--no-verify": not verify,
            "--no-backup": not copies.wanted,
            "--backup-dir": copies.directory is not None,
        },
    )
    run = _Copying(source, target, dry_run, report_file, progress, interrupts)
    return run.go()


class _Copying(InPlaceRun):
    def __init__(
        self,
        source: str,
        target: str,
        dry_run: bool,
        report_file: str | Path | None,
        progress: Progress | None,
        interrupts: Interrupts | None,
    ) -> None:
        super().__init__(
            source,
            "upgrade",
            InPlaceOptions(dry_run=dry_run),
            report_file,
            progress or Progress(quiet=True),
            interrupts or Interrupts(),
        )
        self._goal = in_place_url(target)
        if self._goal.engine not in ("sqlite", "libsql"):
            raise UsageError(
                f"{self._goal.redacted} names another kind of store; the copy of a SQLite file is one, too",
                hint=f"name a file such as {file_of(self._goal).with_suffix('.db')}",
            )
        if self._goal.place == self._named.place:
            raise UsageError("source and target are the same file", hint="name a new file, or use sessionlift upgrade")
        self._keeps_backup = False
        self._there = False
        self._run_id = new_run_id("migrate")
        self._path = report_path(self._goal, self._run_id, report_file, source=self._named)
        self._report.kind = "migrate"
        self._report.run_id = self._run_id
        self._report.target = store_info(self._goal)
        self._report.options = {"copy": True, "dry_run": dry_run}

    def _place(self, stack: ExitStack) -> None:
        goal = file_of(self._goal)
        self._there = sniff(goal) not in ("missing", "empty")
        if self._there:
            self._refuse_other()
        self._keeps_generation = not self._there
        place = None if self._options.dry_run else real_file(goal).parent
        copy = stack.enter_context(PrivateDirectory("copy", place)) / goal.name
        snapshot(self._named, copy)
        self._where = replace(self._where, path=copy)
        if self._options.dry_run:
            self._report.assumptions.append("dry run: everything was done to a private copy, which was removed")

    def _change(self) -> None:
        try:
            super()._change()
        except (StoreCorruptError, StoreConstraintError, GenerationError) as error:
            # the copy is what the source is
            error.fields["store"] = self._named.redacted
            raise error.as_role("source") from None

    def _refuse_goal(self, generation: str) -> None:  # noqa: ARG002 - the copy is made in any generation
        goal = file_of(self._goal)
        if not (parent := real_file(goal).parent).is_dir():
            raise StoreNotFoundError(
                f"there is no directory {parent}",
                hint="create it, or check the path",
                store=self._goal.redacted,
                role="target",
            )
        if sniff(goal) in ("missing", "empty"):
            self._refuse_logs()
            if not self._options.dry_run:
                refuse_read_only(self._goal)

    def _refuse_logs(self) -> None:
        """Raise UsageError where logs of another store lie in wait for the name: SQLite would play them into ours."""
        goal = file_of(self._goal)
        left = next((log for end in SIDES["sqlite"] if (log := side_file(goal, end)).exists()), None)
        if left is not None:
            raise UsageError(
                f"{left} is there already, without its store",
                hint=f"it belongs to another store that had the name {goal.name}, and would change the new one: "
                "move it away with what is left of that store, or name a new file",
                store=self._goal.redacted,
            )

    def _fills(self) -> set[Path]:
        return super()._fills() if self._options.dry_run else {real_file(file_of(self._goal)).parent}

    def _refuse_other(self) -> None:
        """The target is there: it must be what this run would make."""
        found = detect(self._goal, role="target")
        newest = self._to.generation
        if found.generation == newest and _rows_of(self._goal, newest, self._named) == _rows_of(
            self._named, newest, self._named
        ):
            self._report.assumptions.append("the target was there already with the same rows: it was left alone")
            return
        raise WrongGenerationError(
            f"{self._goal.redacted} is there already, with other rows than a copy of {self._named.redacted} would have",
            hint="name a new file; a store that is in use already is not written over",
            store=self._goal.redacted,
            role="target",
            generation=found.generation,
        )

    def _refuse_lacking(self) -> None:
        """The target is there: it must have what the source keeps and the copy has got back."""
        with (
            reading(self._named, role="source") as source,
            reading(self._where, role="target") as made,
            reading(self._goal, role="target") as there,
        ):
            lacking = not_brought_back(source, made, there, self._chain)
        if lacking:
            raise WrongGenerationError(
                f"{self._goal.redacted} is there already, and what {self._named.redacted} keeps for the way up is not "
                f"in it as it was kept: {', '.join(lacking)}",
                hint="name a new file; a store that is in use already is not written over",
                store=self._goal.redacted,
                role="target",
                found=lacking,
            )

    def _is_changed(self) -> None:
        """So far only the copy is: it has no name yet."""

    def _settle(self) -> None:
        """Give the copy its name; whoever comes second leaves the first one's alone."""
        if self._there:
            self._refuse_lacking()
        if self._options.dry_run:
            return
        with self._interrupts.held():
            self._name()
            super()._is_changed()

    def _name(self) -> None:
        # where a link leads, so that it stays one
        goal, copy = real_file(file_of(self._goal)), file_of(self._where)
        if self._there:
            self._report.skipped_sessions = self._report.total_sessions
            self._report.migrated_sessions = 0
        else:
            if sniff(goal) in ("missing", "empty"):
                self._refuse_logs()
            with suppress(FileNotFoundError):
                if sniff(goal) == "empty":
                    goal.unlink()
            try:
                os.link(copy, goal)
            except FileExistsError:
                self._refuse_other()
                self._refuse_lacking()
            except OSError:  # a file system without links
                copy.rename(goal)
            handle = os.open(goal.parent, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        self._where = self._goal


def _rows_of(where: StoreURL, newest: str, origin: StoreURL) -> dict[str, str]:
    """The digests of the tables that the origin's generation and the newest one both have."""
    chain = chain_of(newest)
    names = {info.generation: info for info in chain}
    at, to = names[detect(origin).generation], names[newest]
    with reading(where, role="target") as store:
        staying = columns_that_stay(store, at, to, chain)
        return {table: digest_stay(store, table, columns, at, to, chain).digest for table, columns in staying.items()}
