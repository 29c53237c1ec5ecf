"""Made-up stores of traces for tests: each is made once in a process, and then copied."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from sessionlift import _demo
from sessionlift._demo import DemoStore
from sessionlift.errors import UsageError

_folder: tempfile.TemporaryDirectory[str] | None = None


@cache
def _made(**choices: Any) -> DemoStore:
    global _folder
    _folder = _folder or tempfile.TemporaryDirectory(prefix="made-")
    return _demo.make_synth_v2(Path(_folder.name) / f"{_made.cache_info().misses}.duckdb", **choices)


def make_synth_v2(path: Path, **choices: Any) -> DemoStore:
    """As ``sessionlift._demo.make_synth_v2``, whose own tests call that."""
    if path.exists():
        raise UsageError(f"{path} is there already.")
    path.parent.mkdir(parents=True, exist_ok=True)
    made = _made(**choices)
    shutil.copyfile(made.path, path)
    return replace(made, path=path)
