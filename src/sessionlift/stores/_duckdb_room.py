"""How much memory DuckDB may take for a file: what those of this process that have it open need together.

All connections of a process to one file have one limit. So nobody sets it alone: whoever is done would take from
another thread what that one still works with.
"""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import duckdb

from sessionlift.errors import StoreError

Made = TypeVar("Made")
Key = tuple[int, int] | str

_OFTEN = 32
"""After so many pieces of work the engine is made to forget what it no longer has."""
_SPILLED = 160
"""With so many megabytes a million sessions can be counted."""

_lock = threading.Lock()
_wishes: dict[Key, Counter[int]] = {}
_pieces: Counter[Key] = Counter()


class Need:
    """What pieces of one kind of work need, in megabytes: as far as that is known before, then what the last one took.

    So the next one begins with that, and is not begun in vain where rows that are as large lie together.
    """

    def __init__(self, megabytes: int = 0) -> None:
        self._known = self._now = megabytes
        self._pieces = 0

    @classmethod
    def of(cls, count: int, each: int) -> Need:
        """That of ``count`` things of ``each`` bytes that are looked at together; of very many the rest is spilled."""
        return cls(min(count * each // 10**6, _SPILLED))

    def begin(self) -> int:
        self._pieces += 1
        # what was large may be long past
        if self._pieces % _OFTEN == 0:
            self._now = self._known
        return self._now

    def learn(self, megabytes: int) -> None:
        self._now = megabytes


def ask(connection: duckdb.DuckDBPyConnection, key: Key, megabytes: int) -> None:
    """Let the file have at least so much until ``release``."""
    with _lock:
        _wishes.setdefault(key, Counter())[megabytes] += 1
        _apply(connection, key)


def release(connection: duckdb.DuckDBPyConnection, key: Key, megabytes: int) -> None:
    """The end of what ``ask`` began."""
    with _lock:
        wishes = _wishes[key]
        wishes[megabytes] -= 1
        if not wishes[megabytes]:
            del wishes[megabytes]
        if wishes:
            _apply(connection, key)
        else:
            del _wishes[key], _pieces[key]


def tidy(connection: duckdb.DuckDBPyConnection, key: Key) -> None:
    """Count a piece of work that begins; from time to time let the engine forget the blocks of those before it.

    What could be evicted stands in lists of the engine, and stays there when it is gone: a node each, with what
    described the block. It looks through all of them only when it finds too little to evict. Without that, two hundred
    batches, or some hundred single sessions, leave 20 to 40 MB of them, among which all other memory lies scattered.
    """
    with _lock:
        _pieces[key] += 1
        # else another's work could need memory just now
        if _pieces[key] % _OFTEN or _wishes[key].total() > 1:
            return
        # more than it can, so that it looks through all; then nothing is set
        with suppress(duckdb.OutOfMemoryException):
            connection.execute("SET memory_limit = '1KB'")
        _apply(connection, key)


def _apply(connection: duckdb.DuckDBPyConnection, key: Key) -> None:
    # what is in use cannot be taken back at once; whoever comes next tries again
    with suppress(duckdb.OutOfMemoryException):
        connection.execute("SET memory_limit = ?", [f"{max(_wishes[key])}MB"])


def with_room(
    connection: duckdb.DuckDBPyConnection, key: Key, usual: int, work: Callable[[], Made], need: Need | None = None
) -> Made:
    """Do ``work``; where ``usual`` megabytes, or those of ``need``, are too few, do it again with more, at last with
    half the machine's."""
    tidy(connection, key)
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**6
    most = max(physical // 2, usual)
    need = need or Need()
    limit = min(max(usual, need.begin()), most)
    while True:
        ask(connection, key, limit)
        try:
            return work()
        except (duckdb.OutOfMemoryException, StoreError) as error:
            # what the store itself reads comes as ours
            is_ours = not isinstance(error, duckdb.Error)
            if limit == most or (is_ours and not isinstance(error.__cause__, duckdb.OutOfMemoryException)):
                raise
        finally:
            release(connection, key, limit)
        # a little more first: counting many sessions takes twice the usual, a huge text takes what it takes
        limit = min(2 * limit, most) if limit < 4 * usual else most
        need.learn(limit)


def megabytes(limit: str) -> int:
    """``limit`` as a number. Raises ValueError where it is not in megabytes."""
    found = re.fullmatch(r"(\d+)MB", limit)
    if found is None:
        raise ValueError(f"{limit!r} is no number of megabytes")
    return int(found[1])
