"""What happens to a command's result when nobody can take it, and to a command that is stopped while it loads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.made import make_synth_v2

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


_STOPPED = """
import sys
from sessionlift.__main__ import main

class CtrlC:
    def find_spec(self, name, path=None, target=None):
        if name == STOPS:
            raise KeyboardInterrupt

STOPS = sys.argv[1]
sys.argv = ["sessionlift", "verify", "old", "new"]
sys.meta_path.insert(0, CtrlC())
main()
"""


@pytest.mark.parametrize("module", ["sessionlift.cli", "sessionlift.cli._verify", "sessionlift.runs"])
def test_a_command_that_is_stopped_while_it_loads_says_so(module: str) -> None:
    done = subprocess.run([sys.executable, "-c", _STOPPED, module], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (EXIT_INTERRUPTED, "Interrupted.\n", "")
