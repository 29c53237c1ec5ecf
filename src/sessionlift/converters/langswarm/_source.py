"""The three dresses of a legacy store, opened for reading only: as a snapshot, or as it is now."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from sessionlift.converters.langswarm._columns import V1_COLUMNS
from sessionlift.converters.langswarm._dump import dump_entries
from sessionlift.converters.langswarm._row import CELLS, Dress, LegacyRow, NotUtf8, Unreadable, texts_of
from sessionlift.errors import StoreError, StoreFormatError, StoreLockedError, UsageError, WrongGenerationError
from sessionlift.stores import (
    PrivateDirectory,
    SqliteStore,
    StoreURL,
    copy_with_side_files,
    needs_recovery,
    no_room,
    quote_identifier,
    side_file,
)

_STEP_PAGES = 2_000
_BEGINNINGS = 200
"""Steps of a backup without progress: it begins again when the store is written to, and waits while it is locked."""
_PREFIX = "session:"


class Stray(NamedTuple):
    """A row that no session can be made of: for the quarantine (``code``), or left out on purpose (None)."""

    place: int
    cells: tuple[Any, ...]
    code: str | None


class LegacySource:
    """One legacy store, opened. Sessions have places (row ids), which rise in the order they move.

    One thread at a time. A context manager; closing it removes what was copied.
    """

    def __init__(self, store: SqliteStore, dress: Dress, directory: PrivateDirectory | None = None) -> None:
        self.dress: Dress = dress
        self._store, self._directory = store, directory
        self._db = store.connection
        self._db.text_factory = _text
        table, columns = CELLS[dress]
        self.table = table
        self._columns = columns
        self._cells = ", ".join(quote_identifier(column) for column in columns)
        self._from = f"FROM {quote_identifier(table)}"
        if dress == "enhanced":
            self._is_session = f"typeof(key) = 'text' AND substr(key, 1, {len(_PREFIX)}) = '{_PREFIX}'"
            self._key_column = "key"
        else:
            self._is_session = "typeof(session_id) = 'text'"
            self._key_column = "session_id"

    @property
    def is_copy(self) -> bool:
        """Whether what is read is a private copy, and not the store as it is now."""
        return self._directory is not None

    @property
    def copy(self) -> Path | None:
        """The private copy that is read, where it is what the store was; a dump is laid out anew."""
        return self._store.url.path if self.is_copy and self.dress != "dump" else None

    @contextmanager
    def mapped(self) -> Iterator[None]:
        """Turns the driver's errors that are raised inside into ours."""
        with self._store.mapped():
            yield

    def walk(self) -> Iterator[tuple[int, LegacyRow]]:
        """Every session with its place, in the order they move, one by one."""
        with self.mapped():
            found = self._db.execute(
                f"SELECT rowid, {self._cells} {self._from} WHERE {self._is_session} ORDER BY rowid"
            )
            for place, *cells in found:
                row = self._row(cells)
                if row is not None:
                    yield place, row

    def at(self, place: int) -> LegacyRow | None:
        """The session at ``place``."""
        with self.mapped():
            found = self._db.execute(f"SELECT {self._cells} {self._from} WHERE rowid = ?", (place,)).fetchone()
        return None if found is None else self._row(found)

    def place_of(self, session_id: str) -> int | None:
        """Where the session lies; None if the store does not hold it."""
        key = self._key(session_id)
        if key is None:
            return None
        with self.mapped():
            found = self._db.execute(
                f"SELECT rowid {self._from} WHERE {quote_identifier(self._key_column)} = ? AND {self._is_session}",
                (key,),
            ).fetchone()
        return None if found is None else int(found[0])

    def get(self, session_id: str) -> LegacyRow | None:
        """One session by its id, with one statement; None if the store does not hold it."""
        key = self._key(session_id)
        if key is None:
            return None
        with self.mapped():
            found = self._db.execute(
                f"SELECT {self._cells} {self._from} WHERE {quote_identifier(self._key_column)} = ?", (key,)
            ).fetchone()
        return None if found is None else self._row(found)

    def heads(self, user_id: str | None = None) -> Iterator[tuple[str, Any]]:
        """(session id, cell ``metadata``) of every session, or of those whose column ``user_id`` is this; without their
        histories where the dress has them apart. Rows whose wrapping is broken are left out."""
        if self.dress == "sqlite":
            of_user = "" if user_id is None else " AND user_id = ?"
            with self.mapped():
                yield from self._db.execute(
                    f"SELECT session_id, metadata {self._from} WHERE {self._is_session}{of_user}",
                    () if user_id is None else (user_id,),
                )
            return
        for _, row in self.walk():
            with suppress(Unreadable):
                yield row.key, texts_of(row).metadata

    def strays(self) -> Iterator[Stray]:
        """The rows of no session, in their order."""
        with self.mapped():
            # a key that is no UTF-8 is a text for the engine: only here it is seen
            for place, key in self._db.execute(
                f"SELECT rowid, {quote_identifier(self._key_column)} {self._from} ORDER BY rowid"
            ):
                code = self._why_no_session(key)
                if code is None:
                    continue
                cells = self._db.execute(f"SELECT {self._cells} {self._from} WHERE rowid = ?", (place,)).fetchone()
                yield Stray(place, tuple(cells), code or None)
            if self.dress == "dump":
                for place, key, entry, code in self._db.execute(
                    "SELECT rowid, session_id, entry, code FROM strays ORDER BY rowid"
                ):
                    yield Stray(place, (key, entry), code)

    def _why_no_session(self, key: Any) -> str | None:
        """None for a session's key; the code of the quarantine, or nothing for a row that is left out."""
        if self.dress == "enhanced":
            if isinstance(key, NotUtf8) and key.startswith(_PREFIX.encode()):
                return "session_id_unusable"
            return None if isinstance(key, str) and key.startswith(_PREFIX) else ""
        return None if isinstance(key, str) else "session_id_unusable"

    def _key(self, session_id: str) -> str | None:
        try:
            session_id.encode()
        except UnicodeEncodeError:
            return None
        return _PREFIX + session_id if self.dress == "enhanced" else session_id

    def _row(self, cells: Iterable[Any]) -> LegacyRow | None:
        named = dict(zip(self._columns, cells, strict=True))
        key = named[self._key_column]
        if not isinstance(key, str):
            return None
        return LegacyRow(key.removeprefix(_PREFIX) if self.dress == "enhanced" else key, named, self.dress)

    def close(self) -> None:
        self._store.close()
        if self._directory is not None:
            self._directory.close()

    def __enter__(self) -> LegacySource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_legacy(url: StoreURL, *, snapshot: bool) -> LegacySource:
    """Open the legacy store at ``url``, whichever dress it wears; nothing of it is ever written.

    With ``snapshot``, what is read is the store at one moment, in a private copy. Without, it is the store as it is at
    each statement, unless a killed program left it in need of recovery: that happens in a private copy, too. A dump is
    read whole once.

    Raises StoreNotFoundError, StoreFormatError, StoreCorruptError, StoreLockedError, WrongGenerationError.
    """
    if url.path is None:
        raise UsageError(f"{url.redacted} names no file", hint="LangSwarm's V1 store is a file")
    if url.engine == "json":
        return _open_dump(url.path)
    if snapshot or needs_recovery(url.path):
        return _open_snapshot(url.path)
    try:
        store = _open(url.path)
    except StoreError as error:
        if isinstance(error, StoreLockedError) or not side_file(url.path, "-journal").exists():
            raise
        return _open_snapshot(url.path)
    try:
        return LegacySource(store, _dress_of(store))
    except BaseException:
        store.close()
        raise


