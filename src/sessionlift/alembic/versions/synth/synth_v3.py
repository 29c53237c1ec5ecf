"""synth.v3 on SQLite and libSQL: the schema that synth-ai 0.2.10 to 0.2.24 creates.

Measured on an empty store that 0.2.10 made; 0.2.16 makes the same. Equal to it by introspection: columns and
their order, declared types, defaults, keys, CHECKs, indexes and views. The wording is our own. Facts kept on
purpose:

- primary keys of text are nullable, as SQLite lets them be, and ``embedding`` has the type VECTOR, never
  written;
- ``cost_usd`` and ``latency_ms`` are INTEGER, and hold a fraction where a value has one;
- the foreign keys are declared, and the real program does not enforce them.
"""

from __future__ import annotations

from sqlalchemy import Connection

from sessionlift.generations._revision import Revision

revision = "synth_v3"
down_revision = None
branch_labels = ("synth.v3",)
depends_on = None
dialect = "sqlite"

EXPERIMENTS = """
CREATE TABLE experiments (
    experiment_id VARCHAR,
    name VARCHAR NOT NULL,
    description TEXT,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    configuration TEXT,
    metadata TEXT,
    PRIMARY KEY (experiment_id)
)
"""

SYSTEMS = """
CREATE TABLE systems (
    system_id VARCHAR,
    name VARCHAR NOT NULL,
    system_type VARCHAR,
    description TEXT,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    metadata TEXT,
    PRIMARY KEY (system_id)
)
"""

SYSTEM_VERSIONS = """
CREATE TABLE system_versions (
    version_id VARCHAR,
    system_id VARCHAR NOT NULL REFERENCES systems (system_id),
    version_number VARCHAR NOT NULL,
    commit_hash VARCHAR,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    configuration TEXT,
    metadata TEXT,
    PRIMARY KEY (version_id),
    UNIQUE (system_id, version_number)
)
"""

EXPERIMENTAL_SYSTEMS = """
CREATE TABLE experimental_systems (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    experiment_id VARCHAR NOT NULL REFERENCES experiments (experiment_id),
    system_id VARCHAR NOT NULL REFERENCES systems (system_id),
    version_id VARCHAR NOT NULL REFERENCES system_versions (version_id)
)
"""

SESSION_TRACES = """
CREATE TABLE session_traces (
    session_id VARCHAR,
    created_at DATETIME NOT NULL,
    num_timesteps INTEGER NOT NULL,
    num_events INTEGER NOT NULL,
    num_messages INTEGER NOT NULL,
    metadata TEXT,
    experiment_id VARCHAR REFERENCES experiments (experiment_id),
    embedding VECTOR,
    PRIMARY KEY (session_id)
)
"""

SESSION_TIMESTEPS = """
CREATE TABLE session_timesteps (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id VARCHAR NOT NULL REFERENCES session_traces (session_id),
    step_id VARCHAR NOT NULL,
    step_index INTEGER NOT NULL,
    turn_number INTEGER,
    started_at DATETIME,
    completed_at DATETIME,
    num_events INTEGER,
    num_messages INTEGER,
    step_metadata TEXT,
    UNIQUE (session_id, step_id)
)
"""

EVENTS = """
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id VARCHAR NOT NULL REFERENCES session_traces (session_id),
    timestep_id INTEGER REFERENCES session_timesteps (id),
    event_type VARCHAR NOT NULL,
    system_instance_id VARCHAR,
    event_time FLOAT,
    message_time INTEGER,
    created_at DATETIME,
    model_name VARCHAR,
    provider VARCHAR,
    input_tokens INTEGER,
    output_tokens INTEGER,
    total_tokens INTEGER,
    cost_usd INTEGER,
    latency_ms INTEGER,
    span_id VARCHAR,
    trace_id VARCHAR,
    call_records TEXT,
    reward FLOAT,
    terminated BOOLEAN,
    truncated BOOLEAN,
    system_state_before TEXT,
    system_state_after TEXT,
    metadata TEXT,
    event_metadata TEXT,
    embedding VECTOR,
    CHECK (event_type IN ('cais', 'environment', 'runtime'))
)
"""

MESSAGES = """
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id VARCHAR NOT NULL REFERENCES session_traces (session_id),
    timestep_id INTEGER REFERENCES session_timesteps (id),
    message_type VARCHAR NOT NULL,
    content TEXT NOT NULL,
    timestamp DATETIME,
    event_time FLOAT,
    message_time INTEGER,
    metadata TEXT,
    embedding VECTOR,
    CHECK (message_type IN ('user', 'assistant', 'system', 'tool_use', 'tool_result'))
)
"""

OUTCOME_REWARDS = """
CREATE TABLE outcome_rewards (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id VARCHAR NOT NULL REFERENCES session_traces (session_id),
    total_reward INTEGER NOT NULL,
    achievements_count INTEGER NOT NULL,
    total_steps INTEGER NOT NULL,
    created_at DATETIME NOT NULL,
    reward_metadata TEXT
)
"""

