"""Every store that a real legacy program has written: moved, taken away, taken back into a new file, moved again.

Which row was which is worked out here from the files themselves, by plain DuckDB and SQLite: nothing of the product.
"""

from __future__ import annotations

import ast
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.moved import query
from tests.support.servers import REPOSITORY
from tests.support.taken_back import ledger, take_back
from tests.support.warm import Warm

pytestmark = [pytest.mark.fixtures, pytest.mark.slow]

Table = tuple[list[str], list[tuple[Any, ...]]]
"""The columns with their declared types, and the rows in their order."""

TRACES = (
    "session_traces",
    "session_timesteps",
    "events",
    "messages",
    "systems",
    "system_versions",
    "experiments",
    "experimental_systems",
)
ZONE = ("--timezone", "America/New_York")


def names(system: str, *patterns: str) -> list[str]:
    folder = REPOSITORY.parent / "shared" / "fixtures" / system
    found = {path.name for pattern in patterns for path in folder.glob(pattern) if "truth" not in path.name}
    return sorted(found) or ["(none is here)"]


SYNTH = names("synth", "*.duckdb")
SWARM = names("langswarm", "v1_*.db")
OTHER_DRESSES = names("langswarm", "v1_*.json", "v1_*.enhanced")


def taken(stores: Path, system: str, name: str, folder: Path) -> Path:
    """A copy of a store, with its write-ahead log where it has one."""
    if not (stores / system / name).exists():
        pytest.skip(f"{name} is not among the stores")
    for end in ("", ".wal"):
        if (stores / system / f"{name}{end}").exists():
            shutil.copyfile(stores / system / f"{name}{end}", folder / f"{name}{end}")
    return folder / name


def duckdb_tables(path: Path) -> dict[str, Table]:
    """Every row with every value in DuckDB's own text beside the type of its column."""
    with duckdb.connect(str(path), read_only=True) as db:
        found = {}
        for table in TRACES:
            described = db.execute(f"DESCRIBE {table}").fetchall()
            order = "id" if table in ("session_timesteps", "events", "messages") else "rowid"
            rows = db.execute(f"SELECT columns(*)::VARCHAR FROM {table} ORDER BY {order}").fetchall()
            found[table] = ([f"{name} {kind}" for name, kind, *_ in described], rows)
    return found


def next_ids(path: Path, folder: Path) -> list[int]:
    """The ids that the old program would draw next, drawn from a copy."""
    folder.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    with duckdb.connect(str(folder / path.name)) as db:
        names = ("timestep_id_seq", "event_id_seq", "message_id_seq")
        return [db.execute(f"SELECT nextval('{name}')").fetchall()[0][0] for name in names]


def sqlite_rows(path: Path) -> Iterator[tuple[Any, ...]]:
    """V1's rows in their order: every value as bytes beside its storage class."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        db.text_factory = bytes
        columns = [row[1].decode() for row in db.execute("PRAGMA table_info(sessions)")]
        listed = ", ".join(f'typeof("{name}"), "{name}"' for name in columns)
        yield from db.execute(f"SELECT {listed} FROM sessions ORDER BY rowid")


def without_own(path: Path, tables: tuple[str, ...]) -> dict[str, list[str]]:
    """The new store's rows but for the ids that it gives by itself; messages of LangSwarm in their order."""
    own = {"outcome_rewards": "id", "experimental_systems": "id", "session_messages": "id"}
    found = {}
    for table in tables:
        columns = [row[1] for row in query(path, f"PRAGMA table_info({table})")]
        listed = ", ".join(f'"{name}"' for name in columns if own.get(table) != name)
        order = "ORDER BY session_id, timestamp, id" if table == "session_messages" else "ORDER BY 1, 2"
        found[table] = [repr(row) for row in query(path, f"SELECT {listed} FROM {table} {order}")]
    return found


V3 = ("experiments", "systems", "system_versions", "experimental_systems", "session_traces", "session_timesteps",
      "events", "messages", "outcome_rewards", "event_rewards")  # fmt: skip
V2 = ("sessions", "session_messages", "session_metrics")


