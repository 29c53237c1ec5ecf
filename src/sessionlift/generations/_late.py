"""Indexes that a long first move leaves out until its rows are there.

Sessions move in the order in which they were written, and their ids are in no order: with each session an index over
ids is met at another place, and in a large store that is a page read, logged and written again for each of them. Made
from all rows at once, such an index takes a small part of that time.

What is left out is noted in the options of its run in the ledger, in the transaction that takes it away, and each name
goes in the one that makes its index again. So a run that was killed in between leaves a target of which it is known
what it lacks, and whoever makes it ready next makes that first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from sessionlift.errors import GenerationError
from sessionlift.stores import Store, quote_identifier

_NOTE = "$.late_indexes"
_PAUSE = 0.2
_NOTED = (
    "FROM sessionlift_runs AS r, json_each(CASE WHEN json_valid(r.options) THEN r.options ELSE '{}' END, "
    f"'{_NOTE}') AS late"
)


def leave_out_indexes(store: Store, run_id: str, names: Sequence[str]) -> None:
    """Take the indexes ``names`` away until :func:`make_late_indexes`, on behalf of a run that the ledger knows.

    Nothing is done where another run has begun in this target: it may use them. One transaction.
    """
    with store.transaction():
        if store.query("SELECT count(*) FROM sessionlift_runs") != [(1,)]:
            return
        ((generation,),) = store.query("SELECT target_generation FROM sessionlift_runs")
        there = set(store.query("SELECT name, sql FROM sqlite_master WHERE type = 'index'"))
        # one that somebody has made in other words stays as it is
        left_out = [name for name in names if (name, _index(store, name, str(generation))[1]) in there]
        for name in left_out:
            store.execute(f"DROP INDEX {quote_identifier(name)}")
        marks = ", ".join("?" * len(left_out))
        store.execute(
            f"UPDATE sessionlift_runs SET options = json_set(options, '{_NOTE}', json_array({marks})) WHERE run_id = ?",
            (*left_out, run_id),
        )


def late_indexes(store: Store) -> list[str]:
    """The indexes that were left out and are still to be made, sorted. Reads only."""
    return sorted(_noted(store))


def make_late_indexes(store: Store, *, told: Callable[[Sequence[str]], None] | None = None) -> None:
    """Make what was left out. Each index is a transaction of its own, so that others who write to the store wait for
    one at a time. ``told`` is called first with the names, if there are any.

    Raises GenerationError for a note that names no index of the generation, and the store's errors.
    """
    noted = _noted(store)
    if not noted:
        return
    indexes = {name: _index(store, name, generation) for name, generation in noted.items()}
    if told is not None:
        told(sorted(indexes))
    store.expect_indexes(max(_rows(store, table) for table, _ in indexes.values()))
    for name, (table, statement) in indexes.items():
        begun = time.monotonic()
        with store.transaction():
            # another process may have made it since
            if name in _noted(store):
                _make(store, name, table, statement)
        # who waits for the lock looks for it from time to time only
        time.sleep(min(_PAUSE, (time.monotonic() - begun) / 10))


def _rows(store: Store, table: str) -> int:
    """About how many rows the table has, at most. Counting them would read it."""
    there = store.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))
    last = store.query(f"SELECT max(rowid) FROM {quote_identifier(table)}") if there else []
    return int(str(last[0][0] or 0)) if last else 0


def _make(store: Store, name: str, table: str, statement: str) -> None:
    there = {str(each) for (each,) in store.query("SELECT name FROM sqlite_master WHERE type IN ('index', 'table')")}
    # a table that was taken away since comes back with its indexes
    if name not in there and table in there:
        store.execute(statement)
    store.execute(
        "UPDATE sessionlift_runs AS r SET options = json_set(options, "
        f"'{_NOTE}', (SELECT json_group_array(e.value) FROM json_each(r.options, '{_NOTE}') AS e WHERE e.value <> ?)) "
        f"WHERE run_id IN (SELECT r.run_id {_NOTED})",
        (name,),
    )
    store.execute(
        f"UPDATE sessionlift_runs SET options = json_remove(options, '{_NOTE}') "
        f"WHERE json_valid(options) AND json_array_length(options, '{_NOTE}') = 0"
    )


def _noted(store: Store) -> dict[str, str]:
    """The names, and the generation whose indexes they are."""
    if store.engine not in ("libsql", "sqlite"):
        return {}
    # none where there is no ledger; what is wrong with one of another form, others say
    columns = {name for (name,) in store.query("SELECT name FROM pragma_table_info('sessionlift_runs')")}
    if not columns >= {"run_id", "options", "target_generation"}:
        return {}
    found = store.query(f"SELECT late.value, r.target_generation {_NOTED}")
    return {str(name): str(generation) for name, generation in found}


def _index(store: Store, name: str, generation: str) -> tuple[str, str]:
    """The table of an index and what makes it, by the generation's own revision: nothing that stands in a store is
    ever run."""
    # which asks this module what a store lacks
    from sessionlift.generations._schema import revision_module, schema_history

    revision = generation.replace(".", "_")
    known = revision in {info.revision for info in schema_history()}
    indexes: Mapping[str, tuple[str, str]] = getattr(revision_module(revision), "INDEXES", {}) if known else {}
    if name not in indexes:
        raise GenerationError(
            f"the ledger of {store.url.redacted} says that the index {name!r} of {generation} was left out, and there "
            "is none of that name",
            hint="somebody has changed the ledger: `sessionlift schema verify` says what else is not as it should be",
            store=store.url.redacted,
        )
    return indexes[name]
