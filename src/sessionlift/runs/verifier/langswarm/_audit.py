"""LangSwarm's part of an audit: its digests, its quarantine, and the sessions that live on in the target."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from sessionlift.runs.verifier._audit import Finding, Unit
from sessionlift.runs.verifier._auditor import Auditor
from sessionlift.runs.verifier._readers import TargetReader
from sessionlift.runs.verifier._units import ASIDE, EXAMPLES
from sessionlift.runs.verifier.langswarm._checker import Checked, LangswarmChecker
from sessionlift.runs.verifier.langswarm._ledger import Entry
from sessionlift.runs.verifier.langswarm._rules import OURS
from sessionlift.runs.verifier.langswarm._store import COLUMNS, SqliteUnits, digest_of
from sessionlift.runs.verifier.langswarm._target import TABLES, found_of

CHUNK = 200
NOTHING = hashlib.sha256().hexdigest()
"""The target digest of rows that all stayed behind."""


class LangswarmAuditor(Auditor):
    """Everything that a ledger or a report names, of LangSwarm."""

    sessions_table = "sessions"
    lays_together = True
    child_tables = ("session_messages", "session_metrics")
    catalog_tables = ("memory",)
    orphan_tables = ("sessions",)
    digest_tables = TABLES

    def __init__(
        self,
        target: TargetReader,
        checker: LangswarmChecker,
        *,
        only: Sequence[str] | None,
        progress: Callable[[int, int], None],
    ) -> None:
        self._langswarm = checker
        self._continued: list[tuple[str, int]] = []
        super().__init__(target, checker, SqliteUnits(checker.store.engine), only=only, progress=progress)

    def _check(self, ids: Sequence[str]) -> None:
        known = self._units.known(ids)

        def compare(checked: Checked, entry: Entry) -> None:
            session = checked.session_id
            source = None if checked.source is None else checked.source.digest()
            target = known[session].target_digest if checked.kept_new else checked.digest()
            if checked.continued and target == known[session].target_digest:
                self._continued.append((session, checked.continued))
            self._judge(session, known[session], source, target)
            if source != known[session].source_digest and checked.made is not None:
                self._langswarm.read.subtract(checked.made.read_counts(entry.aside))
                if checked.made.rows is not None:
                    self._langswarm.losses.subtract(checked.made.rows.losses)

        self._langswarm.check(ids, compare)

    def _target_digests(self, ids: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for at in range(0, len(ids), CHUNK):
            rows = found_of(self._target, ids[at : at + CHUNK])
            found.update((key, each.digest()) for key, each in rows.items())
        return found

    def _catalog(self, unit: Unit) -> None:
        self._langswarm.check_catalog()
        store = self._langswarm.store
        table = COLUMNS[store.dress][0]
        # a store of another dress, which the sessions were rebuilt in, has no rows for searching
        rebuilt = unit.state == "moved" and store.dress != "enhanced" and next(iter(store.others()), None) is None
        if not rebuilt and unit.source_digest != digest_of(table, (row.cells for row, _ in store.others())):
            self._audit.catalog_moved_on = True
            self._audit.find(
                Finding("changed_in_source", "rows of no session changed in the source since the move", table=table)
            )
        if unit.target_digest != NOTHING:
            self._audit.find(
                Finding("changed_in_target", "the ledger has rows of no session in the target: a move makes none")
            )

    def _has_catalog(self) -> bool:
        return next(iter(self._langswarm.store.others()), None) is not None

    def _quarantine(self, claim: str | None, catalog: Unit | None) -> None:  # noqa: ARG002 - it was compared before
        """Sessions in quarantine with the source's; of every other row there, and of complements, whose it is."""
        for run_id in self._units.runs():
            if self._take_options(run_id):
                for ids in self._units.chunks(run_id, ASIDE):
                    self._langswarm.check_aside(ids)
        where, params = self._quarantine_of(claim)
        counts: Counter[str] = Counter()
        for rows in self._blocks("sessionlift_quarantine", ("unit", "session_id", "table_name"), where, params):
            counts.update(str(row[2]) for row in rows)
            if claim is None:
                self._refuse_strays("quarantine", [str(row[1]) for row in rows if row[0] == "session"])
        for table, count in counts.items():
            self._audit.note("in_quarantine", table, count, [])
        if claim is None and self._only is None:
            self._stray_rows("complement")
        self._tell_continued()

    def _strangers(self) -> None:
        """Besides: sessions with messages that only a move makes, and that the ledger does not name."""
        super()._strangers()
        if self._only is not None:
            return
        ours = "instr(metadata, ?)"
        for rows in self._blocks("session_messages", ("session_id",), ours, (f'"{OURS}": {{"timestamp": ',)):
            sessions = list(dict.fromkeys(str(row[0]) for row in rows))
            known = self._units.known(sessions)
            unnamed = [each for each in sessions if each not in known and each not in self._unnamed]
            for session in self._unnamed_still(unnamed):
                self._unnamed.add(session)
                self._audit.find(
                    Finding(
                        "not_in_ledger",
                        "the session was moved, as our key in its messages shows, and the ledger does not name it",
                        session,
                        "session_messages",
                    )
                )

    def _tell_continued(self) -> None:
        examples: list[Any] = [
            {"session_id": session, "messages": messages} for session, messages in self._continued[:EXAMPLES]
        ]
        self._audit.note("continued_in_target", "sessions", len(self._continued), examples)

    def _count_again(self, run_id: str, catalog: Unit | None) -> None:
        audit = self._audit
        audit.read = dict(self._langswarm.read)
        losses = self._langswarm.losses.copy()
        if catalog is not None:
            for _, excluded in self._langswarm.store.others():
                table = "memory" if excluded else "sessions"
                audit.read[table] = audit.read.get(table, 0) + 1
                if excluded:
                    audit.excluded["memory"] = audit.excluded.get("memory", 0) + 1
                    losses["search_index", "memory", "key"] += 1
        if run_id in self._options:
            audit.losses = [(*key, count) for key, count in losses.items()]
