"""Placeholders are replaced where they are placeholders, and nowhere else."""

from __future__ import annotations

import pytest

from sessionlift.errors import UsageError
from sessionlift.stores import Value
from sessionlift.stores._placeholders import expand


def wide(value: Value) -> tuple[str, tuple[Value, ...]] | None:
    return ("CAST(? AS INTEGER)", (str(value),)) if isinstance(value, int) and value > 99 else None


def test_sql_without_special_values_stays_the_same_text() -> None:
    assert expand("SELECT ?, '?'", (1,), wide) == ("SELECT ?, '?'", (1,))


def test_only_placeholders_are_replaced() -> None:
    sql = """SELECT '?''?', "a?""b", `?`, [?], -- ?
        /* ? */ ?, ?"""
    text, params = expand(sql, (100, 1), wide)
    assert text == sql.replace("*/ ?,", "*/ CAST(? AS INTEGER),")
    assert params == ("100", 1)


def test_a_special_value_may_bind_nothing() -> None:
    assert expand("SELECT ?, ?", (1, 2), lambda v: ("9e999", ()) if v == 1 else None) == (
        "SELECT 9e999, ?",
        (2,),
    )


@pytest.mark.parametrize(("sql", "params"), [("SELECT ?", (100, 1)), ("SELECT ?, ?", (100,)), ("SELECT ?1", (100,))])
def test_a_wrong_number_or_kind_of_placeholders_is_refused(sql: str, params: tuple[int, ...]) -> None:
    with pytest.raises(UsageError):
        expand(sql, params, wide)
