"""v3 rows as the target gives them back: their digest, computed again, and their removal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

from sessionlift.converters._batch import CATALOG, UnitKind
from sessionlift.converters._digest import TargetDigests, as_double, encode_rows, row_digest
from sessionlift.converters._forward import Owned
from sessionlift.converters.synth._columns import (
    REAL_IN_DIGEST,
    V3_CATALOG_TABLES,
    V3_COLUMNS,
    V3_KEYS,
    V3_LEFT_NULL,
    V3_SESSION_TABLES,
    row_key,
)
from sessionlift.converters.synth._ids import GIVEN_BY_HAND, ROOM, set_v3_counters, v3_counters
from sessionlift.stores import Store, Value, listed, quote_identifier

_TOGETHER = 500
"""Rows of one session that are hashed together; it may have very many."""


def hashed_rows(
    store: Store, ids: Sequence[str], digests: TargetDigests, also: Mapping[str, Sequence[str]] | None = None
) -> Iterator[tuple[str, str, list[tuple[Any, ...]]]]:
    """The rows of sessions as (table, session id, some of its rows), table by table, in the order of their keys.

    A row has the columns of ``V3_COLUMNS``, which ``digests`` has been told when the row comes, and behind them those
    that ``also`` names by table.
    """
    some, params = listed(ids)
    for table in V3_SESSION_TABLES:
        digests.table(table)
        columns = V3_COLUMNS[table]
        place = columns.index("session_id")
        real = [columns.index(name) for name in REAL_IN_DIGEST.get(table, ())]
        order = ("session_id", V3_KEYS[table]) if table != "session_traces" else ("session_id",)
        wanted = (*columns, *(also or {}).get(table, ()))
        found = store.read_table(table, wanted, where=f"session_id IN ({some})", params=params, order_by=order)
        for session_id, group in groupby(found, itemgetter(place)):
            while rows := list(islice(group, _TOGETHER)):
                digests.add(session_id, encode_rows([_as_hashed(row[: len(columns)], real) for row in rows]))
                yield table, session_id, rows


def _as_hashed(row: tuple[Any, ...], real: Sequence[int]) -> tuple[Any, ...]:
    for place in real:
        if type(row[place]) is int:
            row = (*row[:place], as_double(row[place]), *row[place + 1 :])
    return row


class SynthRows:
    """The rows of synth.v3 units in a target."""

    def digests(self, store: Store, kind: UnitKind, ids: Sequence[str], owned: Owned | None = None) -> dict[str, str]:
        """The digests of units as they lie in ``store`` now, in the form of ``TargetDigests``.

        A session without rows gets a digest too: that of no rows. The catalog's needs what it ``owned``.
        """
        if kind == CATALOG:
            digests = TargetDigests([""])
            for table in V3_CATALOG_TABLES:
                digests.table(table)
                for where, params in _owned_rows(table, owned or {}):
                    rows = store.read_table(table, V3_COLUMNS[table], where=where, params=params, order_by=("rowid",))
                    digests.rows([("", *row) for row in rows], 0)
            return dict(digests.hexdigests())
        digests = TargetDigests(ids)
        for _ in hashed_rows(store, ids, digests):
            pass  # the digests are all that is asked for
        return dict(digests.hexdigests())

    def catalog_rows(self, store: Store) -> dict[str, dict[Any, str]]:
        """By catalog table the rows that lie in ``store`` now: by key, the digest of the rows that have it."""
        found: dict[str, dict[Any, str]] = {}
        for table in V3_CATALOG_TABLES:
            rows: dict[Any, list[tuple[Any, ...]]] = {}
            for row in store.read_table(table, V3_COLUMNS[table], order_by=("rowid",)):
                rows.setdefault(row_key(table, row), []).append(row)
            found[table] = {key: row_digest(some) for key, some in rows.items()}
        return found

    def keep_free(self, store: Store, next_ids: Mapping[str, int]) -> dict[str, int]:
        """Set the counters of v3's AUTOINCREMENT tables ``ROOM`` above v2's, where they are less than half as far, and
        that of the rewards above all ids that events count up to: a moved reward has the id of its event."""
        if not next_ids:
            return {}
        wanted = {table: following - 1 + ROOM for table, following in next_ids.items()}
        wanted = {table: last for table, last in wanted.items() if last <= GIVEN_BY_HAND}
        least = {table: last - ROOM // 2 for table, last in wanted.items()}
        wanted["event_rewards"] = least["event_rewards"] = GIVEN_BY_HAND

        def short() -> dict[str, int]:
            now = v3_counters(store)
            return {table: last for table, last in wanted.items() if now.get(table, 0) < least[table]}

        if not short():
            return {}
        with store.transaction():
            free = short()  # another process may have been quicker
            set_v3_counters(store, free)
        return {table: last + 1 for table, last in free.items()}

    def touched(self, store: Store, ids: Sequence[str]) -> set[str]:
        """Those of ``ids`` whose rows hold values in columns that a move leaves NULL: the application wrote them."""
        found: set[str] = set()
        some, params = listed(ids)
        for table, columns in V3_LEFT_NULL.items():
            filled = " OR ".join(f"{quote_identifier(column)} IS NOT NULL" for column in columns)
            for (session_id,) in store.read_table(
                table, ("session_id",), where=f"session_id IN ({some}) AND ({filled})", params=params
            ):
                found.add(str(session_id))
        return found

    def remove(self, store: Store, kind: UnitKind, ids: Sequence[str], owned: Owned | None = None) -> None:
        """Delete the target rows of units that are about to be written again. Belongs into a transaction."""
        if kind == CATALOG:
            for table in reversed(V3_CATALOG_TABLES):
                for where, params in _owned_rows(table, owned or {}):
                    store.execute(f"DELETE FROM {quote_identifier(table)} WHERE {where}", params)
            return
        some, params = listed(ids)
        for table in reversed(V3_SESSION_TABLES):
            store.execute(f"DELETE FROM {quote_identifier(table)} WHERE session_id IN ({some})", params)


def _owned_rows(table: str, owned: Owned) -> Iterator[tuple[str, tuple[Value, ...]]]:
    """WHERE clauses for the catalog rows that a move made: the application may have added others since."""
    ids = owned.get(table, [])
    if table == "experimental_systems":
        for experiment, system in ids:
            yield "experiment_id = ? AND system_id = ?", (experiment, system)
    elif ids:
        some, params = listed([str(each) for each in ids])
        yield f"{V3_KEYS[table]} IN ({some})", params
