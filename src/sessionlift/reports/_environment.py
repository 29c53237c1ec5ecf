"""What a run runs on, for its report."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from sessionlift.reports._model import Environment

# the packages that values or schemas pass through: a change in one of them can explain a change in a run
_PACKAGES = (
    "alembic",
    "apsw",
    "duckdb",
    "duckdb-sqlalchemy",
    "libsql-experimental",
    "orjson",
    "sqlalchemy",
    "tzdata",
)


def current_environment(fidelity: Mapping[str, Any] | None = None) -> Environment:
    """This process's interpreter, machine and packages, with the probe's result if there is one.

    Read-only; a package that is not installed is left out.
    """
    return Environment(
        python=f"{platform.python_version()} ({platform.python_implementation()})",
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        packages={name: version for name in _PACKAGES if (version := _version(name))},
        fidelity=dict(fidelity or {}),
    )


def _version(name: str) -> str | None:
    from importlib import metadata  # takes long to load, and only reports of runs need it

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
