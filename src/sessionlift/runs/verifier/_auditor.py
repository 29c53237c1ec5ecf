"""Everything that the ledger names, or that a report claims, against both stores as they are now."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Any, ClassVar

from sessionlift.errors import UsageError
from sessionlift.runs.verifier._audit import (
    GONE,
    SINCE,
    Audit,
    Finding,
    Unit,
    came_back,
    changed_in_source,
    changed_in_target,
    deleted_in_target,
    not_in_ledger,
    parsed,
    rows_of_quarantined,
)
from sessionlift.runs.verifier._carried import catalog_complement
from sessionlift.runs.verifier._compare import Comparison
from sessionlift.runs.verifier._given_back import rows_of
from sessionlift.runs.verifier._readers import TargetReader, id_list
from sessionlift.runs.verifier._reasons import REFUSED, codes
from sessionlift.runs.verifier._units import ASIDE, AWAY, CHUNK, EXAMPLES, LOST, THERE, UnitTable


class Checker(ABC):
    """Compares sessions of an opened source with a target. There is one for each system."""

    result: Comparison

    @abstractmethod
    def take(self, options: Mapping[str, Any]) -> None:
        """Go on with the options of another run, as its ledger row has them."""

    @abstractmethod
    def check(self, ids: Sequence[str]) -> None:
        """Compare the sessions ``ids``, which the ledger names as moved (wholly or in part)."""

    def wait_for_indexes(self) -> None:  # noqa: B027 - most moves leave none out
        """Leave what is read by indexes of the target that come late until ``finish``."""

    def finish(self) -> None:  # noqa: B027
        """Compare what is left, now that the move is over."""

    @abstractmethod
    def as_moved(self, units: Sequence[tuple[str, str, str]]) -> list[str]:
        """Those of sessions that neither program has changed since: of each its id, and the digests of its rows in the
        source and in the target when it was moved."""

    @abstractmethod
    def check_catalog(self) -> None:
        """Compare the rows of no session."""

    @abstractmethod
    def auditor(self, *, only: Sequence[str] | None, progress: Callable[[int, int], None]) -> Auditor:
        """What checks everything that a ledger or a report names."""


class Auditor(ABC):
    """Goes through units in the source's order, in bounded batches, each by the options of its run."""

    sessions_table: ClassVar[str]
    """the table with one row a session, in both generations"""
    child_tables: ClassVar[tuple[str, ...]]
    """the other tables of the target that sessions have rows in"""
    digest_tables: ClassVar[tuple[str, ...]]
    """the target's tables in the order of the digest"""
    catalog_tables: ClassVar[tuple[str, ...]]
    """the tables of the source that hold nothing but rows of no session"""
    orphan_tables: ClassVar[tuple[str, ...]]
    """those in which there may be such rows, which go to quarantine"""
    not_counted: ClassVar[tuple[str, ...]] = ()
    lays_together: ClassVar[bool] = False
    """whether a catch-up can lay together what both sides did with a session"""

    def __init__(
        self,
        target: TargetReader,
        checker: Checker,
        units: UnitTable,
        *,
        only: Sequence[str] | None,
        progress: Callable[[int, int], None],
    ) -> None:
        self._target, self._checker, self._units = target, checker, units
        self._only, self._progress = only, progress
        # the digest of a session that has no row there
        self._empty = hashlib.sha256("".join(f"{table}\n" for table in self.digest_tables).encode()).hexdigest()
        self._audit = Audit(self.sessions_table, self.not_counted, self.catalog_tables, self.orphan_tables)
        self._moved_on: list[str] = []
        self._changed: list[str] = []
        self._unnamed: set[str] = set()
        self._own_sessions: list[str] = []
        self._no_texts: list[str] = []
        # in the order in which they began, whatever the clock said then
        runs = target.read("sessionlift_runs", ("run_id", "options", "kind"), order_by=("rowid",))
        self._options = {str(run): parsed(options) for run, options, _ in runs}
        self._kinds = {str(run): str(kind) for run, _, kind in runs}
        self._place = {run: place for place, run in enumerate(self._options)}

    # --- what each system does in its own way -----------------------------------------------------------------

    @abstractmethod
    def _check(self, ids: Sequence[str]) -> None:
        """Compare sessions, and their digests by ``_judge``."""

    @abstractmethod
    def _target_digests(self, ids: Sequence[str]) -> dict[str, str]:
        """The digests of sessions as they lie in the target now."""

    @abstractmethod
    def _quarantine(self, claim: str | None, catalog: Unit | None) -> None:
        """Compare every row in quarantine with the source's; none that should be there may be missing."""

    @abstractmethod
    def _count_again(self, run_id: str, catalog: Unit | None) -> None:
        """Count rows read and losses, for the units that a report is about."""

    @abstractmethod
    def _catalog(self, unit: Unit) -> None:
        """Compare the rows of no session, and their digests."""

    @abstractmethod
    def _has_catalog(self) -> bool:
        """Whether the source has rows of no session."""

    # --- what has to be there ---------------------------------------------------------------------------------

    def ledger(self) -> Iterator[Unit]:
        """The units as the ledger has them."""
        columns = ("unit", "session_id", "run_id", "source_digest", "target_digest", "state")
        for rows in self._ledger_rows(columns, "", ()):
            for row in rows:
                yield Unit(*map(str, row))

    def _ledger_rows(self, columns: Sequence[str], where: str, params: Sequence[Any]) -> Iterator[list[Any]]:
        order = ("unit", "session_id")
        with closing(self._target.stream("sessionlift_units", columns, where, params, order)) as stream:
            while rows := stream.fetch(CHUNK):
                yield rows

    def claimed(self, run_id: str, lines: Iterable[Mapping[str, str]] | None) -> Iterator[Unit]:
        """The units of a run as a report's digests file has them, or, without one, as the ledger has them.

        What a later run has moved again, and what was deleted or taken back since, is left out and told of; what
        state a session is in, the ledger says.
        """
        if lines is None:
            for unit in self.ledger():
                if unit.run_id == run_id and not self._is_gone(unit.state) and not self._was_carried(unit.kind, None):
                    yield unit
            return
        columns = ("unit", "session_id", "state", "run_id")
        other = "run_id <> ? OR state IN ('quarantined', 'deleted', 'rolled_back')"
        for rows in self._ledger_rows(columns, other, (run_id,)):
            self._units.remember([tuple(map(str, row)) for row in rows])
        lines = iter(lines)
        while some := list(islice(lines, CHUNK)):
            states = self._units.remembered([line["session_id"] for line in some])
            for line in some:
                kind, key = line["unit"], line["session_id"]
                state, run = states.get((kind, key), ("moved", run_id))
                if self._is_gone(state):
                    continue
                if run != run_id and self._is_later(run, run_id):
                    self._audit.moved_again += kind == "session"
                    self._audit.catalog_since |= kind == "catalog"
                    continue
                if run == run_id and self._was_carried(kind, line):
                    continue
                if run != run_id:
                    # by whichever run the ledger has it, the rows have to be there
                    self._audit.find(
                        Finding(
                            "claim_run",
                            f"the report names it as moved by run {run_id}; the ledger has run {run} for it",
                            key if kind == "session" else None,
                        )
                    )
                yield Unit(kind, key, run, line["source_digest"], line["target_digest"], state)
        for run, sessions in self._units.remembered_by_run():
            if run != run_id and self._is_later(run, run_id):
                self._audit.later += sessions

    def _was_carried(self, kind: str, line: Mapping[str, str] | None) -> bool:
        """True for a catalog that a rollback has carried since it was moved; notes it.

        A report's own ``line`` of it must be what the ledger says that it was then.
        """
        if kind != "catalog":
            return False
        moved = catalog_complement(self._target).get("moved")
        if moved is None or (line is not None and moved != [line["source_digest"], line["target_digest"]]):
            return False
        self._audit.catalog_since = True
        return True

    def _is_gone(self, state: str) -> bool:
        """True for a session that left the target after the report was written; counts it."""
        self._audit.gone_since += state in GONE
        return state in GONE

    def _is_later(self, run: str, than: str) -> bool:
        return run in self._place and than in self._place and self._place[run] > self._place[than]

    def run(self, units: Iterable[Unit], *, claim: str | None = None) -> Audit:
        """Check ``units``. With ``claim``, the id of a run, also count what its report counts."""
        if claim is not None and claim not in self._options:
            self._audit.run_known = False
            self._audit.find(Finding("claim_run", f"the ledger of the target knows no run {claim!r}"))
        catalog = self._load(units)
        total = self._audit.units = self._units.sessions()
        self._audit.source_sessions = self._units.in_source()
        self._audit.lost = self._units.lost()
        if catalog is not None:
            if catalog.run_id not in self._options:
                self._audit.find(
                    Finding(
                        "run_unknown",
                        f"the ledger has no run {catalog.run_id!r}, by which the rows of no session were moved",
                    )
                )
            self._catalog(catalog)
        elif claim is None and self._only is None:
            self._without_catalog()
        for run_id in self._units.runs():
            if not self._take_options(run_id):
                continue
            for ids in self._units.chunks(run_id, THERE):
                self._check(ids)
                self._progress(self._checker.result.sessions, total)
        self._without_rows()
        self._lost()
        self._quarantine(claim, catalog)
        if claim is not None:
            away = "unit = 'session' AND state IN ('deleted', 'rolled_back')"
            for rows in self._ledger_rows(("session_id",), away, ()):
                self._audit.gone_from_both += self._units.not_in_source([str(row[0]) for row in rows])
            self._audit.sessions_moved_on = len(self._moved_on)
            self._units.leave_out(self._moved_on)
            self._count_again(claim, catalog)
            self._count_target(claim)
            self._count_known(claim)
        else:
            self._strangers()
        return self._audit

    def _load(self, units: Iterable[Unit]) -> Unit | None:
        """Take the units; returns the catalog's."""
        catalog = self._units.load(units)
        if self._only is None:
            return catalog
        self._refuse_unknown(self._only)
        self._units.keep(self._only)
        return None

    def _refuse_unknown(self, only: Sequence[str]) -> None:
        """An id that neither the source nor the ledger has was mistyped."""
        unknown = self._units.unknown(only)
        if unknown:
            more = f" (nor {len(unknown) - 1} more)" if len(unknown) > 1 else ""
            raise UsageError(
                f"neither the source nor the ledger has a session {unknown[0]!r}{more}",
                hint="check the ids given with --only: they are the source's, letter for letter",
                session_id=unknown[0],
            )

    def _without_catalog(self) -> None:
        """Every run, and every bridge, moves the rows of no session before the first session; a rollback does not."""
        brought = [run_id for run_id in self._units.runs() if self._kinds.get(run_id) != "rollback"]
        there = any(self._units.live(run_id) for run_id in brought)
        if there and self._has_catalog() and not self._target.read("sessionlift_units", ("state",), "unit = 'catalog'"):
            self._audit.find(
                Finding(
                    "catalog_not_in_ledger",
                    "sessions were moved, and the ledger names no move of the rows of no session, which comes before "
                    "theirs: its entry was lost, and nothing of them was compared",
                )
            )

    # --- unit by unit -----------------------------------------------------------------------------------------

    def _take_options(self, run_id: str) -> bool:
        if run_id not in self._options:
            count = self._units.of_run(run_id)
            self._audit.find(
                Finding("run_unknown", f"the ledger has no run {run_id!r}, by which {count:,} sessions were moved")
            )
            return False
        self._checker.take(self._options[run_id])
        return True

    def _judge(self, session: str, known: Unit, source: str | None, target: str) -> None:
        """Say what the digests of a session, computed again, and its differences come from."""
        moved_on = source != known.source_digest
        changed = target != known.target_digest
        differs = session in self._checker.result.differing
        if not (moved_on or changed or differs):
            return
        self._audit.failed += 1
        if moved_on:
            self._moved_on.append(session)
            self._audit.find(changed_in_source(session))
        if changed:
            self._changed.append(session)
            gone = target == self._empty
            self._audit.find(deleted_in_target(session) if gone else changed_in_target(session))
            self._explain(session)
        if differs and not changed:
            count = self._checker.result.differing[session]
            why = ", which has changed since" if moved_on else ""
            self._audit.find(
                Finding(
                    "differs_from_source",
                    f"{count:,} values or rows of the session do not follow from the source{why}; "
                    "the target is as it was written",
                    session,
                )
            )

    def _explain(self, session: str) -> None:
        """Say of a session's differences that the target was changed after the move."""
        kept = self._checker.result.differences
        for place, found in enumerate(kept):
            if found.session_id == session and not found.message.endswith(SINCE):
                kept[place] = replace(found, message=found.message + SINCE)

    def _without_rows(self) -> None:
        """Sessions in quarantine, and those that were deleted or taken back, have no rows in the target.

        But for a session that the application has made under an id that the source has, too.
        """
        for run_id in self._units.runs():
            for ids in self._units.chunks(run_id, ASIDE):
                known, target = self._units.known(ids), self._target_digests(ids)
                own = self._own([session for session in ids if target[session] != self._empty])
                self._own_sessions += own
                for session in ids:
                    self._checker.result.sessions += 1
                    if target[session] != self._empty and session not in own:
                        self._audit.failed += 1
                        self._audit.find(rows_of_quarantined(session))
                    elif known[session].target_digest != self._empty:
                        self._audit.failed += 1
                        self._audit.find(changed_in_target(session))
        examples: list[Any] = [{"session_id": session} for session in self._own_sessions[:EXAMPLES]]
        self._audit.note("own_session", self.sessions_table, len(self._own_sessions), examples)
        for run_id in self._units.runs():
            for ids in self._units.chunks(run_id, AWAY):
                known, target = self._units.known(ids), self._target_digests(ids)
                for session in ids:
                    self._checker.result.sessions += 1
                    if target[session] != self._empty:
                        self._audit.failed += 1
                        self._audit.find(came_back(session, known[session].state))

    def _own(self, ids: Sequence[str]) -> list[str]:
        """Those of ``ids``, which are in quarantine, that the target refused, and of which it has a session all the
        same: the application's own. It was there before, or has come since; nothing of the source's was written."""
        if not ids:
            return []
        some, params = id_list(ids)
        where = f"session_id IN ({some})"
        there = {row[0] for row in self._target.read(self.sessions_table, ("session_id",), where, params)}
        why = codes(self._target, ids)
        return [each for each in ids if each in there and why.get(each) == {REFUSED}]

    def _lost(self) -> None:
        """Sessions that were moved and that the source no longer has."""
        for run_id in self._units.runs():
            for ids in self._units.chunks(run_id, LOST):
                known, target = self._units.known(ids), self._target_digests(ids)
                for session in ids:
                    self._audit.failed += 1
                    as_was = target[session] == known[session].target_digest
                    state = "is as it was written" if as_was else "was changed since as well"
                    self._audit.find(
                        Finding(
                            "gone_from_source",
                            f"the source no longer has the session, so no value can be compared; the target {state}",
                            session,
                        )
                    )

    # --- what else there is -----------------------------------------------------------------------------------

    def _strangers(self) -> None:
        """Tell of sessions that the ledger does not name, and of those that left the target."""
        self._units.meet(self._target_sessions())
        rows = self._tell_unnamed()
        self._audit.note("not_moved", self.sessions_table, *self._units.unmoved(self._only))
        for state, code in (("deleted", "deleted_in_target"), ("rolled_back", "rolled_back")):
            self._audit.note(code, self.sessions_table, *self._units.in_state(state))
        if self._only is not None:
            return
        native, examples = self._units.native()
        own = [*self._own_sessions, *self._no_texts]
        examples += [{"session_id": session} for session in own]
        self._audit.note("native_session", self.sessions_table, native + len(own), examples[:EXAMPLES])
        lost = self._units.lost()
        for table in self.child_tables:
            native = self._target.count(table) - self._checker.result.by_table.get(table, 0) - rows.get(table, 0)
            if native > 0 and not lost:
                self._audit.note("native_rows", table, native, [])

    def _target_sessions(self) -> Iterator[list[str]]:
        where, params = "", list[str]()
        if self._only is not None:
            some, params = id_list(self._only)
            where = f"session_id IN ({some})"
        with closing(self._target.stream(self.sessions_table, ("session_id",), where, params, ("session_id",))) as rows:
            while block := rows.fetch(5_000):
                # no move writes another id than a text; SQLite takes a blob, and NULL, for a key all the same
                self._no_texts += [repr(row[0]) for row in block if not isinstance(row[0], str)]
                yield [row[0] for row in block if isinstance(row[0], str)]

    def _tell_unnamed(self) -> dict[str, int]:
        """Tell of sessions that both stores have and the ledger does not name; returns by table how many rows they
        have in the target."""
        found: dict[str, int] = {}
        for ids in self._units.unnamed():
            ids = self._unnamed_still(ids)
            for session in ids:
                self._unnamed.add(session)
                self._audit.failed += 1
                self._audit.find(not_in_ledger(session))
            for table, rows in rows_of(self._target, self.child_tables, ids).items():
                found[table] = found.get(table, 0) + rows
        return found

    def _unnamed_still(self, ids: Sequence[str]) -> list[str]:
        """Those of ``ids`` that the ledger does not name now: what a bridge moves meanwhile, it names since."""
        some, params = id_list(ids)
        where = f"unit = 'session' AND session_id IN ({some})"
        named = {row[0] for row in self._target.read("sessionlift_units", ("session_id",), where, params)}
        return [each for each in ids if each not in named]

    def _blocks(self, table: str, columns: Sequence[str], where: str, params: Sequence[Any]) -> Iterator[list[Any]]:
        with closing(self._target.stream(table, columns, where, params, ("session_id",))) as stream:
            while rows := stream.fetch(CHUNK):
                yield rows

    def _stray_rows(self, what: str) -> None:
        """Tell of rows that the ledger keeps of sessions which it does not name."""
        for rows in self._blocks(f"sessionlift_{what}", ("session_id",), "unit = 'session'", ()):
            self._refuse_strays(what, [str(row[0]) for row in rows])

    def _refuse_strays(self, what: str, sessions: Sequence[str]) -> None:
        known = self._units.known(sessions)
        for session in self._unnamed_still([each for each in dict.fromkeys(sessions) if each not in known]):
            self._audit.find(
                Finding(
                    f"{what}_unknown",
                    f"the ledger has a {what} of the session, and names no such session",
                    session,
                    f"sessionlift_{what}",
                )
            )

    # --- the counts of a report -------------------------------------------------------------------------------

    def _count_target(self, run_id: str) -> None:
        """Count rows written and in quarantine, for the units that the report is about."""
        audit = self._audit
        audit.written = dict(self._checker.result.by_table)
        self._count_changed(audit.written)
        for (table,) in self._target.read("sessionlift_quarantine", ("table_name",), "run_id = ?", (run_id,)):
            named = str(table)  # a column of text may hold a blob
            audit.quarantined[named] = audit.quarantined.get(named, 0) + 1
        audit.aside = self._units.aside()
        audit.given_back = self._checker.result.given_back

    def _count_changed(self, written: dict[str, int]) -> None:
        """Count sessions that changed in the target since as the ledger has them: a report is not to be blamed for what
        was added or deleted after it, and that they changed is a finding of its own."""
        for start in range(0, len(self._changed), CHUNK):
            some, params = id_list(self._changed[start : start + CHUNK])
            where = f"session_id IN ({some})"
            for table in self.digest_tables:
                there = len(self._target.read(table, ("session_id",), where, params))
                written[table] = written.get(table, 0) - there
            noted = self._target.read("sessionlift_units", ("written_counts",), f"unit = 'session' AND {where}", params)
            for (counts,) in noted:
                for table, count in parsed(counts).items():
                    written[table] = written.get(table, 0) + count

    def _count_known(self, run_id: str) -> None:
        """Count the sessions that the ledger names, and those of them that the run found in the target."""
        runs = self._target.read("sessionlift_runs", ("kind", "started_at"), "run_id = ?", (run_id,))
        self._audit.run_kind, begun = map(str, runs[0]) if runs else (None, "")
        self._audit.in_parts = self.lays_together and self._audit.run_kind == "catch_up"
        for rows in self._ledger_rows(("state", "run_id", "moved_at"), "unit = 'session'", ()):
            self._audit.known += len(rows)
            for state, run, at in rows:
                # a bridge that was open before may have moved it while the run went on, or after it
                before = run == run_id or (self._is_later(run_id, str(run)) and str(at) < begun)
                self._audit.there_before += before and state in ("moved", "partial")

    def _quarantine_of(self, claim: str | None) -> tuple[str, Sequence[Any]]:
        """The condition, and its parameters, for the rows in quarantine that are looked at."""
        if self._only is not None:
            some, ids = id_list(self._only)
            return f"unit = 'session' AND session_id IN ({some})", ids
        return ("", ()) if claim is None else ("run_id = ?", (claim,))
