"""The look at what a rollback wrote, before anything leaves the target: by other processes, drivers and code."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sessionlift.converters import TypeMapping
from sessionlift.ledger import LedgerRun
from sessionlift.reports import Difference, Verification
from sessionlift.runs._options import TransferOptions
from sessionlift.runs._protocol import Message, Worker
from sessionlift.runs._rollback_options import Turn
from sessionlift.runs._verification import Verifier, differences_of
from sessionlift.runs.verifier import system_of
from sessionlift.stores import StoreURL

METHOD = (
    "Of every session, the digest of its rows in the legacy store was computed by separate code, in a process of its "
    "own that had opened the store anew, and compared with that of the rows that were made (for a session that nobody "
    "has written to since the move: that of the rows as they were read when it moved). Where they differ, its rows "
    "were made again, and compared with those there cell by cell. Of sessions that nobody has written to, each value "
    "of the legacy store was compared with the new store's, as `sessionlift verify` does."
)
CANNOT_SEE = [
    "of sessions that the application has changed or begun: whether their new values were made into the right legacy "
    "values, since the digest is that of what the converter made (docs: The way back)",
    "what the legacy store cannot hold: it is kept in the ledger, and counted as losses",
    "rows of the legacy store that belong to other sessions",
]
_SHOWN = 100
_WHOLE = "session"
"""Stands for the table of a difference, where only the digests of a session's rows are known to differ."""


@dataclass
class Looked:
    """What was found of sessions ``ids``: those that do not lie as they must (``wrong``), and why; ``more`` counts
    the differences that are not named. ``rows`` were read, by table; of ``by_value`` sessions, ``values`` compared."""

    ids: set[str] = field(default_factory=set)
    wrong: set[str] = field(default_factory=set)
    differences: list[Difference] = field(default_factory=list)
    more: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    by_value: int = 0
    values: int = 0


