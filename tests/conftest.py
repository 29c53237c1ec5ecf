"""Fixtures that more than one part of the suite uses: the real stores, and a real sqld server."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def real_stores_path() -> Path | None:
    """The folder of stores that the real programs wrote, or None where it is not there."""
    named = os.environ.get("SESSIONLIFT_FIXTURES")
    path = Path(named) if named else REPOSITORY.parent / "shared" / "fixtures"
    return path if (path / "synth").is_dir() else None


def sqld_binary() -> Path | None:
    """The sqld server program, or None where it is not there."""
    named = os.environ.get("SESSIONLIFT_SQLD")
    path = Path(named) if named else REPOSITORY / ".cache" / "sqld" / "sqld"
    return path if path.is_file() and os.access(path, os.X_OK) else None


@pytest.fixture(scope="session")
def real_stores() -> Path:
    """Read-only stores written by the real programs. Copy a store before opening it."""
    path = real_stores_path()
    if path is None:
        pytest.skip("the stores of the real programs are not here (set SESSIONLIFT_FIXTURES to their folder)")
    return path


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running_sqld(
    folder: Path, *options: str, port: int | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A sqld of our own on a loopback port, with its database under ``folder``; yields (URL, process).

    The server is stopped at the end by its own process id.
    """
    binary = sqld_binary()
    if binary is None:
        pytest.skip("no sqld binary (set SESSIONLIFT_SQLD, or put it at .cache/sqld/sqld)")
    port = free_port() if port is None else port
    log = (folder / "sqld.log").open("ab")
    command = [str(binary), "--db-path", str(folder / "data.sqld"), "--no-welcome"]
    command += ["--http-listen-addr", f"127.0.0.1:{port}", *options]
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail("sqld did not start: " + (folder / "sqld.log").read_text()[-2000:])
            time.sleep(0.05)
        yield f"libsql+http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)
        log.close()


@pytest.fixture
def sqld(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real, empty sqld server that lives as long as the test."""
    with running_sqld(tmp_path_factory.mktemp("sqld")) as (url, _process):
        yield url
