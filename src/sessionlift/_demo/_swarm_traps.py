"""What real LangSwarm V1 stores hold that careless converters spoil, each put into one session by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sessionlift._demo._swarm_sessions import MadeSession, message

Trap = Callable[[MadeSession], None]
_START = datetime(2025, 10, 26, 2, 58)  # the night in which clocks in Europe go back


def _contents(session: MadeSession, *contents: object) -> None:
    start = datetime.fromisoformat(session.metadata["created_at"])
    for at, content in enumerate(contents):
        role = ("user", "assistant")[at % 2]
        session.messages.append(message(session.random, role, content, start + timedelta(days=1, seconds=at)))
    session.metadata["message_count"] = len(session.messages)


def _times(session: MadeSession, *times: str) -> None:
    session.messages.clear()
    for at, text in enumerate(times):
        session.messages.append(message(session.random, ("user", "assistant")[at % 2], f"t{at}", _START))
        session.messages[-1]["timestamp"] = text
    session.metadata.update(created_at=times[0], message_count=len(times))


# --- what the old program writes by itself


def _empty_history(session: MadeSession) -> None:
    session.messages.clear()
    session.metadata.update(message_count=0, last_activity=None)


def _all_roles(session: MadeSession) -> None:
    start = datetime.fromisoformat(session.metadata["created_at"])
    session.messages[:] = [
        message(session.random, role, f"as {role}", start + timedelta(seconds=at))
        for at, role in enumerate(("system", "user", "assistant", "tool", "function"))
    ]
    session.messages[2]["tool_calls"] = [
        {"id": "call_2", "type": "function", "function": {"name": "f", "arguments": '{"q": "\\u0634"}'}}
    ]
    session.messages[3]["tool_call_id"] = "call_2"
    session.metadata["message_count"] = 5


def _odd_content(session: MadeSession) -> None:
    image = [{"type": "text", "text": "multi"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    _contents(session, "call it", None, image, {"k": 1}, "", " \n\t ", "cut\0here", "done")


def _surrogates(session: MadeSession) -> None:
    _contents(session, "cut emoji \ud83d end", "ok", "\udc00", "whole \U0001f44d")
    session.messages[-3]["metadata"] = {"bad": "\udc00", "\ud800": 1}
    session.metadata["custom_metadata"] = {"half": "\ud83d"}


def _duplicate_ids(session: MadeSession) -> None:
    _contents(session, "first", "second", "third")
    for one in session.messages[-3:]:
        one["id"] = "openai_unknown"


def _truncated(session: MadeSession) -> None:
    # its own truncation puts the system messages first, and again where they stood
    start = datetime.fromisoformat(session.metadata["created_at"])
    system = message(session.random, "system", "S2", start + timedelta(seconds=29))
    before = message(session.random, "system", "S1", start + timedelta(seconds=7))
    talk = message(session.random, "assistant", "m7", start + timedelta(seconds=21))
    session.messages[:] = [before, system, talk, dict(system)]
    session.history.update(summary="earlier talk", truncated_at=(start + timedelta(minutes=1)).isoformat())
    session.metadata.update(context_limit=4, message_count=9)


def _odd_times(session: MadeSession) -> None:
    _times(
        session,
        "2025-10-26T02:58:07.250000",
        "2025-10-26T02:58:14.500000",
        "2025-10-26T02:58:14.500000",
        "2025-10-26T01:58:29",
        "2025-10-26T01:58:36.250000",
        "2025-10-26T03:00:00+02:00",
        "2025-10-26T01:05:00.000005+00:00",
        "2025-10-26T03:30:00",
        "2025-10-26T02:59:12.500000",
    )


def _spring_gap(session: MadeSession) -> None:
    _times(session, "2025-03-30T01:59:59.999999", "2025-03-30T02:30:00", "2025-03-30T03:00:00")


def _aware_session(session: MadeSession) -> None:
    session.metadata.update(created_at="2025-05-01T08:00:00+05:30", updated_at="2025-05-01T08:10:00-07:00")
    session.metadata["last_activity"] = "2025-05-01T08:10:00.000001+00:00"


def _not_finite(session: MadeSession) -> None:
    session.metadata["custom_metadata"] = {"nan": float("nan"), "inf": float("inf"), "low": -float("inf")}
    session.messages[0]["metadata"] = {"score": float("nan"), "big": 2**70, "small": 5e-324, "minus": -0.0}


def _counters(session: MadeSession) -> None:
    session.metadata.update(message_count=1, total_tokens=2**70)


def _spelling(provider: str) -> Trap:
    def put(session: MadeSession) -> None:
        session.metadata.update(provider=provider, model=f"{provider.lower()}-model")

    return put


def _status(status: str) -> Trap:
    def put(session: MadeSession) -> None:
        session.metadata["status"] = status

    return put


def _whole_seconds(session: MadeSession) -> None:
    for one in (session.metadata, *session.messages):
        for name in ("created_at", "updated_at", "last_activity", "timestamp"):
            if one.get(name):
                one[name] = one[name][:19]


def _big(session: MadeSession) -> None:
    start = datetime.fromisoformat(session.metadata["created_at"])
    session.messages[:] = [
        message(session.random, ("user", "assistant")[at % 2], f"turn {at}", start + timedelta(seconds=at))
        for at in range(1002)
    ]
    session.metadata["message_count"] = 1002


def _long_message(session: MadeSession) -> None:
    _contents(session, "x", "東京 👍🏽 " * 20_000)


def _nested(session: MadeSession) -> None:
    deep: Any = "end"
    for _ in range(60):
        deep = [deep]
    session.messages[0]["metadata"] = {"deep": deep, "": None, "sessionlift": {"mine": 1}, "tool_calls": "theirs"}
    session.metadata["tags"] = ["vip", "vip", "", "ünï 🙂"]


def _renamed(name: str) -> Trap:
    def put(session: MadeSession) -> None:
        session.key = f"{name} {session.key[-6:]}"
        session.metadata["session_id"] = session.history["session_id"] = session.key

    return put


USUAL: dict[str, Trap] = {
    "empty_history": _empty_history,
    "all_roles": _all_roles,
    "odd_content": _odd_content,
    "surrogates": _surrogates,
    "duplicate_ids": _duplicate_ids,
    "truncated": _truncated,
    "odd_times": _odd_times,
    "spring_gap": _spring_gap,
    "aware_session": _aware_session,
    "not_finite": _not_finite,
    "counters": _counters,
    "mixed_case": _spelling("ClAuDe"),
    "gpt": _spelling("gpt"),
    "none": _spelling("none"),
    "inactive": _status("inactive"),
    "archived": _status("archived"),
    "expired": _status("expired"),
    "whole_seconds": _whole_seconds,
    "big": _big,
    "long_message": _long_message,
    "nested": _nested,
    "odd_id": _renamed("sess/ünï 🙂 'q' %25?#"),
}


# --- what other hands write, and the old program still reads


def _diverged(session: MadeSession) -> None:
    session.columns = {"user_id": "mallory_new", "model": "gpt-4o-mini", "status": "paused", "updated_at": "later"}


def _other_id(session: MadeSession) -> None:
    session.metadata["session_id"] = f"someone_else_{session.key}"


def _unknown_keys(session: MadeSession) -> None:
    session.metadata["future"] = {"x": [1]}
    session.history["more"] = None
    session.messages[0]["reactions"] = ["+1"]


def _missing_keys(session: MadeSession) -> None:
    for name in ("tags", "custom_metadata", "message_count", "auto_truncate", "last_activity"):
        del session.metadata[name]
    session.columns = {"last_activity": None}
    for name in ("metadata", "tool_calls", "tool_call_id", "provider_message_id"):
        del session.messages[0][name]
    del session.history["summary"]


def _no_messages_key(session: MadeSession) -> None:
    del session.history["messages"]


def _odd_types(session: MadeSession) -> None:
    _contents(session, 7, 2.5, True, [])
    first, second, third, fourth = session.messages[-4:]
    first.update(id=12, metadata=None)
    second.update(id="", metadata=["a"], tool_calls={"id": 1})
    third.update(provider_message_id=5, tool_call_id=["x"])
    fourth.update(metadata="text", tool_calls=[])
    session.metadata.update(tags=None, custom_metadata=[1], total_tokens="many", context_limit=2.5)
    session.metadata.update(user_id=7, model=None)
    session.columns = {"user_id": "7", "model": "none"}


def _time_forms(session: MadeSession) -> None:
    _times(
        session,
        "2025-09-03",
        "2025-09-03 10",
        "2025-09-03X10:30",
        "2025-09-03T10:30:00.123",
        "2025-09-03T10:30:00+05:30:15.000001",
        "0001-01-01T00:00:00",
        "9999-12-31T23:59:59.999999",
    )


def _empty_in_other_words(session: MadeSession) -> None:
    session.metadata.update(last_activity="", message_count=0)
    session.history.update(messages={}, truncated_at=0, summary="")


def _surrogate_names(session: MadeSession) -> None:
    session.metadata.update(user_id="u\ud83d", model="m\udc00")
    session.columns = {"user_id": "u?", "model": "m?"}
    session.messages[0]["id"] = "msg_\ud800"


def _blob(session: MadeSession) -> None:
    session.cells["history"] = json.dumps(session.history).encode()


def _blob_utf16(session: MadeSession) -> None:
    session.cells["metadata"] = json.dumps(session.metadata, ensure_ascii=False).encode("utf-16")


def _repeated_keys(session: MadeSession) -> None:
    # the last one counts
    session.cells["metadata"] = '{"status": "no status", ' + json.dumps(session.metadata)[1:]
    session.cells["history"] = '{"messages": null, ' + json.dumps(session.history)[1:]


def _other_json(session: MadeSession) -> None:
    session.cells["metadata"] = json.dumps(session.metadata, ensure_ascii=False, indent=1)
    session.cells["history"] = json.dumps(session.history, separators=(",", ":"))


ALSO_READABLE: dict[str, Trap] = {
    "diverged": _diverged,
    "other_id": _other_id,
    "unknown_keys": _unknown_keys,
    "missing_keys": _missing_keys,
    "no_messages_key": _no_messages_key,
    "odd_types": _odd_types,
    "time_forms": _time_forms,
    "empty_in_other_words": _empty_in_other_words,
    "surrogate_names": _surrogate_names,
    "langchain": _spelling("langchain-openai"),
    "azure": _spelling("azure"),
    "blob": _blob,
    "blob_utf16": _blob_utf16,
    "repeated_keys": _repeated_keys,
    "other_json": _other_json,
}


# --- what the old program cannot read


def _cell(name: str, change: Callable[[str], str | bytes]) -> Trap:
    def put(session: MadeSession) -> None:
        session.cells[name] = change(json.dumps(getattr(session, name)))

    return put


def _set(part: str, name: str, value: object) -> Trap:
    def put(session: MadeSession) -> None:
        session.columns = {column: session.metadata[column] for column in ("user_id", "created_at", "status")}
        getattr(session, part)[name] = value

    return put


def _first_message(**changes: object) -> Trap:
    def put(session: MadeSession) -> None:
        session.messages[0].update(changes)

    return put


def _without(part: str, name: str) -> Trap:
    def put(session: MadeSession) -> None:
        session.columns = {name: session.metadata.get(name)}
        del getattr(session, part)[name]

    return put


def _message_without_id(session: MadeSession) -> None:
    del session.messages[-1]["id"]


def _message_is_text(session: MadeSession) -> None:
    session.messages.append("just a line")


# what the old program reads where its Python is 3.11 or newer; the rule is that of the oldest it runs on
READ_BY_NEWER = frozenset({"time_with_z", "time_without_dashes", "time_of_a_week", "time_in_tenths"})

UNREADABLE: dict[str, Trap] = {
    "history_cut": _cell("history", lambda text: text[: len(text) * 2 // 3]),
    "metadata_python": _cell("metadata", lambda _: "{'python': 'repr'}"),
    "history_empty": _cell("history", lambda _: ""),
    "history_bom": _cell("history", lambda text: "\ufeff" + text),
    "history_not_utf8": _cell("history", lambda text: text.encode() + b"\xff"),
    "history_a_list": _cell("history", lambda _: "[]"),
    "role": _first_message(role="developer"),
    "status": _set("metadata", "status", "paused"),
    "control": _set("metadata", "session_control", "client_side"),
    "time_with_z": _first_message(timestamp="2025-09-03T00:00:00Z"),
    "time_without_dashes": _first_message(timestamp="20250903T100000"),
    "time_of_a_week": _first_message(timestamp="2025-W36-3"),
    "time_in_tenths": _first_message(timestamp="2025-09-03T10:00:00.1"),
    "time_of_no_day": _first_message(timestamp="2025-02-29T10:00:00"),
    "time_a_number": _first_message(timestamp=1756857600.0),
    "created_empty": _set("metadata", "created_at", ""),
    "messages_null": _set("history", "messages", None),
    "no_user": _without("metadata", "user_id"),
    "no_history_id": _without("history", "session_id"),
    "message_without_id": _message_without_id,
    "message_is_text": _message_is_text,
}
