"""synth.v2 against synth.v3: every value of every row of given sessions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import duckdb

from sessionlift.runs.verifier import _rules
from sessionlift.runs.verifier._compare import Comparison, Found, same
from sessionlift.runs.verifier._readers import Rows, TargetReader, id_list

METHOD = (
    "Every source row of each moved session is read again from the source, every target row through a driver "
    "other than the writer's, in a process of its own; each target value is worked out again from the source value by "
    "separate code and compared in value and kind (doubles bit for bit but for the sign of zero, text character for "
    "character). Rows are matched by id; a row missing, added or out of its session is a difference."
)
CANNOT_SEE = [
    "a misreading of the rules that both the converter and the verifier share, since both follow docs/synth.md",
    "the order of keys and the white space of session metadata and of wrapped event metadata, which are compared as values with exact numbers",
    "the complement in the ledger, which only a way back uses; its text is covered by the digests of neither store",
    "values that the source's engine itself reads wrong, since both sides read through it",
]

_TS = ("id", "session_id", "step_id", "step_index", "turn_number", "started_at", "completed_at", "num_events", "num_messages", "step_metadata")
_EV = (
    "id", "session_id", "timestep_id", "event_type", "system_instance_id", "event_time", "message_time", "created_at",
    "model_name", "provider", "input_tokens", "output_tokens", "total_tokens", "cost_usd", "latency_ms", "span_id",
    "trace_id", "reward", "terminated", "system_state_before", "system_state_after", "metadata", "event_metadata",
    "call_records", "truncated", "embedding",
)  # fmt: skip
_MS = ("id", "session_id", "timestep_id", "message_type", "content", "timestamp", "event_time", "message_time", "metadata", "embedding")
_TR = ("session_id", "created_at", "num_timesteps", "num_events", "num_messages", "metadata", "experiment_id", "embedding")
_ER = ("id", "event_id", "session_id", "message_id", "turn_number", "reward_value", "reward_type", "key", "annotation", "source", "created_at")
_OR = ("session_id", "total_reward", "achievements_count", "total_steps", "created_at", "reward_metadata")


def _micros(column: str) -> str:
    return f"CASE WHEN isfinite({column}) THEN epoch_us({column}) END"


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
        self._clock = _rules.Clock(zone)
        self._local = zone != "UTC"
        self._message_types = message_types
        self._event_types = event_types
        self.result = Comparison()

    # --- sessions ---------------------------------------------------------------------------------------------

    def check(self, ids: Sequence[str]) -> None:
        """Compare the sessions ``ids``, which the ledger names as moved (wholly or in part)."""
        self._source.execute("CREATE OR REPLACE TEMP TABLE v_ids (session_id VARCHAR)")
        self._source.execute("INSERT INTO v_ids SELECT unnest(from_json(?, '[\"VARCHAR\"]'))", [json.dumps(list(ids))])
        self._some, self._params = id_list(ids)
        apart = self._quarantined()
        steps = self._timesteps(apart["session_timesteps"])
        counts = {"session_timesteps": self._counts}
        rewards = self._events(steps, apart["events"])
        counts["events"] = self._counts
        self._messages(steps, apart["messages"])
        counts["messages"] = self._counts
        self._traces(ids, counts, rewards)
        self.result.sessions += len(ids)

    def _quarantined(self) -> dict[str, set[int]]:
        apart: dict[str, set[int]] = {"session_timesteps": set(), "events": set(), "messages": set()}
        for table, row_id in self._target.read(
            "sessionlift_quarantine",
            ("table_name", "row_id"),
            f"unit = 'session' AND session_id IN ({self._some})",
            self._params,
        ):
            if table in apart:
                apart[table].add(int(row_id))
        return apart

    def _read(self, table: str, source_columns: str, target_columns: Sequence[str], apart: set[int]) -> tuple[Rows, Rows]:
        """Rows of both sides in the order of their ids, matched one to one; what has no partner is told and left out."""
        source = self._source.execute(
            f"SELECT {source_columns} FROM {table} WHERE session_id IN (SELECT session_id FROM v_ids) ORDER BY id"
        ).fetchall()
        target = self._target.read(table, target_columns, f"session_id IN ({self._some})", self._params, ("id",))
        self._counts: dict[str, int] = {}
        for row in source:
            self._counts[row[1]] = self._counts.get(row[1], 0) + 1
        if apart:
            source = [row for row in source if row[0] not in apart]
        if [row[0] for row in source] != [row[0] for row in target]:
            source, target = self._match(table, source, target)
        self.result.rows += len(target)
        return source, target

    def _match(self, table: str, source: Rows, target: Rows) -> tuple[Rows, Rows]:
        left = {row[0]: row for row in source}
        right = {row[0]: row for row in target}
        for key, row in left.items():
            if key not in right:
                self._tell(row[1], table, key, None, "a row", None, f"{table} row {key} is missing in the target")
        for key, row in right.items():
            if key not in left:
                self._tell(row[1], table, key, None, None, "a row", f"{table} row {key} has no row in the source")
        both = [key for key in left if key in right]
        return [left[key] for key in both], [right[key] for key in both]

    def _tell(
        self, session: Any, table: str, row: Any, column: str | None, want: Any, have: Any, message: str
    ) -> None:
        self.result.differ(Found(str(session), table, str(row), column, want, have, message))

    def _utc(self, local: Sequence[int | None]) -> list[int | None]:
        if not self._local:
            return list(local)
        utc = self._clock.utc
        return [None if moment is None else utc(moment) for moment in local]

    def _texts(self, moments: Sequence[int | None]) -> list[str | None]:
        text = self._clock.text
        return [text(moment) for moment in moments]

    # --- timesteps --------------------------------------------------------------------------------------------

    def _timesteps(self, apart: set[int]) -> dict[str, list[tuple[int, int, int | None, int | None, int]]]:
        """Compare timesteps; returns by session (step_index, id, num_events, num_messages, turn) in step order."""
        source, target = self._read(
            "session_timesteps",
            f"id, session_id, step_id, step_index, {_micros('timestamp')}, num_events, num_messages, step_metadata::VARCHAR",
            _TS,
            apart,
        )
        steps: dict[str, list[tuple[int, int, int | None, int | None, int]]] = {}
        if not source:
            return steps
        ids, sessions, names, places, moments, events, messages, metadata = zip(*source, strict=True)
        turns = [_turn(text, place) for text, place in zip(metadata, places, strict=True)]
        expected = {
            "session_id": sessions,
            "step_id": names,
            "step_index": places,
            "turn_number": turns,
            "started_at": self._texts(self._utc(moments)),
            "completed_at": [None] * len(ids),
            "num_events": events,
            "num_messages": messages,
            "step_metadata": [_rules.null_or(text) or "{}" for text in metadata],
        }
        self._columns("session_timesteps", _TS, sessions, ids, expected, target)
        for row in zip(places, ids, events, messages, turns, sessions, strict=True):
            steps.setdefault(row[5], []).append(row[:5])
        for session in steps.values():
            session.sort()
        return steps

    def _columns(
        self,
        table: str,
        names: Sequence[str],
        sessions: Sequence[Any],
        ids: Sequence[Any],
        expected: Mapping[str, Sequence[Any]],
        target: Rows,
    ) -> None:
        found = dict(zip(names, zip(*target, strict=True), strict=True))
        for name, column in expected.items():
            self.result.column(table, name, sessions, ids, list(column), list(found[name]))

    @staticmethod
    def _deal(
        steps: dict[str, list[tuple[int, int, int | None, int | None, int]]], which: int, counts: Mapping[str, int]
    ) -> dict[str, list[int]]:
        """By session the timestep of its first, second, … row, for sessions whose recorded counts add up."""
        dealt: dict[str, list[int]] = {}
        for session, rows in counts.items():
            own = steps.get(session, [])
            sizes = [row[which] for row in own]
            if any(size is None or size < 0 for size in sizes) or len({row[0] for row in own}) != len(own):
                continue
            if sum(size for size in sizes if size) == rows:
                dealt[session] = [row[1] for row in own for _ in range(row[which] or 0)]
        return dealt

    def _steps_of(
        self, sessions: Sequence[str], recorded: Sequence[int | None], all_ids: Iterable[tuple[int, str]], dealt: dict[str, list[int]], kept: set[int] | None
    ) -> list[int | None]:
        """The timestep of each kept row; ``all_ids`` names every source row, for those in quarantine count too."""
        places: dict[str, int] = {}
        found: list[int | None] = []
        at = 0
        for row_id, session in all_ids:
            place = places.get(session, 0)
            places[session] = place + 1
            if kept is not None and row_id not in kept:
                continue
            own = dealt.get(session)
            found.append(recorded[at] if recorded[at] is not None else (own[place] if own is not None else None))
            at += 1
        return found

    # --- events -----------------------------------------------------------------------------------------------

    def _events(
        self, steps: dict[str, list[tuple[int, int, int | None, int | None, int]]], apart: set[int]
    ) -> dict[str, list[float]]:
        """Compare events and the rewards derived from them; returns by session its storable rewards."""
        source, target = self._read(
            "events",
            f"id, session_id, timestep_id, event_type, system_instance_id, {_micros('event_time')}, message_time, "
            "model_name, provider, prompt_tokens, completion_tokens, total_tokens, cost, latency_ms, span_id, trace_id, "
            "reward, terminated, system_state_before::VARCHAR, system_state_after::VARCHAR, metadata::VARCHAR, "
            "event_metadata::VARCHAR",
            _EV,
            apart,
        )
        rewards: dict[str, list[float]] = {}
        if apart:
            for session, reward in self._source.execute(
                "SELECT session_id, reward FROM events WHERE session_id IN (SELECT session_id FROM v_ids) "
                "AND reward IS NOT NULL"
            ).fetchall():
                if reward == reward:
                    rewards.setdefault(session, []).append(reward)
        if not source:
            self._event_rewards([], steps)
            return rewards
        (
            ids, sessions, recorded, types, instances, moments, message_times, models, providers, inputs, outputs, totals,
            costs, latencies, spans, traces, reward, terminated, before, after, metadata, hooks,
        ) = zip(*source, strict=True)  # fmt: skip
        utc = self._utc(moments)
        created = self._texts(utc)
        mapped = [_rules.event_type_of(name, self._event_types) for name in types]
        every = self._all_ids("events") if apart else zip(ids, sessions, strict=True)
        dealt = self._deal(steps, 2, self._counts)
        timesteps = self._steps_of(sessions, recorded, every, dealt, set(ids) if apart else None)
        nulls = [None] * len(ids)
        states = _rules.null_or
        expected: dict[str, Sequence[Any]] = {
            "session_id": sessions,
            "timestep_id": timesteps,
            "event_type": mapped,
            "system_instance_id": instances,
            "event_time": [None if moment is None else moment / 1_000_000 for moment in utc],
            "message_time": message_times,
            "created_at": created,
            "model_name": models,
            "provider": providers,
            "input_tokens": inputs,
            "output_tokens": outputs,
            "total_tokens": totals,
            "cost_usd": [None if cost is None else _rules.cents_of(repr(cost)) for cost in costs],
            "latency_ms": [_number(value) for value in latencies],
            "span_id": spans,
            "trace_id": traces,
            "reward": [_number(value) for value in reward],
            "terminated": [None if value is None else int(value) for value in terminated],
            "system_state_before": [states(text) for text in before],
            "system_state_after": [states(text) for text in after],
            "event_metadata": [states(text) for text in hooks],
            "call_records": nulls,
            "truncated": nulls,
            "embedding": nulls,
        }
        self._columns("events", _EV, sessions, ids, expected, target)
        place = _EV.index("metadata")
        self.result.values += len(ids)
        for row, text, cost, recorded_type, kind in zip(target, metadata, costs, types, mapped, strict=True):
            if not _metadata_fits(row[place], text, cost, recorded_type if kind != recorded_type else None):
                self._tell(
                    row[1], "events", row[0], "metadata", text, row[place],
                    f"events row {row[0]}: metadata does not hold what the source's metadata, cost and type give",
                )  # fmt: skip
        derived = [
            (row_id, session, timestep, value, states(hook), text)
            for row_id, session, timestep, kind, value, hook, text in zip(
                ids, sessions, timesteps, mapped, expected["reward"], hooks, created, strict=True
            )
            if kind == "environment" and value is not None
        ]
        self._event_rewards(derived, steps)
        if not apart:
            for session, value in zip(sessions, reward, strict=True):
                if value is not None and value == value:
                    rewards.setdefault(session, []).append(value)
        return rewards

    def _all_ids(self, table: str) -> list[tuple[int, str]]:
        return self._source.execute(
            f"SELECT id, session_id FROM {table} WHERE session_id IN (SELECT session_id FROM v_ids) ORDER BY id"
        ).fetchall()

    def _event_rewards(
        self,
        derived: list[tuple[int, str, int | None, float, str | None, str | None]],
        steps: dict[str, list[tuple[int, int, int | None, int | None, int]]],
    ) -> None:
        target = self._target.read("event_rewards", _ER, f"session_id IN ({self._some})", self._params, ("id",))
        if [row[0] for row in derived] != [row[0] for row in target]:
            wanted, had = {row[0] for row in derived}, {row[0] for row in target}
            for row in derived:
                if row[0] not in had:
                    self._tell(row[1], "event_rewards", row[0], None, "a row", None, f"event {row[0]} has a reward, but no row in event_rewards")
            for found in target:
                if found[0] not in wanted:
                    self._tell(found[2], "event_rewards", found[0], None, None, "a row", f"event_rewards row {found[0]} follows from no event")
            derived = [row for row in derived if row[0] in had]
            target = [row for row in target if row[0] in wanted]
        self.result.rows += len(target)
        if not target:
            return
        turns = {row[1]: row[4] for own in steps.values() for row in own}
        ids, sessions, timesteps, values, hooks, created = zip(*derived, strict=True)
        fallback = self._created_texts() if None in created else {}
        expected: dict[str, Sequence[Any]] = {
            "event_id": ids,
            "session_id": sessions,
            "message_id": [None] * len(ids),
            "turn_number": [None if step is None else turns.get(step) for step in timesteps],
            "reward_value": values,
            "reward_type": ["sparse"] * len(ids),
            "key": [None] * len(ids),
            "annotation": hooks,
            "source": ["environment"] * len(ids),
            "created_at": [
                text if text is not None else fallback.get(session, "") for text, session in zip(created, sessions, strict=True)
            ],
        }
        self._columns("event_rewards", _ER, sessions, ids, expected, target)

    def _created_texts(self) -> dict[str, str]:
        rows = self._source.execute(
            f"SELECT session_id, {_micros('created_at')} FROM session_traces WHERE session_id IN (SELECT session_id FROM v_ids)"
        ).fetchall()
        return {session: self._texts(self._utc([moment]))[0] or "" for session, moment in rows}

    # --- messages ---------------------------------------------------------------------------------------------

    def _messages(
        self, steps: dict[str, list[tuple[int, int, int | None, int | None, int]]], apart: set[int]
    ) -> None:
        source, target = self._read(
            "messages",
            f"id, session_id, timestep_id, message_type, content::VARCHAR, {_micros('timestamp')}, {_micros('event_time')}, message_time",
            _MS,
            apart,
        )
        if not source:
            return
        ids, sessions, recorded, types, contents, moments, event_moments, message_times = zip(*source, strict=True)
        every = self._all_ids("messages") if apart else zip(ids, sessions, strict=True)
        dealt = self._deal(steps, 3, self._counts)
        read = [_message(kind, text) for kind, text in zip(types, contents, strict=True)]
        event_utc = self._utc(event_moments)
        if self._local:
            event_utc = [
                local if each.event_is_utc else utc
                for each, local, utc in zip(read, event_moments, event_utc, strict=True)
            ]
        overrides = self._message_types
        expected: dict[str, Sequence[Any]] = {
            "session_id": sessions,
            "timestep_id": self._steps_of(sessions, recorded, every, dealt, set(ids) if apart else None),
            "message_type": [_rules.message_type_of(each.kind, overrides) for each in read],
            "content": [each.content for each in read],
            "timestamp": self._texts(self._utc(moments)),
            "event_time": [None if moment is None else moment / 1_000_000 for moment in event_utc],
            "message_time": message_times,
            "embedding": [None] * len(ids),
        }
        self._columns("messages", _MS, sessions, ids, expected, target)
        place = _MS.index("metadata")
        self.result.values += len(ids)
        for row, each in zip(target, read, strict=True):
            told = _our_part(row[place])
            if not each.told_by(told, overrides):
                self._tell(
                    row[1], "messages", row[0], "metadata", each.kind, row[place],
                    f"messages row {row[0]}: metadata does not tell the original type and form",
                )  # fmt: skip

    # --- traces and outcomes ----------------------------------------------------------------------------------

    def _traces(
        self, ids: Sequence[str], counts: Mapping[str, Mapping[str, int]], rewards: Mapping[str, list[float]]
    ) -> None:
        source = {
            row[0]: row
            for row in self._source.execute(
                f"SELECT session_id, {_micros('created_at')}, num_timesteps, num_events, num_messages, metadata::VARCHAR, "
                "experiment_id FROM session_traces WHERE session_id IN (SELECT session_id FROM v_ids)"
            ).fetchall()
        }
        target = {
            row[0]: row
            for row in self._target.read("session_traces", _TR, f"session_id IN ({self._some})", self._params)
        }
        outcomes: dict[str, list[tuple[Any, ...]]] = {}
        for row in self._target.read("outcome_rewards", _OR, f"session_id IN ({self._some})", self._params, ("id",)):
            outcomes.setdefault(row[0], []).append(row)
        for session in ids:
            if session not in source or session not in target:
                where = "the source" if session not in source else "the target"
                self._tell(session, "session_traces", session, None, None, None, f"session {session!r} is missing in {where}")
                continue
            self.result.rows += 1 + len(outcomes.get(session, []))
            self._trace(session, source[session], target[session], counts, rewards.get(session, []), outcomes.get(session, []))

    def _trace(
        self,
        session: str,
        source: tuple[Any, ...],
        target: tuple[Any, ...],
        counts: Mapping[str, Mapping[str, int]],
        rewards: list[float],
        outcomes: list[tuple[Any, ...]],
    ) -> None:
        created = self._texts(self._utc([source[1]]))[0] or self._earliest(session)
        actual = [counts[table].get(session, 0) for table in ("session_timesteps", "events", "messages")]
        numbers = [have if said is None else said for said, have in zip(source[2:5], actual, strict=True)]
        wanted: dict[str, Any] = dict(zip(_TR, (session, created, *numbers, None, source[6], None), strict=True))
        for name, want, have in zip(_TR, wanted.values(), target, strict=True):
            self.result.values += 1
            if name != "metadata" and not same(want, have):
                self._tell(session, "session_traces", session, name, want, have, f"session {session!r}: {name} is {have!r}, must be {want!r}")
        try:
            fits = _rules.exact_json(target[5]) == _rules.session_metadata_of(source[5])
        except (ValueError, TypeError):
            fits = False
        if not fits:
            self._tell(session, "session_traces", session, "metadata", source[5], target[5], f"session {session!r}: metadata does not hold the source's items")
        self._outcome(session, source[5], created, numbers[0], rewards, outcomes)

    def _earliest(self, session: str) -> str:
        moments = [
            row[0]
            for table, column in (("session_timesteps", "timestamp"), ("events", "event_time"), ("messages", "timestamp"))
            for row in self._source.execute(
                f"SELECT min(epoch_us({column})) FROM {table} WHERE session_id = ? AND isfinite({column})", [session]
            ).fetchall()
            if row[0] is not None
        ]
        found = self._texts([min(moment for moment in self._utc(moments) if moment is not None)])[0] if moments else None
        return found or "1970-01-01T00:00:00.000000+00:00"

    def _outcome(
        self, session: str, metadata: str | None, created: str, steps: int, rewards: list[float], rows: list[tuple[Any, ...]]
    ) -> None:
        wanted = _outcome_of(session, metadata, created, steps, rewards)
        if (wanted is None) != (not rows) or len(rows) > 1:
            self._tell(session, "outcome_rewards", session, None, wanted, rows, f"session {session!r} has {len(rows)} rows in outcome_rewards, must have {0 if wanted is None else 1}")
            return
        if wanted is None:
            return
        *plain, achievements = wanted
        for name, want, have in zip(_OR, plain, rows[0], strict=False):
            self.result.values += 1
            if not same(want, have):
                self._tell(session, "outcome_rewards", session, name, want, have, f"session {session!r}: {name} is {have!r}, must be {want!r}")
        self.result.values += 1
        try:
            told = json.loads(rows[0][5])["achievements"]
        except (ValueError, KeyError, TypeError):
            told = None
        if told != achievements:
            self._tell(session, "outcome_rewards", session, "reward_metadata", achievements, told, f"session {session!r}: achievements differ")

    # --- the catalog ------------------------------------------------------------------------------------------

    def check_catalog(self) -> None:
        """Compare every row of systems, versions, experiments and links; the target may have rows of its own."""
        queries: tuple[tuple[str, str, tuple[str, ...], Callable[[tuple[Any, ...]], tuple[Any, ...]]], ...] = (
            (
                "systems", "SELECT id, name, description FROM systems",
                ("system_id", "name", "system_type", "description", "created_at", "metadata"),
                lambda r: (r[0], r[1], None, r[2], None, None),
            ),
            (
                "system_versions",
                f"SELECT id, system_id, branch, \"commit\", {_micros('created_at')}, description FROM system_versions",
                ("version_id", "system_id", "version_number", "commit_hash", "created_at", "configuration", "metadata"),
                lambda r: (r[0], r[1], r[0], r[3], self._clock.text(r[4]), None, {"branch": r[2], "description": r[5]}),
            ),
            (
                "experiments",
                f"SELECT id, name, description, {_micros('created_at')}, {_micros('updated_at')} FROM experiments",
                ("experiment_id", "name", "description", "created_at", "updated_at", "configuration", "metadata"),
                lambda r: (r[0], r[1], r[2], self._clock.text(r[3]), self._clock.text(r[4]), None, None),
            ),
            (
                "experimental_systems", "SELECT experiment_id, system_id, system_version_id FROM experimental_systems",
                ("experiment_id", "system_id", "version_id"),
                lambda r: r,
            ),
        )  # fmt: skip
        for table, source_sql, columns, rule in queries:
            keys = 2 if table == "experimental_systems" else 1
            have = {row[:keys]: row for row in self._target.read(table, columns)}
            for row in self._source.execute(source_sql).fetchall():
                want = rule(row)
                found = have.get(want[:keys])
                if found is None:
                    self._tell("", table, want[:keys], None, "a row", None, f"{table} row {want[0]!r} is missing in the target")
                    continue
                self.result.rows += 1
                for place, (expected, value) in enumerate(zip(want, found, strict=True)):
                    self.result.values += 1
                    if isinstance(expected, dict):
                        wanted = {key: each for key, each in expected.items() if each is not None}
                        if (json.loads(value) if value is not None else {}) == wanted:
                            continue
                    elif same(expected, value):
                        continue
                    self._tell("", table, want[0], str(place), expected, value, f"{table} row {want[0]!r}: value {place} is {value!r}, must be {expected!r}")


# --- single values --------------------------------------------------------------------------------------------


def _number(value: float | None) -> float | None:
    return None if value is None or value != value else value


def _turn(text: str | None, place: int) -> int:
    if text is None or "turn_number" not in text:
        return place
    value = json.loads(text)
    turn = value.get("turn_number") if isinstance(value, dict) else None
    if isinstance(turn, int) and not isinstance(turn, bool) and -(2**63) <= turn < 2**63:
        return turn
    return place


def _metadata_fits(have: str | None, text: str | None, cost: float | None, recorded_type: str | None) -> bool:
    """True where v3's metadata is v2's text with the dollars and a mapped type added, and nothing else."""
    want = _rules.null_or(text)
    if cost is None and recorded_type is None and (want is None or want[:1] == "{"):
        if have == want:
            return True
    elif have is not None and recorded_type is None and text is not None and text[:1] == "{" and len(text) > 2:
        shown = f'"{cost}"' if cost is None or cost != cost or math.isinf(cost) else repr(cost)
        if have.startswith(text[:-1]) and have[len(text) - 1 :] == f', "sessionlift": {{"cost": {shown}}}}}':
            return True
    return _metadata_fits_slowly(have, want, cost, recorded_type)


def _metadata_fits_slowly(have: str | None, want: str | None, cost: float | None, recorded_type: str | None) -> bool:
    extra: dict[str, Any] = {}
    if cost is not None:
        extra["cost"] = _rules.Exact(repr(cost)) if math.isfinite(cost) else repr(cost)
    if recorded_type is not None:
        extra["event_type"] = recorded_type
    base = None if want is None else _rules.exact_json(want)
    simple = isinstance(base, dict) and f'"{_rules.OURS}"' not in (want or "")
    if want is not None and not (simple and (want or "")[:1] == "{" and (want or "")[-1:] == "}"):
        extra = {"metadata": base, **extra}
        base = {}
    if not extra:
        return have == want
    try:
        found = _rules.exact_json(have) if have is not None else None
    except ValueError:
        return False
    return bool(found == {**(base or {}), _rules.OURS: extra})


class _Message:
    """A legacy message as it must come out: its real type, v3's content, and what its metadata must tell."""

    __slots__ = ("content", "event_is_utc", "form", "kind", "rest")

    def __init__(self, kind: str, content: str, form: str, rest: dict[str, Any] | None, event_is_utc: bool) -> None:
        self.kind, self.content, self.form, self.rest, self.event_is_utc = kind, content, form, rest, event_is_utc

    def told_by(self, told: dict[str, Any] | None, overrides: Mapping[str, str]) -> bool:
        """True where the metadata tells the type if it was mapped, the content's form if it could be mistaken,
        and for an envelope everything else that was in it."""
        if told is None:
            told = {}
        if self.rest is not None:
            same_rest = told.get("envelope", {}) == self.rest
            return same_rest and told.get("message_type") == self.kind and told.get("content") == self.form
        mapped = _rules.message_type_of(self.kind, overrides) != self.kind
        if mapped and told.get("message_type") != self.kind:
            return False
        if not mapped and "message_type" in told:
            return False
        # a text needs the word only where it looks like JSON, and may have it anyway
        return told.get("content", "string") == self.form


