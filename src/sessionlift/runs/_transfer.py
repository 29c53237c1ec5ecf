"""The one writer: takes staged batches and commits each with its ledger rows, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sessionlift.converters import (
    CATALOG,
    KEPT,
    SESSION,
    WAITING,
    Fact,
    GivenBack,
    Loss,
    PutBack,
    TargetRows,
    UnitKind,
)
from sessionlift.errors import StoreConstraintError, VerificationError
from sessionlift.ledger import Intents, Ledger, LedgerUnit, Retry
from sessionlift.runs._batches import ERRORS
from sessionlift.runs._catalog_merge import (
    Merge,
    as_lists,
    base_in,
    bases_after,
    catalog_rows,
    home_of,
    left_out,
    merge,
    row_name,
    settle,
    told_before,
)
from sessionlift.runs._known import refuse_other_zone
from sessionlift.runs._options import TransferOptions
from sessionlift.runs._protocol import Message
from sessionlift.runs._readable import digests_apart
from sessionlift.runs._rollback_leave import DISCARDED, with_discarded
from sessionlift.stores import Staged, Store

CHANGED_ON_BOTH_SIDES = "changed_on_both_sides"
BOTH_CHANGED = "the source and the target have changed it since it was moved, each in its own way; neither was touched"
SOURCE_SPOILED = "source_spoiled"
"""The source's rows can no longer be converted; what was moved of them before stays."""
UPDATE_REFUSED = "update_refused"
"""The target refused the source's rows as they are now; what was moved of them before stays. The reason follows."""
DELETED_BUT_CHANGED = "deleted_but_changed"
LIVES_ELSEWHERE = "lives_elsewhere"
"""It was moved from another store into which a rollback had taken it; what this source has of it may be older."""
PUT_BACK, NOT_PUT_BACK = "put_back", "not_put_back"
REFUSED = "target_refused"
THERE = ("moved", "partial")
GONE = ("deleted", "rolled_back")
"""States of sessions that were in the target once, and are no longer."""


@dataclass
class Committed:
    """What one committed batch brought: the ids of its sessions, and its message with all counts."""

    message: Message
    moved: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    rows: int = 0


@dataclass
class _Judged:
    """``again`` says how the batch has to be made again; else the units that make room, as they were found."""

    again: Message | None = None
    changed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    owned: dict[str, list[Any]] | None = None
    merge: Merge | None = None
    bases: dict[str, Any] = field(default_factory=dict)
    source_digest: str = ""


