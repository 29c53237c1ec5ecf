"""What an application does to a v3 store after a move: rows added, changed and deleted, with any values."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from tests.support.synth_back import V3Target
from tests.support.synth_strategies import DOUBLES, JSON, TEXTS

Edit = dict[str, Any]

MOMENTS = st.sampled_from(
    [
        None,
        "2025-06-01T10:00:00.123456+00:00",
        "2025-06-01T10:00:00+00:00",
        "2025-06-01 10:00:00",
        "2025-11-02T05:30:00.000000+00:00",
        "2025-11-02T06:30:00.000000+00:00",
        "2025-06-01T10:00:00.5+02:00",
        "2025-02-30T10:00:00.000000+00:00",
        "no time",
        "",
        12,
    ]
)
SECONDS = st.one_of(
    st.none(),
    st.sampled_from([0.0, 1748772000.123456, 1748772000.1234567, -1.5, 1e300, float("inf"), 8589934592.5, "x"]),
    st.floats(0, 2e9),
)
INTEGERS = st.one_of(st.none(), st.sampled_from([0, 1, -5, 2**31 - 1, 2**31, 2**63 - 1, "many", 1.5]))
NUMBERS = st.one_of(st.none(), DOUBLES.filter(lambda value: value == value), st.sampled_from([7, 2**53 + 1, "dear"]))
BLOBS = st.sampled_from([b"", b"\x00\xff", "text", None])
TEXT = st.one_of(TEXTS, JSON.map(str), st.sampled_from(["not json", '{"a": 1}', '{"step_id": "t"}', "[1, 2]", "NaN"]))
OURS = st.sampled_from(
    [
        '{"sessionlift": {"cost": 0.5}}',
        '{"x": 1, "sessionlift": {"cost": 0.29}}',
        '{"sessionlift": {"cost": 0.3}, "x": {"y": 1}}',
        '{"sessionlift": 3}',
        '{"sessionlift": {"message_type": "llm_prompt", "content": "json"}}',
        '{"sessionlift": {"dress": "SessionEventMessage", "message_type": "user", "content": "string"}}',
        '{"a": ", \\"sessionlift\\": {"}',
    ]
)
ANY_TEXT = st.one_of(st.none(), TEXT, OURS)

_COLUMNS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "session_traces": {
        "created_at": MOMENTS.filter(lambda value: value is not None),
        "num_timesteps": st.sampled_from([0, 5, 2**40]),
        "num_messages": st.sampled_from([0, 5, 2**40]),
        "metadata": ANY_TEXT,
        "experiment_id": st.one_of(st.none(), TEXTS),
        "embedding": BLOBS,
    },
    "session_timesteps": {
        "step_index": st.sampled_from([0, 1, 7, 2**40]),
        "turn_number": INTEGERS,
        "started_at": MOMENTS,
        "completed_at": MOMENTS,
        "num_events": INTEGERS,
        "num_messages": INTEGERS,
        "step_metadata": ANY_TEXT,
    },
    "events": {
        "timestep_id": st.one_of(st.none(), st.sampled_from(["own", 77])),
        "event_type": st.sampled_from(["cais", "environment", "runtime"]),
        "system_instance_id": st.one_of(st.none(), TEXTS),
        "event_time": SECONDS,
        "created_at": MOMENTS,
        "message_time": INTEGERS,
        "model_name": st.one_of(st.none(), TEXTS, BLOBS),
        "input_tokens": INTEGERS,
        "total_tokens": INTEGERS,
        "cost_usd": NUMBERS,
        "latency_ms": NUMBERS,
        "reward": NUMBERS,
        "terminated": st.sampled_from([None, 0, 1, 2, "yes"]),
        "truncated": st.sampled_from([None, 0, 1]),
        "call_records": ANY_TEXT,
        "system_state_before": ANY_TEXT,
        "system_state_after": ANY_TEXT,
        "metadata": ANY_TEXT,
        "event_metadata": ANY_TEXT,
        "embedding": BLOBS,
    },
    "messages": {
        "timestep_id": st.one_of(st.none(), st.sampled_from(["own", 77])),
        "message_type": st.sampled_from(["user", "assistant", "system", "tool_use", "tool_result"]),
        "content": st.one_of(TEXT, OURS),
        "timestamp": MOMENTS,
        "event_time": SECONDS,
        "message_time": INTEGERS,
        "metadata": ANY_TEXT,
    },
    "event_rewards": {
        "reward_value": st.sampled_from([0.0, 1.5]),
        "reward_type": st.one_of(st.none(), TEXTS),
        "annotation": ANY_TEXT,
        "turn_number": INTEGERS,
        "key": st.one_of(st.none(), TEXTS),
    },
    "outcome_rewards": {
        "total_reward": st.sampled_from([0, 3, 4.5]),
        "achievements_count": st.sampled_from([0, 2]),
        "reward_metadata": ANY_TEXT,
    },
}
_NEEDED: dict[str, dict[str, Any]] = {
    "session_timesteps": {"step_index": 90},
    "events": {"event_type": "cais"},
    "messages": {"message_type": "user", "content": "new"},
    "event_rewards": {"reward_value": 1.0, "created_at": "2025-06-01T10:00:00+00:00"},
    "outcome_rewards": {
        "total_reward": 1,
        "achievements_count": 0,
        "total_steps": 1,
        "created_at": "2025-06-01T10:00:00+00:00",
    },
}


def _some(table: str, least: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    optional: dict[str, st.SearchStrategy[Any]] = _COLUMNS[table]
    return st.fixed_dictionaries({}, optional=optional).filter(lambda values: len(values) >= least)


def _one_column(table: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(sorted(_COLUMNS[table])).flatmap(
        lambda column: _COLUMNS[table][column].map(lambda value: {column: value})
    )


def _edits() -> st.SearchStrategy[Edit]:
    place = st.integers(0, 7)
    every = sorted(_COLUMNS)
    return st.one_of(
        st.sampled_from(every).flatmap(
            lambda table: st.builds(
                lambda at, values: {"do": "update", "table": table, "at": at, "values": values},
                place,
                st.one_of(_one_column(table), _some(table, 1)),
            )
        ),
        st.sampled_from(sorted(_NEEDED)).flatmap(
            lambda table: st.builds(
                lambda at, values: {"do": "insert", "table": table, "at": at, "values": values},
                place,
                st.one_of(st.just({}), _some(table)),
            )
        ),
        st.builds(
            lambda table, at: {"do": "delete", "table": table, "at": at},
            st.sampled_from([table for table in every if table != "session_traces"]),
            place,
        ),
        st.builds(lambda at: {"do": "delete", "table": "whole", "at": at}, place),
        st.builds(lambda metadata: {"do": "new", "metadata": metadata}, ANY_TEXT),
        st.builds(lambda which: {"do": "catalog", "which": which}, st.integers(0, 5)),
    )


EDITS = _edits()

CATALOG = (
    "INSERT INTO systems (system_id, name, system_type, metadata) VALUES ('new', 'n', 'llm', '{}')",
    "UPDATE system_versions SET configuration = '{}', commit_hash = 'abc' WHERE version_id = 'v1'",
    "UPDATE experiments SET name = 'renamed', metadata = 'x', updated_at = NULL WHERE experiment_id = 'e2'",
    "DELETE FROM experimental_systems WHERE experiment_id = 'e1'",
    "INSERT INTO experiments (experiment_id, name, created_at) VALUES ('new', 'n', '2025-06-01 10:00:00')",
    "INSERT INTO system_versions (version_id, system_id, version_number, metadata) "
    "VALUES ('vn', 'sys1', '3', '{\"branch\": \"main\", \"more\": 1}')",
)


def apply(target: V3Target, edit: Edit) -> None:
    """Do ``edit`` to the target, if there is a row to do it to."""
    if edit["do"] == "catalog":
        if "INSERT" not in CATALOG[edit["which"]] or not _there(target, edit["which"]):
            target.change(CATALOG[edit["which"]])
        return
    if edit["do"] == "new":
        number = target.store.query("SELECT count(*) FROM session_traces")[0][0]
        target.change(
            "INSERT INTO session_traces (session_id, created_at, num_timesteps, num_events, num_messages, metadata) "
            "VALUES (?, '2025-06-01T10:00:00+00:00', 0, 0, 0, ?)",
            f"new {number} {json.dumps(edit['metadata'])[:20]}",
            edit["metadata"],
        )
        return
    ids = [key for (key,) in target.store.query("SELECT session_id FROM session_traces ORDER BY rowid")]
    if not ids:
        return
    session_id = ids[edit["at"] % len(ids)]
    table = edit["table"]
    if table == "whole":
        for each in ("event_rewards", "outcome_rewards", "messages", "events", "session_timesteps", "session_traces"):
            target.change(f"DELETE FROM {each} WHERE session_id = ?", session_id)
        return
    values = dict(edit.get("values", {}))
    steps = [
        key for (key,) in target.store.query("SELECT id FROM session_timesteps WHERE session_id = ?", (session_id,))
    ]
    if values.get("timestep_id") == "own":
        values["timestep_id"] = steps[0] if steps else None
    if edit["do"] == "insert":
        _insert(target, table, session_id, values)
        return
    key = "session_id" if table == "session_traces" else "id"
    rows = target.store.query(f'SELECT "{key}" FROM {table} WHERE session_id = ? ORDER BY rowid', (session_id,))
    if not rows:
        return
    row = rows[edit["at"] % len(rows)][0]
    if edit["do"] == "delete":
        target.change(f"DELETE FROM {table} WHERE id = ?", row)
        return
    sets = ", ".join(f'"{column}" = ?' for column in values)
    target.change(f'UPDATE {table} SET {sets} WHERE "{key}" = ?', *values.values(), row)


def _there(target: V3Target, which: int) -> bool:
    table = {0: "systems", 4: "experiments", 5: "system_versions"}[which]
    key = {0: "system_id", 4: "experiment_id", 5: "version_id"}[which]
    value = {0: "new", 4: "new", 5: "vn"}[which]
    return bool(target.store.query(f"SELECT 1 FROM {table} WHERE {key} = ?", (value,)))


def _insert(target: V3Target, table: str, session_id: str, values: dict[str, Any]) -> None:
    row = {"session_id": session_id, **_NEEDED[table], **values}
    if table == "session_timesteps":
        count = target.store.query("SELECT count(*) FROM session_timesteps")[0][0]
        row["step_id"] = f"added {count} {session_id}"
    if table == "event_rewards":
        found = target.store.query("SELECT id FROM events WHERE session_id = ?", (session_id,))
        if not found:
            return
        row["event_id"] = found[-1][0]
    if row.get("content", "") is None:
        row["content"] = ""
    names = ", ".join(f'"{column}"' for column in row)
    target.change(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", *row.values())
