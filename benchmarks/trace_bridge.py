"""What the bridge over Synth-AI's traces costs: the first use of a session, an answer without a move, a later use.

    python -m benchmarks.trace_bridge [--sizes 2000,20000,200000] [--uses 60] [--json FILE]

The peer of a first use is a bare one: the session's rows are read from the same store, one statement a table, and put
into the same tables with one commit; nothing is checked, noted or derived. All are measured in turn, session by
session, so that a busy moment hits each. Times are wall times, the median of all sessions.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks._first_use import measured
from benchmarks._machine import machine
from benchmarks.migrate_synth import ROOT, legacy_store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="2000,20000", help="sessions in the legacy stores, with commas")
    parser.add_argument("--uses", type=int, default=60, help="sessions that are used in each store")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures and the machine's facts here")
    parser.add_argument("--folder", type=Path, default=ROOT / ".cache" / "bench", help="where stores are made")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    found = {}
    print(f"{'sessions':>10}{'bare':>9}{'first use':>11}{'ratio':>7}{'stays':>9}{'shadow':>9}{'later use':>11}")
    for size in map(int, options.sizes.split(",")):
        source, _rows = legacy_store(size, options)
        with tempfile.TemporaryDirectory(prefix="run-", dir=options.folder) as folder:
            took = measured(source, Path(folder), options.uses)
        found[size] = took
        print(
            f"{size:10,}{took['bare']:9.1f}{took['first use']:11.1f}{took['first use'] / took['bare']:6.1f}x"
            f"{took['stays']:9.1f}{took['shadow']:9.1f}{took['later use']:11.2f}",
            flush=True,
        )
    print(f"\nmilliseconds, medians of {options.uses} sessions; stays: answered from the legacy store, since it is not")
    print("in the share that moves; shadow: the same, and compared, as the first use in shadow mode does")
    if options.json:
        document = {"benchmark": "trace_bridge", "machine": machine(options.folder), "sizes": found}
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
