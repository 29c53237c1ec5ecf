"""The units of a v2 store: numbered, counted and cut into batches, wherever the engine may put them aside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.langswarm_rows import Keep
from tests.support.made import make_synth_v2
from tests.support.synth_stores import LegacyStore

from sessionlift.converters.synth import SynthForward, SynthOptions
from sessionlift.converters.synth._inventory import Group
from sessionlift.errors import EXIT_TARGET, StoreError
from sessionlift.stores import DuckdbStore, parse_store_url


@pytest.fixture(params=["plain", "odd [a]*?=b'q\"", "zone=1", "back\\slash", "[a]\\b"])
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A directory of any name for the engine's temporary files."""
    path = tmp_path / str(request.param)
    path.mkdir()
    return path


@pytest.fixture
def converter(tmp_path: Path, place: Path) -> Iterator[SynthForward]:
    path = tmp_path / "old.duckdb"
    make_synth_v2(path, sessions=40)
    with DuckdbStore(parse_store_url(str(path)), mode="ro") as store:
        store.execute("SET temp_directory = ?", [str(place)])
        yield SynthForward(store, SynthOptions())


def test_batches_hold_every_session_once_and_all_its_rows(converter: SynthForward) -> None:
    inventory = converter.inventory()
    assert (inventory.sessions, len(set(converter.session_ids()))) == (40, 40)
    groups = list(converter.groups(max_rows=200))
    assert [place for group in groups for place in range(group.first, group.last + 1)] == list(range(1, 41))
    assert sum(group.rows for group in groups) == sum(inventory.rows.values())


def test_what_is_left_out_is_neither_counted_nor_given_a_batch(converter: SynthForward) -> None:
    converter.inventory()
    ids = list(converter.session_ids())
    assert converter.leave_out(ids[:3]).sessions == 37
    assert converter.leave_out([ids[5], "nobody"]).sessions == 36
    assert list(converter.session_ids()) == [*ids[3:5], *ids[6:]]
    assert sum(group.last - group.first + 1 for group in converter.groups(max_rows=1)) == 36


def test_a_temporary_file_that_somebody_removed_is_not_told_as_damage_of_the_store(tmp_path: Path) -> None:
    path = tmp_path / "old.duckdb"
    make_synth_v2(path, sessions=4)
    with DuckdbStore(parse_store_url(str(path)), mode="ro") as store:
        converter = SynthForward(store, SynthOptions())
        converter.inventory()
        (place,) = store.query("SELECT current_setting('temp_directory')")[0]
        for each in Path(str(place)).glob("sl_units-*"):
            each.unlink()
        with (
            pytest.raises(StoreError, match="a temporary file of the engine is") as told,
            store.mapped(),
        ):
            list(converter.groups())
    assert "TMPDIR" in told.value.hint
    assert told.value.exit_code == EXIT_TARGET


def test_an_inventory_that_is_taken_again_counts_all_anew(converter: SynthForward, place: Path) -> None:
    whole = converter.inventory()
    ids = list(converter.session_ids())
    converter.leave_out(ids[1:])
    assert [group.rows for group in converter.pick([ids[7]])] != []
    assert list(converter.session_ids()) == [ids[7]]
    assert converter.inventory() == whole
    assert list(converter.session_ids()) == ids
    assert len(list(place.iterdir())) <= 1, "one file is enough"


def test_a_batch_that_is_made_again_gives_its_examples_again(legacy: LegacyStore) -> None:
    for number, key in enumerate("abcd", 1):
        legacy.session(key, events=[{"id": number, "event_type": "lmcais"}])
    converter = SynthForward(legacy.store, SynthOptions())
    converter.inventory()
    (whole,), (a, b, c, d) = converter.groups(), converter.groups(max_rows=1)

    def examples(*groups: Group) -> list[Any]:
        losses = [loss for group in groups for loss in converter.convert(group, Keep()).losses]
        return [loss.example and loss.example["row"] for loss in losses if loss.code == "event_type_mapped"]

    # only the first few batches look for one, however often each of them is made
    assert examples(a, a, a, b, c, d) == ["1", "1", "1", "2", "3", None]
    converter = SynthForward(legacy.store, SynthOptions())
    assert examples(whole, whole, whole, whole) == ["1"] * 4
    assert examples(*converter.singles(whole)) == ["1", "2", "3", "4"]
