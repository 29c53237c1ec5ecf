"""sqlite-utils, the usual helper: ``insert_all`` of dictionaries into the same tables.

Its batches are made larger than its default of 100 rows, each of which is a commit.

Usage: python -m benchmarks.contestants.utils SOURCE TARGET
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import duckdb
import sqlite_utils

from benchmarks.contestants._mapping import COLUMNS, batches

_BATCH = 5_000


def main(source: str, target: str) -> None:
    database = sqlite_utils.Database(target)
    with duckdb.connect(source, read_only=True) as legacy:
        for table in COLUMNS:

            def rows(table: str = table) -> Iterator[dict[str, Any]]:
                for batch in batches(legacy, table, _BATCH):
                    for row in batch:
                        yield dict(zip(COLUMNS[table], row, strict=True))

            into: Any = database[table]  # a table, never a view
            into.insert_all(rows(), batch_size=_BATCH)
    database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
