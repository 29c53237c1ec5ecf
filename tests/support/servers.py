"""Real servers for tests: started on a loopback port of their own, ended by their own process id."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def sqld_binary() -> Path | None:
    """The sqld server program, or None where it is not there."""
    named = os.environ.get("SESSIONLIFT_SQLD")
    path = Path(named) if named else REPOSITORY / ".cache" / "sqld" / "sqld"
    return path if path.is_file() and os.access(path, os.X_OK) else None


def free_port() -> int:
    """A loopback port that nobody uses at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running_sqld(folder: Path, *options: str, port: int | None = None) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A sqld of our own with its database under ``folder``; yields its store URL and its process."""
    binary = sqld_binary()
    if binary is None:
        pytest.skip("no sqld binary (set SESSIONLIFT_SQLD, or put it at .cache/sqld/sqld)")
    port = free_port() if port is None else port
    command = [str(binary), "--db-path", str(folder / "data.sqld"), "--no-welcome"]
    command += ["--http-listen-addr", f"127.0.0.1:{port}", *options]
    with (folder / "sqld.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        _wait(process, port, folder / "sqld.log")
        yield f"libsql+http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail("sqld did not start: " + log.read_text("utf-8", "replace")[-2000:])
        time.sleep(0.05)
