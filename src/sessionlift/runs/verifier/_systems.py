"""Which systems can be verified: by the generation of their source, what compares it with its target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sessionlift.errors import UsageError
from sessionlift.runs.verifier._auditor import Checker
from sessionlift.runs.verifier._readers import TargetReader
from sessionlift.stores import StoreURL


@dataclass(frozen=True)
class System:
    """How the stores of one source generation are verified: in words, and by ``open``.

    ``open`` takes the source's URL, the target and the options of a run.
    """

    method: str
    cannot_see: Sequence[str]
    open: Callable[[StoreURL, TargetReader, Mapping[str, Any]], AbstractContextManager[Checker]]


def _synth() -> System:
    from sessionlift.runs.verifier._synth import CANNOT_SEE, METHOD
    from sessionlift.runs.verifier._synth_audit import open_synth

    return System(METHOD, CANNOT_SEE, open_synth)


def _langswarm() -> System:
    from sessionlift.runs.verifier.langswarm import CANNOT_SEE, METHOD, open_langswarm

    return System(METHOD, CANNOT_SEE, open_langswarm)


_SYSTEMS: dict[str, Callable[[], System]] = {"synth.v2": _synth, "langswarm.v1": _langswarm}


def system_of(generation: str) -> System:
    """What verifies moves from ``generation``; its modules are loaded only now. Raises UsageError for none."""
    if generation not in _SYSTEMS:
        raise UsageError(f"no verifier begins at {generation}", hint=f"one of {', '.join(_SYSTEMS)}")
    return _SYSTEMS[generation]()
