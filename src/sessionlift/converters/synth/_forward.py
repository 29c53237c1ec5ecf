"""The converter ``synth.v2 -> synth.v3``: one session or a batch of them, by the same statements."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from sessionlift.converters._batch import SESSION, Batch, Fact, Quarantined, Sink, Unit
from sessionlift.converters._digest import TargetDigests, as_double
from sessionlift.converters._forward import Forecast, Inventory, RowKeys
from sessionlift.converters._mapping import TypeMapping
from sessionlift.converters._times import LocalTime, load_zone, local_time
from sessionlift.converters.synth import _catalog, _messages, _projection, _sql
from sessionlift.converters.synth._columns import (
    DERIVED_TABLES,
    REAL_IN_DIGEST,
    V2_SESSION_TABLES,
    V3_COLUMNS,
)
from sessionlift.converters.synth._foresee import foresee, put_aside
from sessionlift.converters.synth._gathered import MAPPED, TEMP, Gathered
from sessionlift.converters.synth._ids import next_ids
from sessionlift.converters.synth._inventory import (
    MAX_BYTES,
    MAX_ROWS,
    Group,
    count_units,
    groups,
    leave_out,
    take_inventory,
)
from sessionlift.converters.synth._metadata import Reshaped, outcome, reshape
from sessionlift.converters.synth._quarantine import raw_rows
from sessionlift.converters.synth._source_digests import source_digests
from sessionlift.converters.synth._told import Told, note
from sessionlift.stores import DuckdbStore

CHUNK_ROWS = 4_000
"""Rows fetched at a time: what bounds the memory of one very large session."""


@dataclass(frozen=True)
class SynthOptions:
    """``timezone`` is the zone of the legacy store's naive times; ``only`` picks sessions (None: all)."""

    timezone: str = "UTC"
    mapping: TypeMapping = field(default_factory=TypeMapping)
    only: tuple[str, ...] | None = None


_MANY_YEARS = 10
"""From how many years on it is worth a look in which of them there are times."""


