"""One digest for all rows of a table, as it is: values with their types, in the order of their row ids."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sessionlift.stores import Row, Store, Value, quote_identifier

ALGORITHM = (
    "sha256 over the rows of a table in the order of their row ids: repr() of the values of the named columns, "
    "a blob as ('blob', length) there and its bytes after the row"
)
_ROWS_AT_ONCE = 200


@dataclass(frozen=True)
class TableDigest:
    """What a table held: the digest of ``rows`` rows."""

    rows: int
    digest: str


def digest_rows(
    store: Store, table: str, columns: Sequence[str], *, where: str = "", params: Sequence[Value] = ()
) -> TableDigest:
    """Read the table once, row by row, and hash it. Read-only, and of flat memory."""
    whole, count = hashlib.sha256(), 0
    waiting: list[bytes] = []
    order = _order(store, table, columns)
    for row in store.read_table(table, columns, where=where, params=params, order_by=order):
        count += 1
        waiting += _spelled(row)
        if len(waiting) >= _ROWS_AT_ONCE:
            whole.update(b"".join(waiting))
            waiting.clear()
    whole.update(b"".join(waiting))
    return TableDigest(count, whole.hexdigest())


def _spelled(row: Row) -> Iterable[bytes]:
    blobs = [value for value in row if isinstance(value, bytes)]
    if blobs:
        row = tuple([("blob", len(value)) if isinstance(value, bytes) else value for value in row])
    return (repr(row).encode("utf-8", "surrogatepass"), *blobs)


def _order(store: Store, table: str, columns: Sequence[str]) -> Sequence[str]:
    """Row ids where there are any that can be asked for."""
    names = {str(name).lower() for (name,) in store.query("SELECT name FROM pragma_table_info(?)", (table,))}
    kind = store.query("SELECT wr, type FROM pragma_table_list WHERE name = ? AND schema = 'main'", (table,))
    if kind and kind[0][0]:
        return tuple(columns)
    return ("rowid",) if "rowid" not in names else tuple(columns)


def columns_of(store: Store, table: str) -> list[str]:
    """The table's columns in their order, without hidden ones."""
    return [str(name) for (name,) in store.query("SELECT name FROM pragma_table_info(?) ORDER BY cid", (table,))]


def tables_of(store: Store) -> list[str]:
    """Every table with rows of its own, but SQLite's and ours, sorted: no virtual table, no view."""
    found = store.query(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite^_%' ESCAPE '^' "
        "AND name NOT LIKE 'sessionlift^_%' ESCAPE '^' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    )
    return [str(name) for (name,) in found]


def count_rows(store: Store, table: str) -> int:
    return int(str(store.query(f"SELECT count(*) FROM {quote_identifier(table)}")[0][0]))
