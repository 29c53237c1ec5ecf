"""The program ``alembic`` works with the environment that this package ships."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sessionlift.generations import schema_config, schema_current, schema_verify

pytestmark = pytest.mark.slow


def alembic(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "alembic.config", "-c", str(schema_config()), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **(env or {})},
    )


def test_the_shipped_configuration_is_there() -> None:
    assert schema_config().is_file()
    assert (schema_config().parent / "env.py").is_file()
    assert (schema_config().parent / "script.py.mako").is_file()


@pytest.mark.parametrize(
    ("name", "revision"),
    [("t.db", "synth_v3"), ("t.duckdb", "synth_v2"), ("t.db", "langswarm_v1"), ("t.db", "langswarm_v2")],
)
def test_it_upgrades_shows_and_downgrades(tmp_path: Path, name: str, revision: str) -> None:
    store = ("-x", f"url={tmp_path / name}")

    done = alembic(*store, "upgrade", revision)
    assert done.returncode == 0, done.stderr
    assert schema_verify(str(tmp_path / name)) == [revision]
    assert revision in alembic(*store, "current").stdout

    done = alembic(*store, "downgrade", "base")
    assert done.returncode == 0, done.stderr
    assert revision not in alembic(*store, "current").stdout


def test_it_takes_the_dress(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    assert alembic("-x", f"url={path}", "-x", "dress=mid", "upgrade", "synth_v2").returncode == 0
    assert schema_verify(str(path)) == ["synth_v2"]
    refused = alembic("-x", f"url={tmp_path / 'u.duckdb'}", "-x", "dress=red", "upgrade", "synth_v2")
    assert refused.returncode != 0
    assert "dress=red is not known" in refused.stdout + refused.stderr


def test_looking_makes_no_file(tmp_path: Path) -> None:
    done = alembic("-x", f"url={tmp_path / 't.db'}", "current")
    assert done.returncode != 0
    assert list(tmp_path.iterdir()) == []


def test_it_says_what_is_missing_without_a_traceback() -> None:
    done = alembic("upgrade", "synth_v3")
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "-x url=" in said
    assert "Traceback" not in said


def test_history_needs_no_store() -> None:
    said = alembic("history").stdout
    assert all(revision in said for revision in ("synth_v2", "synth_v3", "ledger_1"))


def test_sql_is_printed_as_one_transaction_and_makes_the_same_schema(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "t.db"
    done = alembic("-x", f"url={path}", "upgrade", "synth_v3", "--sql")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("BEGIN;")
    assert done.stdout.rstrip().endswith("COMMIT;")
    assert not path.exists()

    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(done.stdout)
    connection.close()
    assert schema_verify(str(path)) == ["synth_v3"]
    assert schema_current(str(path)) == ["synth_v3"]


def test_sql_of_a_downgrade_is_refused_for_it_looks_first(tmp_path: Path) -> None:
    done = alembic("-x", f"url={tmp_path / 't.db'}", "downgrade", "synth_v3:base", "--sql")
    assert done.returncode != 0
    assert "no --sql form" in done.stdout + done.stderr
