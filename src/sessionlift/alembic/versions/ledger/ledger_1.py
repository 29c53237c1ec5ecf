"""The ledger: what was moved, when, from where, with digests and with everything the target cannot hold.

The tables lie beside those of the generation in the target, so that a session's rows and its ledger row
commit together. Their names all begin with ``sessionlift_``; the real programs never look at them.
"""

from __future__ import annotations

from alembic import context, op
from sqlalchemy import Connection

from sessionlift.generations._ledger_form import as_they_came, lay_out
from sessionlift.generations._revision import Revision, table_exists

revision = "ledger_1"
down_revision = None
branch_labels = ("ledger",)
depends_on = None
dialect = "sqlite"

_UNIT = "unit TEXT NOT NULL CHECK (unit IN ('session', 'catalog'))"
_COUNT = "count INTEGER NOT NULL CHECK (count >= 0)"

RUNS = """
CREATE TABLE sessionlift_runs (
    run_id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    tool TEXT,
    source TEXT,
    source_generation TEXT,
    target_generation TEXT,
    options TEXT,
    started_at TEXT,
    finished_at TEXT,
    summary TEXT
)
"""

UNITS = f"""
CREATE TABLE sessionlift_units (
    {_UNIT},
    session_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    moved_at TEXT,
    source_digest TEXT,
    target_digest TEXT,
    converter TEXT,
    read_counts TEXT,
    written_counts TEXT,
    state TEXT NOT NULL CHECK (state IN ('moved', 'partial', 'quarantined', 'deleted', 'rolled_back')),
    PRIMARY KEY (unit, session_id)
) WITHOUT ROWID
"""

COMPLEMENT = f"""
CREATE TABLE sessionlift_complement (
    {_UNIT},
    session_id TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (unit, session_id)
) WITHOUT ROWID
"""

QUARANTINE = f"""
CREATE TABLE sessionlift_quarantine (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL,
    {_UNIT},
    session_id TEXT,
    table_name TEXT,
    row_id TEXT,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    "row" TEXT
)
"""

LOSSES = f"""
CREATE TABLE sessionlift_losses (
    run_id TEXT NOT NULL,
    {_UNIT},
    session_id TEXT NOT NULL,
    code TEXT NOT NULL,
    table_name TEXT NOT NULL,
    column_name TEXT NOT NULL,
    {_COUNT},
    example TEXT,
    PRIMARY KEY (run_id, unit, session_id, code, table_name, column_name)
) WITHOUT ROWID
"""

FACTS = f"""
CREATE TABLE sessionlift_facts (
    run_id TEXT NOT NULL,
    {_UNIT},
    session_id TEXT NOT NULL,
    code TEXT NOT NULL,
    table_name TEXT NOT NULL,
    {_COUNT},
    detail TEXT,
    PRIMARY KEY (run_id, unit, session_id, code, table_name)
) WITHOUT ROWID
"""

ROLLOUT = """
CREATE TABLE sessionlift_rollout (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    updated_at TEXT NOT NULL
) WITHOUT ROWID
"""

ATTEMPTS = f"""
CREATE TABLE sessionlift_attempts (
    session_id TEXT NOT NULL PRIMARY KEY,
    run_id TEXT NOT NULL,
    at TEXT NOT NULL,
    {_COUNT},
    code TEXT NOT NULL,
    error TEXT NOT NULL
) WITHOUT ROWID
"""

SHADOW = f"""
CREATE TABLE sessionlift_shadow (
    session_id TEXT NOT NULL,
    field TEXT NOT NULL,
    run_id TEXT NOT NULL,
    at TEXT NOT NULL,
    {_COUNT},
    example TEXT,
    PRIMARY KEY (session_id, field)
) WITHOUT ROWID
"""

REVISION = Revision(
    name="the ledger",
    dialect=dialect,
    tables={
        "sessionlift_runs": RUNS,
        "sessionlift_units": UNITS,
        "sessionlift_complement": COMPLEMENT,
        "sessionlift_quarantine": QUARANTINE,
        "sessionlift_losses": LOSSES,
        "sessionlift_facts": FACTS,
        "sessionlift_rollout": ROLLOUT,
        "sessionlift_attempts": ATTEMPTS,
        "sessionlift_shadow": SHADOW,
    },
    indexes={
        "sessionlift_units_run": "CREATE INDEX sessionlift_units_run ON sessionlift_units (run_id)",
        "sessionlift_quarantine_session": (
            "CREATE INDEX sessionlift_quarantine_session ON sessionlift_quarantine (session_id)"
        ),
    },
)


AS_THEY_CAME = as_they_came(REVISION)


def upgrade() -> None:
    """Make the ledger's tables. One of the later form that has lost its stamp is led to this one."""
    if not context.is_offline_mode():
        connection = op.get_bind()
        if table_exists(connection, "sessionlift_units") and not AS_THEY_CAME.differences(connection):
            lay_out(AS_THEY_CAME, REVISION)
    REVISION.upgrade()


def downgrade() -> None:
    """Drop the ledger's tables; refuses while they hold rows, for they are all that knows the way back."""
    REVISION.downgrade()


def verify(connection: Connection) -> None:
    """Raise GenerationError with every difference between the store and this ledger."""
    REVISION.verify(connection)
