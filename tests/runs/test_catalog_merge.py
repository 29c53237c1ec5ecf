"""The laws of merging a catalog: nothing that one side alone has changed is lost, and nothing is written twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sessionlift.runs._catalog_merge import Rows, as_lists, catalog_rows, merge

KEYS = st.sampled_from(["a", "b", ("e", "s"), ("e", "t")])
DIGESTS = st.sampled_from(["1", "2", "3"])
ROWS = st.dictionaries(KEYS, DIGESTS, max_size=4)
MAYBE_ROWS = st.dictionaries(KEYS, st.none() | DIGESTS, max_size=4)


def after(now: dict[object, str], made: dict[object, str], leave: list[object]) -> dict[object, str]:
    return {**now, **{key: digest for key, digest in made.items() if key not in leave}}


@given(before=MAYBE_ROWS, made=ROWS, now=ROWS)
def test_each_row_ends_as_the_side_that_changed_it_has_it(
    before: dict[object, str | None], made: dict[object, str], now: dict[object, str]
) -> None:
    found = merge({"t": before}, {"t": dict(made)}, {"t": now})
    leave, conflicts = found.leave.get("t", []), {key for _, key in found.conflicts}
    end = after(now, made, leave)
    for key in {*before, *made, *now}:
        was, new, theirs = before.get(key), made.get(key), now.get(key)
        if new is None or new == theirs:
            assert end.get(key) == theirs, "what the source has lost stays"
        elif key not in before:
            assert end[key] == new
        elif was is not None and theirs == was:
            assert end[key] == new, "the source alone has changed it"
        else:
            assert end.get(key) == theirs, "the application's is never written over"
        assert (key in conflicts) == (
            key in before and new is not None and new not in (theirs, was) and (was is None or theirs != was)
        )
    assert set(found.replaced.get("t", [])) <= set(now), "only what is there makes room"
    assert not set(found.replaced.get("t", [])) & set(leave)


@given(before=MAYBE_ROWS, made=ROWS, now=ROWS)
def test_merging_again_writes_nothing_else(
    before: dict[object, str | None], made: dict[object, str], now: dict[object, str]
) -> None:
    first = merge({"t": before}, {"t": dict(made)}, {"t": now})
    end = after(now, made, first.leave.get("t", []))
    again = merge(first.moved, {"t": dict(made)}, {"t": end})
    assert (again.leave, again.conflicts) == (first.leave, first.conflicts)
    assert after(end, made, again.leave.get("t", [])) == end


@given(rows=st.dictionaries(st.sampled_from(["t", "u"]), MAYBE_ROWS))
def test_rows_come_back_from_a_complement(rows: Rows) -> None:
    assert catalog_rows(as_lists(rows)) == rows
