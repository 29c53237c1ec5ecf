"""The ledger with its large tables in the order in which sessions move, found by their ids through thin indexes.

Ids are in no order. Where the rows themselves lie by id, each session that moves has two more pages of the target
read, logged and written again, and the more there are in the ledger already, the fewer of them are still in memory.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from sessionlift.alembic.versions.ledger import ledger_1
from sessionlift.generations._ledger_form import lay_out
from sessionlift.generations._revision import refuse_offline_downgrade

revision = "ledger_2"
down_revision = "ledger_1"
branch_labels = None
depends_on = None
dialect = "sqlite"


def upgrade() -> None:
    """Lay the tables out anew, with every row that they have."""
    lay_out(ledger_1.REVISION, ledger_1.AS_THEY_CAME)


def downgrade() -> None:
    """Lay the tables out by session again, with every row that they have; where they are to go, leave them to that."""
    refuse_offline_downgrade()
    if context.get_revision_argument() is not None:
        lay_out(ledger_1.AS_THEY_CAME, ledger_1.REVISION)


def verify(connection: Connection) -> None:
    """Raise GenerationError with every difference between the store and this ledger."""
    ledger_1.AS_THEY_CAME.verify(connection)
