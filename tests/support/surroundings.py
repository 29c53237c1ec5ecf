"""Surroundings that are hard to come by: another process that holds a file, a full or read-only disk."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def another_process(code: str) -> Iterator[subprocess.Popen[str]]:
    """Runs Python code in a process of its own, waits until it prints ``ready``, and ends it afterwards."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n", "the other process did not get ready"
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)
        process.stdout.close()


@contextlib.contextmanager
def small_disk(folder: Path, size: str, *, read_only_after: Callable[[], None] | None = None) -> Iterator[Path]:
    """A file system of its own of the given size, made read-only after the given step. Skips without root."""
    if os.geteuid() != 0:
        pytest.skip("a file system of its own can be mounted by root only")
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        if read_only_after is not None:
            read_only_after()
            subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
