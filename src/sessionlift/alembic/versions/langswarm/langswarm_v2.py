"""langswarm.v2 on SQLite and libSQL: the session store that LangSwarm 0.1.0 creates.

Measured on a store that the real program wrote. Equal to it by introspection: columns and their order, types,
defaults, keys, references and indexes. The wording is our own. Facts kept on purpose:

- readers take a session from ``context_data`` (JSON); the columns beside it only filter and sort;
- messages are read ``ORDER BY timestamp``, compared as text, and not by their row id;
- the references cascade, but the real program never turns foreign keys on: what it deletes leaves messages and
  metrics behind;
- the primary keys of text are nullable, as SQLite lets them be.
"""

from __future__ import annotations

from sqlalchemy import Connection

from sessionlift.generations._revision import Revision

revision = "langswarm_v2"
down_revision = None
branch_labels = ("langswarm.v2",)
depends_on = None
dialect = "sqlite"

SESSIONS = """
CREATE TABLE sessions (
    session_id TEXT,
    user_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    backend TEXT NOT NULL,
    context_data TEXT NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (session_id)
)
"""

SESSION_MESSAGES = """
CREATE TABLE session_messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL REFERENCES sessions (session_id) ON DELETE CASCADE,
    message_id TEXT NOT NULL,
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    timestamp TIMESTAMP NOT NULL,
    metadata TEXT,
    provider_message_id TEXT,
    token_count INTEGER,
    finish_reason TEXT
)
"""

SESSION_METRICS = """
CREATE TABLE session_metrics (
    session_id TEXT REFERENCES sessions (session_id) ON DELETE CASCADE,
    message_count INTEGER DEFAULT 0,
    total_tokens INTEGER DEFAULT 0,
    session_duration REAL DEFAULT 0.0,
    last_activity TIMESTAMP,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (session_id)
)
"""

_REVISION = Revision(
    name="langswarm.v2",
    dialect=dialect,
    tables={"sessions": SESSIONS, "session_messages": SESSION_MESSAGES, "session_metrics": SESSION_METRICS},
    indexes={
        "idx_sessions_user_id": "CREATE INDEX idx_sessions_user_id ON sessions (user_id)",
        "idx_messages_session_id": "CREATE INDEX idx_messages_session_id ON session_messages (session_id)",
        "idx_messages_timestamp": "CREATE INDEX idx_messages_timestamp ON session_messages (timestamp)",
    },
)


def upgrade() -> None:
    """Make the tables and indexes; a store that has exactly them already is taken as it is, with its rows."""
    _REVISION.upgrade()


def downgrade() -> None:
    """Drop them; refuses while any table holds rows."""
    _REVISION.downgrade()


def verify(connection: Connection) -> None:
    """Raise GenerationError with every difference between the store and langswarm.v2."""
    _REVISION.verify(connection)
