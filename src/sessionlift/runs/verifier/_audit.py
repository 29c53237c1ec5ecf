"""Everything that the ledger names, or that a report claims, against both stores as they are now."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any, TypeVar

import duckdb

from sessionlift.errors import UsageError
from sessionlift.runs.verifier import _digests, _losses, _quarantine
from sessionlift.runs.verifier._readers import TargetReader, id_list
from sessionlift.runs.verifier._source import Batch
from sessionlift.runs.verifier._synth import SynthVerifier
from sessionlift.stores import quote_identifier

CHUNK = 1_000
KEPT = 1_000
"""How many findings are named; the rest are counted."""
EXAMPLES = 3
T = TypeVar("T")


@dataclass(frozen=True)
class Unit:
    """What is known of one moved unit: from the ledger, or from a report's digests file."""

    kind: str
    session_id: str
    run_id: str
    source_digest: str
    target_digest: str
    state: str


@dataclass(frozen=True)
class Finding:
    """Something that is not as the ledger or the report has it."""

    code: str
    message: str
    session_id: str | None = None
    table: str | None = None


@dataclass(frozen=True)
class Note:
    """Something to be told that is no fault."""

    code: str
    table: str | None
    count: int
    examples: list[Any]


@dataclass
class Audit:
    """Findings and notes; and by table and by loss what was counted again."""

    findings: list[Finding] = field(default_factory=list)
    more: int = 0
    notes: list[Note] = field(default_factory=list)
    failed: int = 0
    units: int = 0
    read: dict[str, int] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    quarantined: dict[str, int] = field(default_factory=dict)
    losses: list[tuple[str, str, str, int]] = field(default_factory=list)
    source_sessions: int = 0
    aside: int = 0
    moved_again: int = 0
    later: int = 0
    """sessions that the ledger has from a run later than the report's, those moved again among them"""
    run_known: bool = True

    def find(self, finding: Finding) -> None:
        if len(self.findings) < KEPT:
            self.findings.append(finding)
        else:
            self.more += 1

    def to_message(self) -> dict[str, Any]:
        return asdict(self)


