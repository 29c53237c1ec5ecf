"""Runs in the environment of Session-Buddy: drives its real storage and migrations on a store, prints JSON lines.

Usage: python drive_session_buddy.py STORE < requests
Each line of the input is one request, an object with the key ``do`` and the arguments of that name; each line of
the output is its answer.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import sysconfig
import types
from pathlib import Path
from typing import Any

# the package itself starts a server's parts when it is imported; its storage needs none of them
_HOME = Path(sysconfig.get_paths()["purelib"]) / "session_buddy"
_package = types.ModuleType("session_buddy")
_package.__path__ = [str(_HOME)]
sys.modules["session_buddy"] = _package
_storage: Any = importlib.import_module("session_buddy.storage.skills_storage")
_migrations: Any = importlib.import_module("session_buddy.storage.migrations.base")


def answer(store: Path, request: dict[str, Any]) -> Any:
    """The program's answer to one request: a method of its storage, or of its migration manager."""
    name = request.pop("do")
    if name in ("get_status", "migrate", "validate"):
        manager = _migrations.MigrationManager(store, _HOME / "storage" / "migrations")
        return getattr(manager, name)(**request)
    with _storage.SkillsStorage(store) as storage:
        return getattr(storage, name)(**request)


def plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value.hex() if isinstance(value, bytes) else str(value)


def main() -> None:
    store = Path(sys.argv[1])
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(store, json.loads(line)), default=plain) + "\n")


if __name__ == "__main__":
    main()
