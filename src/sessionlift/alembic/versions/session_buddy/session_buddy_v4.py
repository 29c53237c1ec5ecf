"""session_buddy.v4: fourteen tables, six views and one trigger for analytics, beside what v3 has.

Measured on stores that the real program wrote. Facts kept on purpose:

- the tables are empty after an upgrade; the trigger fills ``skill_metrics_cache`` from the next invocation on, and
  its two counters only ever rise;
- the new tables refer to ``skill_metrics`` and to each other; the real program does not always enforce that;
- no column of an older table changes.
"""

from __future__ import annotations

from sqlalchemy import Connection

from sessionlift.alembic.versions.session_buddy import session_buddy_v3
from sessionlift.generations._series import replay
from sessionlift.generations._step import Record, Step, create_indexes

revision = "session_buddy_v4"
down_revision = "session_buddy_v3"
branch_labels = ("session_buddy.v4",)
depends_on = None
dialect = "sqlite"

_SKILL = "REFERENCES skill_metrics (skill_name)"

SKILL_METRICS_CACHE = f"""
CREATE TABLE skill_metrics_cache (
    skill_name TEXT PRIMARY KEY {_SKILL},
    last_invocation_at TEXT NOT NULL,
    invocation_count_1h INTEGER DEFAULT 0,
    invocation_count_24h INTEGER DEFAULT 0,
    avg_completion_rate_24h REAL,
    is_anomalous BOOLEAN DEFAULT 0,
    anomaly_score REAL,
    updated_at TEXT NOT NULL
)
"""

SKILL_TIME_SERIES = f"""
CREATE TABLE skill_time_series (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    skill_name TEXT NOT NULL {_SKILL},
    timestamp TEXT NOT NULL,
    invocation_count INTEGER DEFAULT 0,
    completion_rate REAL,
    avg_duration_seconds REAL,
    unique_sessions INTEGER DEFAULT 0
)
"""

SKILL_ANOMALIES = f"""
CREATE TABLE skill_anomalies (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    skill_name TEXT NOT NULL {_SKILL},
    detected_at TEXT NOT NULL,
    anomaly_type TEXT NOT NULL,
    baseline_value REAL,
    observed_value REAL,
    deviation_score REAL,
    resolved_at TEXT
)
"""

SKILL_COMMUNITY_BASELINES = f"""
CREATE TABLE skill_community_baselines (
    skill_name TEXT PRIMARY KEY {_SKILL},
    total_users INTEGER DEFAULT 0,
    total_invocations INTEGER DEFAULT 0,
    global_completion_rate REAL,
    global_avg_duration_seconds REAL,
    most_common_workflow_phase TEXT,
    effectiveness_percentile REAL,
    last_updated TEXT NOT NULL
)
"""

SKILL_USER_INTERACTIONS = f"""
CREATE TABLE skill_user_interactions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    skill_name TEXT NOT NULL {_SKILL},
    invoked_at TEXT NOT NULL,
    completed BOOLEAN NOT NULL,
    rating REAL,
    alternatives_considered TEXT
)
"""

SKILL_CLUSTERS = """
CREATE TABLE skill_clusters (
    cluster_id INTEGER PRIMARY KEY AUTOINCREMENT,
    cluster_name TEXT NOT NULL UNIQUE,
    description TEXT,
    centroid_embedding BLOB,
    created_at TEXT NOT NULL
)
"""

SKILL_CLUSTER_MEMBERSHIP = f"""
CREATE TABLE skill_cluster_membership (
    skill_name TEXT NOT NULL {_SKILL},
    cluster_id INTEGER NOT NULL REFERENCES skill_clusters (cluster_id),
    membership_score REAL,
    PRIMARY KEY (skill_name, cluster_id)
)
"""

AB_TEST_CONFIGS = """
CREATE TABLE ab_test_configs (
    test_id INTEGER PRIMARY KEY AUTOINCREMENT,
    test_name TEXT NOT NULL UNIQUE,
    description TEXT,
    control_strategy TEXT NOT NULL,
    treatment_strategy TEXT NOT NULL,
    start_date TEXT NOT NULL,
    end_date TEXT,
    min_sample_size INTEGER DEFAULT 100,
    metrics TEXT,
    assignment_ratio REAL DEFAULT 0.5,
    status TEXT DEFAULT 'running',
    created_at TEXT NOT NULL DEFAULT (datetime('now'))
)
"""