class Check:
    """Gathers what is found over all parts of a run."""

    def __init__(
        self, legacy: StoreURL, generation: str, target: str, runs: Sequence[LedgerRun], temporary: Path
    ) -> None:
        self._legacy, self._generation, self._target, self._temporary = legacy, generation, target, temporary
        self._options = {run.run_id: run.options for run in runs}
        self._worker: Worker | None = None
        self._verifiers: list[tuple[Verifier, list[str]]] = []
        self._turns: list[Turn] = []
        self._looked = Looked()
        self.sessions = self.values = 0
        self.rows: Counter[str] = Counter()
        self.differences: list[Difference] = []
        self.more = 0
        self.by_value = 0
        self.peaks: dict[str, float] = {}

    def begin(self, turns: Sequence[Turn]) -> None:
        """Begin to look at whether ``turns`` lie in the legacy store as they must; ``looked`` has the answer.

        Two processes read the store until then, each in its own way: DuckDB lets nobody write meanwhile.
        """
        self._turns = [turn for turn in turns if turn.action in ("carry", "there", "remove", "discard")]
        self._looked = Looked({turn.session_id for turn in self._turns})
        if self._turns:
            self._worker = self._start()
            self._worker.tell({"kind": "sessions", "ids": [turn.session_id for turn in self._turns]})
            self._begin_comparing([turn for turn in self._turns if _as_moved(turn)])

    @property
    def is_reading(self) -> bool:
        """Whether both stores are being read."""
        return bool(self._turns)

    def looked(self) -> Looked:
        """Wait for what was begun last; nothing reads the stores after. It counts only when it is settled."""
        if self._turns:
            try:
                self._digests(self._turns)
                for verifier, ids in self._verifiers:
                    self._compared(verifier, ids)
            finally:
                self.stop()
            self._turns = []
        return self._looked

    def settle(self, looked: Looked, again: Collection[str]) -> None:
        """Count what was found, but for sessions that have changed since and are looked at ``again``.

        Where those are only some, their rows are among those that were read.
        """
        left = looked.ids.difference(again)
        self.sessions += len(left)
        if left:
            self.rows += looked.rows
            self.by_value += looked.by_value
            self.values += looked.values
        for each in looked.differences:
            if each.session_id is None or each.session_id in left:
                self._take(each)
        if not looked.wrong.issubset(again):
            self.more += looked.more

    def name(self, looked: Looked, turns: Sequence[Turn], made_again: Callable[[Turn], Message | None]) -> None:
        """Name the rows and columns of ``turns`` whose digests are not those that they must be, as many as are shown.

        ``made_again`` gives what must lie there of one (see ``verifier.LegacyReader``), or None where nobody knows.
        """
        by_digest = {each.session_id: each for each in looked.differences if each.table == _WHOLE}
        named: list[Difference] = []
        worker: Worker | None = None
        try:
            for turn in turns:
                made = None
                if turn.session_id in by_digest and len(named) < _SHOWN:
                    made = made_again(turn)
                if made is None:
                    continue
                worker = worker or self._start()
                worker.tell({"kind": "compare", "session_id": turn.session_id, "made": made})
                message = worker.answer()
                found = differences_of(message)
                if found:
                    looked.differences.remove(by_digest[turn.session_id])
                    looked.more += message["more"]
                    named += found
        finally:
            if worker is not None:
                worker.stop()
        looked.differences[:0] = named

    def catalog_lies(self, digest: str) -> bool:
        """Whether the rows of no session lie there with ``digest``."""
        self._worker = self._start()
        try:
            self._worker.tell({"kind": "catalog"})
            found = self._worker.answer()["digest"]
        finally:
            self._worker.stop()
        if digest == found:
            return True
        why = "the rows of no session do not lie in the legacy store as made"
        self._take(_difference(None, "catalog", digest, found, why))
        return False

    def _start(self) -> Worker:
        request = {"generation": self._generation, "legacy": self._legacy.redacted}
        return Worker(
            "sessionlift.runs._taken_back_worker", request, name="reader", role="source", temporary=self._temporary
        )

    def _digests(self, turns: Sequence[Turn]) -> None:
        assert self._worker is not None  # noqa: S101 - begun before
        message = self._worker.answer()
        self._worker.stop()
        self.peaks["reader"] = max(self.peaks.get("reader", 0.0), message["peak_memory_mb"])
        self._looked.rows.update(message["rows"])
        for turn in turns:
            found = message["digests"].get(turn.session_id)
            if found != turn.digest:
                self._looked.wrong.add(turn.session_id)
                why = f"session {turn.session_id} does not lie in the legacy store as it was made"
                self._looked.differences.append(_difference(turn.session_id, _WHOLE, turn.digest, found, why))

    def _begin_comparing(self, turns: Sequence[Turn]) -> None:
        """Compare, value by value, sessions to which nobody has written since the move; by the options of each."""
        groups: dict[str, list[str]] = {}
        for turn in turns:
            if turn.before is not None:
                key = json.dumps(self._of_run(turn.before.run_id).to_message(), sort_keys=True)
                groups.setdefault(key, []).append(turn.session_id)
        for key, ids in groups.items():
            options = TransferOptions.from_message(json.loads(key))
            verifier = Verifier(self._generation, temporary=self._temporary)
            self._verifiers.append((verifier, ids))
            verifier.begin(self._legacy, self._target, options).sessions(ids)

    def _compared(self, verifier: Verifier, ids: Sequence[str]) -> None:
        """Sessions that were told of already are not told of again."""
        found = verifier.finish()
        self.peaks["verifier"] = max(self.peaks.get("verifier", 0.0), verifier.peak_memory_mb)
        looked = self._looked
        looked.by_value += found.checked_sessions
        looked.values += found.checked_values
        looked.differences += [each for each in found.differences if each.session_id not in looked.wrong]
        looked.more += found.differences_truncated
        # with more than are named, nobody knows which sessions the others are of
        looked.wrong.update(
            ids if found.differences_truncated else {str(each.session_id) for each in found.differences}
        )

    def _of_run(self, run_id: str) -> TransferOptions:
        told: Mapping[str, Any] = self._options.get(run_id, {})
        return TransferOptions(
            timezone=str(told.get("timezone", "UTC")),
            mapping=TypeMapping(**told.get("mapping", {})),
            salvage=bool(told.get("salvage", False)),
        )

    def _take(self, difference: Difference) -> None:
        if len(self.differences) < _SHOWN:
            self.differences.append(difference)
        else:
            self.more += 1

    def result(self) -> Verification:
        """What was found, as it stands in a report."""
        if not self.sessions and not self.differences:
            return Verification()
        return Verification(
            status="failed" if self.differences else "passed",
            checked_sessions=self.sessions,
            checked_rows=sum(self.rows.values()),
            checked_values=self.values,
            differences=self.differences,
            differences_truncated=self.more,
            method=METHOD,
            cannot_see=[*CANNOT_SEE, *system_of(self._generation).cannot_see],
        )

    def stop(self) -> None:
        """End the processes, now."""
        for worker in (self._worker, *(verifier for verifier, _ in self._verifiers)):
            if worker is not None:
                worker.stop()
        self._verifiers.clear()


def _difference(session_id: str | None, table: str, want: Any, have: Any, message: str) -> Difference:
    return Difference(session_id=session_id, table=table, expected=want, found=have, message=message)


def _as_moved(turn: Turn) -> bool:
    return (
        turn.found == "unchanged"
        and turn.action in ("carry", "there")
        and not turn.kept
        and turn.before is not None
        and turn.digest == turn.before.source_digest
    )
