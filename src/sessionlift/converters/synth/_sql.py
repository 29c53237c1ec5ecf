"""The mapping of v2 rows to v3 rows as SQL for DuckDB, and what is lost or found strange on the way.

Each source row is judged by named conditions. The same conditions count losses in a plan (over the whole store)
and in a run (by session), so that what a plan foresees is what a run reports.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sessionlift.converters._times import LocalTime
from sessionlift.converters.synth._columns import V2_COLUMNS, V2_TEXT
from sessionlift.stores import literal, quote_identifier

_WHITE_CHARACTERS = ("' '", "chr(9)", "chr(10)", "chr(13)")
_WHITE = " || ".join(_WHITE_CHARACTERS)
ENVELOPE_TYPE = "SessionEventMessage"
"""What the early and middle writers put into message_type of every row; the real type is in the content."""

_FIRST_EXACT, _LAST_EXACT = "TIMESTAMP '1684-07-28 00:12:25.259008'", "TIMESTAMP '2255-06-05 23:47:34.740992'"
"""2**53 microseconds before and after the beginning of 1970."""

# The way the real writers spell a JSON string: only ASCII, short escapes where there are any. Whatever does not
# fit is still read right, but its spelling goes into the complement, so that the way back gives the same text.
_CANONICAL_STRING = (
    r'"([ !#-\[\]-~]|\\["\\nrtbf]'
    r"|\\u(00(0[0-7be-f]|1[0-9a-f]|7f|[89a-f][0-9a-f])|0[1-9a-f][0-9a-f]{2}|[1-9a-f][0-9a-f]{3}))*"
    r'"'
)


def iso(utc: str) -> str:
    """SQL for a UTC TIMESTAMP as v3's text, or NULL where four-digit years cannot hold it."""
    return f"CASE WHEN {in_text(utc)} THEN strftime({utc}, '%Y-%m-%dT%H:%M:%S.%f+00:00') END"


def in_text(utc: str) -> str:
    """SQL that is true where v3's text can hold a UTC TIMESTAMP."""
    return f"{utc} >= TIMESTAMP '0001-01-01' AND {utc} < TIMESTAMP '10000-01-01'"


def _out_of_text(utc: str) -> str:
    return f"({utc} < TIMESTAMP '0001-01-01' OR {utc} >= TIMESTAMP '10000-01-01')"


def unix(utc: str) -> str:
    """SQL for a UTC TIMESTAMP as unix seconds: the double nearest to its microseconds.

    A division of doubles is that as long as a double holds the microseconds, which is for 2**53 of them on either side
    of 1970. Further out they would be rounded twice, so there the decimal is read, at seven times the price.
    """
    return (
        f"CASE WHEN {utc} BETWEEN {_FIRST_EXACT} AND {_LAST_EXACT} THEN epoch_us({utc}) / 1000000.0::DOUBLE "
        f"WHEN isfinite({utc}) THEN (epoch_us({utc})::VARCHAR || 'e-6')::DOUBLE END"
    )


def double_text(column: str) -> str:
    """SQL for a DOUBLE as JSON: its shortest text, or a string for what JSON has no number for."""
    return f"CASE WHEN isfinite({column}) THEN {column}::VARCHAR ELSE '\"' || {column}::VARCHAR || '\"' END"


def cents(column: str) -> str:
    """SQL for dollars in cents: the decimal of the shortest text, two places further, as the nearest double."""
    text = f"{column}::VARCHAR"
    moved = (
        f"CASE WHEN contains({text}, 'e') THEN split_part({text}, 'e', 1) || 'e' || "
        f"(split_part({text}, 'e', 2)::INTEGER + 2)::VARCHAR ELSE {text} || 'e2' END"
    )
    return (
        f"CASE WHEN isfinite({column}) THEN CASE WHEN NOT {_beyond_cents(column)} THEN ({moved})::DOUBLE + 0.0 END "
        f"WHEN NOT isnan({column}) THEN {column} END"
    )


def _beyond_cents(column: str) -> str:
    """SQL for finite dollars whose cents no double holds."""
    return f"(abs({column}) > 1.7976931348623157e306 AND isfinite({column}))"


def storable(column: str) -> str:
    """SQL for a DOUBLE as SQLite can hold it: no NaN, and zero without a sign."""
    return f"CASE WHEN NOT isnan({column}) THEN {column} + 0.0 END"


