"""Sessions on their way back, part by part: carried, looked at by others, and out of the target."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from sessionlift.converters import SESSION, Backward, Loss
from sessionlift.errors import StoreLockedError
from sessionlift.ledger import Ledger
from sessionlift.runs._interrupts import Interrupts
from sessionlift.runs._progress import Progress
from sessionlift.runs._rollback_carry import Batch, Carrier, FirstWrite
from sessionlift.runs._rollback_check import Check, Looked
from sessionlift.runs._rollback_leave import Leaver
from sessionlift.runs._rollback_options import Turn
from sessionlift.runs._rollback_tally import RollbackTally
from sessionlift.runs.verifier._collector import without_collector
from sessionlift.stores import Store

Made = TypeVar("Made")

PART = 5_000
"""Sessions that are written, verified and taken out of the target together: so much is done again after a kill."""
BATCH = 500
"""Sessions that are held in memory together."""
ROUNDS = 5
"""How often a session is begun again that the application writes to while it is on its way."""

_STAYS = ("conflict", "refused", "settled", "aside")
"""What becomes of sessions of which the target is not changed."""


def carried(
    carrier: Carrier, ids: Sequence[str], legacy: Store | None, interrupts: Interrupts, *, write: bool
) -> Iterator[Batch]:
    """Carry sessions a batch at a time; between two of them the run can be interrupted."""
    for at in range(0, len(ids), BATCH):
        with interrupts.held():
            yield carrier.carry(ids[at : at + BATCH], legacy, write=write)


@dataclass
class Rounds:
    """Takes sessions of ``target`` into a legacy store.

    ``open_legacy`` opens that for reading, or (``write=True``) for writing; ``before_first_write`` is called once,
    while it is closed, when it is about to be written for the first time, unless the carrier may write already.
    ``begin`` is called after each part of which sessions are going to leave, and ``written`` with the legacy store.
    """

    target: Store
    back: Backward
    carrier: Carrier
    check: Check
    leaver: Leaver
    tally: RollbackTally
    open_legacy: Callable[[bool], Store]
    before_first_write: Callable[[], None]
    written: Callable[[Store], None]
    begin: Callable[[], None]
    interrupts: Interrupts
    progress: Progress

    def take_back(self, sessions: Sequence[str]) -> None:
        """All of ``sessions``; one that the application keeps writing to stays, and is told of."""
        ids = sessions
        for turn_no in range(ROUNDS):
            ids = self._round(ids, len(sessions))
            if not ids:
                return
            if turn_no:
                time.sleep(0.05 * turn_no)
        why = "the application kept writing to it while it was on its way; it stays in the target"
        self.tally.settle([Turn(key, "refused", code="target_busy", why=why) for key in ids], [])

    def into_legacy(self, work: Callable[[Store], Made]) -> Made:
        """Do ``work`` with the legacy store. Where it is about to make the first change, the store is copied, and all
        of it done again: until then it has written nothing."""
        if self.carrier.may_write:
            self.check.looked()  # DuckDB lets nobody write to what others read
        try:
            with self.open_legacy(self.carrier.may_write) as legacy:
                return work(legacy)
        except FirstWrite:
            # DuckDB lets nobody read a store that is open for writing, so it had to be closed
            self.check.looked()
            self.carrier.may_write = True
            self.before_first_write()
            return self.into_legacy(work)

    def _round(self, ids: Sequence[str], total: int) -> Sequence[str]:
        """Take sessions back, part by part; returns those that have to be begun again.

        While other processes look at one part, the one before leaves the target, and, as long as nothing has to be
        written into the legacy store, the next one is read.
        """
        again: list[str] = []
        before = Batch([])
        for at in range(0, len(ids), PART):
            part = self.into_legacy(partial(self._carry, ids[at : at + PART]))
            looked = self.check.looked()
            self.check.begin(part.turns)
            again += self._leave(before, looked, total)
            before = part
        return [*again, *self._leave(before, self.check.looked(), total)]

    def _carry(self, ids: Sequence[str], legacy: Store) -> Batch:
        """Carry a part, and give it as one batch: its sessions leave the target together."""
        with without_collector():
            batches = list(carried(self.carrier, ids, legacy, self.interrupts, write=True))
        turns = [turn for batch in batches for turn in batch.turns]
        if any(turn.action not in _STAYS for turn in turns):
            self.begin()
            with self.interrupts.held():
                self.written(legacy)
        # who wrote to the target since the first look at it is noticed by all that were looked at later, too
        return Batch(turns, [loss for batch in batches for loss in batch.losses], batches[0].mark)

    def _leave(self, part: Batch, looked: Looked, total: int) -> list[str]:
        """Take a part's sessions out of the target; returns those that have to be begun again."""
        if not part.turns:
            return []
        wrong = [turn for turn in part.turns if turn.session_id in looked.wrong]
        # what the application has changed meanwhile does not lie anywhere as it was read
        changed = set(self.leaver.changed(wrong, part.mark))
        staying = [turn for turn in wrong if turn.session_id not in changed]
        if staying:
            with self.open_legacy(False) as legacy:
                self.check.name(looked, staying, partial(self.carrier.made_again, legacy=legacy))
        for turn in staying:
            turn.action, turn.code = "refused", "not_verified"
            turn.why = "it does not lie in the legacy store as it must; it stays in the target"
        here = [turn for turn in part.turns if turn.session_id not in changed]
        going = [turn for turn in here if turn.action not in _STAYS]

        def losses(done: Sequence[Turn]) -> list[Loss]:
            if len(done) == len(going) and not wrong:
                return part.losses
            # some of the part do not go: what is lost of the others is weighed again
            some = [turn.session_id for turn in done if turn.action in ("carry", "there")]
            memory = Ledger(self.target).remembered(SESSION, some)
            return self.back.backward(self.target, some, memory).losses if some else []

        with self.interrupts.held():
            try:
                left = self.leaver.leave(going, losses, part.mark)
            except StoreLockedError:
                if not self.check.is_reading:
                    raise
                self.check.looked()  # it is we who were in the way
                left = self.leaver.leave(going, losses, part.mark)
            leaving = {turn.session_id for turn in going}
            others = [turn for turn in here if turn.session_id not in leaving]
            self.tally.settle([*left.done, *others], left.losses)
            again = {*left.again, *(turn.session_id for turn in wrong if turn.session_id in changed)}
            self.tally.begin_again(turn for turn in part.turns if turn.session_id in again)
            self.check.settle(looked, again)
        self.progress.count("taken back", self.tally.sessions, total, self.tally.rows)
        return [turn.session_id for turn in part.turns if turn.session_id in again]
