"""synth.v2 against synth.v3: every value of every row of given sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import duckdb

from sessionlift.errors import SessionliftError
from sessionlift.runs.verifier import _catalog, _digests, _quarantine, _reasons, _rules
from sessionlift.runs.verifier._batch_rows import BatchRows
from sessionlift.runs.verifier._collector import without_collector
from sessionlift.runs.verifier._compare import Comparison, Found
from sessionlift.runs.verifier._expected import Expected
from sessionlift.runs.verifier._given_back import CANNOT_SEE as GIVEN_BACK
from sessionlift.runs.verifier._given_back import given_back, rows_of
from sessionlift.runs.verifier._outside import Outside
from sessionlift.runs.verifier._readers import TargetReader, id_list
from sessionlift.runs.verifier._room import room, roomy
from sessionlift.runs.verifier._source import Batch, SourceIndex

METHOD = (
    "Every source row of each moved session is read again from the source, every target row through a driver "
    "other than the writer's, in a process of its own; each target value is worked out again from the source "
    "value by separate code and compared in value and kind (doubles bit for bit but for the sign of zero, "
    "text character for character). Rows are matched by id; a row missing, added or out of its "
    "session is a difference."
)
CANNOT_SEE = [
    "a misreading of the rules that converter and verifier share, since both follow docs/synth.md",
    "the ids of outcome_rewards and experimental_systems, which the target numbers by itself",
    "which of two equal numbers a column holds: 29 and 29.0, or 0.0 and -0.0, are the same to SQLite",
    "whether the target had to refuse what is in quarantine as refused by it, and the words of a reason",
    "losses, facts and summaries of runs in the ledger, which no rows follow from (--report checks a report)",
    "indexes, views and triggers of the target: `sessionlift schema verify` looks at those that should be there",
    "the numbers that SQLite gives to new rows next (sqlite_sequence), which no row of a move shows",
    "in the ledger, when and by which converter a session was moved, and the counts of sessions in quarantine; once a "
    "rollback was made from the target, those of all sessions",
    "a report's own figures of its verification, its options and its texts",
    "the complement in the ledger, but for what it says of rows that a rollback carried, and of sessions that were "
    "given something back; the digests of neither store cover its text",
    "values that the source's engine itself reads wrong, since both sides read through it",
    GIVEN_BACK,
]

_PASSED_ON = (SessionliftError, duckdb.IOException, duckdb.InterruptException, duckdb.FatalException, BrokenPipeError)
"""What ends the comparison: the store itself cannot be read. Anything else is told of the session it comes from."""


class SynthVerifier:
    """Compares sessions of an opened v2 source with a v3 target. Writes nothing but temporary tables."""

    def __init__(
        self,
        source: duckdb.DuckDBPyConnection,
        target: TargetReader,
        *,
        zone: str,
        message_types: Mapping[str, str],
        event_types: Mapping[str, str],
    ) -> None:
        self._source = source
        self._target = target
        self._aside = source.cursor()
        self.index = SourceIndex(source)
        self.late = False
        """true while the target lacks indexes over session ids: what is read by them waits for ``finish``"""
        self._outside = Outside()
        self._scattered: list[list[str]] = []
        self.result = Comparison()
        self.unlinked = {"events": 0, "messages": 0}
        """rows whose timestep stays unknown, by table"""
        self.rules(zone, message_types, event_types)

    def rules(self, zone: str, message_types: Mapping[str, str], event_types: Mapping[str, str]) -> None:
        """Go on with the options of another run."""
        self._expected = Expected(self._aside, zone=zone, message_types=message_types, event_types=event_types)

    # --- sessions -------------------------------------------------------------------------------------------

    def check(self, ids: Sequence[str], after: Callable[[Batch], None] | None = None) -> None:
        """Compare the sessions ``ids``, which the ledger names as moved (wholly or in part).

        ``after`` is called with each batch of them when it is compared.
        """
        with without_collector():
            given = given_back(self._target, ids)
            if given:
                self._by_digests(given, after)
                ids = [each for each in ids if each not in given]
            for batch in self._batches(ids):
                if not self._tried(batch, after):
                    self._one_by_one(batch.ids, after)

    def _batches(self, ids: Sequence[str]) -> Iterator[Batch]:
        for batch in self.index.batches(ids):
            if self.late and not batch.lies_together:
                self._scattered.append(batch.ids)
            else:
                yield batch

    def finish(self) -> None:
        """Compare what waited for the target's indexes."""
        if not self.late:
            return
        self.late = False
        scattered, self._scattered = self._scattered, []
        for ids in scattered:
            self.check(ids)
        self._outside.settle(self._target, self.result)

    def _by_digests(self, given: Mapping[str, tuple[str, str]], after: Callable[[Batch], None] | None) -> None:
        """Compare sessions that got back what v2 could not hold, by the digests of both sides."""
        for batch in self.index.batches(list(given)):
            self.result.sessions += len(batch.ids)
            self.result.given_back += len(batch.ids)
            self._quarantined(batch)
            tables = (*_digests.SESSION_TABLES, "event_rewards", "outcome_rewards")
            for table, rows in rows_of(self._target, tables, batch.ids).items():
                self.result.found(table, rows)
            if after is not None:
                after(batch)
                continue
            source = self._source_digests(batch)
            target = _digests.target_digests(self._target, batch.ids)
            for session in batch.ids:
                found = (source.get(session), target[session])
                for column, want, have in zip(("source_digest", "target_digest"), found, given[session], strict=True):
                    if want != have:
                        self.result.value(session, "sessionlift_units", session, column, want, have)

    def _tried(self, batch: Batch, after: Callable[[Batch], None] | None) -> bool:
        """Compare a batch, with more memory if it needs it. Where that cannot be done: False, and nothing counted."""
        before = self._state()
        for memory in (nullcontext(), room(self._source)):
            try:
                with memory:
                    self._compare(batch, after)
            except _PASSED_ON:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the whole comparison
                self._restore(before)
                if not isinstance(error, duckdb.OutOfMemoryException):
                    return False
            else:
                return True
        return False

    def _compare(self, batch: Batch, after: Callable[[Batch], None] | None) -> None:
        self._check(batch)
        self.result.sessions += len(batch.ids)
        if after is not None:
            after(batch)

    def _one_by_one(self, ids: Sequence[str], after: Callable[[Batch], None] | None) -> None:
        """Compare sessions of which one cannot be compared, and tell which one that is."""
        for session in ids:
            for batch in self._batches([session]):
                before = self._state()
                try:
                    with room(self._source):
                        self._compare(batch, after)
                except _PASSED_ON:
                    raise
                except Exception as error:  # noqa: BLE001 - told of the session
                    self._restore(before)
                    self.result.sessions += 1
                    why = f"{type(error).__name__}: {error}"[:500]
                    self.result.differ(
                        Found(
                            session, "session_traces", session, None, None, None,
                            f"session {session} could not be compared: {why}",
                        )
                    )  # fmt: skip

    def _state(self) -> tuple[Any, ...]:
        result = self.result
        counts = (
            result.sessions,
            result.rows,
            result.values,
            len(result.differences),
            result.more,
            len(self._outside),
        )
        return *counts, dict(result.differing), dict(result.by_table), dict(self.unlinked)

    def _restore(self, state: tuple[Any, ...]) -> None:
        result = self.result
        result.sessions, result.rows, result.values, kept, result.more, waiting = state[:6]
        del result.differences[kept:]
        self._outside.cut(waiting)
        # the state may be gone back to more than once
        result.differing, result.by_table = dict(state[6]), dict(state[7])
        self.unlinked.update(state[8])

    def check_catalog(self) -> None:
        """Compare every row of systems, versions, experiments and links; the target may have its own."""
        _catalog.check_catalog(self._source, self._target, self._expected.clock, self.result)

    def _check(self, batch: Batch) -> None:
        BatchRows(
            self._source,
            self._target,
            self.index,
            batch,
            self._quarantined(batch),
            expected=self._expected,
            result=self.result,
            unlinked=self.unlinked,
            put_off=self._outside if self.late else None,
        ).compare()

    def _quarantined(self, batch: Batch) -> dict[str, set[int]]:
        """The ids of the rows in quarantine of sessions that were moved; tells of those that need not be there.

        Nothing but its type keeps a row of such a session out of the target, and that only an event.
        """
        apart: dict[str, set[int]] = {"session_timesteps": set(), "events": set(), "messages": set()}
        typed: set[int] = set()
        some, params = id_list(batch.ids)
        for session, table, row_id, code in self._target.read(
            "sessionlift_quarantine",
            ("session_id", "table_name", "row_id", "code"),
            f"unit = 'session' AND session_id IN ({some})",
            params,
        ):
            told = str(row_id)
            number = int(told) if table in apart and told.lstrip("-").isdecimal() else None
            if number is not None:
                apart[table].add(number)
            if (table, code) != ("events", _quarantine.EVENT_TYPE):
                _quarantine.out_of_place(
                    self.result, session, str(table), told, f"by {code}, though its session was moved"
                )
            elif number is not None:
                typed.add(number)
        for number, session, kind in _quarantine.event_types(self._source, typed):
            if (mapped := self._expected.event_types[kind]) is not None:
                why = f"though its type, {kind!r}, is mapped to {mapped!r}"
                _quarantine.out_of_place(self.result, session, "events", str(number), why)
        return apart

    def check_aside(self, ids: Sequence[str], known: Mapping[str, str]) -> None:
        """Tell of sessions in quarantine whole that could have been moved, as far as the source tells.

        ``known`` are the digests of what was put there: what was mended in the source since is another matter.
        """
        for batch in self.index.batches(ids):
            codes = _reasons.codes(self._target, batch.ids)
            traces = roomy(self._source, partial(_quarantine.traces, self._source, batch))
            wrong = {
                session: why
                for session, created, moment, metadata in traces
                if (why := self._could_move(codes.get(session, set()), created, moment, metadata)) is not None
            }
            if not wrong:
                continue
            for session, digest in self._source_digests(batch).items():
                if session in wrong and digest == known[session]:
                    _quarantine.out_of_place(self.result, session, "session_traces", session, wrong[session])

    def _source_digests(self, batch: Batch) -> dict[str, str]:
        return roomy(self._source, lambda: _digests.source_digests(self._source, batch))

    def _could_move(self, codes: set[str], created: bool, moment: int | None, metadata: str | None) -> str | None:
        """What is wrong with ``codes``, by which all rows of a session are in quarantine; None where nothing is.

        ``created``: whether it has a time; ``moment`` is None for one without end.
        """
        if len(codes) > 1 or not codes <= _quarantine.WHOLE:
            return f"by {', '.join(sorted(codes))}, which keeps no whole session out of the target"
        if _quarantine.TIME in codes and (not created or self._expected.texts([moment])[0] is not None):
            return "though the target can hold its time"
        if _quarantine.METADATA in codes and _rules.metadata_is_readable(metadata):
            return "though its metadata can be read"
        return None