def _message(kind: str, text: str) -> _Message:
    if kind == "SessionEventMessage" and text.lstrip(_rules.WHITE)[:1] == "{":
        opened = _opened(text)
        if opened is not None:
            return opened
    if text[:1] == '"' or text.lstrip(_rules.WHITE)[:1] == '"':
        return _Message(kind, json.loads(text), "string", None, False)
    return _Message(kind, text, "json", None, False)


def _opened(text: str) -> _Message | None:
    try:
        parts = dict(reversed(list(_members(text))))
    except (ValueError, RecursionError):
        return None
    if "content" not in parts:
        return None
    content = parts["content"]
    value = json.loads(content)
    is_text = isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)
    kind = "unknown"
    if "message_type" in parts:
        named = json.loads(parts["message_type"])
        kind = named if isinstance(named, str) else ("unknown" if named is None else parts["message_type"])
    rest = {
        key: _rules.exact_json(member) for key, member in parts.items() if key not in ("content", "message_type")
    }
    return _Message(kind, value if is_text else content, "string" if is_text else "json", rest, _bound_as_utc(rest))


def _bound_as_utc(rest: Mapping[str, Any]) -> bool:
    """The writer's driver turned numbers and texts with an offset into UTC when it bound them."""
    record = rest.get("time_record")
    bound = record.get("event_time") if isinstance(record, dict) else None
    if isinstance(bound, _rules.Exact):
        return all(char in "0123456789." for char in bound.digits)
    if not isinstance(bound, str):
        return False
    tail = bound[-6:]
    return bound.endswith("Z") or (
        len(tail) >= 5 and (tail[-6:-5] in "+-" and tail[-3:-2] == ":" or tail[-5:-4] in ("+", "-")) and tail[-2:].isdigit()
    )


