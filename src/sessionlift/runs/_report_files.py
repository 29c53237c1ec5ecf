"""Where reports go, and what every report says of its stores."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from sessionlift.errors import SessionliftError, StoreFormatError, StoreNotFoundError, UsageError
from sessionlift.generations import Detection
from sessionlift.ledger import LEDGER_TABLES, Ledger
from sessionlift.reports import Digest, Digests, LedgerUse, Report, StoreInfo, digests_path, write, write_digests
from sessionlift.runs._progress import Progress
from sessionlift.runs._row_digests import count_rows
from sessionlift.stores import Store, StoreURL, real_file, side_file

OWN_TABLES = ("sessionlift_version", *LEDGER_TABLES)
"""What a target of a move has of ours: the stamps of its schema, and the ledger."""
DIGEST_ALGORITHM = "sha256; docs/digests.md says what exactly is hashed"


def new_run_id(kind: str) -> str:
    """A run's id: its kind, its second, and something no other run has. Sorts by time within a kind."""
    moment = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    return f"{kind}-{moment}-{uuid.uuid4().hex[:8]}"


def report_path(target: StoreURL, run_id: str, given: str | Path | None, *, source: StoreURL | None = None) -> Path:
    """The report's file: where the user said, else beside a local target, else below the working directory.

    Raises UsageError where the user named a file that is something else than a report: a store, above all.
    """
    if given is not None:
        path = Path(given)
        path = path / f"{run_id}.json" if path.is_dir() else path
        refuse_other_file(path, *(url for url in (source, target) if url is not None))
        return path
    if target.path is not None:
        return target.path.with_name(target.path.name + ".reports") / f"{run_id}.json"
    return Path("sessionlift-reports") / f"{run_id}.json"


def refuse_mistyped(path: Path, given: str | Path | None) -> None:
    """Raise FileNotFoundError where a report's directory cannot be made, since its parent is not there either: of a
    path that was mistyped nothing is made, unless the user has ``given`` it."""
    above = path.parent.parent
    if given is None and not above.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(above))


def write_report(
    report: Report, path: Path, given: str | Path | None, progress: Progress, *, token: str | None = None
) -> Path | None:
    """Write a run's report, without the ``token``; None, and a line of progress, where that cannot be done."""
    try:
        refuse_mistyped(path, given)
        return write(report, path, secrets=[token] if token else [])
    except (OSError, SessionliftError) as error:
        progress.step(f"The report could not be written to {path}: {error}")
        return None


def tells_of_a_store(error: SessionliftError, given: str | Path | None) -> bool:
    """Whether a change in place that ended with ``error`` leaves a report: there, or where the user asked for one.

    The report of such a run lies beside its store. Where none is, or the call was wrong, nothing began.
    """
    return given is not None or not isinstance(error, (StoreNotFoundError, StoreFormatError, UsageError))


def refuse_other_file(given: str | Path, *stores: StoreURL) -> None:
    """Raise UsageError if writing a report to the path ``given`` would destroy anything but an earlier report."""
    path = Path(given)
    hint = "name a new file, or a directory that is there"
    if not path.name:
        raise UsageError(f"{str(path)!r} is no name for a report", hint=hint)
    for store in stores:
        for end in ("", ".wal", "-wal", "-shm", "-journal"):
            if store.path is not None and real_file(path) == side_file(store.path, end):
                raise UsageError(f"the report would take the place of the store {store.redacted}", hint=hint)
    if path.exists() and not _is_report(path):
        raise UsageError(f"{path} is there already and is no report", hint=hint, path=str(path))
    digests = digests_path(path)
    if digests.exists() and not path.exists():
        raise UsageError(f"{digests} is there already, and belongs to no report", hint=hint, path=str(digests))


def _is_report(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b'"report_version"' in file.read(200)
    except OSError:
        return False


def unit_digests(ledger: Ledger, run_id: str, path: Path) -> Digests:
    """Write the digests of every unit that ``run_id`` moved beside the report at ``path``."""
    digests = (
        Digest(session_id, source, target, kind) for kind, session_id, source, target, _ in ledger.units_of_run(run_id)
    )
    return write_digests(digests_path(path), digests, algorithm=DIGEST_ALGORITHM)


def ledger_use(store: Store, tables: Sequence[str] = OWN_TABLES) -> LedgerUse:
    """Those of our ``tables`` that are in ``store``, and the rows in all of them."""
    there = {str(name) for (name,) in store.query("SELECT name FROM sqlite_master WHERE type = 'table'")}
    mine = [table for table in tables if table in there]
    return LedgerUse(tables=mine, rows=sum(count_rows(store, table) for table in mine))


def store_size(url: StoreURL) -> int | None:
    """Bytes on disk, the write-ahead log included; None for a server."""
    if url.path is None:
        return None
    files = [side_file(url.path, end) for end in ("", ".wal", "-wal")]
    return sum(file.stat().st_size for file in files if file.is_file())


def store_info(url: StoreURL, found: Detection | None = None) -> StoreInfo:
    info = StoreInfo(url=url.redacted, engine=url.engine, size_bytes=store_size(url))
    if found is not None:
        info.system, info.generation, info.dress = found.system, found.generation, found.dress
    return info
