"""What a rollback was asked to do, and what it says of each session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from sessionlift.converters import Changes, Found
from sessionlift.errors import UsageError
from sessionlift.ledger import LedgerUnit
from sessionlift.reports import Report

OnConflict = Literal["refuse", "keep-legacy"]
Action = Literal["carry", "there", "remove", "discard", "settled", "aside", "conflict", "refused"]
"""What becomes of a session. "carry": its rows are written into the legacy store. "there": they lie in it already.
"remove": it was deleted in the target, and is in the legacy store, too. "discard": it leaves the target without
what was written there since. "settled": it has left the target before. "aside": it lies in quarantine, and was in
the legacy store all along. "conflict": the legacy store has changed. "refused": it cannot be read or written."""


@dataclass(frozen=True)
class RollbackOptions:
    """Which sessions, and how. Exactly one of ``run``, ``sessions``, ``everything`` and ``since`` is given.

    ``to``: the legacy store, if not the one that they came from; a file that is not there is made.
    """

    run: str | None = None
    sessions: tuple[str, ...] = ()
    everything: bool = False
    since: str | None = None
    to: str | None = None
    discard_new: bool = False
    keep_target: bool = False
    on_conflict: OnConflict = "refuse"

    def __post_init__(self) -> None:
        given = [self.run is not None, bool(self.sessions), self.everything, self.since is not None]
        if sum(given) != 1:
            raise UsageError(
                "say which sessions are to be taken back, in one way",
                hint="one of --run ID, --session ID (may be given many times), --since TIME and --all",
            )
        if self.discard_new and self.keep_target:
            raise UsageError(
                "--discard-new and --keep-target are at odds: nothing would be done",
                hint="leave one of them out",
            )

    def after(self) -> str | None:
        """``since`` as the ledger has times. A time without a zone is UTC. Raises UsageError."""
        if self.since is None:
            return None
        text = self.since.strip()
        try:
            moment = datetime.fromisoformat(f"{text[:-1]}+00:00" if text[-1:] in ("Z", "z") else text)
        except ValueError as error:
            raise UsageError(
                f"{self.since!r} is no time", hint="such as 2025-03-01T02:30:00+00:00 or 2025-03-01"
            ) from error
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")

    def to_message(self) -> dict[str, Any]:
        """For the ledger and the report."""
        return {
            "run": self.run,
            "sessions": list(self.sessions) or None,
            "all": self.everything,
            "since": self.since,
            "to": self.to,
            "discard_new": self.discard_new,
            "keep_target": self.keep_target,
            "on_conflict": self.on_conflict,
        }


@dataclass
class Turn:
    """One session on its way back.

    ``before`` is the ledger's word at the beginning, ``seen`` a digest of all its rows in the target then. ``digest``
    is what the legacy store has to hold at the end (None: nothing), ``state`` what the ledger will say. ``rows``
    counts the rows that were made, by legacy table, and ``size`` the bytes of their values; ``aside``: see
    ``BackUnit``; ``added``: see ``Watched``. ``rebuilt``: it was moved from elsewhere and written to since, and this
    legacy store has none of it, so that what of its rows is new cannot be told.
    """

    session_id: str
    action: Action
    found: Found | None = None
    before: LedgerUnit | None = None
    seen: str = ""
    digest: str | None = None
    state: str = "rolled_back"
    kept: dict[str, Any] = field(default_factory=dict)
    aside: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    added: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)
    rows: Mapping[str, int] = field(default_factory=dict)
    size: int = 0
    code: str = ""
    why: str = ""
    rebuilt: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The session's line, ready for JSON."""
        told: dict[str, Any] = {"session_id": self.session_id, "action": self.action, "found": self.found}
        told.update(self.changes.by_kind())
        if self.rebuilt:
            told["rebuilt"] = True
        if self.why:
            told.update(code=self.code, error=self.why)
        return told


@dataclass(frozen=True)
class RollbackResult:
    """The finished report, the file it was written to (None where that could not be), and a line a session.

    ``more`` counts the sessions without a line.
    """

    report: Report
    path: Path | None
    sessions: list[dict[str, Any]]
    more: int = 0
