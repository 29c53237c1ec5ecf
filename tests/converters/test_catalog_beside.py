"""The law of the catalog's way back beside an old program that goes on: whoever changed a row has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.laws import tries

from sessionlift.converters import BackwardBatch
from sessionlift.converters.synth._catalog_back import noted
from sessionlift.converters.synth._catalog_beside import leave_what_is_the_old_programs
from sessionlift.converters.synth._columns import V2_CATALOG_TABLES
from sessionlift.converters.synth._scratch import Scratch
from sessionlift.stores import Store

KEYS = st.sampled_from(["a", "b", "c", "d"])
EXPERIMENTS = st.dictionaries(KEYS, st.sampled_from(["1", "2", "3"]))
SYSTEMS = st.sets(st.sampled_from(["x", "y"]))
VERSIONS = st.dictionaries(st.sampled_from(["v", "w"]), st.sampled_from(["x", "y"]))
_DAY = "2026-01-01 00:00:00"

Rows = dict[str, list[tuple[Any, ...]]]


class Legacy:
    """A legacy store, as far as the catalog is read from it."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def read_table(self, table: str, columns: Sequence[str]) -> list[tuple[Any, ...]]:  # noqa: ARG002
        return self._rows.get(table, [])


@pytest.fixture(scope="module")
def scratch() -> Iterator[Scratch]:
    with Scratch() as made:
        yield made


def experiments(found: dict[str, str]) -> Rows:
    return {"experiments": [(key, "name", about, _DAY, _DAY) for key, about in found.items()]}


def systems(found: set[str], versions: dict[str, str]) -> Rows:
    return {
        "systems": [(key, key, None) for key in sorted(found)],
        "system_versions": [(key, of, None, None, _DAY, None) for key, of in versions.items() if of in found],
    }


def taken(scratch: Scratch, before: Rows, old: Rows, new: Rows) -> tuple[Rows, set[tuple[str, Any]]]:
    """What is there after a way back, and what was told."""
    was, made = noted(scratch.catalog(before)[0]), noted(scratch.catalog(new)[0])
    keys = {table: [row[0] for row in rows] for table, rows in new.items()}
    gone = {table: [(row[0],) for row in rows if row[0] not in keys.get(table, [])] for table, rows in before.items()}
    batch = BackwardBatch(rows={table: list(rows) for table, rows in new.items()}, made=made, gone=gone, owned=keys)
    for table in V2_CATALOG_TABLES:
        batch.rows.setdefault(table, [])
        batch.owned.setdefault(table, [])
    told = leave_what_is_the_old_programs(cast("Store", Legacy(old)), batch, was, scratch)
    end = {}
    for table in V2_CATALOG_TABLES:
        left = {row[0]: row for row in old.get(table, []) if (row[0],) not in batch.gone.get(table, [])}
        left.update({row[0]: row for row in batch.rows[table]})
        end[table] = sorted(left.values())
    return end, set(told)


@pytest.mark.slow
@tries(80)
@given(before=EXPERIMENTS, old=EXPERIMENTS, new=EXPERIMENTS)
def test_each_row_ends_as_the_one_who_changed_it_has_it(
    scratch: Scratch, before: dict[str, str], old: dict[str, str], new: dict[str, str]
) -> None:
    rows, told = taken(scratch, experiments(before), experiments(old), experiments(new))

    end = {row[0]: row[2] for row in rows["experiments"]}
    both = {key for key in {*before, *old, *new} if len({before.get(key), old.get(key), new.get(key)}) == 3} | {
        key for key in old.keys() & new.keys() - before.keys() if old[key] != new[key]
    }
    assert told == {("experiments", key) for key in both}
    for key in {*before, *old, *new}:
        was, theirs, ours = before.get(key), old.get(key), new.get(key)
        assert end.get(key) == (theirs if key in both or ours == was else ours), key


@pytest.mark.slow
@tries(80)
@given(before=SYSTEMS, old=SYSTEMS, new=SYSTEMS, versions=st.tuples(VERSIONS, VERSIONS, VERSIONS))
def test_nothing_is_left_without_its_parent(
    scratch: Scratch,
    before: set[str],
    old: set[str],
    new: set[str],
    versions: tuple[dict[str, str], dict[str, str], dict[str, str]],
) -> None:
    sides = [systems(own, of) for own, of in zip((before, old, new), versions, strict=True)]
    rows, told = taken(scratch, *sides)

    there = {row[0] for row in rows["systems"]}
    assert {row[1] for row in rows["system_versions"]} <= there
    for table in ("systems", "system_versions"):
        for row in sides[2][table]:
            changed = row not in sides[0][table]
            assert not changed or row in rows[table] or (table, row[0]) in told, "what the application changed is told"
        for row in sides[1][table]:
            changed = row not in sides[0][table]
            assert not changed or row in rows[table], "what the old program changed is never touched"
