"""Backups: a whole copy of a store with a manifest that says what it holds, and its return, checked first."""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sessionlift._version import __version__
from sessionlift.errors import (
    BackupError,
    StoreError,
    StoreFullError,
    StoreNotFoundError,
    StoreReadOnlyError,
    UsageError,
)
from sessionlift.reports import directory_for, utc_now
from sessionlift.runs._backup_worker import file_digest
from sessionlift.runs._content import Content, refuse_other_content, told
from sessionlift.runs._protocol import Message, Worker
from sessionlift.stores import StoreURL, parse_store_url, real_file, side_file

MANIFEST = "manifest.json"
VERSION = 1
_WORKER = "sessionlift.runs._backup_worker"
_NAMES = {"duckdb": "store.duckdb", "libsql": "store.db", "sqlite": "store.db"}
SIDES = {"duckdb": (".wal",), "libsql": ("-journal", "-wal", "-shm"), "sqlite": ("-journal", "-wal", "-shm")}


@dataclass(frozen=True)
class BackupInfo:
    """One backup. ``path`` is its directory; ``store`` the URL of what was copied, without credentials.

    ``generation`` is None for a store of no known schema. ``files`` have name, bytes and sha256 each; ``content`` is
    the digest of what the store holds and the rows by table.
    """

    path: Path
    store: str
    engine: str
    taken_at: str
    tool: str
    generation: str | None = None
    files: list[dict[str, Any]] = field(default_factory=list)
    content: dict[str, Any] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(int(file["bytes"]) for file in self.files)

    @property
    def rows(self) -> int:
        return sum(self.content["rows"].values())

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; without ``path`` it is the manifest."""
        return {**asdict(self), "path": str(self.path)}


@dataclass(frozen=True)
class Restored:
    """``aside`` is where the store lies that was there before, None if there was none."""

    store: str
    backup: Path
    aside: Path | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "store": self.store,
            "backup": str(self.backup),
            "aside": None if self.aside is None else str(self.aside),
        }


# --- taking one -----------------------------------------------------------------------------------------------


def take_backup(url: StoreURL | str | Path, directory: str | Path | None = None) -> BackupInfo:
    """Copy a store as it is now into a new directory below ``directory`` (STORE.backups beside the store).

    SQLite and libSQL by the backup API, with what waits in the write-ahead log; DuckDB's file and its ``.wal`` while
    every writer is kept out. The store itself is not changed. The copy is made in a process of its own, so the caller
    may have a SQLite store open. It has its name only when it is whole and on the disk: what a killed call leaves ends
    in ``.partial``, and is no backup.

    Raises StoreLockedError where another process holds the store, UsageError for a server, and the errors of opening
    a store; StoreFullError where there is no room.
    """
    where = url if isinstance(url, StoreURL) else parse_store_url(str(url))
    path = _file_of(where)
    place = Path(directory) if directory is not None else path.with_name(path.name + ".backups")
    moment = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    final = place / f"{path.name}-{moment}-{uuid.uuid4().hex[:8]}.backup"
    partial = final.with_suffix(".partial")
    try:
        with directory_for(place):
            partial.mkdir()
            try:
                done = _ask({"do": "copy", "store": where.redacted, "into": str(partial), "name": _NAMES[where.engine]})
                info = BackupInfo(
                    path=final,
                    store=where.redacted,
                    engine=where.engine,
                    taken_at=utc_now(),
                    tool=f"sessionlift {__version__}",
                    generation=done["generation"],
                    files=done["files"],
                    content=told(Content(**done["content"])),
                )
                _write_manifest(partial / MANIFEST, info)
                partial.rename(final)
                _sync(place)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
    except OSError as error:
        raise _refused(error, place, "target") from error
    return info


def _file_of(where: StoreURL) -> Path:
    if where.engine == "sqld":
        raise UsageError(
            f"{where.redacted} is a server, and its files are the server's own",
            hint="stop it and copy its data directory, or let its storage take a snapshot",
        )
    if where.path is None or where.engine not in _NAMES:
        raise UsageError(f"{where.redacted} is no database file", hint="only DuckDB, SQLite and libSQL are backed up")
    if not where.path.exists():
        raise StoreNotFoundError(f"there is no file {where.path}", hint="check the path", store=where.redacted)
    return where.path


def _refused(error: OSError, place: Path, role: str) -> StoreError:
    """Our error for what the system says of the files of a backup."""
    what = f"{error.filename or place} cannot be written: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFullError(what, hint="make room, or name another directory with --to", role=role)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreReadOnlyError(what, hint="name a directory that you may write to with --to", role=role)
    return StoreError(what, hint="name another directory with --to", role=role)


def _write_manifest(path: Path, info: BackupInfo) -> None:
    data = {"backup_version": VERSION, **{k: v for k, v in info.to_dict().items() if k != "path"}}
    with path.open("x", encoding="utf-8") as file:
        file.write(json.dumps(data, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    _sync(path.parent)


# --- giving one back ------------------------------------------------------------------------------------------


def read_backup(backup: str | Path) -> BackupInfo:
    """The manifest of the ``backup`` in a directory. Raises BackupError for one that is none, or not of this build."""
    path = Path(backup)
    if path.name.endswith(".partial"):
        raise BackupError(f"{path} was never finished", hint="it holds no backup, and may be removed", path=str(path))
    try:
        data = json.loads((path / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        raise BackupError(
            f"{path} has no {MANIFEST}", hint="name the directory that `sessionlift backup` told", path=str(path)
        ) from None
    except (OSError, ValueError) as error:
        raise BackupError(f"the manifest of {path} cannot be read: {error}", path=str(path)) from error
    version = data.pop("backup_version", None) if isinstance(data, dict) else None
    if version != VERSION:
        raise BackupError(
            f"the manifest of {path} has version {version!r}, this build reads {VERSION}",
            hint="use the build that made it, or a newer one",
            path=str(path),
        )
    try:
        info = BackupInfo(path=path, **data)
        names = [(str(file["name"]), int(file["bytes"]), str(file["sha256"])) for file in info.files]
    except (TypeError, KeyError, ValueError) as error:
        raise BackupError(f"the manifest of {path} is not whole: {error}", path=str(path)) from error
    expected = {_NAMES.get(info.engine, ""), f"{_NAMES.get(info.engine, '')}.wal"}
    if not names or not {name for name, _, _ in names} <= expected or "digest" not in info.content:
        raise BackupError(f"the manifest of {path} names files that no backup has", path=str(path))
    return info


def check_backup(backup: str | Path) -> BackupInfo:
    """Compare a backup's files with its manifest. Raises BackupError for any difference."""
    path = Path(backup)
    info = read_backup(path)
    for file in info.files:
        place = path / file["name"]
        if not place.is_file():
            raise BackupError(f"{place} is missing", hint="use another backup", path=str(path))
        size = place.stat().st_size
        if size != file["bytes"]:
            what = f"{place} has {size:,} bytes, the manifest says {file['bytes']:,}"
            raise BackupError(what, hint="use another backup", path=str(path))
        if file_digest(place) != file["sha256"]:
            raise BackupError(f"{place} is not as it was written", hint="use another backup", path=str(path))
    return info


