"""The ledger of a target: which runs there were, what each unit was when it moved, and what is in quarantine."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sessionlift.converters import (
    CATALOG,
    KEPT,
    SESSION,
    Fact,
    Loss,
    Quarantined,
    Remembered,
    TypeMapping,
    Unit,
    UnitKind,
    same_clock,
)
from sessionlift.errors import StoreCorruptError
from sessionlift.ledger._records import LedgerRun, LedgerUnit, TakenBack
from sessionlift.ledger._retry import Retry
from sessionlift.ledger._rows import COMPLEMENT_COLUMNS, QUARANTINE_COLUMNS, UNIT_COLUMNS, to_json
from sessionlift.stores import Store, listed

_MANY = 2_000
_TAKEN_BACK = "('session', ?, ?, ?, ?, '', '', '{}', '{}', ?)"


class Ledger:
    """Reads and writes the ``sessionlift_`` tables of an opened target. Writes belong into its transactions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # --- runs -------------------------------------------------------------------------------------------------

    def start_run(
        self,
        run_id: str,
        *,
        kind: str,
        tool: str,
        source: str,
        generations: tuple[str, str],
        options: dict[str, Any],
        started_at: str,
    ) -> None:
        """Note that a run begins. A run that is killed stays "running" here; the next one says so."""
        with self._store.transaction():
            self._store.execute(
                "INSERT INTO sessionlift_runs (run_id, kind, status, tool, source, source_generation, "
                "target_generation, options, started_at) VALUES (?, ?, 'running', ?, ?, ?, ?, ?, ?)",
                (run_id, kind, tool, source, *generations, to_json(options), started_at),
            )

    def note_options(self, run_id: str, options: dict[str, Any]) -> None:
        """Note what a run that has begun came to know of how it is done."""
        with self._store.transaction():
            self._store.execute("UPDATE sessionlift_runs SET options = ? WHERE run_id = ?", (to_json(options), run_id))

    def finish_run(self, run_id: str, *, status: str, finished_at: str, summary: dict[str, Any]) -> None:
        with self._store.transaction():
            self._store.execute(
                "UPDATE sessionlift_runs SET status = ?, finished_at = max(?, started_at), summary = ? "
                "WHERE run_id = ?",
                (status, finished_at, to_json(summary), run_id),
            )

    def runs(self) -> list[LedgerRun]:
        """All runs, oldest first, in the order in which they began, whatever the clock said then."""
        rows = self._store.read_table(
            "sessionlift_runs",
            ("run_id", "kind", "status", "source", "started_at", "finished_at", "summary", "options"),
            order_by=("rowid",),
        )
        return [
            LedgerRun(
                str(row[0]),
                str(row[1]),
                str(row[2]),
                str(row[3]),
                str(row[4]),
                None if row[5] is None else str(row[5]),
                _object("sessionlift_runs", "summary", row[6]) if row[6] is not None else {},
                _object("sessionlift_runs", "options", row[7]) if row[7] is not None else {},
            )
            for row in rows
        ]

    # --- units ------------------------------------------------------------------------------------------------

    def digests(
        self, kind: str, *, retry: Retry | None = None, revive: Collection[str] = ()
    ) -> Iterator[tuple[str, str]]:
        """(session id, digest of the source rows as read) of every unit of ``kind``.

        Units that ``retry`` wants are left out; those that the runs ``revive`` have rolled back have an empty digest.
        """
        retry = retry or Retry()
        for session_id, digest, state, run_id in self._store.read_table(
            "sessionlift_units", ("session_id", "source_digest", "state", "run_id"), where="unit = ?", params=(kind,)
        ):
            if state == "rolled_back" and str(run_id) in revive:
                yield str(session_id), ""
            elif not retry.wants(str(session_id), str(state), str(run_id)):
                yield str(session_id), str(digest)

    def moved(self) -> list[tuple[str, str]]:
        """(session id, digest of the source rows as read) of every session that lives in the target, by their ids."""
        rows = self._store.read_table(
            "sessionlift_units",
            ("session_id", "source_digest"),
            where="unit = 'session' AND state IN ('moved', 'partial')",
            order_by=("session_id",),
        )
        return [(str(session_id), str(digest)) for session_id, digest in rows]

    def other_zones(self, zone: str) -> dict[str, str]:
        """By zone other than ``zone`` a run under which sessions were moved that are, or were, in the target.

        Other names of the same clock are no other zones. A run that was killed may be one of them. What lies in
        quarantine was moved by no clock.
        """
        rows = self._store.query(
            "SELECT json_extract(r.options, '$.timezone') AS zone, r.run_id FROM sessionlift_runs AS r "
            "WHERE json_extract(r.options, '$.timezone') <> ? AND EXISTS (SELECT 1 FROM sessionlift_units AS u "
            "WHERE u.run_id = r.run_id AND u.unit = 'session' AND u.state <> 'quarantined') ORDER BY r.rowid",
            (zone,),
        )
        return {str(other): str(run_id) for other, run_id in rows if not same_clock(str(other), zone)}

    def holds_any_of(self, run_id: str) -> bool:
        """Whether a session that is in the target was moved by the run."""
        rows = self._store.query(
            "SELECT 1 FROM sessionlift_units WHERE run_id = ? AND unit = 'session' AND state IN ('moved', 'partial') "
            "LIMIT 1",
            (run_id,),
        )
        return bool(rows)

    def taken_back_by(self, run_id: str) -> int:
        """How many sessions the run has taken back that have not come again since."""
        counted = (
            "SELECT count(*) FROM sessionlift_units WHERE unit = 'session' AND state = 'rolled_back' AND run_id = ?"
        )
        return int(str(self._store.query(counted, (run_id,))[0][0]))

    def refused(self) -> frozenset[str]:
        """The sessions in quarantine whose rows the target has refused."""
        rows = self._store.query("SELECT DISTINCT session_id FROM sessionlift_quarantine WHERE code = 'target_refused'")
        return frozenset(str(session_id) for (session_id,) in rows)

    def unwell(self) -> list[tuple[str, str, str]]:
        """(kind, session id, state) of every unit that is not just moved; the catalog's id is the empty text."""
        return [
            (str(kind), str(session_id), str(state))
            for kind, session_id, state in self._store.read_table(
                "sessionlift_units", ("unit", "session_id", "state"), where="state <> 'moved'"
            )
        ]

    def units(self, kind: str, ids: Sequence[str]) -> dict[str, LedgerUnit]:
        """What the ledger says of those of ``ids`` that were moved."""
        found: dict[str, LedgerUnit] = {}
        for at in range(0, len(ids), _MANY):
            some, params = listed(ids[at : at + _MANY])
            for row in self._store.read_table(
                "sessionlift_units",
                UNIT_COLUMNS,
                where=f"unit = ? AND session_id IN ({some})",
                params=(kind, *params),
            ):
                unit = _unit(row)
                found[unit.session_id] = unit
        return found

    def remembered(self, kind: UnitKind, ids: Sequence[str]) -> dict[str, Remembered]:
        """What the ledger knows of those of ``ids`` that were moved: all that a way back needs.

        The catalog's id is the empty text; its rows in quarantine are those of no session.
        """
        units = self.units(kind, ids)
        mappings = {run.run_id: _mapping(run.options) for run in self.runs()} if units else {}
        complements = self.complements(kind, ids)
        quarantine: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        for at in range(0, len(ids), _MANY):
            some, params = listed(ids[at : at + _MANY])
            chosen, bound = (f" AND session_id IN ({some})", params) if kind == SESSION else ("", ())
            for session_id, table, row in self._store.read_table(
                "sessionlift_quarantine",
                ("session_id", "table_name", "row"),
                where=f"unit = ?{chosen}",
                params=(kind, *bound),
                order_by=("id",),
            ):
                owner = str(session_id) if kind == SESSION else ""
                quarantine.setdefault(owner, []).append((str(table), _object("sessionlift_quarantine", "row", row)))
        return {
            key: Remembered(
                kind,
                key,
                unit.state,
                unit.source_digest,
                unit.target_digest,
                unit.written_counts,
                complements.get(key, {}),
                quarantine.get(key, []),
                mappings.get(unit.run_id, TypeMapping()),
            )
            for key, unit in units.items()
        }

    def keep(self, kind: UnitKind, kept: Mapping[str, Mapping[str, Any]]) -> None:
        """Put what the old shape cannot hold into the complements of units, by session id; with nothing, take it out.

        It outlives a way back, since the complement of a unit that was rolled back stays. Belongs into a transaction.
        """
        for key, unit in kept.items():
            where, params = "unit = ? AND session_id = ?", (kind, key)
            rows = self._store.read_table("sessionlift_complement", ("data",), where=where, params=params)
            complement: dict[str, Any] = next((_object("sessionlift_complement", "data", data) for (data,) in rows), {})
            complement.pop("kept", None)
            complement.update({"kept": dict(unit)} if unit else {})
            self._store.execute(f"DELETE FROM sessionlift_complement WHERE {where}", params)
            if complement:
                self._store.insert_rows("sessionlift_complement", COMPLEMENT_COLUMNS, [(*params, to_json(complement))])

    def quarantined_ids(self) -> dict[str, set[int]]:
        """By legacy table the ids of all rows in quarantine; of tables whose ids are numbers."""
        found: dict[str, set[int]] = {}
        for table, row_id in self._store.read_table("sessionlift_quarantine", ("table_name", "row_id")):
            with suppress(ValueError):
                found.setdefault(str(table), set()).add(int(str(row_id)))
        return found

    def units_of_run(self, run_id: str) -> Iterator[tuple[UnitKind, str, str, str, str]]:
        """(kind, session id, source digest, target digest, state) of every unit that ``run_id`` moved and no later run
        has moved again, in the order in which they lie: nothing is sorted."""
        for kind, *texts in self._store.read_table(
            "sessionlift_units",
            ("unit", "session_id", "source_digest", "target_digest", "state"),
            where="run_id = ?",
            params=(run_id,),
        ):
            session_id, source, target, state = map(str, texts)
            yield (SESSION if kind == SESSION else CATALOG), session_id, source, target, state

    def forget(self, kind: str, ids: Sequence[str]) -> None:
        """Remove units that are about to be moved again. Their losses and facts stay with the run that found them."""
        for at in range(0, len(ids), _MANY):
            some, params = listed(ids[at : at + _MANY])
            for table in ("sessionlift_units", "sessionlift_complement", "sessionlift_quarantine"):
                self._store.execute(f"DELETE FROM {table} WHERE unit = ? AND session_id IN ({some})", (kind, *params))
        if kind == "catalog":
            # rows of no session stand under the catalog, each with the id of the session it names
            self._store.execute("DELETE FROM sessionlift_quarantine WHERE unit = 'catalog'")

    def bury(self, session_id: str, *, run_id: str, at: str, source_digest: str) -> None:
        """Say that a session is deleted, so that it never comes back from the legacy store by itself.

        What the ledger has of it besides stays, for the way back. Belongs into the transaction that removes its rows.
        """
        self._store.execute(
            "INSERT INTO sessionlift_units (unit, session_id, run_id, moved_at, source_digest, target_digest, "
            "converter, read_counts, written_counts, state) VALUES ('session', ?, ?, ?, ?, '', '', '{}', '{}', "
            "'deleted') ON CONFLICT (unit, session_id) DO UPDATE SET state = 'deleted'",
            (session_id, run_id, at, source_digest),
        )

    def take_back(self, sessions: Sequence[TakenBack], *, run_id: str, at: str) -> None:
        """Say that sessions have left the target, in the transaction that removes their rows.

        The run's source names the store where they lie now. Their rows in quarantine lie there too, and leave the
        ledger.
        """
        for start in range(0, len(sessions), _MANY):
            some = sessions[start : start + _MANY]
            params = [value for each in some for value in (each.session_id, run_id, at, each.source_digest, each.state)]
            self._store.execute(
                "INSERT INTO sessionlift_units (unit, session_id, run_id, moved_at, source_digest, target_digest, "
                f"converter, read_counts, written_counts, state) VALUES {', '.join([_TAKEN_BACK] * len(some))} "
                "ON CONFLICT (unit, session_id) DO UPDATE SET run_id = excluded.run_id, moved_at = excluded.moved_at, "
                "source_digest = excluded.source_digest, state = excluded.state",
                params,
            )
            ids, bound = listed([each.session_id for each in some])
            for table in ("sessionlift_complement", "sessionlift_quarantine"):
                self._store.execute(f"DELETE FROM {table} WHERE unit = 'session' AND session_id IN ({ids})", bound)
        kept = [("session", each.session_id, to_json(each.complement)) for each in sessions if each.complement]
        self._store.insert_rows("sessionlift_complement", COMPLEMENT_COLUMNS, kept)

    def put_back(self, session_id: str, kept: dict[str, Any], target_digest: str) -> None:
        """Say that ``kept`` was given back to a session that was just moved again, and what its rows are by that."""
        self.complete(SESSION, session_id, {**self.complement(session_id), KEPT: kept})
        self.has_become(SESSION, session_id, target_digest)

    def complete(self, kind: UnitKind, session_id: str, complement: Mapping[str, Any]) -> None:
        """Put ``complement`` in the place of a unit's. Belongs into a transaction."""
        self._store.execute("DELETE FROM sessionlift_complement WHERE unit = ? AND session_id = ?", (kind, session_id))
        row = (kind, session_id, to_json(dict(complement)))
        self._store.insert_rows("sessionlift_complement", COMPLEMENT_COLUMNS, [row])

    def has_become(self, kind: UnitKind, session_id: str, target_digest: str) -> None:
        """Say what the target's rows of a unit are now."""
        self._store.execute(
            "UPDATE sessionlift_units SET target_digest = ? WHERE unit = ? AND session_id = ?",
            (target_digest, kind, session_id),
        )

    def carried(
        self,
        kind: UnitKind,
        session_id: str,
        *,
        run_id: str,
        at: str,
        source_digest: str,
        target_digest: str,
        complement: dict[str, Any],
    ) -> None:
        """Say that the legacy store now holds what the target does, with this digest, though nothing left the target.

        ``target_digest`` and ``complement`` are for a unit that the ledger does not know yet.
        """
        if self.carried_from(kind, session_id, source_digest):
            return
        self._store.execute(
            "INSERT INTO sessionlift_units (unit, session_id, run_id, moved_at, source_digest, target_digest, "
            "converter, read_counts, written_counts, state) VALUES (?, ?, ?, ?, ?, ?, '', '{}', '{}', 'moved')",
            (kind, session_id, run_id, at, source_digest, target_digest),
        )
        self.complete(kind, session_id, complement)

    def carried_from(self, kind: UnitKind, session_id: str, source_digest: str) -> bool:
        """Say what the legacy rows of a unit were, or are; False where the ledger does not know it."""
        return bool(
            self._store.execute(
                "UPDATE sessionlift_units SET source_digest = ? WHERE unit = ? AND session_id = ?",
                (source_digest, kind, session_id),
            )
        )

    def kept(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(session id, what the older shape could not hold) of every session that was ever taken back with such."""
        for session_id, data in self._store.query(
            "SELECT c.session_id, CAST(c.data AS BLOB) FROM sessionlift_complement AS c JOIN sessionlift_units AS u "
            "ON u.unit = c.unit AND u.session_id = c.session_id "
            "WHERE c.unit = 'session' AND u.state IN ('rolled_back', 'moved', 'partial', 'quarantined')"
        ):
            found = _object("sessionlift_complement", "data", data).get(KEPT)
            if found:
                yield str(session_id), found

    def sessions(self) -> Iterator[LedgerUnit]:
        """Every session that the ledger knows, in the order of their ids."""
        for row in self._store.read_table(
            "sessionlift_units", UNIT_COLUMNS, where="unit = 'session'", order_by=("session_id",)
        ):
            yield _unit(row)

    def complement(self, session_id: str) -> dict[str, Any]:
        """What the target's shape could not hold of a session; empty where that was nothing."""
        return self.complements(SESSION, [session_id]).get(session_id, {})

    def complements(self, kind: UnitKind, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The same of those of ``ids`` of which there was anything."""
        found: dict[str, dict[str, Any]] = {}
        for at in range(0, len(ids), _MANY):
            some, params = listed(ids[at : at + _MANY])
            for session_id, data in self._store.read_table(
                "sessionlift_complement",
                ("session_id", "data"),
                where=f"unit = ? AND session_id IN ({some})",
                params=(kind, *params),
            ):
                found[str(session_id)] = _object("sessionlift_complement", "data", data)
        return found

    def renew(
        self,
        before: LedgerUnit,
        now: Unit,
        *,
        run_id: str,
        at: str,
        converter: str,
        whole: bool,
        quarantine: Sequence[Quarantined],
    ) -> None:
        """Say that a session has been caught up to the source rows of ``now``, in the transaction that writes it.

        With ``whole`` its target digest, counts and complement are those of ``now`` too; without, what was moved stays
        what it was. ``quarantine`` is what of the source the target did not get.
        """
        session_id = before.session_id
        state = "partial" if quarantine or before.state == "partial" else "moved"
        self._store.execute(
            "UPDATE sessionlift_units SET source_digest = ?, state = ?, run_id = ?, moved_at = ? "
            "WHERE unit = 'session' AND session_id = ?",
            (now.source_digest, state, run_id, at, session_id),
        )
        if whole:
            self._store.execute(
                "UPDATE sessionlift_units SET target_digest = ?, converter = ?, read_counts = ?, written_counts = ? "
                "WHERE unit = 'session' AND session_id = ?",
                (now.target_digest, converter, to_json(now.read_counts), to_json(now.written_counts), session_id),
            )
            self._store.execute(
                "DELETE FROM sessionlift_complement WHERE unit = 'session' AND session_id = ?", (session_id,)
            )
            if now.complement:
                self._store.insert_rows(
                    "sessionlift_complement", COMPLEMENT_COLUMNS, [("session", session_id, to_json(now.complement))]
                )
        self._store.insert_rows(
            "sessionlift_quarantine",
            QUARANTINE_COLUMNS,
            [
                (run_id, row.kind, row.session_id, row.table, row.row_id, row.code, row.reason, to_json(row.row))
                for row in quarantine
            ],
        )

    def states(self) -> dict[str, int]:
        """How many sessions are in which state."""
        rows = self._store.query("SELECT state, count(*) FROM sessionlift_units WHERE unit = 'session' GROUP BY state")
        return {str(state): int(str(count)) for state, count in rows}

    # --- losses, facts, quarantine ----------------------------------------------------------------------------

    def add_losses(self, run_id: str, kind: str, losses: Iterable[Loss]) -> None:
        """Add a batch's losses to the run's counts."""
        for loss in losses:
            self._store.execute(
                "INSERT INTO sessionlift_losses (run_id, unit, session_id, code, table_name, column_name, count, "
                "example) VALUES (?, ?, '', ?, ?, ?, ?, ?) ON CONFLICT (run_id, unit, session_id, code, table_name, "
                "column_name) DO UPDATE SET count = count + excluded.count",
                (run_id, kind, loss.code, loss.table, loss.column, loss.count, to_json(loss.example)),
            )

    def add_facts(self, run_id: str, kind: str, facts: Iterable[Fact]) -> None:
        """Add a batch's facts that are told of no single session."""
        for fact in facts:
            self._store.execute(
                "INSERT INTO sessionlift_facts (run_id, unit, session_id, code, table_name, count, detail) "
                "VALUES (?, ?, '', ?, ?, ?, ?) ON CONFLICT (run_id, unit, session_id, code, table_name) "
                "DO UPDATE SET count = count + excluded.count",
                (run_id, kind, fact.code, fact.table, fact.count, to_json(fact.detail)),
            )

    def quarantine_size(self) -> int:
        return int(str(self._store.query("SELECT count(*) FROM sessionlift_quarantine")[0][0]))


def _mapping(options: dict[str, Any]) -> TypeMapping:
    return TypeMapping(**options["mapping"]) if "mapping" in options else TypeMapping()


def _unit(row: Sequence[Any]) -> LedgerUnit:
    kind, session_id, run_id, moved_at, source, target, converter, read, written, state = row
    return LedgerUnit(
        kind,
        session_id,
        run_id,
        moved_at,
        source,
        target,
        converter,
        _object("sessionlift_units", "read_counts", read),
        _object("sessionlift_units", "written_counts", written),
        state,
    )


def _object(table: str, column: str, text: Any) -> dict[str, Any]:
    """A JSON object of the ledger. Raises StoreCorruptError where something else is there: nobody but us writes it."""
    try:
        found = json.loads(text if isinstance(text, (bytes, str)) else str(text))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise StoreCorruptError(
            f"the ledger's {table}.{column} is not what a run writes there",
            hint="restore the target from a backup; nothing but sessionlift may write to the tables of its ledger",
            role="target",
            table=table,
        )
    return found