AB_TEST_ASSIGNMENTS = """
CREATE TABLE ab_test_assignments (
    assignment_id INTEGER PRIMARY KEY AUTOINCREMENT,
    test_id INTEGER NOT NULL REFERENCES ab_test_configs (test_id),
    user_id TEXT NOT NULL,
    group_name TEXT NOT NULL,
    assigned_at TEXT NOT NULL DEFAULT (datetime('now')),
    UNIQUE (test_id, user_id)
)
"""

AB_TEST_OUTCOMES = f"""
CREATE TABLE ab_test_outcomes (
    outcome_id INTEGER PRIMARY KEY AUTOINCREMENT,
    test_id INTEGER NOT NULL REFERENCES ab_test_configs (test_id),
    user_id TEXT NOT NULL,
    skill_name TEXT NOT NULL {_SKILL},
    completed BOOLEAN NOT NULL,
    duration_seconds REAL,
    user_rating REAL,
    recorded_at TEXT NOT NULL DEFAULT (datetime('now'))
)
"""

SKILL_CATEGORIES = """
CREATE TABLE skill_categories (
    category_id INTEGER PRIMARY KEY AUTOINCREMENT,
    category_name TEXT NOT NULL UNIQUE,
    parent_category_id INTEGER REFERENCES skill_categories (category_id),
    description TEXT,
    domain TEXT,
    created_at TEXT NOT NULL DEFAULT (datetime('now'))
)
"""

SKILL_CATEGORY_MAPPING = f"""
CREATE TABLE skill_category_mapping (
    skill_name TEXT NOT NULL {_SKILL},
    category_id INTEGER NOT NULL REFERENCES skill_categories (category_id),
    confidence_score REAL,
    assigned_at TEXT NOT NULL DEFAULT (datetime('now')),
    PRIMARY KEY (skill_name, category_id)
)
"""

SKILL_DEPENDENCIES = f"""
CREATE TABLE skill_dependencies (
    skill_a TEXT NOT NULL {_SKILL},
    skill_b TEXT NOT NULL {_SKILL},
    co_occurrence_count INTEGER DEFAULT 1,
    lift_score REAL,
    last_updated TEXT NOT NULL DEFAULT (datetime('now')),
    PRIMARY KEY (skill_a, skill_b)
)
"""

SKILL_MODALITIES = f"""
CREATE TABLE skill_modalities (
    skill_name TEXT PRIMARY KEY {_SKILL},
    modality_type TEXT NOT NULL,
    input_format TEXT,
    output_format TEXT,
    requires_human_review BOOLEAN DEFAULT 0,
    created_at TEXT NOT NULL DEFAULT (datetime('now'))
)
"""

# index -> table and columns
_V4_INDEXES = {
    "idx_metrics_cache_updated": ("skill_metrics_cache", "updated_at"),
    "idx_time_series_skill_timestamp": ("skill_time_series", "skill_name, timestamp DESC"),
    "idx_anomalies_detected_at": ("skill_anomalies", "detected_at DESC"),
    "idx_anomalies_skill": ("skill_anomalies", "skill_name, detected_at DESC"),
    "idx_user_interactions_user": ("skill_user_interactions", "user_id, invoked_at DESC"),
    "idx_user_interactions_skill": ("skill_user_interactions", "skill_name, completed"),
    "idx_user_interactions_session": ("skill_user_interactions", "session_id"),
    "idx_cluster_membership_cluster": ("skill_cluster_membership", "cluster_id"),
    "idx_ab_assignments_test_user": ("ab_test_assignments", "test_id, user_id"),
    "idx_ab_assignments_group": ("ab_test_assignments", "test_id, group_name"),
    "idx_ab_outcomes_test": ("ab_test_outcomes", "test_id"),
    "idx_ab_outcomes_user": ("ab_test_outcomes", "test_id, user_id"),
    "idx_category_mapping_skill": ("skill_category_mapping", "skill_name"),
    "idx_category_mapping_category": ("skill_category_mapping", "category_id"),
    "idx_dependencies_skill_a": ("skill_dependencies", "skill_a"),
    "idx_dependencies_lift": ("skill_dependencies", "lift_score DESC"),
}