def _unstorable(column: str, *, cents: bool) -> str:
    beyond = f" OR {_beyond_cents(column)}" if cents else ""
    return f"(isnan({column}) OR {is_negative_zero(column)}{beyond})"


def is_negative_zero(column: str) -> str:
    return f"({column} = 0 AND signbit({column}))"


def trimmed(column: str) -> str:
    return f"trim({column}::VARCHAR, {_WHITE})"


def is_json_null(column: str) -> str:
    """SQL for JSON null as the real writers spell it; with white space around it, it stays the text that it is."""
    return f"({column}::VARCHAR = 'null')"


def json_or_null(column: str) -> str:
    """SQL for a JSON column as text, where v2's JSON null and v3's NULL mean the same."""
    return f"CASE WHEN NOT {is_json_null(column)} THEN {column}::VARCHAR END"


def is_json_string(column: str) -> str:
    """SQL for a JSON string; one with white space before it stays the JSON text that it is."""
    return f"starts_with({column}::VARCHAR, '\"')"


def looks_loose(text: str) -> str:
    """SQL that is true wherever JSON text may hold NaN or Infinity (a closer look follows in Python)."""
    return f"(contains({text}, 'NaN') OR contains({text}, 'Infinity'))"


def is_canonical_string(column: str) -> str:
    text = f"{column}::VARCHAR"
    plain = (
        f"(NOT contains({text}, '\\') AND NOT contains({text}, chr(127)) AND strlen({text}) = length({text}) "
        f"AND starts_with({text}, '\"'))"
    )
    return f"({plain} AND ends_with({text}, '\"') OR regexp_full_match({text}, {literal(_CANONICAL_STRING)}))"


def texts(parameter: str = "?") -> str:
    """SQL for the rows of a list of texts that is bound as one JSON text (see ``bind_texts``)."""
    return f"SELECT unnest(from_json({parameter}, '[\"VARCHAR\"]'))"


def bind_texts(values: Iterable[str]) -> str:
    """A list of texts as one parameter: the driver takes a microsecond for a text and 100 for an item of a list."""
    return json.dumps(list(values))


# --- types ---------------------------------------------------------------------------------------------------

MESSAGE_TYPES = ("user", "assistant", "system", "tool_use", "tool_result")
MESSAGE_TYPE_DEFAULTS: Mapping[str, str] = {
    "llm_prompt": "user",
    "llm_completion": "assistant",
    "tool_call": "tool_use",
    "action": "tool_use",
}
EVENT_TYPES = ("cais", "environment", "runtime")


def message_type(column: str, overrides: Mapping[str, str]) -> str:
    """SQL for v3's message type. Every message gets one: what no rule names is "system"."""
    names = {**MESSAGE_TYPE_DEFAULTS, **{name: name for name in MESSAGE_TYPES}, **overrides}
    cases = " ".join(f"WHEN {literal(old)} THEN {literal(new)}" for old, new in names.items())
    return f"CASE {column} {cases} ELSE 'system' END"


def event_type(column: str, overrides: Mapping[str, str]) -> str:
    """SQL for v3's event type, NULL where no rule fits.

    The early writer made the type from the class's name, so a subclass of LMEvent's family reads "lmcais":
    what ends like a known type is of that type. The engine makes ASCII of a few letters beyond it (the Turkish dotted
    I); the old writer did not, so those are no part of a name.
    """
    exact = " ".join(f"WHEN {column} = {literal(old)} THEN {literal(new)}" for old, new in overrides.items())
    known = " ".join(f"WHEN {column} = {literal(name)} THEN {literal(name)}" for name in EVENT_TYPES)
    tails = " ".join(f"WHEN {_ends_in(column, name)} THEN {literal(name)}" for name in EVENT_TYPES)
    return f"CASE {exact} {known} {tails} END"


def _ends_in(column: str, name: str) -> str:
    """SQL that is true for a text that ends in ``name``, in capitals or not."""
    tail = f"right({column}, {len(name)})"
    return f"(lower({tail}) = {literal(name)} AND strlen({tail}) = {len(name)})"


# --- conditions ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Condition:
    """A named thing that can be true of a source row. ``sql`` reads the row under the alias ``r``."""

    code: str
    column: str
    sql: str
    example: str = "NULL"
    """SQL for an example of the value; it is worked out for every row, so it must be cheap"""


