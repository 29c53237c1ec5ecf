"""Which generations can be moved to which, and the pieces that such a move is made of."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sessionlift.converters import Continuation, Forward, Inventory, TargetRows
from sessionlift.errors import UsageError
from sessionlift.runs._options import TransferOptions, refuse_choices
from sessionlift.stores import Need, StoreURL

if TYPE_CHECKING:
    from sessionlift.converters.langswarm import LegacySource, LiveSource

Made = TypeVar("Made")

MEMORY_LIMIT = "36MB"
"""What DuckDB may use in the converter's process; it spills to a private directory beyond that."""

_COUNTED = 450
"""About so many bytes for each session while all of them are counted."""


class Source(Protocol):
    """An opened legacy store, ready for its converter."""

    def forward(self, options: TransferOptions, kept: Mapping[str, Any] | None = None) -> Forward:
        """A converter of this store. ``kept`` has by session id what an earlier way back kept for it."""

    def inventory(self, forward: Forward) -> Inventory:
        """What ``forward``, a converter of this store, counts, with the memory that it takes."""

    def with_room(self, work: Callable[[], Made], need: Need | None = None) -> Made:
        """Do ``work``; if it needs more memory than a run should take, do it again with what the machine has.

        So it may be begun more than once: what it fills, it makes itself. ``need`` is what such work has needed.
        """

    def mapped(self) -> AbstractContextManager[None]:
        """Turns the driver's errors that are raised inside into ours."""

    def snapshot(self, name: Path) -> bool:
        """Give ``name`` to the private copy that is read, so that it outlives this source; False where the store
        itself is read."""

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True)
class Road:
    """One move from a generation to the next."""

    source: str
    target: str
    rows: TargetRows
    open_source: Callable[[StoreURL, int], Source]
    """the legacy store as it is now, read-only, by its URL and the number of threads that may read it"""
    open_live: Callable[[StoreURL], Source]
    """the legacy store while others may write to it: each ``pick`` sees what they have committed by then"""
    home: str = "sessions"
    """the target's table with one row for each session, by ``session_id``"""
    late_indexes: tuple[str, ...] = ()
    """those of the target's indexes that a first move of many sessions leaves out until its rows are there, and that
    neither it nor its verifier reads by; no unique one, since what those refuse must be known at once"""
    choices: tuple[str, ...] = ("--only", "--timezone", "--mapping")
    """the options that say how to convert, and mean something on this road"""
    continuation: Continuation | None = None
    """lays together what both sides did with a session; None where the system has no such way"""


class _SynthSource:
    def __init__(self, url: StoreURL, threads: int = 1) -> None:
        from sessionlift.stores import DuckdbStore

        self._store = DuckdbStore(url, memory_limit=MEMORY_LIMIT, threads=threads)

    def forward(
        self,
        options: TransferOptions,
        kept: Mapping[str, Any] | None = None,  # noqa: ARG002 - v3's rows get it when they are written
    ) -> Forward:
        from sessionlift.converters.synth import SynthForward

        return SynthForward(self._store, options.synth())

    def inventory(self, forward: Forward) -> Inventory:
        ((sessions,),) = self._store.query("SELECT count(*) FROM session_traces")
        return self._store.with_room(forward.inventory, Need.of(int(str(sessions)), _COUNTED))

    def with_room(self, work: Callable[[], Made], need: Need | None = None) -> Made:
        """Most stores fit into very little. A session with texts of many megabytes does not, and is moved all the
        same."""
        return self._store.with_room(work, need)

    @contextmanager
    def mapped(self) -> Iterator[None]:
        with self._store.mapped():
            yield

    def snapshot(self, name: Path) -> bool:  # noqa: ARG002 - DuckDB keeps every writer out
        return False

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.close()


def _synth() -> Road:
    from sessionlift.converters.synth import SynthRows

    return Road(
        "synth.v2",
        "synth.v3",
        SynthRows(),
        _SynthSource,
        _SynthSource,
        home="session_traces",
        late_indexes=(
            "idx_timestep_session_step",
            "idx_event_session_step",
            "idx_event_rewards_session",
            "idx_message_session_step",
        ),
    )


class _LangswarmSource:
    def __init__(self, source: LegacySource | LiveSource) -> None:
        self._source = source

    def forward(self, options: TransferOptions, kept: Mapping[str, Any] | None = None) -> Forward:
        from sessionlift.converters.langswarm import LangswarmForward

        return LangswarmForward(self._source, options.langswarm(), kept)

    def inventory(self, forward: Forward) -> Inventory:
        return forward.inventory()

    def with_room(self, work: Callable[[], Made], need: Need | None = None) -> Made:  # noqa: ARG002 - see below
        return work()  # one session at a time is in memory, however large

    @contextmanager
    def mapped(self) -> Iterator[None]:
        with self._source.mapped():
            yield

    def snapshot(self, name: Path) -> bool:
        """A dump is laid out anew for reading, so that only copies of SQLite files are what the store was."""
        from sessionlift.converters.langswarm import LegacySource

        copy = self._source.copy if isinstance(self._source, LegacySource) else None
        if copy is None:
            return False
        os.link(copy, name)
        return True

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.close()


def _langswarm() -> Road:
    from sessionlift.converters.langswarm import LangswarmRows, LiveSource, continue_session, open_legacy

    return Road(
        "langswarm.v1",
        "langswarm.v2",
        LangswarmRows(),
        lambda url, _threads: _LangswarmSource(open_legacy(url, snapshot=True)),
        lambda url: _LangswarmSource(LiveSource(url)),
        choices=("--only", "--timezone", "--salvage"),
        continuation=continue_session,
    )


_ROADS: dict[str, Callable[[], Road]] = {"synth.v2": _synth, "langswarm.v1": _langswarm}

SOURCES = tuple(_ROADS)
"""The generations that can be moved."""


def chosen_road(generation: str, options: TransferOptions) -> Road:
    """The road that begins at ``generation``. Raises UsageError where ``options`` say what means nothing on it."""
    road = road_from(generation)
    refuse_choices(
        options,
        (*road.choices, "--on-error", "--same-source"),
        f"a move from {generation} to {road.target} has no use for all that was said",
    )
    return road


def road_from(generation: str) -> Road:
    """The road that begins at ``generation``; its modules are loaded only now. Raises UsageError for none."""
    if generation not in _ROADS:
        raise UsageError(f"no converter begins at {generation}", hint=f"one of {', '.join(_ROADS)}")
    return _ROADS[generation]()


def road_to(generation: str) -> Road | None:
    """The road that ends at ``generation``, if there is one."""
    return next((road for road in map(road_from, SOURCES) if road.target == generation), None)
