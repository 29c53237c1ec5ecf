"""The select lists that turn a batch's v2 rows into v3 rows.

The batch's rows lie in temporary tables, each with the place ``n`` of its session: ``sl_t`` (traces), ``sl_ts``
(timesteps), ``sl_ev`` (events), ``sl_ms`` (messages), sorted by ``n`` and id; a plain scan keeps that order. What
several statements ask of an event stands beside it: its type in v3 (``mapped``) and its time in UTC (``utc``).
``sl_slot_events`` and ``sl_slot_messages`` name the timestep of each event and message, row by row beside them.
"""

from __future__ import annotations

from collections.abc import Mapping

from sessionlift.converters._times import LocalTime
from sessionlift.converters.synth import _sql
from sessionlift.stores import literal, quote_identifier

TURN_NUMBER = (
    "CASE WHEN json_type(r.step_metadata, '$.turn_number') IN ('UBIGINT', 'BIGINT') "
    "THEN coalesce(TRY_CAST(json_extract_string(r.step_metadata, '$.turn_number') AS BIGINT), r.step_index) "
    "ELSE r.step_index END"
)
"""v2 has no column for it; its tracer put the turn into step_metadata, or counted steps."""


def slots(rows: str, counter: str) -> str:
    """SQL for (n, timestep_id), a row for each row of the child table and in its order: session, then id.

    A session's rows are dealt out to its timesteps by their recorded counts, if the counts are whole: each is there,
    none negative, steps in an order of their own, and their sum is the number of rows (the column ``rows`` of
    ``sl_b``). v2 never stored the link; the counts give it back exactly. Else the timesteps are NULL.
    """
    whole = (
        f"SELECT s.n FROM sl_ts AS s JOIN sl_b AS b ON b.n = s.n GROUP BY s.n, b.{rows} "
        f"HAVING count(s.{counter}) = count(*) AND min(s.{counter}) >= 0 AND count(DISTINCT s.step_index) = count(*) "
        f"AND sum(s.{counter}) = b.{rows}"
    )
    return (
        f"WITH whole AS MATERIALIZED ({whole}), dealt AS ("
        f"SELECT t.n, t.id AS timestep_id, t.step_index, unnest(range(t.{counter})) FROM sl_ts AS t "
        f"WHERE t.n IN (SELECT n FROM whole) UNION ALL "
        f"SELECT b.n, NULL, 0, unnest(range(b.{rows})) FROM sl_b AS b WHERE b.n NOT IN (SELECT n FROM whole)) "
        f"SELECT n, timestep_id FROM dealt ORDER BY n, step_index"
    )


def timesteps(times: LocalTime) -> str:
    return (
        f"SELECT r.id, r.session_id, r.step_id, r.step_index, {TURN_NUMBER}, {_sql.iso(times.utc('r.timestamp'))}, "
        f"NULL, r.num_events, r.num_messages, "
        f"CASE WHEN r.step_metadata IS NULL OR {_sql.is_json_null('r.step_metadata')} THEN '{{}}' "
        f"ELSE r.step_metadata::VARCHAR END FROM sl_ts AS r"
    )


def events(keep: str) -> str:
    return (
        f"SELECT r.id, r.session_id, coalesce(r.timestep_id, s.timestep_id), r.mapped, r.system_instance_id, "
        f"{_sql.unix('r.utc')}, r.message_time, {_sql.iso('r.utc')}, r.model_name, r.provider, r.prompt_tokens, "
        f"r.completion_tokens, r.total_tokens, {_sql.cents('r.cost')}, {_sql.storable('r.latency_ms')}, r.span_id, "
        f"r.trace_id, {_sql.storable('r.reward')}, r.terminated::INTEGER, "
        f"{_sql.json_or_null('r.system_state_before')}, "
        f"{_sql.json_or_null('r.system_state_after')}, {_sql.event_metadata('r', 'r.mapped')}, "
        f"{_sql.json_or_null('r.event_metadata')} "
        f"FROM sl_ev AS r POSITIONAL JOIN sl_slot_events AS s WHERE {keep}"
    )


def event_rewards(keep: str) -> str:
    """What the real v3 tracer adds on its own for each environment event that has a reward; zero included.

    The row's id is its event's: unique, and the same however often a run is repeated.
    """
    moment = f"coalesce({_sql.iso('r.utc')}, t.created)"
    return (
        f"SELECT r.id, r.id, r.session_id, {TURN_NUMBER.replace('r.step', 'p.step')}, {_sql.storable('r.reward')}, "
        f"'sparse', {_sql.json_or_null('r.event_metadata')}, 'environment', {moment} "
        f"FROM sl_ev AS r POSITIONAL JOIN sl_slot_events AS s JOIN sl_t AS t ON t.n = r.n "
        f"LEFT JOIN sl_ts AS p ON p.id = coalesce(r.timestep_id, s.timestep_id) AND p.n = r.n "
        f"WHERE r.mapped = 'environment' AND {_sql.storable('r.reward')} IS NOT NULL AND {keep} ORDER BY r.n, r.id"
    )


