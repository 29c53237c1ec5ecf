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
    place = ""
    if many:
        row = connection.execute("SELECT current_setting('temp_directory')").fetchone()
        place = str(row[0]) if row is not None else ""
    # the engine would take a name with magic for a pattern
    if place and not glob.has_magic(place):
        # the same file each time that this connection keeps them: what it kept before is in nobody's way
        path = Path(place) / f"{view}-{id(connection):x}.parquet"
        connection.execute(
            f"COPY ({query}) TO {literal(str(path))} (FORMAT parquet, ROW_GROUP_SIZE {int(_READ_TOGETHER)})"
        )
        # a directory named a=b is no column
        shown = f"SELECT * FROM read_parquet({literal(str(path))}, hive_partitioning = false)"
    else:
        table = quote_identifier(f"{view}_rows")
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {query}", list(params))
        shown = f"SELECT * FROM {table}"
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {quote_identifier(view)} AS {shown}")