def _open(path: Path) -> SqliteStore:
    return SqliteStore(StoreURL("sqlite", path), mode="ro", role="source")


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return NotUtf8(value)


def _dress_of(store: SqliteStore) -> Dress:
    columns: dict[str, set[str]] = {}
    for dress, (table, _) in CELLS.items():
        columns[dress] = {row[1] for row in store.query(f"PRAGMA table_info({quote_identifier(table)})")}
    if set(V1_COLUMNS) <= columns["sqlite"]:
        return "sqlite"
    if set(CELLS["enhanced"][1]) <= columns["enhanced"]:
        return "enhanced"
    raise WrongGenerationError(
        f"{store.url.redacted} is no V1 store of LangSwarm: it has neither V1's table sessions nor memory",
        hint="sessionlift detect says what it is",
        store=store.url.redacted,
        role="source",
    )


# --- snapshots


def _open_snapshot(path: Path) -> LegacySource:
    directory = PrivateDirectory("langswarm")
    try:
        copy = directory.path / "snapshot.db"
        if needs_recovery(path) or not _backed_up(path, copy):
            copy_with_side_files(path, copy)
        store = SqliteStore(StoreURL("sqlite", copy), mode="rw", role="source")
        try:
            # the log of a killed program is in a file of its own, and the verifier is given this one alone
            store.query("PRAGMA journal_mode = DELETE")
            return LegacySource(store, _dress_of(store), directory)
        except BaseException:
            store.close()
            raise
    except OSError as error:
        directory.close()
        raise no_room(error) from error
    except BaseException:
        directory.close()
        raise