class Auditor:
    """Goes through units in the source's order, in bounded batches, each by the options of its run."""

    def __init__(
        self,
        source: duckdb.DuckDBPyConnection,
        target: TargetReader,
        verifier: SynthVerifier,
        *,
        only: Sequence[str] | None,
        progress: Callable[[int, int], None],
    ) -> None:
        self._db, self._target, self._verifier = source, target, verifier
        self._only, self._progress = only, progress
        self._audit = Audit()
        self._catalog_orphans = False
        runs = target.read("sessionlift_runs", ("run_id", "options", "started_at"))
        self._options = {str(run): _parsed(options) for run, options, _ in runs}
        self._started = {str(run): str(started or "") for run, _, started in runs}

    # --- what has to be there -------------------------------------------------------------------------------

    def ledger(self) -> Iterator[Unit]:
        """The units as the ledger has them."""
        columns = ("unit", "session_id", "run_id", "source_digest", "target_digest", "state")
        stream = self._target.stream("sessionlift_units", columns, "", (), ("unit", "session_id"))
        while rows := stream.fetch(CHUNK):
            for row in rows:
                yield Unit(*map(str, row))
        stream.close()

    def claimed(self, run_id: str, lines: Iterable[Mapping[str, str]] | None) -> Iterator[Unit]:
        """The units of a run as a report's digests file has them, or, without one, as the ledger has them.

        What a later run has moved again is left out and told of; what state a session is in, the ledger says.
        """
        if lines is None:
            yield from (unit for unit in self.ledger() if unit.run_id == run_id)
            return
        self._db.execute(
            "CREATE OR REPLACE TEMP TABLE v_later (unit VARCHAR, session_id VARCHAR, state VARCHAR, run_id VARCHAR)"
        )
        columns = ("unit", "session_id", "state", "run_id")
        other = "run_id <> ? OR state = 'quarantined'"
        stream = self._target.stream("sessionlift_units", columns, other, (run_id,), ("unit", "session_id"))
        while rows := stream.fetch(CHUNK):
            self._insert_later([tuple(map(str, row)) for row in rows])
        stream.close()
        lines = iter(lines)
        while some := list(islice(lines, CHUNK)):
            states = self._states([line["session_id"] for line in some])
            for line in some:
                unit, key = line["unit"], line["session_id"]
                state, run = states.get((unit, key), ("moved", run_id))
                if run != run_id and self._is_later(run, run_id):
                    self._audit.moved_again += unit == "session"
                    continue
                if run != run_id:
                    # by whichever run the ledger has it, the rows have to be there
                    self._audit.find(
                        Finding(
                            "claim_run",
                            f"the report names it as moved by run {run_id}; the ledger has run {run} for it",
                            key if unit == "session" else None,
                        )
                    )
                yield Unit(unit, key, run, line["source_digest"], line["target_digest"], state)
        for (run,) in self._db.execute("SELECT run_id FROM v_later WHERE unit = 'session'").fetchall():
            self._audit.later += run != run_id and self._is_later(run, run_id)

    def _is_later(self, run: str, than: str) -> bool:
        return run in self._started and than in self._started and self._started[run] > self._started[than]

    def _insert_later(self, rows: list[tuple[Any, ...]]) -> None:
        columns = ", ".join(["unnest(from_json(?, '[\"VARCHAR\"]'))"] * 4)
        lists = [json.dumps(column) for column in zip(*rows, strict=True)]
        self._db.execute(f"INSERT INTO v_later SELECT {columns}", lists)

    def _states(self, ids: Sequence[str]) -> dict[tuple[str, str], tuple[str, str]]:
        return {
            (unit, key): (state, run)
            for unit, key, state, run in self._db.execute(
                "SELECT unit, session_id, state, run_id FROM v_later "
                "WHERE session_id IN (SELECT unnest(from_json(?, '[\"VARCHAR\"]')))",
                [json.dumps(list(ids))],
            ).fetchall()
        }

    def run(self, units: Iterable[Unit], *, claim: str | None = None) -> Audit:
        """Check ``units``. With ``claim``, the id of a run, also count what its report counts."""
        if claim is not None and claim not in self._options:
            self._audit.run_known = False
            self._audit.find(Finding("claim_run", f"the ledger of the target knows no run {claim!r}"))
        catalog = self._load(units)
        total = self._audit.units = self._count("SELECT count(*) FROM v_units")
        self._audit.source_sessions = self._count("SELECT count(*) FROM v_index")
        if catalog is not None:
            self._catalog(catalog)
        for run_id in self._runs():
            if not self._take_options(run_id):
                continue
            for ids in self._chunks(run_id, "state <> 'quarantined' AND i.session_id IS NOT NULL"):
                self._verifier.check(ids, self._compare_digests)
                self._progress(self._verifier.result.sessions, total)
        self._aside()
        self._gone()
        with self._verifier.room():
            self._quarantine(claim, catalog is not None)
        if claim is not None:
            self._count_again(claim, catalog is not None)
        else:
            self._strangers()
        return self._audit

    def _load(self, units: Iterable[Unit]) -> Unit | None:
        """Fill ``v_units``; returns the catalog's unit."""
        self._db.execute(
            "CREATE OR REPLACE TEMP TABLE v_units (session_id VARCHAR, run_id VARCHAR, "
            "source_digest VARCHAR, "
            "target_digest VARCHAR, state VARCHAR)"
        )
        catalog, some = None, []
        for unit in units:
            if unit.kind == "catalog":
                catalog = unit
                continue
            some.append(unit)
            if len(some) == 5_000:
                self._insert(some)
                some = []
        self._insert(some)
        if self._only is not None:
            self._refuse_unknown(self._only)
            self._db.execute(
                "DELETE FROM v_units WHERE session_id NOT IN (SELECT unnest(from_json(?, '[\"VARCHAR\"]')))",
                [json.dumps(list(self._only))],
            )
            catalog = None
        return catalog

    def _refuse_unknown(self, only: Sequence[str]) -> None:
        """An id that neither the source nor the ledger has was mistyped."""
        unknown = self._db.execute(
            "SELECT DISTINCT id FROM (SELECT unnest(from_json(?, '[\"VARCHAR\"]')) AS id) "
            "WHERE id NOT IN (SELECT session_id FROM v_index UNION ALL SELECT session_id FROM v_units) ORDER BY 1",
            [json.dumps(list(only))],
        ).fetchall()
        if unknown:
            more = f" (nor {len(unknown) - 1} others)" if len(unknown) > 1 else ""
            raise UsageError(
                f"neither the source nor the ledger has a session {unknown[0][0]!r}{more}",
                hint="check the ids given with --only; `sessionlift plan` shows what the store holds",
                session_id=unknown[0][0],
            )

    def _insert(self, units: list[Unit]) -> None:
        lists = [
            json.dumps([getattr(unit, name) for unit in units])
            for name in ("session_id", "run_id", "source_digest", "target_digest", "state")
        ]
        columns = ", ".join(["unnest(from_json(?, '[\"VARCHAR\"]'))"] * len(lists))
        if units:
            self._db.execute(f"INSERT INTO v_units SELECT {columns}", lists)

    def _count(self, sql: str, params: Sequence[Any] = ()) -> int:
        row = self._db.execute(sql, list(params)).fetchone()
        return 0 if row is None else int(row[0])

    def _roomy(self, call: Callable[[], T]) -> T:
        """Call again with more memory for the engine where a row does not fit into what it has."""
        try:
            return call()
        except duckdb.OutOfMemoryException:
            with self._verifier.room():
                return call()

    # --- unit by unit ---------------------------------------------------------------------------------------

    def _runs(self) -> list[str]:
        return [row[0] for row in self._db.execute("SELECT DISTINCT run_id FROM v_units ORDER BY 1").fetchall()]

    def _take_options(self, run_id: str) -> bool:
        if run_id not in self._options:
            count = self._count("SELECT count(*) FROM v_units WHERE run_id = ?", [run_id])
            self._audit.find(
                Finding("run_unknown", f"the ledger has no run {run_id!r}, by which {count:,} sessions were moved")
            )
            return False
        message_types, event_types = self._mappings(run_id)
        self._verifier.rules(self._options[run_id].get("timezone", "UTC"), message_types, event_types)
        return True

    def _mappings(self, run_id: str) -> tuple[dict[str, str], dict[str, str]]:
        mapping = self._options[run_id].get("mapping", {})
        return mapping.get("message_types", {}), mapping.get("event_types", {})

    def _chunks(self, run_id: str, which: str) -> Iterator[list[str]]:
        """Session ids of a run in the order in which the source has them."""
        self._db.execute(
            "CREATE OR REPLACE TEMP TABLE v_todo AS SELECT row_number() OVER (ORDER BY i.n, "
            "u.session_id) AS place, "
            f"u.session_id FROM v_units AS u LEFT JOIN v_index AS i ON i.session_id = u.session_id "
            f"WHERE u.run_id = ? AND {which}",
            [run_id],
        )
        at = 0
        while rows := self._db.execute(
            "SELECT session_id FROM v_todo WHERE place > ? AND place <= ? ORDER BY place", [at, at + CHUNK]
        ).fetchall():
            yield [row[0] for row in rows]
            at += CHUNK

    def _compare_digests(self, batch: Batch) -> None:
        known = self._known(batch.ids)
        source = _digests.source_digests(self._db, batch)
        target = _digests.target_digests(self._target, batch.ids)
        for session in batch.ids:
            _, source_was, target_was = known[session]
            moved_on = source[session] != source_was
            changed = target[session] != target_was
            differs = session in self._verifier.result.differing
            if not (moved_on or changed or differs):
                continue
            self._audit.failed += 1
            if moved_on:
                self._audit.find(_changed_in_source(session))
            if changed:
                self._audit.find(_changed_in_target(session))
                self._explain(session)
            if differs and not changed:
                count = self._verifier.result.differing[session]
                why = ", which has changed since" if moved_on else ""
                self._audit.find(
                    Finding(
                        "differs_from_source",
                        f"{count:,} values or rows of the session do not follow from the source{why}; "
                        "the target is as it was written",
                        session,
                    )
                )

    def _known(self, ids: Sequence[str]) -> dict[str, tuple[str, str, str]]:
        rows = self._db.execute(
            "SELECT session_id, source_digest, target_digest FROM v_units "
            "WHERE session_id IN (SELECT unnest(from_json(?, '[\"VARCHAR\"]')))",
            [json.dumps(list(ids))],
        ).fetchall()
        return {row[0]: row for row in rows}

    def _explain(self, session: str) -> None:
        """Say of a session's differences that the target was changed after the move."""
        kept = self._verifier.result.differences
        for place, found in enumerate(kept):
            if found.session_id == session and not found.message.endswith(SINCE):
                kept[place] = replace(found, message=found.message + SINCE)

    def _aside(self) -> None:
        """Sessions in quarantine have no rows in the target."""
        for run_id in self._runs():
            for ids in self._chunks(run_id, "state = 'quarantined'"):
                known, target = self._known(ids), _digests.target_digests(self._target, ids)
                for session in ids:
                    self._verifier.result.sessions += 1
                    if target[session] != known[session][2]:
                        self._audit.failed += 1
                        self._audit.find(_changed_in_target(session))

    def _quarantine(self, claim: str | None, with_catalog: bool) -> None:
        """Every row in quarantine against the source's; those of whole sessions and of none must all be there."""
        where, params = ("", []) if claim is None else ("run_id = ?", [claim])
        result = self._verifier.result
        if self._only is not None:
            some, ids = id_list(self._only)
            where, params = f"unit = 'session' AND session_id IN ({some})", ids
        found = _quarantine.check(self._db, self._target, result, where, params)
        for table, count in found.items():
            self._note("in_quarantine", table, count, [])
        if claim is not None and claim not in self._options:
            return
        aside = "session_id IN (SELECT session_id FROM v_units WHERE state = 'quarantined')"
        for table in _digests.SESSION_TABLES:
            _quarantine.missing(self._db, result, table, aside)
            if with_catalog and self._catalog_orphans and table != "session_traces":
                orphans = "session_id NOT IN (SELECT session_id FROM session_traces)"
                _quarantine.missing(self._db, result, table, orphans)

    def _gone(self) -> None:
        """Sessions that were moved and that the source no longer has."""
        for run_id in self._runs():
            for ids in self._chunks(run_id, "state <> 'quarantined' AND i.session_id IS NULL"):
                known, target = self._known(ids), _digests.target_digests(self._target, ids)
                for session in ids:
                    self._audit.failed += 1
                    as_was = target[session] == known[session][2]
                    state = "is as it was written" if as_was else "was changed since as well"
                    self._audit.find(
                        Finding(
                            "gone_from_source",
                            f"the source no longer has the session, so no value can be compared; the target {state}",
                            session,
                        )
                    )

    def _catalog(self, unit: Unit) -> None:
        self._verifier.check_catalog()
        source = self._roomy(lambda: _digests.source_catalog_digests(self._db))
        # a run that chose sessions left the rows of none alone
        only = self._options.get(unit.run_id, {}).get("only")
        self._catalog_orphans = only is None
        owned: dict[str, Any] = {}
        for (data,) in self._target.read("sessionlift_complement", ("data",), "unit = 'catalog'"):
            owned = self._owned(data)
        target = _digests.target_catalog_digest(self._target, owned)
        if unit.source_digest not in source:
            self._audit.find(
                Finding(
                    "changed_in_source",
                    "systems, versions, experiments or rows of no session changed in the source since the move",
                )
            )
        if unit.target_digest != target:
            self._audit.find(
                Finding(
                    "changed_in_target",
                    "systems, versions or experiments changed in the target since the move",
                )
            )

    def _owned(self, data: Any) -> dict[str, Any]:
        """The keys of the catalog rows that the move made."""
        owned = _parsed(data).get("owned", {})
        if not isinstance(owned, dict) or not all(isinstance(keys, list) for keys in owned.values()):
            owned = {}
        if not owned:
            self._audit.find(
                Finding(
                    "complement_damaged",
                    "the catalog's complement in the ledger cannot be read, so which rows the move made is unknown",
                    table="sessionlift_complement",
                )
            )
        return owned

    # --- what else there is ---------------------------------------------------------------------------------

    def _strangers(self) -> None:
        """Tell of sessions that only the source or only the target knows."""
        rest = "FROM v_index AS i WHERE i.session_id NOT IN (SELECT session_id FROM v_units)"
        if self._only is not None:
            self._db.execute("CREATE OR REPLACE TEMP TABLE v_only (session_id VARCHAR)")
            self._db.execute(
                "INSERT INTO v_only SELECT unnest(from_json(?, '[\"VARCHAR\"]'))", [json.dumps(list(self._only))]
            )
            rest += " AND i.session_id IN (SELECT session_id FROM v_only)"
            self._note("not_moved", "session_traces", *self._some(rest, "i.session_id"))
            return
        self._note("not_moved", "session_traces", *self._some(rest, "i.session_id"))
        self._db.execute("CREATE OR REPLACE TEMP TABLE v_target (session_id VARCHAR)")
        stream = self._target.stream("session_traces", ("session_id",), "", (), ("session_id",))
        while rows := stream.fetch(5_000):
            self._db.execute(
                "INSERT INTO v_target SELECT unnest(from_json(?, '[\"VARCHAR\"]'))",
                [json.dumps([row[0] for row in rows])],
            )
        stream.close()
        rest = "FROM v_target AS t WHERE t.session_id NOT IN (SELECT session_id FROM v_units)"
        self._note("native_session", "session_traces", *self._some(rest, "t.session_id"))
        gone = self._count("SELECT count(*) FROM v_units WHERE session_id NOT IN (SELECT session_id FROM v_index)")
        for table in ("session_timesteps", "events", "messages", "event_rewards", "outcome_rewards"):
            native = self._target.count(table) - self._verifier.result.by_table.get(table, 0)
            if native > 0 and not gone:
                self._note("native_rows", table, native, [])

    def _some(self, rest: str, name: str) -> tuple[int, list[Any]]:
        count = self._count(f"SELECT count(*) {rest}")
        rows = self._db.execute(f"SELECT {name} {rest} ORDER BY 1 LIMIT {EXAMPLES}").fetchall() if count else []
        return count, [{"session_id": row[0]} for row in rows]

    def _note(self, code: str, table: str, count: int, examples: list[Any]) -> None:
        if count:
            self._audit.notes.append(Note(code, table, count, examples))

    # --- the counts of a report -----------------------------------------------------------------------------

    def _count_again(self, run_id: str, with_catalog: bool) -> None:
        """Count rows read, written and in quarantine, for the units that the report is about."""
        audit = self._audit
        if run_id in self._options:
            audit.losses = self._roomy(
                lambda: _losses.count(
                    self._db, run_id, *self._mappings(run_id), self._verifier.unlinked, with_catalog=with_catalog
                )
            )
        mine = "WHERE session_id IN (SELECT session_id FROM v_units)"
        for table in _digests.SESSION_TABLES:
            audit.read[table] = self._count(f"SELECT count(*) FROM {quote_identifier(table)} {mine}")
            if with_catalog and table != "session_traces":
                orphans = "WHERE session_id NOT IN (SELECT session_id FROM session_traces)"
                audit.read[table] += self._count(f"SELECT count(*) FROM {quote_identifier(table)} {orphans}")
        if with_catalog:
            for table in _digests.CATALOG_TABLES:
                audit.read[table] = self._count(f"SELECT count(*) FROM {quote_identifier(table)}")
        audit.written = dict(self._verifier.result.by_table)
        for (table,) in self._target.read("sessionlift_quarantine", ("table_name",), "run_id = ?", (run_id,)):
            audit.quarantined[table] = audit.quarantined.get(table, 0) + 1
        audit.aside = self._count("SELECT count(*) FROM v_units WHERE state = 'quarantined'")


def _parsed(text: Any) -> dict[str, Any]:
    """A JSON object of the ledger; an empty one where there is none that can be read."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


SINCE = " (the session was changed in the target since the move)"


def _changed_in_source(session: str) -> Finding:
    return Finding("changed_in_source", "the session changed in the source since it was moved", session)


def _changed_in_target(session: str) -> Finding:
    return Finding(
        "changed_in_target",
        "the session changed in the target since it was moved: its digest is not the one that was written",
        session,
    )
