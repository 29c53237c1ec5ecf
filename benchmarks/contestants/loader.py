"""dlt, the usual loader, through its SQLAlchemy destination into a SQLite file.

It writes tables of its own: the same columns and two of its bookkeeping, without our keys, checks, indexes
and views, and tables about its loads. Dictionaries go in, because its Arrow road does not lead to SQLite.

Usage: python -m benchmarks.contestants.loader SOURCE TARGET
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import duckdb

from benchmarks.contestants._mapping import COLUMNS, batches

_BATCH = 20_000


def main(source: str, target: str) -> None:
    def resource(table: str) -> Any:
        def rows() -> Iterator[list[dict[str, Any]]]:
            with duckdb.connect(source, read_only=True) as legacy:
                for batch in batches(legacy, table, _BATCH):
                    yield [dict(zip(COLUMNS[table], row, strict=True)) for row in batch]

        return dlt.resource(rows, name=table, write_disposition="append")

    with tempfile.TemporaryDirectory(dir=Path(target).parent) as work:
        pipeline = dlt.pipeline(
            pipeline_name="synth",
            pipelines_dir=work,
            destination=dlt.destinations.sqlalchemy(f"sqlite:///{target}"),
            dataset_name="main",
        )
        pipeline.run([resource(table) for table in COLUMNS])


if __name__ == "__main__":
    main(*sys.argv[1:])
