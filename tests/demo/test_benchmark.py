"""The benchmark's naive contestants: they must do the work that they are measured for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks._first_use import measured
from benchmarks.contestants._mapping import COLUMNS

from sessionlift._demo import make_synth_v2
from sessionlift.generations import schema_upgrade

ROOT = Path(__file__).resolve().parents[2]

COUNT = """
import sqlite3, sys
target = sqlite3.connect(sys.argv[1])
for table in sys.argv[2:]:
    print(target.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
"""


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["libsql", "sqlite3"])
def test_the_naive_loop_moves_every_row_into_the_real_schema(tmp_path: Path, driver: str) -> None:
    made = make_synth_v2(tmp_path / "v2.duckdb", sessions=30)
    target = tmp_path / "v3.db"
    schema_upgrade(str(target), "synth_v3")

    module = [sys.executable, "-m", "benchmarks.contestants.naive"]
    subprocess.run([*module, driver, str(made.path), str(target)], cwd=ROOT, check=True)

    # counted in a process of its own: no second SQLite library may open a file inside this one
    count = [sys.executable, "-c", COUNT, str(target), *made.rows]
    done = subprocess.run(count, check=True, capture_output=True, text=True)
    assert [int(line) for line in done.stdout.split()] == list(made.rows.values())


def test_no_table_of_the_store_is_left_out_of_the_naive_work() -> None:
    assert set(COLUMNS) == {
        "experiments",
        "systems",
        "system_versions",
        "experimental_systems",
        "session_traces",
        "session_timesteps",
        "events",
        "messages",
    }


@pytest.mark.slow
def test_the_bare_way_that_a_first_use_is_compared_with_moves_the_session(tmp_path: Path) -> None:
    made = make_synth_v2(tmp_path / "v2.duckdb", sessions=4)
    (tmp_path / "work").mkdir()

    took = measured(made.path, tmp_path / "work", 2)

    assert set(took) == {"bare", "first use", "stays", "shadow", "later use"}
    assert all(took.values())
    count = [sys.executable, "-c", COUNT, str(tmp_path / "work" / "bare.db"), "session_traces"]
    done = subprocess.run(count, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["3"]  # those of two uses, and the first, which is not timed
