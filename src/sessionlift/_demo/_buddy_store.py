"""Make Session-Buddy skills stores of any generation, with their triggers at work and with rows in all tables."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any, Literal

from sessionlift.errors import UsageError
from sessionlift.generations import chain_of, schema_upgrade
from sessionlift.stores import quote_identifier

BuddyTraps = Literal["none", "usual", "all"]

_SKILLS = [
    "ruff-check",
    "black-format",
    "pytest-run",
    "coverage-report",
    "git-commit",
    "git-push",
    "sphinx-build",
    "docker-build",
    "k8s-deploy",
    "markdown-lint",
    "mypy-check",
    "profile-run",
    "db-migrate",
    "api-design",
    "code-review",
    "log-search",
]
_PATHS = (None, "quick", "standard", "comprehensive")
_PHASES = (None, "plan", "execute", "review", "rollback")
_ERRORS = ("timeout", "validation", "not_found")
_QUERIES = (None, "why does the test fail?", "größe 測試 \U0001f600", "a 'quoted' \"query\"; -- and more")
_FOLLOW_UPS = (None, "[]", '["git commit"]', '["fix errors", "run again"]')
_DIMENSIONS = 384
START = datetime(2026, 10, 1, 8, 0, tzinfo=timezone.utc)
_BATCH = 5_000


@dataclass(frozen=True)
class BuddyStore:
    """What was made: the path, the choices, and the rows of every table."""

    path: Path
    generation: str
    sessions: int
    invocations: int
    seed: int
    traps: BuddyTraps
    rows: dict[str, int]


def make_session_buddy(
    path: Path,
    *,
    generation: str = "session_buddy.v3",
    sessions: int = 10,
    invocations: int = 120,
    seed: int = 1,
    traps: BuddyTraps = "usual",
    filled: bool = False,
    embeddings: bool = True,
) -> BuddyStore:
    """Make a store of ``generation`` at ``path``, which must not exist yet. The same arguments give the same rows.

    The rows are inserted as the program does it, so that the triggers fill what they fill. ``traps``: ``usual``
    mixes times with an offset, with ``Z`` and without any; ``all`` adds times that cannot be read, invocations
    whose skill has no metrics, and a table, a view and a trigger of the user's; ``none``: plain times only.
    ``filled``: rows in every table that only v4 has. ``embeddings``: a vector of 384 numbers in every
    tenth row, as in real stores.
    """
    chain = {info.generation: info for info in chain_of("session_buddy.v1")}
    if generation not in chain:
        raise UsageError(f"{generation} cannot be made", hint=f"one of {', '.join(chain)}")
    if sessions < 1 or invocations < 0:
        raise UsageError("A store needs at least one session.", hint="Give --sessions a number from 1 up.")
    if path.exists():
        raise UsageError(f"{path} is there already.", hint="Name a file that does not exist, or remove it.")
    number = int(generation[-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    quoted = str(path.absolute()).replace("%", "%25").replace("?", "%3F")
    try:
        schema_upgrade(f"sqlite://{quoted}", chain[generation].revision)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")  # as the program's first migration does
            with connection:
                _dress(connection, number)
                _invoke(connection, Random(seed), number, sessions, invocations, traps, embeddings)  # noqa: S311
                if traps == "all":
                    _mess(connection)
                if filled and number == 4:
                    _fill(connection)
                    if traps == "all":
                        _orphan(connection)
            rows = {
                table: int(connection.execute(f"SELECT count(*) FROM {quote_identifier(table)}").fetchone()[0])
                for table in _tables(connection)
            }
    except BaseException:
        for end in ("", "-wal", "-shm"):  # half a store must not look like one
            path.with_name(path.name + end).unlink(missing_ok=True)
        raise
    return BuddyStore(path, generation, sessions, invocations, seed, traps, rows)


def _tables(connection: sqlite3.Connection) -> list[str]:
    found = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite^_%' ESCAPE '^' "
        "AND name NOT LIKE '%^_fts%' ESCAPE '^' ORDER BY name"
    )
    return [str(name) for (name,) in found]


def _dress(connection: sqlite3.Connection, number: int) -> None:
    """The program leaves no stamp of ours, and records each generation at a time of its own."""
    connection.execute("DROP TABLE sessionlift_version")
    connection.execute("DROP TABLE sessionlift_steps")
    for at in range(1, number + 1):
        connection.execute(
            "UPDATE skill_migrations SET applied_at = ? WHERE version LIKE ?",
            (f"2026-02-{9 + at:02} {at:02}:00:00", f"V{at}%"),
        )


def _invoke(
    connection: sqlite3.Connection,
    random: Random,
    number: int,
    sessions: int,
    invocations: int,
    traps: BuddyTraps,
    embeddings: bool,
) -> None:
    columns = [
        "skill_name", "invoked_at", "session_id", "workflow_path", "completed", "duration_seconds", "user_query",
        "alternatives_considered", "selection_rank", "follow_up_actions", "error_type", "created_at",
    ]  # fmt: skip
    columns += ["embedding"] * (number >= 2) + ["workflow_phase", "workflow_step_id"] * (number >= 3)
    sql = f"INSERT INTO skill_invocation ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    rows = _rows(random, number, sessions, invocations, traps, embeddings)
    connection.executemany(sql, rows)


def _rows(
    random: Random, number: int, sessions: int, invocations: int, traps: BuddyTraps, embeddings: bool
) -> Iterator[tuple[Any, ...]]:
    for at in range(invocations):
        moment = START + timedelta(seconds=at * 613 % (45 * 86_400), microseconds=random.randrange(1_000_000))
        completed = random.random() < 0.8
        row: list[Any] = [
            _SKILLS[int(random.random() ** 2 * len(_SKILLS))],
            _time(moment, random.random(), traps),
            f"sess-{at * sessions // max(invocations, 1):05}",
            random.choice(_PATHS),
            int(completed),
            round(random.uniform(0.1, 90.0), 3) if completed or random.random() < 0.3 else None,
            random.choice(_QUERIES),
            None if random.random() < 0.5 else json.dumps(random.sample(_SKILLS, 2)),
            random.choice((None, 1, 2, 3)),
            random.choice(_FOLLOW_UPS),
            None if completed else random.choice(_ERRORS),
            moment.strftime("%Y-%m-%d %H:%M:%S"),
        ]
        if number >= 2:
            row.append(_vector(random) if embeddings and at % 10 == 0 else None)
        if number >= 3:
            phase = random.choice(_PHASES)
            row += [phase, None if phase is None else f"step-{random.randrange(9)}"]
        yield tuple(row)


def _time(moment: datetime, chance: float, traps: BuddyTraps) -> str:
    if traps == "none" or chance < 0.8:
        return moment.isoformat()
    plain = moment.replace(tzinfo=None).isoformat()
    return plain if chance < 0.95 else f"{plain}Z"


def _vector(random: Random) -> bytes:
    # a few numbers, turned round: as large as real ones, and quick to make
    few = [random.gauss(0, 0.05) for _ in range(16)]
    return struct.pack(f"<{_DIMENSIONS}f", *(few[at % 16] * (1 + at // 16) for at in range(_DIMENSIONS)))


def _mess(connection: sqlite3.Connection) -> None:
    """What other hands leave: times that nobody reads, a skill without metrics, objects of the user's own."""
    ids = [row[0] for row in connection.execute("SELECT id FROM skill_invocation ORDER BY id LIMIT 6")]
    odd = ("20260210T120000", "1760000000", "yesterday", "", "2026-13-45T99:00:00", "12:30")
    connection.executemany("UPDATE skill_invocation SET invoked_at = ? WHERE id = ?", list(zip(odd, ids, strict=False)))
    connection.execute("DELETE FROM skill_metrics WHERE skill_name = 'black-format'")
    connection.execute("DELETE FROM skill_invocation WHERE id = ?", (ids[-1],))
    connection.execute("INSERT INTO mv_daily_skills VALUES ('2026-10-01', 'git-push', 3, 2, 1, 4.5)")
    connection.execute("CREATE TABLE user_notes (id INTEGER PRIMARY KEY, note TEXT)")
    connection.execute("INSERT INTO user_notes VALUES (1, 'keep me')")
    connection.execute(
        "CREATE VIEW v_user_custom AS SELECT skill_name, count(*) AS n FROM skill_invocation GROUP BY skill_name"
    )
    connection.execute(
        "CREATE TRIGGER user_trigger AFTER INSERT ON user_notes BEGIN "
        "UPDATE user_notes SET note = note || '!' WHERE id = NEW.id; END"
    )


