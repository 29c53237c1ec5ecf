"""session_buddy.v1 on SQLite and libSQL: the skills store that Session-Buddy's first migration creates.

Measured on stores that the real program wrote. Equal to them by introspection, by the rows of the views and by what
the triggers do. The wording is our own. Facts kept on purpose:

- ``skill_migrations`` is the program's own record; its manager writes the row of the first generation;
- the search index ``skill_invocation_fts`` has no triggers, and nobody fills it; nor ``mv_daily_skills``;
- a skill's rates are percents, and move only once an invocation of it was completed;
- there are no foreign keys.
"""

from __future__ import annotations

from sqlalchemy import Connection

from sessionlift.generations._step import Record, Step, create_indexes

revision = "session_buddy_v1"
down_revision = None
branch_labels = ("session_buddy.v1",)
depends_on = None
dialect = "sqlite"

SKILL_MIGRATIONS = """
CREATE TABLE skill_migrations (
    version TEXT PRIMARY KEY,
    applied_at TEXT NOT NULL,
    description TEXT,
    rollback_sql TEXT,
    checksum TEXT,
    applied_by TEXT DEFAULT 'session-buddy',
    success BOOLEAN NOT NULL DEFAULT 1
)
"""

SKILL_INVOCATION = """
CREATE TABLE skill_invocation (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    skill_name TEXT NOT NULL,
    invoked_at TEXT NOT NULL,
    session_id TEXT NOT NULL,
    workflow_path TEXT,
    completed BOOLEAN NOT NULL DEFAULT 0,
    duration_seconds REAL,
    user_query TEXT,
    alternatives_considered TEXT,
    selection_rank INTEGER,
    follow_up_actions TEXT,
    error_type TEXT,
    created_at TEXT NOT NULL DEFAULT (datetime('now'))
)
"""

SKILL_INVOCATION_FTS = """
CREATE VIRTUAL TABLE skill_invocation_fts USING fts5 (user_query, content = skill_invocation, content_rowid = id)
"""

SKILL_METRICS = """
CREATE TABLE skill_metrics (
    skill_name TEXT PRIMARY KEY,
    total_invocations INTEGER NOT NULL DEFAULT 0,
    completed_invocations INTEGER NOT NULL DEFAULT 0,
    abandoned_invocations INTEGER NOT NULL DEFAULT 0,
    total_duration_seconds REAL NOT NULL DEFAULT 0.0,
    workflow_paths TEXT NOT NULL DEFAULT '{}',
    common_errors TEXT NOT NULL DEFAULT '{}',
    follow_up_actions TEXT NOT NULL DEFAULT '{}',
    avg_selection_rank REAL,
    recommendation_success_rate REAL,
    first_invoked TEXT,
    last_invoked TEXT,
    completion_rate REAL NOT NULL DEFAULT 0.0,
    avg_duration_seconds REAL,
    updated_at TEXT NOT NULL DEFAULT (datetime('now'))
)
"""

SESSION_SKILLS = """
CREATE TABLE session_skills (
    session_id TEXT NOT NULL,
    skill_name TEXT NOT NULL,
    invocation_count INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (session_id, skill_name)
)
"""

MV_DAILY_SKILLS = """
CREATE TABLE mv_daily_skills (
    date TEXT NOT NULL,
    skill_name TEXT NOT NULL,
    invocations INTEGER NOT NULL,
    completions INTEGER NOT NULL,
    abandonments INTEGER NOT NULL,
    avg_duration_seconds REAL,
    PRIMARY KEY (date, skill_name)
)
"""

# index -> table and columns
_V1_INDEXES = {
    "idx_invocation_session": ("skill_invocation", "session_id"),
    "idx_invocation_skill": ("skill_invocation", "skill_name"),
    "idx_invocation_invoked_at": ("skill_invocation", "invoked_at DESC"),
    "idx_invocation_session_completed": ("skill_invocation", "session_id, completed"),
    "idx_session_skills_skill": ("session_skills", "skill_name"),
    "idx_migrations_applied_at": ("skill_migrations", "applied_at DESC"),
    "idx_mv_daily_date": ("mv_daily_skills", "date DESC"),
    "idx_mv_daily_skill": ("mv_daily_skills", "skill_name"),
}

V_SESSION_SKILL_SUMMARY = """
CREATE VIEW v_session_skill_summary AS
SELECT
    session_id,
    count(DISTINCT skill_name) AS unique_skills,
    count(*) AS total_invocations,
    sum(completed = 1) AS completed_count,
    sum(completed = 0) AS abandoned_count,
    sum(ifnull(duration_seconds, 0)) AS total_duration_seconds,
    min(invoked_at) AS first_skill_at,
    max(invoked_at) AS last_skill_at
FROM skill_invocation
GROUP BY session_id
"""

V_SKILL_EFFECTIVENESS = """
CREATE VIEW v_skill_effectiveness AS
SELECT
    skill_name,
    total_invocations,
    completed_invocations,
    abandoned_invocations,
    completion_rate,
    avg_duration_seconds,
    first_invoked,
    last_invoked,
    CAST(julianday('now') - julianday(last_invoked) AS INTEGER) AS days_since_last_use
FROM skill_metrics
WHERE total_invocations > 0
ORDER BY total_invocations DESC
"""

