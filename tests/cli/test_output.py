"""What happens to a command's result when nobody can take it, and to a command that is stopped while it loads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sessionlift._demo import make_synth_v2
from sessionlift.errors import EXIT_INTERRUPTED, EXIT_OUTPUT, EXIT_PIPE

pytestmark = pytest.mark.slow

PROGRAM = [sys.executable, "-m", "sessionlift"]


@pytest.fixture
def store(tmp_path: Path) -> str:
    make_synth_v2(tmp_path / "old.duckdb", sessions=1, seed=3)
    return str(tmp_path / "old.duckdb")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_a_full_standard_output_is_said_in_a_line(store: str, extra: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PROGRAM, "detect", store, *extra], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == EXIT_OUTPUT
    assert "standard output could not be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_ends_the_command_without_a_word(store: str) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*PROGRAM, "detect", store], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (EXIT_PIPE, "")


@pytest.mark.parametrize("after", [0.05, 0.15, 0.3])
def test_a_command_that_is_stopped_while_it_loads_says_so(store: str, after: float) -> None:
    begun = subprocess.Popen([*PROGRAM, "plan", store], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(after)
    begun.send_signal(signal.SIGINT)
    _, said = begun.communicate(timeout=60)
    # before our first line runs, it is Python itself that ends
    ours = begun.returncode == EXIT_INTERRUPTED and "Interrupted" in said
    pythons = begun.returncode in (-signal.SIGINT, 0, EXIT_INTERRUPTED)
    assert ours or pythons
    assert "sessionlift/cli" not in said, "a traceback through our own modules"
