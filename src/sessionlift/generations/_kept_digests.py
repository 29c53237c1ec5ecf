"""Whether the complement is still what was left in it: a digest by table, noted with each step and looked at again.

A step touches only what was kept by the ways down from its own revision. So the latest step of a revision says what
the store must still keep of it, whatever other steps have done since.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from sessionlift.errors import StoreCorruptError
from sessionlift.generations._kept import KEPT_TABLE, STEPS_TABLE
from sessionlift.generations._structure import Query, queries

NOTE = "complement"
"""Where the detail of a step has what :func:`complement_of` gave after it."""
_AT_ONCE = 500
_FIRST = -(1 << 63)

Complement = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class KeptFinding:
    """One table of which something else is kept than the latest step left."""

    revision: str
    table: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.table}: {self.expected} were kept, {self.found} are there"


@dataclass(frozen=True)
class KeptState:
    """The complement of some revisions. ``unknown``: the tables of which no step has noted a digest."""

    findings: list[KeptFinding]
    unknown: list[str]
    digests: dict[str, Complement]

    @property
    def digest(self) -> str:
        """One for all of it; empty where nothing is kept."""
        there = {revision: tables for revision, tables in self.digests.items() if tables}
        return hashlib.sha256(json.dumps(there, sort_keys=True).encode()).hexdigest() if there else ""

    @property
    def values(self) -> int:
        """How many values are kept."""
        return sum(int(one["values"]) for tables in self.digests.values() for one in tables.values())


def complement_of(query: Query, revision: str) -> Complement:
    """What is kept by the ways down from ``revision``: by table how many values, and their digest. Read-only.

    A text is hashed as the bytes that it is in the store, so that one which is not UTF-8 has a digest, too.
    """
    if not _there(query, KEPT_TABLE):
        return {}
    groups = query(
        "SELECT DISTINCT table_name, run_id FROM sessionlift_kept WHERE revision = ? ORDER BY 1, 2", revision
    )
    found: Complement = {}
    for table in dict.fromkeys(str(name) for name, _ in groups):
        whole, count = hashlib.sha256(), 0
        for run in (str(run) for name, run in groups if name == table):
            for value in _values(query, revision, run, table):
                whole.update(repr((run, *value)).encode())
                count += 1
        found[table] = {"values": count, "sha256": whole.hexdigest()}
    return found


def _values(query: Query, revision: str, run: str, table: str) -> Iterator[tuple[Any, ...]]:
    last: tuple[Any, Any] = (_FIRST, "")
    while True:
        rows = query(
            "SELECT row_id, column_name, typeof(value), "
            "CASE typeof(value) WHEN 'text' THEN CAST(value AS BLOB) ELSE value END FROM sessionlift_kept "
            "WHERE revision = ? AND run_id = ? AND table_name = ? AND (row_id, column_name) > (?, ?) "
            f"ORDER BY row_id, column_name LIMIT {_AT_ONCE}",
            revision,
            run,
            table,
            *last,
        )
        yield from rows
        if len(rows) < _AT_ONCE:
            return
        last = rows[-1][:2]


def kept_state(connection: Connection, revisions: Sequence[str]) -> KeptState:
    """What is kept of ``revisions``, held against what their latest steps noted. Read-only."""
    query = queries(connection)
    findings: list[KeptFinding] = []
    unknown: set[str] = set()
    digests = {}
    for revision in revisions:
        found = digests[revision] = complement_of(query, revision)
        run, direction, told = _latest(query, revision)
        noted = told.get(NOTE)
        if isinstance(noted, dict):
            findings += [
                KeptFinding(revision, table, _said(noted.get(table)), _said(found.get(table)))
                for table in sorted({*noted, *found})
                if noted.get(table) != found.get(table)
            ]
            continue
        # an older build noted how many alone, and only of the way down
        counted = told.get("kept") if direction == "down" else None
        counts: Mapping[str, Any] = counted if isinstance(counted, dict) else {}
        findings += _fewer(query, revision, run, counts)
        unknown |= {name.partition(".")[0] for name in (*counts, *found) if not name.startswith(("(", "sqlite_"))}
    return KeptState(findings, sorted(unknown), digests)


def refuse_altered(connection: Connection, revisions: Sequence[str], *, store: str | None = None) -> KeptState:
    """Raise StoreCorruptError where something else is kept of ``revisions`` than was left there. Read-only."""
    state = kept_state(connection, revisions)
    if state.findings:
        listed = "; ".join(str(one) for one in state.findings)
        raise StoreCorruptError(
            f"what the way down kept in {KEPT_TABLE} is no longer what was left there: {listed}",
            hint="somebody has changed or removed it, and it would come back as if it were genuine: restore the backup "
            "that the downgrade made, or one of the store from before that was changed (`sessionlift restore BACKUP`)",
            store=store,
            role="target",
            table=state.findings[0].table,
            found=[str(one) for one in state.findings],
        )
    return state


def _latest(query: Query, revision: str) -> tuple[str, str, Mapping[str, Any]]:
    """Run, direction and detail of the latest step up to or down from ``revision``."""
    if not _there(query, STEPS_TABLE):
        return "", "", {}
    rows = query(
        "SELECT run_id, direction, detail FROM sessionlift_steps WHERE revision = ? AND direction <> 'adopted' "
        "ORDER BY id DESC LIMIT 1",
        revision,
    )
    if not rows:
        return "", "", {}
    run, direction, detail = rows[0]
    try:
        told = json.loads(str(detail))
    except ValueError:
        told = None
    return str(run), str(direction), told if isinstance(told, dict) else {}


def _fewer(query: Query, revision: str, run: str, counts: Mapping[str, Any]) -> list[KeptFinding]:
    there = _there(query, KEPT_TABLE)
    findings = []
    for name, count in sorted(counts.items()):
        table, _, column = name.partition(".")
        found = 0
        if there:
            found = query(
                "SELECT count(DISTINCT row_id) FROM sessionlift_kept WHERE revision = ? AND run_id = ? "
                "AND table_name = ? AND (? = '' OR column_name = ?)",
                revision,
                run,
                table,
                column,
                column,
            )[0][0]
        if found != count:
            findings.append(KeptFinding(revision, name, f"{count} rows", f"{found} rows"))
    return findings


def _said(one: Any) -> str:
    return f"{one['values']} values of digest {str(one['sha256'])[:12]}" if isinstance(one, dict) else "0 values"


def _there(query: Query, table: str) -> bool:
    return bool(query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", table))
