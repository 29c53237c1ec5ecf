"""v2 rows as they lie in a legacy store that is open for writing: compared, written, digested, removed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import duckdb

from sessionlift.converters._backward import BackwardBatch, Changes
from sessionlift.converters._batch import CATALOG, UnitKind
from sessionlift.converters.synth import _load, _sql
from sessionlift.converters.synth._catalog import catalog_digest, tables_with_orphans
from sessionlift.converters.synth._columns import V2_CATALOG_TABLES, V2_COLUMNS, V2_SESSION_TABLES
from sessionlift.converters.synth._ids import GIVEN_BY_HAND, MAX_GAP, SEQUENCES, advance, drawn, next_ids
from sessionlift.errors import StoreConstraintError, UsageError
from sessionlift.stores import DuckdbStore, Store, quote_identifier

_KEYS: dict[str, tuple[str, ...]] = {
    "session_traces": ("session_id",),
    "session_timesteps": ("id",),
    "events": ("id",),
    "messages": ("id",),
    "systems": ("id",),
    "system_versions": ("id",),
    "experiments": ("id",),
    "experimental_systems": ("experiment_id", "system_id"),
}
_ORDER = (*V2_CATALOG_TABLES, *V2_SESSION_TABLES)


class SynthLegacyRows:
    """The rows of synth.v2 units in a legacy store, in whichever dress."""

    def holders(self, store: Store, table: str, ids: Sequence[int]) -> dict[int, str]:
        """By those of ``ids`` that rows of ``table`` have, the session of the row."""
        db = _open(store)
        rows = db.execute(
            f"SELECT id, session_id FROM {quote_identifier(table)} WHERE id IN ({_sql.texts()}::INTEGER)",
            [_sql.bind_texts(str(each) for each in ids)],
        ).fetchall()
        return dict(rows)

    def next_ids(self, store: Store) -> dict[str, int]:
        """By table the first id that neither its rows nor its sequence have come to; ids given by hand aside."""
        return next_ids(_open(store))

    def compare(self, store: Store, batch: BackwardBatch) -> dict[str, Changes]:
        """By session what ``write`` would add, change and delete; sessions that are as they should be are left out.

        Reads the store, and works in temporary tables.
        """
        with _duck(store).mapped():
            _stage(_open(store), batch)
            return _changes(_open(store))

    def spelled(self, store: Store, batch: BackwardBatch) -> dict[str, list[list[Any]]]:
        """By table the batch's rows of sessions as the store would give them back, each cell as DuckDB's text of it."""
        found = {}
        with _duck(store).mapped():
            db = _open(store)
            _stage(db, batch)
            for table in V2_SESSION_TABLES:
                texts = ", ".join(f"{quote_identifier(column)}::VARCHAR" for column in V2_COLUMNS[table])
                found[table] = list(map(list, _rows(db, f"SELECT {texts} FROM {quote_identifier(_temp(table))}", [])))
        return found

    def write(
        self,
        store: Store,
        batch: BackwardBatch,
        seen: Mapping[str, str | None] | None = None,  # noqa: ARG002 - nobody else can write to what is open here
    ) -> dict[str, Changes]:
        """Make the rows of the batch's units what the batch says, in one transaction; returns what changed.

        Rows that are right already are not touched, and of a row that is not only the columns that differ: DuckDB
        refuses to change an indexed column of a row that others refer to, and so does this then
        (StoreConstraintError, with nothing of the batch written).
        """
        duck, db = _duck(store), _open(store)
        gone = _remove_catalog_rows(duck, batch)
        with duck.mapped():
            new = all(unit.kind != CATALOG for unit in batch.units) and not _holds_any(db, batch)
        if new:
            return _write_new(duck, batch)
        with duck.mapped(), duck.transaction():
            _stage(db, batch)
            _refuse_others_rows(duck)
            changes = _changes(db)
            if changes:
                for table in reversed(_ORDER):
                    _delete_rows(db, table)
                for table in _ORDER:
                    _update_rows(db, table)
                    _insert_rows(db, table)
            _advance(db, batch)
        if gone:
            changes.setdefault("", Changes()).deleted.update(gone)
        return changes

    def digests(self, store: Store, kind: UnitKind, ids: Sequence[str]) -> dict[str, str]:
        """The source digests of units (docs/digests.md); sessions that the store does not hold are left out."""
        with _duck(store).mapped():
            db = _open(store)
            if kind == CATALOG:
                return {"": catalog_digest(db, tables_with_orphans(db))}
            return _session_digests(db, ids)

    def remove(
        self,
        store: Store,
        ids: Sequence[str],
        seen: Mapping[str, str | None] | None = None,  # noqa: ARG002 - as for ``write``
    ) -> None:
        """Delete sessions with all their rows; done again, it does nothing.

        The early dress has foreign keys, and DuckDB lets a row go only after those that refer to it were gone when
        the transaction began. So there events and messages go first, then timesteps, then the sessions, each step a
        transaction; done again after a kill, it ends the same.
        """
        duck, db = _duck(store), _open(store)
        steps: list[tuple[str, ...]] = [("events", "messages"), ("session_timesteps",), ("session_traces",)]
        if not has_foreign_keys(db):
            steps = [tuple(table for step in steps for table in step)]
        for step in steps:
            with duck.mapped(), duck.transaction():
                for table in step:
                    db.execute(
                        f"DELETE FROM {quote_identifier(table)} WHERE session_id IN ({_sql.texts()})",
                        [_sql.bind_texts(ids)],
                    )


def has_foreign_keys(db: duckdb.DuckDBPyConnection) -> bool:
    """Whether the store wears the early or middle dress."""
    row = db.execute(
        "SELECT count(*) FROM duckdb_constraints() WHERE table_name = 'events' AND constraint_type = 'FOREIGN KEY' "
        "AND database_name = current_database()"
    ).fetchone()
    return row is not None and row[0] > 0


def _duck(store: Store) -> DuckdbStore:
    if not isinstance(store, DuckdbStore):
        raise UsageError(f"{store.url.redacted} is no DuckDB store", hint="synth.v2 lives in DuckDB")
    return store


def _open(store: Store) -> duckdb.DuckDBPyConnection:
    return _duck(store).connection


def _temp(table: str) -> str:
    return f"sl_back_{table}"


def _stage(db: duckdb.DuckDBPyConnection, batch: BackwardBatch) -> None:
    """Put the batch's rows into temporary tables that are shaped as the store's."""
    for table in _ORDER:
        temp = _temp(table)
        columns = ", ".join(quote_identifier(column) for column in V2_COLUMNS[table])
        db.execute(
            f"CREATE OR REPLACE TEMP TABLE {quote_identifier(temp)} AS "
            f"SELECT {columns} FROM main.{quote_identifier(table)} LIMIT 0"
        )
        _load.insert(db, table, temp, batch.rows.get(table, []))
    db.execute("CREATE OR REPLACE TEMP TABLE sl_back_units (session_id VARCHAR)")
    held = [unit.session_id for unit in batch.units if unit.kind != CATALOG and unit.found != "gone"]
    db.execute(f"INSERT INTO sl_back_units {_sql.texts()}", [_sql.bind_texts(held)])


def _same_key(table: str, one: str, other: str) -> str:
    return " AND ".join(f"{one}.{quote_identifier(key)} = {other}.{quote_identifier(key)}" for key in _KEYS[table])


def _differs(table: str, column: str) -> str:
    """True where the store's cell (``o``) is not the batch's (``t``), to the bit and to the character."""
    name = quote_identifier(column)
    if _load.kind_of(table, column) in ("DOUBLE", "JSON"):
        return f"o.{name}::VARCHAR IS DISTINCT FROM t.{name}::VARCHAR"
    return f"o.{name} IS DISTINCT FROM t.{name}"


def _only_linked(table: str) -> str:
    """True where the store's row (``o``) is the batch's (``t``), and only does not say which timestep it belongs to."""
    if "timestep_id" not in V2_COLUMNS[table]:
        return "FALSE"
    same = " AND ".join(f"NOT ({_differs(table, column)})" for column in _others(table) if column != "timestep_id")
    return f"o.timestep_id IS NULL AND t.timestep_id IS NOT NULL AND {same}"


def _others(table: str) -> list[str]:
    return [column for column in V2_COLUMNS[table] if column not in _KEYS[table]]


def _owner(table: str, alias: str) -> str:
    """SQL for the unit that a row belongs to; the catalog's id is the empty text."""
    return f"{alias}.session_id" if table in V2_SESSION_TABLES else "''"