_FILLED: dict[str, list[dict[str, Any]]] = {
    "skill_anomalies": [
        {"skill_name": "git-push", "detected_at": "2026-11-01T10:00:00", "anomaly_type": "drop",
         "baseline_value": 80.0, "observed_value": 0.1 + 0.2, "deviation_score": -3.25, "resolved_at": None},
    ],
    "skill_community_baselines": [
        {"skill_name": "git-push", "total_users": 4, "total_invocations": 9, "global_completion_rate": 88.8,
         "global_avg_duration_seconds": 1e-300, "most_common_workflow_phase": "plan",
         "effectiveness_percentile": None, "last_updated": "2026-11-02T00:00:00+00:00"},
    ],
    "skill_user_interactions": [
        {"user_id": "u1", "session_id": "sess-00001", "skill_name": "git-push", "invoked_at": "2026-11-01T09:00:00Z",
         "completed": 1, "rating": 4.5, "alternatives_considered": '["a"]'},
        {"user_id": "u2", "session_id": "s\0x", "skill_name": "git-commit", "invoked_at": "odd", "completed": 0,
         "rating": None, "alternatives_considered": None},
    ],
    "skill_clusters": [
        {"cluster_id": 7, "cluster_name": "git", "description": "größe", "centroid_embedding": bytes(range(256)),
         "created_at": "2026-11-01"},
    ],
    "skill_cluster_membership": [{"skill_name": "git-push", "cluster_id": 7, "membership_score": 0.1}],
    "ab_test_configs": [
        {"test_id": 3, "test_name": "ranking", "control_strategy": "semantic", "treatment_strategy": "workflow",
         "start_date": "2026-10-01", "metrics": '["completion_rate"]', "created_at": "2026-10-01 00:00:00"},
    ],
    "ab_test_assignments": [
        {"test_id": 3, "user_id": "u1", "group_name": "control", "assigned_at": "2026-10-02 00:00:00"},
        {"test_id": 3, "user_id": "u2", "group_name": "treatment", "assigned_at": "2026-10-02 00:00:01"},
    ],
    "ab_test_outcomes": [
        {"test_id": 3, "user_id": "u1", "skill_name": "git-push", "completed": 1, "duration_seconds": 2.5,
         "user_rating": 5.0, "recorded_at": "2026-10-03 00:00:00"},
    ],
    "skill_categories": [
        {"category_id": 1, "category_name": "Mine", "domain": "code", "created_at": "2026-10-01 00:00:00"},
        {"category_id": 2, "category_name": "Below", "parent_category_id": 1, "domain": "code",
         "created_at": "2026-10-01 00:00:00"},
    ],
    "skill_category_mapping": [
        {"skill_name": "git-push", "category_id": 2, "confidence_score": 0.75, "assigned_at": "2026-10-04 00:00:00"},
    ],
    "skill_dependencies": [
        {"skill_a": "git-commit", "skill_b": "git-push", "co_occurrence_count": 1, "lift_score": 4.2,
         "last_updated": "2026-10-04 00:00:00"},
    ],
    "skill_modalities": [
        {"skill_name": "git-push", "modality_type": "code", "requires_human_review": 1,
         "created_at": "2026-10-04 00:00:00"},
    ],
    "skill_time_series": [
        {"skill_name": "git-push", "timestamp": "2026-09-01T05:00:00", "invocation_count": 2, "completion_rate": 50.0,
         "avg_duration_seconds": 3.5, "unique_sessions": 1},
    ],
}  # fmt: skip


