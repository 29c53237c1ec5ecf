"""Where a store's files lie: the one that it is, and those that its library keeps beside it.

The libraries follow a symbolic link to its end and keep their logs beside the real file; beside the link there are
none. DuckDB does so only in its newer releases, and where the real file is there already, so that it is opened by its
real name.
"""

from __future__ import annotations

import os
from pathlib import Path


def real_file(path: Path) -> Path:
    """The file that a path names, through any links; it need not be there. Messages go on to say ``path``."""
    return Path(os.path.realpath(path))  # Path.resolve() raises for links that go round in a circle


def not_utf8(path: Path) -> str | None:
    """The path with what is no UTF-8 in it escaped; None where all of it is.

    No engine but SQLite opens such a file, and no report can name it.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return str(path).encode("utf-8", "backslashreplace").decode()
    return None


def file_uri(path: Path) -> str:
    """``path`` as SQLite takes it in a URI. With an authority, though an empty one: else a path that begins with two
    slashes would be taken for one."""
    return path.absolute().as_uri()


def side_file(path: Path, suffix: str) -> Path:
    """The file of a store's own beside it: ``-journal``, ``-wal``, ``-shm`` or ``.wal``; the store's own for ''."""
    real = real_file(path)
    return real.with_name(real.name + suffix)