V_REALTIME_SKILL_DASHBOARD = """
CREATE VIEW v_realtime_skill_dashboard AS
SELECT
    cache.skill_name,
    cache.last_invocation_at,
    cache.invocation_count_1h,
    cache.invocation_count_24h,
    cache.avg_completion_rate_24h,
    cache.is_anomalous,
    cache.anomaly_score,
    metrics.total_invocations,
    metrics.completion_rate,
    metrics.avg_duration_seconds
FROM skill_metrics_cache AS cache
JOIN skill_metrics AS metrics ON metrics.skill_name = cache.skill_name
ORDER BY cache.invocation_count_24h DESC
"""

# not a slope: the span between the best and the worst day, by the days but one
V_SKILL_EFFECTIVENESS_TREND = """
CREATE VIEW v_skill_effectiveness_trend AS
SELECT
    skill_name,
    avg(rate) AS avg_completion_rate_7d,
    max(rate) AS max_completion_rate_7d,
    min(rate) AS min_completion_rate_7d,
    (max(rate) - min(rate)) / nullif(count(*) - 1, 1) AS trend_slope
FROM (
    SELECT skill_name, avg(iif(completed = 1, 1.0, 0.0)) AS rate
    FROM skill_invocation
    WHERE datetime(invoked_at) >= datetime('now', '-7 days')
    GROUP BY skill_name, date(invoked_at)
)
GROUP BY skill_name
"""

# user_invocations counts sessions, and the two rates have different units, as in the real view
V_COMMUNITY_BASELINE_COMPARISON = """
CREATE VIEW v_community_baseline_comparison AS
SELECT
    used.skill_name,
    count(DISTINCT used.session_id) AS user_invocations,
    avg(iif(used.completed = 1, 1.0, 0.0)) AS user_completion_rate,
    baseline.global_completion_rate AS baseline_completion_rate,
    baseline.effectiveness_percentile,
    avg(iif(used.completed = 1, 1.0, 0.0)) - baseline.global_completion_rate AS delta_from_baseline
FROM skill_invocation AS used
JOIN skill_community_baselines AS baseline ON baseline.skill_name = used.skill_name
GROUP BY used.skill_name, baseline.global_completion_rate, baseline.effectiveness_percentile
"""

V_SKILL_DEPENDENCY_NETWORK = """
CREATE VIEW v_skill_dependency_network AS
SELECT
    skill_a,
    skill_b,
    co_occurrence_count,
    lift_score,
    CASE
        WHEN lift_score > 2 THEN 'strong_positive'
        WHEN lift_score > 1.5 THEN 'moderate_positive'
        WHEN lift_score > 1 THEN 'weak_positive'
        WHEN lift_score = 1 THEN 'independent'
        WHEN lift_score > 0.5 THEN 'weak_negative'
        ELSE 'moderate_negative'
    END AS relationship_type
FROM skill_dependencies
WHERE lift_score IS NOT NULL
ORDER BY co_occurrence_count DESC
"""

# a user with several outcomes counts several times in the groups, as in the real view
V_AB_TEST_SUMMARY = """
CREATE VIEW v_ab_test_summary AS
SELECT
    test.test_id,
    test.test_name,
    test.control_strategy,
    test.treatment_strategy,
    test.status,
    count(DISTINCT assigned.user_id) AS total_users,
    sum(CASE WHEN assigned.group_name = 'control' THEN 1 ELSE 0 END) AS control_users,
    sum(CASE WHEN assigned.group_name = 'treatment' THEN 1 ELSE 0 END) AS treatment_users,
    avg(CASE WHEN outcome.completed = 1 AND assigned.group_name = 'control' THEN 1.0 END) AS control_completion_rate,
    avg(CASE WHEN outcome.completed = 1 AND assigned.group_name = 'treatment' THEN 1.0 END)
        AS treatment_completion_rate
FROM ab_test_configs AS test
LEFT JOIN ab_test_assignments AS assigned ON assigned.test_id = test.test_id
LEFT JOIN ab_test_outcomes AS outcome ON outcome.test_id = test.test_id AND outcome.user_id = assigned.user_id
GROUP BY test.test_id, test.test_name, test.control_strategy, test.treatment_strategy, test.status
"""

