"""The rows of one batch of sessions, synth.v2 against synth.v3: every value of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import add, itemgetter
from typing import Any

import duckdb

from sessionlift.runs.verifier import _metadata, _rules, _tables
from sessionlift.runs.verifier._compare import Comparison
from sessionlift.runs.verifier._expected import Expected
from sessionlift.runs.verifier._links import Steps, deal, own_steps, steps_of
from sessionlift.runs.verifier._outcomes import outcome_of
from sessionlift.runs.verifier._outside import Outside
from sessionlift.runs.verifier._pairs import ID, SESSION, TargetRows, extra, matched, picked, source_chunks
from sessionlift.runs.verifier._readers import Rows, TargetReader, id_list
from sessionlift.runs.verifier._source import Batch, SourceIndex
from sessionlift.runs.verifier._tables import micros


class BatchRows:
    """Compares the rows of ``batch``, which ``index`` has out.

    ``apart`` has by table the ids of rows that lie in quarantine instead. What is found goes to ``result``, the number
    of rows whose timestep stays unknown to ``unlinked``, by table. With ``put_off`` the sessions' rows outside of their
    ranges of ids are looked for later.
    """

    def __init__(
        self,
        source: duckdb.DuckDBPyConnection,
        target: TargetReader,
        index: SourceIndex,
        batch: Batch,
        apart: Mapping[str, set[int]],
        *,
        expected: Expected,
        result: Comparison,
        unlinked: dict[str, int],
        put_off: Outside | None,
    ) -> None:
        self._source, self._target, self._index, self._batch = source, target, index, batch
        self._apart, self._expected, self._result, self._unlinked = apart, expected, result, unlinked
        self._put_off = put_off
        self._sessions = set(batch.ids)
        self._dates: dict[str, str] = {}

    def compare(self) -> None:
        steps, turns = self._timesteps()
        rewards = self._events(steps, turns)
        self._messages(deal(steps, 3, self._batch.counts["messages"]))
        self._traces(rewards)

    def _rows(self, table: str, columns: Sequence[str], of: str | None = None) -> TargetRows:
        return TargetRows(self._target, table, columns, self._batch, of or table, self._sessions, self._put_off)

    def _compare_rows(
        self, table: str, names: tuple[Sequence[str], Sequence[str]], source: Rows, made: list[Any], target: Rows
    ) -> None:
        """Compare matched rows: first the columns that are the same on both sides, then those worked out here.

        ``made`` has one list for each name of the second kind.
        """
        plain, others = names
        width = len(plain)
        if others and others[-1] == "metadata":
            made[-1] = _metadata.settle(made[-1], target, width + len(made) - 1)
        # no loop of Python's over rows that are as they must be, and no list of each of their columns
        same = map(itemgetter(slice(width)), source)
        if list(map(add, same, zip(*made, strict=True)) if made else same) == target:
            self._result.values += (width - 1 + len(made)) * len(target)
            return
        # by its id it is the row, but it is no row of these sessions any more
        self._result.found(table, -sum(row[SESSION] not in self._sessions for row in target))
        ids, sessions = [row[ID] for row in source], [row[SESSION] for row in source]
        columns = [[row[place] for row in source] for place in range(1, width)]
        for place, (name, column) in enumerate(zip((*plain[1:], *others), (*columns, *made), strict=True), 1):
            self._result.column(table, name, sessions, ids, column, [row[place] for row in target])

    def _rest(self, table: str, target: TargetRows) -> None:
        """Tell of the sessions' rows that are left when the source has no more."""
        for row in target.rest():
            self._result.found(table, 1)
            extra(self._result, table, target, row)
        target.close()

    # --- timesteps ------------------------------------------------------------------------------------------

    def _timesteps(self) -> tuple[Steps, dict[int, int]]:
        """Compare timesteps; returns their (step_index, id, num_events, num_messages), and turns by id."""
        table, width = "session_timesteps", len(_tables.STEP_PLAIN)
        apart, target = self._apart[table], self._rows(table, (*_tables.STEP_PLAIN, *_tables.STEP_MADE))
        steps: Steps = {}
        turns: dict[int, int] = {}
        for rows in source_chunks(self._source, self._index, table, _tables.STEP_SOURCE, self._batch):
            last = rows[-1][ID]
            for row in rows:
                steps.setdefault(row[1], []).append((row[3], row[0], row[5], row[6]))
            made = [self._expected.turn(row[width - 1], row[3]) for row in rows]
            turns.update(zip(map(itemgetter(ID), rows), made, strict=True))
            moments = self._expected.texts([row[width] for row in rows])
            if apart:
                rows, made, moments = _without(apart, rows, made, moments)
            ids, sessions = [row[ID] for row in rows], [row[SESSION] for row in rows]
            places, found = matched(self._result, table, ids, sessions, target, target.through(last, len(rows)))
            rows, *expected = picked([rows, made, moments], places)
            self._compare_rows(table, (_tables.STEP_PLAIN, _tables.STEP_MADE), rows, expected, found)
        self._rest(table, target)
        for own in steps.values():
            own.sort()
        return steps, turns

    # --- events ---------------------------------------------------------------------------------------------

    def _events(self, steps: Steps, turns: Mapping[int, int]) -> dict[str, list[float]]:
        """Compare events and the rewards derived from them; returns by session its storable rewards."""
        table, width = "events", len(_tables.EVENT_PLAIN)
        dealt = deal(steps, 2, self._batch.counts["events"])
        apart, target = self._apart[table], self._rows(table, (*_tables.EVENT_PLAIN, *_tables.EVENT_MADE))
        derived = self._rows("event_rewards", _tables.REWARD, "events")
        places_of: dict[str, int] = {}
        sums: dict[str, list[float]] = {}
        for rows in source_chunks(self._source, self._index, table, _tables.EVENT_SOURCE, self._batch):
            last = rows[-1][ID]
            sessions = [row[SESSION] for row in rows]
            recorded = [row[width] for row in rows]
            timesteps = steps_of(sessions, recorded, dealt, places_of)
            # those that were dealt out are of their session; a recorded one may be of any
            whose = timesteps if recorded.count(None) == len(recorded) else own_steps(sessions, timesteps, steps)
            rewards = map(itemgetter(_tables.EVENT_REWARD), rows)
            for session, reward in [pair for pair in zip(sessions, rewards, strict=True) if pair[1] is not None]:
                sums.setdefault(session, []).append(reward)
            if apart:
                rows, sessions, timesteps, whose = _without(apart, rows, sessions, timesteps, whose)
            self._unlinked[table] += timesteps.count(None)
            ids = [row[ID] for row in rows]
            types, moments, costs, metadata = (list(map(itemgetter(width + place), rows)) for place in (1, 2, 3, 4))
            mapped = [self._expected.event_types[kind] for kind in types]
            utc = self._expected.utc(moments)
            created = self._expected.clock.texts(utc)
            expected = [
                timesteps,
                mapped,
                [None if moment is None else moment / 1_000_000 for moment in utc],
                created,
                _rules.cents_of(costs),
                _metadata.event_metadata(metadata, costs, types, mapped),
            ]
            self._event_rewards(rows, mapped, whose, created, turns, derived, last)
            places, found = matched(self._result, table, ids, sessions, target, target.through(last, len(rows)))
            rows, *expected = picked([rows, *expected], places)
            self._compare_rows(table, (_tables.EVENT_PLAIN, _tables.EVENT_MADE), rows, expected, found)
        self._rest(table, target)
        self._rest("event_rewards", derived)
        return sums

    def _event_rewards(
        self,
        rows: Rows,
        mapped: Sequence[str | None],
        timesteps: Sequence[int | None],
        created: Sequence[str | None],
        turns: Mapping[int, int],
        target: TargetRows,
        last: int,
    ) -> None:
        """Compare what follows from each environment event that has a reward."""
        reward, hooks = _tables.EVENT_REWARD, _tables.EVENT_HOOKS
        expected: Rows = [
            (
                row[ID], row[SESSION], row[ID], None, None if step is None else turns.get(step), row[reward],
                "sparse", None, row[hooks], "environment",
                moment if moment is not None else self._created(row[SESSION]),
            )
            for row, kind, step, moment in zip(rows, mapped, timesteps, created, strict=True)
            if row[reward] is not None and kind == "environment"
        ]  # fmt: skip
        ids, sessions = [row[ID] for row in expected], [row[SESSION] for row in expected]
        about = max(1, len(expected))
        places, found = matched(self._result, "event_rewards", ids, sessions, target, target.through(last, about))
        (expected,) = picked([expected], places)
        self._compare_rows("event_rewards", (_tables.REWARD, ()), expected, [], found)

    def _created(self, session: str) -> str:
        if session not in self._dates:
            self._dates[session] = self._expected.created(session)
        return self._dates[session]

    # --- messages -------------------------------------------------------------------------------------------

    def _messages(self, dealt: dict[str, list[int]]) -> None:
        table, width = "messages", len(_tables.MESSAGE_PLAIN)
        apart, target = self._apart[table], self._rows(table, (*_tables.MESSAGE_PLAIN, *_tables.MESSAGE_MADE))
        places_of: dict[str, int] = {}
        for rows in source_chunks(self._source, self._index, table, _tables.MESSAGE_SOURCE, self._batch):
            last = rows[-1][ID]
            sessions = [row[SESSION] for row in rows]
            timesteps = steps_of(sessions, [row[width] for row in rows], dealt, places_of)
            if apart:
                rows, sessions, timesteps = _without(apart, rows, sessions, timesteps)
            self._unlinked[table] += timesteps.count(None)
            ids = [row[ID] for row in rows]
            types, texts, saved, moments = (list(map(itemgetter(width + place), rows)) for place in (1, 2, 3, 4))
            kinds, contents, metadata, are_utc = _metadata.read_messages(
                types, texts, self._expected.message_types.__getitem__, self._expected.is_json, self._expected.bound
            )
            utc = self._expected.utc(moments)
            if self._expected.is_local and are_utc is not None:
                utc = [local if is_utc else other for is_utc, local, other in zip(are_utc, moments, utc, strict=True)]
            expected: list[Any] = [
                timesteps,
                [self._expected.message_types[kind] for kind in kinds],
                contents,
                self._expected.texts(saved),
                [None if moment is None else moment / 1_000_000 for moment in utc],
                metadata,
            ]
            places, found = matched(self._result, table, ids, sessions, target, target.through(last, len(rows)))
            rows, *expected = picked([rows, *expected], places)
            self._compare_rows(table, (_tables.MESSAGE_PLAIN, _tables.MESSAGE_MADE), rows, expected, found)
        self._rest(table, target)

    # --- traces and outcomes --------------------------------------------------------------------------------

    def _traces(self, rewards: Mapping[str, list[float]]) -> None:
        first, last = self._batch.places
        source = {
            row[0]: row
            for row in self._source.execute(
                f"SELECT session_id, {micros('created_at')}, num_timesteps, num_events, num_messages, "
                "metadata::VARCHAR, experiment_id FROM session_traces "
                "WHERE rowid BETWEEN ? AND ? AND session_id IN (SELECT session_id FROM v_ids)",
                [first, last],
            ).fetchall()
        }
        some, params = id_list(self._batch.ids)
        chosen = f"session_id IN ({some})"
        target = {row[0]: row for row in self._target.read("session_traces", _tables.TRACE, chosen, params)}
        outcomes: dict[str, Rows] = {}
        for row in self._target.read("outcome_rewards", _tables.OUTCOME, chosen, params, ("id",)):
            outcomes.setdefault(row[0], []).append(row)
        counts = [self._batch.counts[table] for table in ("session_timesteps", "events", "messages")]
        for session in self._batch.ids:
            found = target.get(session)
            own = outcomes.get(session, [])
            if session not in source:
                self._without_source(session, found, own)
                continue
            row = source[session]
            metadata = _rules.SessionMetadata(row[5])
            created = self._expected.texts([row[1]])[0] or self._expected.earliest(session)
            numbers = [count[session] if said is None else said for said, count in zip(row[2:5], counts, strict=True)]
            wanted = (session, created, *numbers, metadata.text, row[6], None)
            if found is None:
                self._result.row(session, "session_traces", session, missing=True)
            else:
                self._result.found("session_traces", 1)
                self._row("session_traces", session, _tables.TRACE, wanted, found)
            self._outcome(
                session,
                outcome_of(session, metadata.episode, created, numbers[0], rewards.get(session, [])),
                own,
            )

    def _without_source(self, session: str, found: tuple[Any, ...] | None, outcomes: Rows) -> None:
        """A session that the source no longer has: all that the target holds of it has no source."""
        if found is not None:
            self._result.row(session, "session_traces", session, missing=False, why="the source has no such session")
        for _ in outcomes:
            self._result.row(session, "outcome_rewards", session, missing=False)

    def _row(
        self, table: str, session: str, names: Sequence[str], wanted: tuple[Any, ...], found: tuple[Any, ...]
    ) -> None:
        self._result.values += len(names)
        if wanted != found:
            for name, want, have in zip(names, wanted, found, strict=True):
                self._result.values -= 1
                self._result.column(table, name, [session], [session], [want], [have])

    def _outcome(self, session: str, wanted: tuple[Any, ...] | None, found: Rows) -> None:
        self._result.found("outcome_rewards", len(found))
        if wanted is None:
            for _ in found:
                self._result.row(session, "outcome_rewards", session, missing=False)
        elif not found:
            self._result.row(session, "outcome_rewards", session, missing=True)
        else:
            self._row("outcome_rewards", session, _tables.OUTCOME, wanted, found[0])
            for _ in found[1:]:
                self._result.row(session, "outcome_rewards", session, missing=False)


def _without(apart: set[int], rows: Rows, *columns: list[Any]) -> tuple[list[Any], ...]:
    """Rows and columns but for those that are in quarantine."""
    kept = [place for place, row in enumerate(rows) if row[ID] not in apart]
    return tuple([column[place] for place in kept] for column in (rows, *columns))
