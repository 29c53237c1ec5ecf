"""What every converter of a system can do, and what a run has to know of the rows that it makes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sessionlift.converters._batch import Batch, Loss, Sink, UnitKind
from sessionlift.stores import Store

Owned = Mapping[str, Sequence[Any]]
"""By catalog table the keys of the rows that a move made, as the catalog's complement has them."""

RowKeys = Mapping[str, Collection[Any]]
"""By catalog table keys of rows, each as in ``Owned``, but that one of several columns is a tuple."""


@dataclass(frozen=True)
class Inventory:
    """What lies in the store: the sessions chosen, their rows by table, rows of no session by table, bytes."""

    sessions: int
    rows: dict[str, int]
    orphans: dict[str, int]
    bytes: int


@dataclass
class Forecast:
    """``quarantined`` and ``derived`` count rows by table; sessions are those that would move.

    ``ailing`` are the first few sessions with rows that would be put aside, in the order they move; ``unread`` counts
    rows that a run does not count, since their session is put aside as one row.
    """

    losses: list[Loss] = field(default_factory=list)
    quarantined: dict[str, int] = field(default_factory=dict)
    sessions_quarantined: int = 0
    ailing: list[str] = field(default_factory=list)
    unread: dict[str, int] = field(default_factory=dict)
    derived: dict[str, int] = field(default_factory=dict)


class Group(Protocol):
    """The sessions of one batch; how it names them is the converter's own affair."""

    @property
    def rows(self) -> int:
        """Source rows in it."""

    @property
    def bytes(self) -> int:
        """About how many bytes its values take."""


class Forward(Protocol):
    """Reads one opened legacy store and gives the rows of the next generation; changes nothing in the source.

    ``name`` and ``version`` stand in the ledger beside each unit that it made. ``derived_tables`` are the tables
    of the target whose rows have no row in the source.
    """

    name: str
    version: int
    derived_tables: tuple[str, ...]

    def inventory(self) -> Inventory:
        """Number the chosen sessions in the order they move, and count what belongs to them."""

    def forecast(self, inventory: Inventory) -> Forecast:
        """What a move of the sessions in ``inventory`` would lose, put aside and derive."""

    def session_ids(self) -> Iterator[str]:
        """The ids of the chosen sessions, in the order they move."""

    def leave_out(self, ids: Iterable[str]) -> Inventory:
        """Take sessions out of the inventory; returns what is left."""

    def missing(self, ids: Iterable[str]) -> list[str]:
        """Those of ``ids`` that the store does not hold."""

    def know(self, known: Iterable[tuple[str, str]]) -> None:
        """Tell which sessions were moved before, with the digest of their source rows: equal ones are left alone."""

    def known_now(self, group: Any) -> dict[str, str | None]:
        """The known sessions of ``group``: the digest of their source rows as they are, None where it is the known one.

        Without a look at what they would become, so that it costs little.
        """

    def unreadable(self, ids: Sequence[str]) -> set[str]:
        """Those of ``ids`` that would be put aside whole, since their rows cannot be converted."""

    def next_ids(self) -> dict[str, int]:
        """By table whose rows keep their ids the first that the legacy program has not come to; ids given by hand
        aside."""

    def foreign(self) -> tuple[int, int, str | None]:
        """How many sessions are known, how many of them the store does not hold, and one of those."""

    def groups(self, *, max_rows: int = ..., max_bytes: int = ...) -> Iterator[Group]:
        """The chosen sessions in batches of at most about so many rows and bytes; ``inventory`` comes first."""

    def singles(self, group: Any) -> Iterator[Group]:
        """The sessions of ``group``, one by one."""

    def pick(self, ids: Sequence[str]) -> Iterator[Group]:
        """Groups of these sessions only, whatever was chosen before; ids that the store lacks are left out."""

    def catalog(self, sink: Sink, known: str | None = None, leave: RowKeys | None = None) -> Batch:
        """The rows of no session as one unit; an empty batch where there are none, or the digest is ``known``.

        The rows that ``leave`` names are neither given nor counted, though the unit's digests are of all of them.
        """

    def convert(self, group: Any, sink: Sink, rejected: Mapping[str, tuple[str, str]] | None = None) -> Batch:
        """The sessions of ``group``: their rows go to ``sink``, everything else comes back.

        Sessions whose digest is known are named as unchanged and give no rows. Those in ``rejected`` (by id a
        code and a reason), which the target cannot take, go to quarantine whole.
        """


class TargetRows(Protocol):
    """A unit's rows as they lie in the target."""

    def digests(self, store: Store, kind: UnitKind, ids: Sequence[str], owned: Owned | None = None) -> dict[str, str]:
        """The digests of units as they lie in ``store`` now; a session without rows has that of no rows."""

    def catalog_rows(self, store: Store) -> dict[str, dict[Any, str]]:
        """By catalog table the rows that lie in ``store`` now: by key, the digest of the rows that have it."""

    def touched(self, store: Store, ids: Sequence[str]) -> set[str]:
        """Those of ``ids`` whose rows hold values in columns that a move leaves NULL: the application wrote them."""

    def remove(self, store: Store, kind: UnitKind, ids: Sequence[str], owned: Owned | None = None) -> None:
        """Delete the rows of units. Belongs into a transaction."""

    def keep_free(self, store: Store, next_ids: Mapping[str, int]) -> dict[str, int]:
        """Let the new program draw ids well above ``next_ids``, so that the legacy one's next rows can move, too.

        ``next_ids`` has by table whose rows keep their ids the one that the legacy program draws next. A transaction of
        its own, where there is anything to do. Returns by table the id with which the new program's begin from now on.
        """
