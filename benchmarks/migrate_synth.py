"""Move a synth.v2 store into v3: this package, verified and ledgered, beside the usual unverified ways.

    python -m benchmarks.migrate_synth [--sessions 20000] [--runs 5] [--json FILE]
    python -m benchmarks.migrate_synth --sizes 2000,20000,200000    (us alone: is it flat?)

Every contestant runs in a fresh process on the same store, in turn, so that a busy moment of the machine
hits all of them. The schema of the target is made beforehand, not in the measured time; ours makes its own.
A target with fewer sessions, events or messages than the source ends the benchmark.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks._machine import machine
from benchmarks._measure import Measured, measure
from sessionlift import _demo

NEXT_TO_NOTHING = 20
"""Sessions in the store that shows what starting up takes."""
ROOT = Path(__file__).resolve().parents[1]
SESSIONLIFT = [sys.executable, "-c", "from sessionlift.cli import main; main()"]


@dataclass(frozen=True)
class Contestant:
    name: str
    command: list[str]
    does: str
    needs_schema: bool


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.contestants.{name}", *arguments]


CONTESTANTS = [
    Contestant(
        "naive, libsql",
        _module("naive", "libsql"),
        "fetchmany + executemany, one commit, nothing checked",
        True,
    ),
    Contestant("naive, sqlite3", _module("naive", "sqlite3"), "the same through the standard library", True),
    Contestant("sqlite-utils", _module("utils"), "insert_all by 5,000 rows, nothing checked", True),
    Contestant("dlt", _module("loader"), "own tables in a SQLite file: no keys, checks or indexes", False),
    Contestant(
        "sessionlift",
        [*SESSIONLIFT, "migrate", "--quiet"],
        "converted, ledgered, every value verified",
        False,
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--sizes", help="sizes for us alone, with commas; takes the place of the comparison")
    parser.add_argument("--runs", type=int, default=5, help="how often each runs; the median counts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", help="only contestants whose name begins so; may be repeated")
    parser.add_argument("--json", type=Path, help="write every single run and the machine's facts here")
    parser.add_argument("--folder", type=Path, default=ROOT / ".cache" / "bench", help="where stores are made")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)

    facts = machine(options.folder)
    _print_machine(facts)
    if options.sizes:
        results = flatness([int(size) for size in options.sizes.split(",")], options)
    else:
        results = comparison(options)
    if options.json:
        document = {"benchmark": "migrate_synth", "machine": facts, "seed": options.seed, **results}
        options.json.write_text(json.dumps(document, indent=2) + "\n")


def comparison(options: argparse.Namespace) -> dict[str, Any]:
    """Every contestant on one store, interleaved; prints the table of ratios to the naive loop."""
    chosen = [c for c in CONTESTANTS if not options.only or c.name.startswith(tuple(options.only))]
    source, rows = legacy_store(options.sessions, options)
    runs: dict[str, list[Measured]] = {contestant.name: [] for contestant in chosen}
    looks = {contestant.name: run(contestant, source, options, look=True) for contestant in chosen}
    for number in range(options.runs):
        for contestant in chosen:
            measured = run(contestant, source, options)
            runs[contestant.name].append(measured)
            _progress(f"run {number + 1} of {options.runs}: {contestant.name} {measured.seconds:.2f} s")
    total = sum(rows.values())
    print(f"\n{options.sessions:,} sessions, {total:,} rows; median of {options.runs} runs, interleaved\n")
    base = _median(runs[chosen[0].name])
    header = f"{'':16}{'seconds':>9}{'rows/s':>10}{'speed':>8}{'peak MB':>9}{'max RSS':>9}  what it does"
    print(header)
    for contestant in chosen:
        mine = runs[contestant.name]
        seconds = _median(mine)
        peak = looks[contestant.name].peak_mb
        print(
            f"{contestant.name:16}{seconds:9.2f}{total / seconds:10,.0f}{base / seconds:7.2f}x{peak:9.0f}"
            f"{max(one.max_rss_mb for one in mine):9.0f}  {contestant.does}"
        )
    kind = runs[chosen[0].name][0].peak_of.upper()
    print(f"\nspeed: times that of {chosen[0].name}; peak MB: highest sum of {kind} over all its processes, in a run")
    print("of its own that is not timed; max RSS: the largest single process, in MB")
    return {
        "sessions": options.sessions,
        "rows": rows,
        "contestants": [
            {
                "name": contestant.name,
                "does": contestant.does,
                "median_seconds": _median(runs[contestant.name]),
                "speed": base / _median(runs[contestant.name]),
                "runs": [_plain(one) for one in runs[contestant.name]],
                "watched": _plain(looks[contestant.name]),
            }
            for contestant in chosen
        ],
    }


def flatness(sizes: list[int], options: argparse.Namespace) -> dict[str, Any]:
    """Us alone on stores of several sizes: time per session and memory should not depend on the size.

    What a run takes that has next to nothing to move is measured first, and told apart from what each session adds.
    A large store takes minutes, in which the machine may be faster or slower than in the seconds of a small one: so
    each size's times are also told as they were at one speed of the machine, that at which starting up was measured.
    """
    ours = CONTESTANTS[-1]
    plan = Contestant("plan", [*SESSIONLIFT, "plan"], "counts and foresees, writes nothing", False)
    found = []
    source, _ = legacy_store(NEXT_TO_NOTHING, options)
    starts = [run(ours, source, options, look=True) for _ in range(max(3, options.runs))]
    start, piece = _median(starts), statistics.mean(one.piece_ms for one in starts)
    print(f"\nstarting up ({NEXT_TO_NOTHING} sessions): {start:.2f} s")
    print(f"\n{'sessions':>10}{'rows':>12}{'seconds':>10}{'ms/session':>12}{'after start':>13}", end="")
    print(f"{'at one speed':>14}{'after start':>13}{'peak MB':>9}{'max RSS':>9}{'plan':>8}")
    for size in sizes:
        source, rows = legacy_store(size, options)
        runs = [run(ours, source, options, look=True) for _ in range(options.runs)]
        plans = [run(plan, source, options, writes=False) for _ in range(options.runs)]
        seconds, planned = _median(runs), _median(plans)
        even = statistics.median(one.seconds * piece / one.piece_ms for one in runs)
        peak, rss = max(one.peak_mb for one in runs), max(one.max_rss_mb for one in runs)
        print(
            f"{size:10,}{sum(rows.values()):12,}{seconds:10.2f}{seconds / size * 1000:12.3f}"
            f"{(seconds - start) / size * 1000:13.3f}{even / size * 1000:14.3f}"
            f"{(even - start) / size * 1000:13.3f}{peak:9.0f}{rss:9.0f}{planned / seconds:8.1%}",
            flush=True,
        )
        found.append(
            {
                "sessions": size,
                "rows": rows,
                "median_seconds": seconds,
                "seconds_per_session": seconds / size,
                "seconds_per_session_after_start": (seconds - start) / size,
                "seconds_per_session_at_one_speed": even / size,
                "seconds_per_session_after_start_at_one_speed": (even - start) / size,
                "median_plan_seconds": planned,
                "runs": [_plain(one) for one in runs],
                "plans": [_plain(one) for one in plans],
            }
        )
    print(f"\nmedian of {options.runs} runs; after start: without the time of starting up; at one speed: ms/session as")
    print("the machine was while it started up; plan: its time as a share of the run's")
    return {"start_seconds": start, "start_piece_ms": piece, "sizes": found}


# Done in processes of their own: what they leave in memory must not look like a contestant's.
_MAKE = """
import json, pathlib, sys
from sessionlift._demo import make_synth_v2
made = make_synth_v2(pathlib.Path(sys.argv[1]), sessions=int(sys.argv[2]), seed=int(sys.argv[3]))
print(json.dumps(made.rows))
"""
_SCHEMA = """
import sys
from sessionlift.generations import schema_upgrade
schema_upgrade(sys.argv[1], "synth_v3")
"""


def legacy_store(sessions: int, options: argparse.Namespace) -> tuple[Path, dict[str, int]]:
    """The store of that size, made once for as long as its generator stays the same; with its row counts."""
    recipe = hashlib.sha256()
    for module in sorted(Path(_demo.__file__).parent.glob("*.py")):
        recipe.update(module.read_bytes())
    path = options.folder / f"v2-{sessions}-{options.seed}-{recipe.hexdigest()[:10]}.duckdb"
    counts = path.with_suffix(".json")
    if not (path.exists() and counts.exists()):
        path.unlink(missing_ok=True)
        _progress(f"making a store of {sessions:,} sessions ...")
        made = subprocess.run(
            [sys.executable, "-c", _MAKE, str(path), str(sessions), str(options.seed)],
            check=True,
            capture_output=True,
        )
        counts.write_bytes(made.stdout)
    rows: dict[str, int] = json.loads(counts.read_text())
    return path, rows


def run(
    contestant: Contestant, source: Path, options: argparse.Namespace, *, writes: bool = True, look: bool = False
) -> Measured:
    """One run into a fresh target in a folder of its own, which is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=options.folder))
    # this tree's own package, whatever else is installed
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    env = {**os.environ, "PYTHONPATH": path, "RUNTIME__DLTHUB_TELEMETRY": "false", "HOME": str(folder)}
    # what an installer compiles once is not compiled again by each process of each run
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    target = folder / "v3.db"
    try:
        if contestant.needs_schema:
            subprocess.run([sys.executable, "-c", _SCHEMA, str(target)], check=True)
        os.sync()
        measured = measure([*contestant.command, str(source), str(target)], folder=folder, env=env, look=look)
        if measured.exit_code not in (0, 1):  # 1: moved, with rows in quarantine
            sys.exit(f"{contestant.name} failed with {measured.exit_code}:\n{measured.output[-3000:]}")
        if writes:
            _check(contestant, source, target)
        return measured
    finally:
        shutil.rmtree(folder)


# Counts in a process of its own: no second SQLite library may look at a file from inside this one.
_COUNT = """
import json, sqlite3, sys
target = sqlite3.connect(sys.argv[1])
tables = ("session_traces", "session_timesteps", "events", "messages")
print(json.dumps({table: target.execute("SELECT count(*) FROM " + table).fetchone()[0] for table in tables}))
"""


def _check(contestant: Contestant, source: Path, target: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _COUNT, str(target)], check=True, capture_output=True, text=True)
    wanted = json.loads(source.with_suffix(".json").read_text())
    found = json.loads(done.stdout)
    if found != wanted:
        sys.exit(f"{contestant.name} did not move everything: {found}, not {wanted}")


def _median(runs: list[Measured]) -> float:
    return statistics.median(one.seconds for one in runs)


def _plain(one: Measured) -> dict[str, Any]:
    return {name: value for name, value in asdict(one).items() if name != "output"}


def _print_machine(facts: dict[str, Any]) -> None:
    packages = ", ".join(f"{name} {found}" for name, found in facts["packages"].items() if found)
    print(f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gb']} GB; {facts['system']}")
    print(f"stores on {facts['file_system']}; load {facts['load_average'][0]}; Python {facts['python']}")
    print(packages)


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
