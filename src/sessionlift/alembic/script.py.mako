"""${message}

One generation of one system: what it is, and which released programs write it.
"""

from __future__ import annotations

from sqlalchemy import Connection

from sessionlift.generations._revision import Revision

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}
dialect = "sqlite"

_REVISION = Revision(name="system.generation", dialect=dialect, tables={})


def upgrade() -> None:
    """Make the generation."""
    _REVISION.upgrade()


def downgrade() -> None:
    """Take it away again; refuses while it holds rows."""
    _REVISION.downgrade()


def verify(connection: Connection) -> None:
    """Raise GenerationError with every difference between the store and this generation."""
    _REVISION.verify(connection)
