"""The catalog on its way back into a store whose program has gone on with its own: whoever changed a row has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sessionlift.converters._backward import BackwardBatch
from sessionlift.converters.synth._catalog_back import PARENTS, has_parents, noted, values
from sessionlift.converters.synth._columns import V2_CATALOG_TABLES, V2_COLUMNS, V2_SESSION_TABLES, row_key
from sessionlift.converters.synth._scratch import Scratch
from sessionlift.stores import Store


def leave_what_is_the_old_programs(
    legacy: Store, batch: BackwardBatch, before: Mapping[str, Mapping[Any, str | None]], scratch: Scratch
) -> list[tuple[str, Any]]:
    """See ``converters.Backward.beside``. Rows are compared by what a move makes of them: what v2 has no place for is
    no change of either.

    Rows of no session came from the legacy store, which has its own of them: none is written.
    """
    rows = {table: list(legacy.read_table(table, V2_COLUMNS[table])) for table in V2_CATALOG_TABLES}
    again, _ = scratch.catalog(rows)
    there = noted(again)
    for table in V2_SESSION_TABLES:
        batch.rows.pop(table, None)
    as_it_was = not batch.made  # the application has changed nothing at all
    stays = {table: set(found) for table, found in there.items()}
    left = _not_deleted(batch, before, there, again)
    conflicts = [(table, key) for table, keys in left.items() for key in keys]
    batch.gone = {
        table: [key for key in keys if _plain(key) in there.get(table, ()) and _plain(key) not in left[table]]
        for table, keys in batch.gone.items()
    }
    for table in V2_CATALOG_TABLES:
        taken, owned = [], []
        was, have, made = before.get(table, {}), there.get(table, {}), batch.made.get(table, {})
        stays.setdefault(table, set()).difference_update(map(_plain, batch.gone.get(table, ())))
        for key, row in zip(batch.owned.get(table, ()), batch.rows.get(table, ()), strict=True):
            own, theirs = was.get(key) if as_it_was else made.get(key), have.get(key)
            if own == theirs:
                owned.append(key)
            elif key in was and own == was[key]:
                continue
            elif _unchanged(key, was, theirs) and has_parents(table, row, stays):
                owned.append(key)
                taken.append(row)
                stays[table].add(key)
            else:
                conflicts.append((table, key))
        batch.owned[table], batch.rows[table] = owned, taken
    return conflicts


def _unchanged(key: Any, was: Mapping[Any, str | None], theirs: str | None) -> bool:
    """Whether the legacy store has a row, or none, as it was; of some ledgers nobody knows how that was."""
    return theirs is None if key not in was else was[key] is not None and theirs == was[key]


def _not_deleted(
    batch: BackwardBatch,
    before: Mapping[str, Mapping[Any, str | None]],
    there: Mapping[str, Mapping[Any, str]],
    again: Mapping[str, list[dict[str, Any]]],
) -> dict[str, list[Any]]:
    """By table the keys of rows that the application has deleted, and that the old program has changed, or made rows
    for, since."""
    found: dict[str, list[Any]] = {table: [] for table in V2_CATALOG_TABLES}
    for table in reversed(V2_CATALOG_TABLES):
        was, have = before.get(table, {}), there.get(table, {})
        for key in map(_plain, batch.gone.get(table, ())):
            if key in have and (not _unchanged(key, was, have[key]) or _is_named(table, key, batch, found, again)):
                found[table].append(key)
    return found


def _is_named(
    table: str,
    key: Any,
    batch: BackwardBatch,
    left: Mapping[str, list[Any]],
    again: Mapping[str, list[dict[str, Any]]],
) -> bool:
    """Whether a row of the legacy store that stays there names this one."""
    for child, parents in PARENTS.items():
        going = set(map(_plain, batch.gone.get(child, ()))).difference(left[child])
        for column in (column for parent, column in parents if parent == table):
            for row in again.get(child, ()):
                if row[column] == key and row_key(child, values(child, row)) not in going:
                    return True
    return False


def _plain(key: tuple[Any, ...]) -> Any:
    """A key of the rows that are gone as that of the target's row."""
    return key[0] if len(key) == 1 else key
