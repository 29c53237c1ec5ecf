"""Where DuckDB spills what does not fit into memory: one private directory for the process.

DuckDB's default is a directory beside the database, and the source is nobody's to write beside. It is one for
all stores, since DuckDB opens one file twice in a process only with the same settings.
"""

from __future__ import annotations

import threading
from pathlib import Path

from sessionlift.stores._private import PrivateDirectory

_lock = threading.Lock()
_users = 0
_directory: PrivateDirectory | None = None


def enter_spill() -> Path:
    """The directory, made for the first user. Give it back with :func:`leave_spill`."""
    global _users, _directory
    with _lock:
        if _directory is None:
            _directory = PrivateDirectory("duckdb")
        _users += 1
        return _directory.path


def is_about_spilling(message: str) -> bool:
    """Whether the engine says something of a file of its own in that directory."""
    with _lock:
        return _directory is not None and str(_directory.path) in message


def leave_spill() -> None:
    """Give the directory back; the last user removes it."""
    global _users, _directory
    with _lock:
        _users -= 1
        if _users <= 0 and _directory is not None:
            _directory.close()
            _directory, _users = None, 0