def _backed_up(path: Path, copy: Path) -> bool:
    """Copy the store as it is at one moment; false where only a writer could, since a journal has to be rolled back."""
    try:
        with _open(path) as source, source.mapped():
            target = sqlite3.connect(copy)
            try:
                _back_up(source.connection, target)
            finally:
                target.close()
    except StoreError as error:
        if isinstance(error, StoreLockedError) or not side_file(path, "-journal").exists():
            raise
        return False
    return True


def _back_up(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """In steps, between which the application may write; at once where it writes so much that no end is in sight."""
    left, begun = 0, 0

    def look(_: int, remaining: int, __: int) -> None:
        nonlocal left, begun
        begun += remaining >= left
        left = remaining
        if begun > _BEGINNINGS:
            raise _TooBusy

    try:
        source.backup(target, pages=_STEP_PAGES, progress=look, sleep=0.005)
    except _TooBusy:
        source.backup(target, pages=-1)


class _TooBusy(Exception):  # noqa: N818 - it is no error
    """Leaves a backup that has to begin again too often."""


# --- the dump


def _open_dump(path: Path) -> LegacySource:
    directory = PrivateDirectory("langswarm")
    try:
        copy = directory.path / "dump.db"
        _spool(path, copy)
        store = SqliteStore(StoreURL("sqlite", copy), mode="rw", role="source")
        return LegacySource(store, "dump", directory)
    except OSError as error:
        directory.close()
        raise no_room(error) from error
    except BaseException:
        directory.close()
        raise


def _spool(path: Path, copy: Path) -> None:
    """Lay the dump's sessions into a private SQLite file, so that each can be found without reading them all."""
    try:
        database = sqlite3.connect(copy, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("BEGIN")
            database.execute("CREATE TABLE sessions (session_id TEXT, entry TEXT)")
            database.execute("CREATE UNIQUE INDEX by_id ON sessions (session_id)")
            database.execute("CREATE TABLE strays (session_id TEXT, entry TEXT, code TEXT)")
            for key, entry in dump_entries(path):
                _lay(database, key, entry)
            database.execute("COMMIT")
        finally:
            database.close()
    except sqlite3.Error as error:
        raise StoreFormatError(
            f"the dump {path} cannot be laid out: {error}", store=str(path), role="source"
        ) from error


def _lay(database: sqlite3.Connection, key: str, entry: str) -> None:
    if not _storable(key):
        # a key that no store can hold, as JSON text of it
        database.execute("INSERT INTO strays VALUES (?, ?, 'session_id_unusable')", (json.dumps(key), entry))
        return
    database.execute(
        "INSERT INTO strays SELECT session_id, entry, 'session_repeated' FROM sessions WHERE session_id = ?", (key,)
    )
    database.execute("DELETE FROM sessions WHERE session_id = ?", (key,))
    # not AUTOINCREMENT: a place may come again only where the last session was the one taken out
    database.execute("INSERT INTO sessions VALUES (?, ?)", (key, entry))


def _storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
