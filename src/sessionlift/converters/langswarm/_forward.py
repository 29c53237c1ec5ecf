"""The converter ``langswarm.v1 -> langswarm.v2``: one session or a batch of them, by the same function."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sessionlift.converters._batch import CATALOG, SESSION, Batch, Fact, Loss, Quarantined, Sink, Unit
from sessionlift.converters._digest import TargetDigests
from sessionlift.converters._examples import Examples
from sessionlift.converters._forward import Forecast, Inventory, RowKeys
from sessionlift.converters.langswarm._columns import DERIVED_TABLES, SESSION_TABLES, V2_COLUMNS
from sessionlift.converters.langswarm._convert import LangswarmOptions, forward
from sessionlift.converters.langswarm._kept import Kept
from sessionlift.converters.langswarm._message import Told
from sessionlift.converters.langswarm._reader import LiveSource
from sessionlift.converters.langswarm._reading import read
from sessionlift.converters.langswarm._row import (
    CELLS,
    LegacyRow,
    Unreadable,
    digest_of,
    json_cell,
    raw_row,
    source_digest,
)
from sessionlift.converters.langswarm._session import Aside, Moved
from sessionlift.converters.langswarm._source import LegacySource, Stray
from sessionlift.converters.langswarm._zone import utc_text, zone_named

MAX_ROWS = 20_000
MAX_BYTES = 8_000_000
CHUNK_ROWS = 1_000
"""Rows handed to the sink at a time."""

_REASONS = {
    "session_id_unusable": "its key is no text that the new store can hold",
    "session_repeated": "the dump names this session again further on, and the last one counts",
}


_Place = tuple[str, int]
"""Of a session, in an order: its id if it was asked for by that, and its place in the source."""


@dataclass(frozen=True)
class Group:
    """The sessions of one batch: by their places in the source, or by their ids, where that is written to meanwhile."""

    places: tuple[int, ...]
    rows: int
    bytes: int
    ids: tuple[str, ...] = ()


class LangswarmForward:
    """Reads a V1 store in any dress and gives V2 rows. Changes nothing in the source; see ``converters.Forward``.

    ``kept``: by session id what ``keep_for_forward`` gave when a session was taken back.
    """

    name = "langswarm.v1->langswarm.v2"
    version = 1
    source_generation = "langswarm.v1"
    target_generation = "langswarm.v2"
    derived_tables: tuple[str, ...] = DERIVED_TABLES

    def __init__(
        self, source: LegacySource | LiveSource, options: LangswarmOptions, kept: Mapping[str, Kept] | None = None
    ) -> None:
        zone_named(options.timezone)
        self._source, self._options, self._kept = source, options, {} if kept is None else kept
        self._started = datetime.now(timezone.utc).replace(tzinfo=None)
        self._known: dict[str, bytes] = {}
        self._places, self._rows, self._bytes = array("q"), array("q"), array("q")
        self._examples: Examples[_Place] = Examples(1)

    # --- what there is ----------------------------------------------------------------------------------------

    def inventory(self) -> Inventory:
        """Number the chosen sessions and count what belongs to them, by reading each."""
        self._places, self._rows, self._bytes = array("q"), array("q"), array("q")
        counts: dict[str, int] = {"sessions": 0, "session_messages": 0}
        for place, row in self._chosen():
            read_counts = self._counts(row)
            for table, count in read_counts.items():
                counts[table] = counts.get(table, 0) + count
            self._places.append(place)
            self._rows.append(sum(read_counts.values()))
            self._bytes.append(_size(row))
        return Inventory(counts["sessions"], counts, {}, sum(self._bytes))

    def _chosen(self) -> Iterator[tuple[int, LegacyRow]]:
        if self._options.only is None:
            yield from self._source.walk()
            return
        places = {place for each in self._options.only if (place := self._source.place_of(each)) is not None}
        for place in sorted(places):
            row = self._source.at(place)
            if row is not None:
                yield place, row

    def _counts(self, row: LegacyRow) -> dict[str, int]:
        """How many rows of each source table a session has; see docs/langswarm.md, Quarantine and Salvage."""
        try:
            return {"sessions": 1, "session_messages": len(read(row).messages)}
        except Unreadable:
            if not self._options.salvage:
                return {"sessions": 1}
        made = forward(row, self._options)
        return _read_counts(made) if isinstance(made, Moved) else {"sessions": 1}

    def session_ids(self) -> Iterator[str]:
        """The ids of the chosen sessions, in the order they move."""
        for place in self._places:
            row = self._source.at(place)
            if row is not None:
                yield row.key

    def leave_out(self, ids: Iterable[str]) -> Inventory:
        """Take sessions out of the inventory; returns what is left."""
        gone = {self._source.place_of(each) for each in ids}
        left = [n for n, place in enumerate(self._places) if place not in gone]
        self._places = array("q", (self._places[n] for n in left))
        self._rows = array("q", (self._rows[n] for n in left))
        self._bytes = array("q", (self._bytes[n] for n in left))
        counts: dict[str, int] = {"sessions": 0, "session_messages": 0}
        for place in self._places:
            row = self._source.at(place)
            for table, count in ({} if row is None else self._counts(row)).items():
                counts[table] = counts.get(table, 0) + count
        return Inventory(counts["sessions"], counts, {}, sum(self._bytes))

    def missing(self, ids: Iterable[str]) -> list[str]:
        """Those of ``ids`` that the store does not hold."""
        return [each for each in dict.fromkeys(ids) if self._source.place_of(each) is None]

    def know(self, known: Iterable[tuple[str, str]]) -> None:
        """Tell which sessions were moved before, with the digest of their source rows: equal ones are left alone."""
        self._known.update((key, bytes.fromhex(digest)) for key, digest in known)

    def known_now(self, group: Group) -> dict[str, str | None]:
        """The known sessions of ``group``: the digest of their source rows as they are, None where it is the known one.

        Without a look at what they would become, so that it costs little.
        """
        found = {row.key: source_digest(row) for row in self._rows_of(group) if row.key in self._known}
        return {key: None if digest == self._known[key].hex() else digest for key, digest in found.items()}

    def unreadable(self, ids: Sequence[str]) -> set[str]:
        """Those of ``ids`` that would be put aside whole, since their rows cannot be converted."""
        rows = [row for each in ids if (row := self._source.get(each)) is not None]
        return {row.key for row in rows if isinstance(self._made(row), Aside)}

    def next_ids(self) -> dict[str, int]:
        """No row of V1's keeps an id that V1 has drawn."""
        return {}

    def foreign(self) -> tuple[int, int, str | None]:
        """How many sessions are known, how many of them the store does not hold, and one of those."""
        gone = [each for each in self._known if self._source.place_of(each) is None]
        return len(self._known), len(gone), min(gone, default=None)

    def groups(self, *, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES) -> Iterator[Group]:
        """The chosen sessions in batches of at most about so many rows and bytes; ``inventory`` comes first."""
        places: list[int] = []
        rows = size = 0
        for place, its_rows, its_size in zip(self._places, self._rows, self._bytes, strict=True):
            if places and (rows + its_rows > max_rows or size + its_size > max_bytes):
                yield Group(tuple(places), rows, size)
                places, rows, size = [], 0, 0
            places.append(place)
            rows += its_rows
            size += its_size
        if places:
            yield Group(tuple(places), rows, size)

    def singles(self, group: Group) -> Iterator[Group]:
        """The sessions of ``group``, one by one."""
        for place in group.places:
            row = self._source.at(place)
            if row is not None:
                yield Group((place,), sum(self._counts(row).values()), _size(row))
        yield from self.pick(group.ids)

    def pick(self, ids: Sequence[str]) -> Iterator[Group]:
        """Groups of these sessions only, whatever was chosen before; ids that the store lacks are left out."""
        for each in dict.fromkeys(ids):
            row = self._source.get(each)
            if row is not None:
                yield Group((), sum(self._counts(row).values()), _size(row), (each,))

    def _rows_of(self, group: Group) -> Iterator[LegacyRow]:
        for place in group.places:
            row = self._source.at(place)
            if row is not None:
                yield row
        for each in group.ids:
            row = self._source.get(each)
            if row is not None:
                yield row

    # --- what moves -------------------------------------------------------------------------------------------

    def catalog(
        self,
        sink: Sink,  # noqa: ARG002 - nothing of it moves
        known: str | None = None,
        leave: RowKeys | None = None,  # noqa: ARG002
    ) -> Batch:
        """The rows of no session as one unit; an empty batch where there are none, or the digest is ``known``."""
        table, columns = CELLS[self._source.dress]
        strays = _Strays(columns)
        digest = digest_of(table, strays.cells(self._source.strays()))
        if not strays.excluded and not strays.quarantine:
            return Batch()
        if digest == known:
            return Batch(unchanged=[""])
        unit = Unit(CATALOG, "", digest, dict(TargetDigests([""]).hexdigests())[""])
        batch = Batch([unit], quarantine=strays.quarantine)
        if strays.quarantine:
            unit.read_counts["sessions"] = len(strays.quarantine)
            unit.state = "partial"
        if strays.excluded:
            unit.read_counts["memory"] = batch.excluded["memory"] = strays.excluded
            batch.losses.append(Loss("search_index", "memory", "key", strays.excluded, strays.example))
        return batch

    def convert(self, group: Group, sink: Sink, rejected: Mapping[str, tuple[str, str]] | None = None) -> Batch:
        """The sessions of ``group``: their rows go to ``sink``, everything else comes back.

        Sessions whose digest is known are named as unchanged and give no rows. Those in ``rejected`` (by id a
        code and a reason), which the target cannot take, go to quarantine whole.
        """
        batch, out, losses = Batch(), _Out(sink), _Losses(self._examples, group)
        for row in self._rows_of(group):
            self._one(row, batch, out, losses, rejected or {})
        out.flush()
        batch.losses = losses.counted()
        return batch

    def _one(
        self, row: LegacyRow, batch: Batch, out: _Out, losses: _Losses, rejected: Mapping[str, tuple[str, str]]
    ) -> None:
        digest = source_digest(row)
        known = self._known.get(row.key)
        if known is not None and known.hex() == digest:
            batch.unchanged.append(row.key)
            return
        unit = Unit(SESSION, row.key, digest, size=_size(row))
        batch.units.append(unit)
        made = Aside(*rejected[row.key]) if row.key in rejected else self._made(row)
        if isinstance(made, Aside):
            unit.state = "quarantined"
            unit.read_counts = {"sessions": 1}
            unit.target_digest = dict(_digests({row.key: None}))[row.key]
            batch.quarantine.append(
                Quarantined(SESSION, row.key, "sessions", row.key, made.code, made.reason, raw_row(row))
            )
            return
        out.take(made)
        unit.target_digest = dict(_digests({row.key: made}))[row.key]
        unit.read_counts = _read_counts(made)
        unit.written_counts = {"sessions": 1, "session_messages": len(made.rows.messages), "session_metrics": 1}
        unit.complement = made.complement
        unit.state = "partial" if made.quarantine else "moved"
        if made.given is not None:
            batch.given[row.key] = made.given
        batch.quarantine.extend(made.quarantine)
        batch.facts.extend(
            Fact(row.key, code, table, count, detail) for code, table, count, detail in self._facts(made)
        )
        losses.add(row.key, made.losses)

    def _made(self, row: LegacyRow) -> Moved | Aside:
        return forward(row, self._options, self._kept.get(row.key))

    def _facts(self, made: Moved) -> list[tuple[str, str, int, Any]]:
        if made.last is None or made.last <= self._started:
            return made.facts
        now = utc_text(self._started)
        later = sum(1 for message in made.rows.messages if message.timestamp > now)
        return [*made.facts, ("times_in_future", "session_messages", later, utc_text(made.last))]

    def forecast(self, inventory: Inventory) -> Forecast:  # noqa: ARG002 - the places are kept
        """What a move of the sessions in ``inventory`` would lose, put aside and derive: each is converted."""
        forecast, losses = Forecast(), _Losses(Examples(1), Group((), 0, 0))
        for place in self._places:
            row = self._source.at(place)
            made = None if row is None else self._made(row)
            if row is not None and (isinstance(made, Aside) or (made is not None and made.quarantine)):
                forecast.ailing.append(row.key)
            if isinstance(made, Aside) and row is not None:
                forecast.sessions_quarantined += 1
                _add(forecast.quarantined, "sessions")
                # a session that V1 reads and V2 cannot hold was counted with its messages
                messages = self._counts(row).get("session_messages", 0)
                forecast.unread["session_messages"] = forecast.unread.get("session_messages", 0) + messages
            elif isinstance(made, Moved) and row is not None:
                losses.add(row.key, made.losses)
                _add(forecast.derived, "session_metrics")
                for each in made.quarantine:
                    _add(forecast.quarantined, each.table)
        forecast.losses = losses.counted()
        return forecast