def _members(text: str) -> Iterator[tuple[str, str]]:
    """The members of a JSON object with each value's own text, by trying ends: slow, simple, and not the converter's."""
    decoder = json.JSONDecoder()
    at = text.index("{") + 1
    while True:
        while text[at] in _rules.WHITE + ",":
            at += 1
        if text[at] == "}":
            return
        key, at = decoder.raw_decode(text, at)
        at = text.index(":", at) + 1
        while text[at] in _rules.WHITE:
            at += 1
        _, end = decoder.raw_decode(text, at)
        yield key, text[at:end]
        at = end


@lru_cache(maxsize=20_000)
def _our_part(metadata: str | None) -> dict[str, Any] | None:
    if metadata is None:
        return None
    try:
        value = _rules.exact_json(metadata)
    except ValueError:
        return {"content": "unreadable"}
    part = value.get(_rules.OURS) if isinstance(value, dict) else None
    return part if isinstance(part, dict) else {"content": "unreadable"}


def _outcome_of(
    session: str, metadata: str | None, created: str, steps: int, rewards: list[float]
) -> tuple[Any, ...] | None:
    """The row that outcome_rewards must have, with the names of what was achieved last."""
    episode = _rules.episode_of(metadata)
    total = _rules.number_of(episode.get("total_reward")) if episode is not None else None
    if episode is not None and total is not None and total == total and abs(total) < 2**63:
        done = episode.get("achievements")
        if isinstance(done, dict):
            names = [name for name, value in done.items() if _truth(value)]
        else:
            names = [name for name in done if isinstance(name, str)] if isinstance(done, list) else []
        count, length = _whole(episode.get("num_achievements")), _whole(episode.get("rollout_length"))
        return (session, total, len(names) if count is None else count, steps if length is None else length, created, names)
    if not rewards:
        return None
    try:
        summed = math.fsum(rewards)
    except (OverflowError, ValueError):
        return None
    return (session, summed, 0, steps, created, []) if math.isfinite(summed) else None


def _truth(value: Any) -> bool:
    number = _rules.number_of(value)
    return bool(value if number is None else number)


def _whole(value: Any) -> int | None:
    number = _rules.number_of(value)
    return number if isinstance(number, int) and 0 <= number < 2**63 else None