EVENT_REWARDS = """
CREATE TABLE event_rewards (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id INTEGER NOT NULL REFERENCES events (id),
    session_id VARCHAR NOT NULL REFERENCES session_traces (session_id),
    message_id INTEGER REFERENCES messages (id),
    turn_number INTEGER,
    reward_value FLOAT NOT NULL,
    reward_type VARCHAR,
    "key" VARCHAR,
    annotation TEXT,
    source VARCHAR,
    created_at DATETIME NOT NULL
)
"""

MODEL_USAGE_STATS = """
CREATE VIEW model_usage_stats AS
SELECT
    model_name,
    provider,
    count(*) AS usage_count,
    sum(input_tokens) AS total_input_tokens,
    sum(output_tokens) AS total_output_tokens,
    sum(total_tokens) AS total_tokens,
    sum(cost_usd) / 100.0 AS total_cost_usd,
    avg(latency_ms) AS avg_latency_ms,
    min(created_at) AS first_used,
    max(created_at) AS last_used
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
    experiment.experiment_id,
    experiment.name AS experiment_name,
    count(DISTINCT event.model_name) AS unique_models_used,
    sum(CASE event.event_type WHEN 'cais' THEN event.cost_usd ELSE 0 END) / 100.0 AS total_cost_usd
FROM session_traces AS trace
LEFT JOIN experiments AS experiment ON experiment.experiment_id = trace.experiment_id
LEFT JOIN events AS event ON event.session_id = trace.session_id
GROUP BY trace.session_id
"""

EXPERIMENT_OVERVIEW = """
CREATE VIEW experiment_overview AS
SELECT
    experiment.experiment_id,
    experiment.name,
    experiment.description,
    experiment.created_at,
    count(DISTINCT trace.session_id) AS session_count,
    sum(trace.num_events) AS total_events,
    sum(trace.num_messages) AS total_messages,
    avg(trace.num_timesteps) AS avg_timesteps_per_session
FROM experiments AS experiment
LEFT JOIN session_traces AS trace ON trace.experiment_id = experiment.experiment_id
GROUP BY experiment.experiment_id
"""

# index -> table, columns; the two uq_ ones are unique
_INDEXES = {
    "idx_session_created": ("session_traces", "created_at"),
    "idx_session_experiment": ("session_traces", "experiment_id"),
    "idx_timestep_session_step": ("session_timesteps", "session_id, step_id"),
    "idx_timestep_turn": ("session_timesteps", "turn_number"),
    "idx_event_session_step": ("events", "session_id, timestep_id"),
    "idx_event_type": ("events", "event_type"),
    "idx_event_created": ("events", "created_at"),
    "idx_event_model": ("events", "model_name"),
    "idx_event_trace": ("events", "trace_id"),
    "idx_message_session_step": ("messages", "session_id, timestep_id"),
    "idx_message_type": ("messages", "message_type"),
    "idx_message_timestamp": ("messages", "timestamp"),
    "idx_experiment_created": ("experiments", "created_at"),
    "idx_experiment_name": ("experiments", "name"),
    "idx_system_name": ("systems", "name"),
    "idx_system_type": ("systems", "system_type"),
    "uq_system_version": ("system_versions", "system_id, version_number"),
    "idx_version_system": ("system_versions", "system_id"),
    "idx_version_created": ("system_versions", "created_at"),
    "uq_experiment_system": ("experimental_systems", "experiment_id, system_id"),
    "idx_experimental_system": ("experimental_systems", "experiment_id, system_id"),
    "idx_outcome_rewards_session": ("outcome_rewards", "session_id"),
    "idx_outcome_rewards_total": ("outcome_rewards", "total_reward"),
    "idx_event_rewards_session": ("event_rewards", "session_id"),
    "idx_event_rewards_event": ("event_rewards", "event_id"),
    "idx_event_rewards_type": ("event_rewards", "reward_type"),
    "idx_event_rewards_key": ("event_rewards", '"key"'),
}

INDEXES = {
    name: (table, f"CREATE {'UNIQUE ' if name.startswith('uq_') else ''}INDEX {name} ON {table} ({columns})")
    for name, (table, columns) in _INDEXES.items()
}
"""By name the table of each index and what makes it: a long move leaves some out at first."""

_REVISION = Revision(
    name="synth.v3",
    dialect=dialect,
    tables={
        "experiments": EXPERIMENTS,
        "systems": SYSTEMS,
        "system_versions": SYSTEM_VERSIONS,
        "experimental_systems": EXPERIMENTAL_SYSTEMS,
        "session_traces": SESSION_TRACES,
        "session_timesteps": SESSION_TIMESTEPS,
        "events": EVENTS,
        "messages": MESSAGES,
        "outcome_rewards": OUTCOME_REWARDS,
        "event_rewards": EVENT_REWARDS,
    },
    indexes={name: statement for name, (_, statement) in INDEXES.items()},
    views={
        "model_usage_stats": MODEL_USAGE_STATS,
        "session_summary": SESSION_SUMMARY,
        "experiment_overview": EXPERIMENT_OVERVIEW,
    },
)


def upgrade() -> None:
    """Make the tables, indexes and views; an empty store that has exactly them already is taken as it is."""
    _REVISION.upgrade()


def downgrade() -> None:
    """Drop them; refuses while any table holds rows."""
    _REVISION.downgrade()


def verify(connection: Connection) -> None:
    """Raise GenerationError with every difference between the store and synth.v3."""
    _REVISION.verify(connection)
