"""A disk that fails at a file operation of our choice, and a clock that jumps, for a child that preloads the library.

No root is needed: ``failing_disk.c`` is built with the machine's C compiler and put before the C library, for Python,
both SQLites and DuckDB alike. It sees no write through a memory map (SQLite's ``-shm``), and no program that is linked
statically.
"""

from __future__ import annotations

import errno
import mmap
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

WRITE, SYNC, CUT, NAME, READ = 1, 2, 4, 8, 16
"""Classes of operations: writing, seeing to the disk, changing a file's length, making or renaming, reading."""

_SOURCE = Path(__file__).with_name("failing_disk.c")
_FORM = struct.Struct("<7q512s512s")


@dataclass(frozen=True)
class Fault:
    """What fails: its classes and its error, once or from then on."""

    name: str
    classes: int
    error: int
    stays: bool
    jump: int = 0


FULL = Fault("full", WRITE | CUT | NAME, errno.ENOSPC, stays=True)
BROKEN = Fault("broken", WRITE | SYNC | CUT | NAME, errno.EIO, stays=True)
HICCUP = Fault("hiccup", WRITE | SYNC | CUT | NAME, errno.EIO, stays=False)
UNREADABLE = Fault("unreadable", READ, errno.EIO, stays=True)


@dataclass
class Seen:
    """What the child did: the operations that counted, how many failed, and which was the first of those."""

    operations: int = 0
    failed: int = 0
    what: str = ""


class FailingDisk:
    """The library and its orders. ``environment`` is what the child needs; its forks follow the same orders."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if not sys.platform.startswith("linux") or compiler is None:
            pytest.skip("a disk can be made to fail on Linux only, and with a C compiler (cc)")
        library = folder / "failing_disk.so"
        made = subprocess.run(
            [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE), "-ldl"],
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stderr
        orders = folder / "orders"
        orders.write_bytes(bytes(_FORM.size))
        self._file = orders.open("r+b")
        self._orders = mmap.mmap(self._file.fileno(), _FORM.size)
        self.environment = {"LD_PRELOAD": str(library), "FAILING_DISK": str(orders)}

    @contextmanager
    def failing(self, fault: Fault, *places: Path, at: int = 0) -> Iterator[Seen]:
        """Let the ``at``-th operation below ``places`` fail (0: only count them); ``Seen`` is filled in at the end."""
        listed = "".join(f"{place}\n" for place in places).encode()
        assert len(listed) < 512
        order = (fault.classes, at, int(fault.stays), fault.error, fault.jump, 0, 0, b"", listed)
        self._orders[:] = _FORM.pack(*order)
        seen = Seen()
        try:
            yield seen
        finally:
            *_, seen.operations, seen.failed, what, _places = _FORM.unpack(self._orders[:])
            seen.what = what.rstrip(b"\0").decode("utf-8", "replace")
            self._orders[:] = bytes(_FORM.size)

    def close(self) -> None:
        self._orders.close()
        self._file.close()
