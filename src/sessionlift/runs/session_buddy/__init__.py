"""What only Session-Buddy's stores need: their oddities, whether they work, and the guide's optional steps."""

from __future__ import annotations

import importlib as _importlib
import typing as _typing

from sessionlift.runs.session_buddy._oddities import oddities, sessions
from sessionlift.runs.session_buddy._works import Check, works

if _typing.TYPE_CHECKING:
    from sessionlift.runs.session_buddy._derive import StepName, derive

__all__ = ["Check", "StepName", "derive", "oddities", "sessions", "works"]


def __getattr__(name: str) -> _typing.Any:
    """Load the steps when one is asked for: a change in place needs none of them."""
    if name not in ("StepName", "derive"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_importlib.import_module(f"{__name__}._derive"), name)
