"""A target put back as a lone file, when a run is done with it."""

from __future__ import annotations

import time
from contextlib import suppress

from sessionlift.errors import SessionliftError, StoreError, StoreLockedError
from sessionlift.ledger import Ledger
from sessionlift.stores import Store

_TRIES, _TRIES_FOR_OTHERS, _PAUSE = 20, 3, 0.1
"""How often it is tried, and how often where another run will do it; and how many seconds lie between."""


def left_alone(store: Store, run_id: str) -> list[str]:
    """End the bulk writing of ``store`` for ``run_id``; returns what a report has to say where others keep it open.

    Readers that are just leaving are waited for. Of runs that end together each would wait for the other, though, and
    both give up: so the last one waits, which is the one that finds no other in the ledger that has not ended.
    """
    tries = _TRIES_FOR_OTHERS if _others_run(store, run_id) else _TRIES
    for attempt in range(tries):
        if attempt:
            time.sleep(_PAUSE)
        try:
            store.end_bulk()
        except StoreLockedError:
            continue
        except StoreError:
            pass  # the error that ended the run is the one to tell of; the next run puts the store back
        return []
    return ["the target was left in WAL mode, with its -wal and -shm files, since another program has it open"]


def _others_run(store: Store, run_id: str) -> bool:
    with suppress(SessionliftError):
        return any(run.status == "running" and run.run_id != run_id for run in Ledger(store).runs())
    return False
