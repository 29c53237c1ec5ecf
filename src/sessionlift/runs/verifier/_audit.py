"""What an audit finds: findings, notes, and everything that was counted again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

KEPT = 1_000
"""How many findings are named; the rest are counted."""
SINCE = " (the session was changed in the target since the move)"
GONE = ("deleted", "rolled_back")
"""States of sessions that were in the target once, and must have no rows there any more."""


@dataclass(frozen=True)
class Unit:
    """What is known of one moved unit: from the ledger, or from a report's digests file."""

    kind: str
    session_id: str
    run_id: str
    source_digest: str
    target_digest: str
    state: str


@dataclass(frozen=True)
class Finding:
    """Something that is not as the ledger or the report has it."""

    code: str
    message: str
    session_id: str | None = None
    table: str | None = None


@dataclass(frozen=True)
class Note:
    """Something to be told that is no fault."""

    code: str
    table: str | None
    count: int
    examples: list[Any]


@dataclass
class Audit:
    """Findings and notes; and by table and by loss what was counted again.

    ``sessions_table`` is the source's table with one row a session, ``not_counted`` the losses whose counts are
    not worked out a second time.
    """

    sessions_table: str
    not_counted: tuple[str, ...]
    catalog_tables: tuple[str, ...] = ()
    orphan_tables: tuple[str, ...] = ()
    """the tables whose counts are the catalog's, and those in whose counts it has its part"""
    findings: list[Finding] = field(default_factory=list)
    more: int = 0
    notes: list[Note] = field(default_factory=list)
    failed: int = 0
    units: int = 0
    read: dict[str, int] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    quarantined: dict[str, int] = field(default_factory=dict)
    excluded: dict[str, int] = field(default_factory=dict)
    losses: list[tuple[str, str, str, int]] = field(default_factory=list)
    source_sessions: int = 0
    lost: int = 0
    """sessions that were moved, and that the source no longer has"""
    gone_from_both: int = 0
    """sessions that were deleted in the target or taken back, and that the source does not have (any more) either"""
    aside: int = 0
    moved_again: int = 0
    gone_since: int = 0
    """sessions of the report that were deleted or taken back since"""
    given_back: int = 0
    """sessions that got back what the older store could not hold: their losses are not counted again"""
    catalog_since: bool = False
    """whether a later run has moved the catalog again, or has taken it back to the older store"""
    catalog_moved_on: bool = False
    """whether the source's rows of no session are others by now than those that were moved"""
    sessions_moved_on: int = 0
    """sessions whose rows in the source are others by now: what was read of them, and their losses, are not counted"""
    later: int = 0
    """sessions that the ledger has from a run later than the report's, those moved again among them"""
    known: int = 0
    """sessions that the ledger names, wherever they live by now"""
    there_before: int = 0
    """those of them that lived in the target when the report's run began, and do so still"""
    run_kind: str | None = None
    """what the ledger has the report's run as"""
    in_parts: bool = False
    """whether the run may have laid two sides of a session together, and counted what it added to it alone"""
    run_known: bool = True

    def find(self, finding: Finding) -> None:
        if len(self.findings) < KEPT:
            self.findings.append(finding)
        else:
            self.more += 1

    def note(self, code: str, table: str | None, count: int, examples: list[Any]) -> None:
        if count:
            self.notes.append(Note(code, table, count, examples))

    def to_message(self) -> dict[str, Any]:
        return asdict(self)


def parsed(text: Any) -> dict[str, Any]:
    """A JSON object of the ledger; an empty one where there is none that can be read."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def changed_in_source(session: str) -> Finding:
    return Finding("changed_in_source", "the session changed in the source since it was moved", session)


def changed_in_target(session: str) -> Finding:
    return Finding(
        "changed_in_target",
        "the session changed in the target since it was moved: its digest is not the one that was written",
        session,
    )


def deleted_in_target(session: str) -> Finding:
    return Finding("changed_in_target", "the session was deleted in the target since it was moved", session)


def rows_of_quarantined(session: str) -> Finding:
    return Finding(
        "rows_of_quarantined",
        "the session is in quarantine, so that no move wrote it; the target has rows under its id all the same",
        session,
    )


def not_in_ledger(session: str) -> Finding:
    return Finding(
        "not_in_ledger",
        "the session is in the source and in the target, and the ledger does not name it, so that nothing of it was "
        "compared: its entry was lost, or the application has a session of its own under this id",
        session,
    )


def came_back(session: str, state: str) -> Finding:
    was = "deleted there" if state == "deleted" else "taken back"
    return Finding(
        "came_back",
        f"the ledger says that the session was moved once and {was} since; the target has rows of it again",
        session,
    )
