"""The second half of a rollback: sessions leave the target, if nobody has written to them meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from sessionlift.converters import KEPT, SESSION, Loss, TargetRows
from sessionlift.ledger import Attempts, Ledger, LedgerUnit, TakenBack
from sessionlift.reports import utc_now
from sessionlift.runs._rollback_options import Turn
from sessionlift.runs._rollback_rows import NO_ROWS, Watched
from sessionlift.stores import Store

DISCARDED = "discarded"
DISCARD_CODE = "new_writes_discarded"
ASIDE_CODE = "aside_kept"
ADDED_CODE = "added_column_kept"


@dataclass
class Left:
    """``done`` have left (or were to stay); of ``again`` the target's rows have changed since they were read."""

    done: list[Turn] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)


class Leaver:
    """Takes sessions whose legacy rows are written and verified out of the target. The only one that does."""

    def __init__(
        self,
        target: Store,
        rows: TargetRows,
        watched: Watched,
        *,
        run_id: str,
        home: str,
        zone: str,
        keep: bool,
        came_from: Callable[[LedgerUnit | None], bool],
    ) -> None:
        self._target, self._rows, self._watched = target, rows, watched
        self._run_id, self._home, self._zone, self._keep, self._came_from = run_id, home, zone, keep, came_from
        self._ledger = Ledger(target)

    def leave(
        self, turns: Sequence[Turn], losses: Callable[[Sequence[Turn]], list[Loss]], mark: int | None = None
    ) -> Left:
        """One transaction: what was seen is looked at again, the rows go, and the ledger says where they are now.

        ``losses`` is asked once it is known which sessions go. ``mark``: see Watched.
        """
        left = Left()
        if not turns:
            return left
        with self._target.transaction():
            units = self._look_again(turns, mark, left)
            left.losses = [*losses(left.done), *self._discard(left.done)]
            if not self._keep:
                left.losses += left_behind(left.done, self._watched)
            going = [turn for turn in left.done if turn.action in ("carry", "there", "remove", "discard")]
            staying = {turn.session_id for turn in going} - self._deleted(going) if self._keep else set()
            self._stay([turn for turn in going if turn.session_id in staying], units)
            self._go([turn for turn in going if turn.session_id not in staying])
            self._ledger.add_losses(self._run_id, SESSION, left.losses)
        return left

    def changed(self, turns: Sequence[Turn], mark: int | None) -> list[str]:
        """The sessions that are not as they were seen any more, or may not be."""
        left = Left()
        if turns:
            self._look_again(turns, mark, left)
        return left.again

    def _look_again(self, turns: Sequence[Turn], mark: int | None, left: Left) -> Mapping[str, LedgerUnit]:
        """Sort the turns by whether their sessions are as they were seen; returns the ledger's word of now."""
        if mark is not None and self._watched.mark() == mark:
            left.done = list(turns)
            return {turn.session_id: turn.before for turn in turns if turn.before is not None}
        ids = [turn.session_id for turn in turns]
        if mark is not None:
            # nobody knows what they were before
            self._watched.is_busy()
            left.again = ids
            return {}
        units, seen = self._ledger.units(SESSION, ids), self._watched.digests(ids)
        for turn in turns:
            unit = units.get(turn.session_id)
            if seen[turn.session_id] != turn.seen or _word(unit) != _word(turn.before):
                left.again.append(turn.session_id)
            else:
                left.done.append(turn)
        return units

    def _deleted(self, turns: Sequence[Turn]) -> set[str]:
        """Those whose deletion was carried into the store that sessions came from, with nothing left to stay: from now
        on they are in neither store."""
        removed = [turn.session_id for turn in turns if turn.action == "remove" and self._came_from(None)]
        found = self._watched.digests(removed) if removed else {}
        return {key for key, digest in found.items() if digest == NO_ROWS}

    def _discard(self, turns: Sequence[Turn]) -> list[Loss]:
        """Keep what is not carried back, and tell of it; where the target keeps its rows, nothing is left behind."""
        found = [turn for turn in turns if turn.action == "discard" and not self._keep]
        for turn in found:
            turn.kept = {DISCARDED: self._watched.rows(turn.session_id)}
        if not found:
            return []
        return [Loss(DISCARD_CODE, self._home, "session_id", len(found), {"session_id": found[0].session_id})]

    def _go(self, turns: Sequence[Turn]) -> None:
        if not turns:
            return
        self._rows.remove(self._target, SESSION, [turn.session_id for turn in turns])
        before = self._ledger.complements(SESSION, [turn.session_id for turn in turns])
        self._ledger.take_back(
            [
                TakenBack(
                    turn.session_id,
                    turn.digest or (turn.before.source_digest if turn.before is not None else ""),
                    turn.state,
                    _complement(turn, before.get(turn.session_id, {})),
                )
                for turn in turns
            ],
            run_id=self._run_id,
            at=utc_now(),
        )
        Attempts(self._target).settled(*(turn.session_id for turn in turns))

    def _stay(self, turns: Sequence[Turn], units: Mapping[str, LedgerUnit]) -> None:
        """The target keeps its rows; of the store that they came from the ledger knows that it has them, too.

        Where the legacy store was left as it is, it does not have them, and has gone on all the same.
        """
        for turn in turns:
            unit = units.get(turn.session_id)
            if turn.action != "discard" and turn.digest is not None and self._came_from(unit):
                self._ledger.carried(
                    SESSION,
                    turn.session_id,
                    run_id=self._run_id,
                    at=utc_now(),
                    source_digest=turn.digest,
                    target_digest=self._rows.digests(self._target, SESSION, [turn.session_id])[turn.session_id],
                    complement={"zone": self._zone, KEPT: turn.kept},
                )


