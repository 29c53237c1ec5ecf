"""The legacy store in its three dresses, as the verifier reads it: row by row, by their places."""

from __future__ import annotations

import ast
import hashlib
import json
import mmap
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sessionlift.errors import StoreCorruptError, StoreError, StoreFormatError, UsageError
from sessionlift.runs.verifier._readers import id_list
from sessionlift.runs.verifier._units import UnitTable
from sessionlift.runs.verifier.langswarm._copy import copy_of
from sessionlift.runs.verifier.langswarm._dumps import NotAnObjectError, members
from sessionlift.stores import StoreURL, file_uri, quote_identifier

Dress = Literal["sqlite", "dump", "enhanced"]
COLUMNS: dict[Dress, tuple[str, tuple[str, ...]]] = {
    "sqlite": (
        "sessions",
        (
            "session_id", "user_id", "provider", "model", "status", "session_control", "created_at", "updated_at",
            "last_activity", "metadata", "history",
        ),
    ),
    "dump": ("sessions", ("session_id", "entry")),
    "enhanced": ("memory", ("key", "value", "metadata")),
}  # fmt: skip
"""The table's name and its cells, as the digest has them."""
PREFIX = "session:"
MAGIC = b"SQLite format 3\0"


class BadText(bytes):
    """A text that is no UTF-8."""


Cell = str | bytes | int | float | None


class UnreadableEntryError(ValueError):
    """A session's entry that has no metadata and history to be read."""


