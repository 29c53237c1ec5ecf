"""The digest by which a plan sees that a session has changed is the one that a move notes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.made import make_synth_v2
from tests.support.moved import change_source

from sessionlift.converters.synth import SynthForward, SynthOptions
from sessionlift.runs._moved_before import Counted
from sessionlift.stores import DuckdbStore, parse_store_url


@pytest.fixture
def converter(tmp_path: Path) -> Iterator[SynthForward]:
    """Of a store in which rows lie in another order than that of their ids."""
    path = tmp_path / "old.duckdb"
    make_synth_v2(path, sessions=6, dress="mixed", traps="all")
    change_source(
        path,
        "CREATE TEMP TABLE turned AS SELECT * REPLACE (id + 100000 AS id) FROM events ORDER BY id DESC",
        "DELETE FROM events",
        "INSERT INTO events SELECT * FROM turned ORDER BY id DESC",
    )
    with DuckdbStore(parse_store_url(str(path)), mode="ro") as store:
        yield SynthForward(store, SynthOptions())


@pytest.mark.parametrize("size", [0, 10**9], ids=["put together", "line by line"])
def test_the_digest_is_that_of_a_move(converter: SynthForward, size: int) -> None:
    converter.inventory()
    (group,) = converter.groups()
    made = {unit.session_id: unit.source_digest for unit in converter.convert(group, Counted()).units}
    assert len(made) == 6
    converter.know((key, "") for key in made)
    assert converter.known_now(replace(group, bytes=size)) == made
    converter.know(made.items())
    assert converter.known_now(replace(group, bytes=size)) == dict.fromkeys(made)


def test_only_known_sessions_are_looked_at(converter: SynthForward) -> None:
    converter.inventory()
    (group,) = converter.groups()
    assert converter.known_now(group) == {}
    one = next(converter.session_ids())
    converter.know([(one, "")])
    assert list(converter.known_now(group)) == [one]
