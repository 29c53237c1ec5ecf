"""Made-up stores for tests, and what they become when moved: each is made once in a process, and then copied."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from sessionlift import _demo
from sessionlift._demo import DemoStore
from sessionlift.errors import UsageError
from sessionlift.runs import TransferOptions, migrate
from sessionlift.stores import parse_store_url

_moved: dict[tuple[Any, ...], Path] = {}


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="made-")


@cache
def _made(**choices: Any) -> DemoStore:
    return _demo.make_synth_v2(Path(_folder().name) / f"{_made.cache_info().misses}.duckdb", **choices)


def make_synth_v2(path: Path, **choices: Any) -> DemoStore:
    """As ``sessionlift._demo.make_synth_v2``, whose own tests call that."""
    if path.exists():
        raise UsageError(f"{path} is there already.")
    path.parent.mkdir(parents=True, exist_ok=True)
    made = _made(**choices)
    shutil.copyfile(made.path, path)
    return replace(made, path=path)


def make_moved(
    source: Path,
    target: Path,
    options: TransferOptions | None = None,
    *,
    make: Callable[..., Any] = make_synth_v2,
    **choices: Any,
) -> None:
    """A legacy store, and the target that ``migrate`` makes of it, for tests of what comes after a move.

    ``make`` is called with a path and ``choices``. A test whose subject is the move itself, or what it leaves beside
    the target (its report, its digests), has to move.
    """
    options = options or TransferOptions()
    key = (make, repr(options), *sorted(choices.items()))
    if key not in _moved:
        folder = Path(_folder().name) / f"moved-{len(_moved)}"
        folder.mkdir()
        make(folder / source.name, **choices)
        migrate(str(folder / source.name), str(folder / "target.db"), options)
        _moved[key] = folder / source.name
    source.parent.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_moved[key], source)
    shutil.copyfile(_moved[key].with_name("target.db"), target)
    with closing(sqlite3.connect(target, isolation_level=None)) as db:
        # the ledger knows the store that a run has read by its place
        db.execute("UPDATE sessionlift_runs SET source = ?", (parse_store_url(str(source)).redacted,))
