"""A target put back as a lone file, when a run is done with it."""

from __future__ import annotations

import time

from sessionlift.errors import StoreError, StoreLockedError
from sessionlift.stores import Store

_TRIES, _PAUSE = 20, 0.1
"""How often a reader that is just leaving is waited for, and how many seconds."""


def left_alone(store: Store) -> list[str]:
    """End the bulk writing of ``store``; returns what a report has to say where another program keeps it open."""
    for _ in range(_TRIES):
        try:
            store.end_bulk()
        except StoreLockedError:
            time.sleep(_PAUSE)
        except StoreError:
            # the error that ended the run is the one to tell of; the next run puts the store back
            return []
        else:
            return []
    return ["the target was left in WAL mode, with its -wal and -shm files, since another program has it open"]
