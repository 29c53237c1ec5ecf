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


def side_file(path: Path, suffix: str) -> Path:
    """The file of a store's own beside it: ``-journal``, ``-wal``, ``-shm`` or ``.wal``; the store's own for ''."""
    real = real_file(path)
    return real.with_name(real.name + suffix)
