"""synth.v2 on DuckDB: the schema of synth-ai's tracing v2, in its final form and in its early/mid dress.

Both dresses are one generation: the same columns in the same order. The early/mid one declares foreign keys
from timesteps, events and messages, and has no view ``experiment_overview``. The final form is made unless
the command says ``-x dress=mid``.
"""

from __future__ import annotations

from alembic import context, op
from sqlalchemy import Connection

from sessionlift.generations._revision import Revision, option
from sessionlift.generations._structure import reads_foreign_keys

revision = "synth_v2"
down_revision = None
branch_labels = ("synth.v2",)
depends_on = None
dialect = "duckdb"
DRESSES = ("final", "mid")

SESSION_TRACES = """
CREATE TABLE session_traces (
    session_id VARCHAR,
    created_at TIMESTAMP,
    num_timesteps INTEGER,
    num_events INTEGER,
    num_messages INTEGER,
    metadata JSON,
    experiment_id VARCHAR,
    PRIMARY KEY (session_id)
)
"""

SYSTEMS = """
CREATE TABLE systems (
    id VARCHAR,
    name VARCHAR NOT NULL,
    description VARCHAR,
    PRIMARY KEY (id)
)
"""

SYSTEM_VERSIONS = """
CREATE TABLE system_versions (
    id VARCHAR,
    system_id VARCHAR NOT NULL,
    branch VARCHAR,
    "commit" VARCHAR,
    created_at TIMESTAMP NOT NULL,
    description VARCHAR,
    PRIMARY KEY (id),
    FOREIGN KEY (system_id) REFERENCES systems (id)
)
"""

EXPERIMENTS = """
CREATE TABLE experiments (
    id VARCHAR,
    name VARCHAR NOT NULL,
    description VARCHAR,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL,
    PRIMARY KEY (id)
)
"""

EXPERIMENTAL_SYSTEMS = """
CREATE TABLE experimental_systems (
    experiment_id VARCHAR,
    system_id VARCHAR,
    system_version_id VARCHAR NOT NULL,
    PRIMARY KEY (experiment_id, system_id),
    FOREIGN KEY (experiment_id) REFERENCES experiments (id),
    FOREIGN KEY (system_id) REFERENCES systems (id),
    FOREIGN KEY (system_version_id) REFERENCES system_versions (id)
)
"""

MODEL_USAGE_STATS = """
CREATE VIEW model_usage_stats AS
SELECT
    model_name,
    provider,
    count(*) AS call_count,
    sum(prompt_tokens) AS total_prompt_tokens,
    sum(completion_tokens) AS total_completion_tokens,
    sum(total_tokens) AS total_tokens,
    avg(latency_ms) AS avg_latency_ms,
    sum(cost) AS total_cost,
    min(event_time) AS first_call,
    max(event_time) AS last_call
FROM events
WHERE model_name IS NOT NULL AND event_type = 'cais'
GROUP BY model_name, provider
"""

SESSION_SUMMARY = """
CREATE VIEW session_summary AS
SELECT
    trace.session_id,
    trace.created_at,
    trace.num_timesteps,
    trace.num_events,
    trace.num_messages,
    count(DISTINCT call.model_name) AS models_used,
    count(DISTINCT call.provider) AS providers_used,
    sum(call.total_tokens) AS total_tokens_used,
    sum(call.cost) AS total_cost
FROM session_traces AS trace
LEFT JOIN events AS call ON call.session_id = trace.session_id AND call.event_type = 'cais'
GROUP BY trace.session_id, trace.created_at, trace.num_timesteps, trace.num_events, trace.num_messages
"""

EXPERIMENT_OVERVIEW = """
CREATE VIEW experiment_overview AS
SELECT
    experiment.id AS experiment_id,
    experiment.name AS experiment_name,
    count(DISTINCT trace.session_id) AS session_count,
    count(DISTINCT link.system_id) AS system_count,
    min(trace.created_at) AS first_session,
    max(trace.created_at) AS last_session
FROM experiments AS experiment
LEFT JOIN session_traces AS trace ON trace.experiment_id = experiment.id
LEFT JOIN experimental_systems AS link ON link.experiment_id = experiment.id
GROUP BY experiment.id, experiment.name
"""