def there_and_back(
    sessionlift: Warm, source: Path, new: Path, tables: tuple[str, ...], *options: str
) -> tuple[dict[str, list[str]], Path]:
    """Move the store, take it away, take everything back into ``new``, and move that once more, into the same target;
    what the target held the first time, and the target."""
    target = source.with_name("target.db")
    done = sessionlift("migrate", source, target, "--quiet", "--no-verify", *options)
    assert done.code in (0, 1), done.err
    held = without_own(target, tables)
    for path in source.parent.glob(f"{source.name}*"):
        path.unlink()
    answer = take_back(sessionlift, target, "--all", "--to", new)
    assert answer.counts[2] == 0, answer.report["errors"]
    assert answer.report["verification"]["status"] == "passed"
    left = ("session_traces", "session_timesteps", "events", "messages") if tables is V3 else V2
    assert {table: without_own(target, (table,))[table] for table in left} == {table: [] for table in left}
    return held, target


def put_back(sessionlift: Warm, new: Path, target: Path, held: dict[str, list[str]], *options: str) -> None:
    done = sessionlift("migrate", new, target, "--quiet", "--no-verify", *options)
    assert done.code in (0, 1), done.err
    again = without_own(target, tuple(held))
    for table, rows in held.items():
        assert again[table] == rows, table
    assert sessionlift("verify", new, target).code in (0, 1)


@pytest.mark.parametrize("name", SYNTH)
def test_a_trace_store_comes_back_row_for_row(sessionlift: Warm, real_stores: Path, tmp_path: Path, name: str) -> None:
    source = taken(real_stores, "synth", name, tmp_path)
    if name == "w_2.0.0.duckdb" and int(duckdb.__version__.split(".")[0]) < 2:
        pytest.skip("the installed DuckDB does not read what DuckDB 2 wrote")
    before, new = duckdb_tables(source), tmp_path / "new.duckdb"
    drawn = next_ids(source, tmp_path / "away")
    held, target = there_and_back(sessionlift, source, new, V3, *ZONE)
    after = duckdb_tables(new)
    for table in TRACES:
        assert after[table][0] == before[table][0], table
        assert after[table][1] == before[table][1], table
    for given, old in zip(next_ids(new, tmp_path / "again"), drawn, strict=True):
        assert old <= given <= old + 1, "the sequences stand elsewhere"
    put_back(sessionlift, new, target, held, *ZONE)


@pytest.mark.parametrize("name", SWARM)
def test_a_session_store_comes_back_row_for_row(
    sessionlift: Warm, real_stores: Path, tmp_path: Path, name: str
) -> None:
    source = taken(real_stores, "langswarm", name, tmp_path)
    before, new = list(sqlite_rows(source)), tmp_path / "new.db"
    held, target = there_and_back(sessionlift, source, new, V2, *ZONE)
    after = list(sqlite_rows(new))
    put_back(sessionlift, new, target, held, *ZONE)
    # what waits in quarantine again did so the first time
    aside = {key.encode() for key, state in ledger(target).items() if state == "quarantined"}
    well, unwell = ([row for row in before if (row[1] in aside) is kind] for kind in (False, True))
    assert after == [*well, *sorted(unwell, key=lambda row: after.index(row) if row in after else -1)]


@pytest.mark.parametrize("name", OTHER_DRESSES)
def test_a_store_in_another_dress_comes_back_as_v1_would_have_written_it(
    sessionlift: Warm, real_stores: Path, tmp_path: Path, name: str
) -> None:
    source = taken(real_stores, "langswarm", name, tmp_path)
    if name.endswith(".json"):
        before = json.loads(source.read_text())
    else:
        before = {}
        for key, metadata in query(source, "SELECT key, metadata FROM memory WHERE key LIKE 'session:%'"):
            data = ast.literal_eval(metadata)["session_data"]
            before[key.removeprefix("session:")] = json.loads(data) if isinstance(data, str) else data
    new = tmp_path / "new.db"
    held, target = there_and_back(sessionlift, source, new, V2, *ZONE)
    rows = query(new, "SELECT session_id, metadata, history, user_id, provider, model, status FROM sessions")
    assert {row[0] for row in rows} == before.keys()
    for key, metadata, history, *columns in rows:
        # through text: the order of the keys counts, too
        assert metadata == json.dumps(before[key]["metadata"]), key
        assert history == json.dumps(before[key]["history"]), key
        assert columns == [before[key]["metadata"][field] for field in ("user_id", "provider", "model", "status")], key
    put_back(sessionlift, new, target, held, *ZONE)
