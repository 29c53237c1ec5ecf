"""The naive, unverified loop: fetchmany from DuckDB, executemany into the new tables, one commit.

Usage: python -m benchmarks.contestants.naive libsql|sqlite3 SOURCE TARGET
"""

from __future__ import annotations

import importlib
import sys

import duckdb

from benchmarks.contestants._mapping import COLUMNS, batches

_BATCH = 20_000


def main(driver: str, source: str, target: str) -> None:
    # both are DBAPI modules with the same calls
    module = importlib.import_module({"libsql": "libsql_experimental", "sqlite3": "sqlite3"}[driver])
    connection = module.connect(target)
    connection.execute("PRAGMA foreign_keys = OFF")  # the real stores hold links that dangle
    with duckdb.connect(source, read_only=True) as legacy:
        for table, columns in COLUMNS.items():
            places = ", ".join("?" * len(columns))
            statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"
            for rows in batches(legacy, table, _BATCH):
                connection.executemany(statement, rows)
    connection.commit()
    connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
