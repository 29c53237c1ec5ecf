"""The facts about a machine without which a figure means nothing."""

from __future__ import annotations

import os
import platform
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

_PACKAGES = ("sessionlift", "duckdb", "libsql-experimental", "sqlite-utils", "dlt", "sqlalchemy", "orjson", "apsw")


def machine(folder: Path) -> dict[str, Any]:
    """Processor, memory, system, versions; the file system of ``folder``, where the stores lie."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "file_system": _file_system(folder),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "sqlite3": sqlite3.sqlite_version,
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _file_system(folder: Path) -> str:
    mounts = [m for m in psutil.disk_partitions(all=True) if folder.is_relative_to(m.mountpoint)]
    if not mounts:
        return "unknown"
    nearest = max(mounts, key=lambda mount: len(mount.mountpoint))
    return f"{nearest.fstype} on {nearest.device}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
