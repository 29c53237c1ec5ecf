"""Which generations can be taken back to which, and the pieces that such a way is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

from sessionlift.converters import KEPT, Backward, LegacyRows, PutBack
from sessionlift.errors import UsageError
from sessionlift.ledger import Ledger
from sessionlift.stores import Engine

Reserved = Mapping[str, Set[int]]


@dataclass(frozen=True)
class WayBack:
    """The way from a target's generation to the one before. ``legacy`` is that generation."""

    legacy: str
    revision: str
    """makes an empty legacy store"""
    engine: Engine
    """writes a legacy store: the old program's own driver"""
    dresses: tuple[str, ...]
    """the forms of a legacy store that can be written; the first is that of a new file"""
    rows: LegacyRows
    backward: Callable[[str, Reserved], AbstractContextManager[Backward]]
    """a converter by the zone of naive times and the ids that nothing new may take"""
    tables: tuple[str, ...]
    """the target's tables of which sessions have rows"""
    counted: Mapping[str, str]
    """by table of the target the name under which its rows are counted in the legacy store"""


def _synth() -> WayBack:
    from sessionlift.converters.synth import V3_SESSION_TABLES, SynthBackward, SynthLegacyRows

    return WayBack(
        "synth.v2",
        "synth_v2",
        "duckdb",
        ("final", "early/mid"),
        SynthLegacyRows(),
        lambda zone, reserved: SynthBackward(zone, reserved=reserved),
        tuple(V3_SESSION_TABLES),
        {name: name for name in ("session_traces", "session_timesteps", "events", "messages")},
    )


def _langswarm() -> WayBack:
    from sessionlift.converters.langswarm import (
        SESSION_TABLES,
        LangswarmBackward,
        LangswarmLegacyRows,
    )

    return WayBack(
        "langswarm.v1",
        "langswarm_v1",
        "sqlite",
        ("sqlite",),
        LangswarmLegacyRows(),
        lambda zone, _: LangswarmBackward(zone),
        SESSION_TABLES,
        {"sessions": "sessions"},
    )


class KeptInLedger(Mapping[str, Any]):
    """By session id what the ledger kept when it was taken back; read when it is asked for."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __getitem__(self, session_id: str) -> Any:
        return self._ledger.complement(session_id)[KEPT]

    def __iter__(self) -> Iterator[str]:
        return (session_id for session_id, _ in self._ledger.kept())

    def __len__(self) -> int:
        return sum(1 for _ in self)


_WAYS: dict[str, Callable[[], WayBack]] = {"synth.v3": _synth, "langswarm.v2": _langswarm}

TARGETS = tuple(_WAYS)
"""The generations that can be taken back."""


def way_back_from(generation: str) -> WayBack:
    """The way back that begins at ``generation``; its modules are loaded only now. Raises UsageError for none."""
    if generation not in _WAYS:
        raise UsageError(f"no way back begins at {generation}", hint=f"one of {', '.join(TARGETS)}")
    return _WAYS[generation]()


def put_back_of(generation: str) -> PutBack | None:
    """What gives sessions of ``generation`` back what the older shape could not hold; None where the converter does."""
    if generation != "synth.v3":
        return None
    from sessionlift.converters.synth import SynthPutBack

    return cast("PutBack", SynthPutBack())
