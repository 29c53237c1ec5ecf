"""A synth.v3 target in a real store, what the ledger would know of it, and edits as the application makes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.support.synth_stores import CATALOG_TABLES, SESSION_TABLES, LegacyStore, Row

from sessionlift.converters import (
    CATALOG,
    KEPT,
    SESSION,
    WAITING,
    BackwardBatch,
    Batch,
    Remembered,
    TypeMapping,
    UnitKind,
)
from sessionlift.converters.synth import (
    SynthBackward,
    SynthForward,
    SynthLegacyRows,
    SynthOptions,
    SynthPutBack,
)
from sessionlift.generations import schema_upgrade
from sessionlift.stores import SqliteStore, parse_store_url, quote_identifier

V3_TABLES = (
    "experiments",
    "systems",
    "system_versions",
    "experimental_systems",
    "session_traces",
    "session_timesteps",
    "events",
    "messages",
    "outcome_rewards",
    "event_rewards",
)
_OWN_IDS = {"outcome_rewards", "experimental_systems"}
"""Tables whose ids the target gives itself: a row that is made again has another."""

Memory = dict[tuple[UnitKind, str], Remembered]
LEGACY = SynthLegacyRows()


class V3Target:
    """A v3 store that is emptied between tests, with the memory that a ledger would have."""

    def __init__(self, path: Path) -> None:
        schema_upgrade(f"sqlite://{path}", "synth_v3")
        self.store = SqliteStore(parse_store_url(f"sqlite://{path}"), mode="rw", role="target")
        self.store.execute("PRAGMA synchronous = OFF")
        self.memory: Memory = {}

    def close(self) -> None:
        self.store.close()

    def clear(self) -> None:
        with self.store.transaction():
            for table in reversed(V3_TABLES):
                self.store.execute(f"DELETE FROM {quote_identifier(table)}")
        self.memory = {}

    def rows(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        self.store.insert_rows(table, columns, rows)

    def move(self, legacy: LegacyStore, zone: str = "UTC", mapping: TypeMapping | None = None) -> None:
        """Move all of a legacy store here, and remember it."""
        forward = SynthForward(legacy.store, SynthOptions(zone, mapping or TypeMapping()))
        forward.inventory()
        with self.store.transaction():
            batches = [forward.catalog(self)]
            batches += [forward.convert(group, self) for group in forward.groups()]
        self.memory = _memory(batches, mapping or TypeMapping())

    def change(self, sql: str, *values: Any) -> None:
        """What the application does to its store."""
        self.store.execute(sql, values)

    def all(self) -> dict[str, list[Row]]:
        """Every row by table with every column, but for the ids that the target gives by itself; a session's outcomes
        are in the order of theirs, since readers take the first."""
        found: dict[str, list[Row]] = {}
        for table in V3_TABLES:
            names = [row[1] for row in self.store.query(f"PRAGMA table_info({quote_identifier(table)})")]
            key = "id" if "id" in names and table not in _OWN_IDS else "rowid"
            read = self.store.query(f"SELECT * FROM {quote_identifier(table)} ORDER BY {key}")
            rows = [dict(zip(names, row, strict=True)) for row in read]
            if table in _OWN_IDS:
                rows = [{name: value for name, value in row.items() if name != "id"} for row in rows]
            if table == "outcome_rewards":
                rows.sort(key=lambda row: str(row["session_id"]))
            elif key == "rowid":
                rows.sort(key=lambda row: json.dumps(row, sort_keys=True, default=repr))
            found[table] = rows
        return found

    def session_ids(self) -> list[str]:
        """Sessions in the target and in quarantine."""
        there = [str(key) for (key,) in self.store.query("SELECT session_id FROM session_traces ORDER BY rowid")]
        return [*there, *(key for kind, key in self.memory if kind == SESSION and key not in there)]

    def reserved(self) -> dict[str, set[int]]:
        found: dict[str, set[int]] = {}
        for each in self.memory.values():
            for table, row in each.quarantine:
                if "id" in row:
                    found.setdefault(table, set()).add(int(row["id"]))
        return found


def _memory(batches: Iterable[Batch], mapping: TypeMapping) -> Memory:
    found: Memory = {}
    for batch in batches:
        for unit in batch.units:
            own = [
                (row.table, json.loads(json.dumps(row.row)))
                for row in batch.quarantine
                if row.kind == unit.kind and (row.kind == CATALOG or row.session_id == unit.session_id)
            ]
            found[unit.kind, unit.session_id] = Remembered(
                unit.kind,
                unit.session_id,
                unit.state,
                unit.source_digest,
                unit.target_digest,
                unit.written_counts,
                json.loads(json.dumps(unit.complement)),
                own,
                mapping,
            )
    return found


def sessions_of(memory: Memory) -> dict[str, Remembered]:
    return {key: each for (kind, key), each in memory.items() if kind == SESSION}


def take_back(
    target: V3Target, legacy: LegacyStore, *, zone: str = "UTC", ids: Sequence[str] | None = None
) -> list[BackwardBatch]:
    """Take everything back into ``legacy``: the catalog first, then the sessions, those that are gone removed."""
    back, memory = SynthBackward(zone, reserved=target.reserved()), target.memory
    with back:
        catalog = back.catalog(target.store, memory.get((CATALOG, "")))
        LEGACY.write(legacy.store, catalog)
        chosen = target.session_ids() if ids is None else ids
        batch = back.backward(target.store, chosen, sessions_of(memory), (legacy.store, LEGACY))
    LEGACY.remove(legacy.store, [unit.session_id for unit in batch.units if unit.found == "gone"])
    LEGACY.write(legacy.store, batch)
    found = LEGACY.digests(legacy.store, SESSION, chosen)
    told = {unit.session_id: unit.source_digest for unit in batch.units if unit.found != "gone"}
    wrong = {unit.session_id: unit.found for unit in batch.units if found.get(unit.session_id) != unit.source_digest}
    assert found == told, f"the legacy store does not hold what the batch says: {wrong}"
    return [catalog, batch]


def move_again(
    target: V3Target, legacy: LegacyStore, batches: Sequence[BackwardBatch], zone: str = "UTC"
) -> dict[str, int]:
    """Move all of ``legacy`` into an emptied target, and give it back what was kept; returns by table what waits."""
    target.clear()
    target.move(legacy, zone)
    waits: dict[str, int] = {}
    with target.store.transaction():
        for batch in batches:
            for unit in batch.units:
                if not unit.kept:
                    continue
                kept = json.loads(json.dumps(unit.kept))
                given = SynthPutBack().put_back(target.store, unit.session_id, kept)
                known = target.memory.get((unit.kind, unit.session_id))
                if known is not None and unit.kind == SESSION:
                    waiting = {WAITING: json.loads(json.dumps(given.waiting))} if given.waiting else {}
                    complement = {**known.complement, KEPT: {**kept, **waiting}}
                    target.memory[unit.kind, unit.session_id] = replace(known, complement=complement)
                for table, (count, _) in given.told.items():
                    waits[table] = waits.get(table, 0) + count
    return waits


def texts(legacy: LegacyStore) -> Mapping[str, list[Row]]:
    """Every legacy row as DuckDB's text, by table; tables without an id in an order of their own."""
    found = {}
    for table in (*SESSION_TABLES, *CATALOG_TABLES):
        rows = legacy.texts(table)
        found[table] = sorted(rows, key=lambda row: int(row["id"])) if table in SESSION_TABLES[1:] else rows
    return found
