"""What a Session-Buddy store holds that looks like a loss and was so before: told, and not repaired."""

from __future__ import annotations

from collections.abc import Collection

from sessionlift.generations import HAS_SKILL, IS_TIME, OFF_THE_HOUR, Oddity
from sessionlift.stores import Store

_USED = "FROM skill_invocation AS used"
_EXAMPLES = 3


def oddities(store: Store, ours: Collection[str]) -> list[Oddity]:
    """Everything odd in the rows, and what is not among ``ours``. Read-only; a few passes over the invocations."""
    found = []
    for code, table, source, column, meaning in _QUESTIONS:
        count = int(str(store.query(f"SELECT count(*) {source}")[0][0]))
        if count:
            examples = store.query(f"SELECT DISTINCT {column} {source} LIMIT {_EXAMPLES}")
            found.append(Oddity(code, table, count, meaning, [_shown(value) for (value,) in examples]))
    if store.query("SELECT 1 FROM sqlite_master WHERE name = 'skill_time_series'"):
        other = int(str(store.query(f"SELECT count(*) FROM skill_time_series WHERE {OFF_THE_HOUR}")[0][0]))
        if other:
            found.append(
                Oddity(
                    "series_off_the_hour",
                    "skill_time_series",
                    other,
                    "rows of the time series that do not begin with an hour, as the guide's script writes them; what "
                    "they cover is not counted again",
                )
            )
    links = store.query('SELECT "table", count(*) FROM pragma_foreign_key_check GROUP BY 1 ORDER BY 1')
    for table, broken in links:
        found.append(
            Oddity(
                "broken_link",
                str(table),
                int(str(broken)),
                "rows that refer to a row that is not there; the program does not enforce its references",
            )
        )
    mine = [
        f"{kind} {name}"
        for kind, name in store.query("SELECT type, name FROM sqlite_master WHERE type <> 'index' ORDER BY type, name")
        if name not in ours and not str(name).startswith(("sqlite_", "sessionlift_", "skill_invocation_fts_"))
    ]
    if mine:
        meaning = "tables, views and triggers of your own; what no line `kept_aside` names stays as it is"
        found.append(Oddity("own_objects", None, len(mine), meaning, list(mine[:_EXAMPLES])))
    return found


def _shown(value: object) -> object:
    return value if value is None or isinstance(value, (int, float, str)) else repr(value)


# code, table, FROM and WHERE, the column of the examples, meaning
_QUESTIONS = (
    (
        "time_unreadable",
        "skill_invocation",
        f"{_USED} WHERE NOT {IS_TIME}",
        "used.invoked_at",
        "times of invocation that do not begin with a date, or that SQLite cannot read: they are in no hour of the "
        "time series",
    ),
    (
        "time_naive",
        "skill_invocation",
        f"{_USED} WHERE {IS_TIME} AND used.invoked_at NOT GLOB '*[0-9Z][-+][0-9][0-9]:[0-9][0-9]' "
        "AND used.invoked_at NOT LIKE '%Z'",
        "used.invoked_at",
        "times without an offset: SQLite and the program read them as UTC",
    ),
    (
        "skill_without_metrics",
        "skill_invocation",
        f"{_USED} WHERE NOT {HAS_SKILL}",
        "used.skill_name",
        "invocations of a skill that has no row in skill_metrics: nothing in the tables of v4 may refer to it",
    ),
    (
        "counter_disagrees",
        "skill_metrics",
        "FROM skill_metrics AS metrics WHERE metrics.total_invocations <> "
        "(SELECT count(*) FROM skill_invocation AS used WHERE used.skill_name = metrics.skill_name)",
        "metrics.skill_name",
        "the stored number of invocations is not the number of rows",
    ),
)


def sessions(store: Store) -> int:
    """How many sessions the store holds."""
    return int(str(store.query("SELECT count(DISTINCT session_id) FROM skill_invocation")[0][0]))
