"""synth.v2 against synth.v3: every value of every row of given sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from operator import add, itemgetter
from typing import Any

import duckdb

from sessionlift.errors import SessionliftError
from sessionlift.runs.verifier import _catalog, _digests, _metadata, _quarantine, _reasons, _rules, _tables
from sessionlift.runs.verifier._collector import without_collector
from sessionlift.runs.verifier._compare import Comparison, Found
from sessionlift.runs.verifier._given_back import CANNOT_SEE as GIVEN_BACK
from sessionlift.runs.verifier._given_back import given_back, rows_of
from sessionlift.runs.verifier._links import Steps, deal, own_steps, steps_of, turn_of
from sessionlift.runs.verifier._outcomes import outcome_of
from sessionlift.runs.verifier._outside import Outside
from sessionlift.runs.verifier._pairs import ID, SESSION, TargetRows, extra, matched, picked, source_chunks
from sessionlift.runs.verifier._readers import Rows, TargetReader, id_list
from sessionlift.runs.verifier._source import Batch, SourceIndex
from sessionlift.runs.verifier._tables import micros

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

ROOM = "4GB"
"""What the engine may use where a session's rows do not fit into the process's own limit."""
_MOMENTS = 2_000
"""How many times of a session without one are read at once."""
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
        self._is_json = lru_cache(maxsize=4_000)(self._ask_engine)
        self.unlinked = {"events": 0, "messages": 0}
        """rows whose timestep stays unknown, by table"""
        self.rules(zone, message_types, event_types)

    def rules(self, zone: str, message_types: Mapping[str, str], event_types: Mapping[str, str]) -> None:
        """Go on with the options of another run."""
        self._clock = _rules.Clock(zone)
        self._local = zone != "UTC"
        self._message_types = _Memo(lambda kind: _rules.message_type_of(kind, message_types))
        self._event_types = _Memo(lambda kind: _rules.event_type_of(kind, event_types))

    def _ask_engine(self, text: str) -> bool:
        row = self._aside.execute("SELECT json_valid(?)", [text]).fetchone()
        return row is not None and bool(row[0])

    def _turn(self, text: str, place: int) -> int:
        try:
            return turn_of(text, place)
        except (ValueError, RecursionError):
            row = self._aside.execute(
                "SELECT TRY_CAST(d ->> '$.turn_number' AS BIGINT) FROM (SELECT ?::JSON AS d) "
                "WHERE json_type(d, '$.turn_number') IN ('UBIGINT', 'BIGINT')",
                [text],
            ).fetchone()
            return place if row is None or row[0] is None else int(row[0])

    def _bound(self, text: str) -> str | None:
        """The text of the time that an envelope names."""
        row = self._aside.execute(
            "SELECT d ->> '$.time_record.event_time' FROM (SELECT ?::JSON AS d) WHERE json_exists(d, '$.content')",
            [text],
        ).fetchone()
        return None if row is None or row[0] is None else str(row[0])

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
            source = _digests.source_digests(self._source, batch)
            target = _digests.target_digests(self._target, batch.ids)
            for session in batch.ids:
                found = (source.get(session), target[session])
                for column, want, have in zip(("source_digest", "target_digest"), found, given[session], strict=True):
                    if want != have:
                        self.result.value(session, "sessionlift_units", session, column, want, have)

    def _tried(self, batch: Batch, after: Callable[[Batch], None] | None) -> bool:
        """Compare a batch; False, and nothing counted, where that could not be done."""
        before = self._state()
        try:
            self._compare(batch, after)
        except _PASSED_ON:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, it must not end the whole comparison
            self._restore(before)
            return False
        return True

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
                    with self.room():
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
        result.differing, result.by_table = state[6:8]
        self.unlinked.update(state[8])

    @contextmanager
    def room(self) -> Iterator[None]:
        """Within this the engine may use more memory, for rows that do not fit otherwise."""
        row = self._source.execute("SELECT current_setting('memory_limit')").fetchone()
        self._source.execute(f"SET memory_limit = '{ROOM}'")
        try:
            yield
        finally:
            if row is not None:
                with suppress(duckdb.Error):
                    self._source.execute("SET memory_limit = ?", [str(row[0])])

    def check_catalog(self) -> None:
        """Compare every row of systems, versions, experiments and links; the target may have its own."""
        _catalog.check_catalog(self._source, self._target, self._clock, self.result)

    def _check(self, batch: Batch) -> None:
        self._batch = batch
        self._sessions = set(batch.ids)
        self._dates: dict[str, str] = {}
        apart = self._quarantined(batch)
        steps, turns = self._timesteps(apart["session_timesteps"])
        rewards = self._events(steps, turns, apart["events"])
        self._messages(deal(steps, 3, batch.counts["messages"]), apart["messages"])
        self._traces(rewards)

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
            if (mapped := self._event_types[kind]) is not None:
                why = f"though its type, {kind!r}, is mapped to {mapped!r}"
                _quarantine.out_of_place(self.result, session, "events", str(number), why)
        return apart

    def check_aside(self, ids: Sequence[str], known: Mapping[str, str]) -> None:
        """Tell of sessions in quarantine whole that could have been moved, as far as the source tells.

        ``known`` are the digests of what was put there: what was mended in the source since is another matter.
        """
        for batch in self.index.batches(ids):
            codes = _reasons.codes(self._target, batch.ids)
            wrong = {
                session: why
                for session, created, moment, metadata in _quarantine.traces(self._source, batch)
                if (why := self._could_move(codes.get(session, set()), created, moment, metadata)) is not None
            }
            if not wrong:
                continue
            for session, digest in _digests.source_digests(self._source, batch).items():
                if session in wrong and digest == known[session]:
                    _quarantine.out_of_place(self.result, session, "session_traces", session, wrong[session])

    def _could_move(self, codes: set[str], created: bool, moment: int | None, metadata: str | None) -> str | None:
        """What is wrong with ``codes``, by which all rows of a session are in quarantine; None where nothing is.

        ``created``: whether it has a time; ``moment`` is None for one without end.
        """
        if len(codes) > 1 or not codes <= _quarantine.WHOLE:
            return f"by {', '.join(sorted(codes))}, which keeps no whole session out of the target"
        if _quarantine.TIME in codes and (not created or self._clock.text(self._utc([moment])[0]) is not None):
            return "though the target can hold its time"
        if _quarantine.METADATA in codes and _rules.metadata_is_readable(metadata):
            return "though its metadata can be read"
        return None

    def _rows(self, table: str, columns: Sequence[str], of: str | None = None) -> TargetRows:
        put_off = self._outside if self.late else None
        return TargetRows(self._target, table, columns, self._batch, of or table, self._sessions, put_off)

    def _utc(self, local: Sequence[int | None]) -> Sequence[int | None]:
        if not self._local:
            return local
        utc = self._clock.utc
        return [None if moment is None else utc(moment) for moment in local]

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
            self.result.values += (width - 1 + len(made)) * len(target)
            return
        # by its id it is the row, but it is no row of these sessions any more
        self.result.found(table, -sum(row[SESSION] not in self._sessions for row in target))
        ids, sessions = [row[ID] for row in source], [row[SESSION] for row in source]
        columns = [[row[place] for row in source] for place in range(1, width)]
        for place, (name, column) in enumerate(zip((*plain[1:], *others), (*columns, *made), strict=True), 1):
            self.result.column(table, name, sessions, ids, column, [row[place] for row in target])

    def _rest(self, table: str, target: TargetRows) -> None:
        """Tell of the sessions' rows that are left when the source has no more."""
        for row in target.rest():
            self.result.found(table, 1)
            extra(self.result, table, target, row)
        target.close()

    # --- timesteps ------------------------------------------------------------------------------------------

    def _timesteps(self, apart: set[int]) -> tuple[Steps, dict[int, int]]:
        """Compare timesteps; returns their (step_index, id, num_events, num_messages), and turns by id."""
        table, width = "session_timesteps", len(_tables.STEP_PLAIN)
        target = self._rows(table, (*_tables.STEP_PLAIN, *_tables.STEP_MADE))
        steps: Steps = {}
        turns: dict[int, int] = {}
        for rows in source_chunks(self._source, self.index, table, _tables.STEP_SOURCE, self._batch):
            last = rows[-1][ID]
            for row in rows:
                steps.setdefault(row[1], []).append((row[3], row[0], row[5], row[6]))
            made = [self._turn(row[width - 1], row[3]) for row in rows]
            turns.update(zip(map(itemgetter(ID), rows), made, strict=True))
            moments = self._clock.texts(self._utc([row[width] for row in rows]))
            if apart:
                rows, made, moments = _without(apart, rows, made, moments)
            ids, sessions = [row[ID] for row in rows], [row[SESSION] for row in rows]
            places, found = matched(self.result, table, ids, sessions, target, target.through(last, len(rows)))
            rows, *expected = picked([rows, made, moments], places)
            self._compare_rows(table, (_tables.STEP_PLAIN, _tables.STEP_MADE), rows, expected, found)
        self._rest(table, target)
        for own in steps.values():
            own.sort()
        return steps, turns

    # --- events ---------------------------------------------------------------------------------------------

    def _events(self, steps: Steps, turns: Mapping[int, int], apart: set[int]) -> dict[str, list[float]]:
        """Compare events and the rewards derived from them; returns by session its storable rewards."""
        table, width = "events", len(_tables.EVENT_PLAIN)
        dealt = deal(steps, 2, self._batch.counts["events"])
        target = self._rows(table, (*_tables.EVENT_PLAIN, *_tables.EVENT_MADE))
        derived = self._rows("event_rewards", _tables.REWARD, "events")
        places_of: dict[str, int] = {}
        sums: dict[str, list[float]] = {}
        for rows in source_chunks(self._source, self.index, table, _tables.EVENT_SOURCE, self._batch):
            last = rows[-1][ID]
            sessions = [row[SESSION] for row in rows]
            recorded = [row[width] for row in rows]
            timesteps = steps_of(sessions, recorded, dealt, places_of)
            # those that were dealt out are of their session; a recorded one may be of any
            whose = timesteps if recorded.count(None) == len(recorded) else own_steps(sessions, timesteps, steps)
            self.unlinked[table] += timesteps.count(None)
            rewards = map(itemgetter(_tables.EVENT_REWARD), rows)
            for session, reward in [pair for pair in zip(sessions, rewards, strict=True) if pair[1] is not None]:
                sums.setdefault(session, []).append(reward)
            if apart:
                rows, sessions, timesteps, whose = _without(apart, rows, sessions, timesteps, whose)
            ids = [row[ID] for row in rows]
            types, moments, costs, metadata = (list(map(itemgetter(width + place), rows)) for place in (1, 2, 3, 4))
            mapped = [self._event_types[kind] for kind in types]
            utc = self._utc(moments)
            created = self._clock.texts(utc)
            expected = [
                timesteps,
                mapped,
                [None if moment is None else moment / 1_000_000 for moment in utc],
                created,
                _rules.cents_of(costs),
                _metadata.event_metadata(metadata, costs, types, mapped),
            ]
            self._event_rewards(rows, mapped, whose, created, turns, derived, last)
            places, found = matched(self.result, table, ids, sessions, target, target.through(last, len(rows)))
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
        places, found = matched(self.result, "event_rewards", ids, sessions, target, target.through(last, about))
        (expected,) = picked([expected], places)
        self._compare_rows("event_rewards", (_tables.REWARD, ()), expected, [], found)

    def _created(self, session: str) -> str:
        """The text of the session's time, for rewards of events that have none."""
        created = self._dates.get(session)
        if created is None:
            row = self._aside.execute(
                f"SELECT {micros('created_at')} FROM session_traces WHERE session_id = ?", [session]
            ).fetchone()
            said = self._clock.text(self._utc([row[0] if row else None])[0])
            created = self._dates[session] = said or self._earliest(session)
        return created

    # --- messages -------------------------------------------------------------------------------------------

    def _messages(self, dealt: dict[str, list[int]], apart: set[int]) -> None:
        table, width = "messages", len(_tables.MESSAGE_PLAIN)
        target = self._rows(table, (*_tables.MESSAGE_PLAIN, *_tables.MESSAGE_MADE))
        places_of: dict[str, int] = {}
        for rows in source_chunks(self._source, self.index, table, _tables.MESSAGE_SOURCE, self._batch):
            last = rows[-1][ID]
            sessions = [row[SESSION] for row in rows]
            timesteps = steps_of(sessions, [row[width] for row in rows], dealt, places_of)
            self.unlinked[table] += timesteps.count(None)
            if apart:
                rows, sessions, timesteps = _without(apart, rows, sessions, timesteps)
            ids = [row[ID] for row in rows]
            types, texts, saved, moments = (list(map(itemgetter(width + place), rows)) for place in (1, 2, 3, 4))
            kinds, contents, metadata, are_utc = _metadata.read_messages(
                types, texts, self._message_types.__getitem__, self._is_json, self._bound
            )
            utc = self._utc(moments)
            if self._local and are_utc is not None:
                utc = [local if is_utc else other for is_utc, local, other in zip(are_utc, moments, utc, strict=True)]
            expected: list[Any] = [
                timesteps,
                [self._message_types[kind] for kind in kinds],
                contents,
                self._clock.texts(self._utc(saved)),
                [None if moment is None else moment / 1_000_000 for moment in utc],
                metadata,
            ]
            places, found = matched(self.result, table, ids, sessions, target, target.through(last, len(rows)))
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
            created = self._clock.text(self._utc([row[1]])[0]) or self._earliest(session)
            numbers = [count[session] if said is None else said for said, count in zip(row[2:5], counts, strict=True)]
            wanted = (session, created, *numbers, metadata.text, row[6], None)
            if found is None:
                self.result.row(session, "session_traces", session, missing=True)
            else:
                self.result.found("session_traces", 1)
                self._row("session_traces", session, _tables.TRACE, wanted, found)
            self._outcome(
                session,
                outcome_of(session, metadata.episode, created, numbers[0], rewards.get(session, [])),
                own,
            )

    def _without_source(self, session: str, found: tuple[Any, ...] | None, outcomes: Rows) -> None:
        """A session that the source no longer has: all that the target holds of it has no source."""
        if found is not None:
            self.result.row(session, "session_traces", session, missing=False, why="the source has no such session")
        for _ in outcomes:
            self.result.row(session, "outcome_rewards", session, missing=False)

    def _row(
        self, table: str, session: str, names: Sequence[str], wanted: tuple[Any, ...], found: tuple[Any, ...]
    ) -> None:
        self.result.values += len(names)
        if wanted != found:
            for name, want, have in zip(names, wanted, found, strict=True):
                self.result.values -= 1
                self.result.column(table, name, [session], [session], [want], [have])

    def _earliest(self, session: str) -> str:
        """The text of the first moment that the target can hold of the session's rows.

        Each is converted before it is compared: local times have another order than the moments they stand for. Of
        those texts the first in order is the earliest.
        """
        parts = " UNION ALL ".join(
            f"SELECT {micros(column)} AS m FROM {table} WHERE session_id = $1 AND isfinite({column})"
            for table, column in (
                ("session_timesteps", "timestamp"),
                ("events", "event_time"),
                ("messages", "timestamp"),
            )
        )
        found = None
        cursor = self._aside.execute(parts, [session])
        while rows := cursor.fetchmany(_MOMENTS):
            texts = self._clock.texts(self._utc([row[0] for row in rows]))
            found = min((text for text in (*texts, found) if text is not None), default=None)
        return found or "1970-01-01T00:00:00.000000+00:00"

    def _outcome(self, session: str, wanted: tuple[Any, ...] | None, found: Rows) -> None:
        self.result.found("outcome_rewards", len(found))
        if wanted is None:
            for _ in found:
                self.result.row(session, "outcome_rewards", session, missing=False)
        elif not found:
            self.result.row(session, "outcome_rewards", session, missing=True)
        else:
            self._row("outcome_rewards", session, _tables.OUTCOME, wanted, found[0])
            for _ in found[1:]:
                self.result.row(session, "outcome_rewards", session, missing=False)


class _Memo(dict[str, Any]):
    def __init__(self, rule: Any) -> None:
        self._rule = rule

    def __missing__(self, key: str) -> Any:
        if len(self) > 10_000:
            self.clear()
        value = self[key] = self._rule(key)
        return value


def _without(apart: set[int], rows: Rows, *columns: list[Any]) -> tuple[list[Any], ...]:
    """Rows and columns but for those that are in quarantine."""
    kept = [place for place, row in enumerate(rows) if row[ID] not in apart]
    return tuple([column[place] for place in kept] for column in (rows, *columns))