def restore_backup(backup: str | Path, to: StoreURL | str | Path | None = None, *, replace: bool = False) -> Restored:
    """Put a backup's store where it came from, or at ``to``; nothing is touched before the backup proved whole.

    Its files are compared with the manifest, copied beside the store's place, and the copy's content with the
    manifest's digest; only then it gets the name. A store that is there already is refused, or with ``replace`` kept
    aside under another name beside it, its logs with it. A link stays one: the store is put where it leads.

    Killed at any moment, it leaves the old store whole in its place or aside, and never half a store; the same call
    then goes through. Raises BackupError, StoreLockedError, UsageError and StoreFullError.
    """
    path = Path(backup)
    info = check_backup(path)
    named = _place(info, to)
    where = StoreURL(info.engine, named)  # type: ignore[arg-type]
    # what a link leads to is the store; the link stays
    store = real_file(named)
    sides = SIDES[info.engine]
    present = [each for end in ("", *sides) if (each := side_file(store, end)).exists()]
    if store.is_dir():
        hint = f"name the file that the store is to be, such as {store / 'store.db'}"
        raise UsageError(f"{store} is a directory", hint=hint, store=where.redacted)
    if present and not replace:
        raise UsageError(
            f"{named if present[0] == store else present[0]} is there already",
            hint="restore to another place with --to, or say --replace: the old store is then kept aside",
            store=where.redacted,
        )
    fresh = store.with_name(f".{store.name}.restoring")
    ends = [file["name"].removeprefix(_NAMES[info.engine]) for file in info.files]
    try:
        try:
            for end in ("", *sides):
                # of a call that was killed
                Path(f"{fresh}{end}").unlink(missing_ok=True)
            for file, end in zip(info.files, ends, strict=True):
                _copy(path / file["name"], Path(f"{fresh}{end}"))
            found = _ask({"do": "look", "store": StoreURL(where.engine, fresh).redacted})
            try:
                refuse_other_content(Content(**found["content"]), info.content, place=path)
            except StoreError as error:
                raise BackupError(error.what, hint=error.hint, path=str(path), **error.fields) from error
            aside = _set_aside(where, store, present) if present else None
            # the log first: the main file alone would be taken for the whole store
            for end in sorted(ends, key=len, reverse=True):
                Path(f"{fresh}{end}").rename(f"{store}{end}")
            _sync(store.parent)
        finally:
            for end in ends:
                Path(f"{fresh}{end}").unlink(missing_ok=True)
    except OSError as error:
        raise _refused(error, store.parent, "target") from error
    return Restored(where.redacted, path, aside)


