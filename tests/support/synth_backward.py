"""The way back from synth.v3 rows and the complement to synth.v2 rows, as docs/synth.md tells it.

Written apart from the converter, for tests: it reads the target's rows as Python values and the complement
after a trip through JSON, and gives each legacy cell in a form that two sides can be compared by (see
``comparable``).
"""

from __future__ import annotations

import json
import re
import struct
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from tests.support.synth_stores import CATALOG_TABLES, Converted, LegacyStore, Row

EPOCH = datetime(1970, 1, 1)
_WHITE = " \t\n\r"
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


# --- both sides in one form -----------------------------------------------------


def comparable(kind: str, text: str | None) -> Any:
    """A cell by its column's type: microseconds for times, bits for doubles, otherwise the engine's text."""
    if text is None:
        return None
    if kind == "TIMESTAMP":
        return _micros_of(text)
    if kind == "DOUBLE":
        return _bits(float(text))
    if kind == "INTEGER":
        return int(text)
    if kind == "BOOLEAN":
        return text == "true"
    return text


def _micros_of(text: str) -> Any:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?", text):
        return text  # infinity, before Christ, beyond the year 9999: only their own text says them
    head, _, fraction = text.partition(".")
    moment = datetime.strptime(head, "%Y-%m-%d %H:%M:%S")
    return (moment - EPOCH) // timedelta(microseconds=1) + int(fraction.ljust(6, "0") or 0)


def _bits(value: float) -> Any:
    return "nan" if value != value else struct.pack(">d", value)


# --- pieces of JSON text --------------------------------------------------------


def members(text: str) -> list[tuple[str, str]]:
    """The members of a JSON object as (key, the value's own text), by counting brackets outside strings."""
    assert text[0] == "{", text
    assert text[-1] == "}", text
    found, at, end = [], 1, len(text) - 1
    while text[at:end].strip(_WHITE):
        key = _STRING.search(text, at)
        assert key is not None, text
        start = text.index(":", key.end()) + 1
        stop = _end_of_value(text, start, end)
        found.append((json.loads(key[0]), text[start:stop].strip(_WHITE)))
        at = stop + 1
    return found


def _end_of_value(text: str, at: int, end: int) -> int:
    depth = 0
    while at < end:
        char = text[at]
        if char == '"':
            string = _STRING.match(text, at)
            assert string is not None, text
            at = string.end()
            continue
        if char == "," and not depth:
            break
        depth += (char in "[{") - (char in "]}")
        at += 1
    return at


def quoted(text: str) -> str:
    """A JSON string as both real writers spell it."""
    return json.dumps(text)


# --- rows -----------------------------------------------------------------------


