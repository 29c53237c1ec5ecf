"""The program ``alembic`` works with the environment that this package ships."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.warm import Outcome, Warm

from sessionlift.generations import schema_config, schema_current, schema_verify

pytestmark = pytest.mark.slow


Alembic = Callable[..., Outcome]


def as_program(*arguments: str) -> Outcome:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "alembic.config", "-c", str(schema_config()), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def alembic(sessionlift: Warm) -> Alembic:
    """The same in a fork of a process that has it loaded."""
    return lambda *arguments: sessionlift("-c", schema_config(), *arguments, call="tests.support.uses:alembic")


def test_as_a_program_it_upgrades_and_downgrades(tmp_path: Path) -> None:
    store = ("-x", f"url={tmp_path / 't.db'}")
    done = as_program(*store, "upgrade", "synth_v3")
    assert done.code == 0, done.err
    assert "synth_v3" in as_program(*store, "current").out
    assert as_program(*store, "downgrade", "base").code == 0


def test_the_shipped_configuration_is_there() -> None:
    assert schema_config().is_file()
    assert (schema_config().parent / "env.py").is_file()
    assert (schema_config().parent / "script.py.mako").is_file()


@pytest.mark.parametrize(
    ("name", "revision"),
    [("t.db", "synth_v3"), ("t.duckdb", "synth_v2"), ("t.db", "langswarm_v1"), ("t.db", "langswarm_v2")],
)
def test_it_upgrades_shows_and_downgrades(alembic: Alembic, tmp_path: Path, name: str, revision: str) -> None:
    store = ("-x", f"url={tmp_path / name}")

    done = alembic(*store, "upgrade", revision)
    assert done.code == 0, done.err
    assert schema_verify(str(tmp_path / name)) == [revision]
    assert revision in alembic(*store, "current").out

    done = alembic(*store, "downgrade", "base")
    assert done.code == 0, done.err
    assert revision not in alembic(*store, "current").out


def test_it_takes_the_dress(alembic: Alembic, tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    assert alembic("-x", f"url={path}", "-x", "dress=mid", "upgrade", "synth_v2").code == 0
    assert schema_verify(str(path)) == ["synth_v2"]
    refused = alembic("-x", f"url={tmp_path / 'u.duckdb'}", "-x", "dress=red", "upgrade", "synth_v2")
    assert refused.code != 0
    assert "dress=red is not known" in refused.out + refused.err


def test_looking_makes_no_file(alembic: Alembic, tmp_path: Path) -> None:
    done = alembic("-x", f"url={tmp_path / 't.db'}", "current")
    assert done.code != 0
    assert list(tmp_path.iterdir()) == []


def test_it_says_what_is_missing_without_a_traceback(alembic: Alembic) -> None:
    done = alembic("upgrade", "synth_v3")
    said = done.out + done.err
    assert done.code != 0
    assert "-x url=" in said
    assert "Traceback" not in said


def test_history_needs_no_store(alembic: Alembic) -> None:
    said = alembic("history").out
    assert all(revision in said for revision in ("synth_v2", "synth_v3", "ledger_2"))


def test_sql_is_printed_as_one_transaction_and_makes_the_same_schema(alembic: Alembic, tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "t.db"
    done = alembic("-x", f"url={path}", "upgrade", "synth_v3", "--sql")
    assert done.code == 0, done.err
    assert done.out.startswith("BEGIN;")
    assert done.out.rstrip().endswith("COMMIT;")
    assert not path.exists()

    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(done.out)
    connection.close()
    assert schema_verify(str(path)) == ["synth_v3"]
    assert schema_current(str(path)) == ["synth_v3"]


def test_sql_of_a_downgrade_is_refused_for_it_looks_first(alembic: Alembic, tmp_path: Path) -> None:
    done = alembic("-x", f"url={tmp_path / 't.db'}", "downgrade", "synth_v3:base", "--sql")
    assert done.code != 0
    assert "no --sql form" in done.out + done.err