def _timesteps(keys: str) -> str:
    return f"""
CREATE TABLE session_timesteps (
    id INTEGER DEFAULT nextval('timestep_id_seq'),
    session_id VARCHAR NOT NULL,
    step_id VARCHAR NOT NULL,
    step_index INTEGER NOT NULL,
    timestamp TIMESTAMP NOT NULL,
    num_events INTEGER,
    num_messages INTEGER,
    step_metadata JSON,
    PRIMARY KEY (id),
    UNIQUE (session_id, step_id){keys}
)
"""


def _events(keys: str) -> str:
    return f"""
CREATE TABLE events (
    id INTEGER DEFAULT nextval('event_id_seq'),
    session_id VARCHAR NOT NULL,
    timestep_id INTEGER,
    event_type VARCHAR NOT NULL,
    system_instance_id VARCHAR NOT NULL,
    event_time TIMESTAMP,
    message_time INTEGER,
    span_id VARCHAR,
    trace_id VARCHAR,
    model_name VARCHAR,
    provider VARCHAR,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    total_tokens INTEGER,
    cost DOUBLE,
    latency_ms DOUBLE,
    reward DOUBLE,
    terminated BOOLEAN,
    system_state_before JSON,
    system_state_after JSON,
    metadata JSON,
    event_metadata JSON,
    PRIMARY KEY (id){keys}
)
"""


def _messages(keys: str) -> str:
    return f"""
CREATE TABLE messages (
    id INTEGER DEFAULT nextval('message_id_seq'),
    session_id VARCHAR NOT NULL,
    timestep_id INTEGER,
    message_type VARCHAR NOT NULL,
    content JSON NOT NULL,
    timestamp TIMESTAMP,
    event_time TIMESTAMP,
    message_time INTEGER,
    PRIMARY KEY (id){keys}
)
"""


_INDEXES = {
    "idx_events_session_time": ("events", "session_id, event_time"),
    "idx_events_system": ("events", "system_instance_id, event_type"),
    "idx_events_model": ("events", "model_name, provider"),
    "idx_messages_session_time": ("messages", "session_id, timestamp"),
    "idx_messages_type": ("messages", "message_type"),
    "idx_system_versions_system": ("system_versions", "system_id"),
    "idx_experimental_systems": ("experimental_systems", "experiment_id"),
    "idx_session_experiment": ("session_traces", "experiment_id"),
}


def build(*, mid: bool, overview: bool | None = None) -> Revision:
    """The revision in one of its two dresses. Without ``overview`` the final form has that view alone."""
    session = ", FOREIGN KEY (session_id) REFERENCES session_traces (session_id)" if mid else ""
    step = ", FOREIGN KEY (timestep_id) REFERENCES session_timesteps (id)" if mid else ""
    views = {"model_usage_stats": MODEL_USAGE_STATS, "session_summary": SESSION_SUMMARY}
    if overview if overview is not None else not mid:
        views["experiment_overview"] = EXPERIMENT_OVERVIEW
    return Revision(
        name="synth.v2, early/mid dress" if mid else "synth.v2",
        dialect=dialect,
        sequences={
            name: f"CREATE SEQUENCE {name} START 1" for name in ("timestep_id_seq", "event_id_seq", "message_id_seq")
        },
        tables={
            "session_traces": SESSION_TRACES,
            "session_timesteps": _timesteps(session),
            "events": _events(session + step),
            "messages": _messages(session + step),
            "systems": SYSTEMS,
            "system_versions": SYSTEM_VERSIONS,
            "experiments": EXPERIMENTS,
            "experimental_systems": EXPERIMENTAL_SYSTEMS,
        },
        indexes={name: f"CREATE INDEX {name} ON {table} ({columns})" for name, (table, columns) in _INDEXES.items()},
        views=views,
    )


def upgrade() -> None:
    """Make the sequences, tables, indexes and views, in the dress that ``-x dress=`` names.

    A store that the real program made is taken as it is, in the dress it wears.
    """
    asked = option("dress", set(DRESSES), default="final")
    worn = not context.is_offline_mode() and reads_foreign_keys(op.get_bind(), "events")
    build(mid=asked == "mid" or worn).upgrade()


def downgrade() -> None:
    """Drop them; refuses while any table holds rows."""
    # the order that the early/mid dress needs is right for both; the final form's view is dropped where it is
    build(mid=True, overview=True).downgrade()


def verify(connection: Connection) -> None:
    """Raise GenerationError with every difference between the store and synth.v2 in the dress it wears."""
    build(mid=reads_foreign_keys(connection, "events")).verify(connection)
