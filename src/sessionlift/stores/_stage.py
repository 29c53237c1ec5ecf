"""A stage's file opened, and the SELECT of its rows that leaves excluded sessions out, the same for every engine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import apsw

from sessionlift.stores._files import file_uri
from sessionlift.stores._value import Value, column_list, quote_identifier

_READ = apsw.SQLITE_OPEN_READONLY
_MAKE = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE


def open_stage(path: Path, *, make: bool = False) -> apsw.Connection:
    """Open the stage at ``path``, to be read or to be made; for one thread at a time.

    ``apsw`` binds a row in less than half the time that the standard library's driver takes, with no look for an
    adapter of each None and no lock around each value. Raises apsw.Error.
    """
    flags = (_MAKE if make else _READ) | apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_NOMUTEX
    # as a URI, in which any name of a file can be spelled
    return apsw.Connection(file_uri(path), flags=flags)


def listed(ids: Sequence[str]) -> tuple[str, tuple[Value, ...]]:
    """A subquery that gives ``ids`` as rows, and its parameters: few parameters, however many ids."""
    # some SQLite releases cut JSON text at a NUL, so an id with one is bound by itself
    plain = [each for each in ids if "\0" not in each]
    odd = [each for each in ids if "\0" in each]
    return "SELECT value FROM json_each(?)" + " UNION ALL SELECT ?" * len(odd), (json.dumps(plain), *odd)


def stage_select(
    source: str, columns: Sequence[str], *, exclude: Sequence[str], session_column: str
) -> tuple[str, tuple[Value, ...]]:
    """``SELECT`` of the staged rows in the order they were staged, and its parameters.

    ``source`` is the stage's table, quoted.
    """
    sql = f"SELECT {column_list(columns)} FROM {source}"
    params: tuple[Value, ...] = ()
    if exclude:
        session = quote_identifier(session_column)
        ids, params = listed(exclude)
        # NOT IN is not true for NULL, and a row without a session is nobody's to leave out
        sql += f" WHERE ({session} IS NULL OR {session} NOT IN ({ids}))"
    return sql + " ORDER BY rowid", params