def _time_losses(column: str, times: LocalTime, *, text: bool) -> list[Condition]:
    cell = f"r.{quote_identifier(column)}"
    gone = f"NOT isfinite({times.utc(cell)})"
    if text:
        gone = f"({gone} OR {_out_of_text(times.utc(cell))})"
    found = [Condition("time_out_of_range", column, gone)]
    if times.repeated:
        found.append(Condition("time_ambiguous", column, times.is_repeated(cell)))
    if times.skipped:
        found.append(Condition("time_nonexistent", column, times.is_skipped(cell)))
    return found


def timestep_losses(times: LocalTime) -> list[Condition]:
    return [
        *_time_losses("timestamp", times, text=True),
        Condition(
            "json_null_mapped", "step_metadata", f"(r.step_metadata IS NULL OR {is_json_null('r.step_metadata')})"
        ),
    ]


def event_losses(times: LocalTime, mapped: str) -> list[Condition]:
    """``mapped`` is SQL for the row's type in v3."""
    found = [
        Condition("event_type_mapped", "event_type", f"(({mapped}) <> r.event_type)", "r.event_type"),
        *_time_losses("event_time", times, text=True),
        *(
            Condition("double_not_storable", column, _unstorable(f"r.{column}", cents=column == "cost"))
            for column in ("cost", "latency_ms", "reward")
        ),
        Condition("metadata_wrapped", "metadata", _needs_wrap("r")),
    ]
    found.extend(
        Condition("json_null_mapped", column, is_json_null(f"r.{column}"))
        for column in ("system_state_before", "system_state_after", "metadata", "event_metadata")
    )
    return found


def message_losses(times: LocalTime, overrides: Mapping[str, str]) -> list[Condition]:
    real = real_message_type("r")
    return [
        Condition(
            "message_type_mapped",
            "message_type",
            f"(({message_type(real, overrides)}) <> {real})",
            real,
        ),
        *_time_losses("timestamp", times, text=True),
        *_time_losses("event_time", times, text=False),
    ]


def event_type_unknown(mapped: str) -> Condition:
    """A row without a type in v3, for which ``mapped`` is SQL."""
    return Condition("event_type_unknown", "event_type", f"(({mapped}) IS NULL)")


def trace_losses(times: LocalTime) -> list[Condition]:
    found = [
        Condition("created_at_missing", "created_at", "(r.created_at IS NULL)"),
        *(c for c in _time_losses("created_at", times, text=True) if c.code != "time_out_of_range"),
        Condition(
            "metadata_reshaped",
            "metadata",
            f"(r.metadata IS NULL OR NOT starts_with({trimmed('r.metadata')}, '{{'))",
        ),
    ]
    found.extend(
        Condition("counter_missing", column, f"(r.{column} IS NULL)")
        for column in ("num_timesteps", "num_events", "num_messages")
    )
    return found


def trace_unreadable(times: LocalTime) -> Condition:
    """A session whose created_at v3 cannot hold (it is NOT NULL there, and a text with four-digit years)."""
    return Condition(
        "time_out_of_range",
        "created_at",
        f"(NOT isfinite(r.created_at) OR {_out_of_text(times.utc('r.created_at'))})",
    )


def real_message_type(alias: str) -> str:
    """SQL for the type that the application recorded, whatever dress the row wears."""
    inside = f"json_extract_string({alias}.content, '$.message_type')"
    return f"CASE WHEN {is_envelope(alias)} THEN coalesce({inside}, 'unknown') ELSE {alias}.message_type END"


def is_envelope(alias: str) -> str:
    """SQL that is true for the early and middle dress: the type column says so and the content is an envelope.

    Judged by row, and by the column: a final row's content may have the same keys by chance.
    """
    return (
        f"({alias}.message_type = {literal(ENVELOPE_TYPE)} AND json_exists({alias}.content, '$.content') "
        f"AND starts_with({alias}.content::VARCHAR, '{{'))"
    )


def message_event_utc(alias: str, times: LocalTime) -> str:
    """SQL for a message's event_time as UTC.

    An envelope still holds what was bound: a number is unix time and a text with an offset was converted to UTC
    by the writer's driver, so neither is local time.
    """
    local = times.utc(f"{alias}.event_time")
    if times.is_utc:
        return local
    bound = f"json_extract_string({alias}.content, '$.time_record.event_time')"
    aware = f"regexp_matches({bound}, '^-?[0-9.]+([eE][+-]?[0-9]+)?$|(Z|[+-][0-9]{{2}}:?[0-9]{{2}})$')"
    return f"CASE WHEN {is_envelope(alias)} AND {aware} THEN {alias}.event_time ELSE {local} END"


