"""What a batch is told of besides its rows: losses, facts of the source, and cells whose originals are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb

from sessionlift.converters._batch import Batch, Fact, Loss, Unit
from sessionlift.converters._examples import Examples
from sessionlift.converters._jsontext import is_strict
from sessionlift.converters._times import LocalTime
from sessionlift.converters.synth import _projection, _sql
from sessionlift.converters.synth._gathered import MAPPED, TEMP, Gathered
from sessionlift.converters.synth._inventory import Group

EXAMPLES = 3
"""Batches of a run that look for an example of each kind of loss."""


class Told:
    """Looks at the gathered rows of each batch of a run, under the run's mapping of types."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        times: LocalTime,
        message_types: Mapping[str, str],
    ) -> None:
        self._db, self._times = connection, times
        self._messages = message_types
        self._examples: Examples[int] = Examples(EXAMPLES)

    def conditions(self, mapped: str) -> dict[str, list[_sql.Condition]]:
        """The named losses by source table: counted by session in a run, over the whole store in a plan. ``mapped`` is
        SQL for an event's type in v3."""
        return {
            "session_traces": _sql.trace_losses(self._times),
            "session_timesteps": _sql.timestep_losses(self._times),
            "events": _sql.event_losses(self._times, mapped),
            "messages": _sql.message_losses(self._times, self._messages),
        }

    def losses(self, group: Group, batch: Batch) -> None:
        temps = {"session_traces": "sl_t", **TEMP}
        unknown = _sql.event_type_unknown(MAPPED).sql
        for table, conditions in self.conditions(MAPPED).items():
            skip = f"WHERE NOT {unknown}" if table == "events" else ""
            cells = ", ".join(f"count(*) FILTER (WHERE {c.sql})" for c in conditions)
            counts = self._db.execute(f"SELECT {cells} FROM {temps[table]} AS r {skip}").fetchone()
            assert counts is not None  # noqa: S101 - an aggregate always gives a row
            for condition, count in zip(conditions, counts, strict=True):
                if count:
                    example = self._example(table, temps[table], condition, group)
                    batch.losses.append(Loss(condition.code, table, condition.column, count, example))
        # of rows in quarantine nothing is lost
        for child, moves in (("events", f"NOT {unknown}"), ("messages", "TRUE")):
            row = self._db.execute(
                f"SELECT count(*), min(r.id) FROM {TEMP[child]} AS r POSITIONAL JOIN sl_slot_{child} AS s "
                f"WHERE r.timestep_id IS NULL AND s.timestep_id IS NULL AND {moves}"
            ).fetchone()
            if row is not None and row[0]:
                batch.losses.append(Loss("timestep_unknown", child, "timestep_id", row[0], {"row": str(row[1])}))

    def _example(self, table: str, temp: str, condition: _sql.Condition, group: Group) -> dict[str, Any] | None:
        """One row of the loss, for its first few batches; looking for one costs another pass."""
        kind = (table, condition.code, condition.column)
        # by their rows, since sessions are numbered anew when some of them are picked
        if not self._examples.wanted(kind, *group.ranges["session_traces"]):
            return None
        row_id = "r.session_id" if table == "session_traces" else "r.id"
        row = self._db.execute(
            f"SELECT {row_id}, {condition.example} FROM {temp} AS r WHERE {condition.sql} LIMIT 1"
        ).fetchone()
        if row is None:
            return None
        return {"row": str(row[0])} if row[1] is None else {"row": str(row[0]), "value": row[1]}

    def facts(self, gathered: Gathered, envelopes: int, types_lost: int, units: dict[str, Unit], batch: Batch) -> None:
        if envelopes:
            batch.facts.append(Fact(None, "early_dress", "messages", envelopes))
        if types_lost:
            batch.facts.append(Fact(None, "metadata_type_lost", "session_traces", types_lost))
        batch.facts.extend(
            Fact(session_id, "text_with_nul", "session_traces", 1) for session_id in units if session_id in gathered.nul
        )
        columns = {
            "session_traces": ("sl_t", ("metadata",)),
            "session_timesteps": ("sl_ts", ("step_metadata",)),
            "events": ("sl_ev", ("system_state_before", "system_state_after", "metadata", "event_metadata")),
            "messages": ("sl_ms", ("content",)),
        }
        for table, suspects in gathered.loose.items():
            temp, names = columns[table]
            loose: dict[str, int] = {}
            looks = {f"r.{column}::VARCHAR": _sql.looks_loose(f"r.{column}::VARCHAR") for column in names}
            for session_id, *texts in self._db.execute(
                f"SELECT r.session_id, {', '.join(f'CASE WHEN {look} THEN {text} END' for text, look in looks.items())}"
                f" FROM {temp} AS r WHERE r.session_id IN ({_sql.texts()}) AND ({' OR '.join(looks.values())})",
                [_sql.bind_texts(suspects)],
            ).fetchall():
                count = sum(text is not None and not is_strict(text) for text in texts)
                if count:
                    loose[session_id] = loose.get(session_id, 0) + count
            batch.facts.extend(Fact(key, "json_not_strict", table, count) for key, count in loose.items())

    def exceptions(self, units: dict[str, Unit]) -> None:
        for query in _projection.exceptions(self._times):
            for session_id, table, row_id, column, text in self._db.execute(query).fetchall():
                note(units[session_id].complement, table, row_id, column, text)


def note(complement: dict[str, Any], table: str, row_id: int, column: str, text: str | None) -> None:
    """Keep in a unit's complement the text that a cell had."""
    complement.setdefault("cells", {}).setdefault(table, {}).setdefault(column, {})[str(row_id)] = text
