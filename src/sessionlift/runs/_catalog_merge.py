"""The catalog when both stores have changed theirs since the move: row by row, whoever changed one has it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sessionlift.converters import CATALOG, TargetRows
from sessionlift.ledger import Ledger
from sessionlift.runs._places import place_of
from sessionlift.stores import Store

Rows = dict[str, dict[Any, str | None]]
"""By catalog table and key the digest of a row; None where it is known to be ours, or gone, but not what it was."""


@dataclass
class Merge:
    """``leave`` names the rows of the source that are not written: the target has them otherwise, and either only the
    target has changed them since the move, or both sides have (``conflicts``). ``theirs`` is by table and key what
    the target has in the place of those, None where it has deleted the row. ``replaced`` are the rows that make room.
    ``moved`` is what a move has made, or makes now, of each row of the source.
    """

    leave: dict[str, list[Any]] = field(default_factory=dict)
    conflicts: list[tuple[str, Any]] = field(default_factory=list)
    theirs: Rows = field(default_factory=dict)
    replaced: dict[str, list[Any]] = field(default_factory=dict)
    moved: Rows = field(default_factory=dict)


def merge(before: Rows, made: Rows, now: Mapping[str, Mapping[Any, str]]) -> Merge:
    """What of the rows that a move makes now is to be written: ``made``, where it made those ``before``.

    ``now`` is what lies in the target. A row that the target got otherwise than by a move is not left alone: the
    target refuses it where both cannot be.
    """
    found = Merge()
    for table, rows in made.items():
        was, there = before.get(table, {}), now.get(table, {})
        for key, new in rows.items():
            own, theirs = was.get(key), there.get(key)
            found.moved.setdefault(table, {})[key] = new
            if theirs == new or (own is not None and theirs == own):
                found.replaced.setdefault(table, []).append(key)
            elif key in was:
                found.leave.setdefault(table, []).append(key)
                found.theirs.setdefault(table, {})[key] = theirs
                if new != own:
                    found.conflicts.append((table, key))
                    found.moved[table][key] = own
    return found


def settle(store: Store, rows: TargetRows, found: Merge, before: str, offered: str) -> None:
    """Say in the ledger, behind a batch that was just written, what of the catalog was left alone.

    ``before`` is the digest of the source that the ledger had, ``offered`` the one that it has now.

    Where both sides have changed a row, the ledger gets a digest that no source has: so every run looks at it again,
    and a rollback does not take the target's over the source's, whatever that comes to be. Belongs into the batch's
    transaction.
    """
    ledger = Ledger(store)
    complement = ledger.complements(CATALOG, [""])[""]
    complement.update(as_lists(found.moved))
    complement["left"] = {
        table: [[key, digest] for key, digest in left.items()] for table, left in found.theirs.items() if left
    }
    digest = rows.digests(store, CATALOG, [""], complement["owned"])[""]
    complement["carried"] = {"digest": digest, "cells": []}
    if found.conflicts:
        complement["offered"] = [offered, [[table, key] for table, key in found.conflicts]]
        ledger.carried_from(CATALOG, "", hashlib.sha256(f"{before}\n{offered}".encode()).hexdigest())
    ledger.complete(CATALOG, "", complement)


def base_in(complement: Mapping[str, Any], store: str) -> dict[str, Any] | None:
    """What a complement says of the catalog as another legacy store had it, which was moved, or carried, before the one
    that the ledger's unit is about. None where it says nothing of ``store``."""
    found: dict[str, Any] | None = complement.get("bases", {}).get(place_of(store))
    return found


def home_of(ledger: Ledger, complement: Mapping[str, Any], run_id: str) -> str:
    """The legacy store that the ledger's unit of the catalog is about: the last it was moved from, or carried to."""
    told = complement.get("home")
    return str(told) if told else next((run.source for run in ledger.runs() if run.run_id == run_id), "")


def bases_after(complement: Mapping[str, Any], source_digest: str, home: str, store: str) -> dict[str, Any]:
    """What to say of the other stores, once the unit is about ``store``; it was about ``home``.

    Each store's rows are compared with what that very store had: one from which an older catalog comes again has
    changed nothing, whatever another one has brought since.
    """
    bases = dict(complement.get("bases", {}))
    if home and place_of(home) != place_of(store):
        rows = {name: complement.get(name, {}) for name in ("owned", "rows")}
        bases[place_of(home)] = {"source_digest": source_digest, **rows}
    bases.pop(place_of(store), None)
    return bases


def told_before(complement: Mapping[str, Any], found: Merge, offered: str) -> bool:
    """Whether a run has written all that there is to write of this very catalog, but for the same conflicts."""
    told, conflicts = complement.get("offered", ("", []))
    return bool(
        told == offered and found.conflicts and [(table, as_key(key)) for table, key in conflicts] == found.conflicts
    )


def catalog_rows(complement: Mapping[str, Any]) -> Rows:
    """By table and key the digests of the rows that a complement owns; None where it has none of a row."""
    digests = complement.get("rows", {})
    found: Rows = {}
    for table, keys in complement.get("owned", {}).items():
        own = digests.get(table, ())
        found[table] = dict.fromkeys(map(as_key, keys))
        if len(own) == len(keys):
            found[table] = dict(zip(map(as_key, keys), own, strict=True))
    return found


def as_lists(rows: Rows) -> dict[str, Any]:
    """The same, as a complement has it."""
    return {
        "owned": {table: list(own) for table, own in rows.items()},
        "rows": {table: list(own.values()) for table, own in rows.items()},
    }


def as_key(key: Any) -> Any:
    """A key as rows are looked up by; JSON makes a list of one with several columns."""
    return tuple(key) if isinstance(key, list) else key


def left_out(leave: Mapping[str, Collection[Any]]) -> dict[str, set[Any]]:
    """By table the keys of the rows that a batch is made without, as rows are looked up by."""
    return {table: {as_key(key) for key in keys} for table, keys in leave.items() if keys}


def row_name(key: Any) -> str:
    """A key as people read it."""
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)
