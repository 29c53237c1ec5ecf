"""A digest of what a database file holds, whatever its bytes: its schema and every row in its order."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sessionlift.errors import StoreCorruptError, StoreError
from sessionlift.stores import DuckdbStore, StoreURL, file_uri, quote_identifier

ALGORITHM = "sha256; docs/backup.md says what exactly is hashed"
_TOGETHER = 64
_SMALL = 4_000
"""So many rows are hashed together, if they have fewer than so many characters each; larger ones go one by one."""

_HINT = "see whether the disk works, then run the same command again; a damaged store comes from a backup"


@dataclass
class Content:
    """``rows`` counts them by table."""

    digest: str = ""
    rows: dict[str, int] = field(default_factory=dict)


class _Hasher:
    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.rows: dict[str, int] = {}

    def row(self, row: Sequence[Any]) -> None:
        # None, integers, doubles in their shortest form, texts and bytes: each has one spelling
        self._add([tuple(row)])

    def _add(self, rows: Sequence[tuple[Any, ...]]) -> int:
        text = "\n".join(map(repr, rows)) + "\n"
        self._digest.update(text.encode("utf-8", "surrogateescape"))
        return len(text)

    def table(self, name: str, fetch: Callable[[int], Sequence[tuple[Any, ...]]]) -> None:
        """Add the rows of a table; ``fetch`` gives at most so many of the next ones."""
        self.row(("table", name))
        count, together = 0, 1
        while rows := fetch(together):
            size = self._add(rows)
            count += len(rows)
            together = min(2 * together, _TOGETHER) if size < _SMALL * len(rows) else 1
        self.rows[name] = count

    def content(self) -> Content:
        return Content(self._digest.hexdigest(), self.rows)


def content_of(url: StoreURL) -> Content:
    """The content of a database file that nobody else uses; nothing is written, also beside it."""
    assert url.path is not None  # noqa: S101 - servers are refused before
    return _duckdb(url) if url.engine == "duckdb" else _sqlite(url.path, url)


def _sqlite(path: Path, url: StoreURL) -> Content:
    try:
        return _sqlite_read(path, url, str)
    except sqlite3.OperationalError as error:
        if "decode to UTF-8" not in str(error):
            raise _unreadable(path, url, error) from error
    except sqlite3.Error as error:
        raise _unreadable(path, url, error) from error
    try:
        # a call for each text takes most of the time, so only where it must be
        return _sqlite_read(path, url, lambda raw: raw.decode("utf-8", "surrogateescape"))
    except sqlite3.Error as error:
        raise _unreadable(path, url, error) from error


def _unreadable(path: Path, url: StoreURL, error: sqlite3.Error) -> StoreCorruptError:
    return StoreCorruptError(
        f"{path} cannot be read: {error}",
        hint=_HINT,
        store=url.redacted,
        role="source",
    )


def _sqlite_read(path: Path, url: StoreURL, text: Callable[[bytes], str]) -> Content:
    hasher = _Hasher()
    # a copy in WAL mode would get side files else
    with closing(sqlite3.connect(f"{file_uri(path)}?mode=ro&immutable=1", uri=True)) as db:
        db.text_factory = text
        (sound,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if sound != "ok":
            raise StoreCorruptError(f"{path} is damaged: {sound}", hint=_HINT, store=url.redacted, role="source")
        for name in ("application_id", "user_version", "encoding"):
            hasher.row((name, db.execute(f"PRAGMA {name}").fetchone()[0]))
        objects = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall()
        for each in objects:
            hasher.row(each)
        for kind, name, _, sql in objects:
            # the rows of a virtual table lie in tables of its own
            if kind == "table" and not str(sql).upper().startswith("CREATE VIRTUAL"):
                hasher.table(name, _sqlite_rows(db, name).fetchmany)
    return hasher.content()


def _sqlite_rows(db: sqlite3.Connection, table: str) -> sqlite3.Cursor:
    name = quote_identifier(table)
    try:
        return db.execute(f"SELECT rowid, * FROM {name} NOT INDEXED ORDER BY rowid")
    except sqlite3.OperationalError:
        # WITHOUT ROWID: they lie in the order of their key
        return db.execute(f"SELECT * FROM {name} NOT INDEXED")


def _duckdb(url: StoreURL) -> Content:
    hasher = _Hasher()
    with DuckdbStore(url, mode="ro") as store, store.mapped():
        db = store.connection
        for query in (
            "SELECT 'table', schema_name, table_name, sql FROM duckdb_tables() WHERE NOT internal ORDER BY ALL",
            "SELECT 'view', schema_name, view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY ALL",
            "SELECT 'index', schema_name, index_name, sql FROM duckdb_indexes() ORDER BY ALL",
            "SELECT 'sequence', schema_name, sequence_name, start_value::VARCHAR, last_value::VARCHAR "
            "FROM duckdb_sequences() ORDER BY ALL",
        ):
            for row in db.execute(query).fetchall():
                hasher.row(row)
        tables = db.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal AND NOT temporary ORDER BY ALL"
        ).fetchall()
        for schema, table in tables:
            name = f"{quote_identifier(schema)}.{quote_identifier(table)}"
            found = db.execute(f"SELECT columns(*)::VARCHAR FROM {name} ORDER BY rowid")
            hasher.table(table if schema == "main" else f"{schema}.{table}", found.fetchmany)
    return hasher.content()


def told(content: Content) -> dict[str, Any]:
    """As a manifest has it."""
    return {"algorithm": ALGORITHM, "digest": content.digest, "rows": content.rows}


def refuse_other_content(found: Content, expected: dict[str, Any], *, place: Path) -> None:
    """Raise StoreError where a copy does not hold what its manifest says."""
    if found.digest != expected["digest"]:
        raise StoreError(
            f"{place} does not hold what the backup's manifest says",
            hint="use another backup; nothing was replaced",
            expected=expected["digest"],
            found=found.digest,
        )
