"""The ledger's rows for a batch, as they are staged beside the target's rows and committed with them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import orjson

from sessionlift.converters import Batch

UNIT_COLUMNS = (
    "unit",
    "session_id",
    "run_id",
    "moved_at",
    "source_digest",
    "target_digest",
    "converter",
    "read_counts",
    "written_counts",
    "state",
)
COMPLEMENT_COLUMNS = ("unit", "session_id", "data")
QUARANTINE_COLUMNS = ("run_id", "unit", "session_id", "table_name", "row_id", "code", "reason", "row")
FACT_COLUMNS = ("run_id", "unit", "session_id", "code", "table_name", "count", "detail")

STAGED_COLUMNS = {
    "sessionlift_units": UNIT_COLUMNS,
    "sessionlift_complement": COMPLEMENT_COLUMNS,
    "sessionlift_quarantine": QUARANTINE_COLUMNS,
    "sessionlift_facts": FACT_COLUMNS,
}
"""The ledger tables that come with a batch, and their columns in the order of the staged rows."""

LEDGER_TABLES = (
    "sessionlift_runs",
    "sessionlift_units",
    "sessionlift_complement",
    "sessionlift_quarantine",
    "sessionlift_losses",
    "sessionlift_facts",
    "sessionlift_rollout",
    "sessionlift_attempts",
    "sessionlift_shadow",
)


def to_json(value: Any) -> str:
    """``value`` as compact JSON. Texts keep their characters; where one holds half a surrogate pair, which UTF-8
    cannot, the whole is spelled in ASCII."""
    try:
        return orjson.dumps(value).decode()
    except (orjson.JSONEncodeError, UnicodeEncodeError):
        return json.dumps(value, separators=(",", ":"))


def ledger_rows(
    batch: Batch, *, run_id: str, converter: str, moved_at: str
) -> Iterable[tuple[str, tuple[str, ...], list[tuple[Any, ...]]]]:
    """(table, columns, rows) for everything in ``batch`` that the ledger keeps, but for the counts of losses."""
    yield (
        "sessionlift_units",
        UNIT_COLUMNS,
        [
            (
                unit.kind,
                unit.session_id,
                run_id,
                moved_at,
                unit.source_digest,
                unit.target_digest,
                converter,
                to_json(unit.read_counts),
                to_json(unit.written_counts),
                unit.state,
            )
            for unit in batch.units
        ],
    )
    yield (
        "sessionlift_complement",
        COMPLEMENT_COLUMNS,
        [(unit.kind, unit.session_id, to_json(unit.complement)) for unit in batch.units if unit.complement],
    )
    yield (
        "sessionlift_quarantine",
        QUARANTINE_COLUMNS,
        [
            (run_id, row.kind, row.session_id, row.table, row.row_id, row.code, row.reason, to_json(row.row))
            for row in batch.quarantine
        ],
    )
    kind = batch.units[0].kind if batch.units else "session"
    grouped: dict[tuple[str, str, str], tuple[int, Any]] = {}
    for fact in batch.facts:
        if fact.session_id is not None:
            grouped[fact.session_id, fact.code, fact.table] = (fact.count, fact.detail)
    yield (
        "sessionlift_facts",
        FACT_COLUMNS,
        [
            (run_id, kind, session_id, code, table, count, None if detail is None else to_json(detail))
            for (session_id, code, table), (count, detail) in grouped.items()
        ],
    )
