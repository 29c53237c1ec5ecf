"""The part of a stage's SELECT that leaves excluded sessions out, the same for every engine."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sessionlift.stores._value import Value, column_list, quote_identifier


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
        # some SQLite releases cut JSON text at a NUL, so an id with one is bound by itself
        plain = [session_id for session_id in exclude if "\0" not in session_id]
        odd = [session_id for session_id in exclude if "\0" in session_id]
        listed = "SELECT value FROM json_each(?)" + " UNION ALL SELECT ?" * len(odd)
        # NOT IN is not true for NULL, and a row without a session is nobody's to leave out
        sql += f" WHERE ({session} IS NULL OR {session} NOT IN ({listed}))"
        params = (json.dumps(plain), *odd)
    return sql + " ORDER BY rowid", params
