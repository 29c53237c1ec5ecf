"""The digests of units, computed again from both stores by the definition in docs/digests.md."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from typing import Any

import duckdb

from sessionlift.runs.verifier._readers import Rows, TargetReader, id_list
from sessionlift.runs.verifier._row_text import row_text
from sessionlift.runs.verifier._source import Batch
from sessionlift.stores import quote_identifier

_ROWS = 1_000

# name of a column, and "*" where it is free text, whose length goes in as well
SOURCE: dict[str, str] = {
    "session_traces": ("*session_id created_at num_timesteps num_events num_messages *metadata *experiment_id"),
    "session_timesteps": ("id *session_id *step_id step_index timestamp num_events num_messages *step_metadata"),
    "events": (
        "id *session_id timestep_id *event_type *system_instance_id event_time message_time "
        "*span_id *trace_id "
        "*model_name *provider prompt_tokens completion_tokens total_tokens cost latency_ms "
        "reward terminated "
        "*system_state_before *system_state_after *metadata *event_metadata"
    ),
    "messages": "id *session_id timestep_id *message_type *content timestamp event_time message_time",
    "systems": "*id *name *description",
    "system_versions": "*id *system_id *branch *commit created_at *description",
    "experiments": "*id *name *description created_at updated_at",
    "experimental_systems": "*experiment_id *system_id *system_version_id",
}
SESSION_TABLES = ("session_traces", "session_timesteps", "events", "messages")
CATALOG_TABLES = ("systems", "system_versions", "experiments", "experimental_systems")

TARGET: dict[str, str] = {
    "session_traces": "session_id created_at num_timesteps num_events num_messages metadata experiment_id",
    "session_timesteps": (
        "id session_id step_id step_index turn_number started_at completed_at num_events num_messages step_metadata"
    ),
    "events": (
        "id session_id timestep_id event_type system_instance_id event_time message_time "
        "created_at model_name "
        "provider input_tokens output_tokens total_tokens cost_usd latency_ms span_id trace_id "
        "reward terminated "
        "system_state_before system_state_after metadata event_metadata"
    ),
    "messages": "id session_id timestep_id message_type content timestamp event_time message_time metadata",
    "event_rewards": ("id event_id session_id turn_number reward_value reward_type annotation source created_at"),
    "outcome_rewards": ("session_id total_reward achievements_count total_steps created_at reward_metadata"),
    "systems": "system_id name system_type description created_at metadata",
    "system_versions": ("version_id system_id version_number commit_hash created_at configuration metadata"),
    "experiments": "experiment_id name description created_at updated_at configuration metadata",
    "experimental_systems": "experiment_id system_id version_id",
}
_AS_DOUBLES = {"cost_usd", "latency_ms", "total_reward"}


def _line(table: str) -> str:
    """SQL for a source row's text: each field, then 0x1F; 0x1E at the end."""
    fields = []
    for name in SOURCE[table].split():
        cell = f"coalesce({quote_identifier(name.lstrip('*'))}::VARCHAR, '')"
        if name[0] == "*":
            length = f"coalesce(strlen({quote_identifier(name[1:])}::VARCHAR)::VARCHAR, '')"
            fields.append(f"{length} || ':' || {cell} || chr(31)")
        else:
            fields.append(f"{cell} || chr(31)")
    return " || ".join(fields) + " || chr(30)"


def source_digests(db: duckdb.DuckDBPyConnection, batch: Batch) -> dict[str, str]:
    """The digests of a batch's sessions as the source has them now."""
    hashes = {session: hashlib.sha256() for session in batch.ids}
    for table in SESSION_TABLES:
        head = f"{table}\n".encode()
        for each in hashes.values():
            each.update(head)
        within, order = f"rowid BETWEEN {batch.places[0]} AND {batch.places[1]} AND ", "session_id"
        if table != "session_traces":
            bounds, order = batch.ranges[table], "id"
            if bounds is None:
                continue
            within = f"id BETWEEN {int(bounds[0])} AND {int(bounds[1])} AND "
        result = db.execute(
            f"SELECT session_id, {_line(table)} FROM {quote_identifier(table)} "
            f"WHERE {within}session_id IN (SELECT session_id FROM v_ids) ORDER BY {quote_identifier(order)}"
        )
        while rows := result.fetchmany(_ROWS):
            for session, group in groupby(rows, itemgetter(0)):
                hashes[session].update("".join([line for _, line in group]).encode())
    return {session: each.hexdigest() for session, each in hashes.items() if session not in batch.missing}