class _Out:
    """Gathers rows of many small sessions, so that the sink is not called for each."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in SESSION_TABLES}

    def take(self, made: Moved) -> None:
        rows = made.rows
        self._rows["sessions"].append(rows.session)
        self._rows["session_messages"].extend(rows.messages)
        if rows.metrics is not None:
            self._rows["session_metrics"].append(rows.metrics)
        if sum(map(len, self._rows.values())) >= CHUNK_ROWS:
            self.flush()

    def flush(self) -> None:
        for table, rows in self._rows.items():
            if rows:
                self._sink.rows(table, V2_COLUMNS[table], rows)
                self._rows[table] = []


class _Losses:
    """Counts the losses of ``group`` by code, table and column, each with an example where ``shown`` wants one."""

    def __init__(self, shown: Examples[_Place], group: Group) -> None:
        self._shown = shown
        places = [*(("", place) for place in group.places), *((each, 0) for each in group.ids)]
        self._between = min(places, default=("", 0)), max(places, default=("", 0))
        self._counts: dict[Told, int] = {}
        self._examples: dict[Told, dict[str, Any]] = {}

    def add(self, session_id: str, told: Iterable[Told]) -> None:
        for each in told:
            if each not in self._counts and self._shown.wanted(each, *self._between):
                self._examples[each] = {"session_id": session_id}
            self._counts[each] = self._counts.get(each, 0) + 1

    def counted(self) -> list[Loss]:
        return [Loss(*each, count, self._examples.get(each)) for each, count in self._counts.items()]


class _Strays:
    """Goes over the rows of no session once: counts those that are left out, puts the others aside."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        self._columns = columns
        self.excluded = 0
        self.example: dict[str, Any] | None = None
        self.quarantine: list[Quarantined] = []

    def cells(self, strays: Iterable[Stray]) -> Iterator[tuple[Any, ...]]:
        for stray in strays:
            if stray.code is None:
                self.excluded += 1
                self.example = self.example or {"key": json_cell(stray.cells[0])}
            else:
                row = {column: json_cell(cell) for column, cell in zip(self._columns, stray.cells, strict=True)}
                reason = _REASONS[stray.code]
                self.quarantine.append(Quarantined(CATALOG, "", "sessions", str(stray.place), stray.code, reason, row))
            yield stray.cells


def _digests(units: Mapping[str, Moved | None]) -> Iterator[tuple[str, str]]:
    digests = TargetDigests(units)
    for table in SESSION_TABLES:
        digests.table(table)
        for made in units.values():
            if made is not None:
                digests.rows(_rows_of(made, table), 0)
    yield from digests.hexdigests().items()


def _rows_of(made: Moved, table: str) -> Sequence[tuple[Any, ...]]:
    if table == "session_messages":
        return [tuple(row) for row in made.rows.messages]
    row = made.rows.session if table == "sessions" else made.rows.metrics
    return [] if row is None else [row]


def _read_counts(made: Moved) -> dict[str, int]:
    counts = {"sessions": 1, "session_messages": len(made.rows.messages)}
    for each in made.quarantine:
        _add(counts, each.table)
    return counts


def _add(counts: dict[str, int], table: str) -> None:
    counts[table] = counts.get(table, 0) + 1


def _size(row: LegacyRow) -> int:
    return sum(len(cell) for cell in row.cells.values() if isinstance(cell, (str, bytes)))
