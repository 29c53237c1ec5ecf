"""What every way back can do: the new generation's rows and the ledger's memory become legacy rows again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Protocol

from sessionlift.converters._batch import Loss, UnitKind
from sessionlift.converters._mapping import TypeMapping
from sessionlift.stores import Store

Found = Literal["unchanged", "changed", "new", "gone", "quarantined"]
"""How a unit lies in the target now. "unchanged": as it was moved. "changed": the application has written to it
since. "new": the ledger does not know it, the application made it. "gone": moved once, and deleted since.
"quarantined": it was never in the target, all its rows lie in quarantine."""


KEPT = "kept"
"""The key of a complement under which stands what the older shape could not hold when a unit was taken back."""
WAITING = "waiting"
"""The key of what was kept under which stands what of it could not be put back, for the next way back to keep again."""


@dataclass(frozen=True)
class Remembered:
    """What the ledger knows of one moved unit.

    ``quarantine`` holds (legacy table, row by column) of its rows that never reached the target. ``mapping`` is that
    of the run that moved it.
    """

    kind: UnitKind
    session_id: str
    state: str
    source_digest: str
    target_digest: str
    written_counts: dict[str, int] = field(default_factory=dict)
    complement: dict[str, Any] = field(default_factory=dict)
    quarantine: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    mapping: TypeMapping = field(default_factory=TypeMapping)

    def lies_as_moved(self, digest: str) -> bool:
        """Whether the unit, whose target rows have ``digest`` now, has not been written to since it was moved, so that
        its legacy rows follow from those of the target. What a move has put back does not follow from the rows alone.
        No digest is no likeness: the application has begun such a session, and left it, and filled what digests omit.
        """
        return digest == self.target_digest != "" and KEPT not in self.complement

    def lies_in_both(self, digest: str, there: str | None) -> bool:
        """Whether it lies as it was moved, what was given back to it included, in the target and in a legacy store,
        where its rows have the digest ``there``: nothing of it has to be made, and what was kept stays what it was."""
        return there == self.source_digest and self.state != "quarantined" and digest == self.target_digest != ""

    @property
    def kept(self) -> dict[str, Any]:
        """What the legacy store could not hold of it when it was last there."""
        kept: dict[str, Any] = self.complement.get(KEPT, {})
        return kept


@dataclass(frozen=True)
class Changes:
    """Rows of one unit by legacy table that are not in the legacy store as they are in the batch.

    ``linked`` are those that differ in nothing but that the legacy store does not say what they belong to: what it
    says elsewhere led there until the unit was written to.
    """

    added: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    deleted: dict[str, int] = field(default_factory=dict)
    linked: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.deleted or self.linked)

    def by_kind(self) -> dict[str, dict[str, int]]:
        """The counts by the names of what was done, for whoever tells of all."""
        return {each.name: dict(getattr(self, each.name)) for each in fields(self)}


@dataclass
class BackUnit:
    """One session (or the catalog) on its way back.

    ``source_digest`` is the digest of its legacy rows: the ledger's where nothing has changed since the move, else
    that of the rows that were made. None where there are no rows. ``kept`` is what the old shape cannot hold, ready
    for JSON: it belongs into the unit's complement, and ``PutBack`` gives it back after the next move forward.
    ``aside`` are (table, row by column) of its rows in quarantine that the legacy store does not get either: what a
    salvage could not read, what a catch-up did not take over, and what goes with a session that was deleted.
    """

    kind: UnitKind
    session_id: str
    found: Found
    source_digest: str | None = None
    kept: dict[str, Any] = field(default_factory=dict)
    aside: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


@dataclass(frozen=True)
class Refused:
    """A session that lies in the target in a form which nothing can read: it stays there."""

    session_id: str
    code: str
    reason: str


@dataclass
class BackwardBatch:
    """Units and their legacy rows by table, each row in the order of the table's ``columns``.

    Cells are None, integers, or the legacy engine's own text of a value. ``losses`` are counted over the batch.
    """

    units: list[BackUnit] = field(default_factory=list)
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    gone: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    """by legacy table the keys of catalog rows that were moved once and deleted in the target since"""
    owned: dict[str, list[Any]] = field(default_factory=dict)
    """by target table the keys of the catalog rows that the old generation has a row for, as a move would own them"""
    made: dict[str, dict[Any, str]] = field(default_factory=dict)
    """by target table and key what is noted of the catalog's rows that a move would make of the batch's"""
    sequences: dict[str, int] = field(default_factory=dict)
    """by sequence the number that the old program would have drawn next"""
    counters: dict[str, int] = field(default_factory=dict)
    """by table the last id that the new program has drawn, where rows of its own may be among those of the batch"""
    refused: list[Refused] = field(default_factory=list)
    """sessions that are among no units, since they cannot be read"""
    lying: list[BackUnit] = field(default_factory=list)
    """sessions that lie in both stores as they were moved: among no units either, and no rows were made of them"""


class LegacyRows(Protocol):
    """A unit's rows as they lie in a legacy store that is opened for writing."""

    def holders(self, store: Store, table: str, ids: Sequence[int]) -> dict[int, str]:
        """By those of ``ids`` that rows of ``table`` have in the legacy store, the session of the row."""

    def next_ids(self, store: Store) -> dict[str, int]:
        """By table the first id that neither its rows nor its sequence have come to."""

    def compare(self, store: Store, batch: BackwardBatch) -> dict[str, Changes]:
        """By session what ``write`` would add, change and delete. Writes nothing into the store."""

    def spelled(self, store: Store, batch: BackwardBatch) -> dict[str, list[list[Any]]]:
        """By table the batch's rows of sessions as the store would give them back, ready for JSON. Writes nothing."""

    def write(
        self, store: Store, batch: BackwardBatch, seen: Mapping[str, str | None] | None = None
    ) -> dict[str, Changes]:
        """Make the legacy rows of the batch's units what the batch says, in one transaction; returns what changed.

        ``seen`` has the digests that sessions had when it was decided to write them (None: it was not there). Raises
        StoreOvertakenError, and nothing is written, where one of them has another by now.

        Units that are "gone" are left alone: see ``remove``. Sequences are advanced in the same transaction, so that
        the old program draws no id that a row has.
        """

    def digests(self, store: Store, kind: UnitKind, ids: Sequence[str]) -> dict[str, str]:
        """The source digests of units as they lie in ``store`` now; ids that it does not hold are left out."""

    def remove(self, store: Store, ids: Sequence[str], seen: Mapping[str, str | None] | None = None) -> None:
        """Delete sessions with all their rows. Whole transactions of its own; done again, it does nothing.

        ``seen`` as for ``write``.
        """


