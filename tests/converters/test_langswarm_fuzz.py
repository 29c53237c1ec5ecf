"""Whatever lies in a legacy row: it moves, or goes to quarantine with a reason. Nothing else comes out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.langswarm_rows import history, legacy_row, message, metadata
from tests.support.langswarm_strategies import VALUES, rows
from tests.support.laws import tries

from sessionlift.converters.langswarm import Aside, LangswarmOptions, LegacyRow, Moved, backward, forward, source_digest

pytestmark = pytest.mark.slow

SOME = tries(200)


def outcome(row: LegacyRow, *, salvage: bool) -> Moved | Aside:
    made = forward(row, LangswarmOptions(timezone="Europe/Berlin", salvage=salvage))
    assert len(source_digest(row)) == 64
    if isinstance(made, Moved):
        for cells in (made.rows.session, *made.rows.messages, made.rows.metrics or ()):
            for value in cells:
                if isinstance(value, str):
                    value.encode()
        for each in made.quarantine:
            json.dumps(each.row)
        backward(made.rows, made.complement)
    else:
        assert made.code
        assert made.reason
    return made


@SOME
@given(row=rows(), data=st.data(), salvage=st.booleans())
def test_a_row_with_a_hole_in_its_text_never_breaks_the_move(
    row: LegacyRow, data: st.DataObject, salvage: bool
) -> None:
    column: str = data.draw(st.sampled_from(["metadata", "history"]))
    cell = row.cells[column]
    first, last = sorted(data.draw(st.tuples(st.integers(0, len(cell)), st.integers(0, len(cell)))))
    filling: str = data.draw(st.sampled_from(["", "\0", "{", "]", '"', "\\", "null", "\ufeff"]))
    middle = filling.encode() if isinstance(cell, bytes) else filling
    outcome(LegacyRow(row.key, {**row.cells, column: cell[:first] + middle + cell[last:]}), salvage=salvage)


@SOME
@given(value=VALUES, key=st.sampled_from(sorted(metadata())), salvage=st.booleans())
def test_any_value_may_stand_anywhere_in_metadata(value: Any, key: str, salvage: bool) -> None:
    outcome(legacy_row(json.dumps(metadata(**{key: value})), history([message()])), salvage=salvage)


@SOME
@given(value=VALUES, key=st.sampled_from([*sorted(message()), "messages", "summary"]), salvage=st.booleans())
def test_any_value_may_stand_anywhere_in_a_history(value: Any, key: str, salvage: bool) -> None:
    said = {**history([message()]), key: value}
    if key in message():
        said = history([message(), {**message(), key: value}])
    outcome(legacy_row(metadata(), json.dumps(said)), salvage=salvage)


@SOME
@given(cell=st.one_of(st.none(), st.binary(max_size=30), st.text(max_size=30), st.integers()), salvage=st.booleans())
@pytest.mark.parametrize("dress", ["sqlite", "dump", "enhanced"])
def test_any_cell_may_stand_for_a_session(dress: Any, cell: Any, salvage: bool) -> None:
    for column in ("entry", "metadata") if dress != "sqlite" else ("metadata", "history"):
        outcome(LegacyRow("s", {**legacy_row(metadata(), history([])).cells, column: cell}, dress), salvage=salvage)


@pytest.mark.parametrize("salvage", [True, False])
def test_values_that_are_nested_too_deeply_are_put_aside(salvage: bool) -> None:
    """From depths that every Python reads to those that none does; what moves comes back."""
    seen = set()
    for depth in (100, *range(900, 1000, 3), *range(2_900, 3_000, 9), 20_000, 200_000):
        deep = "[" * depth + "]" * depth
        for key in ("metadata", "content", "odd"):
            text = json.dumps(history([message(**{key: "DEEP"})])).replace('"DEEP"', deep)
            made = outcome(legacy_row(metadata(), text), salvage=salvage)
            seen.add(made.code if isinstance(made, Aside) else "moved")
    assert "moved" in seen
    assert seen <= {"moved", "nested_too_deeply", "history_unreadable"}
