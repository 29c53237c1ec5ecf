"""The hours of Session-Buddy's time series, and the counting in of what was invoked in between.

One row stands for one skill in one whole hour of UTC: how often it was invoked, the share that was completed in
percent, the average duration of those that were, and in how many sessions. Percent, because the real program's
``completion_rate`` and its hourly aggregation are percents.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

HOUR = "strftime('%Y-%m-%dT%H:00:00', used.invoked_at)"
# what begins with a date and SQLite reads, as the program's own SQL does: a date alone is its midnight. SQLite also
# takes a bare number for a day, a bare time for one of the year 2000 and "now" for the present; none of them is meant
IS_TIME = (
    "(used.invoked_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*' AND datetime(used.invoked_at) IS NOT NULL)"
)
HAS_SKILL = "EXISTS (SELECT 1 FROM skill_metrics AS metrics WHERE metrics.skill_name = used.skill_name)"
# rows of another making do not begin with the hour: what such a row covers is counted already
OFF_THE_HOUR = "strftime('%Y-%m-%dT%H:00:00', timestamp) IS NOT timestamp"
_NOT_COVERED = (
    "NOT EXISTS (SELECT 1 FROM (SELECT skill_name, datetime(timestamp) AS start, "
    f"datetime(timestamp, '+1 hour') AS stop FROM skill_time_series WHERE {OFF_THE_HOUR}) AS other "
    "WHERE other.skill_name = used.skill_name AND other.start <= datetime(used.invoked_at) "
    "AND datetime(used.invoked_at) < other.stop)"
)
_SINCE = (
    f"(used.skill_name, {HOUR}) IN (SELECT used.skill_name, {HOUR} FROM skill_invocation AS used WHERE used.id > ?)"
)


def derive_hours(connection: Connection, *, since_id: int | None = None, since: str | None = None) -> dict[str, int]:
    """Write the hours that are missing or differ: one pass over the invocations, in the caller's transaction.

    ``since_id``: only the hours that an invocation after this one touches. ``since``: only hours from this one on.
    An invocation without a time (``IS_TIME``), or whose skill has no row in ``skill_metrics``, is in none of them.
    Returns how many rows were ``added`` and ``changed``.
    """
    conditions = [IS_TIME, HAS_SKILL]
    params: list[int | str] = []
    if connection.exec_driver_sql(f"SELECT 1 FROM skill_time_series WHERE {OFF_THE_HOUR} LIMIT 1").fetchall():
        conditions.append(_NOT_COVERED)
    if since_id is not None:
        conditions.append(_SINCE)
        params.append(since_id)
    if since is not None:
        conditions.append(f"{HOUR} >= ?")
        params.append(since)
    where = " AND ".join(conditions)
    hours = (
        f"SELECT used.skill_name AS skill, {HOUR} AS hour, count(*) AS invocations, "
        "100.0 * sum(used.completed = 1) / count(*) AS rate, "
        "avg(iif(used.completed = 1, used.duration_seconds, NULL)) AS duration, "
        f"count(DISTINCT used.session_id) AS sessions FROM skill_invocation AS used WHERE {where} GROUP BY 1, 2"
    )
    bound: tuple[Any, ...] = tuple(params)
    connection.exec_driver_sql(
        "UPDATE skill_time_series SET invocation_count = hours.invocations, completion_rate = hours.rate, "
        f"avg_duration_seconds = hours.duration, unique_sessions = hours.sessions FROM ({hours}) AS hours "
        "WHERE skill_name = hours.skill AND timestamp = hours.hour "
        "AND (invocation_count, completion_rate, avg_duration_seconds, unique_sessions) IS NOT "
        "(hours.invocations, hours.rate, hours.duration, hours.sessions)",
        bound,
    )
    changed = _changes(connection)
    connection.exec_driver_sql(
        "INSERT INTO skill_time_series (skill_name, timestamp, invocation_count, completion_rate, "
        "avg_duration_seconds, unique_sessions) "
        f"SELECT skill, hour, invocations, rate, duration, sessions FROM ({hours}) AS hours "
        "WHERE NOT EXISTS (SELECT 1 FROM skill_time_series AS there "
        "WHERE there.skill_name = hours.skill AND there.timestamp = hours.hour) ORDER BY hour, skill",
        bound,
    )
    return {"added": _changes(connection), "changed": changed}


def replay(connection: Connection, position: int) -> dict[str, int]:
    """Count in the invocations after row id ``position``, as the trigger would have: each of them once.

    The cache gets what its trigger missed; the hours they lie in are derived again as a whole.
    """
    new = int(
        connection.exec_driver_sql("SELECT count(*) FROM skill_invocation WHERE id > ?", (position,)).fetchall()[0][0]
    )
    if not new:
        return {}
    # a skill whose metrics were deleted cannot be referred to any more
    connection.exec_driver_sql(
        "INSERT INTO skill_metrics_cache (skill_name, last_invocation_at, invocation_count_1h, "
        "invocation_count_24h, updated_at) SELECT skill, at, times, times, datetime('now') FROM ("
        "SELECT used.skill_name AS skill, used.invoked_at AS at, count(*) AS times, max(used.id) "
        f"FROM skill_invocation AS used WHERE used.id > ? AND {HAS_SKILL} GROUP BY used.skill_name) WHERE 1 "
        "ON CONFLICT (skill_name) DO UPDATE SET last_invocation_at = excluded.last_invocation_at, "
        "invocation_count_1h = invocation_count_1h + excluded.invocation_count_1h, "
        "invocation_count_24h = invocation_count_24h + excluded.invocation_count_24h, "
        "updated_at = excluded.updated_at",
        (position,),
    )
    cached = _changes(connection)
    hours = derive_hours(connection, since_id=position)
    return {"invocations": new, "skill_metrics_cache": cached, "skill_time_series": sum(hours.values())}


def _changes(connection: Connection) -> int:
    return int(connection.exec_driver_sql("SELECT changes()").fetchall()[0][0])
