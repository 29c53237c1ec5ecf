"""The copy that a run makes of a store that holds data, before it writes into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sessionlift.errors import BackupError, StoreFullError, StoreReadOnlyError, UsageError
from sessionlift.ledger import LedgerRun
from sessionlift.reports import Backup, Report
from sessionlift.runs._backup import BackupInfo, check_backup, read_backup, take_backup
from sessionlift.runs._progress import Progress
from sessionlift.runs._report_files import store_size
from sessionlift.stores import Role, Store, StoreURL, may_write, quote_identifier

NOT_WANTED = "none was wanted (--no-backup)"
ON_A_SERVER = (
    "a server's files are its own. Copy its data directory while it is stopped, or let its storage take a snapshot, "
    "before sessions are moved into it or taken out of it"
)
_OTHER_PLACE = "make room, name another place with --backup-dir, or go without one with --no-backup"
_SPARE = 1 << 20
_OWN = "sessionlift_"
_TABLES = {
    "duckdb": "SELECT table_name FROM duckdb_tables() WHERE NOT internal AND schema_name = 'main'",
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' "
    "AND name NOT LIKE 'sqlite^_%' ESCAPE '^' AND name NOT LIKE 'libsql^_%' ESCAPE '^'",
}


@dataclass(frozen=True)
class BackupOptions:
    """Whether a run makes copies, and where they lie: below ``directory``, or in STORE.backups beside each store."""

    wanted: bool = True
    directory: str | Path | None = None

    def __post_init__(self) -> None:
        if not self.wanted and self.directory is not None:
            raise UsageError("--no-backup and --backup-dir are at odds", hint="leave one of them out")

    def to_message(self) -> dict[str, Any]:
        """For the ledger and the report."""
        return {"backup": self.wanted, "backup_dir": None if self.directory is None else str(self.directory)}


def holds_data(store: Store) -> bool:
    """Whether any table has a row; of the ledger's, whether it names a session. Read-only."""
    names = [str(name) for (name,) in store.query(_TABLES["duckdb" if store.engine == "duckdb" else "sqlite"])]
    return any(
        store.query(f"SELECT 1 FROM {quote_identifier(name)} LIMIT 1")
        for name in names
        if not name.startswith(_OWN) or name == "sessionlift_units"
    )


class AutoBackup:
    """Takes the copies of one run, and tells of them in its report.

    ``before_writing`` is called once for each store that the run is going to write into and that holds data. A run
    that goes on after others of its kind that did not come to their end takes no copy where one of theirs is still
    there: that is the store as it was before all of them.
    """

    def __init__(self, options: BackupOptions, report: Report, progress: Progress) -> None:
        self._options, self._report, self._progress = options, report, progress

    def before_writing(self, where: StoreURL, runs: Sequence[LedgerRun]) -> None:
        """Copy the store, or say why not. Raises StoreFullError where there is no room, and as ``take_backup`` does."""
        self._report.backups.append(self._line(where, runs))

    def noted(self) -> list[dict[str, Any]]:
        """For the ledger, so that a run that goes on after this one knows of the copies."""
        return [dict(vars(line)) for line in self._report.backups]

    def _line(self, where: StoreURL, runs: Sequence[LedgerRun]) -> Backup:
        if not self._options.wanted:
            return Backup(store=where.redacted, state="not_taken", reason=NOT_WANTED)
        if where.path is None:
            self._progress.step(f"No backup of {where.redacted}: {ON_A_SERVER}")
            return Backup(store=where.redacted, state="not_taken", reason=ON_A_SERVER)
        for run in unfinished(runs, self._report.kind):
            for told in run.options.get("backups") or ():
                with suppress(BackupError):
                    if told.get("store") == where.redacted and told.get("path"):
                        info = read_backup(Path(told["path"]))
                        return line_of(info, "earlier", f"taken when {run.run_id} began, which did not come to its end")
        refuse_read_only(where)
        place = Path(self._options.directory or where.path.with_name(where.path.name + ".backups"))
        refuse_without_room(where, place)
        self._progress.step(f"Backing up {where.redacted} to {place}")
        try:
            info = take_backup(where, place)
        except (StoreFullError, StoreReadOnlyError) as error:
            error.hint = _OTHER_PLACE
            raise
        same = _equal(info, place)
        if same is not None:
            shutil.rmtree(info.path)
            return line_of(same, "earlier", "the store has not changed since it was taken")
        return line_of(info, "taken")


def line_of(info: BackupInfo, state: Any = "taken", reason: str | None = None) -> Backup:
    """A backup as a report has it."""
    return Backup(
        store=info.store,
        state=state,
        path=str(info.path),
        taken_at=info.taken_at,
        bytes=info.bytes,
        digest=info.content["digest"],
        reason=reason,
    )


def unfinished(runs: Sequence[LedgerRun], kind: str) -> list[LedgerRun]:
    """The last runs of the ledger, as far as they are of one kind and did not come to their end; newest first."""
    found = []
    for run in reversed(runs):
        if run.kind != kind or run.status.startswith("completed"):
            break
        found.append(run)
    return found


def goes_on_from_nothing(runs: Sequence[LedgerRun], kind: str) -> bool:
    """Whether all that ``runs`` wrote is the work of runs that began with an empty store and did not end."""
    going_on = unfinished(runs, kind)
    return bool(going_on) and len(going_on) == len(runs) and runs[0].options.get("backups") == []


def refuse_read_only(where: StoreURL, role: Role = "target") -> None:
    """Raise StoreReadOnlyError where the file may not be written, before it is copied for nothing."""
    if where.path is not None and not may_write(where.path):
        raise StoreReadOnlyError(
            f"{where.path} may not be written: it or its directory is read-only",
            hint="check the permissions of the file and of its directory; nothing was changed",
            store=where.redacted,
            role=role,
        )


def refuse_without_room(where: StoreURL, place: Path) -> None:
    """Raise StoreFullError unless the copy has room below ``place``, with a little to spare."""
    needed = (store_size(where) or 0) + _SPARE
    there = next((each for each in (place, *place.absolute().parents) if each.is_dir()), Path("/"))
    info = os.statvfs(there)
    free = info.f_bavail * info.f_frsize
    if free < needed:
        raise StoreFullError(
            f"{there} has {free:,} bytes free; the backup of {where.redacted} may need {needed:,}",
            hint=_OTHER_PLACE,
            store=where.redacted,
            role="target",
            free_bytes=free,
            needed_bytes=needed,
        )


def _equal(info: BackupInfo, place: Path) -> BackupInfo | None:
    """Another whole backup of the same store that holds the same, if there is one."""
    for path in sorted(place.glob("*.backup")):
        with suppress(BackupError):
            other = read_backup(path)
            if path != info.path and (other.store, other.content) == (info.store, info.content):
                return check_backup(path)
    return None
