"""What a move would lose, put aside and derive, counted over the whole store without converting a row."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from sessionlift.converters._batch import Loss
from sessionlift.converters._forward import Forecast, Inventory
from sessionlift.converters.synth import _sql
from sessionlift.converters.synth._metadata import reshape
from sessionlift.stores import literal, quote_identifier

_DOUBTFUL = (r",\s*[\]}]", r"(?i)[:,\[]\s*-?(nan|inf)")
"""What the engine's JSON reader lets pass and Python's may not: trailing commas, odd spellings."""
_DIGITS = 1_000
"""And integers of so many digits."""

_AILING_ROWS = 10_000
"""So many rows may those sessions have that are converted to tell what is wrong with them."""

_DEEP = 300
"""Opening brackets in a document that may be nested deeper than Python reads. As many close it."""


def foresee(
    connection: duckdb.DuckDBPyConnection,
    inventory: Inventory,
    conditions: dict[str, list[_sql.Condition]],
    event_type_unknown: _sql.Condition,
    mapped_type: str,
    trace_unreadable: _sql.Condition,
) -> Forecast:
    """Count by the very conditions that the run uses, for the sessions in ``sl_units``."""
    forecast = Forecast()
    put_aside(connection, trace_unreadable)
    row = connection.execute(
        "SELECT count(*), coalesce(sum(u.session_timesteps_rows), 0)::BIGINT, "
        "coalesce(sum(u.events_rows), 0)::BIGINT, coalesce(sum(u.messages_rows), 0)::BIGINT "
        "FROM sl_units AS u WHERE u.session_id IN (SELECT session_id FROM sl_bad)"
    ).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always gives a row
    forecast.sessions_quarantined = row[0]
    bad = ""
    if row[0]:
        forecast.quarantined = dict(
            zip(("session_traces", "session_timesteps", "events", "messages"), row, strict=True)
        )
        bad = "r.session_id NOT IN (SELECT session_id FROM sl_bad)"
    chosen = bad
    if any(inventory.orphans.values()) or not inventory.orphans:
        inside = "r.session_id IN (SELECT session_id FROM sl_units)"
        chosen = f"{inside} AND {bad}" if bad else inside
    where = f"WHERE {chosen}" if chosen else ""
    for table, named in conditions.items():
        cells = ", ".join(f"count(*) FILTER (WHERE {condition.sql})" for condition in named)
        extra = ""
        if table == "events":
            extra = (
                f", count(*) FILTER (WHERE {event_type_unknown.sql}), count(*) FILTER (WHERE "
                f"({mapped_type}) = 'environment' AND {_sql.storable('r.reward')} IS NOT NULL)"
            )
            named_where = f"WHERE {chosen}" if chosen else ""
        else:
            named_where = where
        counts = connection.execute(
            f"SELECT {cells}{extra} FROM {quote_identifier(table)} AS r {named_where}"
        ).fetchone()
        assert counts is not None  # noqa: S101 - an aggregate always gives a row
        if table == "events":
            *counts_of, unknown, rewards = counts
            if row[0] or unknown:
                forecast.ailing = _ailing(connection, event_type_unknown)
            if unknown:
                forecast.quarantined["events"] = forecast.quarantined.get("events", 0) + unknown
                kept = f"NOT {event_type_unknown.sql}" + (f" AND {chosen}" if chosen else "")
                again = connection.execute(f"SELECT {cells} FROM events AS r WHERE {kept}").fetchone()
                counts_of = list(again or counts_of)
            forecast.derived["event_rewards"] = rewards
        else:
            counts_of = list(counts)
        forecast.losses.extend(
            Loss(condition.code, table, condition.column, count)
            for condition, count in zip(named, counts_of, strict=True)
            if count
        )
    stays = event_type_unknown.sql if "events" in forecast.quarantined else ""
    for child, counter in (("events", "num_events"), ("messages", "num_messages")):
        unlinked = _unlinked(connection, child, counter, bad, stays if child == "events" else "")
        if unlinked:
            forecast.losses.append(Loss("timestep_unknown", child, "timestep_id", unlinked))
    for table, count in inventory.orphans.items():
        if count:
            forecast.quarantined[table] = forecast.quarantined.get(table, 0) + count
    return forecast


def put_aside(connection: duckdb.DuckDBPyConnection, trace_unreadable: _sql.Condition) -> None:
    """Fill the temporary table ``sl_bad`` with the sessions that would be put aside whole."""
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE sl_bad AS SELECT session_id FROM session_traces AS r "
        f"WHERE {trace_unreadable.sql} OR r.session_id IN ({_sql.texts()})",
        [_sql.bind_texts(_unreadable(connection))],
    )


def _ailing(connection: duckdb.DuckDBPyConnection, event_type_unknown: _sql.Condition) -> list[str]:
    """The first sessions of ``sl_units`` with rows that would be put aside; together they are of moderate size."""
    found = connection.execute(
        "SELECT session_id FROM (SELECT u.session_id, u.n, sum(u.all_rows) OVER (ORDER BY u.n) - u.all_rows AS before "
        "FROM sl_units AS u WHERE u.session_id IN (SELECT session_id FROM sl_bad) OR u.session_id IN "
        f"(SELECT r.session_id FROM events AS r WHERE {event_type_unknown.sql})) WHERE before < {_AILING_ROWS} "
        "ORDER BY n"
    ).fetchall()
    return [session_id for (session_id,) in found]


def _unreadable(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """Sessions whose metadata Python cannot read: the engine picks those in doubt, and each of them is tried."""
    doubts = " OR ".join(f"regexp_matches(m, {literal(pattern)})" for pattern in _DOUBTFUL)
    # few are so long; the engine would not ask for their length first
    digits = f"CASE WHEN strlen(m) < {_DIGITS} THEN FALSE ELSE regexp_matches(m, '[0-9]{{{_DIGITS}}}') END"
    deep = (
        f"CASE WHEN strlen(m) <= 2 * {_DEEP} THEN FALSE "
        f"ELSE strlen(m) - strlen(replace(replace(m, '[', ''), '{{', '')) > {_DEEP} END"
    )
    result = connection.cursor().execute(
        "SELECT session_id, m FROM (SELECT session_id, metadata::VARCHAR AS m FROM session_traces) "
        f"WHERE {doubts} OR {digits} OR {deep}"
    )
    while rows := result.fetchmany(100):
        for session_id, metadata in rows:
            try:
                reshape(metadata)
            except (ValueError, RecursionError):
                yield session_id


def _unlinked(connection: duckdb.DuckDBPyConnection, child: str, counter: str, bad: str, aside: str) -> int:
    """Rows whose timestep cannot be told: those of sessions whose recorded counts do not add up.

    A row that names a timestep itself (no release ever wrote one) is not among them, nor one that is put ``aside``.
    """
    linked = connection.execute(f"SELECT count(timestep_id) FROM {child}").fetchone()
    own = "0"
    if linked is not None and linked[0]:
        own = f"(SELECT count(c.timestep_id) FROM {child} AS c WHERE c.session_id = r.session_id)"
    sessions = (
        f"FROM sl_units AS r LEFT JOIN ("
        f"SELECT session_id, sum({counter}) AS total, count({counter}) = count(*) AND min({counter}) >= 0 "
        f"AND count(DISTINCT step_index) = count(*) AS whole FROM session_timesteps GROUP BY session_id"
        f") AS s ON s.session_id = r.session_id WHERE r.{child}_rows > 0 "
        f"AND NOT coalesce(s.whole AND s.total = r.{child}_rows, FALSE)" + (f" AND {bad}" if bad else "")
    )
    count = f"SELECT coalesce(sum(r.{child}_rows - {own}), 0)::BIGINT {sessions}"
    if aside:
        chosen = f"r.session_id IN (SELECT r.session_id {sessions})"
        count = f"SELECT count(*) FROM {child} AS r WHERE r.timestep_id IS NULL AND NOT {aside} AND {chosen}"
    row = connection.execute(count).fetchone()
    return int(row[0]) if row is not None else 0
