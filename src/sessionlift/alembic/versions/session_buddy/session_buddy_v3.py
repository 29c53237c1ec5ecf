"""session_buddy.v3: the workflow's phase and step of each invocation, and three views over the phases."""

from __future__ import annotations

from sqlalchemy import Connection

from sessionlift.alembic.versions.session_buddy import session_buddy_v2
from sessionlift.generations._step import Record, Step

revision = "session_buddy_v3"
down_revision = "session_buddy_v2"
branch_labels = ("session_buddy.v3",)
depends_on = None
dialect = "sqlite"

# two columns with the same figures, as in the real view
V_SKILL_EFFECTIVENESS_BY_PHASE = """
CREATE VIEW v_skill_effectiveness_by_phase AS
SELECT
    skill_name,
    workflow_phase,
    count(*) AS total_invocations,
    sum(completed = 1) AS completed_count,
    sum(completed = 0) AS abandoned_count,
    avg(iif(completed = 1, duration_seconds, NULL)) AS avg_duration_seconds,
    avg(iif(completed = 1, duration_seconds, NULL)) AS avg_completion_time,
    CAST(sum(completed = 1) AS REAL) / count(*) * 100.0 AS completion_rate
FROM skill_invocation
WHERE workflow_phase IS NOT NULL
GROUP BY skill_name, workflow_phase
"""

V_WORKFLOW_PHASE_PATTERNS = """
CREATE VIEW v_workflow_phase_patterns AS
SELECT
    workflow_phase,
    count(*) AS invocations_in_phase,
    count(DISTINCT skill_name) AS unique_skills_in_phase,
    sum(completed = 1) AS successful_completions,
    avg(duration_seconds) AS avg_phase_duration
FROM skill_invocation
WHERE workflow_phase IS NOT NULL
GROUP BY workflow_phase
ORDER BY workflow_phase
"""

V_SKILLS_BY_PHASE_USAGE = """
CREATE VIEW v_skills_by_phase_usage AS
SELECT
    skill_name,
    workflow_phase,
    count(*) AS usage_count,
    avg(iif(completed = 1, 1.0, 0.0)) AS success_rate
FROM skill_invocation
WHERE workflow_phase IS NOT NULL
GROUP BY skill_name, workflow_phase
ORDER BY skill_name, workflow_phase
"""

_WHERE = "WHERE workflow_phase IS NOT NULL"

REVISION = Step(
    name="session_buddy.v3",
    revision=revision,
    dialect=dialect,
    after=session_buddy_v2.REVISION,
    tables={},
    columns={
        ("skill_invocation", "workflow_phase"): "TEXT",
        ("skill_invocation", "workflow_step_id"): "TEXT",
    },
    identity={"skill_invocation": "created_at"},
    indexes={
        "idx_invocation_workflow_phase": (
            f"CREATE INDEX idx_invocation_workflow_phase ON skill_invocation (workflow_phase) {_WHERE}"
        ),
        "idx_invocation_workflow_step": (
            "CREATE INDEX idx_invocation_workflow_step ON skill_invocation (workflow_step_id) "
            "WHERE workflow_step_id IS NOT NULL"
        ),
        "idx_invocation_phase_completion": (
            f"CREATE INDEX idx_invocation_phase_completion ON skill_invocation (workflow_phase, completed) {_WHERE}"
        ),
    },
    views={
        "v_skill_effectiveness_by_phase": V_SKILL_EFFECTIVENESS_BY_PHASE,
        "v_workflow_phase_patterns": V_WORKFLOW_PHASE_PATTERNS,
        "v_skills_by_phase_usage": V_SKILLS_BY_PHASE_USAGE,
    },
    record=Record("skill_migrations", "V3__add_workflow_correlation", "Add Oneiric workflow phase tracking for skills"),
)


def upgrade() -> None:
    """Add the columns, indexes and views; phases and steps that a way down kept come back."""
    REVISION.upgrade()


def downgrade() -> None:
    """Keep the phases and steps in the complement, and drop the columns in place: no table is made anew."""
    REVISION.downgrade()


def verify(connection: Connection) -> None:
    """Raise GenerationError with every difference between the store and session_buddy.v3."""
    REVISION.verify(connection)
