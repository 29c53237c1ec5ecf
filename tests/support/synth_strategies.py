"""Hypothesis strategies for synth.v2 sessions made of values that spoil careless converters."""

from __future__ import annotations

import json
import struct
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

Strategy = st.SearchStrategy

# --- plain values --------------------------------------------------------------------

TEXTS = st.one_of(
    st.sampled_from(
        [
            "",
            "a",
            "null",
            "NULL",
            "~",
            "'",
            '"',
            "\\",
            "a\0b",
            "\0",
            "x' OR '1'='1",
            '{"a": 1}',
            "[1]",
            "123",
            "é",
            "😀",
            "\u2028",
            "\x1e",
            "\x1f",
            "\x7f",
            "\x80",
            "tab\tline\nfeed\rend",
            "</script>",
            "%s{}",
            "$.a",
            "nan",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
SESSION_IDS = TEXTS
INT32 = st.one_of(
    st.sampled_from([0, 1, 2, -1, 2**31 - 1, -(2**31)]), st.integers(min_value=-(2**31), max_value=2**31 - 1)
)
DOUBLES = st.one_of(
    st.sampled_from(
        [
            0.0,
            -0.0,
            0.29,
            0.1 + 0.2,
            1e16,
            1e22,
            5e-324,
            1.7976931348623157e308,
            -1e307,
            29.0,
            2.0**53,
            2.0**53 + 2,
            2.0**63,
            float("inf"),
            float("-inf"),
            float("nan"),
            1e-7,
            1e-310,
        ]
    ),
    st.integers(min_value=0, max_value=2**64 - 1).map(lambda bits: struct.unpack(">d", bits.to_bytes(8, "big"))[0]),
    st.floats(),
)


def _time_text(micros: int) -> str:
    return (datetime(1, 1, 1) + timedelta(microseconds=micros)).isoformat(" ")


_ALL_MICROS = (datetime(9999, 12, 31) - datetime(1, 1, 1)) // timedelta(microseconds=1)
_CLOSE = (datetime(2015, 1, 1) - datetime(1, 1, 1)) // timedelta(microseconds=1)
_TEN_YEARS = 10 * 366 * 86_400 * 1_000_000
CLOCK_CHANGES = [
    "2025-03-09 02:30:00.123456",
    "2025-11-02 01:30:00",
    "2025-03-09 03:00:00",
    "2025-11-02 02:00:00",
    "2011-12-30 12:00:00",
    "2024-03-31 02:15:00",
    "2024-10-27 02:15:00",
]
FAR_TIMES = [
    "infinity",
    "-infinity",
    "0044-03-15 (BC) 12:00:00",
    "10000-01-01 00:00:00",
    "15881-12-31 23:59:59.999999",
    "294247-01-10 04:00:54.775806",
    "290309-12-22 (BC) 00:00:00",
    "2255-06-05 23:47:34.740993",
    "2106-02-07 06:28:16.000001",
    "2111-01-20 00:05:02.810867",
    "2262-04-12 00:00:00",
    "2300-01-01 00:00:00.000001",
    "1969-12-31 23:59:59.999999",
    "0001-01-01 00:00:00",
    "9999-12-31 23:59:59.999999",
    "1600-02-29 01:02:03.000004",
]
CLOSE_TIMES = st.one_of(
    st.sampled_from(CLOCK_CHANGES),
    st.integers(min_value=_CLOSE, max_value=_CLOSE + _TEN_YEARS).map(_time_text),
)
TIMES = st.one_of(
    CLOSE_TIMES, st.sampled_from(FAR_TIMES), st.integers(min_value=0, max_value=_ALL_MICROS).map(_time_text)
)

# --- JSON text, spelled in every way that the engine takes ---------------------------

_SHORT = {
    '"': '\\"',
    "\\": "\\\\",
    "/": "\\/",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}


def _escape(char: str, *, upper: bool) -> str:
    units = char.encode("utf-16-be")
    form = "{:04X}" if upper else "{:04x}"
    return "".join("\\u" + form.format(int.from_bytes(units[i : i + 2], "big")) for i in range(0, len(units), 2))


@st.composite
def spelled_strings(draw: st.DrawFn, texts: Strategy[str] = TEXTS) -> str:
    """A JSON string: as the real writers spell it, or with escapes chosen character by character."""
    text = draw(texts)
    if draw(st.booleans()):
        return json.dumps(text)
    parts = []
    for char in text:
        ways = [_escape(char, upper=False), _escape(char, upper=True)]
        if char >= " " and char not in '"\\':
            ways.append(char)
        if char in _SHORT:
            ways.append(_SHORT[char])
        parts.append(draw(st.sampled_from(ways)))
    return '"' + "".join(parts) + '"'


NUMBERS = st.one_of(
    st.sampled_from(
        [
            "0",
            "-0",
            "-0.0",
            "1.0",
            "1.00",
            "1e5",
            "1E+5",
            "1e400",
            "-1e400",
            "1e-400",
            "9007199254740993",
            "0.1",
            "0.30000000000000004",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775809",
            "123456789012345678901234567890",
            "1.7976931348623159e308",
            "5e-325",
        ]
    ),
    st.integers(min_value=-(2**70), max_value=2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)
CONSTANTS = st.sampled_from(["null", "true", "false", "NaN", "Infinity", "-Infinity"])
STRANGE_CONSTANTS = st.sampled_from(["nan", "inf", "-inf", "INFINITY", "-NaN", "nAn"])
"""What the engine takes for JSON, though no writer of this system spells it so, nor Python reads it."""
WHITE = st.sampled_from(["", "", "", " ", "\n", "\t", "\r\n", "  "])
KEYS = st.one_of(
    st.sampled_from(
        [
            "a",
            "b",
            "",
            "sessionlift",
            "content",
            "message_type",
            "timestamp",
            "time_record",
            "event_time",
            "metadata_type",
            "data",
            "turn_number",
            "model",
            "seed",
            "prompt",
        ]
    ),
    TEXTS,
)


def _white(text: str, before: str, after: str) -> str:
    return before + text + after


@st.composite
def _array(draw: st.DrawFn, children: Strategy[str]) -> str:
    items = draw(st.lists(children, max_size=3))
    space, comma = draw(WHITE), draw(st.sampled_from([",", ", "]))
    return "[" + space + comma.join(items) + space + "]"


@st.composite
def objects(draw: st.DrawFn, children: Strategy[str], keys: Strategy[str] = KEYS, max_size: int = 4) -> str:
    """A JSON object, some keys twice."""
    pairs = draw(st.lists(st.tuples(spelled_strings(keys), children), max_size=max_size))
    if pairs and draw(st.integers(0, 4)) == 0:
        pairs.append((pairs[0][0], draw(children)))
    space, comma, colon = draw(WHITE), draw(st.sampled_from([",", ", "])), draw(st.sampled_from([":", ": "]))
    return "{" + space + comma.join(k + colon + v for k, v in pairs) + space + "}"


SCALARS = st.one_of(CONSTANTS, NUMBERS, spelled_strings())
BARE = st.recursive(SCALARS, lambda inner: st.one_of(_array(inner), objects(inner)), max_leaves=5)
JSON = st.builds(_white, BARE, WHITE, WHITE)
NULLISH = st.sampled_from(["null", " null", "null\n", "\t null \r", "{}", " {}", "{ }", "{\n}", "[]", '""', None])
STRANGE_JSON = st.one_of(
    STRANGE_CONSTANTS,
    STRANGE_CONSTANTS.map(lambda text: '{"a": ' + text + "}"),
    st.sampled_from(['{"a": 1,}', "[1,]", '{"a": [1, ], "b": {"c": 2,},}', '{"a": 1 , }', "[{},]"]),
)
"""JSON that only the engine takes: trailing commas, and names of numbers in other letters."""
ANY_JSON = st.one_of(NULLISH, JSON, objects(JSON), JSON, STRANGE_JSON)

# --- documents of this system --------------------------------------------------------

TYPE_NAMES = st.one_of(
    st.sampled_from(
        [
            "user",
            "assistant",
            "system",
            "tool_use",
            "tool_result",
            "llm_prompt",
            "llm_completion",
            "action",
            "tool_call",
            "observation",
            "unknown",
            "SessionEventMessage",
            "policy_user_prompt",
            "User",
        ]
    ),
    TEXTS,
)


@st.composite
def envelopes(draw: st.DrawFn) -> str:
    """An early message: as the real writer spelled it, or with keys moved, missing, added or twice."""
    members = {
        "content": draw(JSON),
        "timestamp": draw(st.one_of(st.just('"2025-03-01T10:00:00"'), JSON)),
        "message_type": draw(st.one_of(spelled_strings(TYPE_NAMES), JSON)),
    }
    moment = draw(
        st.sampled_from(["null", '"2025-03-01T10:00:00Z"', '"2025-03-01T10:00:00"', "1740823200.5", '"-05:00"'])
    )
    if draw(st.booleans()):
        members["time_record"] = '{"event_time": ' + moment + ', "message_time": null}'
    pairs = [(json.dumps(key), value) for key, value in members.items()]
    change = draw(st.integers(0, 6))
    if change == 0:
        pairs = list(draw(st.permutations(pairs)))
    elif change == 1:
        pairs.pop(draw(st.integers(0, len(pairs) - 1)))
    elif change == 2:
        pairs.append((draw(spelled_strings(KEYS)), draw(JSON)))
    elif change == 3:
        return draw(JSON)
    return "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"


KINDS = st.one_of(
    st.sampled_from(
        ["episode_results", "episode_config", "system_ids", "SessionMetadum", "model", "seed", "sessionlift"]
    ),
    TEXTS,
)
RESULTS = objects(
    st.one_of(NUMBERS, CONSTANTS, JSON),
    st.sampled_from(["total_reward", "num_achievements", "achievements", "rollout_length", "seed"]),
    max_size=5,
)


@st.composite
def metadata_items(draw: st.DrawFn) -> str:
    data = draw(st.one_of(JSON, RESULTS, objects(JSON)))
    pairs = [
        ('"metadata_type"', draw(spelled_strings(KINDS))),
        ('"data"', data),
        ('"timestamp"', draw(SCALARS)),
    ]
    change = draw(st.integers(0, 7))
    if change == 0:
        pairs = list(draw(st.permutations(pairs)))
    elif change == 1:
        pairs.pop(draw(st.integers(0, 2)))
    elif change == 2:
        pairs.append(('"data"', draw(JSON)))
    elif change == 3:
        return draw(JSON)
    return "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"


SESSION_METADATA = st.one_of(
    st.lists(metadata_items(), max_size=4).map(lambda items: "[" + ", ".join(items) + "]"), ANY_JSON
)

# --- rows ----------------------------------------------------------------------------

EVENT_TYPES = st.one_of(
    st.sampled_from(["cais", "environment", "runtime", "lmcais", "LMCAIS", "customEnvironment", "", "unknown"]),
    TEXTS,
)
Row = dict[str, Any]


def maybe(strategy: Strategy[Any]) -> Strategy[Any]:
    return st.one_of(st.none(), strategy)


COUNTS = maybe(st.one_of(st.integers(0, 3), INT32))
CONTENTS = st.one_of(ANY_JSON.map(lambda text: text or "null"), spelled_strings())


def timesteps(times: Strategy[str]) -> Strategy[Row]:
    return st.fixed_dictionaries(
        {
            "step_index": st.one_of(st.integers(0, 3), INT32),
            "timestamp": times,
            "num_events": COUNTS,
            "num_messages": COUNTS,
            "step_metadata": st.one_of(ANY_JSON, SCALARS.map(lambda text: '{"turn_number": ' + text + "}")),
        }
    )


def events(times: Strategy[str]) -> Strategy[Row]:
    return st.fixed_dictionaries(
        {
            "timestep_id": maybe(INT32),
            "event_type": EVENT_TYPES,
            "system_instance_id": TEXTS,
            "event_time": maybe(times),
            "message_time": maybe(INT32),
            "span_id": maybe(TEXTS),
            "trace_id": maybe(TEXTS),
            "model_name": maybe(TEXTS),
            "provider": maybe(TEXTS),
            "prompt_tokens": maybe(INT32),
            "completion_tokens": maybe(INT32),
            "total_tokens": maybe(INT32),
            "cost": maybe(DOUBLES),
            "latency_ms": maybe(DOUBLES),
            "reward": maybe(DOUBLES),
            "terminated": maybe(st.booleans()),
            "system_state_before": ANY_JSON,
            "system_state_after": ANY_JSON,
            "metadata": st.one_of(ANY_JSON, objects(JSON)),
            "event_metadata": ANY_JSON,
        }
    )


def messages(times: Strategy[str]) -> Strategy[Row]:
    rest: dict[str, Strategy[Any]] = {
        "timestep_id": maybe(INT32),
        "timestamp": maybe(times),
        "event_time": maybe(times),
        "message_time": maybe(INT32),
    }
    return st.one_of(
        st.fixed_dictionaries({"message_type": TYPE_NAMES, "content": CONTENTS, **rest}),
        st.fixed_dictionaries({"message_type": st.just("SessionEventMessage"), "content": envelopes(), **rest}),
    )


@st.composite
def sessions(draw: Any, times: Strategy[str]) -> Row:
    """One session as the keywords of ``LegacyStore.session``, its id aside."""
    steps: list[Row] = draw(st.lists(timesteps(times), max_size=3))
    own_events = draw(st.lists(events(times), max_size=3))
    own_messages = draw(st.lists(messages(times), max_size=3))
    adds_up: bool = draw(st.booleans())
    if steps and adds_up:
        # counts that add up, so that rows are dealt out
        for index, step in enumerate(steps):
            step["step_index"] = index
            step["num_events"] = len(own_events) if index == len(steps) - 1 else 0
            step["num_messages"] = len(own_messages) if index == 0 else 0
    return {
        "timesteps": steps,
        "events": own_events,
        "messages": own_messages,
        "created_at": draw(maybe(st.one_of(CLOSE_TIMES, times))),
        "num_timesteps": draw(COUNTS),
        "num_events": draw(COUNTS),
        "num_messages": draw(COUNTS),
        "metadata": draw(SESSION_METADATA),
        "experiment_id": draw(maybe(TEXTS)),
    }


def stores(times: Strategy[str] = TIMES) -> Strategy[dict[str, Row]]:
    """Sessions by id. ``CLOSE_TIMES`` keep a zone's rules short, and with them the time of a conversion."""
    return st.dictionaries(SESSION_IDS, sessions(times), min_size=1, max_size=5)
