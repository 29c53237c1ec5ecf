"""What no session owns, on the way back: it is carried, and stays in the target, where other sessions may need it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sessionlift.converters import CATALOG, Backward, BackwardBatch, Changes, Loss, Remembered, TargetRows
from sessionlift.ledger import Intents, Ledger, to_json
from sessionlift.reports import utc_now
from sessionlift.runs._catalog_merge import as_lists, base_in, bases_after, catalog_rows, home_of
from sessionlift.runs._places import place_of
from sessionlift.runs._rollback_carry import FirstWrite
from sessionlift.runs._ways_back import WayBack
from sessionlift.stores import Store


@dataclass
class CarriedCatalog:
    """``digest`` is that of the rows as they must lie in the legacy store now, None where none were looked at.

    ``known`` is the one that the ledger is to have. It is another where the old program has made rows of its own since
    the move: the target does not hold those, and the next move forward has to find them. ``owned`` are the target's
    rows that the legacy store has now, ``made`` what a move would make of them; ``whole`` says that
    it has all of them: a move may make them again. ``cells`` are the values that it has no place for.
    """

    digest: str | None = None
    known: str | None = None
    owned: dict[str, list[Any]] = field(default_factory=dict)
    made: Mapping[str, Mapping[Any, str]] = field(default_factory=dict)
    whole: bool = False
    cells: list[Any] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    losses: list[Loss] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    """by table how many of them the legacy store has, or gets"""
    conflicts: list[tuple[str, Any] | None] = field(default_factory=list)
    """table and key of rows that both stores have changed, each in its own way; None for the catalog as a whole"""


def carry_catalog(
    target: Store,
    way: WayBack,
    back: Backward,
    legacy: Store | None,
    *,
    run_id: str,
    name: str,
    write: bool,
    may_write: bool = True,
) -> CarriedCatalog:
    """Write the catalog's rows. Where the legacy store has changed its own since the move, what the application alone
    has changed; where nobody knows what the legacy store had, nothing.

    Raises FirstWrite where something is to be written and ``may_write`` is not set.
    """
    ledger, intents = Ledger(target), Intents(target)
    memory = ledger.remembered(CATALOG, [""]).get("")
    batch = back.catalog(target, memory)
    if not any(batch.rows.values()) and not any(batch.gone.values()):
        return CarriedCatalog()
    if legacy is None:
        added = {table: len(rows) for table, rows in batch.rows.items() if rows}
        since = _since_the_move(Changes(added=added), batch, memory)
        return CarriedCatalog(changes=since, losses=batch.losses, rows=added)
    there = way.rows.digests(legacy, CATALOG, [""])[""]
    elsewhere = memory is not None and not _is_of(ledger, memory, name)
    found = way.rows.compare(legacy, batch)
    changes = _changes_of(found, orphans=elsewhere)
    owned, lying = dict(batch.owned), Counter({table: len(own) for table, own in batch.rows.items()})
    lying.subtract(_added(found))
    made = batch.units[0].source_digest if batch.units else None
    known = {made, None if memory is None else memory.source_digest, *intents.all(name).get("", ())}
    base = None if memory is None else base_in(memory.complement, name)
    if base is not None:
        known.add(base["source_digest"])
    went_on = there not in known
    conflicts: list[tuple[str, Any] | None] = []
    if went_on and memory is not None and (base is not None or _is_of(ledger, memory, name)):
        conflicts += back.beside(legacy, batch, catalog_rows(base or memory.complement))
        found = way.rows.compare(legacy, batch)
        changes = _changes_of(found, orphans=elsewhere)
        if not changes and not any(batch.gone.values()):
            return CarriedCatalog(conflicts=conflicts, rows=_without(lying, conflicts, owned))
    elif went_on and (changes.changed or any(batch.gone.values())):
        return CarriedCatalog(conflicts=[None])
    if changes or any(batch.gone.values()):
        if write:
            if not may_write:
                raise FirstWrite
            if made is not None:
                with target.transaction():
                    intents.add(run_id, 0, name, {"": made}, at=utc_now())
            found = way.rows.write(legacy, batch)
            changes = _changes_of(found, orphans=elsewhere)
        lying.update(_added(found))
    digest = way.rows.digests(legacy, CATALOG, [""])[""] if write else None
    whole = bool(batch.units) and batch.units[0].found == "changed" and not batch.units[0].kept and not went_on
    noted = made if made is not None and went_on else digest
    cells = [cell for unit in batch.units for cell in unit.kept.get("cells", ())]
    since = _since_the_move(changes, batch, memory)
    rows = _without(lying, conflicts, owned)
    return CarriedCatalog(digest, noted, batch.owned, batch.made, whole, cells, since, batch.losses, rows, conflicts)


def _changes_of(found: Mapping[str, Changes], *, orphans: bool) -> Changes:
    """What changes in the catalog; with ``orphans`` also in rows of no existing session, which bear its id.

    The store that those came from has them still, or its program has done with them what it wanted. Another one needs
    them: the ledger would be the last to have them.
    """
    whole = Changes()
    for key, each in found.items():
        if key == "" or orphans:
            for kind, counts in each.by_kind().items():
                of: dict[str, int] = getattr(whole, kind)
                for table, count in counts.items():
                    of[table] = of.get(table, 0) + count
    return whole


def _added(found: Mapping[str, Changes]) -> Counter[str]:
    """Rows by table that the legacy store does not have, or gets; those of no existing session bear its id."""
    added: Counter[str] = Counter()
    for each in found.values():
        added.update(each.added)
    return added


def _without(
    rows: Mapping[str, int], conflicts: Sequence[tuple[str, Any] | None], owned: Mapping[str, Sequence[Any]]
) -> dict[str, int]:
    """``rows`` by table without those of the catalog that both sides have, each in its own way."""
    told = [conflict for conflict in conflicts if conflict is not None]
    left = Counter(table for table, key in told if key in owned.get(table, ()))
    return {table: count - left[table] for table, count in rows.items() if count > left[table]}


def _is_of(ledger: Ledger, memory: Remembered, name: str) -> bool:
    """Whether what the ledger remembers of the catalog is what the legacy store ``name`` had."""
    unit = ledger.units(CATALOG, [""])[""]
    return place_of(home_of(ledger, memory.complement, unit.run_id)) == place_of(name)


def _since_the_move(changes: Changes, batch: BackwardBatch, memory: Remembered | None) -> Changes:
    """Without the rows that a move made, where the legacy store had none of a table: it is another one."""
    owned = {} if memory is None else catalog_rows(memory.complement)
    added = dict(changes.added)
    for table, rows in batch.rows.items():
        if rows and added.get(table) == len(rows):
            made = owned.get(table, ())
            added[table] = min(len(rows), sum(1 for key in batch.owned.get(table, ()) if key not in made))
    return replace(changes, added={table: count for table, count in added.items() if count})


@dataclass(frozen=True)
class CatalogNote:
    """What the ledger is to say of a catalog that the legacy store holds: its digests there and in the target, and the
    complement."""

    source_digest: str
    target_digest: str
    complement: dict[str, Any]


def to_note(target: Store, rows: TargetRows, carried: CarriedCatalog, name: str) -> CatalogNote | None:
    """What to say in the ledger, now that the legacy store ``name`` holds the catalog; None where it says so already.

    What the application has added belongs to both from now on; what it has deleted, to none. Where the legacy store
    could not hold all of it, the ledger's digest of the target's rows stays what it was: the next move sees that they
    are not what it would make, and leaves them alone. What they are, which values are theirs alone, and what both
    digests were when they were moved, the complement says, for those who verify.
    """
    ledger = Ledger(target)
    before = ledger.remembered(CATALOG, [""]).get("")
    unit = ledger.units(CATALOG, [""]).get("")
    source_digest = carried.known or ""
    if before is None:
        nothing = rows.digests(target, CATALOG, [""], {})[""]
        before = Remembered(CATALOG, "", "", "", nothing, complement={"owned": {"systems": []}})
    known = before.complement
    if not carried.owned:
        note = CatalogNote(source_digest, before.target_digest, known)
    else:
        there = rows.catalog_rows(target)
        left = {table: [key for each, key in filter(None, carried.conflicts) if each == table] for table in there}
        moved = {
            table: {key: own for key, own in rows_of.items() if key in there.get(table, ()) or key in left[table]}
            for table, rows_of in catalog_rows(known).items()
        }
        for table, keys in carried.owned.items():
            own, made = moved.setdefault(table, {}), carried.made.get(table, {})
            own.update({key: made.get(key, own.get(key)) for key in keys})
        lists = as_lists(moved)
        digest = rows.digests(target, CATALOG, [""], lists["owned"])[""]
        alone = {} if carried.whole else {"carried": {"digest": digest, "cells": carried.cells}}
        # what was left alone when it was moved has come to the legacy store now
        rest = {name: value for name, value in known.items() if name not in ("carried", "left", "offered")}
        if any(left.values()):
            rest["left"] = {
                table: [[key, there[table].get(key)] for key in keys] for table, keys in left.items() if keys
            }
        if before.source_digest and (source_digest, digest) != (before.source_digest, before.target_digest):
            # what the run that moved it has told in its report
            rest.setdefault("moved", [before.source_digest, before.target_digest])
        home = home_of(ledger, known, "" if unit is None else unit.run_id)
        bases = bases_after(known, before.source_digest, home, name)
        rest = {key: value for key, value in rest.items() if key != "bases"}
        if bases:
            rest.update(bases=bases)
        if not home or place_of(home) != place_of(name):
            rest["home"] = name
        note = CatalogNote(source_digest, digest if carried.whole else before.target_digest, {**rest, **lists, **alone})
    same = (note.source_digest, note.target_digest) == (before.source_digest, before.target_digest)
    return None if same and json.loads(to_json(note.complement)) == before.complement else note


def note_catalog(target: Store, note: CatalogNote, *, run_id: str) -> None:
    """Say in the ledger that the legacy store holds the catalog. One transaction."""
    with target.transaction():
        ledger = Ledger(target)
        ledger.carried(
            CATALOG,
            "",
            run_id=run_id,
            at=utc_now(),
            source_digest=note.source_digest,
            target_digest=note.target_digest,
            complement=note.complement,
        )
        ledger.has_become(CATALOG, "", note.target_digest)
        ledger.complete(CATALOG, "", note.complement)