def source_catalog_digest(db: duckdb.DuckDBPyConnection) -> str:
    """The digest of the catalog, and of the rows of no session."""
    digest = hashlib.sha256()
    for table in CATALOG_TABLES:
        order = "experiment_id, system_id" if table == "experimental_systems" else "id"
        digest.update(f"{table}\n".encode())
        _feed(digest, db, f"SELECT {_line(table)} FROM {quote_identifier(table)} ORDER BY {order}")
    for table in SESSION_TABLES[1:]:
        digest.update(f"{table}\n".encode())
        orphans = "session_id NOT IN (SELECT session_id FROM session_traces)"
        _feed(digest, db, f"SELECT {_line(table)} FROM {quote_identifier(table)} WHERE {orphans} ORDER BY id")
    return digest.hexdigest()


def _feed(digest: Any, db: duckdb.DuckDBPyConnection, sql: str) -> None:
    result = db.execute(sql)
    while rows := result.fetchmany(_ROWS):
        digest.update("".join([row[0] for row in rows]).encode())


def target_digests(
    target: TargetReader, ids: Sequence[str], counts: dict[str, dict[str, int]] | None = None
) -> dict[str, str]:
    """The digests of sessions as they lie in the target now; one without rows has a digest too.

    ``counts`` gets by session how many rows it has in which table.
    """
    hashes = {session: hashlib.sha256() for session in ids}
    some, params = id_list(ids)
    for table in (*SESSION_TABLES, "event_rewards", "outcome_rewards"):
        head = f"{table}\n".encode()
        for each in hashes.values():
            each.update(head)
        columns = TARGET[table].split()
        place = columns.index("session_id")
        order = ("session_id",) if table == "session_traces" else ("session_id", "id")
        with closing(target.stream(table, columns, f"session_id IN ({some})", params, order)) as stream:
            while rows := stream.fetch(_ROWS):
                for session, group in groupby(_in_doubles(columns, rows), itemgetter(place)):
                    own = list(group)
                    hashes[session].update(_text(own))
                    if counts is not None:
                        mine = counts.setdefault(session, {})
                        mine[table] = mine.get(table, 0) + len(own)
    return {session: each.hexdigest() for session, each in hashes.items()}


def target_catalog_digest(target: TargetReader, owned: Mapping[str, Sequence[Any]]) -> str:
    """The digest of the catalog rows that the move made; the application may have added others since."""
    digest = hashlib.sha256()
    for table in CATALOG_TABLES:
        digest.update(f"{table}\n".encode())
        columns = TARGET[table].split()
        keys = owned.get(table, [])
        if table == "experimental_systems":
            rows = [
                row
                for key in keys
                for row in target.read(table, columns, "experiment_id = ? AND system_id = ?", tuple(key), ("rowid",))
            ]
        else:
            some, params = id_list([str(key) for key in keys])
            rows = target.read(table, columns, f"{quote_identifier(columns[0])} IN ({some})", params, ("rowid",))
        if rows:
            # every row begins with the unit's id, which for the catalog is the empty text
            digest.update(_text([("", *row) for row in rows]))
    return digest.hexdigest()


def row_digest(rows: Sequence[tuple[Any, ...]]) -> str:
    """What the ledger notes of a row of the catalog, or of those that share its key."""
    return hashlib.sha256(_text(rows)).hexdigest()[:16]


def _in_doubles(columns: Sequence[str], rows: Rows) -> Iterator[tuple[Any, ...]]:
    """INTEGER columns that hold fractions too are hashed as doubles: SQLite turns 29.0 into 29 on its own.

    An integer between two doubles was none, and goes in as it is.
    """
    places = [place for place, name in enumerate(columns) if name in _AS_DOUBLES]
    if not places:
        yield from rows
        return
    for row in rows:
        values = list(row)
        for place in places:
            if isinstance(values[place], int) and int(float(values[place])) == values[place]:
                values[place] = float(values[place])
        yield tuple(values)


def _text(rows: Iterable[Sequence[Any]]) -> bytes:
    return b"".join(map(row_text, rows))
