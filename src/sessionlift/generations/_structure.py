"""What a database says of its own structure, as flat facts that can be compared one by one.

A fact has a name that reads as a sentence's subject (``table events, column reward``) and a value
(``FLOAT``). Two structures are equal when their facts are. The wording of a view or a table is no fact.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import duckdb
from sqlalchemy import Connection

from sessionlift.generations import _sqltext

Query = Callable[..., list[tuple[Any, ...]]]
"""Plain SQL, and a value for each ``?`` in it."""
Facts = dict[str, str]


def queries(connection: Connection) -> Query:
    """Plain SQL in, plain tuples out, over a SQLAlchemy connection."""
    return lambda sql, *params: [tuple(row) for row in connection.exec_driver_sql(sql, params)]


def facts(dialect: str, query: Query, names: Iterable[str]) -> Facts:
    """Everything known of the tables, views and sequences in ``names``. Reads the catalog only."""
    wanted = set(names)
    return _duckdb_facts(query, wanted) if dialect == "duckdb" else _sqlite_facts(query, wanted)


def differences(expected: Facts, found: Facts) -> list[str]:
    """Every difference as one sentence, in a stable order. An index more that is not unique is none."""
    said = []
    for name in sorted(expected.keys() | found.keys()):
        want, have = expected.get(name), found.get(name)
        if want == have:
            continue
        if want is None:
            if not (", index " in name and not str(have).startswith("unique")):
                said.append(f"{name}: unexpected ({have})")
        elif have is None:
            said.append(f"{name}: missing (should be {want})")
        else:
            said.append(f"{name}: should be {want}, is {have}")
    return said


@lru_cache(maxsize=16)
def _built(dialect: str, statements: tuple[str, ...], names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    if dialect == "duckdb":
        with duckdb.connect(":memory:") as memory:
            for statement in statements:
                memory.execute(statement)
            return tuple(facts(dialect, lambda sql: memory.execute(sql).fetchall(), names).items())
    private = sqlite3.connect(":memory:")
    try:
        for statement in statements:
            private.execute(statement)
        return tuple(facts(dialect, lambda sql, *params: private.execute(sql, params).fetchall(), names).items())
    finally:
        private.close()


def built(dialect: str, statements: Sequence[str], names: Iterable[str]) -> Facts:
    """The facts that ``statements`` make, found by running them in a private database in memory."""
    return dict(_built(dialect, tuple(statements), tuple(sorted(names))))


def reads_foreign_keys(connection: Connection, table: str) -> bool:
    """Whether ``table`` of a DuckDB store declares foreign keys (the early/mid dress of synth.v2 does)."""
    if connection.dialect.name != "duckdb":
        return False
    return any(
        name == table
        for (name,) in queries(connection)(
            "SELECT table_name FROM duckdb_constraints() "
            "WHERE constraint_type = 'FOREIGN KEY' AND database_name = current_database()"
        )
    )


def _null(notnull: object) -> str:
    return " not null" if notnull else ""


def _default(value: object) -> str:
    return "" if value is None else f" default {value}"


def _sqlite_facts(query: Query, names: set[str]) -> Facts:
    found: Facts = {}
    columns: dict[str, list[str]] = {}
    keys: dict[str, list[tuple[int, str]]] = {}
    views = set()
    for kind, name, table, sql in query("SELECT type, name, tbl_name, sql FROM sqlite_master"):
        if kind == "table" and name in names:
            found[f"table {name}, kind"] = _sqltext.table_options(sql)
            found[f"table {name}, checks"] = "; ".join(_sqltext.checks(sql)) or "none"
        elif kind == "view" and name in names:
            views.add(name)
        elif kind == "trigger" and table in names:
            found[f"table {table}, trigger {name}"] = "a trigger"
    for table, name, declared, notnull, default, key, hidden in query(
        'SELECT m.name, c.name, c.type, c."notnull", c.dflt_value, c.pk, c.hidden '
        "FROM sqlite_master AS m JOIN pragma_table_xinfo(m.name) AS c "
        # a view of somebody else's may dangle, and SQLite could not say its columns
        "WHERE m.type IN ('table', 'view') AND m.name IN (SELECT value FROM json_each(?)) ORDER BY m.name, c.cid",
        json.dumps(sorted(names)),
    ):
        columns.setdefault(table, []).append(name)
        if table in views:
            continue  # the type of a view's column is a guess that differs between releases of SQLite
        generated = " generated" if hidden else ""
        found[f"table {table}, column {name}"] = f"{declared}{_null(notnull)}{_default(default)}{generated}"
        if key:
            keys.setdefault(table, []).append((key, name))
    for table, listed in columns.items():
        found[f"{'view' if table in views else 'table'} {table}, columns in order"] = ", ".join(listed)
    for table, parts in keys.items():
        found[f"table {table}, primary key"] = ", ".join(name for _, name in sorted(parts))
    found.update(_sqlite_foreign_keys(query, names))
    found.update(_sqlite_indexes(query, names))
    return found


def _sqlite_foreign_keys(query: Query, names: set[str]) -> Facts:
    parts: dict[tuple[str, int], list[tuple[Any, ...]]] = {}
    for table, number, *rest in query(
        'SELECT m.name, f.id, f."from", f."table", f."to", f.on_update, f.on_delete '
        "FROM sqlite_master AS m JOIN pragma_foreign_key_list(m.name) AS f "
        "WHERE m.type = 'table' ORDER BY m.name, f.id, f.seq"
    ):
        if table in names:
            parts.setdefault((table, number), []).append(tuple(rest))
    found: Facts = {}
    for (table, _), rows in parts.items():
        here = ", ".join(str(row[0]) for row in rows)
        there = ", ".join(str(row[2]) for row in rows)
        actions = f" on update {rows[0][3]} on delete {rows[0][4]}".lower()
        found[f"table {table}, foreign key ({here})"] = f"{rows[0][1]} ({there}){actions}"
    return found


def _sqlite_indexes(query: Query, names: set[str]) -> Facts:
    columns: dict[tuple[str, str, int, str, int], list[str]] = {}
    for table, name, unique, origin, partial, column, descending, collation in query(
        'SELECT m.name, i.name, i."unique", i.origin, i.partial, x.name, x."desc", x.coll '
        "FROM sqlite_master AS m JOIN pragma_index_list(m.name) AS i JOIN pragma_index_xinfo(i.name) AS x "
        "WHERE m.type = 'table' AND x.\"key\" = 1 ORDER BY m.name, i.name, x.seqno"
    ):
        if table in names:
            text = f"{column if column is not None else 'an expression'}{' desc' if descending else ''}"
            text += "" if str(collation).upper() == "BINARY" else f" collate {collation}"
            columns.setdefault((table, name, unique, origin, partial), []).append(text)
    found: Facts = {}
    for (table, name, unique, origin, partial), listed in columns.items():
        body = ", ".join(listed)
        if origin == "u":
            found[f"table {table}, unique ({body})"] = "unique"
        elif origin == "c":
            kind = "unique " if unique else ""
            found[f"table {table}, index {name}"] = f"{kind}({body}){' where …' if partial else ''}"
    return found


def _duckdb_facts(query: Query, names: set[str]) -> Facts:
    here = "database_name = current_database() AND schema_name = 'main'"
    views = {name for (name,) in query(f"SELECT view_name FROM duckdb_views() WHERE NOT internal AND {here}")}
    found: Facts = {}
    columns: dict[str, list[str]] = {}
    for table, name, declared, nullable, default in query(
        "SELECT table_name, column_name, data_type, is_nullable, column_default "
        f"FROM duckdb_columns() WHERE NOT internal AND {here} ORDER BY table_name, column_index"
    ):
        if table in names:
            columns.setdefault(table, []).append(name)
            what = "view" if table in views else "table"
            text = declared if table in views else f"{declared}{_null(not nullable)}{_default(default)}"
            found[f"{what} {table}, column {name}"] = text
    for table, listed in columns.items():
        found[f"{'view' if table in views else 'table'} {table}, columns in order"] = ", ".join(listed)
    constraints: dict[str, list[str]] = {}
    for table, text in query(
        f"SELECT table_name, constraint_text FROM duckdb_constraints() WHERE constraint_type <> 'NOT NULL' AND {here}"
    ):
        constraints.setdefault(table, []).append(text)
    for table in (names & columns.keys()) - views:
        found[f"table {table}, constraints"] = "; ".join(sorted(constraints.get(table, []))) or "none"
    for table, name, unique, expressions in query(
        f"SELECT table_name, index_name, is_unique, expressions FROM duckdb_indexes() WHERE {here}"
    ):
        if table in names:
            found[f"table {table}, index {name}"] = f"{'unique ' if unique else ''}{expressions}"
    # where a sequence stands is the rows' business: a reopened store reports it as its start
    for name, *rest in query(
        f"SELECT sequence_name, increment_by, min_value, max_value, cycle FROM duckdb_sequences() WHERE {here}"
    ):
        if name in names:
            found[f"sequence {name}"] = "by {}, from {} to {}, cycle {}".format(*rest)
    return found
