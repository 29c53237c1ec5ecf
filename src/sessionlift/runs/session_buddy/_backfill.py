"""The time series, filled in from the invocations: whole hours of UTC, in one pass."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from sqlalchemy import Connection

from sessionlift.generations import HAS_SKILL, HOUR, IS_TIME, OFF_THE_HOUR, Oddity, derive_hours
from sessionlift.runs.session_buddy._step_result import StepResult
from sessionlift.stores import Store

_USED = "FROM skill_invocation AS used"


def backfill(
    store: Store, connection: Connection, *, days: int | None = None, replace: bool = False, now: datetime | None = None
) -> StepResult:
    """Write every hour that is missing or differs; run again, it writes nothing. Needs the caller's transaction.

    ``days``: only the hours of the last so many days, counted in UTC from ``now``. ``replace``: rows that do not
    begin with an hour, as the guide's script writes them, are removed first; otherwise what they cover is left to
    them. An invocation whose time cannot be read, or whose skill has no metrics, is in no hour: both are counted.
    """
    result = StepResult()
    since = None
    if days is not None:
        moment = (now or datetime.now(timezone.utc)).astimezone(timezone.utc) - timedelta(days=days)
        since = moment.strftime("%Y-%m-%dT%H:00:00")
    if replace:
        result.written["skill_time_series"] = store.execute(f"DELETE FROM skill_time_series WHERE {OFF_THE_HOUR}")
        result.found["removed"] = result.written["skill_time_series"]
    counted = derive_hours(connection, since=since)
    result.written["skill_time_series"] = sum(counted.values())
    result.found.update(counted, since=since)
    for code, condition, meaning in _LEFT_OUT:
        count = int(str(store.query(f"SELECT count(*) {_USED} WHERE {condition}")[0][0]))
        if count:
            examples = store.query(f"SELECT DISTINCT used.invoked_at {_USED} WHERE {condition} LIMIT 3")
            result.oddities.append(Oddity(code, "skill_invocation", count, meaning, [str(v) for (v,) in examples]))
    off = int(str(store.query(f"SELECT count(*) FROM skill_time_series WHERE {OFF_THE_HOUR}")[0][0]))
    if off:
        result.oddities.append(
            Oddity(
                "series_off_the_hour",
                "skill_time_series",
                off,
                "rows that do not begin with an hour: what they cover was left to them (--replace removes them first)",
            )
        )
    else:
        _look_again(store, result, since)
    return result


_LEFT_OUT = (
    (
        "time_unreadable",
        f"NOT {IS_TIME}",
        "a time without a date, or one that SQLite cannot read: the invocation is in no hour",
    ),
    (
        "skill_without_metrics",
        f"{IS_TIME} AND NOT {HAS_SKILL}",
        "the skill has no row in skill_metrics, to which an hour would have to refer: the invocation is in no hour",
    ),
)


def _look_again(store: Store, result: StepResult, since: str | None) -> None:
    """Every invocation is in exactly one hour: the hours' counts add up to the invocations."""
    from_hour = since or ""
    invocations = store.query(f"SELECT count(*) {_USED} WHERE {IS_TIME} AND {HAS_SKILL} AND {HOUR} >= ?", (from_hour,))[
        0
    ][0]
    hours, rows, doubles = store.query(
        "SELECT ifnull(sum(invocation_count), 0), count(*), count(*) - count(DISTINCT skill_name || ' ' || timestamp) "
        f"FROM skill_time_series WHERE timestamp >= ? AND EXISTS (SELECT 1 {_USED} "
        f"WHERE used.skill_name = skill_time_series.skill_name AND {IS_TIME} AND {HOUR} = timestamp)"
        if since is not None
        else "SELECT ifnull(sum(invocation_count), 0), count(*), "
        "count(*) - count(DISTINCT skill_name || ' ' || timestamp) FROM skill_time_series WHERE timestamp >= ?",
        (from_hour,),
    )[0]
    result.looked = int(str(rows))
    result.found.update(hours=rows, invocations=hours)
    older = int(str(hours)) - int(str(invocations))
    if doubles:
        result.wrong.append(f"{doubles} hours stand twice")
    if older < 0:
        result.wrong.append(f"the hours count {hours} invocations, of {invocations}")
    elif older:
        result.oddities.append(
            Oddity(
                "series_knows_more",
                "skill_time_series",
                older,
                "invocations that the hours count and the store no longer has; their rows were left as they are",
            )
        )
