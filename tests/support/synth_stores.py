"""Hand-written synth.v2 stores, and what the converter makes of them, as the target's own columns hold it."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sessionlift.converters import Batch, Fact, Loss, Quarantined, TypeMapping, Unit
from sessionlift.converters.synth import SynthForward, SynthOptions
from sessionlift.generations import schema_upgrade
from sessionlift.stores import DuckdbStore, parse_store_url

Row = dict[str, Any]

SESSION_TABLES = ("session_traces", "session_timesteps", "events", "messages")
CATALOG_TABLES = ("systems", "system_versions", "experiments", "experimental_systems")


class LegacyStore:
    """A synth.v2 store for hand-written rows; cells are given as DuckDB's own text, or as Python numbers."""

    def __init__(self, path: Path) -> None:
        schema_upgrade(f"duckdb://{path}", "synth_v2")
        self.store = DuckdbStore(parse_store_url(f"duckdb://{path}"), mode="rw")
        self.db = self.store.connection
        self._types: dict[str, dict[str, str]] = {}
        for table, column, kind in self.db.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE schema_name = 'main'"
        ).fetchall():
            self._types.setdefault(table, {})[column] = kind

    def close(self) -> None:
        self.store.close()

    def clear(self) -> None:
        for table in ("experimental_systems", "system_versions", "systems", "experiments"):
            self.db.execute(f"DELETE FROM {table}")
        for table in SESSION_TABLES:
            self.db.execute(f"DELETE FROM {table}")

    def add(self, table: str, *rows: Mapping[str, Any]) -> None:
        """Insert rows; every value is bound, text is cast by the engine to the column's type."""
        for row in rows:
            kinds = self._types[table]
            names = ", ".join(f'"{column}"' for column in row)
            marks = ", ".join(f"?::{kinds[column]}" for column in row)
            self.db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values()))

    def session(
        self,
        session_id: str = "s",
        *,
        timesteps: Iterable[Mapping[str, Any]] = (),
        events: Iterable[Mapping[str, Any]] = (),
        messages: Iterable[Mapping[str, Any]] = (),
        **cells: Any,
    ) -> None:
        """Insert one session; what is not said is as the real writer would have it, counters are right."""
        timesteps, events, messages = list(timesteps), list(events), list(messages)
        trace = {
            "session_id": session_id,
            "created_at": "2025-03-01 10:00:00",
            "num_timesteps": len(timesteps),
            "num_events": len(events),
            "num_messages": len(messages),
            "metadata": "[]",
        }
        self.add("session_traces", {**trace, **cells})
        for index, row in enumerate(timesteps):
            own = {"step_id": f"step_{index}", "step_index": index, "timestamp": "2025-03-01 10:00:00"}
            self.add("session_timesteps", {"session_id": session_id, **own, **row})
        for row in events:
            own = {"event_type": "cais", "system_instance_id": "llm", "event_time": "2025-03-01 10:00:01"}
            states = dict.fromkeys(("system_state_before", "system_state_after", "metadata", "event_metadata"), "null")
            self.add("events", {"session_id": session_id, **own, **states, **row})
        for row in messages:
            own = {"message_type": "user", "content": '"hi"', "timestamp": "2025-03-01 10:00:02"}
            self.add("messages", {"session_id": session_id, **own, **row})

    def kinds(self, table: str) -> dict[str, str]:
        """The columns of a table and their types."""
        return self._types[table]

    def texts(self, table: str) -> list[Row]:
        """Every row of a table with each cell as DuckDB's text, which reads back to the same value."""
        columns = list(self._types[table])
        cells = ", ".join(f'"{column}"::VARCHAR' for column in columns)
        order = "id" if "id" in columns else columns[0]
        rows = self.db.execute(f"SELECT {cells} FROM {table} ORDER BY {order}").fetchall()
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def convert(
        self,
        zone: str = "UTC",
        *,
        message_types: Mapping[str, str] | None = None,
        event_types: Mapping[str, str] | None = None,
        max_rows: int = 60_000,
        known: Mapping[str, str] | None = None,
    ) -> Converted:
        """Convert everything but what is ``known`` by its digest, into an empty synth.v3 store in memory."""
        mapping = TypeMapping(message_types or {}, event_types or {})
        converter = SynthForward(self.store, SynthOptions(zone, mapping))
        inventory = converter.inventory()
        target, known = Target(), dict(known or {})
        with closing(target.db):
            batches = [converter.catalog(target, known.pop("", None))]
            converter.know(known.items())
            groups = converter.groups(max_rows=max_rows)
            batches += [converter.convert(group, target) for group in groups]
            done = Converted(batches, target.tables())
        done.derived = {table: target.counts.get(table, 0) for table in converter.derived_tables}
        done.written = {table: target.counts.get(table, 0) for table in (*SESSION_TABLES, *CATALOG_TABLES)}
        done.forecast_losses = {
            (loss.code, loss.table, loss.column): loss.count for loss in converter.forecast(inventory).losses
        }
        return done


class Target:
    """A sink that keeps rows in a synth.v3 store in memory, so that its CHECKs and types act on them."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:")
        for statement in _v3_schema():
            self.db.execute(statement)
        self.counts: dict[str, int] = {}

    def rows(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        names = ", ".join(f'"{column}"' for column in columns)
        marks = ", ".join("?" * len(columns))
        self.db.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)
        self.counts[table] = self.counts.get(table, 0) + len(rows)

    def tables(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for (table,) in self.db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'sqlite_sequence'"
        ).fetchall():
            cursor = self.db.execute(f"SELECT * FROM {table} ORDER BY rowid")
            names = [each[0] for each in cursor.description]
            found[table] = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return found


@dataclass
class Converted:
    """All batches of one conversion, and the target's rows by table, in the order of their keys."""

    batches: list[Batch]
    tables: dict[str, list[Row]]
    written: dict[str, int] = field(default_factory=dict)
    derived: dict[str, int] = field(default_factory=dict)
    forecast_losses: dict[tuple[str, str, str], int] = field(default_factory=dict)

    @property
    def units(self) -> dict[str, Unit]:
        """Units by session id; the catalog's is the empty text."""
        return {unit.session_id: unit for batch in self.batches for unit in batch.units}

    @property
    def unit(self) -> Unit:
        """The only session."""
        (unit,) = (unit for key, unit in self.units.items() if key)
        return unit

    @property
    def losses(self) -> list[Loss]:
        return [loss for batch in self.batches for loss in batch.losses]

    @property
    def loss_counts(self) -> dict[tuple[str, str, str], int]:
        counts: dict[tuple[str, str, str], int] = {}
        for loss in self.losses:
            key = (loss.code, loss.table, loss.column)
            counts[key] = counts.get(key, 0) + loss.count
        return counts

    @property
    def facts(self) -> list[Fact]:
        return [fact for batch in self.batches for fact in batch.facts]

    @property
    def quarantine(self) -> list[Quarantined]:
        return [row for batch in self.batches for row in batch.quarantine]

    def one(self, table: str) -> Row:
        """The only row of a target table."""
        (row,) = self.tables[table]
        return row


_SCHEMA: list[str] = []


def _v3_schema() -> list[str]:
    """The statements of our own synth.v3 revision, read back from a store that it made."""
    if not _SCHEMA:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "v3.db"
            schema_upgrade(f"libsql://{path}", "synth_v3")
            with closing(sqlite3.connect(path)) as db:
                rows = db.execute(
                    "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
                ).fetchall()
        _SCHEMA.extend(row[0] for row in rows)
    return _SCHEMA
