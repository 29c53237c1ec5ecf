"""langswarm.v1 on SQLite: the session store that LangSwarm 0.0.52 to 0.0.54 creates.

Measured on stores that the real program wrote. Equal to them by introspection: columns and their order, types,
keys and indexes. The wording is our own. Facts kept on purpose:

- one table holds everything: ``metadata`` and ``history`` are JSON texts, and the other columns only filter;
- the primary key of text is nullable, as SQLite lets it be;
- the default file name and the table's name are those of langswarm.v2 too, whose columns differ: the two cannot
  live in one file.
"""

from __future__ import annotations

from sqlalchemy import Connection

from sessionlift.generations._revision import Revision

revision = "langswarm_v1"
down_revision = None
branch_labels = ("langswarm.v1",)
depends_on = None
dialect = "sqlite"

SESSIONS = """
CREATE TABLE sessions (
    session_id TEXT,
    user_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    status TEXT NOT NULL,
    session_control TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    last_activity TEXT,
    metadata TEXT NOT NULL,
    history TEXT NOT NULL,
    PRIMARY KEY (session_id)
)
"""

_REVISION = Revision(
    name="langswarm.v1",
    dialect=dialect,
    tables={"sessions": SESSIONS},
    indexes={
        "idx_user_id": "CREATE INDEX idx_user_id ON sessions (user_id)",
        "idx_status": "CREATE INDEX idx_status ON sessions (status)",
        "idx_updated_at": "CREATE INDEX idx_updated_at ON sessions (updated_at)",
    },
)


def upgrade() -> None:
    """Make the table and its indexes; an empty store that has exactly them already is taken as it is."""
    _REVISION.upgrade()


def downgrade() -> None:
    """Drop the table; refuses while it holds rows."""
    _REVISION.downgrade()


def verify(connection: Connection) -> None:
    """Raise GenerationError with every difference between the store and langswarm.v1."""
    _REVISION.verify(connection)