@dataclass(frozen=True)
class LegacyRow:
    """One row as it lies in the store. ``key`` is the session's id, None where the row is of no session."""

    key: str | None
    dress: Dress
    cells: tuple[Cell, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return COLUMNS[self.dress][1]

    def cell(self, name: str) -> Cell:
        return self.cells[self.columns.index(name)]

    def texts(self) -> tuple[Cell, Cell]:
        """The cells metadata and history, or the parts of the entry that are they; None where there is none.

        Raises UnreadableEntryError.
        """
        if self.dress == "sqlite":
            return self.cell("metadata"), self.cell("history")
        entry = self.cell("entry") if self.dress == "dump" else _session_data(self.cell("metadata"))
        if not isinstance(entry, str):
            raise UnreadableEntryError("it is no text")
        data = entry.encode("utf-8", "surrogatepass")
        found: dict[str, str] = {}
        try:
            if not isinstance(json.loads(entry), dict):
                raise UnreadableEntryError("it is no JSON object")
            for name, start, end in members(data):
                found[name] = data[start:end].decode("utf-8", "surrogatepass")
        except (ValueError, RecursionError) as error:
            raise UnreadableEntryError(str(error)) from error
        return found.get("metadata"), found.get("history")

    def plain(self) -> dict[str, Any]:
        """The row as the quarantine holds it."""
        return {name: plain_cell(cell) for name, cell in zip(self.columns, self.cells, strict=True)}

    def digest(self) -> str:
        """The source digest of the session."""
        return digest_of(COLUMNS[self.dress][0], [self.cells])


def _session_data(cell: Cell) -> Any:
    """What an enhanced row keeps of its session: its metadata is the repr of a dict."""
    if not isinstance(cell, str):
        raise UnreadableEntryError("its metadata is no text")
    try:
        value = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise UnreadableEntryError(f"its metadata is no literal: {error}") from error
    if not isinstance(value, dict) or "session_data" not in value:
        raise UnreadableEntryError("its metadata has no session_data")
    return value["session_data"]


def plain_cell(cell: Cell) -> Any:
    """A cell for JSON: bytes as what they are, everything else as it is."""
    if isinstance(cell, BadText):
        return {"text": cell.hex()}
    return {"blob": cell.hex()} if isinstance(cell, bytes) else cell


def digest_of(table: str, rows: Iterable[Sequence[Cell]]) -> str:
    digest = hashlib.sha256(f"{table}\n".encode())
    for row in rows:
        digest.update(b"".join([_field(cell) + b"\x1f" for cell in row]) + b"\x1e")
    return digest.hexdigest()


def _field(cell: Cell) -> bytes:
    if cell is None:
        return b"~"
    if isinstance(cell, str):
        data = cell.encode("utf-8", "surrogatepass")
        return b"%d:%b" % (len(data), data)
    if isinstance(cell, bytes):
        return b"x%d:%b" % (len(cell), cell)
    return str(cell).encode()


class SqliteUnits(UnitTable):
    """The units in temporary tables of an engine that is not the source's."""

    def listed(self, ids: Sequence[str]) -> tuple[str, list[Any]]:
        sql, params = id_list(ids)
        return sql, list(params)

    def insert(self, table: str, rows: Sequence[tuple[str, ...]]) -> None:
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            insert_many(self._engine, f"INSERT INTO {quote_identifier(table)} VALUES ({marks})", rows)


def insert_many(engine: Any, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
    engine.executemany(sql, rows)


class LegacyStore:
    """An opened legacy store: a private copy of a SQLite file, or a dump. A context manager.

    ``engine`` has ``v_index`` (n, session_id, place, upto, size), its sessions in their order, and ``v_others`` (n,
    place, upto, session_id), the rows of no session.
    """

    def __init__(self, url: StoreURL) -> None:
        if url.path is None:
            raise UsageError(f"{url.redacted} names no file", hint="LangSwarm's V1 store is a file")
        self._name = url.redacted
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sessionlift-verifier-")))
            self.engine = sqlite3.connect(folder / "index.db", isolation_level=None)
            stack.callback(self.engine.close)
            self.engine.execute("PRAGMA journal_mode = OFF")
            self.engine.execute("PRAGMA synchronous = OFF")
            self.engine.execute(
                "CREATE TABLE v_index (n INTEGER PRIMARY KEY, session_id TEXT UNIQUE, place INT, upto INT, size INT)"
            )
            self.engine.execute(
                "CREATE TABLE v_others (n INTEGER PRIMARY KEY, place INT, upto INT, session_id TEXT, excluded INT)"
            )
            try:
                self._open(url.path, folder, stack)
            except OSError as error:
                raise StoreError(f"{self._name} cannot be read: {error}", store=self._name, role="source") from error
            self._stack = stack.pop_all()

    def _open(self, path: Path, folder: Path, stack: ExitStack) -> None:
        with path.open("rb") as file:
            is_sqlite = file.read(len(MAGIC)) == MAGIC
        self._db: sqlite3.Connection | None = None
        self.engine.execute("BEGIN")
        if is_sqlite:
            copy = copy_of(path, folder)
            self._db = stack.enter_context(closing(sqlite3.connect(f"{file_uri(copy)}?mode=ro", uri=True)))
            self._db.text_factory = _text
            self._index_table()
        else:
            self.dress: Dress = "dump"
            file = stack.enter_context(path.open("rb"))
            self._data = stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            self._index_dump()
        self.engine.execute("COMMIT")

    # --- what there is ----------------------------------------------------------------------------------------

    def _index_table(self) -> None:
        assert self._db is not None  # noqa: S101 - opened just before
        names = {row[0] for row in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        self.dress = "sqlite" if "sessions" in names else "enhanced"
        table, columns = COLUMNS[self.dress]
        sizes = " + ".join(f"coalesce(length({quote_identifier(name)}), 0)" for name in columns)
        found = self._db.execute(
            f"SELECT rowid, {quote_identifier(columns[0])}, {sizes} FROM {quote_identifier(table)} ORDER BY rowid"
        )
        while rows := found.fetchmany(1_000):
            for place, key, size in rows:
                self._place(key, place, None, size)

    def _place(self, key: Any, place: int, upto: int | None, size: int) -> None:
        """Note a row among the sessions, or among the others."""
        if self.dress == "enhanced":
            raw = key if isinstance(key, BadText) else key.encode() if isinstance(key, str) else b""
            if not raw.startswith(PREFIX.encode()):
                self.engine.execute("INSERT INTO v_others VALUES (NULL, ?, ?, NULL, 1)", (place, upto))
                return
            key = key.removeprefix(PREFIX) if isinstance(key, str) else None
        if not isinstance(key, str) or not _is_storable(key):
            name = json.dumps(key) if isinstance(key, str) else None
            self.engine.execute("INSERT INTO v_others VALUES (NULL, ?, ?, ?, 0)", (place, upto, name))
            return
        # of a name that comes twice the last one is the session
        self.engine.execute(
            "INSERT INTO v_others SELECT NULL, place, upto, session_id, 0 FROM v_index WHERE session_id = ?", (key,)
        )
        self.engine.execute("DELETE FROM v_index WHERE session_id = ?", (key,))
        self.engine.execute("INSERT INTO v_index VALUES (NULL, ?, ?, ?, ?)", (key, place, upto, size))

    def _index_dump(self) -> None:
        try:
            for name, start, end in members(self._data):
                self._place(name, start, end, end - start)
        except NotAnObjectError as error:
            raise StoreCorruptError(
                f"the dump {self._name} cannot be read: {error}", store=self._name, role="source"
            ) from error
        except ValueError as error:
            raise StoreFormatError(f"{self._name} is no dump: {error}", store=self._name, role="source") from error

    # --- rows -------------------------------------------------------------------------------------------------

    def batches(self, ids: Sequence[str], most: int) -> Iterator[list[str]]:
        """``ids`` in their order, as many at a time as have about ``most`` characters; unknown ones come last."""
        some: list[str] = []
        size = 0
        places = {key: self._found(key) for key in ids}
        for key in sorted(places, key=lambda key: (places[key] is None, places[key])):
            place = places[key]
            own = 0 if place is None else place[3]
            if some and size + own > most:
                yield some
                some, size = [], 0
            some.append(key)
            size += own
        if some:
            yield some

    def rows(self, ids: Sequence[str]) -> dict[str, LegacyRow]:
        """The rows of sessions; an id that the store does not have is left out."""
        places = {key: self._found(key) for key in ids}
        return {key: self._row(key, place[1], place[2]) for key, place in places.items() if place is not None}

    def _found(self, key: str) -> tuple[int, int, int | None, int] | None:
        """Number, place, end and size of a session."""
        found: tuple[int, int, int | None, int] | None = self.engine.execute(
            "SELECT n, place, upto, size FROM v_index WHERE session_id = ?", (key,)
        ).fetchone()
        return found

    def others(self) -> Iterator[tuple[LegacyRow, bool]]:
        """The rows of no session, and whether they are left out on purpose."""
        found = self.engine.execute("SELECT place, upto, session_id, excluded FROM v_others ORDER BY n").fetchall()
        for place, upto, name, excluded in found:
            yield self._row(None, place, upto, name), bool(excluded)

    def number(self, sql: str) -> int:
        return int(self.engine.execute(sql).fetchone()[0])

    def _row(self, key: str | None, place: int, upto: int | None, name: str | None = None) -> LegacyRow:
        if self._db is None:
            return LegacyRow(key, "dump", (name if key is None else key, _text(self._data[place:upto])))
        table, columns = COLUMNS[self.dress]
        listed = ", ".join(map(quote_identifier, columns))
        try:
            cells = self._db.execute(
                f"SELECT {listed} FROM {quote_identifier(table)} WHERE rowid = ?", (place,)
            ).fetchone()
        except sqlite3.DatabaseError as error:
            raise StoreCorruptError(
                f"{self._name} could not be read: {error}", store=self._name, role="source"
            ) from error
        return LegacyRow(key, self.dress, tuple(cells))

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> LegacyStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _text(data: bytes) -> str | BadText:
    try:
        return bytes(data).decode()
    except UnicodeDecodeError:
        return BadText(data)


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
