"""What a converter hands to the writer: the units of one batch, and everything that is not a target row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from sessionlift.converters._backward import GivenBack

UnitKind = Literal["session", "catalog"]
UnitState = Literal["moved", "partial", "quarantined"]
CATALOG: UnitKind = "catalog"
SESSION: UnitKind = "session"


class Sink(Protocol):
    """Where a converter puts target rows as it makes them, so that a large session never lies whole in memory."""

    def rows(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Take ``rows`` (tuples in the order of ``columns``) for ``table``, in the order they will be stored."""


@dataclass
class Unit:
    """One session (or the catalog) as it was read and as it will be written.

    ``read_counts`` counts source rows by source table, ``written_counts`` target rows by target table; ``size`` is
    about how many bytes the source's values take.
    ``complement`` holds what the target's shape cannot, ready for JSON; see docs/synth.md for its form.
    """

    kind: UnitKind
    session_id: str
    source_digest: str
    target_digest: str = ""
    state: UnitState = "moved"
    read_counts: dict[str, int] = field(default_factory=dict)
    written_counts: dict[str, int] = field(default_factory=dict)
    complement: dict[str, Any] = field(default_factory=dict)
    size: int = 0


@dataclass(frozen=True)
class Loss:
    """Values that had to be coerced, mapped or left out, counted over one batch.

    Where the originals are kept is a property of the code; ``example`` names one row.
    """

    code: str
    table: str
    column: str
    count: int
    example: dict[str, Any] | None = None


@dataclass(frozen=True)
class Fact:
    """Something true of the source that a reader of the target could take for a fault of the move.

    ``session_id`` is None where the fact is told of the whole batch and not of one session.
    """

    session_id: str | None
    code: str
    table: str
    count: int
    detail: Any = None


@dataclass(frozen=True)
class Quarantined:
    """A source row that could not be converted, whole. ``row`` is the row as JSON-ready values by column."""

    kind: UnitKind
    session_id: str
    table: str
    row_id: str
    code: str
    reason: str
    row: dict[str, Any]


@dataclass
class Batch:
    """The units that are committed together, and their losses, facts and quarantined rows."""

    units: list[Unit] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    quarantine: list[Quarantined] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    """ids of sessions whose source digest equals the ledger's: read, compared and left alone"""
    excluded: dict[str, int] = field(default_factory=dict)
    """source rows by table that are left out on purpose; a loss says why"""
    given: dict[str, GivenBack] = field(default_factory=dict)
    """by session that was taken back once what it got of what was kept, where the converter gives that back itself"""
