"""Any value goes in and comes out the same, through every way in and every engine."""

from __future__ import annotations

import contextlib
import math
import struct
import uuid
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.laws import tries
from tests.support.servers import running_sqld

from sessionlift.errors import StoreConstraintError
from sessionlift.stores import Store, Value, open_store, quote_identifier
from sessionlift.stores._fidelity_values import LONE_SURROGATE, MINUS_ZERO, NAN, classes

ENGINES = ["libsql", "sqlite", pytest.param("sqld", marks=pytest.mark.sqld)]

whole_numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([s * (2**b) + d for s in (1, -1) for b in (31, 32, 53, 62) for d in (-1, 0, 1)]),
    st.sampled_from([2**63 - 1, -(2**63)]),
)
# NaN and -0.0 are what no SQLite store holds: see the last tests
doubles = st.floats(allow_nan=False).filter(lambda value: value != 0 or math.copysign(1, value) > 0)
texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["\0", "a\0b", "null", "1", "1.0", "?"])
values = st.one_of(st.none(), whole_numbers, doubles, texts, st.binary())
tables = st.lists(st.tuples(values, values, values), max_size=30)
relaxed = tries(30)


@pytest.fixture(scope="module", params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("values")
    with contextlib.ExitStack() as stack:
        where = f"{request.param}://{folder}/x.db"
        if request.param == "sqld":
            where = stack.enter_context(running_sqld(folder))[0]
        yield stack.enter_context(open_store(where, mode="create", role="target"))


def exactly(rows: Sequence[Sequence[Any]]) -> list[list[tuple[type, Any]]]:
    """Rows in a form that is equal only if types and bits are."""
    return [[(type(v), struct.pack("<d", v) if isinstance(v, float) else v) for v in row] for row in rows]


@contextlib.contextmanager
def a_table(store: Store, declared: str = "a, b, c") -> Iterator[str]:
    name = f"t {uuid.uuid4().hex}"
    store.execute(f'CREATE TABLE "{name}" (id INTEGER PRIMARY KEY, {declared})')
    try:
        yield name
    finally:
        store.execute(f'DROP TABLE "{name}"')


def read(store: Store, table: str) -> list[tuple[Any, ...]]:
    return list(store.read_table(table, ["a", "b", "c"], order_by=["id"]))


@pytest.mark.slow
@pytest.mark.torture
@relaxed
@given(rows=tables)
def test_inserted_rows_come_back_the_same(store: Store, rows: list[tuple[Value, ...]]) -> None:
    with a_table(store) as table:
        with store.transaction():
            assert store.insert_rows(table, ["a", "b", "c"], rows) == len(rows)
            assert exactly(read(store, table)) == exactly(rows), "inside its transaction"
        assert exactly(read(store, table)) == exactly(rows), "after the commit"
        everything = store.query(f'SELECT a, b, c FROM "{table}" ORDER BY id')
        assert exactly(everything) == exactly(rows), "through a query"


@pytest.mark.slow
@pytest.mark.torture
@relaxed
@given(rows=tables)
def test_staged_rows_come_back_the_same(
    store: Store, rows: list[tuple[Value, ...]], make_stage: Callable[..., Path]
) -> None:
    with a_table(store) as table:
        stage = make_stage(f'"{table}"', ["a", "b", "c"], rows)
        with store.staged(stage) as staged, store.transaction():
            assert staged.copy(table, ["a", "b", "c"]) == len(rows)
        assert exactly(read(store, table)) == exactly(rows)


@pytest.mark.slow
@pytest.mark.torture
@relaxed
@given(numbers=st.lists(doubles, min_size=1, max_size=300))
def test_doubles_keep_every_bit_in_a_real_column(
    store: Store, numbers: list[float], make_stage: Callable[..., Path]
) -> None:
    with a_table(store, "a REAL, b DOUBLE, c FLOAT") as table:
        rows = [(number, number, number) for number in numbers]
        with store.transaction():
            store.insert_rows(table, ["a", "b", "c"], rows)
        stage = make_stage(f'"{table}"', ["a", "b", "c"], rows)
        with store.staged(stage) as staged, store.transaction():
            staged.copy(table, ["a", "b", "c"])
        assert exactly(read(store, table)) == exactly(rows + rows)


@pytest.mark.torture
@relaxed
@given(params=st.lists(values, min_size=1, max_size=20))
def test_bound_parameters_come_back_the_same(store: Store, params: list[Value]) -> None:
    marks = ", ".join("?" * len(params))
    assert exactly(store.query(f"SELECT {marks}", params)) == exactly([params])


@pytest.mark.slow
@pytest.mark.torture
@relaxed
@given(params=st.lists(values, min_size=2, max_size=5), wanted=st.integers(0, 4))
def test_a_bound_parameter_finds_its_row(store: Store, params: list[Value], wanted: int) -> None:
    with a_table(store) as table:
        with store.transaction():
            store.insert_rows(table, ["a"], [(value,) for value in params])
        value = params[wanted % len(params)]
        found = list(store.read_table(table, ["a"], where="a IS ?", params=(value,)))
        # SQLite compares 1 and 1.0 as equal
        assert (type(value), value) in [(type(row[0]), row[0]) for row in found]


@pytest.mark.torture
@relaxed
@given(names=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
                      min_size=3, max_size=3, unique_by=lambda name: name.lower()))  # fmt: skip
