"""Counts of a rollback as its sessions come to their end, in the form that its report has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sessionlift.converters import Changes, Loss
from sessionlift.reports import ErrorLine, Report, SourceFact, TableCounts, Throughput
from sessionlift.reports import Loss as LossLine
from sessionlift.runs._codes import FACTS, LOSSES
from sessionlift.runs._rollback_options import Turn
from sessionlift.runs._tally import ERRORS, EXAMPLES
from sessionlift.runs._transfer import LIVES_ELSEWHERE

LINES = 10_000
"""Of so many sessions a line is kept for the caller."""


class RollbackTally:
    """What was done so far. ``done`` are the sessions that need nothing else."""

    def __init__(self) -> None:
        self.migrated = self.skipped = self.failed = self.rows = self.bytes = 0
        self.done: set[str] = set()
        self.lines: list[dict[str, Any]] = []
        self.more_lines = 0
        self._begun: dict[str, Turn] = {}
        self._tables: dict[str, TableCounts] = {}
        self._errors: list[ErrorLine] = []
        self._more = 0
        self._losses: dict[tuple[str, str, str], list[Any]] = {}
        self._facts: dict[tuple[str, str], list[Any]] = {}

    @property
    def sessions(self) -> int:
        return self.migrated + self.skipped + self.failed

    def begin_again(self, turns: Iterable[Turn]) -> None:
        """Take sessions that are looked at once more: what was written of them by now is this run's work all the same.

        To be told of each time, before ``settle``.
        """
        for turn in turns:
            self._with_what_was_written(turn)
            self._begun[turn.session_id] = turn

    def _with_what_was_written(self, turn: Turn) -> None:
        before = self._begun.pop(turn.session_id, None)
        if before is None or not before.changes:
            return
        turn.rebuilt = turn.rebuilt or before.rebuilt
        turn.size = turn.size or before.size
        now = turn.changes.by_kind()
        turn.changes = Changes(
            **{kind: dict(Counter(counts) + Counter(now[kind])) for kind, counts in before.changes.by_kind().items()}
        )
        if turn.action == "there" and before.action == "carry":
            turn.action = "carry"

    def settle(self, turns: Sequence[Turn], losses: Sequence[Loss]) -> None:
        """Take sessions that have come to their end, and what of them the legacy store cannot hold."""
        for turn in turns:
            self._with_what_was_written(turn)
            self._line(turn)
            if turn.action in ("conflict", "refused"):
                self.failed += 1
                self.error(ErrorLine(session_id=turn.session_id, error=turn.why, code=turn.code))
                continue
            self.done.add(turn.session_id)
            if turn.action in ("settled", "aside"):
                self.skipped += 1
                if turn.code == LIVES_ELSEWHERE:
                    self._tell("rolled_back", "sessions", 1, turn.session_id)
                continue
            self.migrated += 1
            if turn.action in ("carry", "there"):
                self._count(turn.rows)
            if turn.action == "carry":
                self.bytes += turn.size
            self._carried(turn.changes, turn.session_id, turn)
        for loss in losses:
            self._lose(loss)

    def catalog(self, changes: Changes, losses: Sequence[Loss], rows: Mapping[str, int]) -> None:
        """Take what no session owns, of which the legacy store has, or gets, so many ``rows``."""
        self._count(rows)
        self._carried(changes, None, None)
        for loss in losses:
            self._lose(loss)

    def error(self, line: ErrorLine) -> None:
        if len(self._errors) < ERRORS:
            self._errors.append(line)
        else:
            self._more += 1

    def _line(self, turn: Turn) -> None:
        if len(self.lines) < LINES:
            self.lines.append(turn.to_dict())
        else:
            self.more_lines += 1

    def _count(self, rows: Mapping[str, int]) -> None:
        for table, count in rows.items():
            found = self._tables.setdefault(table, TableCounts())
            found.read += count
            found.written += count
            self.rows += count

    def _carried(self, changes: Changes, session_id: str | None, turn: Turn | None) -> None:
        """Rows that are not in the legacy store as they were: only where someone has written them since the move."""
        if turn is not None and turn.found in ("unchanged", "quarantined"):
            return
        if turn is not None and turn.rebuilt:
            self._tell("carried_whole", "sessions", 1, session_id)
            return
        for kind, counts in changes.by_kind().items():
            for table, count in counts.items():
                self._tell(f"carried_{kind}", table, count, session_id)

    def _tell(self, code: str, table: str, count: int, session_id: str | None) -> None:
        found = self._facts.setdefault((code, table), [0, []])
        found[0] += count
        if session_id is not None and len(found[1]) < EXAMPLES:
            found[1].append({"session_id": session_id})

    def _lose(self, loss: Loss) -> None:
        found = self._losses.setdefault((loss.code, loss.table, loss.column), [0, []])
        found[0] += loss.count
        if loss.example is not None and len(found[1]) < EXAMPLES:
            found[1].append(loss.example)

    def into(self, report: Report) -> None:
        """Write the counts into ``report``."""
        report.migrated_sessions, report.skipped_sessions, report.failed_sessions = (
            self.migrated,
            self.skipped,
            self.failed,
        )
        report.tables = dict(self._tables)
        report.errors, report.errors_truncated = list(self._errors), self._more
        report.losses = [
            LossLine(
                code=code,
                table=table,
                column=column or None,
                count=count,
                meaning=LOSSES[code][0],
                original_kept_in=LOSSES[code][1],
                examples=examples[:count],
            )
            for (code, table, column), (count, examples) in sorted(self._losses.items())
        ]
        report.source_facts = [
            SourceFact(code=code, table=table, count=count, meaning=FACTS[code], examples=examples[:count])
            for (code, table), (count, examples) in sorted(self._facts.items())
        ]

    def throughput(self, seconds: float, peaks: dict[str, float]) -> Throughput:
        return Throughput.measured(
            sessions=self.migrated, rows=self.rows, bytes=self.bytes, seconds=seconds, peak_memory_mb=peaks
        )
