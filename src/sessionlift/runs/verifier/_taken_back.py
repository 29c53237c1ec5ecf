"""What lies in a legacy store after a way back: digests and counts of sessions, by the verifier's own reading."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from sessionlift.errors import UsageError
from sessionlift.runs.verifier._as_made import Cells, Sides, compare
from sessionlift.runs.verifier._compare import Comparison
from sessionlift.stores import DuckdbStore, StoreURL, quote_identifier

if TYPE_CHECKING:
    from sessionlift.runs.verifier._source import SourceIndex

MEMORY_LIMIT = "200MB"


@dataclass
class Lying:
    """By session the digest of its rows; sessions that the store lacks are left out. ``rows`` counts by table."""

    digests: dict[str, str] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)

    def count(self, table: str, rows: int) -> None:
        self.rows[table] = self.rows.get(table, 0) + rows


Made = Mapping[str, Mapping[str, Any]]
"""By table the ``columns`` and the ``rows`` that were made of a session, spelled as the legacy store spells them."""


class LegacyReader(Protocol):
    """An opened legacy store."""

    def sessions(self, ids: Sequence[str]) -> Lying:
        """What it has of sessions."""

    def catalog(self) -> str:
        """The digest of its rows of no session."""

    def compare(self, session_id: str, made: Made) -> Comparison:
        """Where its rows of a session are not the ones that were made."""


class _Synth:
    def __init__(self, store: DuckdbStore) -> None:
        self._db = store.connection

    @cached_property
    def _index(self) -> SourceIndex:
        from sessionlift.runs.verifier._source import SourceIndex

        return SourceIndex(self._db)

    def sessions(self, ids: Sequence[str]) -> Lying:
        from sessionlift.runs.verifier._digests import source_digests

        found = Lying()
        for batch in self._index.batches(ids):
            digests = source_digests(self._db, batch)
            found.digests.update(digests)
            found.count("session_traces", len(digests))
            for table, counts in batch.counts.items():
                found.count(table, sum(counts.values()))
        return found

    def catalog(self) -> str:
        from sessionlift.runs.verifier._digests import source_catalog_digest

        return source_catalog_digest(self._db)

    def compare(self, session_id: str, made: Made) -> Comparison:
        from sessionlift.runs.verifier._digests import SESSION_TABLES

        return compare(session_id, (self._sides(table, session_id, made[table]) for table in SESSION_TABLES))

    def _sides(self, table: str, session_id: str, made: Mapping[str, Any]) -> Sides:
        columns = tuple(made["columns"])
        texts = ", ".join(f"{quote_identifier(name)}::VARCHAR" for name in columns)
        key = columns.index("session_id" if table == "session_traces" else "id")
        order = quote_identifier(columns[key])
        there = self._db.execute(
            f"SELECT {texts} FROM {quote_identifier(table)} WHERE session_id = ? ORDER BY {order}", [session_id]
        ).fetchall()
        return Sides(table, columns, _by_key(map(tuple, made["rows"]), key), _by_key(there, key), {})


def _by_key(rows: Iterable[Cells], place: int) -> dict[str, Cells]:
    return {str(row[place]): row for row in rows}


@contextmanager
def _synth(url: StoreURL) -> Iterator[LegacyReader]:
    with DuckdbStore(url, memory_limit=MEMORY_LIMIT, threads=1) as store, store.mapped():
        yield _Synth(store)


class _Langswarm:
    def __init__(self, url: StoreURL) -> None:
        from sessionlift.runs.verifier.langswarm import LegacyStore

        self.store = LegacyStore(url)

    def sessions(self, ids: Sequence[str]) -> Lying:
        found = Lying()
        for batch in self.store.batches(ids, 4_000_000):
            rows = self.store.rows(batch)
            found.digests.update((key, row.digest()) for key, row in rows.items())
            found.count("sessions", len(rows))
        return found

    def catalog(self) -> str:
        from sessionlift.runs.verifier.langswarm._store import digest_of

        return digest_of("sessions", (row.cells for row, _ in self.store.others()))

    def compare(self, session_id: str, made: Made) -> Comparison:
        from sessionlift.runs.verifier.langswarm._differences import first_difference

        ((table, told),) = made.items()
        columns = tuple(told["columns"])
        there = {key: row.plain() for key, row in self.store.rows([session_id]).items()}
        sides = Sides(
            table,
            columns,
            _by_key(map(tuple, told["rows"]), columns.index("session_id")),
            {key: tuple(row[name] for name in columns) for key, row in there.items()},
            dict.fromkeys(("metadata", "history"), first_difference),
        )
        return compare(session_id, [sides])


@contextmanager
def _langswarm(url: StoreURL) -> Iterator[LegacyReader]:
    reader = _Langswarm(url)
    with reader.store:
        yield reader


_READERS: dict[str, Callable[[StoreURL], AbstractContextManager[LegacyReader]]] = {
    "synth.v2": _synth,
    "langswarm.v1": _langswarm,
}


def open_legacy_reader(generation: str, url: StoreURL) -> AbstractContextManager[LegacyReader]:
    """A legacy store, read-only. Raises UsageError for a generation that nothing is taken back to."""
    if generation not in _READERS:
        raise UsageError(f"nothing is taken back to {generation}", hint=f"one of {', '.join(_READERS)}")
    return _READERS[generation](url)