class Backward:
    """Takes the sessions of one conversion back. ``rows`` are legacy rows, comparable, by table."""

    def __init__(self, done: Converted, zone: str) -> None:
        self._done = done
        self._zone = ZoneInfo(zone)
        self._complements = {key: json.loads(json.dumps(unit.complement)) for key, unit in done.units.items()}
        self.rows: dict[str, list[Row]] = {
            "session_traces": [self._trace(row) for row in done.tables["session_traces"]],
            "session_timesteps": [self._timestep(row) for row in done.tables["session_timesteps"]],
            "events": [self._event(row) for row in done.tables["events"]],
            "messages": [self._message(row) for row in done.tables["messages"]],
            "systems": [self._system(row) for row in done.tables["systems"]],
            "system_versions": [self._version(row) for row in done.tables["system_versions"]],
            "experiments": [self._experiment(row) for row in done.tables["experiments"]],
            "experimental_systems": [self._link(row) for row in done.tables["experimental_systems"]],
        }

    def _cell(self, session_id: str, table: str, row_id: Any, column: str, kind: str, default: Any) -> Any:
        cells = self._complements[session_id].get("cells", {}).get(table, {}).get(column, {})
        if str(row_id) in cells:
            return comparable(kind, cells[str(row_id)])
        return default

    def _local(self, text: str | None, zone: ZoneInfo | None = None) -> Any:
        if text is None:
            return None
        utc = datetime.fromisoformat(text)
        assert utc.utcoffset() == timedelta(0), text
        return self._shown((utc.replace(tzinfo=None) - EPOCH) // timedelta(microseconds=1), zone)

    def _shown(self, micros: int, zone: ZoneInfo | None = None) -> int:
        """What the zone's clock shows at a UTC moment; beyond 1850 to 2199, by the nearest rule."""
        within = min(max(EPOCH + timedelta(microseconds=micros), datetime(1850, 1, 1)), datetime(2200, 1, 1))
        offset = within.replace(tzinfo=timezone.utc).astimezone(zone or self._zone).utcoffset()
        assert offset is not None
        return micros + offset // timedelta(microseconds=1)

    def _trace(self, row: Row) -> Row:
        complement = self._complements[row["session_id"]]
        assert complement["zone"] == self._zone.key
        created = self._local(row["created_at"])
        if "created_at" in complement:
            created = comparable("TIMESTAMP", complement["created_at"])
        counters = ("num_timesteps", "num_events", "num_messages")
        recorded = complement.get("counters", [row[name] for name in counters])
        return {
            "session_id": row["session_id"],
            "created_at": created,
            **dict(zip(counters, recorded, strict=True)),
            "metadata": complement["metadata"],
            "experiment_id": row["experiment_id"],
        }

    def _timestep(self, row: Row) -> Row:
        def cell(column: str, kind: str, default: Any) -> Any:
            return self._cell(row["session_id"], "session_timesteps", row["id"], column, kind, default)

        metadata = None if row["step_metadata"] == "{}" else row["step_metadata"]
        plain = ("id", "session_id", "step_id", "step_index", "num_events", "num_messages")
        return {
            **{name: row[name] for name in plain},
            "timestamp": cell("timestamp", "TIMESTAMP", self._local(row["started_at"])),
            "step_metadata": cell("step_metadata", "JSON", metadata),
        }

    def _event(self, row: Row) -> Row:
        def cell(column: str, kind: str, default: Any) -> Any:
            return self._cell(row["session_id"], "events", row["id"], column, kind, default)

        metadata, ours = split_metadata(row["metadata"])
        cost = json.loads(ours["cost"]) if "cost" in ours else None
        if isinstance(cost, (int, str)):
            cost = float(ours["cost"].strip('"'))
        plain = "id session_id system_instance_id message_time span_id trace_id model_name provider total_tokens"
        return {
            **{name: row[name] for name in plain.split()},
            "timestep_id": cell("timestep_id", "INTEGER", None),
            "event_type": json.loads(ours.get("event_type", quoted(row["event_type"]))),
            "event_time": cell("event_time", "TIMESTAMP", self._local(row["created_at"])),
            "prompt_tokens": row["input_tokens"],
            "completion_tokens": row["output_tokens"],
            "cost": None if cost is None else _bits(cost),
            "latency_ms": cell("latency_ms", "DOUBLE", _double(row["latency_ms"])),
            "reward": cell("reward", "DOUBLE", _double(row["reward"])),
            "terminated": None if row["terminated"] is None else bool(row["terminated"]),
            "system_state_before": cell("system_state_before", "JSON", row["system_state_before"] or "null"),
            "system_state_after": cell("system_state_after", "JSON", row["system_state_after"] or "null"),
            "metadata": cell("metadata", "JSON", metadata),
            "event_metadata": cell("event_metadata", "JSON", row["event_metadata"]),
        }

    def _message(self, row: Row) -> Row:
        def cell(column: str, kind: str, default: Any) -> Any:
            return self._cell(row["session_id"], "messages", row["id"], column, kind, default)

        ours: dict[str, str] = {}
        if row["metadata"] is not None:
            ((key, text),) = members(row["metadata"])
            assert key == "sessionlift"
            ours = dict(members(text))
        kind = json.loads(ours.get("message_type", quoted(row["message_type"])))
        content = row["content"] if ours.get("content") == '"json"' else quoted(row["content"])
        if "dress" in ours:
            content = envelope(content, kind, dict(members(ours.get("envelope", "{}"))))
            kind = json.loads(ours["dress"])
        moment = None
        if row["event_time"] is not None and abs(row["event_time"]) < 2**33:
            moment = self._shown(round(Fraction(row["event_time"]) * 1_000_000))
        return {
            "id": row["id"],
            "session_id": row["session_id"],
            "timestep_id": cell("timestep_id", "INTEGER", None),
            "message_type": kind,
            "content": cell("content", "JSON", content),
            "timestamp": cell("timestamp", "TIMESTAMP", self._local(row["timestamp"])),
            "event_time": cell("event_time", "TIMESTAMP", moment),
            "message_time": row["message_time"],
        }

    # the catalog: its cells stand in the complement of the unit with the empty id, its times are UTC

    def _system(self, row: Row) -> Row:
        return {"id": row["system_id"], "name": row["name"], "description": row["description"]}

    def _version(self, row: Row) -> Row:
        metadata = dict(members(row["metadata"])) if row["metadata"] is not None else {}
        default = self._local(row["created_at"], ZoneInfo("UTC"))
        return {
            "id": row["version_id"],
            "system_id": row["system_id"],
            "branch": json.loads(metadata.get("branch", "null")),
            "commit": row["commit_hash"],
            "created_at": self._cell("", "system_versions", row["version_id"], "created_at", "TIMESTAMP", default),
            "description": json.loads(metadata.get("description", "null")),
        }

    def _experiment(self, row: Row) -> Row:
        def moment(column: str) -> Any:
            default = self._local(row[column], ZoneInfo("UTC"))
            return self._cell("", "experiments", row["experiment_id"], column, "TIMESTAMP", default)

        return {
            "id": row["experiment_id"],
            "name": row["name"],
            "description": row["description"],
            "created_at": moment("created_at"),
            "updated_at": moment("updated_at"),
        }

    def _link(self, row: Row) -> Row:
        return {
            "experiment_id": row["experiment_id"],
            "system_id": row["system_id"],
            "system_version_id": row["version_id"],
        }


def split_metadata(text: str | None) -> tuple[str | None, dict[str, str]]:
    """v2's text within an event's metadata, and what stands under our own key: always the last member."""
    mark = '"sessionlift": {'
    if text is None or mark not in text or not text.startswith("{"):
        return text, {}
    if text.startswith("{" + mark):
        head, rest = "{", text[1 + len(mark) :]
    else:
        head, _, rest = text.rpartition(mark)
    return head.removesuffix(", ") + "}", dict(members("{" + rest[:-1]))


def envelope(content: str, kind: str, rest: dict[str, str]) -> str:
    """The envelope as the early writers spelled it: content, timestamp, message_type, then the rest."""
    parts = [f'"content": {content}']
    if "timestamp" in rest:
        parts.append(f'"timestamp": {rest.pop("timestamp")}')
    parts.append(f'"message_type": {quoted(kind)}')
    parts += [f"{quoted(key)}: {value}" for key, value in rest.items()]
    return "{" + ", ".join(parts) + "}"


def _double(value: float | int | None) -> Any:
    return None if value is None else _bits(float(value))


# --- the law --------------------------------------------------------------------


def assert_taken_back(store: LegacyStore, done: Converted, zone: str) -> None:
    """Every legacy row is either in quarantine, whole, or given back exactly from v3 and the complement."""
    back = Backward(done, zone).rows
    apart: dict[str, dict[str, Row]] = {}
    for each in done.quarantine:
        apart.setdefault(each.table, {})[each.row_id] = each.row
    for table, found in back.items():
        kinds = store.kinds(table)
        legacy = store.texts(table)
        keys = ("experiment_id", "system_id") if table == "experimental_systems" else (next(iter(kinds)),)
        rows = {tuple(row[key] for key in keys): row for row in found}
        assert len(rows) == len(found), f"{table}: a row came twice"
        kept = 0
        for row in legacy:
            expected = {column: comparable(kinds[column], text) for column, text in row.items()}
            name = row[keys[0]]
            if name in apart.get(table, {}):
                whole = apart[table].pop(name)
                texts = {c: None if v is None else str(v) for c, v in whole.items()}
                assert {c: comparable(kinds[c], v) for c, v in texts.items()} == expected, f"{table} {name}"
                continue
            kept += 1
            have = rows[tuple(expected[key] for key in keys)]
            for column, value in expected.items():
                assert have[column] == value, (
                    f"{table} {name}: {column} was {value!r} ({row[column]!r}), came back as {have[column]!r}"
                )
                assert type(have[column]) is type(value), f"{table} {name}: {column}"
            assert have.keys() == expected.keys()
        assert kept == len(found), f"{table}: rows that no legacy row has"
    assert not any(apart.values()), "quarantined rows that no legacy row is"


def assert_accounted(store: LegacyStore, done: Converted) -> None:
    """For every source table: read == written + quarantined, each counted from the data itself."""
    quarantined: dict[str, int] = {}
    for each in done.quarantine:
        quarantined[each.table] = quarantined.get(each.table, 0) + 1
    for table in (*CATALOG_TABLES, "session_traces", "session_timesteps", "events", "messages"):
        there = len(store.texts(table))
        read = sum(unit.read_counts.get(table, 0) for unit in done.units.values())
        told = sum(unit.written_counts.get(table, 0) for unit in done.units.values())
        assert read == there, f"{table}: {there} rows, {read} read"
        assert told == done.written[table] == len(done.tables[table]), table
        assert read == told + quarantined.get(table, 0), table
    for table, count in done.derived.items():
        told = sum(unit.written_counts.get(table, 0) for unit in done.units.values())
        assert told == count == len(done.tables[table]), table


_TOP = (
    "task_split",
    "task_id",
    "model",
    "env_name",
    "policy_name",
    "seed",
    "judge_scores",
    "prompt",
    "completion",
)


def exact(text: str) -> Any:
    """The value of JSON text, with numbers as their digits: pairs, so that none is taken for a text."""
    return json.loads(
        text,
        parse_float=partial(_digits, "float"),
        parse_int=partial(_digits, "int"),
        parse_constant=partial(_digits, "constant"),
    )


def _digits(kind: str, digits: str) -> tuple[str, str]:
    return kind, digits


def metadata_object(text: str | None) -> Any:
    """What v3's session metadata must mean for v2's text, as ``exact`` values."""
    value = None if text is None else exact(text)
    if not isinstance(value, list):
        return {} if value is None else value if isinstance(value, dict) else {"sessionlift": {"metadata": value}}
    typed: dict[str, list[Any]] = {}
    for item in value:
        whole = isinstance(item, dict) and isinstance(item.get("metadata_type"), str) and "data" in item
        name, data = (item["metadata_type"], item["data"]) if whole else ("unknown", item)
        typed.setdefault(name, []).append(data)
    found: dict[str, Any] = {name: datas[0] if len(datas) == 1 else datas for name, datas in typed.items()}
    every = [data for datas in typed.values() for data in datas if isinstance(data, dict)]
    for key in _TOP:
        having = [data[key] for data in every if key in data]
        if len(having) == 1 and key not in typed:
            found[key] = having[0]
    return found


def assert_metadata_is_read_alike(store: LegacyStore, done: Converted) -> None:
    """A reader of v3 gets from metadata what v2's list says, and its events' metadata with ours added."""
    legacy = {row["session_id"]: row["metadata"] for row in store.texts("session_traces")}
    for row in done.tables["session_traces"]:
        before = legacy[row["session_id"]]
        if python_reads(before):
            assert exact(row["metadata"]) == metadata_object(before), row["session_id"]
    recorded = {row["id"]: row["metadata"] for row in store.texts("events")}
    for row in done.tables["events"]:
        before = recorded[str(row["id"])]
        if not python_reads(before):
            continue
        value = None if before is None else exact(before)
        after: Any = None if row["metadata"] is None else exact(row["metadata"])
        if isinstance(value, dict) and "sessionlift" in value and '"sessionlift"' not in (before or ""):
            continue  # our key in a spelling that nobody uses
        if isinstance(after, dict):
            ours = after.pop("sessionlift", {})
            after = ours["metadata"] if "metadata" in ours else after or None  # noqa: SIM401 - a null counts
        assert after == (None if value == {} else value) or after == value, row["id"]


def python_reads(text: str | None) -> bool:
    """False for JSON that only DuckDB takes: trailing commas, ``nan`` in other letters."""
    try:
        json.loads(text or "null")
    except ValueError:
        return False
    return True
