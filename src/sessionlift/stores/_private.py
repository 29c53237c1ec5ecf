"""Private temporary directories, and the removal of those whose owner was killed.

An owner holds a lock on a file in its directory for as long as it lives; the system lets go of it however the
process ends. So a directory whose lock can be had belongs to nobody, and needs no process id to be judged by.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import time
from pathlib import Path

from sessionlift.errors import StoreError, StoreFullError
from sessionlift.stores._files import not_utf8

try:
    import fcntl
    import resource
except ImportError:  # not a POSIX system: what a killed process left has to be removed by hand
    fcntl = resource = None  # type: ignore[assignment]

_PREFIX = "sessionlift-"
_OWNER = "owner"
_YOUNG_SECONDS = 3600.0
"""A directory without an owner's file may be one that is being made; after this time it is not."""


class PrivateDirectory:
    """A new directory below ``place`` (the system's one for temporary files); only this user may look into it.

    Making one also removes what killed processes of this tool left. Raises StoreFullError or StoreError where
    none can be made.
    """

    def __init__(self, purpose: str, place: Path | None = None) -> None:
        name = not_utf8(place or Path(tempfile.gettempdir()))
        if name is not None:
            raise StoreError(
                f"temporary files cannot be written below {name}: the path is not UTF-8",
                hint="set TMPDIR to a directory whose path is UTF-8",
                role="target",
            )
        try:
            remove_leftovers(place or Path(tempfile.gettempdir()))
            self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{purpose}-", dir=place))
            self._owner = _own(self.path)
        except OSError as error:
            raise no_room(error) from error

    def close(self) -> None:
        """Remove the directory and all in it. Closing twice does nothing."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()


def no_room(error: OSError) -> StoreError:
    """Our error for one of the system's about temporary files."""
    hint = "set TMPDIR to a directory with room that you may write to"
    where = f" {error.filename}" if error.filename else ""
    what = f"temporary files cannot be written{where}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreFullError(what, hint=hint, role="target")
    return StoreError(what, hint=hint, role="target")


def file_size_limit() -> int | None:
    """The bytes that this process may write into one file (``ulimit -f``); None where there is no such limit.

    SQLite says of a write beyond it what it says of a broken disk.
    """
    if resource is None:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if soft == resource.RLIM_INFINITY else soft


def _own(directory: Path) -> int | None:
    if fcntl is None:
        return None
    # locked before it gets its name: nobody can meet the file unlocked while its owner lives
    new = directory / "new"
    handle = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    # a file system without locks: nobody else will get one either, and the directory stays after a kill
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new.rename(directory / _OWNER)
    return handle


def remove_leftovers(place: Path) -> None:
    """Remove directories of this tool in ``place`` whose owner is dead. What others own is left alone."""
    if fcntl is None:
        return
    for directory in place.glob(f"{_PREFIX}*-*"):
        with contextlib.suppress(OSError):
            if directory.is_dir() and not directory.is_symlink() and _is_left(directory):
                shutil.rmtree(directory, ignore_errors=True)


def _is_left(directory: Path) -> bool:
    owner = directory / _OWNER
    if directory.stat().st_uid != os.getuid():
        return False
    if not owner.exists():
        return not any(directory.iterdir()) and time.time() - directory.stat().st_mtime > _YOUNG_SECONDS
    handle = os.open(owner, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
