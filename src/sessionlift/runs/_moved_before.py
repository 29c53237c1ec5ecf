"""What a run would make of sessions that were moved before, found out without writing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from sessionlift.converters import CATALOG, SESSION, Forward, RowKeys
from sessionlift.runs._batches import complete
from sessionlift.runs._catalog_merge import left_out
from sessionlift.runs._known import Known
from sessionlift.runs._options import TransferOptions
from sessionlift.runs._pairs import read_pairs
from sessionlift.runs._protocol import Message
from sessionlift.runs._roads import Road, Source
from sessionlift.runs._transfer import Transfer
from sessionlift.stores import Store, StoreURL

_BYTES = 6_000_000
"""Of so many of the source's bytes the digests are made together."""
_UNITS = 500
"""So many sessions are looked up in the target together."""


class MovedBefore:
    """Compares a source with what ``known`` says of an opened target. Reads only.

    Every session of the source that the ledger names gets its digest made again; the target's rows are looked at only
    of those that have another one now. Who is left alone, and why, is the writer's own judgement.
    """

    def __init__(self, source: StoreURL, target: Store, road: Road, known: Known, options: TransferOptions) -> None:
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
            source=source.redacted,
        )

    def digests(self) -> Iterator[tuple[str, str]]:
        """What the converter has to know: each session and the digest by which a run leaves it alone."""
        for key, digest in read_pairs(self._known.digests):
            self._once_more.discard(key)
            yield key, digest

    def once_more(self) -> Iterator[tuple[str, str]]:
        """And those in quarantine that a run tries again, whatever their digest; ``digests`` comes first."""
        return ((key, "") for key in self._once_more)

    def catalog(self, source: Source, converter: Forward) -> Message:
        """The catalog's batch as it describes itself when it is written, or left alone."""
        known, why = self._known.catalog, self._unwell.get((CATALOG, ""))
        leave: dict[str, set[Any]] = {}
        while True:
            message = source.with_room(partial(offered_catalog, converter, known, leave))
            again = self._judge.answer(message)
            if again is None:
                message["aside"] = [["", why]] if message["unchanged"] and why is not None else []
                return message
            known = next((digest for _, digest in again["known"]), known)
            leave = left_out(again.get("leave", {}))
            why = again["aside"].get("", why)

    def left_alone(self, source: Source, converter: Forward) -> dict[str, str | None]:
        """The sessions that a run leaves alone, each with why where it is not well."""
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
            again = self._judge.answer({"kind": SESSION, "units": units[at : at + _UNITS]})
            if again is not None:
                why = {key: self._unwell.get((SESSION, key)) for key, _ in again["known"]}
                alone.update({**why, **again["aside"]})
        return alone


class _Judge(Transfer):
    """The writer, asked what it would do."""

    def answer(self, message: Message) -> Message | None:
        """What ``commit`` would answer where it wants the batch made again; else None, and it has told of conflicts."""
        if message["units"]:
            found = self._judge(message)
            if found.again is not None:
                return found.again
            told = found.merge
            if told is not None:
                self._tell_left(message, told)
        else:
            told = self._told
        if told is not None and message["kind"] == CATALOG:
            self._tell(message, told)
        return None


class Counted:
    """A stage that keeps nothing of the rows but how many there were."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._columns: dict[str, list[str]] = {}

    def rows(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Count rows of ``table``."""
        self._columns.setdefault(table, list(columns))
        self.counts[table] = self.counts.get(table, 0) + len(rows)

    def columns(self) -> dict[str, list[str]]:
        """The tables that got rows, in the order they came, and their columns."""
        return dict(self._columns)


def offered_catalog(converter: Forward, known: str | None = None, leave: RowKeys | None = None) -> Message:
    """The batch that a run would make of the catalog: empty where it has the digest ``known``."""
    stage = Counted()
    batch = converter.catalog(stage, known, leave)
    return complete(stage, batch, CATALOG, run_id="", converter=converter, leave=leave)
