"""What both sides did with a session since it moved: laid together, or told as a conflict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from sessionlift.converters._batch import Quarantined, Unit
from sessionlift.stores import Store

OnConflict = Literal["raise", "append_legacy", "keep_new"]
Rows = Mapping[str, list[dict[str, Any]]]


@dataclass
class Continued:
    """How the two sides go together. With a ``conflict`` nothing may be written.

    ``appended``: rows by table that the new store gets; ``changed``: columns of the session's own rows by table;
    ``quarantine``: what the legacy side wrote and the new store does not get; ``renew`` is false where the complement
    of the first move stays. ``conflict`` says what stands against each other, ``mend`` what has to be done where no
    policy settles it; the tails are for people.
    """

    appended: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    changed: dict[str, dict[str, Any]] = field(default_factory=dict)
    quarantine: list[Quarantined] = field(default_factory=list)
    renew: bool = True
    conflict: str = ""
    mend: str = ""
    legacy_tail: list[dict[str, Any]] = field(default_factory=list)
    new_tail: list[dict[str, Any]] = field(default_factory=list)


class Continuation(Protocol):
    """A system's way to lay two sides of a session together."""

    def __call__(
        self,
        store: Store,
        session_id: str,
        *,
        again: Rows,
        unit: Unit,
        complement: Mapping[str, Any],
        target_digest: str,
        on_conflict: OnConflict,
    ) -> Continued | None:
        """``again`` and ``unit`` are what a move would write now, the others what the ledger has of the last one.

        Reads ``store``, inside of a transaction, and writes nothing. None where the target lacks the session.
        """