def test_any_name_of_a_column_is_quoted(store: Store, names: list[str]) -> None:
    table = f"t {uuid.uuid4().hex} \" ' ; --"
    store.execute(f"CREATE TABLE {quote_identifier(table)} ({', '.join(map(quote_identifier, names))})")
    store.insert_rows(table, names, [(1, "two", None)])
    assert list(store.read_table(table, names, order_by=names)) == [(1, "two", None)]
    store.execute(f"DROP TABLE {quote_identifier(table)}")


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_no_name_at_all_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        quote_identifier(name)


@pytest.mark.parametrize("value", ["\ud800", "a\udfffb", 2**63, -(2**63) - 1, Decimal("1.5"), object(), [1]])
def test_what_no_store_can_hold_is_refused_not_changed(store: Store, value: Any) -> None:
    with a_table(store) as table:
        with pytest.raises(StoreConstraintError), store.transaction():
            store.insert_rows(table, ["a"], [(1,), (value,)])
        with pytest.raises(StoreConstraintError):
            store.query("SELECT ?", (value,))
        with pytest.raises(StoreConstraintError):
            store.execute(f'INSERT INTO "{table}" (a) VALUES (?)', (value,))
        assert read(store, table) == [], "something was left behind"


def test_nan_is_the_known_exception_that_becomes_null(store: Store) -> None:
    with a_table(store) as table:
        store.insert_rows(table, ["a"], [(math.nan,)])
        assert read(store, table) == [(None, None, None)]


def test_minus_zero_in_a_real_column_is_the_known_exception_that_loses_its_sign(store: Store) -> None:
    with a_table(store, "a REAL, b, c") as table:
        store.insert_rows(table, ["a"], [(-0.0,)])
        assert exactly(read(store, table)) == exactly([(0.0, None, None)])


def test_a_boolean_is_stored_as_a_number(store: Store) -> None:
    with a_table(store) as table:
        store.insert_rows(table, ["a", "b", "c"], [(True, False, 2**40)])
        assert exactly(read(store, table)) == exactly([(1, 0, 2**40)])


@pytest.mark.slow
def test_rows_of_every_size_are_inserted_whole(store: Store) -> None:
    rows: list[tuple[Value, ...]] = [(n, float(n) / 7, "x" * (n % 50)) for n in range(2500)]
    rows.insert(700, (0, 0.5, '"' * 4_500_000))
    rows.insert(900, (2**63 - 1, math.inf, b"z" * 1_000_000))
    with a_table(store) as table:
        with store.transaction():
            assert store.insert_rows(table, ["a", "b", "c"], iter(rows)) == len(rows)
        assert exactly(read(store, table)) == exactly(rows)


