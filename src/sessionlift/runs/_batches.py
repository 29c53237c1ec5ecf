"""A converted batch on its way to the writer: its ledger rows beside its own, and the message that describes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from sessionlift.converters import CATALOG, Batch, Forward, RowKeys, UnitKind
from sessionlift.errors import RunStoppedError
from sessionlift.ledger import STAGED_COLUMNS, ledger_rows
from sessionlift.reports import utc_now
from sessionlift.runs._protocol import Message

ERRORS = 200
"""How many quarantined rows of a batch are named to the writer for the report; the ledger has them all."""


class BatchStage(Protocol):
    """What holds a batch's rows until they are committed."""

    @property
    def counts(self) -> dict[str, int]:
        """Rows by table."""

    def rows(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Append rows of ``table``; the columns must be the same on every call for it."""

    def columns(self) -> dict[str, list[str]]:
        """The tables that got rows, in the order they came, and their columns."""


def complete(
    stage: BatchStage,
    batch: Batch,
    kind: UnitKind,
    *,
    run_id: str,
    converter: Forward,
    leave: RowKeys | None = None,
) -> Message:
    """Put the batch's ledger rows into ``stage``, behind its target rows; returns the writer's message.

    ``leave`` names the rows of the catalog that it was made without.
    """
    tables = stage.columns()
    made_by = f"{converter.name}/{converter.version}"
    for table, columns, rows in ledger_rows(batch, run_id=run_id, converter=made_by, moved_at=utc_now()):
        stage.rows(table, columns, rows)
    read: dict[str, int] = {}
    for unit in batch.units:
        for table, count in unit.read_counts.items():
            read[table] = read.get(table, 0) + count
    catalog = batch.units[0].complement if batch.units and kind == CATALOG else {}
    quarantined: dict[str, int] = {}
    for row in batch.quarantine:
        quarantined[row.table] = quarantined.get(row.table, 0) + 1
    return {
        "type": "batch",
        "kind": kind,
        "tables": tables,
        "ledger": {table: list(STAGED_COLUMNS[table]) for table in STAGED_COLUMNS if stage.counts.get(table)},
        "units": [[unit.session_id, unit.source_digest, unit.state] for unit in batch.units],
        **{name: catalog.get(name, {}) for name in ("owned", "rows")},
        "left": {} if leave is None else {table: list(keys) for table, keys in leave.items()},
        "unchanged": len(batch.unchanged),
        "read": read,
        "written": {table: stage.counts[table] for table in tables},
        "derived": list(converter.derived_tables),
        "excluded": batch.excluded,
        "quarantined": quarantined,
        "bytes": sum(unit.size for unit in batch.units if unit.state != "quarantined"),
        "losses": [[loss.code, loss.table, loss.column, loss.count, loss.example] for loss in batch.losses],
        "facts": [[fact.session_id, fact.code, fact.table, fact.count, fact.detail] for fact in batch.facts],
        "errors": [[row.session_id, row.table, row.row_id, row.code, row.reason] for row in batch.quarantine[:ERRORS]],
        "more_errors": max(0, len(batch.quarantine) - ERRORS),
        "aside": [],
        "given": {key: [given.done, given.waiting, given.told] for key, given in batch.given.items()},
    }


def stopped(batch: Batch) -> RunStoppedError:
    """What ends a run that must not put anything aside."""
    first = batch.quarantine[0]
    return RunStoppedError(
        f"session {first.session_id!r}, table {first.table}, row {first.row_id}: {first.reason}",
        hint="mend the row, map its type in a mapping file, or run without `--on-error stop` to keep it in quarantine",
        session_id=first.session_id,
        table=first.table,
        row_id=first.row_id,
        reason_code=first.code,
    )
