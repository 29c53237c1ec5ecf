"""session_buddy.v2: an embedding beside each invocation. The column comes last, after ``created_at``."""

from __future__ import annotations

from sqlalchemy import Connection

from sessionlift.alembic.versions.session_buddy import session_buddy_v1
from sessionlift.generations._step import Record, Step

revision = "session_buddy_v2"
down_revision = "session_buddy_v1"
branch_labels = ("session_buddy.v2",)
depends_on = None
dialect = "sqlite"

REVISION = Step(
    name="session_buddy.v2",
    revision=revision,
    dialect=dialect,
    after=session_buddy_v1.REVISION,
    tables={},
    columns={("skill_invocation", "embedding"): "BLOB"},
    identity={"skill_invocation": "created_at"},
    indexes={
        "idx_invocation_embedding": (
            "CREATE INDEX idx_invocation_embedding ON skill_invocation (embedding) WHERE embedding IS NOT NULL"
        ),
    },
    record=Record("skill_migrations", "V2__add_semantic_search", "Add vector embedding support for semantic search"),
)


def upgrade() -> None:
    """Add the column and its index; embeddings that a way down kept come back."""
    REVISION.upgrade()


def downgrade() -> None:
    """Keep the embeddings in the complement, and drop the column in place: no table is made anew."""
    REVISION.downgrade()


def verify(connection: Connection) -> None:
    """Raise GenerationError with every difference between the store and session_buddy.v2."""
    REVISION.verify(connection)
