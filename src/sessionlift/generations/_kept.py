"""The complement of a store that is changed in place: what an older shape cannot hold, value by value.

One table, ``sessionlift_kept``, made when there is something to keep and dropped when it is empty. Every value is
a row of its own in a column without a type, so that SQLite moves it and nothing turns it into text on the way.
Rows are told apart by the revision that took them away and by the run that did.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sessionlift.errors import StoreCorruptError
from sessionlift.stores import quote_identifier

if TYPE_CHECKING:
    from sqlalchemy import Connection

KEPT_TABLE = "sessionlift_kept"
STEPS_TABLE = "sessionlift_steps"

_MAKE_KEPT = """
CREATE TABLE IF NOT EXISTS sessionlift_kept (
    revision TEXT NOT NULL,
    run_id TEXT NOT NULL,
    table_name TEXT NOT NULL,
    row_id INTEGER NOT NULL,
    column_name TEXT NOT NULL,
    value,
    PRIMARY KEY (revision, run_id, table_name, row_id, column_name)
) WITHOUT ROWID
"""
_MAKE_STEPS = """
CREATE TABLE IF NOT EXISTS sessionlift_steps (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL,
    at TEXT NOT NULL,
    direction TEXT NOT NULL CHECK (direction IN ('adopted', 'up', 'down')),
    revision TEXT NOT NULL,
    tool TEXT NOT NULL,
    detail TEXT NOT NULL
)
"""
# names of no table: what a step has to know of its own way down
_MARK = "(mark)"
_SEQUENCES = "sqlite_sequence"
_OBJECTS = "sqlite_master"
_BROKEN_LINKS = "foreign_key_check"
_LINK_COLUMNS = ("table", "rowid", "parent", "fkid")
_MADE = "(statements)"
_ASIDE = {_MARK, _SEQUENCES, _OBJECTS, _BROKEN_LINKS, _MADE}
# the column of no table: what tells a row whose values are kept from another that has its row id now
_SAME_ROW = "(row)"


@dataclass(frozen=True)
class Kept:
    """What one step down of one run keeps. Every method is one statement or a few, in the caller's transaction."""

    connection: Connection
    revision: str
    run_id: str

    @classmethod
    def new(cls, connection: Connection, revision: str, run_id: str) -> Kept:
        """An empty one; its table is made where it is missing."""
        connection.exec_driver_sql(_MAKE_KEPT)
        return cls(connection, revision, run_id)

    @classmethod
    def latest(cls, connection: Connection, revision: str) -> Kept | None:
        """What the latest step down from ``revision`` kept and no step up has brought back since."""
        if not _exists(connection, KEPT_TABLE):
            return None
        found = _rows(
            connection,
            "SELECT run_id FROM sessionlift_kept WHERE revision = ? AND table_name = ? ORDER BY value DESC LIMIT 1",
            revision,
            _MARK,
        )
        return cls(connection, revision, str(found[0][0])) if found else None

    @classmethod
    def others(cls, connection: Connection, revision: str, latest: Kept | None) -> list[Kept]:
        """What earlier steps down from ``revision`` kept and could not bring back, or were never asked to."""
        if not _exists(connection, KEPT_TABLE):
            return []
        found = _rows(
            connection, "SELECT DISTINCT run_id FROM sessionlift_kept WHERE revision = ? ORDER BY 1", revision
        )
        return [cls(connection, revision, str(run)) for (run,) in found if latest is None or run != latest.run_id]

    # --- on the way down

    def mark(self, at: str, position: int) -> None:
        """Say when this was, and up to which row of the store's history everything had been counted."""
        self._put(_MARK, 0, "at", at)
        self._put(_MARK, 1, "position", position)

    def keep_rows(self, table: str, *, where: str = "1", params: Sequence[Any] = ()) -> int:
        """Keep whole rows of ``table``, each under its row id; returns how many."""
        name = quote_identifier(table)
        self._keep_broken_links(table)
        count = int(_rows(self.connection, f"SELECT count(*) FROM {name} WHERE {where}", *params)[0][0])
        for column in _columns(self.connection, table) if count else []:
            self.keep_values(table, column, where=where, params=params)
        return count

    def keep_values(self, table: str, column: str, *, where: str, params: Sequence[Any] = ()) -> int:
        """Keep the values of one column; returns how many."""
        self.connection.exec_driver_sql(
            "INSERT INTO sessionlift_kept (revision, run_id, table_name, row_id, column_name, value) "
            f"SELECT ?, ?, ?, rowid, ?, {quote_identifier(column)} FROM {quote_identifier(table)} WHERE {where}",
            (self.revision, self.run_id, table, column, *params),
        )
        return int(_rows(self.connection, "SELECT changes()")[0][0])

    def keep_which_row(self, table: str, identity: str, columns: Sequence[str]) -> None:
        """Keep ``identity`` of the rows that have a value in one of ``columns``: what is written once and never after.

        A row id alone would do while the table counts on; not once somebody has set its counter back.
        """
        there = " OR ".join(f"{quote_identifier(column)} IS NOT NULL" for column in columns)
        self.connection.exec_driver_sql(
            "INSERT INTO sessionlift_kept (revision, run_id, table_name, row_id, column_name, value) "
            f"SELECT ?, ?, ?, rowid, ?, {quote_identifier(identity)} FROM {quote_identifier(table)} WHERE {there}",
            (self.revision, self.run_id, table, _SAME_ROW),
        )

    def keep_statements(self, names: Sequence[str]) -> None:
        """Keep how the objects of these names were made, so that they come back word by word."""
        for name in names:
            for (sql,) in _rows(self.connection, "SELECT sql FROM sqlite_master WHERE name = ?", name):
                self._put(_MADE, 0, name, sql)

    def keep_sequences(self, tables: Sequence[str]) -> None:
        """Keep where the row ids of ``tables`` stand, so that none is given out twice."""
        if not _exists(self.connection, _SEQUENCES):
            return
        for table in tables:
            # nothing keeps a program from a second row of the same name
            found = _rows(self.connection, "SELECT seq FROM sqlite_sequence WHERE name = ? ORDER BY rowid", table)
            for number, (seq,) in enumerate(found):
                self._put(_SEQUENCES, number, table, seq)

    def keep_object(self, number: int, kind: str, name: str, sql: str) -> None:
        """Keep a user's index or trigger that goes with one of the tables."""
        for column, value in (("kind", kind), ("name", name), ("sql", sql)):
            self._put(_OBJECTS, number, column, value)

    def _keep_broken_links(self, table: str) -> None:
        links = broken_links(self.connection, table)
        first = self.count_rows(_BROKEN_LINKS) if links else 0
        for number, link in enumerate(links, first):
            for column, value in zip(_LINK_COLUMNS, link, strict=True):
                self._put(_BROKEN_LINKS, number, column, value)

    def _put(self, table: str, row: int, column: str, value: Any) -> None:
        self.connection.exec_driver_sql(
            "INSERT INTO sessionlift_kept (revision, run_id, table_name, row_id, column_name, value) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (self.revision, self.run_id, table, row, column, value),
        )

    # --- on the way up

    def position(self) -> int:
        """The position of :meth:`mark`."""
        found = self._values(_MARK, "position")
        if not found or not isinstance(found[0][1], int):
            raise self._damaged(_MARK, "up to which row everything had been counted")
        return int(found[0][1])

    def _damaged(self, table: str, lacking: str) -> StoreCorruptError:
        return StoreCorruptError(
            f"what the way down from {self.revision} kept in {KEPT_TABLE} no longer says {lacking} (under {table})",
            hint="somebody has changed or removed it: restore the backup that the downgrade made "
            "(`sessionlift restore BACKUP`)",
            role="target",
            table=table,
        )

    def restore_rows(self, table: str, *, new_ids: bool = False, but: str | None = None) -> int:
        """Put the rows of ``table`` back, in their places; returns how many. With ``new_ids`` at its end.

        ``but``: the row ids, as JSON, of rows that have to stay.
        """
        if not self.count_rows(table):
            return 0  # an INSERT of no rows would leave a sequence of 0 behind
        columns = _columns(self.connection, table)
        alias = _row_id_alias(self.connection, table)
        wanted = [column for column in columns if column != alias]
        picked = ", ".join("max(CASE WHEN column_name = ? THEN value END)" for _ in wanted)
        names = ", ".join(quote_identifier(column) for column in wanted)
        row_id, head = ("", "") if new_ids else ("row_id, ", "rowid, ")
        fits = "" if but is None else "AND row_id NOT IN (SELECT value FROM json_each(?)) "
        self.connection.exec_driver_sql(
            f"INSERT INTO {quote_identifier(table)} ({head}{names}) SELECT {row_id}{picked} FROM sessionlift_kept "
            f"WHERE revision = ? AND run_id = ? AND table_name = ? {fits}GROUP BY row_id ORDER BY row_id",
            (*wanted, self.revision, self.run_id, table, *([] if but is None else [but])),
        )
        return int(_rows(self.connection, "SELECT changes()")[0][0])

    def restore_values(self, table: str, column: str, identity: str | None = None) -> int:
        """Put the values of one column back into the rows that are still there and have none; returns how many.

        With ``identity``, into those alone that are still the same row (:meth:`keep_which_row`).
        """
        name, target = quote_identifier(table), quote_identifier(column)
        mine = (self.revision, self.run_id, table)
        same = (
            "1"
            if identity is None
            else (
                f"NOT EXISTS (SELECT 1 FROM sessionlift_kept AS which WHERE which.revision = kept.revision "
                "AND which.run_id = kept.run_id AND which.table_name = kept.table_name AND which.row_id = kept.row_id "
                f"AND which.column_name = '{_SAME_ROW}' AND which.value IS NOT {name}.{quote_identifier(identity)})"
            )
        )
        self.connection.exec_driver_sql(
            f"UPDATE {name} SET {target} = kept.value FROM sessionlift_kept AS kept WHERE kept.revision = ? "
            f"AND kept.run_id = ? AND kept.table_name = ? AND kept.column_name = ? AND kept.row_id = {name}.rowid "
            f"AND {name}.{target} IS NULL AND {same}",
            (*mine, column),
        )
        restored = int(_rows(self.connection, "SELECT changes()")[0][0])
        self.connection.exec_driver_sql(
            f"DELETE FROM sessionlift_kept AS kept WHERE revision = ? AND run_id = ? AND table_name = ? "
            f"AND column_name = ? AND EXISTS (SELECT 1 FROM {name} WHERE {name}.rowid = kept.row_id "
            f"AND {name}.{target} IS kept.value AND {same})",
            (*mine, column),
        )
        return restored

    def values_left(self, table: str, column: str) -> int:
        """How many values of one column found no row to come back to."""
        return len(self._values(table, column))

    def restore_sequences(self) -> None:
        """Let the row ids go on from where they stood."""
        pairs = self._pairs(_SEQUENCES)
        for table in {str(table) for table, _ in pairs}:
            self.connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
        for table, seq in pairs:
            self.connection.exec_driver_sql("INSERT INTO sqlite_sequence (seq, name) VALUES (?, ?)", (seq, table))

    def raise_sequences(self) -> None:
        """Let no row id be given out that was given out here, where the counters have gone on by themselves."""
        for table, seq in self._pairs(_SEQUENCES):
            self.connection.exec_driver_sql("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (seq, table))

    def objects(self) -> dict[str, tuple[str, str]]:
        """The user's indexes and triggers that went with the tables: name -> kind, statement."""
        parts = [dict(self._values(_OBJECTS, column)) for column in ("name", "kind", "sql")]
        if any(part.keys() != parts[0].keys() for part in parts):
            raise self._damaged(_OBJECTS, "how your own triggers and indexes were made")
        return {str(name): (str(parts[1][row]), str(parts[2][row])) for row, name in parts[0].items()}

    def statements(self) -> dict[str, str]:
        """How the step's own objects were made, by name; empty in what an older build kept."""
        return {str(name): str(sql) for name, sql in self._pairs(_MADE)}

    def withhold(self, tables: Sequence[str]) -> dict[str, int]:
        """Take those restored rows out again whose parent has been deleted since; returns how many by table.

        They stay in the complement. A link that was broken before already comes back as it was.
        """
        known = set(self.broken_before())
        held: dict[str, int] = {}
        while True:
            orphans = {
                (str(table), int(row))
                for name in tables
                for table, row, parent, number in broken_links(self.connection, name)
                if (table, row, parent, number) not in known
            }
            if not orphans:
                return held
            for table, row in sorted(orphans):
                self.connection.exec_driver_sql(f"DELETE FROM {quote_identifier(table)} WHERE rowid = ?", (row,))
                held[table] = held.get(table, 0) + 1

    def forget_rows(self, table: str, *, but: str = "[]") -> None:
        """Remove the rows that are in the store again; ``but``: row ids, as JSON, that somebody else's rows have.

        To be called before anything else is written there: a new row may get the row id of one that stays here.
        """
        self.connection.exec_driver_sql(
            "DELETE FROM sessionlift_kept WHERE revision = ? AND run_id = ? AND table_name = ? "
            f"AND row_id IN (SELECT rowid FROM {quote_identifier(table)}) "
            "AND row_id NOT IN (SELECT value FROM json_each(?))",
            (self.revision, self.run_id, table, but),
        )

    def forget(self, tables: Sequence[str] = (), *, objects: Sequence[str] = ()) -> int:
        """Remove what is only needed for the way up; returns how many rows are left because they could not come
        back. ``tables``: those with kept columns, of which nothing else is left of some rows. ``objects``: the names
        of those of :meth:`objects` that wait on."""
        mine = (self.revision, self.run_id)
        for table in tables:
            self.connection.exec_driver_sql(
                "DELETE FROM sessionlift_kept AS kept WHERE revision = ? AND run_id = ? AND table_name = ? "
                "AND column_name = ? AND NOT EXISTS (SELECT 1 FROM sessionlift_kept AS other WHERE other.revision = "
                "kept.revision AND other.run_id = kept.run_id AND other.table_name = kept.table_name "
                "AND other.row_id = kept.row_id AND other.column_name <> kept.column_name)",
                (*mine, table, _SAME_ROW),
            )
        waiting = [row for row, name in self._values(_OBJECTS, "name") if str(name) in objects]
        for aside in sorted(_ASIDE):
            self.connection.exec_driver_sql(
                "DELETE FROM sessionlift_kept WHERE revision = ? AND run_id = ? AND table_name = ? "
                "AND NOT (table_name = ? AND row_id IN (SELECT value FROM json_each(?)))",
                (*mine, aside, _OBJECTS, json.dumps(waiting)),
            )
        left = _rows(
            self.connection,
            "SELECT count(*) FROM (SELECT DISTINCT table_name, row_id FROM sessionlift_kept "
            "WHERE revision = ? AND run_id = ? AND table_name <> ?)",
            *mine,
            _OBJECTS,
        )
        return int(left[0][0])

    def drop(self, table: str) -> None:
        """Remove what is kept of ``table``."""
        self.connection.exec_driver_sql(
            "DELETE FROM sessionlift_kept WHERE revision = ? AND run_id = ? AND table_name = ?",
            (self.revision, self.run_id, table),
        )

    def broken_before(self) -> list[tuple[Any, ...]]:
        """The references that led nowhere already on the way down, as :func:`broken_links` gives them."""
        parts = [dict(self._values(_BROKEN_LINKS, column)) for column in _LINK_COLUMNS]
        return [tuple(part.get(row) for part in parts) for row in parts[0]]

    def _values(self, table: str, column: str) -> list[tuple[Any, ...]]:
        return _rows(
            self.connection,
            "SELECT row_id, value FROM sessionlift_kept WHERE revision = ? AND run_id = ? AND table_name = ? "
            "AND column_name = ? ORDER BY row_id",
            self.revision,
            self.run_id,
            table,
            column,
        )

    def _pairs(self, table: str) -> list[tuple[Any, ...]]:
        return _rows(
            self.connection,
            "SELECT column_name, value FROM sessionlift_kept WHERE revision = ? AND run_id = ? AND table_name = ? "
            "ORDER BY row_id",
            self.revision,
            self.run_id,
            table,
        )

    def count_rows(self, table: str) -> int:
        """How many rows of ``table`` are kept."""
        found = _rows(
            self.connection,
            "SELECT count(DISTINCT row_id) FROM sessionlift_kept WHERE revision = ? AND run_id = ? AND table_name = ?",
            self.revision,
            self.run_id,
            table,
        )
        return int(found[0][0])


def kept_rows(query: Callable[[str], Sequence[Sequence[Any]]]) -> dict[str, int]:
    """How many rows of which table are kept in an open store. Read-only."""
    if not query(f"SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '{KEPT_TABLE}'"):
        return {}
    counted = query(
        "SELECT table_name, count(*) FROM (SELECT DISTINCT revision, run_id, table_name, row_id "
        "FROM sessionlift_kept) GROUP BY table_name ORDER BY table_name"
    )
    return {str(table): int(count) for table, count in counted if table not in _ASIDE}


def note_step(
    connection: Connection, *, run_id: str, at: str, direction: str, revision: str, tool: str, detail: str
) -> None:
    """Write one line of the store's history; its table is made where it is missing."""
    connection.exec_driver_sql(_MAKE_STEPS)
    connection.exec_driver_sql(
        "INSERT INTO sessionlift_steps (run_id, at, direction, revision, tool, detail) VALUES (?, ?, ?, ?, ?, ?)",
        (run_id, at, direction, revision, tool, detail),
    )


def drop_if_empty(connection: Connection) -> None:
    """Drop the complement's table where nothing is left in it."""
    if _exists(connection, KEPT_TABLE) and not _rows(connection, "SELECT 1 FROM sessionlift_kept LIMIT 1"):
        connection.exec_driver_sql(f"DROP TABLE {KEPT_TABLE}")


def _exists(connection: Connection, table: str) -> bool:
    return bool(_rows(connection, "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", table))


def _columns(connection: Connection, table: str) -> list[str]:
    return [str(name) for (name,) in _rows(connection, "SELECT name FROM pragma_table_info(?) ORDER BY cid", table)]


def _row_id_alias(connection: Connection, table: str) -> str | None:
    keys = _rows(connection, "SELECT name, type FROM pragma_table_info(?) WHERE pk > 0", table)
    if len(keys) == 1 and str(keys[0][1]).upper() == "INTEGER":
        return str(keys[0][0])
    return None


def broken_links(connection: Connection, table: str) -> list[tuple[Any, ...]]:
    """Each reference of ``table`` that leads nowhere: table, row id, parent, number of the reference."""
    return _rows(connection, 'SELECT "table", rowid, parent, fkid FROM pragma_foreign_key_check(?)', table)


def _rows(connection: Connection, sql: str, *params: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.exec_driver_sql(sql, params)]
