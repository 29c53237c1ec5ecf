"""Workers for runs that a test calls in its own process: forks of a server that has loaded everything once.

Half of what a run over a small store costs is loading its workers. A fork is the worker that a user gets, but for the
new interpreter; runs of the command line in a process of its own, and all that kills one, have that, too.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, NoReturn

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sessionlift.runs import _protocol

PRELOADED = (
    "sessionlift.runs._backup_worker",
    "sessionlift.runs._convert_worker",
    "sessionlift.runs._taken_back_worker",
    "sessionlift.runs._verify_worker",
    "sessionlift.converters.synth._load",
    "sessionlift.converters.langswarm",
    "sessionlift.runs.verifier.langswarm",
)
LIMITS = (resource.RLIMIT_FSIZE, resource.RLIMIT_AS, resource.RLIMIT_NOFILE, resource.RLIMIT_DATA)
_SIZE = struct.Struct("!I")
"""What comes before an order, together with its handles: the order's bytes."""


class Forked:
    """A worker, as ``subprocess.Popen`` has it: as much as a run asks of one."""

    def __init__(self, pid: int, stdin: IO[str], stdout: IO[str], ended: IO[bytes]) -> None:
        self.pid, self.stdin, self.stdout = pid, stdin, stdout
        self._ended = ended
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._ended], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = int(self._ended.read() or -signal.SIGKILL)
            self._ended.close()
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class Workers:
    """The side of the runs: has a server fork workers. ``start`` gives the socket that it takes orders from."""

    def __init__(self, start: Callable[[], socket.socket]) -> None:
        self._owner, self._lock, self._start = os.getpid(), threading.Lock(), start
        self._orders: socket.socket | None = None

    def popen(self, command: list[str], *, env: dict[str, str] | None = None, **options: Any) -> Any:
        if os.getpid() != self._owner:  # a fork of ours: the server's answers are not for it
            return subprocess.Popen(command, env=env, **options)
        order = {
            "module": command[command.index("-m") + 1],
            "env": dict(os.environ if env is None else env),
            "folder": str(Path.cwd()),
            "limits": [resource.getrlimit(each) for each in LIMITS],
        }
        hear, say = os.pipe()
        answers, told = os.pipe()
        ended, end = os.pipe()
        with self._lock:
            self._orders = self._orders or self._start()
            data = json.dumps(order).encode()
            socket.send_fds(self._orders, [_SIZE.pack(len(data))], [hear, told, 2, end])
            self._orders.sendall(data)
            (pid,) = _SIZE.unpack(_whole(self._orders, _SIZE.size))
        for theirs in (hear, told, end):
            os.close(theirs)
        return Forked(
            pid,
            os.fdopen(say, "w", encoding="utf-8"),
            os.fdopen(answers, encoding="utf-8"),
            os.fdopen(ended, "rb"),
        )

    def close(self) -> None:
        if self._orders is not None:
            self._orders.close()


def use(popen: Callable[..., Any]) -> None:
    """From now on the runs in this process start their workers by ``popen``."""
    setattr(_protocol, "subprocess", SimpleNamespace(Popen=popen, PIPE=subprocess.PIPE))  # noqa: B010 - not exported


def line_of_orders() -> tuple[socket.socket, socket.socket]:
    """Both ends of what a server is told by."""
    return socket.socketpair()


def _whole(orders: socket.socket, size: int) -> bytes:
    """So many bytes, or fewer where the other side has gone away."""
    data = b""
    while len(data) < size and (more := orders.recv(size - len(data))):
        data += more
    return data


@contextlib.contextmanager
def forked_workers() -> Iterator[None]:
    """Meanwhile the runs in this process have their workers from a server, which is started for the first of them."""
    servers: list[subprocess.Popen[bytes]] = []

    def start() -> socket.socket:
        mine, theirs = line_of_orders()
        servers.append(
            subprocess.Popen(
                [sys.executable, "-W", "ignore", str(Path(__file__)), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        )
        theirs.close()
        return mine

    workers = Workers(start)
    use(workers.popen)
    try:
        yield
    finally:
        setattr(_protocol, "subprocess", subprocess)  # noqa: B010 - not exported from there
        workers.close()
        for server in servers:
            server.wait(timeout=30)


# --- the server's side --------------------------------------------------------------------------------------


def serve(orders: socket.socket, prepare: Callable[[str], None] = lambda _module: None) -> None:
    """Fork a worker for each order, until nobody is left to give any. ``prepare`` is called in it first."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ends: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([orders.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, io.DEFAULT_BUFFER_SIZE)
            _tell_ended(ends)
        if orders.fileno() in ready:
            size, handles, _, _ = socket.recv_fds(orders, _SIZE.size, 4)
            if len(size) < _SIZE.size:
                return
            data = _whole(orders, *_SIZE.unpack(size))
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for other in (orders.fileno(), woken, wake, *ends.values()):
                    os.close(other)
                _be_worker(json.loads(data), handles, prepare)
            *theirs, ends[pid] = handles
            for handle in theirs:
                os.close(handle)
            orders.sendall(_SIZE.pack(pid))


def _be_worker(order: dict[str, Any], handles: list[int], prepare: Callable[[str], None]) -> NoReturn:
    code = 1
    try:
        os.setsid()
        for standard, mine in enumerate(handles[:3]):
            os.dup2(mine, standard)
        for mine in handles:
            os.close(mine)
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
        os.chdir(order["folder"])
        prepare(order["module"])
        os.environ.clear()
        os.environ.update(order["env"])
        tempfile.tempdir = os.environ.get("TMPDIR")  # not tried by a file of its own
        for limit, both in zip(LIMITS, order["limits"], strict=True):
            resource.setrlimit(limit, tuple(both))
        code = importlib.import_module(order["module"]).main()
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - a fork may never return into the server's loop
        with contextlib.suppress(OSError, ValueError):
            traceback.print_exc()
    finally:
        os._exit(code)


def _tell_ended(ends: dict[int, int]) -> None:
    while ends:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        end = ends.pop(pid)
        with contextlib.suppress(BrokenPipeError):
            os.write(end, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(end)


def main() -> None:
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()  # a collection in a fork would copy every page of what is here
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
