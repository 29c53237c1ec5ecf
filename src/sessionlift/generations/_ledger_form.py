"""The two forms of the ledger's large tables: with their rows by session, or as sessions came."""

from __future__ import annotations

from dataclasses import replace

from alembic import context, op
from sqlalchemy import Connection

from sessionlift.generations import _structure
from sessionlift.generations._revision import Revision
from sessionlift.stores import quote_identifier

_LARGE = ("sessionlift_units", "sessionlift_complement")
_BY_SESSION = "WITHOUT ROWID"
_ASIDE = "sessionlift_aside"


def as_they_came(by_session: Revision) -> Revision:
    """The same ledger with the rows of its large tables as sessions came."""
    tables = {
        table: statement.replace(_BY_SESSION, "") if table in _LARGE else statement
        for table, statement in by_session.tables.items()
    }
    return replace(by_session, tables=tables)


def lay_out(before: Revision, after: Revision) -> None:
    """Lead the store's ledger from one form to the other, with every row, and with the indexes that others have made.

    Raises GenerationError where it is not exactly ``before``: a column that somebody has added would go with its
    values.
    """
    if context.is_offline_mode():
        for table in _LARGE:
            for statement in _anew(table, after, []):
                op.execute(statement)
        return
    connection = op.get_bind()
    before.verify(connection)
    for table in _LARGE:
        for statement in _anew(table, after, _others_indexes(connection, table, after)):
            connection.exec_driver_sql(statement)
    after.verify(connection)


def _anew(table: str, after: Revision, others: list[str]) -> list[str]:
    """The statements that put the rows aside and into the new table, in the order in which they lie. Nothing is
    renamed: that would look at every view and trigger in the store, and fail at one that has nothing to do with it."""
    name = quote_identifier(table)
    return [
        f"CREATE TABLE {_ASIDE} AS SELECT * FROM {name}",
        f"DROP TABLE {name}",
        after.tables[table].strip(),
        f"INSERT INTO {name} SELECT * FROM {_ASIDE}",
        f"DROP TABLE {_ASIDE}",
        *(statement for statement in after.indexes.values() if f" ON {table} (" in statement),
        *others,
    ]


def _others_indexes(connection: Connection, table: str, ours: Revision) -> list[str]:
    """What makes the indexes of a table that are not ours: they change no answer, and stay."""
    found = _structure.queries(connection)(
        f"SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = '{table}' AND sql IS NOT NULL"
    )
    return [str(sql) for name, sql in found if name not in ours.indexes]