@pytest.mark.sqld
def test_a_row_above_the_servers_limit_is_refused_by_name(sqld: str) -> None:
    with open_store(sqld, mode="create", role="target") as store, a_table(store) as table:
        with pytest.raises(StoreConstraintError, match="larger than the server takes") as caught:
            store.insert_rows(table, ["a"], [("x" * 6_000_000,)])
        assert caught.value.fields["constraint"] == "SIZE"


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in classes() if name not in (NAN, MINUS_ZERO, LONE_SURROGATE)])
def test_the_probes_own_values_come_back_the_same(store: Store, name: str, make_stage: Callable[..., Path]) -> None:
    rows = [(value, None, number) for number, value in enumerate(classes()[name])]
    with a_table(store) as table:
        with store.transaction():
            store.insert_rows(table, ["a", "b", "c"], rows)
        with store.staged(make_stage(f'"{table}"', ["a", "b", "c"], rows)) as staged, store.transaction():
            staged.copy(table, ["a", "b", "c"])
        assert exactly(read(store, table)) == exactly(rows + rows)


def test_one_text_that_grows_as_json_above_the_servers_limit_is_inserted_whole(store: Store) -> None:
    with a_table(store) as table:
        store.insert_rows(table, ["a", "b"], [('"' * 4_500_000, 0.5)])
        assert store.query(f'SELECT length(a), b FROM "{table}"') == [(4_500_000, 0.5)]


def test_wide_rows_are_inserted_whole(store: Store) -> None:
    columns = [f"c{number}" for number in range(130)]
    rows = [[row * 1000 + n + (0.5 if n % 3 else 0) for n in range(130)] for row in range(400)]
    name = f"t{uuid.uuid4().hex}"
    store.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
    with store.transaction():
        store.insert_rows(name, columns, rows)
    assert exactly(list(store.read_table(name, columns))) == exactly(rows)
    store.execute(f"DROP TABLE {name}")


duck_values = {
    "BIGINT": st.none() | whole_numbers,
    "HUGEINT": st.none() | st.integers(-(2**127), 2**127 - 1),
    # NaN and -0.0 are values like any other here
    "DOUBLE": st.none() | st.floats(),
    "VARCHAR": st.none() | texts,
    "JSON": st.none() | st.sampled_from(["null", '"a"', '{"a": 1e400}', "[NaN]", " 1 ", '{"a":1,"a":2}']),
    "BLOB": st.none() | st.binary(),
    "BOOLEAN": st.none() | st.booleans(),
    "TIMESTAMP": st.none()
    | st.sampled_from(["2025-01-02 03:04:05.678901", "infinity", "-infinity", "0001-01-01 (BC) 00:00:00"])
    | st.sampled_from(["29999-01-01 00:00:00"]),
    "DECIMAL(38,10)": st.none() | st.sampled_from(["0.1000000000", f"-{'9' * 28}.0000000001"]),
}


@pytest.mark.slow
@pytest.mark.torture
@pytest.mark.parametrize("kind", list(duck_values))
def test_duckdb_gives_back_what_was_inserted(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("values") / "x.duckdb"
    with open_store(f"duckdb://{path}", mode="create", role="target") as store:
        store.execute(f"CREATE TABLE t (id INTEGER, a {kind})")

        @relaxed
        @given(column=st.lists(duck_values[kind], max_size=20))
        def check(column: list[Value]) -> None:
            store.execute("DELETE FROM t")
            with store.transaction():
                store.insert_rows("t", ["id", "a"], list(enumerate(column)))
                store.insert_rows("t", ["id", "a"], [])
            assert exactly(list(store.read_table("t", ["a"], order_by=["id"]))) == exactly([[v] for v in column])

        check()
