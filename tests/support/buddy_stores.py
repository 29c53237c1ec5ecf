"""What the tests of Session-Buddy stores share: everything a store holds, as data that can be compared."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sessionlift.generations import adopt, change, over, standing
from sessionlift.stores import open_store, parse_store_url

V4_TABLES = (
    "skill_metrics_cache",
    "skill_time_series",
    "skill_anomalies",
    "skill_community_baselines",
    "skill_user_interactions",
    "skill_clusters",
    "skill_cluster_membership",
    "ab_test_configs",
    "ab_test_assignments",
    "ab_test_outcomes",
    "skill_categories",
    "skill_category_mapping",
    "skill_dependencies",
    "skill_modalities",
)


def schema(path: Path) -> list[tuple[str, str, str, str]]:
    """Every object of the store but ours, with its statement, sorted."""
    with closing(sqlite3.connect(path)) as connection:
        return sorted(
            (str(kind), str(name), str(table), str(sql))
            for kind, name, table, sql in connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
            if not str(table).startswith("sessionlift_")
        )


def rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table but ours, with its row id and the types of its values, sorted."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    with closing(sqlite3.connect(path)) as connection:
        names = [
            str(name)
            for name, sql in connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
            if not str(name).startswith("sessionlift_") and "WITHOUT ROWID" not in str(sql)
        ]
        for name in sorted(names):
            listed = connection.execute(f'SELECT rowid, * FROM "{name}"').fetchall()
            if name == "sqlite_sequence":
                listed = [row[1:] for row in listed if not str(row[1]).startswith("sessionlift_")]
            found[name] = sorted((tuple((type(v).__name__, v) for v in row) for row in listed), key=repr)
    return found


def shift(path: Path, to: str, *, run_id: str = "test", engine: str = "sqlite", let_dangle: bool = False) -> str:
    """Lead a store to a revision in one transaction, as the commands do, without a backup or a report."""
    where = parse_store_url(f"{engine}://{path}")
    with (
        open_store(where, mode="rw", role="target") as store,
        over(store) as connection,
        connection.begin(),
    ):
        found = standing(connection, where)
        adopt(connection, found, where, run_id=run_id)
        change(connection, where, at=found.revision, to=to, run_id=run_id, let_dangle=let_dangle)
    return found.revision


def ask(path: Path, sql: str, *params: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql, params).fetchall()


def tell(path: Path, *statements: str) -> None:
    """Run statements as another program would, in one transaction."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for sql in statements:
            connection.execute(sql)


INVOKE = (
    "INSERT INTO skill_invocation (skill_name, invoked_at, session_id, completed, duration_seconds) "
    "VALUES (?, ?, ?, ?, ?)"
)


def invoke(path: Path, count: int, *, at: str = "2026-11-20T{hour:02}:{minute:02}:00+00:00") -> None:
    """Invocations as the real program writes them, of three skills, five of them in an hour."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for n in range(count):
            moment = at.format(hour=n // 5 % 24, minute=n % 5 * 11)
            skill = ("git-push", "pytest-run", "ruff-check")[n % 3]
            connection.execute(INVOKE, (skill, moment, f"late-{n // 10}", int(n % 4 > 0), n / 8))