# the count of the path used most, as the real view gives it, not the path's name
V_TOP_SKILLS = """
CREATE VIEW v_top_skills AS
SELECT
    skill_name,
    total_invocations,
    completion_rate,
    avg_duration_seconds,
    json_extract(
        workflow_paths,
        '$.' || (SELECT path."key" FROM json_each(workflow_paths) AS path ORDER BY path.value DESC LIMIT 1)
    ) AS preferred_workflow
FROM skill_metrics
WHERE total_invocations > 0
ORDER BY total_invocations DESC
"""

V_DAILY_SKILL_SOURCE = """
CREATE VIEW v_daily_skill_source AS
SELECT
    date(invoked_at) AS date,
    skill_name,
    count(*) AS invocations,
    sum(completed = 1) AS completions,
    sum(completed = 0) AS abandonments,
    avg(iif(completed = 1, duration_seconds, NULL)) AS avg_duration_seconds
FROM skill_invocation
GROUP BY date(invoked_at), skill_name
"""

# two updates: the rates are worked out from the counters as the first one leaves them
TRG_SKILL_METRICS = """
CREATE TRIGGER trg_skill_metrics_after_insert AFTER INSERT ON skill_invocation
BEGIN
    INSERT INTO skill_metrics (skill_name, first_invoked, last_invoked)
    SELECT NEW.skill_name, NEW.invoked_at, NEW.invoked_at
    WHERE NOT EXISTS (SELECT 1 FROM skill_metrics WHERE skill_name = NEW.skill_name);

    UPDATE skill_metrics
    SET total_invocations = total_invocations + 1,
        last_invoked = NEW.invoked_at,
        completed_invocations = completed_invocations + (NEW.completed = 1),
        abandoned_invocations = abandoned_invocations + (NEW.completed = 0),
        total_duration_seconds = total_duration_seconds + iif(NEW.completed = 1, ifnull(NEW.duration_seconds, 0), 0),
        workflow_paths = CASE
            WHEN NEW.workflow_path IS NULL THEN workflow_paths
            ELSE json_set(
                workflow_paths,
                '$.' || NEW.workflow_path,
                ifnull(json_extract(workflow_paths, '$.' || NEW.workflow_path), 0) + 1
            )
        END,
        common_errors = CASE
            WHEN NEW.error_type IS NULL THEN common_errors
            ELSE json_set(
                common_errors,
                '$.' || NEW.error_type,
                ifnull(json_extract(common_errors, '$.' || NEW.error_type), 0) + 1
            )
        END,
        follow_up_actions = CASE
            WHEN NEW.follow_up_actions IS NULL THEN follow_up_actions
            ELSE json_set(
                follow_up_actions,
                '$.' || json_extract(NEW.follow_up_actions, '$[0]'),
                ifnull(json_extract(follow_up_actions, '$.' || json_extract(NEW.follow_up_actions, '$[0]')), 0) + 1
            )
        END
    WHERE skill_name = NEW.skill_name;

    UPDATE skill_metrics
    SET completion_rate = CASE
            WHEN completed_invocations > 0
            THEN CAST(completed_invocations AS REAL) / nullif(total_invocations, 0) * 100.0
            ELSE completion_rate
        END,
        avg_duration_seconds = total_duration_seconds / nullif(completed_invocations, 0),
        updated_at = datetime('now')
    WHERE skill_name = NEW.skill_name AND completed_invocations >= 0;
END
"""

TRG_SESSION_SKILLS = """
CREATE TRIGGER trg_session_skills_after_insert AFTER INSERT ON skill_invocation
BEGIN
    INSERT INTO session_skills (session_id, skill_name)
    VALUES (NEW.session_id, NEW.skill_name)
    ON CONFLICT (session_id, skill_name) DO UPDATE SET invocation_count = invocation_count + 1;
END
"""

REVISION = Step(
    name="session_buddy.v1",
    revision=revision,
    dialect=dialect,
    tables={
        "skill_migrations": SKILL_MIGRATIONS,
        "skill_invocation": SKILL_INVOCATION,
        "skill_invocation_fts": SKILL_INVOCATION_FTS,
        "skill_metrics": SKILL_METRICS,
        "session_skills": SESSION_SKILLS,
        "mv_daily_skills": MV_DAILY_SKILLS,
    },
    indexes=create_indexes(_V1_INDEXES),
    views={
        "v_session_skill_summary": V_SESSION_SKILL_SUMMARY,
        "v_skill_effectiveness": V_SKILL_EFFECTIVENESS,
        "v_top_skills": V_TOP_SKILLS,
        "v_daily_skill_source": V_DAILY_SKILL_SOURCE,
    },
    triggers={
        "trg_skill_metrics_after_insert": TRG_SKILL_METRICS,
        "trg_session_skills_after_insert": TRG_SESSION_SKILLS,
    },
    record=Record("skill_migrations", "V1__initial_schema", "Initial Schema"),
)


def upgrade() -> None:
    """Make everything; a store that has exactly it already is taken as it is, with its rows."""
    REVISION.upgrade()


def downgrade() -> None:
    """Drop everything; refuses while any table holds rows, or while something is kept for a later generation."""
    REVISION.downgrade()


def verify(connection: Connection) -> None:
    """Raise GenerationError with every difference between the store and session_buddy.v1."""
    REVISION.verify(connection)