def left_behind(turns: Sequence[Turn], watched: Watched) -> list[Loss]:
    """The losses of what leaves the target and has no place in the legacy store, whatever the session is: rows in
    quarantine, and columns that the application has added. The turns get what of these the ledger is to keep."""
    return [*_left_aside(turns), *_left_in_added(turns, watched)]


def _left_in_added(turns: Sequence[Turn], watched: Watched) -> list[Loss]:
    # of what is discarded whole rows are kept
    going = [turn for turn in turns if turn.action in ("carry", "there", "remove")] if watched.added else []
    found = watched.rows_with_added([turn.session_id for turn in going])
    counts: dict[tuple[str, str], list[Any]] = {}
    for turn in going:
        turn.added = found.get(turn.session_id, {})
        for table, rows in turn.added.items():
            for row, name in product(rows, watched.added[table]):
                if row[name] is not None:
                    counts.setdefault((table, name), [0, {"session_id": turn.session_id}])[0] += 1
    return [Loss(ADDED_CODE, *place, count, example) for place, (count, example) in sorted(counts.items())]


def _left_aside(turns: Iterable[Turn]) -> list[Loss]:
    """The losses of rows in quarantine that the legacy store does not get, and that leave the quarantine."""
    found: dict[str, list[Any]] = {}
    for turn in turns:
        for table, _ in turn.aside if _leaves_aside(turn) else ():
            found.setdefault(table, [0, {"session_id": turn.session_id}])[0] += 1
    return [Loss(ASIDE_CODE, table, "", count, example) for table, (count, example) in sorted(found.items())]


def _leaves_aside(turn: Turn) -> bool:
    """Where the legacy store stays as it was, it still has what lies in quarantine."""
    return turn.action in ("carry", "remove") or (turn.action == "there" and turn.found != "unchanged")


def with_discarded(complement: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """``complement`` with the rows that earlier rollbacks have left behind: nothing else has them, ever after."""
    tables: dict[str, list[Any]] = {table: list(rows) for table, rows in (before.get(DISCARDED) or {}).items()}
    for table, rows in complement.get(DISCARDED, {}).items():
        there = tables.setdefault(table, [])
        there.extend(row for row in rows if row not in there)
    return {**complement, DISCARDED: tables} if tables else complement


def _complement(turn: Turn, before: Mapping[str, Any]) -> dict[str, Any]:
    if DISCARDED not in turn.kept:
        kept = {KEPT: turn.kept} if turn.kept else {}
        discarded: dict[str, Any] = dict(turn.added)
        if turn.aside and _leaves_aside(turn):
            discarded["sessionlift_quarantine"] = [{"table": table, "row": row} for table, row in turn.aside]
        if discarded:
            kept[DISCARDED] = discarded
        return with_discarded(kept, before)
    # the rows that the legacy store has still were given back what an earlier way back had kept of them: it is no
    # part of the new writes, and the next move gives it back again
    kept = {KEPT: before[KEPT]} if before.get(KEPT) else {}
    return with_discarded({**kept, **turn.kept}, before)


def _word(unit: LedgerUnit | None) -> tuple[Any, ...] | None:
    return None if unit is None else (unit.state, unit.run_id, unit.source_digest, unit.target_digest)