# --- metadata of events --------------------------------------------------------------------------------------

OUR_KEY = "sessionlift"
"""The one key that we add to JSON objects of the target; everything that v3 has no column for stands under it."""


def _is_object(alias: str) -> str:
    """True for an object to which a member can be added as text; the engine takes a comma before the end, too."""
    text = f"{alias}.metadata::VARCHAR"
    return f"starts_with({text}, '{{') AND ends_with({text}, '}}') AND NOT {_ends_with_comma(text)}"


def _ends_with_comma(text: str) -> str:
    """True for an object with a comma before its end. Few have white space there, and only those are cut."""
    spaced = " OR ".join(f"ends_with({text}, {white} || '}}')" for white in _WHITE_CHARACTERS)
    return (
        f"CASE WHEN ends_with({text}, ',}}') THEN TRUE "
        f"WHEN {spaced} THEN ends_with(rtrim(left({text}, -1), {_WHITE}), ',') ELSE FALSE END"
    )


def _is_empty_object(text: str) -> str:
    return f"(NOT contains({text}, '\"') AND regexp_full_match({text}, '\\{{\\s*\\}}'))"


def _has_our_key(alias: str) -> str:
    return f"contains({alias}.metadata::VARCHAR, '\"{OUR_KEY}\"')"


def _needs_wrap(alias: str) -> str:
    """True for metadata that is neither NULL nor null nor an object that our key can be added to."""
    return (
        f"({alias}.metadata IS NOT NULL AND NOT {is_json_null(alias + '.metadata')} "
        f"AND NOT ({_is_object(alias)} AND NOT {_has_our_key(alias)}))"
    )


def event_metadata(alias: str, mapped_type: str) -> str:
    """SQL for v3's events.metadata: v2's text, with the exact dollars and a mapped type added under our key."""
    text = f"{alias}.metadata::VARCHAR"
    extra = (
        f"nullif(concat_ws(', ', '\"cost\": ' || {double_text(alias + '.cost')}, "
        f"CASE WHEN ({mapped_type}) <> {alias}.event_type "
        f"THEN '\"event_type\": ' || to_json({alias}.event_type)::VARCHAR END), '')"
    )
    return (
        f"CASE WHEN {_needs_wrap(alias)} "
        f"THEN '{{\"{OUR_KEY}\": {{' || concat_ws(', ', '\"metadata\": ' || {text}, {extra}) || '}}}}' "
        f"WHEN {extra} IS NULL THEN {json_or_null(alias + '.metadata')} "
        f"WHEN {alias}.metadata IS NULL OR {is_json_null(alias + '.metadata')} "
        f"OR {_is_empty_object(text)} "
        f"THEN '{{\"{OUR_KEY}\": {{' || {extra} || '}}}}' "
        f"ELSE left({text}, -1) || ', \"{OUR_KEY}\": {{' || {extra} || '}}}}' END"
    )


def metadata_needs_original(alias: str) -> str:
    """True where v2's metadata text cannot be cut out of v3's again without help."""
    text = f"{alias}.metadata::VARCHAR"
    return (
        f"({alias}.metadata IS NULL OR {_needs_wrap(alias)} OR {is_json_null(alias + '.metadata')} "
        f"OR ({text} <> '{{}}' AND {_is_empty_object(text)}))"
    )


# --- digests of source rows ----------------------------------------------------------------------------------


def source_text(table: str, alias: str) -> str:
    """SQL for the text of one source row that its session's digest is made of; each row's text ends in 0x1E.

    Each field ends in 0x1F. A text goes in with its length in bytes and a colon before it, of NULL only the colon;
    numbers, times and booleans as the engine's text of them, which for doubles is the shortest that reads back to
    the same bits, of NULL nothing. One call joins them all: calls for each field take twice the time.
    """
    parts = []
    for column in V2_COLUMNS[table]:
        cell = f"{alias}.{quote_identifier(column)}"
        if column in V2_TEXT and not (column == "id" and table in ("session_timesteps", "events", "messages")):
            parts.append(f"strlen({cell}::VARCHAR), ':', {cell}::VARCHAR, chr(31)")
        else:
            parts.append(f"{cell}::VARCHAR, chr(31)")
    return f"concat({', '.join(parts)}, chr(30))"
