"""How long a Session-Buddy store takes to be upgraded, filled in and taken back.

    python -m benchmarks.upgrade_session_buddy [--invocations 5000 50000] [--rounds 3]

Each step runs in a process of its own on a fresh copy; the figures are the best of the rounds. Wall-clock time depends
on what else the machine does, CPU time (of all processes of the step) much less. Nothing is judged by them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._machine import machine
from sessionlift._demo import make_session_buddy

_STEP = """
import json, resource, sys, time
from sessionlift.runs import InPlaceOptions, change_in_place
from sessionlift.runs.session_buddy import derive
what, store = sys.argv[1:]
began = time.monotonic()
if what in ("upgrade", "downgrade"):
    to = "session_buddy.v4" if what == "upgrade" else "session_buddy.v3"
    change_in_place(store, what, InPlaceOptions(to=to))
else:
    derive(store, what, {})
wall = time.monotonic() - began
both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps({"wall": wall, "cpu": sum(one.ru_utime + one.ru_stime for one in both),
                  "memory": max(one.ru_maxrss for one in both) / 1024}))
"""
STEPS = ("upgrade", "backfill", "taxonomy", "dependencies", "baselines", "downgrade", "upgrade")


def measure(step: str, store: Path) -> dict[str, float]:
    """Run one step on the store in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _STEP, step, str(store)], check=True, capture_output=True, text=True
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def rounds(made: Path, place: Path, count: int) -> list[list[dict[str, float]]]:
    """The figures of every step, round by round, each round on a fresh copy."""
    found = []
    for number in range(count):
        store = place / f"round{number}.db"
        shutil.copyfile(made, store)
        found.append([measure(step, store) for step in STEPS])
        store.unlink()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--invocations", type=int, nargs="+", default=[5_000, 50_000, 200_000])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(machine(Path(tempfile.gettempdir())))
    with tempfile.TemporaryDirectory() as directory:
        for invocations in arguments.invocations:
            place = Path(directory)
            made = place / f"made{invocations}.db"
            began = time.monotonic()
            make_session_buddy(made, sessions=max(1, invocations // 20), invocations=invocations)
            size = made.stat().st_size / 1e6
            print(f"\n{invocations:,} invocations, {size:,.0f} MB (made in {time.monotonic() - began:.1f} s)")
            figures: Any = rounds(made, place, arguments.rounds)
            for at, step in enumerate(STEPS):
                best = {name: min(one[at][name] for one in figures) for name in ("wall", "cpu", "memory")}
                again = " (again)" if step in STEPS[:at] else ""
                print(
                    f"  {step + again:18} {best['wall']:6.2f} s wall  {best['cpu']:6.2f} s CPU  "
                    f"{best['memory']:5.0f} MB at most"
                )


if __name__ == "__main__":
    main()
