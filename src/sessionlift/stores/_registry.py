"""Which local files this process has open, and through which engine.

Two SQLite libraries must not have one file open in one process: when one closes its handle, POSIX drops the
locks of the other, and the file can be corrupted. The same goes for reading the file with ``open()``.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Literal

from sessionlift.errors import StoreLockedError

LocalEngine = Literal["duckdb", "libsql", "sqlite"]

_lock = threading.Lock()
_open: dict[tuple[int, int] | str, tuple[LocalEngine, int]] = {}


def _key(path: Path) -> tuple[int, int] | str:
    try:
        stat = path.stat()
    except OSError:
        return str(path)
    return (stat.st_dev, stat.st_ino)


def open_engine(path: Path) -> LocalEngine | None:
    """The engine through which this process has the file open, or None."""
    with _lock:
        held = _open.get(_key(path))
        return held[0] if held else None


def has_descriptor(path: Path) -> bool:
    """Whether this process has the file open in any way, also through a library that never told us.

    False where the system does not list what a process has open.
    """
    key = _key(path)
    with suppress(OSError):
        for each in Path("/dev/fd").iterdir():
            with suppress(OSError, ValueError):
                stat = os.fstat(int(each.name))
                if (stat.st_dev, stat.st_ino) == key:
                    return True
    return False


def enter(path: Path, engine: LocalEngine) -> tuple[int, int] | str:
    """Note the file as open; returns the key for :func:`leave`.

    Raises StoreLockedError if another engine has it open in this process.
    """
    key = _key(path)
    with _lock:
        held = _open.get(key)
        if held is not None and held[0] != engine:
            raise StoreLockedError(
                f"{path} is already open in this process through {held[0]}; opening it through {engine} too "
                "could corrupt it",
                hint="close the other store first, or open it in a process of its own",
                store=f"{engine}://{path}",
                holder=held[0],
            )
        _open[key] = (engine, held[1] + 1 if held else 1)
    return key


def leave(key: tuple[int, int] | str) -> None:
    """Note one close of a file that :func:`enter` noted."""
    with _lock:
        held = _open.get(key)
        if held is None:
            return
        if held[1] <= 1:
            del _open[key]
        else:
            _open[key] = (held[0], held[1] - 1)
