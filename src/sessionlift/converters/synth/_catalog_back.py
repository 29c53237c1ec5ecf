"""The catalog on the way back: systems, versions, experiments and links, and the rows of no session."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any
from zoneinfo import ZoneInfo

from sessionlift.converters._backward import BackUnit, BackwardBatch, Remembered
from sessionlift.converters._batch import CATALOG
from sessionlift.converters._digest import TargetDigests, row_digest
from sessionlift.converters._jsontext import object_items
from sessionlift.converters.synth._clock import Clock
from sessionlift.converters.synth._columns import (
    V2_CATALOG_TABLES,
    V2_COLUMNS,
    V2_SESSION_TABLES,
    V3_CATALOG_TABLES,
    V3_COLUMNS,
    V3_KEYS,
    row_key,
)
from sessionlift.converters.synth._rebuild import text
from sessionlift.converters.synth._scratch import Scratch
from sessionlift.converters.synth._weigh import as_losses, weigh
from sessionlift.stores import Store

_Rows = dict[str, list[dict[str, Any]]]
PARENTS = {
    "system_versions": (("systems", "system_id"),),
    "experimental_systems": (
        ("systems", "system_id"),
        ("system_versions", "version_id"),
        ("experiments", "experiment_id"),
    ),
}
"""By table what v2 demands of a row: the table and the column that names a row of it."""
_PLACES = {
    "system_versions": (("systems", 1),),
    "experimental_systems": (("experiments", 0), ("systems", 1), ("system_versions", 2)),
}
"""The same of v2's rows: the table, and the place of the name."""
_NO_TIME = "1970-01-01 00:00:00"
"""v2 demands a time where v3 does not."""


def catalog_back(store: Store, memory: Remembered | None, scratch: Scratch) -> BackwardBatch:
    """The catalog's rows as v2 has them; what v2 cannot hold is kept, and told as losses."""
    now = _read(store)
    complement = memory.complement if memory is not None else {}
    owned: Mapping[str, list[Any]] = complement.get("owned", {})
    batch = BackwardBatch(columns={table: V2_COLUMNS[table] for table in (*V2_CATALOG_TABLES, *V2_SESSION_TABLES)})
    batch.sequences = complement.get("sequences", {})
    rows = _with_parents(_rebuilt(now, complement.get("cells", {})))
    batch.owned = {table: [row_key(table, row) for row in own] for table, own in rows.items()}
    batch.gone = _gone(now, owned)
    unit = BackUnit(CATALOG, "", "new" if memory is None else "changed")
    orphans = _orphans(memory)
    if memory is not None and not any(batch.gone.values()) and _as_moved(now, owned, memory.target_digest):
        unit.found, unit.source_digest = "unchanged", memory.source_digest
    else:
        again, unit.source_digest = scratch.catalog({**rows, **orphans})
        theirs = {table: {_key(table, row): row for row in made} for table, made in again.items()}
        batch.made = noted(again)
        weighed = weigh(
            {table: {_key(table, r): _known(table, r) for r in own} for table, own in now.items()}, theirs, {}
        )
        unit.kept = weighed.kept
        batch.losses = as_losses([weighed])
    batch.units = [unit]
    batch.rows = {**rows, **orphans}
    return batch


def noted(rows: _Rows) -> dict[str, dict[Any, str]]:
    """By table and key what is noted of v3's rows of the catalog."""
    return {
        table: {row_key(table, row): row_digest([row]) for row in (values(table, each) for each in own)}
        for table, own in rows.items()
        if table in V3_CATALOG_TABLES
    }


def _key(table: str, row: Mapping[str, Any]) -> Any:
    # the id of a link is the target's own
    return f"{row['experiment_id']}\x1f{row['system_id']}" if table == "experimental_systems" else row[V3_KEYS[table]]


def values(table: str, row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[column] for column in V3_COLUMNS[table])


