"""What tests ask of stores and folders: everything in a target, and every byte of a source."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb

REAL_TABLES = (
    "experiments",
    "systems",
    "system_versions",
    "experimental_systems",
    "session_traces",
    "session_timesteps",
    "events",
    "messages",
    "outcome_rewards",
    "event_rewards",
)
LEDGER_TABLES = {
    "sessionlift_runs",
    "sessionlift_units",
    "sessionlift_complement",
    "sessionlift_quarantine",
    "sessionlift_losses",
    "sessionlift_facts",
}
# what two runs that did the same differ in
_OWN = {
    "sessionlift_units": {"run_id", "moved_at"},
    "sessionlift_complement": set(),
    "sessionlift_quarantine": {"id", "run_id"},
}

Rows = list[tuple[Any, ...]]


def query(path: Path, sql: str, *params: object) -> Rows:
    """Rows through the standard library, read-only; blobs for texts, so that nothing is lost in decoding."""
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as db:
        return db.execute(sql, params).fetchall()


def change(path: Path, sql: str, *params: object) -> None:
    """Do what another program would do to a target."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(sql, params)


def rows(path: Path) -> dict[str, Rows]:
    """All rows of the generation's own tables, with their row ids, in order."""
    return {table: query(path, f'SELECT rowid, * FROM "{table}" ORDER BY rowid') for table in REAL_TABLES}


def content(path: Path) -> dict[str, Any]:
    """The target's rows, and what its ledger says of them, without the names and times of runs.

    Losses and facts are counted by run: of several runs that share the work the sums must be those of one.
    """
    found: dict[str, Any] = dict(rows(path))
    for table, own in _OWN.items():
        columns = [name for _, name, *_ in query(path, f"PRAGMA table_info({table})") if name not in own]
        listed = ", ".join(f'"{column}"' for column in columns)
        found[table] = sorted(query(path, f"SELECT {listed} FROM {table}"), key=repr)
    for table, column in (("sessionlift_losses", "column_name"), ("sessionlift_facts", "''")):
        found[table] = query(
            path,
            f"SELECT unit, session_id, code, table_name, {column}, sum(count) FROM {table} GROUP BY 1, 2, 3, 4, 5",
        )
    return found


def tables(path: Path) -> set[str]:
    """The names of all tables but SQLite's own."""
    sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite^_%' ESCAPE '^'"
    return {name for (name,) in query(path, sql)}


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Where two contents differ, for a failure message; empty if they are equal."""
    found = []
    for table in one:
        left, right = Counter(map(repr, one[table])), Counter(map(repr, other[table]))
        if one[table] != other[table]:
            found.append(
                f"{table}: {len(one[table])} and {len(other[table])} rows; only in the first: "
                f"{list(left - right)[:2]}; only in the second: {list(right - left)[:2]}"
            )
    return "\n".join(found)


def snapshot(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Every file below a folder: size, time of change in nanoseconds, digest."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_size,
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def change_source(path: Path, *statements: str) -> None:
    """Do what the legacy program would do to its store, and close it as it would."""
    with duckdb.connect(str(path)) as db:
        for statement in statements:
            db.execute(statement)


def session_ids(path: Path) -> list[str]:
    """The sessions of a legacy store, in the order they were written."""
    with duckdb.connect(str(path), read_only=True) as db:
        return [key for (key,) in db.execute("SELECT session_id FROM session_traces ORDER BY rowid").fetchall()]


def add_session(path: Path, session_id: str, like: str) -> None:
    """Add a session to a legacy store: the rows of another one, under ids of their own."""
    children = {"session_timesteps": "timestep", "events": "event", "messages": "message"}
    with duckdb.connect(str(path)) as db:
        db.execute(
            "INSERT INTO session_traces SELECT * REPLACE (? AS session_id) FROM session_traces WHERE session_id = ?",
            [session_id, like],
        )
        for table, name in children.items():
            db.execute(
                f"INSERT INTO {table} SELECT * REPLACE (? AS session_id, nextval('{name}_id_seq') AS id) "
                f"FROM {table} WHERE session_id = ? ORDER BY id",
                [session_id, like],
            )
