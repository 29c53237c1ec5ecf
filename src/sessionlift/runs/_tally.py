"""Counts of a run as its batches are committed, in the form that its report has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sessionlift.reports import ErrorLine, Loss, Report, SourceFact, TableCounts
from sessionlift.runs._codes import FACTS, LOSSES
from sessionlift.runs._protocol import Message

EXAMPLES = 3
ERRORS = 1_000
"""How many errors a report lists; the ledger has every row."""

ASIDE: dict[str, tuple[str, str, bool]] = {
    "changed_on_both_sides": (
        "changed_on_both_sides",
        "it changed in the source and in the target since it was moved; neither was touched",
        True,
    ),
    "source_spoiled": (
        "source_spoiled",
        "it has changed in the source since it was moved, and cannot be converted any more; what was moved stays",
        True,
    ),
    "update_refused": (
        "update_refused",
        "it has changed in the source since it was moved, and {reason}; what was moved stays (if another session there "
        "has that row still, take both back: `sessionlift rollback TARGET --session ID --session ID --on-conflict "
        "keep-legacy`, then migrate)",
        True,
    ),
    "lives_elsewhere": (
        "lives_elsewhere",
        "it was moved from another store, into which a rollback had taken it, and this source has it otherwise; it was "
        "left as it is (name that store as the source, or put it away if this one has taken its place)",
        True,
    ),
    "deleted_but_changed": (
        "deleted_but_changed",
        "it was deleted in the target, and has changed in the source since; it was not moved again",
        True,
    ),
    "quarantined": (
        "still_in_quarantine",
        "an earlier run put the whole session in quarantine, and its source is the same since",
        True,
    ),
    "partial": (
        "still_in_quarantine",
        "an earlier run put rows of it in quarantine, and its source is the same since",
        False,
    ),
}
"""Why a unit was left alone though it is not well: code and text for the report, and whether nothing of it moved. A
reason that the text has a place for follows the key."""

GONE = {"deleted": "deleted_in_target", "rolled_back": "rolled_back"}
"""Why a session is not in the target any more though nothing is wrong with it, and the code of the fact."""


@dataclass
class Tally:
    """What was committed so far."""

    migrated: int = 0
    skipped: int = 0
    failed: int = 0
    rows: int = 0
    bytes: int = 0
    tables: dict[str, TableCounts] = field(default_factory=dict)
    errors: list[ErrorLine] = field(default_factory=list)
    more_errors: int = 0
    _losses: dict[tuple[str, str, str], tuple[int, list[Any]]] = field(default_factory=dict)
    _facts: dict[tuple[str, str], tuple[int, list[Any]]] = field(default_factory=dict)

    def take(self, message: Message, *, moved: int, failed: int) -> None:
        """Add one committed batch."""
        self.migrated += moved
        self.failed += failed
        if message["kind"] == "session":
            self.skipped += message["unchanged"]
        self.bytes += message["bytes"]
        derived = set(message["derived"])
        for table, count in message["read"].items():
            self._table(table).read += count
        for table, count in message["written"].items():
            self.rows += count
            if table in derived:
                self._table(table).derived += count
            else:
                self._table(table).written += count
        for table, count in message["quarantined"].items():
            self._table(table).quarantined += count
        for table, count in message["excluded"].items():
            self._table(table).excluded += count
        for code, table, column, count, example in message["losses"]:
            _add(self._losses, (code, table, column), count, example)
        for session_id, code, table, count, detail in message["facts"]:
            example = {"session_id": session_id} if session_id is not None else None
            if example is not None and detail is not None:
                example["detail"] = detail
            _add(self._facts, (code, table), count, example)
        for session_id, table, row_id, code, reason in message["errors"]:
            # a row of the catalog may belong to no session; one of the id '' is a session, though
            whose = None if message["kind"] == "catalog" and not session_id else session_id
            self.error(ErrorLine(session_id=whose, error=reason, code=code, table=table, row=row_id))
        self.more_errors += message["more_errors"]
        for session_id, why in message["aside"]:
            self._left(None if message["kind"] == "catalog" else session_id, why)

    def beside(self, found: Mapping[tuple[str, str | None], int]) -> None:
        """Tell of what the source has beside all that moves; see ``Detection``."""
        for (table, column), count in found.items():
            code = "table_not_moved" if column is None else "column_not_moved"
            _add(self._facts, (code, table), count, None if column is None else {"column": column, "values": count})

    def _left(self, session_id: str | None, why: str) -> None:
        """Tell of a unit that was left alone though it is not well.

        A session of which nothing moved is no 'skipped'.
        """
        why, _, reason = why.partition(": ")
        if why in GONE:
            _add(self._facts, (GONE[why], "sessions"), 1, {"session_id": session_id})
            return
        code, text, whole = ASIDE[why]
        if whole and session_id is not None:
            self.skipped -= 1
            self.failed += 1
        told = text.replace("{reason}", reason) if session_id is not None else f"the catalog: {text}"
        self.error(ErrorLine(session_id=session_id, error=told, code=code))

    def error(self, line: ErrorLine) -> None:
        if len(self.errors) < ERRORS:
            self.errors.append(line)
        else:
            self.more_errors += 1

    def _table(self, name: str) -> TableCounts:
        return self.tables.setdefault(name, TableCounts())

    def into(self, report: Report) -> None:
        """Write the counts into ``report``."""
        report.migrated_sessions, report.skipped_sessions, report.failed_sessions = (
            self.migrated,
            self.skipped,
            self.failed,
        )
        report.tables = dict(self.tables)
        report.errors = list(self.errors)
        report.errors_truncated = self.more_errors
        report.losses = [
            Loss(
                code=code,
                table=table,
                column=column,
                count=count,
                meaning=LOSSES[code][0],
                original_kept_in=LOSSES[code][1],
                examples=examples,
            )
            for (code, table, column), (count, examples) in sorted(self._losses.items())
        ]
        report.source_facts = [
            SourceFact(code=code, table=table, count=count, meaning=FACTS[code], examples=examples)
            for (code, table), (count, examples) in sorted(self._facts.items())
        ]


def _add(counts: dict[Any, tuple[int, list[Any]]], key: Any, count: int, example: Any) -> None:
    before, examples = counts.get(key, (0, []))
    if example is not None and len(examples) < EXAMPLES and example not in examples:
        examples = [*examples, example]
    counts[key] = (before + count, examples)