class Transfer:
    """Commits batches into one opened target. ``committed`` is called after each.

    Units with rows in quarantine that ``retry`` wants are replaced, though their source is the same. With
    ``revive`` sessions that those runs have rolled back are moved again; others stay where they are. What the older
    shape could not hold while they were there is put back by ``giver`` in the same transaction (None where the
    converter has done it), and stays in the complement for those who look at the rows later. What the runs ``others``
    have moved lives in another store than this source, and is left alone where the source has it otherwise.

    A batch's target rows, ledger rows, complement, quarantine and counts of losses are one transaction. Before a
    batch is written, the ledger is asked again inside that transaction: what another run has moved meanwhile is
    left alone, and what was moved before from other source rows is replaced only where the target still holds the
    very rows that were written then, and never by nothing: a session whose source can no longer be read stays as it was
    moved. The converter makes such a batch again, so that counts never include what was
    not written.

    With ``read_back`` the digests of the sessions' rows are computed again from the target before each commit; it
    raises VerificationError, and nothing is written, where one is not the digest of what was to be written. (A
    one-shot run has its verifier for that.) With ``options`` it raises UsageError, and nothing is written, once
    sessions were moved into the target under another zone than theirs. ``source`` names the store that the batches are
    made of: the catalog may have been moved from others.
    """

    def __init__(
        self,
        target: Store,
        rows: TargetRows,
        run_id: str,
        committed: Callable[[Committed], None],
        *,
        retry: Retry | None = None,
        revive: Collection[str] = (),
        others: Collection[str] = (),
        read_back: bool = False,
        options: TransferOptions | None = None,
        giver: PutBack | None = None,
        home: str = "sessions",
        source: str = "",
    ) -> None:
        self._target, self._rows, self._giver = target, rows, giver
        self._home, self._options, self._source = home, options, source
        self._kept: dict[str, Any] = {}
        self._discarded: dict[str, dict[str, Any]] = {}
        self._ledger = Ledger(target)
        self._told: Merge | None = None
        self._run_id = run_id
        self._committed = committed
        self._retry, self._revive, self._read_back = retry or Retry(), revive, read_back
        self._others = others

    def take(self, message: Message) -> Message:
        """Commit the batch in the stage file that ``message`` names, and remove the file; see ``commit``."""
        stage = Path(message["stage"])
        try:
            return self.commit(message, self._target.staged(stage))
        finally:
            with suppress(FileNotFoundError):
                stage.unlink()

    def commit(self, message: Message, stage: AbstractContextManager[Staged]) -> Message:
        """Commit the batch that ``message`` describes and ``stage`` holds.

        Returns the answer for its converter: "ok", or "split" or "again" where nothing was written and the batch
        has to be made again in another way; of a session that the target refuses "later", if the message allows it.
        """
        kind = message["kind"]
        self._kept, self._discarded = {}, {}
        if not message["units"]:
            if kind == CATALOG and self._told is not None:
                self._tell(message, self._told)
            self._committed(Committed(message))
            return {"type": "ok"}
        try:
            with stage as staged, self._target.transaction():
                if self._options is not None:
                    # another run may have begun since this one looked
                    refuse_other_zone(self._ledger, self._options, self._target.url)
                judged = self._settle_with_ledger(message)
                if judged.again is not None:
                    raise _Again(judged.again)
                rows = 0
                for table, columns in message["tables"].items():
                    rows += staged.copy(table, columns)
                for table, columns in message["ledger"].items():
                    staged.copy(table, columns)
                self._put_back(message)
                if judged.merge is not None:
                    ((_, digest, _),) = message["units"]
                    settle(self._target, self._rows, judged.merge, judged.source_digest, digest)
                    self._tell(message, judged.merge)
                    self._tell_left(message, judged.merge)
                if judged.bases:
                    known = self._ledger.complements(CATALOG, [""])[""]
                    self._ledger.complete(CATALOG, "", {**known, "bases": judged.bases})
                for key, before in self._discarded.items():
                    self._ledger.complete(SESSION, key, with_discarded(self._ledger.complement(key), before))
                if self._read_back and kind == SESSION:
                    self._compare([key for key, _, _ in message["units"]])
                self._ledger.add_losses(self._run_id, kind, _losses(message))
                # the converter has staged those that it tells of one session
                told = [f for f in _facts(message) if f.session_id is None or f.code == NOT_PUT_BACK]
                self._ledger.add_facts(self._run_id, kind, told)
        except _Again as left:
            return left.answer
        except StoreConstraintError as error:
            return self._refused(kind, message, error)
        moved = [key for key, _, state in message["units"] if state != "quarantined"]
        failed = [key for key, _, state in message["units"] if state == "quarantined"]
        if kind == CATALOG:
            moved = []
        self._committed(Committed(message, moved, failed, rows))
        return {"type": "ok"}

    def _compare(self, ids: list[str]) -> None:
        found = self._rows.digests(self._target, SESSION, ids)
        for key, unit in self._ledger.units(SESSION, ids).items():
            # under the id of one in quarantine may lie what the application has made
            if unit.state != "quarantined" and found[key] != unit.target_digest:
                raise VerificationError(
                    f"session {key!r} does not read back from the target as it was written",
                    hint="nothing of it was committed; `sessionlift detect` shows what probing the driver found",
                    store=self._target.url.redacted,
                    session_id=key,
                )

    def would_write(self, message: Message) -> bool:
        """Whether ``commit`` of this batch would change the target, as it is now. Reads only."""
        if not message["units"]:
            return False
        again = self._judge(message).again
        return again is None or "leave" in again

    def _settle_with_ledger(self, message: Message) -> _Judged:
        """Make room for units that were moved before, or find how the batch has to be made again.

        Of the catalog only those rows make room that come again: what the source has lost stays in the target.
        """
        kind, found = message["kind"], self._judge(message)
        if found.again is not None:
            return found
        if found.changed:
            self._rows.remove(self._target, kind, found.changed, found.owned)
        for key in (*found.gone, *found.changed) if kind == SESSION else ():
            before = self._ledger.complement(key)
            if before.get(KEPT):
                self._kept[key] = before[KEPT]
            if before.get(DISCARDED):
                self._discarded[key] = before
        if found.changed or found.gone:
            self._ledger.forget(kind, [*found.changed, *found.gone])
        return found

    def _judge(self, message: Message) -> _Judged:
        """What of a batch was moved before, and whether it may be replaced. Reads only."""
        kind: UnitKind = message["kind"]
        units: list[list[str]] = message["units"]
        offered = {key: digest for key, digest, _ in units}
        spoiled = {key for key, _, state in units if state == "quarantined"}
        before = self._ledger.units(kind, list(offered))
        if not before:
            return _Judged()
        same = [
            (key, unit.source_digest)
            for key, unit in before.items()
            if unit.source_digest == offered[key]
            # what lives elsewhere is tried again from there alone
            and (unit.run_id in self._others or not self._retry.wants(key, unit.state, unit.run_id))
            and not self._comes_back(unit)
        ]
        done = {key for key, _ in same}
        gone = {key: _gone(unit, offered[key]) for key, unit in before.items() if unit.state in GONE}
        changed = [key for key in before if key not in done and key not in gone]
        if kind == CATALOG and changed:
            return self._judge_catalog(message, before[""])
        # a text that cannot be read is none that a move has written
        now = digests_apart(partial(self._rows.digests, self._target, kind), changed) if changed else {}
        touched = self._rows.touched(self._target, changed) if changed and kind == SESSION else set()
        conflicts = {
            key: CHANGED_ON_BOTH_SIDES for key in changed if key in touched or now[key] != before[key].target_digest
        }
        refused = {key: why for key, _, _, code, why in message.get("errors", ()) if code == REFUSED}
        for key in spoiled.intersection(changed).difference(conflicts):
            if before[key].state != "quarantined":
                conflicts[key] = f"{UPDATE_REFUSED}: {refused[key]}" if key in refused else SOURCE_SPOILED
        if kind == SESSION:
            conflicts.update({key: LIVES_ELSEWHERE for key in changed if before[key].run_id in self._others})
        left = [key for key in gone if key not in done and not self._comes_back(before[key])]
        carried = self._carried(offered, conflicts) if kind == SESSION else []
        for key in carried:
            del conflicts[key]
        if same or conflicts or left or carried:
            # what conflicts is known by its new digest, so that it is left alone and told of
            known = [*same, *((key, offered[key]) for key in (*conflicts, *left, *carried))]
            aside = {key: before[key].state for key, _ in same if before[key].state != "moved"}
            aside.update(conflicts)
            aside.update({key: gone[key] for key in left})
            return _Judged({"type": "again", "known": known, "rejected": [], "aside": aside})
        return _Judged(None, changed, list(gone))

    def _judge_catalog(self, message: Message, before: LedgerUnit) -> _Judged:
        """The same of a catalog that the source has otherwise than it was moved: row by row, where the target has, too.

        A batch that offers other rows than are to be written has to be made again without those that are not.
        """
        ((key, digest, _),) = message["units"]
        complement = self._ledger.complements(CATALOG, [key]).get(key, {})
        bases: dict[str, Any] = {}
        base: dict[str, Any] | None = None
        if self._source:
            home = home_of(self._ledger, complement, before.run_id)
            bases = bases_after(complement, before.source_digest, home, self._source)
            base = base_in(complement, self._source)
        alone: Message = {"type": "again", "known": [(key, digest)], "rejected": [], "aside": {}}
        if base is not None and base["source_digest"] == digest:
            return _Judged(alone)
        own = catalog_rows(base or complement)
        made = catalog_rows(message)
        found = merge(own, made, self._rows.catalog_rows(self._target))
        if base is None and told_before(complement, found, digest):
            self._told = found
            return _Judged(alone)
        lies = self._rows.digests(self._target, CATALOG, [key], as_lists(own)["owned"])[key]
        as_moved = base is None and lies == before.target_digest
        room, leave = found.replaced, found.leave
        if as_moved:
            # all of it is written again, and ledgers of before know no row by itself
            leave = {}
            for table, rows in own.items():
                some = room.setdefault(table, [])
                some += [each for each in rows if each in made.get(table, ()) and each not in some]
        if left_out(message["left"]) != left_out(leave):
            return _Judged({"type": "again", "known": [], "rejected": [], "aside": {}, "leave": leave})
        return _Judged(None, [key], [], room, None if as_moved else found, bases, before.source_digest)

    @staticmethod
    def _tell(message: Message, found: Merge) -> None:
        """Name in the message the rows that both sides have changed."""
        some = found.conflicts[:ERRORS]
        message["errors"] += [["", table, row_name(key), CHANGED_ON_BOTH_SIDES, BOTH_CHANGED] for table, key in some]
        message["more_errors"] += len(found.conflicts) - len(some)

    @staticmethod
    def _tell_left(message: Message, found: Merge) -> None:
        """Count in the message the rows that were left as the application has them, and that no error names."""
        told = set(found.conflicts)
        for table, keys in found.leave.items():
            left = [key for key in keys if (table, key) not in told]
            if left:
                example = {"row": row_name(left[0])}
                message["facts"].append([None, "catalog_left_alone", table, len(left), example])

    def _carried(self, offered: Mapping[str, str], conflicts: Collection[str]) -> list[str]:
        """Those of ``conflicts`` that are none: a rollback has written the source's rows, and is about to take the
        session out of the target, or was killed before it did."""
        intended = Intents(self._target).all() if conflicts else {}
        return [key for key in conflicts if offered[key] in intended.get(key, ())]

    def _put_back(self, message: Message) -> None:
        """Give sessions that come back what the older shape could not hold; the ledger's digests follow."""
        there = [key for key, _, state in message["units"] if key in self._kept and state != "quarantined"]
        for key in self._kept.keys() - there:
            # it waits with a session that is put aside, until that is moved
            self._ledger.complete(SESSION, key, {**self._ledger.complement(key), KEPT: self._kept[key]})
        given = [key for key in there if self._give_back(key, message)]
        left = [key for key in there if key in self._kept]
        for key, digest in (self._rows.digests(self._target, SESSION, left) if left else {}).items():
            self._ledger.put_back(key, self._kept[key], digest)
        if given:
            message["facts"].append([None, PUT_BACK, self._home, len(given), {"session_id": given[0]}])

    def _give_back(self, key: str, message: Message) -> bool:
        """Whether a session gets anything of what was kept of it; what it cannot get is told, and waits in the ledger.

        Where the converter gives it back and there was nothing, its rows follow from the source alone, and nothing
        is kept any more.
        """
        kept = {name: value for name, value in self._kept[key].items() if name != WAITING}
        if self._giver is not None:
            given = self._giver.put_back(self._target, key, kept)
        elif key in message.get("given", {}):
            given = GivenBack(*message["given"][key])
        else:
            # the converter did not know of it: all of it stays kept
            message["facts"].append([key, NOT_PUT_BACK, self._home, 1, None])
            return False
        self._kept[key] = {**kept, WAITING: given.waiting} if given.waiting else kept
        for table, (count, example) in given.told.items():
            message["facts"].append([key, NOT_PUT_BACK, table, count, example])
        if self._giver is None and not given.done and not given.waiting:
            del self._kept[key]
        return given.done > 0

    def _comes_back(self, unit: LedgerUnit) -> bool:
        return unit.state == "rolled_back" and unit.run_id in self._revive

    def _refused(self, kind: str, message: Message, error: StoreConstraintError) -> Message:
        """What to do after the target refused a row: find its session, then put that session aside."""
        if kind == CATALOG:
            error.hint = (
                "the application has a system, version or experiment of its own under an id, or a name, that the "
                f"source brings: rename it there, or move into a new target ({error.hint})"
            )
        if kind == CATALOG or all(state == "quarantined" for _, _, state in message["units"]):
            # nothing of a session is left to put aside: the ledger's own rows were refused
            raise error
        if len(message["units"]) + message["unchanged"] > 1:
            return {"type": "split"}
        session_id = message["units"][0][0]
        if message.get("may_wait"):
            # of those that were moved before each may be in the way of others: none of them is taken for new
            unit = self._ledger.units(SESSION, [session_id]).get(session_id)
            return {"type": "later", "session_id": session_id, "changed": unit is not None and unit.state in THERE}
        reason = f"the target refused it: {error.what}"
        return {"type": "again", "known": [], "rejected": [[session_id, REFUSED, reason]], "aside": {}}


def _gone(unit: LedgerUnit, offered: str) -> str:
    """Why a session that has left the target stays away: its state, or that the source has changed since."""
    return unit.state if unit.state != "deleted" or unit.source_digest == offered else DELETED_BUT_CHANGED


class _Again(Exception):  # noqa: N818 - it is no error
    """Leaves a transaction that must not be committed."""

    def __init__(self, answer: Message) -> None:
        super().__init__()
        self.answer = answer


def _losses(message: Message) -> list[Loss]:
    return [Loss(*each) for each in message["losses"]]


def _facts(message: Message) -> list[Fact]:
    return [Fact(*each) for each in message["facts"]]
