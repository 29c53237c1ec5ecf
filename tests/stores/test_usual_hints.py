"""Whoever meets an error of a store is told what to do next, even where nobody knew anything better."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sessionlift.errors import StoreError


def kinds(kind: type[StoreError] = StoreError) -> Iterator[type[StoreError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from kinds(each)


@pytest.mark.parametrize("kind", list(kinds()), ids=lambda kind: kind.__name__)
def test_every_kind_of_error_has_a_next_step(kind: type[StoreError]) -> None:
    assert kind("it failed").hint
    assert str(kind("it failed", hint="try this")) == "it failed\n  next: try this"
