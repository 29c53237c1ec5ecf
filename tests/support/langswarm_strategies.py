"""Hypothesis strategies for V1 rows that V1 can read, made of values that spoil careless converters."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from tests.support.langswarm_rows import legacy_row

from sessionlift.converters.langswarm import LegacyRow, MessageCells

Strategy = st.SearchStrategy

TEXTS = st.one_of(
    st.sampled_from(
        [
            "",
            "a",
            "null",
            "NaN",
            "é",
            "😀",
            "cut \ud83d",
            "\udc00",
            "a\0b",
            "\u2028",
            "\ufffd",
            "two words",
            '"\\',
            "\ufeff",
        ]
    ),
    st.text(max_size=8),
)
STORABLE = TEXTS.map(lambda text: text.encode("utf-8", "replace").decode())
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, True, False, 2**53 + 1, 2**63 - 1, 2**63, 10**40, 0.1, -0.0, 1e300]),
    st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    st.integers(-(2**70), 2**70),
)
KEYS = st.one_of(st.sampled_from(["sessionlift", "tool_calls", "tool_call_id", "timestamp", "", "\ud800", "k"]), TEXTS)
VALUES: Strategy[Any] = st.recursive(
    st.one_of(st.none(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=5,
)
ID_LIKE = st.one_of(st.sampled_from(["openai_unknown", "msg_1"]), STORABLE, VALUES)

TIMES = st.one_of(
    st.sampled_from(
        [
            "2025-10-26T02:30:00",  # twice in Berlin
            "2025-03-30T02:30:00.000001",  # never in Berlin
            "2025-10-26T02:30:00+00:00",
            "2025-10-26T02:30:00.000001-07:30:15.500000",
            "2025-10-26 02:30:00.123",
            "2025-10-26",
            "2025-10-26\u200902",
            "0001-01-01T00:00:00",
            "0001-01-01T00:00:00+23:59",
            "2500-01-01T00:00:00",
        ]
    ),
    st.datetimes().map(lambda time: time.isoformat()),
)
"""Times that V1 reads; beyond the last one of the first list no list of messages runs out of time."""


def shuffled(document: Strategy[dict[str, Any]]) -> Strategy[dict[str, Any]]:
    """Sometimes in another order of keys."""
    return document.flatmap(lambda made: st.one_of(st.just(made), st.permutations(list(made.items())).map(dict)))


def objects(
    required: dict[str, Strategy[Any]], optional: dict[str, Strategy[Any]], *, whole: bool = False
) -> Strategy[dict[str, Any]]:
    """Objects with the required keys and some of the optional ones, and with keys that nobody knows."""
    usual = st.fixed_dictionaries({**required, **optional})
    odd = st.tuples(
        st.fixed_dictionaries(required, optional=optional),
        st.dictionaries(TEXTS.filter(lambda key: key not in required and key not in optional), VALUES, max_size=2),
    ).map(lambda two: {**two[0], **two[1]})
    return usual if whole else st.one_of(usual, shuffled(odd))


MESSAGES = objects(
    {
        "id": ID_LIKE,
        "role": st.sampled_from(["system", "user", "assistant", "tool", "function"]),
        "content": st.one_of(TEXTS, VALUES),
        "timestamp": TIMES,
    },
    {
        "metadata": st.one_of(st.just({}), st.dictionaries(KEYS, VALUES, max_size=3), VALUES),
        "tool_calls": st.one_of(st.none(), VALUES),
        "tool_call_id": st.one_of(st.none(), ID_LIKE),
        "provider_message_id": st.one_of(st.none(), ID_LIKE),
    },
)
FALSE: Strategy[Any] = st.sampled_from([None, "", 0, False, [], {}])
METADATA = objects(
    {
        "user_id": ID_LIKE,
        "session_id": st.one_of(st.just("s"), ID_LIKE),
        "provider": st.one_of(
            st.sampled_from(["openai", "GPT", "Claude", "gemini", "mistral", "cohere", "test", "none", "azure"]), VALUES
        ),
        "model": ID_LIKE,
        "created_at": TIMES,
        "updated_at": TIMES,
        "status": st.sampled_from(["active", "inactive", "archived", "expired"]),
        "session_control": st.sampled_from(["native", "langswarm", "hybrid"]),
    },
    {
        "provider_thread_id": st.one_of(st.none(), ID_LIKE),
        "provider_conversation_id": st.one_of(st.none(), ID_LIKE),
        "provider_agent_id": st.one_of(st.none(), ID_LIKE),
        "context_limit": VALUES,
        "auto_truncate": VALUES,
        "summarization_enabled": VALUES,
        "message_count": VALUES,
        "total_tokens": VALUES,
        "last_activity": st.one_of(FALSE, TIMES),
        "tags": VALUES,
        "custom_metadata": st.one_of(st.dictionaries(KEYS, VALUES, max_size=2), VALUES),
    },
)


def histories(messages: Strategy[Any]) -> Strategy[dict[str, Any]]:
    return objects(
        {"session_id": st.one_of(st.just("s"), ID_LIKE), "messages": st.one_of(messages, st.sampled_from(["", {}]))},
        {"summary": VALUES, "total_tokens": VALUES, "truncated_at": st.one_of(FALSE, TIMES)},
    )


@st.composite
def written(draw: st.DrawFn, document: dict[str, Any]) -> Any:
    """A document as V1 writes it, or as some other program might."""
    text = json.dumps(document)
    dress = draw(st.sampled_from(["v1"] * 5 + ["compact", "indent", "space", "raw", "blob", "utf-16", "bom", "twice"]))
    if dress == "compact":
        return json.dumps(document, separators=(",", ":"))
    if dress == "indent":
        return json.dumps(document, indent=1)
    if dress == "space":
        return f" \n{text}\t"
    if dress == "twice":
        return '{"session_id": 1e400, ' + text[1:]
    if dress == "raw":
        return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace").decode()
    if dress == "v1":
        return text
    return text.encode({"blob": "utf-8", "utf-16": "utf-16", "bom": "utf-8-sig"}[dress])


@st.composite
def rows(draw: st.DrawFn) -> LegacyRow:
    """A row that V1 can read, in the SQLite dress, with columns that may say something else than its JSON."""
    meta = draw(METADATA)
    hist = draw(histories(st.lists(MESSAGES, max_size=5)))
    columns = draw(
        st.dictionaries(
            st.sampled_from(["user_id", "model", "status", "created_at", "last_activity"]),
            st.one_of(st.none(), STORABLE, st.binary(max_size=3)),
            max_size=1,
        )
    )
    row = legacy_row(draw(written(meta)), draw(written(hist)))
    cells = {**row.cells}
    for name in ("user_id", "provider", "model", "status", "session_control", "created_at", "updated_at"):
        value = meta[name]
        cells[name] = value if isinstance(value, str) and value.isprintable() else "other"
    return LegacyRow("s", {**cells, **columns})


NEW_MESSAGES = st.builds(
    lambda number, role, content, time, metadata, provider, tokens, reason: MessageCells(
        "s",
        f"msg_{number}",
        role,
        content,
        time.isoformat(" "),
        None if metadata is None else json.dumps(metadata),
        provider,
        tokens,
        reason,
    ),
    st.integers(0, 9),
    st.sampled_from(["system", "user", "assistant", "tool", "function"]),
    STORABLE,
    st.datetimes(),
    st.one_of(
        st.none(), st.dictionaries(st.sampled_from(["trace", "tool_calls", "k", "sessionlift"]), VALUES, max_size=2)
    ),
    st.one_of(st.none(), STORABLE),
    st.one_of(st.none(), st.integers(0, 99)),
    st.one_of(st.none(), st.just("stop")),
)
"""Messages as V2 itself writes them."""
