"""The dresses of a langswarm.v1 store on SQLite, told by its rows where its names are too weak."""

from __future__ import annotations

from collections.abc import Mapping

from sessionlift.errors import UnknownGenerationError
from sessionlift.generations._query import Query
from sessionlift.generations._signatures import Shape
from sessionlift.stores import Role

NO_TARGET = (
    "V1 and V2 of LangSwarm share their default file name and the table sessions, so the target has to be another "
    "file: name a new one, it will be created, and give it to V2 as its db_path"
)
_GUESTS = ("session_messages", "session_metrics")


def dress(query: Query, rows: Mapping[str, int], shape: Shape, *, store: str, role: Role) -> tuple[str, list[str]]:
    """``sqlite`` or ``enhanced``, and what says so. Reads the rows of ``memory`` where that is all there is.

    Raises UnknownGenerationError for a table ``memory`` that is empty, or whose rows LangSwarm did not write.
    """
    if "sessions" in rows:
        guests = [table for table in _GUESTS if table in shape]
        if not guests:
            return "sqlite", []
        return "sqlite", [
            f"{' and '.join(guests)} beside them, empty: langswarm.v2 opened this file, and could store nothing in it"
        ]
    sessions, index = query(
        "SELECT count(*) FILTER (WHERE key GLOB 'session:*' AND instr(metadata, 'session_data')), "
        "count(*) FILTER (WHERE (key GLOB 'conversation:*' OR key GLOB 'message:*') AND instr(metadata, 'session_id')) "
        "FROM memory WHERE typeof(key) = 'text'"
    )[0]
    if not sessions and not index:
        raise _undecided(rows["memory"], store, role)
    total = rows["memory"]
    said = f"{sessions:,} of {total:,} rows of memory are sessions"
    if sessions < total:
        said += "; the others are its index for searching, or of other use"
    return "enhanced", [said]


def _undecided(total: int, store: str, role: Role) -> UnknownGenerationError:
    if total:
        what = f"{store} has a table memory whose {total:,} rows are not sessions of LangSwarm"
        hint = "name the store that LangSwarm wrote: its keys begin with session: and conversation:"
    else:
        what = f"{store} has one empty table memory: an enhanced store of LangSwarm without sessions, or anything else"
        hint = "there is nothing in it to move; check that it is the right file"
    return UnknownGenerationError(what, hint=hint, store=store, role=role, found=["memory (key, metadata, value)"])
