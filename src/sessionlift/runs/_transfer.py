"""The one writer: takes staged batches and commits each with its ledger rows, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sessionlift.converters import CATALOG, SESSION, Fact, Loss
from sessionlift.converters.synth import remove_units, target_digests, touched_sessions
from sessionlift.errors import StoreConstraintError
from sessionlift.ledger import Ledger
from sessionlift.runs._protocol import Message, Worker
from sessionlift.stores import Store

CHANGED_ON_BOTH_SIDES = "changed_on_both_sides"


@dataclass
class Committed:
    """What one committed batch brought: the ids of its sessions, and its message with all counts."""

    message: Message
    moved: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    rows: int = 0


class Transfer:
    """Commits batches into one opened target. ``committed`` is called after each.

    Units with rows in quarantine that one of the runs in ``retry`` moved are replaced, though their source is the same.

    A batch's target rows, ledger rows, complement, quarantine and counts of losses are one transaction. Before a
    batch is written, the ledger is asked again inside that transaction: what another run has moved meanwhile is
    left alone, and what was moved before from other source rows is replaced only where the target still holds the
    very rows that were written then. The converter makes such a batch again, so that counts never include what was
    not written.
    """

    def __init__(
        self,
        target: Store,
        run_id: str,
        committed: Callable[[Committed], None],
        *,
        retry: Collection[str] = (),
    ) -> None:
        self._target = target
        self._ledger = Ledger(target)
        self._run_id = run_id
        self._committed = committed
        self._retry = retry

    def take(self, message: Message, converter: Worker) -> None:
        """Commit the batch that ``message`` describes, or ask ``converter`` to make it again in another way."""
        stage = Path(message["stage"])
        try:
            self._take(message, stage, converter)
        finally:
            with suppress(FileNotFoundError):
                stage.unlink()

    def _take(self, message: Message, stage: Path, converter: Worker) -> None:
        kind = message["kind"]
        if not message["units"]:
            converter.tell({"type": "ok"})
            self._committed(Committed(message))
            return
        again: Message | None = None
        try:
            with self._target.staged(stage) as staged, self._target.transaction():
                again = self._settle_with_ledger(kind, message["units"], message.get("owned", {}))
                if again is not None:
                    raise _Again
                rows = 0
                for table, columns in message["tables"].items():
                    rows += staged.copy(table, columns)
                for table, columns in message["ledger"].items():
                    staged.copy(table, columns)
                self._ledger.add_losses(self._run_id, kind, _losses(message))
                self._ledger.add_facts(self._run_id, kind, [f for f in _facts(message) if f.session_id is None])
        except _Again:
            assert again is not None  # noqa: S101 - set before it was raised
            converter.tell(again)
            return
        except StoreConstraintError as error:
            converter.tell(self._refused(kind, message, error))
            return
        converter.tell({"type": "ok"})
        moved = [key for key, _, state in message["units"] if state != "quarantined"]
        failed = [key for key, _, state in message["units"] if state == "quarantined"]
        if kind == CATALOG:
            moved = []
        self._committed(Committed(message, moved, failed, rows))

    def _settle_with_ledger(
        self, kind: Any, units: list[list[str]], offered_rows: dict[str, list[Any]]
    ) -> Message | None:
        """Make room for units that were moved before, or say how the batch has to be made again.

        Of the catalog only those rows make room that come again: what the source has lost stays in the target.
        """
        offered = {key: digest for key, digest, _ in units}
        before = self._ledger.units(kind, list(offered))
        if not before:
            return None
        same = [
            (key, unit.source_digest)
            for key, unit in before.items()
            if unit.source_digest == offered[key] and (unit.state == "moved" or unit.run_id not in self._retry)
        ]
        done = {key for key, _ in same}
        changed = [key for key in before if key not in done]
        owned = self._owned() if kind == CATALOG else None
        now = target_digests(self._target, kind, changed, owned) if changed else {}
        touched = touched_sessions(self._target, changed) if changed and kind == SESSION else set()
        conflicts = [key for key in changed if key in touched or now[key] != before[key].target_digest]
        if same or conflicts:
            # what conflicts is known by its new digest, so that it is left alone and told of
            known = [*same, *((key, offered[key]) for key in conflicts)]
            aside = {key: before[key].state for key, _ in same if before[key].state != "moved"}
            aside.update(dict.fromkeys(conflicts, CHANGED_ON_BOTH_SIDES))
            return {"type": "again", "known": known, "rejected": [], "aside": aside}
        if changed:
            remove_units(self._target, kind, changed, _in_both(owned, offered_rows))
            self._ledger.forget(kind, changed)
        return None

    def _owned(self) -> dict[str, list[Any]]:
        for (data,) in self._target.read_table(
            "sessionlift_complement", ("data",), where="unit = ?", params=(CATALOG,)
        ):
            owned: dict[str, list[Any]] = json.loads(str(data)).get("owned", {})
            return owned
        return {}

    def _refused(self, kind: str, message: Message, error: StoreConstraintError) -> Message:
        """What to do after the target refused a row: find its session, then put that session aside."""
        if kind == CATALOG or all(state == "quarantined" for _, _, state in message["units"]):
            # nothing of a session is left to put aside: the ledger's own rows were refused
            raise error
        if len(message["units"]) + message["unchanged"] > 1:
            return {"type": "split"}
        session_id = message["units"][0][0]
        reason = f"the target refused it: {error.what}"
        return {"type": "again", "known": [], "rejected": [[session_id, "target_refused", reason]], "aside": {}}


def _in_both(owned: dict[str, list[Any]] | None, offered: dict[str, list[Any]]) -> dict[str, list[Any]] | None:
    if owned is None:
        return None
    return {table: [key for key in keys if key in offered.get(table, [])] for table, keys in owned.items()}


class _Again(Exception):  # noqa: N818 - it is no error
    """Leaves a transaction that must not be committed."""


def _losses(message: Message) -> list[Loss]:
    return [Loss(*each) for each in message["losses"]]


def _facts(message: Message) -> list[Fact]:
    return [Fact(*each) for each in message["facts"]]
