"""What the columns and keys of synth.v2 are, and what of a store is otherwise.

A move goes by the types and keys that the old program gives its tables: by ``id`` from batch to batch, by JSON that the
engine has looked at. A store that was made otherwise (``CREATE TABLE AS``, an import, ``ALTER TYPE``) may have only the
names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sessionlift.generations._query import Query
from sessionlift.stores import quote_identifier

Found = Mapping[tuple[str, str], tuple[str, bool]]

_COLUMNS = {
    "session_traces": "session_id VARCHAR!, created_at TIMESTAMP, num_timesteps INTEGER, num_events INTEGER, "
    "num_messages INTEGER, metadata JSON, experiment_id VARCHAR",
    "session_timesteps": "id INTEGER!, session_id VARCHAR!, step_id VARCHAR!, step_index INTEGER!, "
    "timestamp TIMESTAMP!, num_events INTEGER, num_messages INTEGER, step_metadata JSON",
    "events": "id INTEGER!, session_id VARCHAR!, timestep_id INTEGER, event_type VARCHAR!, "
    "system_instance_id VARCHAR!, event_time TIMESTAMP, message_time INTEGER, span_id VARCHAR, trace_id VARCHAR, "
    "model_name VARCHAR, provider VARCHAR, prompt_tokens INTEGER, completion_tokens INTEGER, total_tokens INTEGER, "
    "cost DOUBLE, latency_ms DOUBLE, reward DOUBLE, terminated BOOLEAN, system_state_before JSON, "
    "system_state_after JSON, metadata JSON, event_metadata JSON",
    "messages": "id INTEGER!, session_id VARCHAR!, timestep_id INTEGER, message_type VARCHAR!, content JSON!, "
    "timestamp TIMESTAMP, event_time TIMESTAMP, message_time INTEGER",
    "systems": "id VARCHAR!, name VARCHAR!, description VARCHAR",
    "system_versions": "id VARCHAR!, system_id VARCHAR!, branch VARCHAR, commit VARCHAR, created_at TIMESTAMP!, "
    "description VARCHAR",
    "experiments": "id VARCHAR!, name VARCHAR!, description VARCHAR, created_at TIMESTAMP!, updated_at TIMESTAMP!",
    "experimental_systems": "experiment_id VARCHAR!, system_id VARCHAR!, system_version_id VARCHAR!",
}
# ``!``: NULL has no place there
COLUMNS: dict[str, dict[str, str]] = {
    table: dict(column.split() for column in columns.split(", ")) for table, columns in _COLUMNS.items()
}
_KEYS = {
    "session_traces": ("session_id",),
    **dict.fromkeys(("session_timesteps", "events", "messages", "systems", "system_versions", "experiments"), ("id",)),
    "experimental_systems": ("experiment_id", "system_id"),
}
# they hold what an INTEGER holds, or more; what is wider than 64 bits has no place in the new store
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_KINDS = ("VARCHAR", "TIMESTAMP", "DOUBLE", "BOOLEAN", "JSON", *_INTEGERS)


def unlike(query: Query) -> list[str]:
    """What of a store with the tables of synth.v2 is not as the old program makes it, one line each.

    Rows are looked at only where the table does not say itself that a column has no NULL, or a key no double.
    """
    found = _found(query)
    return [*_types(query, found), *_nulls(query, found), *_doubles(query)]


def _types(query: Query, found: Found) -> Iterator[str]:
    # as the engine of today names them
    (row,) = query(f"SELECT {', '.join(f'typeof(NULL::{kind})' for kind in _KINDS)}")
    names = dict(zip(_KINDS, map(str, row), strict=True))
    integers = {names[kind] for kind in _INTEGERS}
    for (table, column), (kind, _) in sorted(found.items()):
        wanted = COLUMNS[table][column].rstrip("!")
        if kind not in (integers if wanted == "INTEGER" else {names[wanted]}):
            yield f"{table}.{column} is {kind}, and should be {wanted}"


def _nulls(query: Query, found: Found) -> Iterator[str]:
    for (table, column), (_, nullable) in sorted(found.items()):
        if nullable and COLUMNS[table][column].endswith("!"):
            name, of = quote_identifier(column), quote_identifier(table)
            ((count, first),) = query(f"SELECT count(*), min(rowid) FROM {of} WHERE {name} IS NULL")
            if count:
                yield f"{table}.{column} is NULL in {count:,} row{'s' * (count > 1)} (the first has rowid {first})"


def _doubles(query: Query) -> Iterator[str]:
    unique = {
        (table, frozenset(columns))
        for table, columns in query(
            "SELECT table_name, constraint_column_names FROM duckdb_constraints() WHERE schema_name = 'main' "
            "AND database_name = current_database() AND constraint_type IN ('PRIMARY KEY', 'UNIQUE')"
        )
    }
    for table, key in _KEYS.items():
        if (table, frozenset(key)) in unique:
            continue
        names = ", ".join(map(quote_identifier, key))
        doubled = f"SELECT {names} FROM {quote_identifier(table)} GROUP BY {names} HAVING count(*) > 1"
        ((count, *_),) = query(f"SELECT count(*) FROM ({doubled})")
        if count:
            first = ", ".join(str(value) for value in query(f"{doubled} ORDER BY {names} LIMIT 1")[0])
            yield f"{table} has {count:,} value{'s' * (count > 1)} of {', '.join(key)} more than once (such as {first})"


def _found(query: Query) -> Found:
    """By table and column its type, and whether the table lets it be NULL."""
    rows = query(
        "SELECT table_name, column_name, data_type, is_nullable FROM duckdb_columns() WHERE NOT internal "
        "AND schema_name = 'main' AND database_name = current_database()"
    )
    return {
        (table, column): (kind, bool(nullable))
        for table, column, kind, nullable in rows
        if column in COLUMNS.get(table, {})
    }
