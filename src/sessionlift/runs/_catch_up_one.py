"""One moved session whose legacy side may have gone on: moved again, laid together, or told as a conflict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sessionlift.converters import KEPT, SESSION, Continued, Loss, OnConflict
from sessionlift.errors import SessionConflictError, UsageError
from sessionlift.ledger import Attempts, Intents, Ledger, LedgerUnit
from sessionlift.reports import utc_now
from sessionlift.runs._claims import LEGACY_TAIL_KEPT
from sessionlift.runs._mover import Converted, SessionMover
from sessionlift.runs._roads import Road
from sessionlift.runs._rollback_leave import DISCARDED, with_discarded
from sessionlift.runs._transfer import CHANGED_ON_BOTH_SIDES, DELETED_BUT_CHANGED, Committed
from sessionlift.stores import quote_identifier

Outcome = Literal["same", "moved_again", "continued", "kept_new", "deleted", "elsewhere", "conflict"]
_TAIL = 50


@dataclass(frozen=True)
class CaughtUp:
    """What became of a session. ``error`` is there for a conflict: its fields hold both tails, where there are such.

    "deleted": a program has deleted it in the new store, and it stays so. "elsewhere": it was moved from another store,
    into which a rollback had taken it; this source has it otherwise, and nothing was touched.
    """

    session_id: str
    outcome: Outcome
    appended: int = 0
    error: SessionConflictError | None = None


_KEEP_LEGACY = (
    "`sessionlift rollback TARGET --session ID --on-conflict keep-legacy`, and then `sessionlift migrate`, takes the "
    "legacy store's; what the new program wrote is kept in the ledger"
)


def refuse_unsettling(road: Road, on_conflict: OnConflict) -> None:
    """Raise UsageError where conflicts are to be settled in a way that the system does not have."""
    if on_conflict != "raise" and road.continuation is None:
        raise UsageError(
            f"sessions of {road.source} that both sides changed cannot be laid together",
            hint=f"leave --on-conflict at raise; of a session that it tells, {_KEEP_LEGACY}",
        )


class CatchUp:
    """Brings what the legacy store got after the move into the new one; conflicts by ``on_conflict``.

    Where only the legacy side changed, the session is moved again. Where both did, the system's continuation lays
    them together in one transaction with the ledger's digests, or it is a conflict, and nothing is touched.
    """

    def __init__(self, mover: SessionMover, on_conflict: OnConflict = "raise") -> None:
        refuse_unsettling(mover.road, on_conflict)
        self._mover, self._on_conflict = mover, on_conflict

    def take(self, session_id: str, digest: str) -> CaughtUp:
        """``digest`` is the ledger's for the session's source rows. Raises the errors of a move."""
        if not self._mover.changed(session_id, digest):
            return CaughtUp(session_id, "same")
        if self._mover.lives_in_another(session_id) is not None:
            return CaughtUp(session_id, "elsewhere")
        moved = self._mover.move(session_id, again=True)
        if moved.state != CHANGED_ON_BOTH_SIDES:
            return CaughtUp(session_id, "moved_again" if moved.now else "same")
        return self._together(session_id)

    def _together(self, session_id: str) -> CaughtUp:
        mover = self._mover
        store, ledger = mover.store, mover.ledger
        with store.transaction():
            unit = ledger.units(SESSION, [session_id]).get(session_id)
            again = mover.convert(session_id)
            if unit is None or again is None or unit.state not in ("moved", "partial"):
                return CaughtUp(session_id, "same")  # another process was faster
            if again.unit.source_digest in Intents(store).all().get(session_id, ()):
                # a rollback has written it there and is about to take the session out of the target
                return CaughtUp(session_id, "same")
            deleted, continued = self._is_deleted(session_id), None
            if deleted:
                # the program that did it knows no ledger
                ledger.bury(session_id, run_id=mover.run_id, at=utc_now(), source_digest=unit.source_digest)
                Attempts(store).settled(session_id)
            elif mover.road.continuation is not None:
                continued = mover.road.continuation(
                    store,
                    session_id,
                    again=again.rows,
                    unit=again.unit,
                    complement=ledger.complement(session_id),
                    target_digest=unit.target_digest,
                    on_conflict=self._on_conflict,
                )
            if not deleted:
                if continued is None or continued.conflict:
                    return CaughtUp(session_id, "conflict", error=_conflict(session_id, continued))
                self._write(unit, again, continued)
        if continued is None:
            aside = [[session_id, DELETED_BUT_CHANGED]]
            mover.told(Committed({**_message(Continued()), "unchanged": 1, "aside": aside}))
            return CaughtUp(session_id, "deleted")
        message = _message(continued)
        mover.told(Committed(message, [session_id], [], sum(message["written"].values())))
        appended = sum(map(len, continued.appended.values()))
        return CaughtUp(session_id, "continued" if continued.renew else "kept_new", appended)

    def _is_deleted(self, session_id: str) -> bool:
        home = quote_identifier(self._mover.road.home)
        return not self._mover.store.query(f"SELECT 1 FROM {home} WHERE session_id = ?", (session_id,))

    def _write(self, unit: LedgerUnit, again: Converted, continued: Continued) -> None:
        store, session_id, run_id = self._mover.store, unit.session_id, self._mover.run_id
        for table, rows in continued.appended.items():
            if rows:
                store.insert_rows(table, tuple(rows[0]), [tuple(row.values()) for row in rows])
        for table, values in continued.changed.items():
            places = ", ".join(f"{quote_identifier(column)} = ?" for column in values)
            store.execute(
                f"UPDATE {quote_identifier(table)} SET {places} WHERE session_id = ?", (*values.values(), session_id)
            )
        ledger = Ledger(store)
        before = ledger.complement(session_id)
        ledger.renew(
            unit,
            again.unit,
            run_id=run_id,
            at=utc_now(),
            converter=self._mover.made_by,
            whole=continued.renew,
            quarantine=continued.quarantine,
        )
        if before.get(KEPT):
            # the converter has given it back again, and what waits goes on waiting
            ledger.complete(SESSION, session_id, {**ledger.complement(session_id), KEPT: before[KEPT]})
        if before.get(DISCARDED):
            ledger.complete(SESSION, session_id, with_discarded(ledger.complement(session_id), before))
        ledger.add_losses(run_id, SESSION, [Loss(*each) for each in _losses(continued)])
        Attempts(store).settled(session_id)


def _conflict(session_id: str, found: Continued | None) -> SessionConflictError:
    why = "both sides changed it" if found is None else found.conflict
    # where there is no way to lay them together, or one cannot be read, nobody has looked for what each side added
    tails: dict[str, Any] = {}
    if found is not None and not found.mend:
        tails = {"legacy": found.legacy_tail[:_TAIL], "new": found.new_tail[:_TAIL]}
    return SessionConflictError(
        f"session {session_id!r} went on in the legacy store and in the new one: {why}",
        hint=_KEEP_LEGACY
        if found is None
        else found.mend
        or "`sessionlift catch-up SOURCE TARGET --on-conflict append_legacy` puts the legacy messages behind the "
        "new ones; keep_new leaves them in quarantine",
        session_id=session_id,
        **tails,
    )


def _losses(continued: Continued) -> list[tuple[str, str, str, int, Any]]:
    counts: dict[str, int] = {}
    for row in continued.quarantine:
        counts[row.table] = counts.get(row.table, 0) + 1
    column = {"sessions": "context_data", "session_messages": "content"}
    return [(LEGACY_TAIL_KEPT, table, column.get(table, "row"), count, None) for table, count in counts.items()]


def _message(continued: Continued) -> dict[str, Any]:
    """What was committed, as a batch describes itself to its report: only rows that are new."""
    written = {table: len(rows) for table, rows in continued.appended.items() if rows}
    kept: dict[str, int] = {}
    for row in continued.quarantine:
        kept[row.table] = kept.get(row.table, 0) + 1
    return {
        "kind": SESSION,
        "unchanged": 0,
        "bytes": 0,
        "read": {table: written.get(table, 0) + kept.get(table, 0) for table in (written | kept)},
        "written": written,
        "derived": [],
        "excluded": {},
        "quarantined": kept,
        "losses": [list(each) for each in _losses(continued)],
        "facts": [],
        "errors": [[row.session_id, row.table, row.row_id, row.code, row.reason] for row in continued.quarantine],
        "more_errors": 0,
        "aside": [],
    }
