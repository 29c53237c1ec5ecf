"""Sessions that were in the older store for a while, and got back then what that could not hold.

Their rows do not follow from the legacy store alone, so that no value of theirs is worked out again: their digests on
both sides are compared with the ledger's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sessionlift.runs.verifier._readers import TargetReader, id_list
from sessionlift.stores import quote_identifier

KEPT = "kept"
CANNOT_SEE = (
    "of a session that was taken back once and moved again together with what the old shape could not hold: whether "
    "each value is right; its digests are compared with the ledger's"
)


def has_kept(complement: Any) -> bool:
    """Whether a complement, as its text or as bytes of it, says that something was given back."""
    try:
        found = json.loads(complement)
    except (TypeError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and KEPT in found


def given_back(target: TargetReader, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Those of ``ids`` to which something was given back, with the ledger's source digest and target digest."""
    some, params = id_list(ids)
    where = f"unit = 'session' AND session_id IN ({some})"
    kept = [
        str(key)
        for key, data in target.read(
            "sessionlift_complement", ("session_id", "data"), f"{where} AND instr(data, '\"{KEPT}\"') > 0", params
        )
        if has_kept(data)
    ]
    if not kept:
        return {}
    some, params = id_list(kept)
    where = f"unit = 'session' AND session_id IN ({some})"
    rows = target.read("sessionlift_units", ("session_id", "source_digest", "target_digest"), where, params)
    return {str(key): (str(source), str(made)) for key, source, made in rows}


def rows_of(target: TargetReader, tables: Mapping[str, Any] | Sequence[str], ids: Sequence[str]) -> dict[str, int]:
    """How many rows sessions have in the target, by table."""
    some, params = id_list(ids)
    return {
        table: len(target.read(table, ("rowid",), f"{quote_identifier('session_id')} IN ({some})", params))
        for table in tables
    }
