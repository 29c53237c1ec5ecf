"""The way back beside the way forward: one store migrated and taken back, in one run.

    python -m benchmarks.rollback [--system synth|langswarm] [--sessions 20000] [--runs 3] [--json FILE]

Each step runs in fresh processes, verified, with its report; the steps of all runs are interleaved. The targets of the
rollbacks are copies of what the migration of the same run has made:

- unwritten: nobody has written to the sessions since, and the legacy store has them all;
- written: each session has one message more, which is carried into the legacy store;
- rebuilt: the legacy store is taken away, and every session is written into a new one;
- backed up: as unwritten, with the copies that a rollback takes unless told not to. The others take none, as the
  migration, whose target is new.

A rollback that leaves a session behind ends the benchmark. Only ratios within one run mean anything.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks._machine import machine
from benchmarks._measure import Measured, measure

ROOT = Path(__file__).resolve().parents[1]
SESSIONLIFT = [sys.executable, "-c", "from sessionlift.cli import main; main()"]
STEPS = ("migrate", "rollback, unwritten", "rollback, written", "rollback, rebuilt", "rollback, backed up")

# Done in processes of their own: no second SQLite library may look at a file from inside this one.
_MAKE = """
import pathlib, sys
from sessionlift._demo import make_langswarm_v1, make_synth_v2
make = {"synth": make_synth_v2, "langswarm": make_langswarm_v1}[sys.argv[1]]
make(pathlib.Path(sys.argv[2]), sessions=int(sys.argv[3]), seed=1, traps="none")
"""
_WRITE = {
    "synth": """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as db:
    db.execute("INSERT INTO messages (session_id, message_type, content, timestamp, event_time, metadata) "
               "SELECT session_id, 'user', 'said after the move', '2031-05-06T07:08:09.123456+00:00', 1900000000.5, "
               "'{}' FROM session_traces")
""",
    "langswarm": """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as db:
    db.execute("INSERT INTO session_messages (session_id, message_id, role, content, timestamp, metadata) "
               "SELECT session_id, 'new', 'user', 'said after the move', '2031-05-06 07:08:09.123456', '{}' "
               "FROM sessions")
""",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", choices=sorted(_WRITE), default="synth")
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3, help="how often each step runs; the median counts")
    parser.add_argument("--json", type=Path, help="write every single run and the machine's facts here")
    parser.add_argument("--folder", type=Path, default=ROOT / ".cache" / "bench", help="where stores are made")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    facts = machine(options.folder)
    print(f"{facts['processor']}, {facts['cores']} cores, load {facts['load_average'][0]}; Python {facts['python']}")
    runs: dict[str, list[Measured]] = {step: [] for step in STEPS}
    for _ in range(options.runs):
        for step, measured in one_run(options):
            runs[step].append(measured)
            print(f"{step}: {measured.seconds:.2f} s, {measured.cpu_seconds:.2f} s CPU", file=sys.stderr, flush=True)
    tell(runs, options)
    if options.json:
        told = {step: [_plain(each) for each in found] for step, found in runs.items()}
        document = {"benchmark": "rollback", "system": options.system, "sessions": options.sessions, "machine": facts}
        options.json.write_text(json.dumps({**document, "runs": told}, indent=2) + "\n")


def one_run(options: argparse.Namespace) -> list[tuple[str, Measured]]:
    """Every step once, in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="back-", dir=options.folder))
    source = folder / ("v2.duckdb" if options.system == "synth" else "v1.db")
    targets = [folder / f"target{number}.db" for number in range(len(STEPS) - 1)]
    new = folder / f"new{source.suffix}"
    try:
        _python(_MAKE, options.system, source, options.sessions)
        found = [(STEPS[0], _step(folder, options, "migrate", source, targets[0]))]
        for copy in targets[1:]:
            shutil.copyfile(targets[0], copy)
        _python(_WRITE[options.system], targets[1])
        kept = source.with_name(f"kept{source.suffix}")
        shutil.copyfile(source, kept)
        no = "--no-backup"
        for step, target, more in zip(STEPS[1:], targets, ((no,), (no,), (no, "--to", new), ()), strict=True):
            shutil.copyfile(kept, source)
            found.append((step, _step(folder, options, "rollback", target, "--all", *more)))
        return found
    finally:
        shutil.rmtree(folder)


def _step(folder: Path, options: argparse.Namespace, command: str, *arguments: object) -> Measured:
    os.sync()
    told = [*SESSIONLIFT, command, "--json", *map(str, arguments)]
    # this tree's own package, whatever else is installed
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), "HOME": str(folder)}
    measured = measure(told, folder=folder, env=env)
    try:
        report = json.loads(measured.output)["report"]
        done = report["migrated_sessions"] == options.sessions and report["verification"]["status"] == "passed"
    except (ValueError, KeyError, TypeError):
        done = False
    if not done:
        sys.exit(f"`sessionlift {command}` did not bring every session over:\n{measured.output[-3000:]}")
    return measured


def tell(runs: dict[str, list[Measured]], options: argparse.Namespace) -> None:
    """The table: medians, and the speed beside the migration's."""
    print(f"\n{options.system}, {options.sessions:,} sessions; median of {options.runs} runs\n")
    print(f"{'':22}{'seconds':>9}{'speed':>8}{'CPU s':>9}{'by CPU':>8}{'peak MB':>9}")
    base = runs[STEPS[0]]
    for step in STEPS:
        mine = runs[step]
        wall, cpu = _median(mine, "seconds"), _median(mine, "cpu_seconds")
        print(
            f"{step:22}{wall:9.2f}{_median(base, 'seconds') / wall:7.2f}x"
            f"{cpu:9.2f}{_median(base, 'cpu_seconds') / cpu:7.2f}x{max(each.peak_mb for each in mine):9.0f}"
        )
    print("\nspeed: times that of the migration of the same run, by wall time and by CPU time of all processes")


def _python(script: str, *arguments: object) -> None:
    subprocess.run([sys.executable, "-c", script, *map(str, arguments)], check=True)


def _median(runs: list[Measured], name: str) -> float:
    return statistics.median(float(getattr(each, name)) for each in runs)


def _plain(one: Measured) -> dict[str, Any]:
    return {name: value for name, value in asdict(one).items() if name != "output"}


if __name__ == "__main__":
    main()