V_MULTIMODAL_SKILL_CATALOG = """
CREATE VIEW v_multimodal_skill_catalog AS
SELECT
    used.skill_name,
    modality.modality_type,
    modality.input_format,
    modality.output_format,
    modality.requires_human_review,
    count(DISTINCT used.session_id) AS total_sessions,
    avg(iif(used.completed = 1, 1.0, 0.0)) AS completion_rate,
    avg(used.duration_seconds) AS avg_duration_seconds,
    category.category_name,
    category.domain
FROM skill_invocation AS used
LEFT JOIN skill_modalities AS modality ON modality.skill_name = used.skill_name
LEFT JOIN skill_category_mapping AS mapped ON mapped.skill_name = used.skill_name
LEFT JOIN skill_categories AS category ON category.category_id = mapped.category_id
GROUP BY
    used.skill_name, modality.modality_type, modality.input_format, modality.output_format,
    modality.requires_human_review, category.category_name, category.domain
ORDER BY used.skill_name
"""

TRG_METRICS_CACHE = """
CREATE TRIGGER trg_metrics_cache_after_insert AFTER INSERT ON skill_invocation
BEGIN
    INSERT INTO skill_metrics_cache (
        skill_name, last_invocation_at, invocation_count_1h, invocation_count_24h, updated_at
    )
    VALUES (NEW.skill_name, NEW.invoked_at, 1, 1, datetime('now'))
    ON CONFLICT (skill_name) DO UPDATE
    SET last_invocation_at = excluded.last_invocation_at,
        invocation_count_1h = invocation_count_1h + 1,
        invocation_count_24h = invocation_count_24h + 1,
        updated_at = excluded.updated_at;
END
"""

REVISION = Step(
    name="session_buddy.v4",
    revision=revision,
    dialect=dialect,
    after=session_buddy_v3.REVISION,
    tables={
        "skill_metrics_cache": SKILL_METRICS_CACHE,
        "skill_time_series": SKILL_TIME_SERIES,
        "skill_anomalies": SKILL_ANOMALIES,
        "skill_community_baselines": SKILL_COMMUNITY_BASELINES,
        "skill_user_interactions": SKILL_USER_INTERACTIONS,
        "skill_clusters": SKILL_CLUSTERS,
        "skill_cluster_membership": SKILL_CLUSTER_MEMBERSHIP,
        "ab_test_configs": AB_TEST_CONFIGS,
        "ab_test_assignments": AB_TEST_ASSIGNMENTS,
        "ab_test_outcomes": AB_TEST_OUTCOMES,
        "skill_categories": SKILL_CATEGORIES,
        "skill_category_mapping": SKILL_CATEGORY_MAPPING,
        "skill_dependencies": SKILL_DEPENDENCIES,
        "skill_modalities": SKILL_MODALITIES,
    },
    indexes=create_indexes(_V4_INDEXES),
    views={
        "v_realtime_skill_dashboard": V_REALTIME_SKILL_DASHBOARD,
        "v_skill_effectiveness_trend": V_SKILL_EFFECTIVENESS_TREND,
        "v_community_baseline_comparison": V_COMMUNITY_BASELINE_COMPARISON,
        "v_skill_dependency_network": V_SKILL_DEPENDENCY_NETWORK,
        "v_ab_test_summary": V_AB_TEST_SUMMARY,
        "v_multimodal_skill_catalog": V_MULTIMODAL_SKILL_CATALOG,
    },
    triggers={"trg_metrics_cache_after_insert": TRG_METRICS_CACHE},
    record=Record(
        "skill_migrations",
        "V4__phase4_extensions",
        "Phase 4: Advanced analytics, real-time monitoring, cross-session learning, and multi-modal skills",
    ),
    history="skill_invocation",
    alike={"skill_time_series": ("skill_name", "timestamp")},
    replay=replay,
)


def upgrade() -> None:
    """Make the tables, indexes, views and the trigger; what a way down kept comes back, and what was invoked since
    is counted in once."""
    REVISION.upgrade()


def downgrade() -> None:
    """Keep every row, row id counter and the program's own record in the complement, and take the rest away."""
    REVISION.downgrade()


def verify(connection: Connection) -> None:
    """Raise GenerationError with every difference between the store and session_buddy.v4."""
    REVISION.verify(connection)
