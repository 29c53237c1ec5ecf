"""What earlier ways down left in the complement, brought back where it fits beside what is there by now.

Rows stay behind when what they refer to was deleted, and when the real program led the store up by itself, with
tables of its own. A later way up tries them again. A row comes back only under its own row id, where nothing stands
in its place, and only if what it refers to is what it referred to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from sessionlift.generations import _structure
from sessionlift.generations._kept import Kept, broken_links
from sessionlift.stores import quote_identifier

_MINE = "SELECT row_id FROM sessionlift_kept WHERE revision = ? AND run_id = ? AND table_name = ?"


def bring_back(kept: Kept, tables: Sequence[str], alike: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Put back the rows of ``tables`` (parents before children) that fit; returns how many by table.

    ``alike``: the columns by which two rows of a table say the same, though no key of it says so.
    """
    back = {}
    known = set(kept.broken_before())
    for table in tables:
        taken = json.dumps(_taken(kept, table, alike.get(table, ())))
        kept.restore_rows(table, but=taken)
        _take_out(kept, table, tables, taken, known)
        before = kept.count_rows(table)
        kept.forget_rows(table, but=taken)
        back[table] = before - kept.count_rows(table)
    return {table: count for table, count in back.items() if count}


def _taken(kept: Kept, table: str, alike: Sequence[str]) -> list[int]:
    """The row ids of kept rows in whose place another row stands: by row id, by a key, or by what it says."""
    name = quote_identifier(table)
    found = set(_ids(kept.connection, f"SELECT rowid FROM {name} WHERE rowid IN ({_MINE})", *_mine(kept, table)))
    for columns in [*_keys(kept.connection, table), *([list(alike)] if alike else [])]:
        same = " AND ".join(
            "EXISTS (SELECT 1 FROM sessionlift_kept AS part WHERE part.revision = kept.revision AND part.run_id = "
            "kept.run_id AND part.table_name = kept.table_name AND part.row_id = kept.row_id AND part.column_name = ? "
            f"AND part.value = there.{quote_identifier(column)})"
            for column in columns
        )
        found |= set(
            _ids(
                kept.connection,
                "SELECT DISTINCT kept.row_id FROM sessionlift_kept AS kept WHERE kept.revision = ? AND kept.run_id = ? "
                f"AND kept.table_name = ? AND kept.column_name = ? AND EXISTS (SELECT 1 FROM {name} AS there WHERE "
                f"there.{quote_identifier(columns[0])} = kept.value AND {same})",
                *_mine(kept, table),
                columns[0],
                *columns,
            )
        )
    return sorted(found)


def _keys(connection: Connection, table: str) -> list[list[str]]:
    """The columns of each key of a table, but for its row id."""
    found: dict[str, list[str]] = {}
    for key, column in _structure.queries(connection)(
        'SELECT i.name, x.name FROM pragma_index_list(?) AS i JOIN pragma_index_info(i.name) AS x WHERE i."unique" '
        "ORDER BY i.name, x.seqno",
        table,
    ):
        found.setdefault(str(key), []).append(str(column))
    return list(found.values())


def _mine(kept: Kept, table: str) -> tuple[str, str, str]:
    return kept.revision, kept.run_id, table


def _take_out(kept: Kept, table: str, tables: Sequence[str], taken: str, known: set[tuple[Any, ...]]) -> None:
    """Take those rows out again that refer to nothing, or to a row that came into the place of their own."""
    name = quote_identifier(table)
    mine = _mine(kept, table)
    own = f"rowid IN ({_MINE}) AND rowid NOT IN (SELECT value FROM json_each(?))"
    while True:
        came = set(_ids(kept.connection, f"SELECT rowid FROM {name} WHERE {own}", *mine, taken))
        wrong = {int(link[1]) for link in broken_links(kept.connection, table) if link not in known} & came
        for parent, column, to in _links(kept.connection, table):
            if parent in tables:
                away = f"AND kept.row_id NOT IN (SELECT rowid FROM {name} WHERE {own})" if parent == table else ""
                wrong |= set(
                    _ids(
                        kept.connection,
                        f"SELECT rowid FROM {name} WHERE {own} AND {quote_identifier(column)} IN (SELECT kept.value "
                        "FROM sessionlift_kept AS kept WHERE kept.revision = ? AND kept.run_id = ? "
                        f"AND kept.table_name = ? AND kept.column_name = ? {away})",
                        *mine,
                        taken,
                        *mine[:2],
                        parent,
                        to,
                        *((*mine, taken) if parent == table else ()),
                    )
                )
        if not wrong:
            return
        for row in sorted(wrong):
            kept.connection.exec_driver_sql(f"DELETE FROM {name} WHERE rowid = ?", (row,))


def _links(connection: Connection, table: str) -> list[tuple[str, str, str]]:
    """Parent, column here, column there of each reference."""
    rows = _structure.queries(connection)(
        'SELECT "table", "from", "to" FROM pragma_foreign_key_list(?) WHERE "to" IS NOT NULL', table
    )
    return [(str(parent), str(column), str(to)) for parent, column, to in rows]


def _ids(connection: Connection, sql: str, *params: Any) -> list[int]:
    return [int(row) for (row,) in _structure.queries(connection)(sql, *params)]