def _surplus(table: str) -> str:
    """SQL that picks the store's rows (``o``) of the batch's sessions that the batch does not have."""
    return (
        "o.session_id IN (SELECT session_id FROM sl_back_units) AND NOT EXISTS "
        f"(SELECT 1 FROM {quote_identifier(_temp(table))} AS t WHERE {_same_key(table, 'o', 't')})"
    )


def _changes(db: duckdb.DuckDBPyConnection) -> dict[str, Changes]:
    found: dict[str, Changes] = {}
    for table in _ORDER:
        name, temp = f"main.{quote_identifier(table)}", quote_identifier(_temp(table))
        same = _same_key(table, "o", "t")
        differing = " OR ".join(_differs(table, column) for column in _others(table))
        linked = _only_linked(table)
        queries = {
            "added": f"SELECT {_owner(table, 't')}, count(*) FROM {temp} AS t "
            f"WHERE NOT EXISTS (SELECT 1 FROM {name} AS o WHERE {same}) GROUP BY 1",
            "changed": f"SELECT {_owner(table, 't')}, count(*) FROM {temp} AS t JOIN {name} AS o ON {same} "
            f"WHERE ({differing}) AND NOT ({linked}) GROUP BY 1",
            "linked": f"SELECT {_owner(table, 't')}, count(*) FROM {temp} AS t JOIN {name} AS o ON {same} "
            f"WHERE {linked} GROUP BY 1",
        }
        if table in V2_SESSION_TABLES:
            queries["deleted"] = f"SELECT o.session_id, count(*) FROM {name} AS o WHERE {_surplus(table)} GROUP BY 1"
        for what, query in queries.items():
            for session_id, count in db.execute(query).fetchall():
                owner = found.setdefault(session_id, Changes())
                counts: dict[str, int] = getattr(owner, what)
                counts[table] = count
    return found


