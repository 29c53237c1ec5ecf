"""SQLite files that a killed program left in the middle of something, read without touching them.

Such a file has a journal that must be rolled back, or a write-ahead log whose index is gone. SQLite does either
when it opens the file for writing. What only reads makes a private copy instead, and that is recovered.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from sessionlift.errors import StoreLockedError
from sessionlift.stores._files import real_file, side_file
from sessionlift.stores._registry import open_engine

_ATTEMPTS = 5
_SUFFIXES = ("", "-journal", "-wal")


def needs_recovery(path: Path) -> bool:
    """Whether a log lies there that nobody has open, so that a reader would have to make an index beside it; or a
    journal in a directory where nobody could roll it back."""
    if side_file(path, "-wal").exists() and not side_file(path, "-shm").exists():
        return True
    return side_file(path, "-journal").exists() and not os.access(real_file(path).parent, os.W_OK)


def copy_with_side_files(path: Path, copy: Path) -> None:
    """Copy the files as they lie, together with their journal or log; the copy is recovered when it is opened for
    writing.

    Raises StoreLockedError for a store that another program does not leave alone, or that is open in this process:
    reading its bytes would drop the locks of its driver. Raises OSError where the copy cannot be written.
    """
    held = open_engine(path)
    if held is not None:
        raise StoreLockedError(
            f"{path} is open in this process through {held}",
            hint="close that store first",
            store=str(path),
            role="source",
        )
    for _ in range(_ATTEMPTS):
        before = [_state(side_file(path, suffix)) for suffix in _SUFFIXES]
        for suffix in _SUFFIXES:
            source, target = side_file(path, suffix), side_file(copy, suffix)
            target.unlink(missing_ok=True)
            if source.exists():
                shutil.copyfile(source, target)
                # nobody else may look into the copy who may not look into the store; it has to be recovered
                target.chmod(stat.S_IMODE(source.stat().st_mode) | 0o600)
        if before == [_state(side_file(path, suffix)) for suffix in _SUFFIXES]:
            return
    raise StoreLockedError(
        f"{path} changes faster than it can be copied",
        hint="another program writes to it without end; try again, or stop it",
        store=str(path),
        role="source",
    )


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
