"""Ids for a legacy program that goes on while the new one writes to the target already."""

from __future__ import annotations

from collections.abc import Mapping

from sessionlift.converters import TargetRows
from sessionlift.stores import Store


def keep_ids_free(rows: TargetRows, store: Store, next_ids: Mapping[str, int]) -> list[str]:
    """Let the target's own ids begin well above the legacy store's; returns what a report has to say of it.

    Rows that move keep their ids. If the new program drew the ones that the old program draws next, sessions that the
    old program writes from now on could not move. Belongs behind the ledger's note that a run has begun.
    """
    begins = rows.keep_free(store, next_ids)
    if not begins:
        return []
    listed = ", ".join(f"{table} {first:,}" for table, first in begins.items())
    return [
        f"the target's own ids begin above the legacy store's from now on ({listed}), so that what the legacy program "
        "still writes keeps its ids when it moves"
    ]
