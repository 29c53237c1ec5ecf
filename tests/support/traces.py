"""Synth stores for the tests of the trace bridge, and another process that holds one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.made import make_synth_v2
from tests.support.moved import session_ids

HOLD = """
import duckdb, sys
with duckdb.connect(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True)
class Traces:
    """A v2 store, the ids in it, and where v3's will be."""

    source: Path
    target: Path
    ids: list[str]

    @property
    def both(self) -> tuple[str, str]:
        return str(self.source), str(self.target)


def make_traces(
    folder: Path, *, sessions: int = 4, seed: int = 3, dress: Any = "final", traps: Any = "usual"
) -> Traces:
    source = folder / "v2.duckdb"
    make_synth_v2(source, sessions=sessions, seed=3, dress=dress, traps=traps)
    # known from the start: while a bridge has the store open, this process may not open it in another way
    return Traces(source, folder / "v3.db", session_ids(source))


@contextmanager
def held(store: Path) -> Iterator[None]:
    """Another process has the store open for writing."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.communicate("")
