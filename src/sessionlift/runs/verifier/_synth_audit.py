"""synth's part of an audit: its digests, its catalog, its quarantine and its losses, by the source's engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb

from sessionlift.runs.verifier import _digests, _losses, _quarantine
from sessionlift.runs.verifier._audit import Finding, Unit, parsed
from sessionlift.runs.verifier._auditor import Auditor, Checker
from sessionlift.runs.verifier._carried import LeftAlone, carried, catalog_complement
from sessionlift.runs.verifier._readers import TargetReader, id_list
from sessionlift.runs.verifier._room import RoomyEngine, room, roomy
from sessionlift.runs.verifier._source import Batch
from sessionlift.runs.verifier._synth import SynthVerifier
from sessionlift.runs.verifier._units import ASIDE, UnitTable
from sessionlift.stores import DuckdbStore, Need, StoreURL, quote_identifier

MEMORY_LIMIT = "28MB"
"""What DuckDB may use in the verifier's process; it reads block by block, and spills what it sorts."""
_AUDIT_MEGABYTES = 64
_COUNTED = 420
"""About so many bytes for each session while all of them are looked at."""


class DuckdbUnits(UnitTable):
    """The units in temporary tables of the source's own engine."""

    def listed(self, ids: Sequence[str]) -> tuple[str, list[Any]]:
        return "SELECT unnest(from_json(?, '[\"VARCHAR\"]'))", [json.dumps(list(ids))]

    def insert(self, table: str, rows: Sequence[tuple[str, ...]]) -> None:
        lists = [json.dumps(column) for column in zip(*rows, strict=True)]
        columns = ", ".join(["unnest(from_json(?, '[\"VARCHAR\"]'))"] * len(lists))
        self._engine.execute(f"INSERT INTO {quote_identifier(table)} SELECT {columns}", lists)


class SynthChecker(Checker):
    """synth.v2 against synth.v3."""

    def __init__(self, store: DuckdbStore, target: TargetReader, options: Mapping[str, Any]) -> None:
        self._store, self._source, self._target = store, store.connection, target
        self.verifier = SynthVerifier(store.connection, target, zone=zone_of(options), **mappings_of(options))
        self.result = self.verifier.result

    def take(self, options: Mapping[str, Any]) -> None:
        self.verifier.rules(zone_of(options), **mappings_of(options))

    def check(self, ids: Sequence[str], after: Callable[[Batch], None] | None = None) -> None:
        self._store.tidy()
        self.verifier.check(ids, after)

    def wait_for_indexes(self) -> None:
        self.verifier.late = True

    def finish(self) -> None:
        self.verifier.finish()

    def as_moved(self, units: Sequence[tuple[str, str, str]]) -> list[str]:
        known = {session: (source, target) for session, source, target in units}
        found: list[str] = []
        with room(self._source):
            for batch in self.verifier.index.batches(list(known)):
                source = _digests.source_digests(self._source, batch)
                target = _digests.target_digests(self._target, batch.ids)
                found += [each for each in batch.ids if (source.get(each), target[each]) == known[each]]
        return found

    def check_catalog(self) -> None:
        self.verifier.check_catalog()

    def auditor(self, *, only: Sequence[str] | None, progress: Callable[[int, int], None]) -> Auditor:
        # nobody else works beside it, and it asks for all sessions again and again
        self._store.allow(_AUDIT_MEGABYTES)
        return SynthAuditor(self._source, self._target, self, only=only, progress=progress)


@contextmanager
def open_synth(url: StoreURL, target: TargetReader, options: Mapping[str, Any]) -> Iterator[Checker]:
    """A checker of the synth.v2 store ``url``, which is opened read-only."""
    with DuckdbStore(url, memory_limit=MEMORY_LIMIT, threads=1) as source:
        try:
            with source.mapped():
                # it looks at every row's session first, which takes more where there are many
                ((sessions,),) = source.query("SELECT count(*) FROM session_traces")
                need = Need.of(int(str(sessions)), _COUNTED)
                yield source.with_room(lambda: SynthChecker(source, target, options), need)
        except duckdb.InterruptException as error:
            raise KeyboardInterrupt from error


