"""Rows that work with a DuckDB file looks at again and again: one for each of its sessions, say."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from sessionlift.stores._value import literal, quote_identifier

_READ_TOGETHER = 4_096
"""Rows of one group of such a file: about as many sessions as move in some batches."""


def keep_rows(
    connection: duckdb.DuckDBPyConnection, view: str, query: str, params: Sequence[Any] = (), *, many: bool = False
) -> None:
    """Keep the rows of ``query``, in their order, and show them as the temporary view ``view`` of this connection.

    Where they may be ``many`` (``params`` are none then) they lie in a file of the engine's own temporary directory, of
    which each look reads the few groups that it needs by the columns that the query sorts by: a table of so many would
    be in the way of all other work in memory, and be spilled and read for each look.
    """
    path = _file_of(connection, view) if many else None
    if path is not None:
        connection.execute(
            f"COPY ({query}) TO {literal(str(path))} (FORMAT parquet, ROW_GROUP_SIZE {int(_READ_TOGETHER)})"
        )
        # a directory named a=b is no column
        shown = f"SELECT * FROM read_parquet({literal(str(path))}, hive_partitioning = false)"
    else:
        table = _table_of(view)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {query}", list(params))
        shown = f"SELECT * FROM {table}"
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {quote_identifier(view)} AS {shown}")


def forget_rows(connection: duckdb.DuckDBPyConnection, view: str) -> None:
    """Remove what ``keep_rows`` keeps under ``view``."""
    connection.execute(f"DROP VIEW {quote_identifier(view)}")
    connection.execute(f"DROP TABLE IF EXISTS {_table_of(view)}")
    path = _file_of(connection, view)
    if path is not None:
        path.unlink(missing_ok=True)


def _table_of(view: str) -> str:
    return quote_identifier(f"{view}_rows")


def _file_of(connection: duckdb.DuckDBPyConnection, view: str) -> Path | None:
    """The file in the engine's temporary directory; None where the engine has none, or would take its name for a
    pattern. It is the same one each time that this connection keeps them: what it kept before is in nobody's way."""
    row = connection.execute("SELECT current_setting('temp_directory')").fetchone()
    place = str(row[0]) if row is not None else ""
    return Path(place) / f"{view}-{id(connection):x}.parquet" if place and not glob.has_magic(place) else None