class SynthForward:
    """Reads a v2 store and gives v3 rows. Changes nothing in the source; works in temporary tables.

    ``name`` and ``version`` stand in the ledger beside each unit that this converter made.
    """

    name = "synth.v2->synth.v3"
    version = 1
    source_generation = "synth.v2"
    target_generation = "synth.v3"
    derived_tables = DERIVED_TABLES

    def __init__(self, source: DuckdbStore, options: SynthOptions) -> None:
        self._db: duckdb.DuckDBPyConnection = source.connection
        self._options = options
        self._events = options.mapping.event_types
        self._messages = options.mapping.message_types
        self._db.execute("CREATE OR REPLACE TEMP TABLE sl_known (session_id VARCHAR, digest VARCHAR)")
        self.times = self._local_time()
        self._gathered = Gathered(self._db, self.times, self._events)
        self._told = Told(self._db, self.times, self._messages)

    def _local_time(self) -> LocalTime:
        zone = load_zone(self._options.timezone)
        times = (
            ("session_traces", "created_at"),
            ("session_timesteps", "timestamp"),
            ("events", "event_time"),
            ("messages", "timestamp"),
            ("messages", "event_time"),
        )
        spans = " UNION ALL ".join(
            f"SELECT min({column}) AS a, max({column}) AS b FROM {table} WHERE isfinite({column})"
            for table, column in times
        )
        bound = "TIMESTAMP '1850-01-01'", "TIMESTAMP '2200-01-01'"
        row = self._db.execute(
            f"SELECT least(greatest(min(a), {bound[0]}), {bound[1]}), least(greatest(max(b), {bound[0]}), {bound[1]}) "
            f"FROM ({spans})"
        ).fetchone()
        first, last = row if row is not None else (None, None)
        if first is None or last.year - first.year < _MANY_YEARS:
            return local_time(zone, first, last)
        years = " UNION ".join(
            f"SELECT year(least(greatest({column}, {bound[0]}), {bound[1]})) AS y FROM {table} WHERE isfinite({column})"
            for table, column in times
        )
        return local_time(zone, first, last, [row[0] for row in self._db.execute(years).fetchall()])

    # --- what there is ----------------------------------------------------------------------------------------

    def inventory(self) -> Inventory:
        return take_inventory(self._db, self._options.only)

    def forecast(self, inventory: Inventory) -> Forecast:
        """What a move of the sessions in ``inventory`` would lose, put aside and derive."""
        mapped = _sql.event_type("r.event_type", self._events)
        return foresee(
            self._db,
            inventory,
            self._told.conditions(mapped),
            _sql.event_type_unknown(mapped),
            mapped,
            _sql.trace_unreadable(self.times),
        )

    def session_ids(self) -> Iterator[str]:
        """The ids of the chosen sessions, in the order they move."""
        result = self._db.execute("SELECT session_id FROM sl_units ORDER BY n")
        while rows := result.fetchmany(10_000):
            for (session_id,) in rows:
                yield session_id

    def leave_out(self, ids: Iterable[str]) -> Inventory:
        """Take sessions out of the inventory; returns what is left, which is no longer the whole store."""
        leave_out(self._db, ids)
        return count_units(self._db, whole=False)

    def missing(self, ids: Iterable[str]) -> list[str]:
        """Those of ``ids`` that the store does not hold."""
        return [
            row[0]
            for row in self._db.execute(
                f"SELECT DISTINCT i FROM ({_sql.texts()} AS i) WHERE i NOT IN (SELECT session_id FROM session_traces)",
                [_sql.bind_texts(ids)],
            ).fetchall()
        ]

    def next_ids(self) -> dict[str, int]:
        """By table the first id that neither v2's rows nor its sequence have come to; ids given by hand aside."""
        return next_ids(self._db)

    def foreign(self) -> tuple[int, int, str | None]:
        """How many sessions are known, how many of them the store does not hold, and one of those."""
        row = self._db.execute(
            "SELECT count(*), count(*) FILTER (WHERE gone), min(session_id) FILTER (WHERE gone) "
            "FROM (SELECT session_id, session_id NOT IN (SELECT session_id FROM session_traces) AS gone FROM sl_known)"
        ).fetchone()
        return row if row is not None else (0, 0, None)

    def know(self, known: Iterable[tuple[str, str]]) -> None:
        """Tell which sessions were moved before, with the digest of their source rows: equal ones are left alone."""
        part: list[tuple[str, str]] = []
        for pair in known:
            part.append(pair)
            if len(part) == 10_000:
                self._know(part)
                part = []
        self._know(part)

    def _know(self, part: list[tuple[str, str]]) -> None:
        if part:
            self._db.execute(
                f"DELETE FROM sl_known WHERE session_id IN ({_sql.texts()})", [_sql.bind_texts(key for key, _ in part)]
            )
            ids, digests = zip(*part, strict=True)
            self._db.execute(
                f"INSERT INTO sl_known {_sql.texts()}, unnest(from_json(?, '[\"VARCHAR\"]'))",
                [_sql.bind_texts(ids), _sql.bind_texts(digests)],
            )

    def known_now(self, group: Group) -> dict[str, str | None]:
        """The known sessions of ``group``: the digest of their source rows as they are, None where it is the known one.

        Without a look at what they would become, so that it costs little.
        """
        self._db.execute(
            "CREATE OR REPLACE TEMP TABLE sl_b AS SELECT u.session_id, k.digest FROM sl_units AS u "
            "JOIN sl_known AS k ON k.session_id = u.session_id WHERE u.n BETWEEN ? AND ?",
            [group.first, group.last],
        )
        known = dict(self._db.execute("SELECT session_id, digest FROM sl_b").fetchall())
        found = source_digests(self._db, group, known)
        return {key: None if digest == known[key] else digest for key, digest in found.items()}

    def unreadable(self, ids: Sequence[str]) -> set[str]:
        """Those of ``ids`` that would be put aside whole, since their rows cannot be converted."""
        put_aside(self._db, _sql.trace_unreadable(self.times))
        found = self._db.execute(
            f"SELECT session_id FROM sl_bad WHERE session_id IN ({_sql.texts()})", [_sql.bind_texts(ids)]
        )
        return {session_id for (session_id,) in found.fetchall()}

    def groups(self, *, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES) -> Iterator[Group]:
        """The chosen sessions in batches of at most about so many rows and bytes; ``inventory`` comes first."""
        return groups(self._db, max_rows=max_rows, max_bytes=max_bytes)

    def singles(self, group: Group) -> Iterator[Group]:
        """The sessions of ``group``, one by one."""
        for place in range(group.first, group.last + 1):
            yield from groups(self._db, between=(place, place))

    def pick(self, ids: Sequence[str]) -> Iterator[Group]:
        """Groups of these sessions only; numbers the sessions anew, so it does not mix with ``groups``."""
        take_inventory(self._db, ids)
        return groups(self._db)

    # --- the catalog ------------------------------------------------------------------------------------------

    def catalog(self, sink: Sink, known: str | None = None, leave: RowKeys | None = None) -> Batch:
        """The catalog as one unit; an empty batch where its digest is ``known`` already. See ``converters.Forward``."""
        orphans = _catalog.tables_with_orphans(self._db)
        digest = _catalog.catalog_digest(self._db, orphans)
        if digest == known:
            return Batch(unchanged=[""])
        return _catalog.convert_catalog(self._db, sink, digest, orphans, leave or {})

    # --- sessions ---------------------------------------------------------------------------------------------

    def convert(self, group: Group, sink: Sink, rejected: Mapping[str, tuple[str, str]] | None = None) -> Batch:
        """The sessions of ``group``: their rows go to ``sink``, everything else comes back.

        Sessions whose digest is known are named as unchanged and give no rows. Those in ``rejected`` (by id a
        code and a reason), which the target cannot take, go to quarantine whole.
        """
        batch = Batch()
        units = self._select(group, batch)
        if not units:
            return batch
        digests = TargetDigests(units, finite=self._gathered.is_finite())
        self._traces(units, digests, batch, sink, rejected or {})
        self._child("session_timesteps", _projection.timesteps(self.times), units, digests, sink)
        unknown = _sql.event_type_unknown(MAPPED)
        self._quarantine("events", unknown, batch)
        self._child("events", _projection.events(f"NOT {unknown.sql}"), units, digests, sink)
        envelopes = self._gathered.envelopes()
        self._message_rows(units, digests, sink, envelopes=envelopes > 0)
        self._child("event_rewards", _projection.event_rewards(f"NOT {unknown.sql}"), units, digests, sink)
        self._outcomes(units, digests, sink)
        self._told.losses(group, batch)
        self._told.facts(self._gathered, envelopes, self._types_lost, units, batch)
        self._told.exceptions(units)
        for session_id, digest in digests.hexdigests().items():
            units[session_id].target_digest = digest
        for row in batch.quarantine:
            if units.get(row.session_id) is not None and units[row.session_id].state == "moved":
                units[row.session_id].state = "partial"
        return batch

    def _select(self, group: Group, batch: Batch) -> dict[str, Unit]:
        """Gather the group's sessions and digest them; keep those that are new or changed."""
        self._db.execute(
            "CREATE OR REPLACE TEMP TABLE sl_b AS SELECT * FROM sl_units WHERE n BETWEEN ? AND ?",
            [group.first, group.last],
        )
        self._gathered.fill(group)
        found = self._gathered.digests(group)
        known = dict(
            self._db.execute(
                "SELECT k.session_id, k.digest FROM sl_known AS k JOIN sl_b AS b ON b.session_id = k.session_id"
            ).fetchall()
        )
        batch.unchanged = [session_id for session_id, digest in found.items() if known.get(session_id) == digest]
        same = set(batch.unchanged)
        if same and len(same) < len(found):
            self._db.execute(
                f"DELETE FROM sl_b WHERE session_id IN ({_sql.texts()})", [_sql.bind_texts(batch.unchanged)]
            )
            self._gathered.fill(group)
        batch.units = [Unit(SESSION, key, digest) for key, digest in found.items() if key not in same]
        return {unit.session_id: unit for unit in batch.units}

    def _traces(
        self,
        units: dict[str, Unit],
        digests: TargetDigests,
        batch: Batch,
        sink: Sink,
        refused: Mapping[str, tuple[str, str]],
    ) -> None:
        self._gathered.date()
        unreadable = _sql.trace_unreadable(self.times)
        odd = f"(r.created_at IS NULL OR {self.times.is_skipped('r.created_at')})"
        rows = self._db.execute(
            f"SELECT r.session_id, r.created, r.num_timesteps, r.num_events, r.num_messages, "
            f"r.metadata::VARCHAR, r.experiment_id, {unreadable.sql}, {odd}, r.created_at::VARCHAR, "
            f"b.all_bytes, b.session_timesteps_rows, b.events_rows, b.messages_rows, "
            f"r.experiment_id IS NOT NULL AND r.experiment_id NOT IN (SELECT id FROM experiments) "
            f"FROM sl_t AS r JOIN sl_b AS b ON b.n = r.n ORDER BY r.n"
        ).fetchall()
        rewards: dict[str, list[float]] = dict(
            self._db.execute(
                f"SELECT r.session_id, list(r.reward) FROM sl_ev AS r WHERE {_sql.storable('r.reward')} IS NOT NULL "
                f"GROUP BY r.session_id"
            ).fetchall()
        )
        written = []
        self._types_lost = 0
        self._outcome_rows: list[tuple[Any, ...]] = []
        rejected: list[tuple[str, str, str]] = []
        lost: list[str] = []
        for row in rows:
            session_id, created, *recorded, metadata, experiment, bad, odd_time, created_text = row[:10]
            size, *counts, is_lost = row[10:]
            unit = units[session_id]
            unit.size = size
            unit.read_counts = dict(zip(V2_SESSION_TABLES, (1, *counts), strict=True))
            if session_id in refused:
                rejected.append((session_id, *refused[session_id]))
                continue
            if bad:
                reason = f"created_at is {created_text}, which the target cannot hold and must have"
                rejected.append((session_id, "time_out_of_range", reason))
                continue
            try:
                reshaped = reshape(metadata)
            except (ValueError, RecursionError) as error:
                rejected.append((session_id, "metadata_unreadable", f"its metadata cannot be read: {error}"))
                continue
            unit.complement = {"zone": self.times.name, "metadata": metadata}
            if odd_time:
                unit.complement["created_at"] = created_text
            missing = [i for i, number in enumerate(recorded) if number is None]
            if missing:
                unit.complement["counters"] = recorded
            numbers = [actual if number is None else number for number, actual in zip(recorded, counts, strict=True)]
            written.append((session_id, created, *numbers, reshaped.text, experiment))
            if is_lost:
                lost.append(experiment)
            self._metadata_facts(session_id, reshaped, batch)
            self._counter_facts(session_id, recorded, counts, batch)
            # every reward is summed exactly and rounded once, so that the order of rows cannot show
            total = _exact_sum(rewards.get(session_id, []))
            result = outcome(reshaped, total, numbers[0])
            if result is not None:
                self._outcome_rows.append(
                    (
                        session_id,
                        result.total_reward,
                        result.achievements_count,
                        result.total_steps,
                        created,
                        result.metadata,
                    )
                )
        if lost:
            example = {"experiment_id": min(lost)}
            batch.facts.append(Fact(None, "experiment_missing", "session_traces", len(lost), example))
        self._reject(rejected, units, batch)
        self._give("session_traces", written, units, digests, sink, key=0)

    def _metadata_facts(self, session_id: str, reshaped: Reshaped, batch: Batch) -> None:
        self._types_lost += reshaped.types_lost
        if reshaped.results_count > 1:
            batch.facts.append(Fact(session_id, "episode_results_repeated", "session_traces", 1))

    def _counter_facts(
        self, session_id: str, recorded: Sequence[int | None], counts: Sequence[int], batch: Batch
    ) -> None:
        differing = {
            table: {"recorded": said, "rows": actual}
            for table, said, actual in zip(TEMP, recorded, counts, strict=True)
            if said is not None and said != actual
        }
        if differing:
            batch.facts.append(Fact(session_id, "recorded_counts_differ", "session_traces", 1, differing))

    def _reject(self, rejected: list[tuple[str, str, str]], units: dict[str, Unit], batch: Batch) -> None:
        """Put whole sessions into quarantine: every row of theirs, and none of it into the target."""
        if not rejected:
            return
        self._db.execute("CREATE OR REPLACE TEMP TABLE sl_bad (session_id VARCHAR)")
        self._db.execute(f"INSERT INTO sl_bad {_sql.texts()}", [_sql.bind_texts(row[0] for row in rejected)])
        why = {session_id: (code, reason) for session_id, code, reason in rejected}
        for table, temp in (("session_traces", "sl_t"), *TEMP.items()):
            picked = "r.session_id IN (SELECT session_id FROM sl_bad)"
            for session_id, row_id, row in raw_rows(self._db, table, temp, picked):
                code, reason = why[session_id]
                batch.quarantine.append(Quarantined(SESSION, session_id, table, row_id, code, reason, row))
        for temp in ("sl_slot_events", "sl_slot_messages"):
            self._db.execute(
                f"DELETE FROM {temp} WHERE n IN "
                "(SELECT n FROM sl_t WHERE session_id IN (SELECT session_id FROM sl_bad))"
            )
        for temp in (*TEMP.values(), "sl_t"):
            self._db.execute(f"DELETE FROM {temp} WHERE session_id IN (SELECT session_id FROM sl_bad)")
        self._gathered.check_slots()
        for session_id in why:
            units[session_id].state = "quarantined"

    def _quarantine(self, table: str, condition: _sql.Condition, batch: Batch) -> None:
        for session_id, row_id, row in raw_rows(self._db, table, TEMP[table], condition.sql):
            reason = (
                f"{condition.column} is {row[condition.column]!r}, which no rule maps to a type of the target; "
                f"name it in a mapping file"
            )
            batch.quarantine.append(Quarantined(SESSION, session_id, table, row_id, condition.code, reason, row))

    def _give(
        self,
        table: str,
        rows: list[tuple[Any, ...]],
        units: dict[str, Unit],
        digests: TargetDigests,
        sink: Sink,
        *,
        key: int,
    ) -> None:
        digests.table(table)
        if rows:
            sink.rows(table, V3_COLUMNS[table], rows)
            for session_id, count in digests.rows(rows, key).items():
                units[session_id].written_counts[table] = count

    def _child(self, table: str, sql: str, units: dict[str, Unit], digests: TargetDigests, sink: Sink) -> None:
        """Stream one table's converted rows to the sink, and into digests and counts."""
        digests.table(table)
        key = V3_COLUMNS[table].index("session_id")
        result = self._db.execute(sql)
        while rows := result.fetchmany(CHUNK_ROWS):
            self._stream(table, rows, key, units, digests, sink)

    def _stream(
        self,
        table: str,
        rows: list[tuple[Any, ...]],
        key: int,
        units: dict[str, Unit],
        digests: TargetDigests,
        sink: Sink,
    ) -> None:
        sink.rows(table, V3_COLUMNS[table], rows)
        for session_id, count in digests.rows(rows, key).items():
            counts = units[session_id].written_counts
            counts[table] = counts.get(table, 0) + count

    def _message_rows(self, units: dict[str, Unit], digests: TargetDigests, sink: Sink, *, envelopes: bool) -> None:
        digests.table("messages")
        result = self._db.execute(_projection.messages(self.times, self._messages, envelopes=envelopes))
        while rows := result.fetchmany(CHUNK_ROWS):
            if envelopes:
                rows = [self._message(row, units) for row in rows]
            self._stream("messages", rows, 1, units, digests, sink)

    def _message(self, row: tuple[Any, ...], units: dict[str, Unit]) -> tuple[Any, ...]:
        envelope = row[-1]
        if envelope is None:
            return row[:-1]
        try:
            opened = _messages.open_envelope(envelope, self._messages)
        except (ValueError, KeyError, RecursionError):
            # too deep to take apart: it stays whole, as the row of another type that it also is
            return row[:-1]
        if not opened.exact:
            note(units[row[1]].complement, "messages", row[0], "content", envelope)
        return (*row[:3], opened.message_type, opened.content, *row[5:8], opened.metadata)

    def _outcomes(self, units: dict[str, Unit], digests: TargetDigests, sink: Sink) -> None:
        rows = [row for row in self._outcome_rows if units[row[0]].state != "quarantined"]
        digests.table("outcome_rewards")
        if rows:
            sink.rows("outcome_rewards", V3_COLUMNS["outcome_rewards"], rows)
            place = V3_COLUMNS["outcome_rewards"].index(REAL_IN_DIGEST["outcome_rewards"][0])
            hashed = [(*row[:place], as_double(row[place]), *row[place + 1 :]) for row in rows]
            for session_id, count in digests.rows(hashed, 0).items():
                units[session_id].written_counts["outcome_rewards"] = count


def _exact_sum(values: Sequence[float]) -> float | None:
    if not values:
        return None
    try:
        total = math.fsum(values)
    except (OverflowError, ValueError):
        return None
    return total + 0.0 if math.isfinite(total) else None