def _holds_any(db: duckdb.DuckDBPyConnection, batch: BackwardBatch) -> bool:
    """Whether the store holds rows of the batch's sessions."""
    ids = _sql.bind_texts(unit.session_id for unit in batch.units)
    return any(
        db.execute(
            f"SELECT 1 FROM main.{quote_identifier(table)} WHERE session_id IN ({_sql.texts()}) LIMIT 1", [ids]
        ).fetchone()
        for table in V2_SESSION_TABLES
    )


def _write_new(duck: DuckdbStore, batch: BackwardBatch) -> dict[str, Changes]:
    """Insert sessions of which the store holds nothing: no row has to be compared."""
    changes: dict[str, Changes] = {}
    with duck.mapped(), duck.transaction():
        for table in V2_SESSION_TABLES:
            rows = batch.rows.get(table, [])
            _load.insert(duck.connection, table, table, rows)
            place = V2_COLUMNS[table].index("session_id")
            for session_id, count in Counter(row[place] for row in rows).items():
                changes.setdefault(session_id, Changes()).added[table] = count
        _advance(duck.connection, batch)
    return changes


def _refuse_others_rows(duck: DuckdbStore) -> None:
    """Raise StoreConstraintError where a row of the batch has the id of another session's row."""
    for table in SEQUENCES:
        row = duck.connection.execute(
            f"SELECT t.id, t.session_id, o.session_id FROM {quote_identifier(_temp(table))} AS t "
            f"JOIN main.{quote_identifier(table)} AS o ON o.id = t.id WHERE o.session_id <> t.session_id LIMIT 1"
        ).fetchone()
        if row is not None:
            raise StoreConstraintError(
                f"row {row[0]} of {table} belongs to session {row[2]!r} in the legacy store",
                hint="nothing of the batch was written",
                store=duck.url.redacted,
                role=duck.role,
                table=table,
                session_id=row[1],
            )


