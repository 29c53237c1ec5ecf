"""What lies in stores, unit by unit, read by the standard library and by DuckDB alone."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
from tests.support.kills import State

V1_OWN = "sessions"
SYNTH_TABLES = ("session_traces", "session_timesteps", "events", "messages")
SYNTH_CATALOG = ("systems", "system_versions", "experiments", "experimental_systems")
# what differs from run to run: our own account, and the times at which a generation was recorded
_CLOCKED = re.compile(r"INSERT INTO \"(sessionlift_steps|skill_migrations)\" VALUES|.*'\(mark\)',0,'at'")
_COMPUTED = tuple(
    f'INSERT INTO "skill_{name}"'
    for name in ("metrics_cache", "metrics", "community_baselines", "dependencies", "categories", "modalities")
)
_SECOND = re.compile(r"'\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(\+00:00)?'")
_RUN = re.compile(r"[a-z]+(-[a-z]+)*-\w+Z-\w{8}")


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """For writing, as the next program opens it: what a killed one left in a log or journal is taken in or back."""
    with closing(sqlite3.connect(path)) as db:
        db.text_factory = bytes
        yield db


def names(db: sqlite3.Connection) -> list[str]:
    sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite^_%' ESCAPE '^' ORDER BY name"
    return [name.decode() for (name,) in db.execute(sql)]


def target(path: Path) -> State:
    """By session its rows in the new store and its state in the ledger; the schema; the rows of no session."""
    found: State = {}
    if not path.exists():
        return found
    with opened(path) as db:
        schema = db.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
        if not schema:
            return found
        found["the schema"] = schema
        for table in names(db):
            if table.startswith("sessionlift_"):
                continue
            columns = [name.decode() for _, name, *_ in db.execute(f'PRAGMA table_info("{table}")')]
            place = columns.index("session_id") + 1 if "session_id" in columns else None
            for row in db.execute(f'SELECT rowid, * FROM "{table}" ORDER BY rowid'):
                unit = "the catalog" if place is None else f"session {row[place].decode()}"
                found.setdefault(unit, []).append((table, row))
        if "sessionlift_units" in names(db):
            for unit, key, state in db.execute("SELECT unit, session_id, state FROM sessionlift_units"):
                name = f"session {key.decode()}" if unit == b"session" else "the catalog"
                found.setdefault(name, []).append(("the ledger", state.decode()))
    return found


def v1(path: Path) -> State:
    """By session its row in a LangSwarm V1 store, bytes, types and place included."""
    with opened(path) as db:
        columns = [name.decode() for _, name, *_ in db.execute(f"PRAGMA table_info({V1_OWN})")]
        if not columns:
            return {}
        listed = ", ".join(f'typeof("{name}"), "{name}"' for name in columns)
        key = 2 * columns.index("session_id") + 1
        rows = db.execute(f"SELECT {listed} FROM {V1_OWN} ORDER BY rowid").fetchall()
    return {f"session {row[key].decode()}": [("V1", row)] for row in rows}


def v2(path: Path) -> State:
    """By session its rows in a Synth-AI v2 store; the rows of no session."""
    found: State = {}
    with duckdb.connect(str(path)) as db:
        if not db.execute("SELECT 1 FROM duckdb_tables()").fetchall():
            return found  # killed while it was made
        for table in (*SYNTH_TABLES, *SYNTH_CATALOG):
            order = "ALL" if table in SYNTH_CATALOG or table == "session_traces" else "id"
            rows = db.execute(f"SELECT columns(*)::VARCHAR FROM {table} ORDER BY {order}").fetchall()
            columns = [each[0] for each in db.description or ()]
            for row in rows:
                unit = f"session {row[columns.index('session_id')]}" if table in SYNTH_TABLES else "the catalog"
                found.setdefault(unit, []).append((table, row))
    return found


def both(old: State, new: State) -> State:
    """The same units in two stores."""
    return {unit: (tuple(old.get(unit, ())), tuple(new.get(unit, ()))) for unit in {**old, **new}}


def dump(path: Path) -> list[str]:
    """A whole store as statements, but for the times and names of runs; empty for one that is not there."""
    if not path.exists():
        return []
    if ".duckdb" in path.name:
        return _duckdb_dump(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        lines = [_unclocked(line) for line in db.iterdump() if not _CLOCKED.match(line)]
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "skill_migrations" in tables:
            records = db.execute("SELECT version FROM skill_migrations ORDER BY version").fetchall()
            lines += [f"recorded {version}" for (version,) in records]
    return sorted(line for line in lines if line not in ("BEGIN TRANSACTION;", "COMMIT;"))


def _unclocked(line: str) -> str:
    """Without ids of runs and without the times at which rows were computed."""
    line = _RUN.sub("RUN", line)
    return _SECOND.sub("NOW", line) if line.startswith(_COMPUTED) else line


def _duckdb_dump(path: Path) -> list[str]:
    lines = []
    with duckdb.connect(str(path)) as db:
        for kind, source, where in (
            ("table", "duckdb_tables()", "WHERE NOT internal"),
            ("view", "duckdb_views()", "WHERE NOT internal"),
            ("index", "duckdb_indexes()", ""),
        ):
            found = db.execute(f"SELECT {kind}_name, sql FROM {source} {where}").fetchall()
            lines += [f"{kind} {name}: {sql}" for name, sql in found]
            for name in (name for name, _ in found if kind == "table"):
                rows = db.execute(f'SELECT columns(*)::VARCHAR FROM "{name}"').fetchall()
                lines += [f"{name}: {row}" for row in rows]
        lines += [f"sequence {row}" for row in db.execute("SELECT sequence_name FROM duckdb_sequences()").fetchall()]
    return sorted(lines)


def whole(path: Path) -> State:
    """A store that is one unit."""
    return {"the store": lines} if (lines := dump(path)) else {}


def backups(folder: Path) -> list[Any]:
    """What every backup below a folder holds."""
    return [dump(copy) for copy in sorted(folder.glob("**/*.backup/store.*")) if copy.suffix in (".db", ".duckdb")]
