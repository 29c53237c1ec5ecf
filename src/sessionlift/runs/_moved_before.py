"""What a run would make of sessions that were moved before, found out without writing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from sessionlift.converters import CATALOG, SESSION, Batch, Forward, UnitKind
from sessionlift.runs._known import Known
from sessionlift.runs._options import TransferOptions
from sessionlift.runs._pairs import read_pairs
from sessionlift.runs._roads import Road, Source
from sessionlift.runs._tally import Tally
from sessionlift.runs._transfer import Transfer
from sessionlift.stores import Store

_BYTES = 6_000_000
"""Of so many of the source's bytes the digests are made together."""
_UNITS = 500
"""So many sessions are looked up in the target together."""


class MovedBefore:
    """Compares a source with what ``known`` says of an opened target. Reads only.

    Every session of the source that the ledger names gets its digest made again; the target's rows are looked at only
    of those that have another one now. Who is left alone, and why, is the writer's own judgement.
    """

    def __init__(self, target: Store, road: Road, known: Known, options: TransferOptions) -> None:
        self._known = known
        self._unwell = {(kind, key): state for kind, key, state in known.unwell}
        self._once_more = {key for kind, key in self._unwell if kind == SESSION}
        self._judge = _Judge(
            target,
            road.rows,
            "",
            lambda _: None,
            retry=known.retry,
            revive=known.revived,
            others=known.others,
            options=options,
            home=road.home,
        )

    def digests(self) -> Iterator[tuple[str, str]]:
        """What the converter has to know: each session and the digest by which a run leaves it alone."""
        for key, digest in read_pairs(self._known.digests):
            self._once_more.discard(key)
            yield key, digest

    def once_more(self) -> Iterator[tuple[str, str]]:
        """And those in quarantine that a run tries again, whatever their digest; ``digests`` comes first."""
        return ((key, "") for key in self._once_more)

    def catalog(self, batch: Batch, tally: Tally) -> Batch:
        """``batch`` as it would be written; an empty one where the catalog is left alone."""
        why = self._unwell.get((CATALOG, "")) if batch.unchanged else None
        if batch.units:
            left = self._judge.left(
                CATALOG, [[unit.session_id, unit.source_digest, unit.state] for unit in batch.units]
            )
            why = left.get("", why)
            batch = Batch() if left else batch
        if why is not None:
            tally.left(None, why)
        return batch

    def sessions(self, source: Source, converter: Forward, tally: Tally) -> list[str]:
        """The sessions that a run leaves alone. ``tally`` counts them, with what is to be said of them."""
        alone: dict[str, str | None] = {}
        changed: dict[str, str] = {}
        for group in converter.groups(max_bytes=_BYTES):
            for key, digest in source.with_room(partial(converter.known_now, group)).items():
                if digest is None:
                    alone[key] = self._unwell.get((SESSION, key))
                else:
                    changed[key] = digest
        spoiled = source.with_room(partial(converter.unreadable, list(changed))) if changed else set()
        units = [[key, digest, "quarantined" if key in spoiled else "moved"] for key, digest in changed.items()]
        for at in range(0, len(units), _UNITS):
            alone.update(self._judge.left(SESSION, units[at : at + _UNITS]))
        tally.skipped += len(alone)
        for key, why in alone.items():
            if why is not None:
                tally.left(key, why)
        return list(alone)


class _Judge(Transfer):
    """The writer, asked what it would do."""

    def left(self, kind: UnitKind, units: Sequence[list[Any]]) -> dict[str, str | None]:
        """Those of ``units`` that are left alone, with why where they are not well; the others are written."""
        again = self._judge(kind, list(units)).again
        return {} if again is None else {key: again["aside"].get(key) for key, _ in again["known"]}