def _remove_catalog_rows(duck: DuckdbStore, batch: BackwardBatch) -> dict[str, int]:
    """Delete the catalog rows that were deleted in the target and that nothing refers to any more.

    Each table is a transaction of its own: DuckDB does not let a row go in the transaction that took those that
    refer to it. Rows that are still referred to stay.
    """
    found: dict[str, int] = {}
    for table in reversed(V2_CATALOG_TABLES):
        where = " AND ".join(f"{quote_identifier(key)} = ?" for key in _KEYS[table])
        for key in batch.gone.get(table, ()):
            with suppress(StoreConstraintError), duck.mapped(), duck.transaction():
                count = duck.execute(f"DELETE FROM main.{quote_identifier(table)} WHERE {where}", key)
                if count:
                    found[table] = found.get(table, 0) + count
    return found


def _delete_rows(db: duckdb.DuckDBPyConnection, table: str) -> None:
    if table in V2_SESSION_TABLES:
        db.execute(f"DELETE FROM main.{quote_identifier(table)} AS o WHERE {_surplus(table)}")


def _update_rows(db: duckdb.DuckDBPyConnection, table: str) -> None:
    temp, same = quote_identifier(_temp(table)), _same_key(table, "o", "t")
    columns = _others(table)
    counts = db.execute(
        f"SELECT {', '.join(f'count(*) FILTER (WHERE {_differs(table, column)})' for column in columns)} "
        f"FROM {temp} AS t JOIN main.{quote_identifier(table)} AS o ON {same}"
    ).fetchone()
    for column, count in zip(columns, counts or (), strict=True):
        if count:
            name = quote_identifier(column)
            db.execute(
                f"UPDATE main.{quote_identifier(table)} AS o SET {name} = t.{name} FROM {temp} AS t "
                f"WHERE {same} AND {_differs(table, column)}"
            )


def _insert_rows(db: duckdb.DuckDBPyConnection, table: str) -> None:
    columns = ", ".join(quote_identifier(column) for column in V2_COLUMNS[table])
    db.execute(
        f"INSERT INTO main.{quote_identifier(table)} ({columns}) SELECT {columns} FROM {quote_identifier(_temp(table))}"
        f" AS t WHERE NOT EXISTS (SELECT 1 FROM main.{quote_identifier(table)} AS o WHERE {_same_key(table, 'o', 't')})"
        " ORDER BY t.rowid"
    )


def _advance(db: duckdb.DuckDBPyConnection, batch: BackwardBatch) -> None:
    """Draw from the sequences until no row has an id that is still to come.

    A row that v3 has added takes a sequence to where v3's own counter stands, not only to its id: else v2 would draw
    the ids of rows that v3 has added to sessions which stay there.
    """
    come_to = drawn(db)
    for table, sequence in SEQUENCES.items():
        if sequence not in come_to:
            continue
        least, _ = come_to[sequence]
        ids = (row[0] for row in batch.rows.get(table, ()))
        want = max((each for each in ids if each <= least + MAX_GAP), default=0)
        if want > least:
            want = max(want, min(batch.counters.get(table, 0), least + MAX_GAP, GIVEN_BY_HAND))
        advance(db, table, max(want, batch.sequences.get(sequence, 1) - 1), least_sure=come_to[sequence])


def _session_digests(db: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> dict[str, str]:
    some = f"session_id IN ({_sql.texts()})"
    found = {
        row[0]: hashlib.sha256()
        for row in db.execute(f"SELECT session_id FROM session_traces WHERE {some}", [_sql.bind_texts(ids)]).fetchall()
    }
    for table in V2_SESSION_TABLES:
        for digest in found.values():
            digest.update(f"{table}\n".encode())
        order = "r.session_id" if table == "session_traces" else "r.session_id, r.id"
        for session_id, line in _rows(
            db,
            f"SELECT r.session_id, {_sql.source_text(table, 'r')} FROM {quote_identifier(table)} AS r "
            f"WHERE r.{some} ORDER BY {order}",
            [_sql.bind_texts(ids)],
        ):
            if session_id in found:
                found[session_id].update(line.encode())
    return {session_id: digest.hexdigest() for session_id, digest in found.items()}


def _rows(db: duckdb.DuckDBPyConnection, sql: str, params: list[Any]) -> Iterator[tuple[Any, ...]]:
    result = db.execute(sql, params)
    while rows := result.fetchmany(1000):
        yield from rows