def zone_of(options: Mapping[str, Any]) -> str:
    return str(options.get("timezone", "UTC"))


def mappings_of(options: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    mapping = options.get("mapping", {})
    return {name: mapping.get(name, {}) for name in ("message_types", "event_types")}


class SynthAuditor(Auditor):
    """Everything that a ledger or a report names, of synth."""

    sessions_table = "session_traces"
    child_tables = ("session_timesteps", "events", "messages", "event_rewards", "outcome_rewards")
    digest_tables = (*_digests.SESSION_TABLES, "event_rewards", "outcome_rewards")
    catalog_tables = _digests.CATALOG_TABLES
    orphan_tables = _digests.SESSION_TABLES[1:]
    not_counted = _losses.NOT_COUNTED

    def __init__(
        self,
        source: duckdb.DuckDBPyConnection,
        target: TargetReader,
        checker: SynthChecker,
        *,
        only: Sequence[str] | None,
        progress: Callable[[int, int], None],
    ) -> None:
        self._db, self._verifier, self._compare = source, checker.verifier, checker.check
        self._moved_by_table: dict[str, int] = {}
        super().__init__(target, checker, DuckdbUnits(RoomyEngine(source)), only=only, progress=progress)

    def _check(self, ids: Sequence[str]) -> None:
        self._compare(ids, self._compare_digests)

    def _compare_digests(self, batch: Batch) -> None:
        known = self._units.known(batch.ids)
        source = _digests.source_digests(self._db, batch)
        written: dict[str, dict[str, int]] = {}
        target = _digests.target_digests(self._target, batch.ids, written)
        unchanged = [
            key
            for key in batch.ids
            if (source[key], target[key]) == (known[key].source_digest, known[key].target_digest)
        ]
        self._compare_counts(batch, unchanged, written)
        for session in batch.ids:
            self._judge(session, known[session], source[session], target[session])

    def _compare_counts(self, batch: Batch, ids: Sequence[str], written: Mapping[str, Mapping[str, int]]) -> None:
        """What the ledger says was read and written of sessions that neither side has changed since.

        What a rollback carried, it notes by the digests alone.
        """
        if "rollback" in self._kinds.values():
            return
        some, params = id_list(ids)
        columns = ("session_id", "read_counts", "written_counts")
        where = f"unit = 'session' AND session_id IN ({some})"
        for key, *told in self._target.read("sessionlift_units", columns, where, params):
            read = {"session_traces": 1, **{table: counts[key] for table, counts in batch.counts.items()}}
            for column, text, must in zip(columns[1:], told, (read, written.get(key, {})), strict=True):
                have, want = ({table: rows for table, rows in each.items() if rows} for each in (parsed(text), must))
                if have != want:
                    self._verifier.result.value(key, "sessionlift_units", key, column, json.dumps(want), text)

    def _target_digests(self, ids: Sequence[str]) -> dict[str, str]:
        return _digests.target_digests(self._target, ids)

    def _quarantine(self, claim: str | None, catalog: Unit | None) -> None:
        with room(self._db):
            self._compare_quarantine(claim, catalog is not None)

    def _compare_quarantine(self, claim: str | None, with_catalog: bool) -> None:
        """Every row in quarantine against the source's; those of whole sessions and of none must all be there."""
        result = self._verifier.result
        for table, count in _quarantine.check(self._db, self._target, result, *self._quarantine_of(claim)).items():
            self._audit.note("in_quarantine", table, count, [])
        if claim is not None and claim not in self._options:
            return
        for run_id in self._units.runs():
            if run_id in self._options:
                self._checker.take(self._options[run_id])
                for ids in self._units.chunks(run_id, ASIDE):
                    known = {key: unit.source_digest for key, unit in self._units.known(ids).items()}
                    self._verifier.check_aside(ids, known)
        if claim is None:
            self._states()
            for what in ("quarantine", "complement") if self._only is None else ():
                self._stray_rows(what)
        aside = "session_id IN (SELECT session_id FROM v_units WHERE state = 'quarantined')"
        for table in _digests.SESSION_TABLES:
            _quarantine.missing(self._db, result, table, aside)
            if with_catalog and table != "session_traces":
                orphans = "session_id NOT IN (SELECT session_id FROM session_traces)"
                _quarantine.missing(self._db, result, table, orphans)

    def _states(self) -> None:
        """A session that was moved is "partial" if rows of it are in quarantine, and only then."""
        aside = "session_id IN (SELECT session_id FROM v_apart WHERE unit = 'session')"
        wrong = (
            "SELECT session_id, state FROM v_units WHERE session_id IN (SELECT session_id FROM v_index) "
            f"AND (state = 'moved' AND {aside} OR state = 'partial' AND NOT {aside}) ORDER BY 1"
        )
        for session, state in self._db.execute(wrong).fetchall():
            must = "moved" if state == "partial" else "partial"
            self._verifier.result.value(session, "sessionlift_units", session, "state", must, state)

    def _catalog(self, unit: Unit) -> None:
        self._verifier.check_catalog()
        source = roomy(self._db, lambda: _digests.source_catalog_digest(self._db))
        complement = catalog_complement(self._target)
        owned = self._owned(complement)
        left = LeftAlone(complement).counts()
        for table, rows in left.items():
            self._audit.note("catalog_left_alone", table, rows, [])
        target = _digests.target_catalog_digest(self._target, owned)
        if unit.source_digest != source:
            self._audit.catalog_moved_on = True
            self._moved_by_table = {
                table: len(owned.get(table, ())) - left.get(table, 0) for table in self.catalog_tables
            }
            self._audit.find(
                Finding(
                    "changed_in_source",
                    "systems, versions, experiments or rows of no session changed in the source since the move",
                )
            )
        if target not in (unit.target_digest, carried(complement).get("digest")):
            self._audit.find(
                Finding(
                    "changed_in_target",
                    "systems, versions or experiments changed in the target since the move",
                )
            )

    def _has_catalog(self) -> bool:
        orphans = "WHERE session_id NOT IN (SELECT session_id FROM session_traces)"
        return any(
            self._number(f"SELECT count(*) FROM {quote_identifier(table)} {where}")
            for where, tables in (("", self.catalog_tables), (orphans, self.orphan_tables))
            for table in tables
        )

    def _owned(self, complement: dict[str, Any]) -> dict[str, Any]:
        """The keys of the catalog rows that the move made."""
        owned = complement.get("owned", {})
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

    def _count_again(self, run_id: str, catalog: Unit | None) -> None:
        audit, with_catalog = self._audit, catalog is not None
        left = LeftAlone(catalog_complement(self._target))
        versions = left.keys("system_versions") if with_catalog else None
        if run_id in self._options:
            mapping = mappings_of(self._options[run_id])
            # nobody has counted which of these are of sessions that have changed in the source
            unlinked = {} if self._moved_on else self._verifier.unlinked
            audit.losses = roomy(
                self._db, lambda: _losses.count(self._db, run_id, **mapping, unlinked=unlinked, versions=versions)
            )
        mine = "WHERE session_id IN (SELECT session_id FROM v_units)"
        for table in _digests.SESSION_TABLES:
            audit.read[table] = self._number(f"SELECT count(*) FROM {quote_identifier(table)} {mine}")
            if with_catalog and table != "session_traces":
                orphans = "WHERE session_id NOT IN (SELECT session_id FROM session_traces)"
                audit.read[table] += self._number(f"SELECT count(*) FROM {quote_identifier(table)} {orphans}")
        if with_catalog:
            for table in _digests.CATALOG_TABLES:
                rows = self._number(f"SELECT count(*) FROM {quote_identifier(table)}")
                audit.read[table] = rows - left.counts().get(table, 0)

    def _count_target(self, run_id: str) -> None:
        super()._count_target(run_id)
        # rows of the catalog that the source no longer has were compared with nothing
        self._audit.written.update(self._moved_by_table)

    def _number(self, sql: str) -> int:
        return self._units.count(sql)
