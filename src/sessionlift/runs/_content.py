"""A digest of what a database file holds, whatever its bytes: its schema and every row in its order."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sessionlift.errors import StoreCorruptError, StoreError
from sessionlift.stores import DuckdbStore, StoreURL, quote_identifier

ALGORITHM = "sha256; docs/backup.md says what exactly is hashed"
_ROWS = 2_000
_TEXT = 1_000_000
"""Characters that are hashed together: many small rows, and few large ones."""

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
        self._add([f"{tuple(row)!r}\n"])

    def _add(self, lines: Sequence[str]) -> None:
        self._digest.update("".join(lines).encode("utf-8", "surrogateescape"))

    def table(self, name: str, rows: Iterable[tuple[Any, ...]]) -> None:
        self.row(("table", name))
        count = size = 0
        lines: list[str] = []
        for row in rows:
            line = f"{row!r}\n"
            lines.append(line)
            count += 1
            size += len(line)
            if size > _TEXT:
                self._add(lines)
                size = 0
                lines.clear()
        self._add(lines)
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
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as db:
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
                hasher.table(name, _sqlite_rows(db, name))
    return hasher.content()


def _sqlite_rows(db: sqlite3.Connection, table: str) -> Iterable[tuple[Any, ...]]:
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
            result = db.execute(f"SELECT columns(*)::VARCHAR FROM {name} ORDER BY rowid")

            def rows(found: Any = result) -> Iterable[tuple[Any, ...]]:
                while part := found.fetchmany(_ROWS):
                    yield from part

            hasher.table(table if schema == "main" else f"{schema}.{table}", rows())
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
