"""The ledger with its large tables in the order in which sessions move, found by their ids through thin indexes.

Ids are in no order. Where the rows themselves lie by id, each session that moves has two more pages of the target
read, logged and written again, and the more there are in the ledger already, the fewer of them are still in memory.
"""

from __future__ import annotations

from dataclasses import replace

from alembic import context, op
from sqlalchemy import Connection

from sessionlift.alembic.versions.ledger import ledger_1
from sessionlift.generations._revision import Revision
from sessionlift.stores import quote_identifier

revision = "ledger_2"
down_revision = "ledger_1"
branch_labels = None
depends_on = None
dialect = "sqlite"

_BY_ID = "WITHOUT ROWID"
_ASIDE = "sessionlift_aside"
_INDEXES: dict[str, tuple[str, ...]] = {"sessionlift_units": ("sessionlift_units_run",), "sessionlift_complement": ()}
"""The tables, and the indexes that go with them."""

REVISION = replace(
    ledger_1.REVISION,
    tables={
        table: statement.replace(_BY_ID, "") if table in _INDEXES else statement
        for table, statement in ledger_1.REVISION.tables.items()
    },
)


def upgrade() -> None:
    """Lay both tables out anew, with every row that they have."""
    _lay_out(ledger_1.REVISION, REVISION)


def downgrade() -> None:
    """Lay both tables out by session again, with every row that they have."""
    _lay_out(REVISION, ledger_1.REVISION)


def verify(connection: Connection) -> None:
    """Raise GenerationError with every difference between the store and this ledger."""
    REVISION.verify(connection)


def _lay_out(before: Revision, after: Revision) -> None:
    statements = [statement for table in _INDEXES for statement in _anew(table, after)]
    if context.is_offline_mode():
        for statement in statements:
            op.execute(statement)
        return
    connection = op.get_bind()
    # a column that somebody has added would go with its values
    before.verify(connection)
    for statement in statements:
        connection.exec_driver_sql(statement)
    after.verify(connection)


def _anew(table: str, after: Revision) -> list[str]:
    """The statements that put the rows aside and into the new table, in the order in which they lie. Nothing is
    renamed: that would look at every view and trigger in the store, and fail at one that has nothing to do with it."""
    name = quote_identifier(table)
    return [
        f"CREATE TABLE {_ASIDE} AS SELECT * FROM {name}",
        f"DROP TABLE {name}",
        after.tables[table].strip(),
        f"INSERT INTO {name} SELECT * FROM {_ASIDE}",
        f"DROP TABLE {_ASIDE}",
        *(after.indexes[index] for index in _INDEXES[table]),
    ]