def _place(info: BackupInfo, to: StoreURL | str | Path | None) -> Path:
    named = to if isinstance(to, StoreURL) else parse_store_url(info.store if to is None else str(to))
    if named.path is None:
        raise UsageError(f"{named.redacted} is a server; a backup is restored to a file")
    if not (parent := real_file(named.path).parent).is_dir():
        raise UsageError(f"there is no directory {parent}", hint="make it, or name another place with --to")
    return named.path


def _set_aside(where: StoreURL, store: Path, present: list[Path]) -> Path:
    """Give the store that is there another name, its logs with it; returns that name.

    The new names are made before the old ones go, the main file's first: whenever this is cut off, the store lies
    whole under one name, and a log never beside a main file that it does not belong to.
    """
    if store.exists() and store.stat().st_size:
        _ask({"do": "hold", "store": where.redacted})
    moment = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    aside = store.with_name(f"{store.name}.before-restore-{moment}-{uuid.uuid4().hex[:4]}")
    names = [f"{aside}{file.name.removeprefix(store.name)}" for file in present]
    try:
        for file, name in zip(present, names, strict=True):
            os.link(file, name)
    except OSError:
        # a file system without second names
        for name in names:
            Path(name).unlink(missing_ok=True)
        for file, name in zip(present, names, strict=True):
            file.rename(name)
        _sync(store.parent)
        return aside
    _sync(store.parent)
    for file in present:
        file.unlink()
    _sync(store.parent)
    return aside


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("xb") as file:
        shutil.copyfileobj(read, file, 1 << 20)
        file.flush()
        os.fsync(file.fileno())
    shutil.copymode(source, target)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _ask(request: Message) -> Message:
    worker = Worker(_WORKER, request, name="backup")
    try:
        return worker.answer()
    finally:
        worker.stop()
