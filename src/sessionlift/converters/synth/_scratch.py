"""A throwaway v2 store in which legacy rows that were made go forward once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from sessionlift.converters._batch import Batch
from sessionlift.converters._mapping import TypeMapping
from sessionlift.converters.synth import _load
from sessionlift.converters.synth._columns import V2_CATALOG_TABLES, V2_SESSION_TABLES
from sessionlift.converters.synth._forward import SynthForward, SynthOptions
from sessionlift.stores import DuckdbStore, PrivateDirectory, StoreURL, quote_identifier

_REMEMBERED = 10_000
_SHORT = 1_000
"""Characters of a text that is worth to be remembered: longer ones are rarely the same, and would fill the memory."""


class Collected:
    """A sink that keeps rows, as dictionaries by table."""

    def __init__(self) -> None:
        self.tables: dict[str, list[dict[str, Any]]] = {}

    def rows(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        self.tables.setdefault(table, []).extend(dict(zip(columns, row, strict=True)) for row in rows)


class Scratch:
    """Made when it is first asked; a context manager that takes everything away again."""

    def __init__(self) -> None:
        self._directory: PrivateDirectory | None = None
        self._store: DuckdbStore | None = None
        self._filled: list[str] = []
        self._are_json: dict[str, bool] = {}

    def _opened(self) -> DuckdbStore:
        if self._store is None:
            self._directory = PrivateDirectory("back")
            url = StoreURL("duckdb", Path(self._directory.path) / "again.duckdb")
            self._store = DuckdbStore(url, mode="create")
            with self._store.mapped():
                for table in (*V2_SESSION_TABLES, *V2_CATALOG_TABLES):
                    # the columns alone: keeping keys and indexes takes most of the time of filling a table
                    self._store.connection.execute(_load.create(table))
        return self._store

    def is_json(self, text: str) -> bool:
        """Whether the legacy engine takes a text for JSON. It takes more than the standard knows, and nothing less."""
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError:
            return self._engine_takes(text)
        return True

    def _engine_takes(self, text: str) -> bool:
        if text in self._are_json:
            return self._are_json[text]
        store = self._opened()
        with store.mapped(params=(text,)):
            found = store.connection.execute("SELECT TRY_CAST(? AS JSON) IS NOT NULL", [text]).fetchone()
        takes = found is not None and bool(found[0])
        if len(text) <= _SHORT:
            if len(self._are_json) >= _REMEMBERED:
                self._are_json.clear()
            self._are_json[text] = takes
        return takes

    def sessions(
        self, rows: Mapping[str, Sequence[tuple[Any, ...]]], zone: str, mapping: TypeMapping
    ) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
        """The v3 rows by table that these legacy rows lead to, and the digest of each session's legacy rows."""
        forward, sink, batches = self._loaded(rows, V2_SESSION_TABLES, zone, mapping), Collected(), list[Batch]()
        ids = [row[0] for row in rows.get("session_traces", ())]
        with self._opened().mapped():
            batches.extend(forward.convert(group, sink) for group in forward.pick(ids))
        return sink.tables, {unit.session_id: unit.source_digest for batch in batches for unit in batch.units}

    def catalog(
        self, rows: Mapping[str, Sequence[tuple[Any, ...]]]
    ) -> tuple[dict[str, list[dict[str, Any]]], str | None]:
        """The same for the catalog."""
        tables = (*V2_CATALOG_TABLES, *V2_SESSION_TABLES)
        forward, sink = self._loaded(rows, tables, "UTC", TypeMapping()), Collected()
        with self._opened().mapped():
            batch = forward.catalog(sink)
        return sink.tables, batch.units[0].source_digest if batch.units else None

    def _loaded(
        self,
        rows: Mapping[str, Sequence[tuple[Any, ...]]],
        tables: Sequence[str],
        zone: str,
        mapping: TypeMapping,
    ) -> SynthForward:
        store = self._opened()
        with store.mapped():
            for table in self._filled:
                store.connection.execute(f"DELETE FROM {quote_identifier(table)}")
            self._filled = [table for table in tables if rows.get(table)]
            for table in self._filled:
                _load.insert(store.connection, table, table, rows[table])
            return SynthForward(store, SynthOptions(zone, mapping))

    def __enter__(self) -> Scratch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._store is not None:
            self._store.close()
        if self._directory is not None:
            self._directory.close()