def _known(table: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {column: row[column] for column in V3_COLUMNS[table]}


def _read(store: Store) -> _Rows:
    """v3's rows by table, in the order they were inserted."""
    return {
        table: [
            dict(zip(V3_COLUMNS[table], row, strict=True))
            for row in store.read_table(table, V3_COLUMNS[table], order_by=("rowid",))
        ]
        for table in V3_CATALOG_TABLES
    }


def _as_moved(now: _Rows, owned: Mapping[str, list[Any]], digest: str) -> bool:
    """Whether the rows are those that the move made, each as it made it."""
    digests = TargetDigests([""])
    for table in V3_CATALOG_TABLES:
        if len(now[table]) != len(owned.get(table, [])):
            return False
        digests.table(table)
        digests.rows([("", *row.values()) for row in now[table]], 0)
    return digests.hexdigests()[""] == digest


def _gone(now: _Rows, owned: Mapping[str, list[Any]]) -> dict[str, list[tuple[Any, ...]]]:
    """By table the keys of rows that were moved and that v2 is to have no longer, since v3 has deleted them, or, where
    it left them without, what they belong to."""
    there = {table: {row_key(table, values(table, row)): row for row in own} for table, own in now.items()}
    found: dict[str, list[tuple[Any, ...]]] = {}

    def without(table: str, row: Mapping[str, Any]) -> bool:
        return any((row[column],) in found.get(parents, ()) for parents, column in PARENTS.get(table, ()))

    for table in V3_CATALOG_TABLES:
        for each in owned.get(table, ()):
            key = tuple(each) if isinstance(each, list) else each
            row = there[table].get(key)
            if row is None or without(table, row):
                found.setdefault(table, []).append(key if isinstance(key, tuple) else (key,))
    return found


def _rebuilt(now: _Rows, cells: Mapping[str, Any]) -> dict[str, list[tuple[Any, ...]]]:
    clock = Clock(ZoneInfo("UTC"))

    def moment(table: str, key: Any, column: str, value: Any) -> str:
        found = clock.of_text(value)
        if found is None:
            # an original counts only while v3 still holds nothing in its place
            kept = cells.get(table, {}).get(column, {}).get(key) if value is None else None
            found = kept if kept is not None else _NO_TIME
        return str(found)

    versions = []
    for row in now["system_versions"]:
        key, notes = row["version_id"], _notes(row["metadata"])
        created = moment("system_versions", key, "created_at", row["created_at"])
        branch, about = notes.get("branch"), notes.get("description")
        versions.append((key, text(row["system_id"]), branch, text(row["commit_hash"]), created, about))
    return {
        "systems": [(row["system_id"], text(row["name"]), text(row["description"])) for row in now["systems"]],
        "system_versions": versions,
        "experiments": [
            (
                row["experiment_id"],
                text(row["name"]),
                text(row["description"]),
                moment("experiments", row["experiment_id"], "created_at", row["created_at"]),
                moment("experiments", row["experiment_id"], "updated_at", row["updated_at"]),
            )
            for row in now["experiments"]
        ],
        "experimental_systems": [
            (row["experiment_id"], row["system_id"], row["version_id"]) for row in now["experimental_systems"]
        ],
    }


def _notes(metadata: Any) -> dict[str, str]:
    """Branch and description, where v3's metadata has them as texts."""
    try:
        return {key: value for key, _, value in object_items(metadata or "{}") if isinstance(value, str)}
    except (ValueError, RecursionError, TypeError):
        return {}


def _with_parents(rows: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """Without the rows that v2's foreign keys refuse, since v3's are not enforced: those are kept instead.

    Two links of one experiment and system are one row in v2: the first stays.
    """
    for table in ("systems", "system_versions", "experiments"):
        rows[table] = [row for row in rows[table] if row[0] is not None]
    there: dict[str, set[Any]] = {}
    for table in V2_CATALOG_TABLES:
        rows[table] = [row for row in rows[table] if has_parents(table, row, there)]
        there[table] = {row[0] for row in rows[table]}
    links: dict[tuple[Any, Any], tuple[Any, ...]] = {}
    for row in rows["experimental_systems"]:
        links.setdefault((row[0], row[1]), row)
    rows["experimental_systems"] = list(links.values())
    return rows


def has_parents(table: str, row: tuple[Any, ...], there: Mapping[str, Set[Any]]) -> bool:
    """Whether what a row of v2 names is among the ids ``there`` by table: v2 demands it, or its program does."""
    return all(row[place] in there.get(parents, ()) for parents, place in _PLACES.get(table, ()))


def _orphans(memory: Remembered | None) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of no session, from quarantine."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for table, row in memory.quarantine if memory is not None else ():
        cells = [row.get(column) for column in V2_COLUMNS[table]]
        cells[0] = int(str(cells[0]))
        found.setdefault(table, []).append(tuple(cells))
    return found