class Backward(Protocol):
    """Reads a target and gives the rows of the generation before. Changes nothing in the target.

    Where ``legacy`` is given (a legacy store and what can be asked of it), rows that the application added get other
    ids where the old ones are taken there.
    """

    name: str
    version: int

    def session_ids(self, store: Store) -> list[str]:
        """The sessions that lie in the target, in the order they were written there."""

    def backward(
        self,
        store: Store,
        ids: Sequence[str],
        memory: Mapping[str, Remembered],
        legacy: tuple[Store, LegacyRows] | None = None,
        there: Mapping[str, str] | None = None,
    ) -> BackwardBatch:
        """The legacy rows of sessions. ``memory`` has what the ledger knows of them, by id.

        ``there`` has the source digests of sessions as they lie in the legacy store: one that lies there, and in the
        target, as it was moved is only named (``lying``).
        """

    def catalog(self, store: Store, memory: Remembered | None) -> BackwardBatch:
        """The legacy rows of what no session owns, and of what was put aside since its session does not exist."""

    def beside(
        self, legacy: Store, batch: BackwardBatch, before: Mapping[str, Mapping[Any, str | None]]
    ) -> list[tuple[str, Any]]:
        """Leave those rows out of a catalog's ``batch`` that the legacy store has otherwise since it had those
        ``before`` (by target table and key, as a move notes them), or that the application has not changed since.

        Returns table and key of the rows that both have changed, each in its own way.
        """


@dataclass
class GivenBack:
    """How many values and rows were put back, and what was not: ready for JSON, and told by table, with an example."""

    done: int = 0
    waiting: dict[str, Any] = field(default_factory=dict)
    told: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)

    def waits(self, table: str, column: str, key: Any) -> dict[str, Any]:
        """Count one value or row that is not put back, since ``column`` says; returns where it is to be kept."""
        count, example = self.told.get(table, (0, {"row": str(key), "column": column}))
        self.told[table] = (count + 1, example)
        return self.waiting


class PutBack(Protocol):
    """The last step of a move forward that comes after a way back."""

    def put_back(self, store: Store, session_id: str, kept: Mapping[str, Any]) -> GivenBack:
        """Give a unit that was just written into the target what ``kept`` holds.

        Belongs into the transaction that wrote it. A value is put back only where the move has made what it made
        when the value was kept: what the old program has changed since, stands. What would name a row that is not
        there any more waits, and so does a row whose place is taken.
        """
