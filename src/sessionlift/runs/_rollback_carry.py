"""The first half of a rollback: what sessions become in the legacy store, whether they may, and the writing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from sessionlift.converters import (
    SESSION,
    BackUnit,
    Backward,
    BackwardBatch,
    Changes,
    Loss,
    Refused,
    Remembered,
)
from sessionlift.errors import StoreConstraintError, StoreOvertakenError, StoreTextError
from sessionlift.ledger import Intents, Ledger, LedgerUnit
from sessionlift.reports import utc_now
from sessionlift.runs._places import place_of
from sessionlift.runs._readable import UNREADABLE
from sessionlift.runs._rollback_options import Action, RollbackOptions, Turn
from sessionlift.runs._rollback_rows import NO_ROWS, Watched
from sessionlift.runs._transfer import LIVES_ELSEWHERE
from sessionlift.runs._ways_back import WayBack
from sessionlift.stores import Store

_LOOKS = 10
"""How often sessions are looked at that the old program writes to at that very moment."""
LEGACY_CHANGED = "legacy_changed"
LEGACY_LACKS = "legacy_lacks_session"
LEGACY_REFUSED = "legacy_refused"
TARGET_UNREADABLE = "target_unreadable"
ROWS_LEFT = "rows_left"
_ROWS_LEFT_WHY = "rows were written under its id into the target after it had left; they stay there"
_ID_IN_QUARANTINE_WHY = (
    "the application has written rows of its own under this id, while the session of the legacy store lies in "
    "quarantine; they have no place there, and stay in the target"
)


@dataclass
class Batch:
    """Sessions that were carried together, and what the legacy generation cannot hold of them."""

    turns: list[Turn]
    losses: list[Loss] = field(default_factory=list)
    mark: int | None = None
    """as long as it is this (see Watched), the target is as it was looked at"""


@dataclass
class _Ready:
    """Sessions that were looked at in both stores (``there``: the digests that the legacy store had of them), and
    the rows that were made of them."""

    batch: Batch
    legacy: Store | None
    made: BackwardBatch
    memory: Mapping[str, Remembered]
    there: Mapping[str, str]

    @property
    def turns(self) -> dict[str, Turn]:
        return {turn.session_id: turn for turn in self.batch.turns}


class FirstWrite(Exception):  # noqa: N818 - it is no error
    """Something is about to be written into a legacy store that must not be changed yet. Nothing was."""


class Carrier:
    """Makes legacy rows of sessions and writes them into a legacy store, session by session whole.

    ``came_from`` says of a session whether the legacy store is the one that it was moved from. Until ``may_write`` is
    set, FirstWrite is raised in place of the first change.
    """

    def __init__(
        self,
        target: Store,
        way: WayBack,
        back: Backward,
        watched: Watched,
        options: RollbackOptions,
        *,
        run_id: str,
        legacy: str,
        origins: Mapping[str, str],
        may_write: bool,
    ) -> None:
        self._target, self._way, self._back, self._watched = target, way, back, watched
        self._options, self._run_id, self._name, self._origins = options, run_id, legacy, origins
        self._ledger, self._intents = Ledger(target), Intents(target)
        self._ours = self._intents.all(legacy)
        self._homes = {run.run_id: run.source for run in self._ledger.runs() if run.kind == "rollback"}
        self._number = 0
        self.may_write = may_write

    def carry(self, ids: Sequence[str], legacy: Store | None, *, write: bool) -> Batch:
        """Take sessions as far as the legacy store; ``legacy`` is None for one that is still to be made.

        Without ``write`` nothing is written: the turns say what would be. Where the old program writes to a session
        between the look at it and the writing, it is looked at again; at last StoreOvertakenError is raised.
        """
        for _ in range(_LOOKS - 1):
            with suppress(StoreOvertakenError):
                return self._carry(ids, legacy, write=write)
        return self._carry(ids, legacy, write=write)

    def _carry(self, ids: Sequence[str], legacy: Store | None, *, write: bool) -> Batch:
        ready = self._look(ids, legacy)
        self._make_what_goes(ready)
        turns = ready.turns
        if legacy is None:
            changes = {key: Changes(added=dict(turn.rows)) for key, turn in turns.items()}
        elif write:
            changes = self._write_batch(legacy, ready)
        else:
            changes = self._way.rows.compare(legacy, ready.made)
        for key, found in changes.items():
            if key in turns and turns[key].action == "carry":
                turns[key].changes = found
        return ready.batch

    def _look(self, ids: Sequence[str], legacy: Store | None) -> _Ready:
        # what is looked at again at the end comes first: what comes after it is no older
        mark = self._watched.mark()
        units = self._ledger.units(SESSION, ids)
        # a digest tells of a text that cannot be read, too, and no converter reads what the application has added
        seen = self._watched.digests(ids) if mark is None or self._watched.added else {}
        memory = self._ledger.remembered(SESSION, ids)
        there = {} if legacy is None else self._way.rows.digests(legacy, SESSION, ids)
        made = self._make(ids, memory, legacy, there)
        # what no digest knows cannot be told from what the application makes of it meanwhile
        self._refuse_unreadable(made, [key for key in ids if seen.get(key) == UNREADABLE])
        found = {unit.session_id: unit for unit in (*made.units, *made.lying)}
        refused = {each.session_id: each for each in made.refused}
        self._refuse_left(ids, units, found)
        counts, sizes = {**_counted(made), **_counted_at_the_move(made, units)}, _sizes(made)
        turns, latest = [], False
        for key in ids:
            seen_as = (units.get(key), found.get(key), refused.get(key), there.get(key))
            turn = self._judge(key, *seen_as, self._ours.get(key))
            if turn.action in ("conflict", "discard") and not latest:
                # another run may have noted since what it writes; what it had written by the look, it has noted
                self._ours, latest = self._intents.all(self._name), True
                turn = self._judge(key, *seen_as, self._ours.get(key))
            turn.seen, turn.rows, turn.size = seen.get(key, ""), counts.get(key, {}), sizes.get(key, 0)
            turns.append(turn)
        self._refuse_rows_left([turn for turn in turns if turn.before is not None and _has_left(turn)], _ROWS_LEFT_WHY)
        self._refuse_rows_left([turn for turn in turns if turn.found == "quarantined"], _ID_IN_QUARANTINE_WHY)
        return _Ready(Batch(turns, mark=mark), legacy, made, memory, there)

    def _refuse_rows_left(self, settled: Sequence[Turn], why: str) -> None:
        seen = self._watched.digests([turn.session_id for turn in settled]) if settled else {}
        for turn in settled:
            if seen[turn.session_id] != NO_ROWS:
                turn.action, turn.code, turn.why = "refused", ROWS_LEFT, why

    def _refuse_left(self, ids: Sequence[str], units: Mapping[str, LedgerUnit], found: Mapping[str, BackUnit]) -> None:
        """Raise StoreOvertakenError where rows are not there for the reason that another run has just taken them back.

        They were not deleted by the application, and must not be deleted in the legacy store.
        """
        gone = [key for key in ids if key in found and found[key].found == "gone"]
        for key, unit in self._ledger.units(SESSION, gone).items() if gone else ():
            if unit != units.get(key):
                raise StoreOvertakenError(
                    f"another run has taken session {key!r} back or moved it in this very moment",
                    hint="nothing of it was written; run the same command again",
                    store=self._target.url.redacted,
                    role="target",
                    session_id=key,
                )

    def _make(
        self,
        ids: Sequence[str],
        memory: Mapping[str, Remembered],
        legacy: Store | None,
        there: Mapping[str, str] | None = None,
    ) -> BackwardBatch:
        asked = None if legacy is None else (legacy, self._way.rows)
        try:
            return self._back.backward(self._target, ids, memory, asked, there)
        except StoreTextError:
            unreadable = self._watched.unreadable(ids)
            if not unreadable:
                raise  # it is in another store, or in the ledger
        others = [key for key in ids if key not in unreadable]
        made = self._back.backward(self._target, others, memory, asked, there)
        made.refused += [Refused(key, TARGET_UNREADABLE, why) for key, why in unreadable.items()]
        return made

    def _refuse_unreadable(self, made: BackwardBatch, ids: Sequence[str]) -> None:
        told = {each.session_id for each in made.refused}
        unreadable = self._watched.unreadable([key for key in ids if key not in told])
        made.refused += [Refused(key, TARGET_UNREADABLE, why) for key, why in unreadable.items()]

    def made_again(self, turn: Turn, legacy: Store) -> dict[str, Any] | None:
        """What must lie in ``legacy`` of a session that was carried, by table its ``columns`` and ``rows``, for JSON;
        None where something else comes of it now, or it was left there as it was."""
        memory = self._ledger.remembered(SESSION, [turn.session_id])
        made = self._make([turn.session_id], memory, legacy)
        if [unit.source_digest for unit in made.units] != [turn.digest]:
            return None
        spelled = self._way.rows.spelled(legacy, made)
        return {table: {"columns": made.columns[table], "rows": rows} for table, rows in spelled.items()}

    # --- what becomes of one session --------------------------------------------------------------------------

    def _judge(
        self,
        key: str,
        unit: LedgerUnit | None,
        made: BackUnit | None,
        refused: Refused | None,
        there: str | None,
        ours: set[str] | None,
    ) -> Turn:
        if unit is not None and unit.state == "rolled_back":
            home = self._homes.get(unit.run_id, self._name)
            if self._options.to is not None and place_of(home) != place_of(self._name):
                # with all sessions goes what no session owns, which may be left to go
                action: Action = "settled" if self._options.everything else "refused"
                why = f"it was taken back into {home}, and lives there: the target has nothing of it"
                return Turn(key, action, before=unit, code=LIVES_ELSEWHERE, why=why)
            return Turn(key, "settled", before=unit)
        if refused is not None:
            return Turn(key, "refused", before=unit, code=refused.code, why=refused.reason)
        if made is None:
            return Turn(key, "settled", before=unit)
        turn = Turn(
            key, "carry", made.found, unit, digest=made.source_digest, kept=dict(made.kept), aside=list(made.aside)
        )
        before = unit.source_digest if unit is not None else None
        own = ours or set()
        if made.found == "quarantined":
            return self._aside(turn, there, own)
        if made.found == "gone":
            return self._gone(turn, there, before, own)
        if self._options.discard_new and made.found != "unchanged":
            return self._discarded(turn, there, before)
        if there is None:
            if self._came_from(unit):
                return self._conflict(turn, there, LEGACY_LACKS, "the legacy store has lost it since it was moved")
            turn.rebuilt = unit is not None and made.found == "changed"
            return turn
        if there == made.source_digest or (made.found == "unchanged" and there == before):
            return replace(turn, action="there", digest=there)
        if there == before or there in own:
            return turn
        return self._conflict(turn, there, LEGACY_CHANGED, "the legacy store has changed it since it was moved")

    def _came_from(self, unit: LedgerUnit | None) -> bool:
        return unit is not None and self._origins.get(unit.run_id) == self._name

    def _aside(self, turn: Turn, there: str | None, own: set[str]) -> Turn:
        """A session in quarantine: it stays there; where it did not come from it goes as it was, to live there."""
        if turn.digest is None or self._came_from(turn.before):
            return replace(turn, action="aside")
        if there in (None, turn.digest) or there in own:
            return turn
        return self._conflict(turn, there, LEGACY_CHANGED, "the legacy store has another session of this id")

    def _gone(self, turn: Turn, there: str | None, before: str | None, own: set[str]) -> Turn:
        """A session that was deleted in the target: so it is in the legacy store, unless that went on with it."""
        turn.state, turn.digest = "deleted", None
        unit = turn.before
        # of one that was deleted through a bridge the ledger is still to say that the legacy store does not have it
        settled = unit is not None and unit.state == "deleted" and unit.run_id not in self._origins
        if there is None:
            return replace(turn, action="settled" if settled else "remove")
        if self._options.discard_new and there == before:
            return replace(turn, action="discard", digest=there, state="rolled_back")
        if there == before or there in own:
            return replace(turn, action="remove", changes=Changes(deleted={"sessions": 1}))
        return self._conflict(
            turn, there, LEGACY_CHANGED, "it was deleted in the new store, and the legacy store has changed it since"
        )

    def _discarded(self, turn: Turn, there: str | None, before: str | None) -> Turn:
        if turn.found == "new" and there is None:
            return replace(turn, action="discard", digest=None, state="deleted")
        if there is not None and there == before:
            return replace(turn, action="discard", digest=there)
        if there is None:
            return self._conflict(turn, there, LEGACY_LACKS, "the legacy store does not have it as it was moved")
        return self._conflict(turn, there, LEGACY_CHANGED, "the legacy store does not have it as it was moved")

    def _conflict(self, turn: Turn, there: str | None, code: str, why: str) -> Turn:
        if self._options.on_conflict == "keep-legacy" and there is not None:
            return replace(turn, action="discard", digest=there, state="rolled_back")
        return replace(turn, action="conflict", code=code, why=why)

    # --- writing ----------------------------------------------------------------------------------------------

    def _make_what_goes(self, ready: _Ready) -> None:
        """Leave those out of what was made that do not go, and those that lie there already and lose nothing."""
        turns = ready.turns
        made = {unit.session_id for unit in ready.made.units}
        some = [key for key in turns if key in made and (turns[key].action == "carry" or _may_lose(turns[key]))]
        if len(some) < len(ready.made.units):
            ready.made = self._make(some, ready.memory, ready.legacy) if some else BackwardBatch()
        ready.batch.losses = list(ready.made.losses)
        for unit in ready.made.units:
            # ids that were given anew depend on which sessions are made together
            turn = turns[unit.session_id]
            turn.kept = dict(unit.kept)
            if turn.action == "carry":
                turn.digest = unit.source_digest

    def _write_batch(self, legacy: Store, ready: _Ready) -> dict[str, Changes]:
        """Write what goes and remove what was deleted; returns what that changed. Raises FirstWrite."""
        turns = ready.turns
        removed = [turn.session_id for turn in turns.values() if turn.action == "remove" and turn.changes]
        carried = any(turn.action == "carry" for turn in turns.values())
        if not removed and not carried:
            # what lies there already stays as it is, to the last number of a sequence
            return {}
        if not self.may_write:
            raise FirstWrite
        self._intend(turns.values())
        self._way.rows.remove(legacy, removed, {key: ready.there.get(key) for key in removed})
        return self._write(legacy, ready) if carried else {}

    def _intend(self, turns: Iterable[Turn]) -> None:
        """Note what is about to be written, so that it is known again should this run not come to its end."""
        digests = {turn.session_id: turn.digest for turn in turns if turn.action == "carry" and turn.digest is not None}
        if digests:
            self._number += 1
            with self._target.transaction():
                self._intents.add(self._run_id, self._number, self._name, digests, at=utc_now())
            for session_id, digest in digests.items():
                self._ours.setdefault(session_id, set()).add(digest)

    def _write(self, legacy: Store, ready: _Ready) -> dict[str, Changes]:
        made, turns = ready.made, ready.turns
        if not made.units:
            return {}
        try:
            seen = {unit.session_id: ready.there.get(unit.session_id) for unit in made.units}
            return self._way.rows.write(legacy, made, seen)
        except StoreConstraintError as error:
            if len(made.units) == 1:
                turn = turns[made.units[0].session_id]
                turn.action, turn.code, turn.why = "refused", LEGACY_REFUSED, error.what
                return {}
        changes: dict[str, Changes] = {}
        for unit in made.units:
            # one session a transaction, so that the one which the store refuses can be told from the others
            one = self._make([unit.session_id], ready.memory, legacy)
            for each in one.units:
                turns[each.session_id].digest = each.source_digest
                turns[each.session_id].kept = dict(each.kept)
            self._intend([turns[each.session_id] for each in one.units])
            changes.update(self._write(legacy, replace(ready, made=one)))
        return changes


def _has_left(turn: Turn) -> bool:
    """Whether the session had left both stores before this run."""
    deleted = turn.before is not None and turn.before.state == "deleted"
    return turn.action == "settled" or (turn.action == "remove" and deleted and not turn.changes)


def _may_lose(turn: Turn) -> bool:
    return turn.action == "there" and (turn.found != "unchanged" or bool(turn.kept))


def _counted(batch: BackwardBatch) -> dict[str, dict[str, int]]:
    """By session the rows that were made, by legacy table."""
    found: dict[str, dict[str, int]] = {}
    for table, rows in batch.rows.items():
        place = batch.columns[table].index("session_id")
        for row in rows:
            counts = found.setdefault(str(row[place]), {})
            counts[table] = counts.get(table, 0) + 1
    return found


def _sizes(batch: BackwardBatch) -> dict[str, int]:
    """By session the bytes of the values that were made: a text in UTF-8, eight for a number."""
    found: dict[str, int] = {}
    for table, rows in batch.rows.items():
        place = batch.columns[table].index("session_id")
        for row in rows:
            key = str(row[place])
            found[key] = found.get(key, 0) + sum(map(_size, row))
    return found


def _size(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    return len(value) if isinstance(value, bytes) else 8


def _counted_at_the_move(batch: BackwardBatch, units: Mapping[str, LedgerUnit]) -> dict[str, dict[str, int]]:
    """The same of sessions of which no rows were made, since they lie there as they were read when they moved."""
    return {
        unit.session_id: {
            table: count for table, count in units[unit.session_id].read_counts.items() if table in batch.columns
        }
        for unit in batch.lying
        if unit.session_id in units
    }
