"""Runs of the command line in forked processes: fast, and killed or interrupted at a write of our choice.

As a program it is the server: everything is imported once, then each request is served by a fork of it. In a fork the
run is as it is for a user, except that a worker is a fork, too, instead of a new interpreter (see ``workers``).

A *boundary* is the moment just before something is changed (see ``boundaries``). They are counted from 1; a request
can name one and what shall happen there.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support import workers
from tests.support.boundaries import Boundaries
from tests.support.probes import probe_now, probe_once
from tests.support.workers import Workers, line_of_orders, serve, use

# these workers write what stays; the others into files of the run alone
WATCHED = {"sessionlift.runs._backup_worker"}
PRELOADED = ("sessionlift.cli", "sessionlift.bridge", *workers.PRELOADED)
MEMORY = 6 << 30
WORKERS = {
    "sessionlift.runs._convert_worker": "converter",
    "sessionlift.runs._verify_worker": "verifier",
    "sessionlift.runs._backup_worker": "backup",
}


@dataclass
class Outcome:
    """How a command ended: its exit code (negative: killed by that signal), and what it printed."""

    code: int
    out: str
    err: str
    boundaries: list[str] = field(default_factory=list)

    @property
    def report_path(self) -> Path:
        return Path(json.loads(self.out)["path"])


class Warm:
    """The tests' side: starts the server, sends requests, and ends it."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )

    def __call__(
        self,
        *arguments: object,
        at: int = 0,
        do: str = "SIGKILL",
        limits: dict[str, int] | None = None,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        call: str | None = None,
        seconds: int = 0,
        patience: float | None = None,
    ) -> Outcome:
        """Run ``sessionlift`` with ``arguments``. At boundary ``at`` it gets the signal ``do``; with
        ``"SIGKILL converter"``, ``"SIGKILL verifier"``, ``"SIGKILL backup"`` or ``"SIGKILL 1234"`` that process
        gets it. After ``seconds`` it is ended by SIGALRM, and it gets no more than ``MEMORY``. For a lock it waits
        ``patience`` seconds, as long as a user's run does where nothing is said.

        With ``call`` (``module:function``) that function is run with the arguments as texts instead.
        """
        request = {
            "call": call,
            "arguments": [str(argument) for argument in arguments],
            "at": at,
            "do": do,
            "limits": limits,
            "cwd": str(cwd) if cwd else None,
            "env": env or {},
            "seconds": seconds,
            "patience": patience,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


# --- the server's side --------------------------------------------------------------------------------------


class _Run:
    """The workers of one run: forked from a process that was there before anything was opened."""

    def __init__(self, boundaries: Boundaries, pids: dict[str, int]) -> None:
        self._pids = pids
        mine, theirs = line_of_orders()
        if os.fork() == 0:
            mine.close()
            serve(theirs, lambda module: boundaries.watch() if module in WATCHED else None)
            os._exit(0)
        theirs.close()
        self._workers = Workers(lambda: mine)

    def popen(self, command: list[str], **options: Any) -> Any:
        found = self._workers.popen(command, **options)
        module = command[command.index("-m") + 1]
        self._pids[WORKERS.get(module, module)] = found.pid
        return found


def _serve(request: dict[str, Any], folder: Path) -> None:
    """In a fork: run the command, and leave with its exit code."""
    code = 1
    log = folder / "seen"
    log.touch()
    pids: dict[str, int] = {}
    boundaries = Boundaries(request["at"], request["do"], log, lambda: pids)
    try:
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
        os.environ.update(request["env"])
        if request["seconds"]:
            signal.alarm(request["seconds"])
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        tempfile.tempdir = os.environ.get("TMPDIR")
        if request["cwd"]:
            os.chdir(request["cwd"])
        run = _Run(boundaries, pids)
        from sessionlift import runs
        from sessionlift.cli import main

        command = importlib.import_module("sessionlift.cli._migrate")

        use(run.popen)
        if request["patience"] is not None:
            for name in ("sessionlift.stores._sqlfile", "sessionlift.runs._rollback"):
                importlib.import_module(name).__dict__["BUSY_SECONDS"] = request["patience"]
        if request["limits"]:
            command.__dict__["run_migrate"] = functools.partial(runs.migrate, limits=request["limits"])
        work = functools.partial(main, request["arguments"], prog_name="sessionlift")
        if request["call"]:
            module, _, name = request["call"].partition(":")
            work = functools.partial(getattr(importlib.import_module(module), name), *request["arguments"])
        boundaries.watch()
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001 - a fork may never return into the server's loop
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def main() -> None:
    # who runs the tests in the background, or by nohup, has these ignored; then a run ignores them, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    sys.dont_write_bytecode = True
    for module in PRELOADED:
        importlib.import_module(module)
    probe_once()
    probe_now("libsql")
    gc.freeze()  # a collection in a fork would copy every page of what is here
    for line in sys.stdin:
        folder = Path(tempfile.mkdtemp(prefix="warm-"))
        child = os.fork()
        if child == 0:
            _serve(json.loads(line), folder)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        seen = folder / "seen"
        outcome = {
            "code": code,
            "out": (folder / "out").read_text("utf-8", "replace"),
            "err": (folder / "err").read_text("utf-8", "replace"),
            "boundaries": [json.loads(line) for line in seen.read_text().splitlines()] if seen.exists() else [],
        }
        shutil.rmtree(folder)
        sys.stdout.write(json.dumps(outcome) + "\n")
        sys.stdout.flush()


@contextlib.contextmanager
def warm(environment: dict[str, str] | None = None) -> Iterator[Warm]:
    # each run clears up after dead ones, where temporary directories are made: those of other servers are boundaries
    # that come and go
    with tempfile.TemporaryDirectory(prefix="warm-") as place:
        server = Warm({"TMPDIR": place, **(environment or {})})
        try:
            yield server
        finally:
            server.close()


if __name__ == "__main__":
    main()
