"""Rows for a sqld server in few, large statements that keep every value.

A JSON array of arrays is the fastest way in, and exact for text and integers. SQLite reads about one decimal
in ten thousand one bit off, JSON cannot hold blobs, and not every release keeps a NUL in JSON text: a column
that holds such a value is bound value by value instead, and joined to the JSON rows by their position.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import orjson

from sessionlift.stores._sqld_client import Statement, argument
from sessionlift.stores._value import Value, column_list, quote_identifier

_ROWS = 1000
_MAX_VARIABLES = 30_000
# a server takes no value and no row above 5 MB, and JSON grows where it escapes
_MAX_BYTES = 2 << 20
# SQLite's JSON reads the far ends of the 64-bit range as a double in some releases
_JSON_INT = 2**62
_IN_JSON = {type(None), bool, int, str}


def select_statement(rows: list[Sequence[Value]], width: int) -> Statement:
    """The rows as a SELECT: what an INSERT would store, without storing it. The probe asks so."""
    bound = [index for index, column in enumerate(zip(*rows, strict=True)) if _must_be_bound(column)]
    return _statement("", rows, width, bound, orjson.dumps(_without(rows, bound)))


def insert_statements(
    table: str, columns: Sequence[str], rows: Iterable[Sequence[Value]]
) -> Iterator[tuple[Statement, int]]:
    """INSERT statements for the rows in order, each with the number of its rows."""
    head = f"INSERT INTO {quote_identifier(table)} ({column_list(columns)}) "
    for chunk in _chunks(rows):
        yield from _statements(head, chunk, len(columns))


def _chunks(rows: Iterable[Sequence[Value]]) -> Iterator[list[Sequence[Value]]]:
    """Rows in lists that are bounded by their number and by the size of what they hold."""
    chunk: list[Sequence[Value]] = []
    size = 0
    for row in rows:
        length = sum([len(value) for value in row if isinstance(value, (str, bytes))])
        if chunk and (len(chunk) >= _ROWS or size + length > _MAX_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += length
    if chunk:
        yield chunk


def _statements(head: str, rows: list[Sequence[Value]], width: int) -> Iterator[tuple[Statement, int]]:
    bound = [index for index, column in enumerate(zip(*rows, strict=True)) if _must_be_bound(column)]
    most = max(1, _MAX_VARIABLES // max(1, len(bound)))
    document = orjson.dumps(_without(rows, bound)) if len(rows) <= most else b""
    if len(rows) > 1 and (len(rows) > most or len(document) > _MAX_BYTES):
        half = len(rows) // 2
        yield from _statements(head, rows[:half], width)
        yield from _statements(head, rows[half:], width)
        return
    if len(document) > _MAX_BYTES:
        bound, document = list(range(width)), orjson.dumps([[]])
    yield _statement(head, rows, width, bound, document), len(rows)


def _must_be_bound(column: Sequence[Value]) -> bool:
    kinds = set(map(type, column))
    if not kinds <= _IN_JSON:
        return True
    if str in kinds and any("\0" in value for value in column if type(value) is str):
        return True
    return int in kinds and any(abs(value) >= _JSON_INT for value in column if type(value) is int)


def _without(rows: list[Sequence[Value]], bound: list[int]) -> list[Sequence[Value]]:
    if not bound:
        # of tuples the encoder takes plain ones only, and rows may have names
        return [row if type(row) in (tuple, list) else list(row) for row in rows]
    left: list[Sequence[Value]] = []
    for row in rows:
        copy = list(row)
        for index in bound:
            copy[index] = None
        left.append(copy)
    return left


def _statement(head: str, rows: list[Sequence[Value]], width: int, bound: list[int], document: bytes) -> Statement:
    place = {index: number for number, index in enumerate(bound, 2)}
    values = [f"b.column{place[i]}" if i in place else f"j.value ->> {i}" for i in range(width)]
    sql = f"{head}SELECT {', '.join(values)} FROM json_each(?) AS j"
    args = [argument(document.decode("utf-8"))]
    if bound:
        placed: list[str] = []
        for position, row in enumerate(rows):
            marks = []
            for index in bound:
                value = row[index]
                if isinstance(value, float) and math.isinf(value):
                    marks.append("9e999" if value > 0 else "-9e999")
                else:
                    marks.append("?")
                    args.append(argument(value))
            placed.append(f"({position}, {', '.join(marks)})")
        sql += f" JOIN (VALUES {', '.join(placed)}) AS b ON b.column1 = j.key"
    return {"sql": sql + " ORDER BY j.key", "args": args, "want_rows": not head}
