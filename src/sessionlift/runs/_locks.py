"""Who holds a store that is to be changed, and what is said of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection

from sessionlift.errors import StoreLockedError, UsageError
from sessionlift.generations import over
from sessionlift.runs._snapshot import file_of, open_file
from sessionlift.stores import SqliteFileStore, StoreURL, real_file

WAIT_SECONDS = 10.0
_MOST_SECONDS = 3600


@dataclass
class Held:
    """A store open for writing, in one transaction that the caller commits."""

    store: SqliteFileStore
    connection: Connection
    stage: Literal["begin", "work", "commit", "after"] = "begin"


@contextmanager
def one_transaction(where: StoreURL, named: StoreURL, *, wait: float) -> Iterator[Held]:
    """Open a store and begin its one transaction. Leaving the block without ``commit`` rolls it back.

    Raises StoreLockedError that says whether somebody writes or reads, with the processes that have it open, and
    UsageError for a ``wait`` that is no time to wait (NaN is none).
    """
    if not 0 <= wait <= _MOST_SECONDS:
        raise UsageError(f"{wait} is no time to wait", hint=f"give --wait 0 to {_MOST_SECONDS:,} seconds")
    held: Held | None = None
    try:
        with open_file(where, mode="rw", role="target") as store, over(store) as connection:
            store.query(f"PRAGMA busy_timeout = {int(wait * 1000)}")
            held = Held(store, connection)
            with connection.begin() as transaction:
                held.stage = "work"
                yield held
                if transaction.is_active:
                    transaction.rollback()
    except StoreLockedError as error:
        reading = held is not None and held.stage == "commit"
        who = "another program is reading" if reading else "another process is writing to"
        raise StoreLockedError(
            f"{who} {named.redacted} and did not let go of it within {wait:g} seconds; nothing was changed",
            hint="close the programs that have it open (Session-Buddy's server, a shell), or give --wait more "
            "seconds; then run the same command again",
            store=named.redacted,
            role="target",
            holders=open_elsewhere(file_of(named)) or None,
        ) from error


def commit(held: Held) -> None:
    """Commit the transaction of a ``one_transaction`` block."""
    held.stage = "commit"
    transaction = held.connection.get_transaction()
    if transaction is not None:
        transaction.commit()
    held.stage = "after"


def open_elsewhere(path: Path) -> list[int]:
    """The processes that have the file open besides this one, where the system tells (Linux, one's own)."""
    found = []
    wanted = str(real_file(path))
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        try:
            if any(os.readlink(handle) == wanted for handle in (process / "fd").iterdir()):  # noqa: PTH115 - quick
                found.append(int(process.name))
        except OSError:
            continue  # ended, or not ours to look into
    return sorted(found)