def _fill(connection: sqlite3.Connection) -> None:
    """Rows in every table of v4; the cache has its own from the trigger. One row is gone, so that its id is free."""
    for skill in ("git-push", "git-commit"):
        connection.execute(
            "INSERT INTO skill_metrics (skill_name) SELECT ?1 WHERE NOT EXISTS "
            "(SELECT 1 FROM skill_metrics WHERE skill_name = ?1)",
            (skill,),
        )
        connection.execute(
            "INSERT INTO skill_metrics_cache (skill_name, last_invocation_at, updated_at, anomaly_score) SELECT ?1, "
            "'2026-10-01', '2026-10-01', 0.5 WHERE NOT EXISTS "
            "(SELECT 1 FROM skill_metrics_cache WHERE skill_name = ?1)",
            (skill,),
        )
    for table, rows in _FILLED.items():
        for row in rows:
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
    connection.execute(
        "INSERT INTO skill_anomalies (skill_name, detected_at, anomaly_type) VALUES ('git-push', 'x', 'spike')"
    )
    connection.execute("DELETE FROM skill_anomalies WHERE detected_at = 'x'")


def _orphan(connection: sqlite3.Connection) -> None:
    """A row whose skill was never used, as the program's own taxonomy script leaves it."""
    connection.execute("INSERT INTO skill_modalities (skill_name, modality_type) VALUES ('never-used', 'testing')")
