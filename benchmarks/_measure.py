"""Run one program in a fresh process: its wall time, and the memory of all its processes together."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

_EVERY = 0.2  # seconds between two looks at memory: a look takes milliseconds of a core that the contestants need
_PIECE = 60_000  # additions: some three milliseconds


@dataclass(frozen=True)
class Measured:
    """``peak_mb`` is the highest sum over the process tree that a look met: PSS where Linux tells it, which
    counts a shared page once, else RSS. ``max_rss_mb`` is the kernel's own high-water mark of the largest
    single process, and misses nothing between two looks. Where nobody looked, ``peak_mb`` is 0.
    ``cpu_seconds`` are those of all its processes; other work on the machine lengthens them less than the wall time.
    ``piece_ms`` is the mean CPU time of one small piece of work, always the same, done beside it again and again: how
    slow the machine was meanwhile. 0 where nobody looked.
    """

    seconds: float
    peak_mb: float
    peak_of: str
    max_rss_mb: float
    exit_code: int
    output: str
    cpu_seconds: float
    piece_ms: float


def measure(command: list[str], *, folder: Path, env: dict[str, str], look: bool = True) -> Measured:
    """Run ``command`` to its end in ``folder``. Its output goes to a file, never to a pipe that fills.

    To ``look`` at memory takes some of a core's time, most where a program has many processes, and all of it from
    one that uses every core: what is timed to be compared should run unwatched.
    """
    log = folder / "output.log"
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT)
        watch = _Watch(process.pid)
        if look:
            watch.start()
        _pid, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        if look:
            watch.stop()
    process.returncode = os.waitstatus_to_exitcode(status)  # wait4 took it away from Popen
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    return Measured(
        seconds,
        watch.peak / 1e6,
        watch.kind,
        usage.ru_maxrss * unit / 1e6,
        process.returncode,
        log.read_text(errors="replace"),
        usage.ru_utime + usage.ru_stime,
        watch.piece_ms,
    )


class _Watch(threading.Thread):
    """Looks at the memory of a process and all its descendants until told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.root = pid
        self.kind = "pss" if Path("/proc/self/smaps_rollup").exists() else "rss"
        self.peak = 0
        self._pieces: list[float] = []
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(_EVERY):
            try:
                tree = _tree(self.root)
            except (OSError, psutil.Error):
                return
            self.peak = max(self.peak, sum(map(self._bytes, tree)))
            self._pieces.append(_piece())

    @property
    def piece_ms(self) -> float:
        return 1000 * sum(self._pieces) / len(self._pieces) if self._pieces else 0.0

    def _bytes(self, pid: int) -> int:
        try:
            if self.kind == "rss":
                return int(psutil.Process(pid).memory_info().rss)
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
        except (OSError, psutil.Error):  # it ended while we looked
            return 0
        return 0

    def stop(self) -> None:
        self._done.set()
        self.join()


def _piece() -> float:
    """The CPU seconds that a small piece of work takes now."""
    started, found = time.thread_time(), 0
    for number in range(_PIECE):
        found += number * number
    return time.thread_time() - started


def _tree(root: int) -> list[int]:
    """A process and all its descendants; by the kernel's own lists where it has them, for psutil reads every process
    of the machine to find them."""
    if not Path(f"/proc/{root}/task/{root}/children").exists():
        return [root, *(child.pid for child in psutil.Process(root).children(recursive=True))]
    found = [root]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            found.extend(map(int, task.read_text().split()))
    return found
