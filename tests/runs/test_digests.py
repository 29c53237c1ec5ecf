"""The digests as docs/digests.md defines them, computed here from the page alone, are those in the ledger."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.support.made import make_synth_v2

from sessionlift.runs import TransferOptions, migrate

PAGE = Path(__file__).resolve().parents[2] / "docs" / "digests.md"
SOURCE, SOURCE_CATALOG, TARGET, TARGET_CATALOG = range(4)
NUMBERS = ("reward = 'inf', latency_ms = '-inf'", "cost = '-inf', latency_ms = 9007199254740992")
DOUBLES = {"cost_usd", "latency_ms", "total_reward"}


def columns_on_the_page() -> list[dict[str, list[str]]]:
    """By section the tables and their columns; text columns of the source end in a star."""
    found = []
    for section in PAGE.read_text("utf-8").split("\n## ")[1:]:
        rows = re.findall(r"^\| `(\w+)` \| (`.*`(?:\\\*)?) \|$", section, re.MULTILINE)
        found.append({table: re.sub(r"[`\\]", "", names).split() for table, names in rows})
    return found


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("digests")
    source, target = folder / "legacy.duckdb", folder / "v3.db"
    make_synth_v2(source, sessions=10, seed=2, dress="mixed", traps="all")
    with duckdb.connect(str(source)) as db:
        for place, change in enumerate(NUMBERS):
            db.execute(
                f"UPDATE events SET {change} WHERE id = (SELECT id FROM events WHERE event_type = 'environment' "
                f"AND session_id IN (SELECT session_id FROM session_traces) ORDER BY id LIMIT 1 OFFSET {place})"
            )
        db.execute(
            "UPDATE session_traces SET metadata = ? WHERE session_id = (SELECT min(session_id) FROM session_traces)",
            ['[{"metadata_type": "episode_results", "data": {"total_reward": 9007199254740993}}]'],
        )
    migrate(str(source), str(target), TransferOptions())
    with closing(sqlite3.connect(target)) as db3:
        (infinite,) = db3.execute("SELECT count(*) FROM events WHERE reward = 9e999 OR cost_usd = -9e999").fetchone()
        assert infinite == 2
        assert db3.execute("SELECT 1 FROM outcome_rewards WHERE total_reward = 9007199254740993").fetchall()
    return source, target


def ledger(target: Path, unit: str) -> Iterator[tuple[str, str, str]]:
    with closing(sqlite3.connect(f"file:{target}?mode=ro", uri=True)) as db:
        yield from db.execute(
            "SELECT session_id, source_digest, target_digest FROM sessionlift_units WHERE unit = ?", (unit,)
        ).fetchall()


def source_rows(db: duckdb.DuckDBPyConnection, table: str, names: list[str], rest: str, params: list[Any]) -> bytes:
    cells = ", ".join(f'"{name.rstrip("*")}"::VARCHAR' for name in names)
    text = b""
    for row in db.execute(f"SELECT {cells} FROM {table} {rest}", params).fetchall():
        for name, value in zip(names, row, strict=True):
            if value is None:
                field = b":" if name.endswith("*") else b""
            else:
                field = value.encode()
                field = b"%d:%b" % (len(field), field) if name.endswith("*") else field
            text += field + b"\x1f"
        text += b"\x1e"
    return text


def target_rows(rows: list[tuple[Any, ...]], names: list[str], first: list[str]) -> bytes:
    return b"".join(
        b"," + json.dumps(first + list(map(spelled, names, row)), separators=(",", ":"), ensure_ascii=False).encode()
        for row in rows
    )


def spelled(name: str, value: Any) -> Any:
    if isinstance(value, float) and abs(value) == float("inf"):
        return {"double": str(value)}
    return float(value) if name in DOUBLES and isinstance(value, int) and float(value) == value else value


@pytest.mark.slow
def test_sessions(stores: tuple[Path, Path]) -> None:
    source, target = stores
    page = columns_on_the_page()
    with duckdb.connect(str(source), read_only=True) as db, closing(sqlite3.connect(target)) as db3:
        for session, source_digest, target_digest in ledger(target, "session"):
            whole = hashlib.sha256()
            for table, names in page[SOURCE].items():
                order = "session_id" if table == "session_traces" else "id"
                whole.update(table.encode() + b"\n")
                whole.update(source_rows(db, table, names, f"WHERE session_id = ? ORDER BY {order}", [session]))
            assert whole.hexdigest() == source_digest, session
            whole = hashlib.sha256()
            for table, names in page[TARGET].items():
                whole.update(table.encode() + b"\n")
                order = "session_id" if table == "session_traces" else "id"
                sql = f"SELECT {', '.join(names)} FROM {table} WHERE session_id = ? ORDER BY {order}"
                whole.update(target_rows(db3.execute(sql, (session,)).fetchall(), names, []))
            assert whole.hexdigest() == target_digest, session


def test_the_catalog(stores: tuple[Path, Path]) -> None:
    source, target = stores
    page = columns_on_the_page()
    ((_, source_digest, target_digest),) = ledger(target, "catalog")
    with duckdb.connect(str(source), read_only=True) as db, closing(sqlite3.connect(target)) as db3:
        whole = hashlib.sha256()
        for table, names in page[SOURCE_CATALOG].items():
            order = "experiment_id, system_id" if table == "experimental_systems" else "id"
            whole.update(table.encode() + b"\n" + source_rows(db, table, names, f"ORDER BY {order}", []))
        for table in ("session_timesteps", "events", "messages"):
            lost = "WHERE session_id NOT IN (SELECT session_id FROM session_traces) ORDER BY id"
            whole.update(table.encode() + b"\n" + source_rows(db, table, page[SOURCE][table], lost, []))
        assert whole.hexdigest() == source_digest
        whole = hashlib.sha256()
        for table, names in page[TARGET_CATALOG].items():
            rows = db3.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY rowid").fetchall()
            whole.update(table.encode() + b"\n" + target_rows(rows, names, [""]))
        assert whole.hexdigest() == target_digest