def messages(times: LocalTime, overrides: Mapping[str, str], *, envelopes: bool) -> str:
    """Messages of the final dress are finished here; an envelope's text comes last, to be opened in Python."""
    note = (
        f"concat_ws(', ', CASE WHEN ({_sql.message_type('r.message_type', overrides)}) <> r.message_type "
        f"THEN '\"message_type\": ' || to_json(r.message_type)::VARCHAR END, "
        f'CASE WHEN NOT {_sql.is_json_string("r.content")} THEN \'"content": "json"\' '
        f"WHEN json_valid(json_extract_string(r.content, '$')) THEN '\"content\": \"string\"' END)"
    )
    last = f", CASE WHEN {_sql.is_envelope('r')} THEN r.content::VARCHAR END" if envelopes else ""
    return (
        f"SELECT r.id, r.session_id, coalesce(r.timestep_id, s.timestep_id), "
        f"{_sql.message_type('r.message_type', overrides)}, "
        f"CASE WHEN {_sql.is_json_string('r.content')} THEN json_extract_string(r.content, '$') "
        f"ELSE r.content::VARCHAR END, {_sql.iso(times.utc('r.timestamp'))}, "
        f"{_sql.unix('(' + _sql.message_event_utc('r', times) + ')')}, r.message_time, "
        f"CASE WHEN ({note}) <> '' THEN '{{\"{_sql.OUR_KEY}\": {{' || ({note}) || '}}}}' END{last} "
        f"FROM sl_ms AS r POSITIONAL JOIN sl_slot_messages AS s"
    )


def _odd_time(column: str, utc: str, times: LocalTime) -> str:
    """True where v3's form of a time does not lead back to the same microsecond of local time."""
    return (
        f"(NOT isfinite({utc}) OR {times.is_skipped(column)} OR abs(epoch_us({utc})) >= 8589934592000000 "
        f"OR {column} < TIMESTAMP '0001-01-01')"
    )


def exceptions(times: LocalTime) -> list[str]:
    """SQL, a query for each source table, for (session_id, table, row id, column, text).

    These are the cells that v3's rows alone would not give back.

    A NULL text stands for SQL NULL in the legacy row.
    """
    cells: dict[str, list[tuple[str, str, str]]] = {}

    def cell(table: str, alias_table: str, column: str, when: str, text: str) -> None:
        cells.setdefault(f"{table} {alias_table}", []).append((column, when, text))

    for column in ("system_state_before", "system_state_after"):
        whole = f"r.{column}"
        cell("events", "sl_ev", column, f"{whole} IS NULL", f"{whole}::VARCHAR")
    cell("events", "sl_ev", "event_metadata", _sql.is_json_null("r.event_metadata"), "r.event_metadata::VARCHAR")
    cell("events", "sl_ev", "metadata", _sql.metadata_needs_original("r"), "r.metadata::VARCHAR")
    for column in ("latency_ms", "reward"):
        odd = f"isnan(r.{column}) OR {_sql.is_negative_zero(f'r.{column}')}"
        cell("events", "sl_ev", column, odd, f"r.{column}::VARCHAR")
    cell(
        "events",
        "sl_ev",
        "event_time",
        _odd_time("r.event_time", times.utc("r.event_time"), times),
        "r.event_time::VARCHAR",
    )
    odd_timestamp = _odd_time("r.timestamp", times.utc("r.timestamp"), times)
    cell("session_timesteps", "sl_ts", "timestamp", odd_timestamp, "r.timestamp::VARCHAR")
    cell(
        "session_timesteps",
        "sl_ts",
        "step_metadata",
        f"{_sql.is_json_null('r.step_metadata')} OR r.step_metadata::VARCHAR = '{{}}'",
        "r.step_metadata::VARCHAR",
    )
    cell("messages", "sl_ms", "timestamp", odd_timestamp, "r.timestamp::VARCHAR")
    utc = f"({_sql.message_event_utc('r', times)})"
    odd = _odd_time("r.event_time", utc, times)
    if not times.is_utc:
        odd = f"({odd} OR (r.event_time IS NOT NULL AND {utc} <> {times.utc('r.event_time')}))"
    cell("messages", "sl_ms", "event_time", odd, "r.event_time::VARCHAR")
    cell(
        "messages",
        "sl_ms",
        "content",
        f"{_sql.is_json_string('r.content')} AND NOT {_sql.is_canonical_string('r.content')}",
        "r.content::VARCHAR",
    )
    for table, alias_table in (("events", "sl_ev"), ("messages", "sl_ms")):
        cell(table, alias_table, "timestep_id", "r.timestep_id IS NOT NULL", "r.timestep_id::VARCHAR")
    queries = []
    for tables, found in cells.items():
        table, alias_table = tables.split()
        # one pass over all rows for any of the conditions; the branches then look at the few rows it finds
        anything = " OR ".join(f"({when})" for _, when, _ in found)
        branches = " UNION ALL ".join(
            f"SELECT r.session_id, {literal(table)}, r.id, {literal(column)}, {text} FROM odd AS r WHERE {when}"
            for column, when, text in found
        )
        queries.append(
            f"WITH odd AS MATERIALIZED (SELECT * FROM {quote_identifier(alias_table)} AS r WHERE {anything}) {branches}"
        )
    return queries
