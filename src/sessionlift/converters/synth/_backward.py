"""The way back ``synth.v3 -> synth.v2``: from the target's rows and the complement to the legacy rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from sessionlift.converters._backward import WAITING, BackUnit, BackwardBatch, LegacyRows, Remembered
from sessionlift.converters._batch import SESSION
from sessionlift.converters._digest import TargetDigests
from sessionlift.converters._mapping import TypeMapping
from sessionlift.converters._times import load_zone
from sessionlift.converters.synth._catalog_back import catalog_back
from sessionlift.converters.synth._catalog_beside import leave_what_is_the_old_programs
from sessionlift.converters.synth._columns import (
    V2_COLUMNS,
    V2_SESSION_TABLES,
    V3_COLUMNS,
    V3_KEYS,
    V3_LEFT_NULL,
    V3_SESSION_TABLES,
)
from sessionlift.converters.synth._ids import GIVEN_BY_HAND, SEQUENCES, counted_up_to
from sessionlift.converters.synth._legacy import has_foreign_keys
from sessionlift.converters.synth._rebuild import Rebuilder
from sessionlift.converters.synth._reshape_back import unshape
from sessionlift.converters.synth._scratch import Scratch
from sessionlift.converters.synth._target import hashed_rows
from sessionlift.converters.synth._weigh import Weighed, as_losses, by_key, same, same_but_ours, weigh, weigh_again
from sessionlift.stores import DuckdbStore, Store, quote_identifier

_FIRST_ID, _LAST_ID = -(2**31), 2**31 - 1
_CHILDREN = tuple(SEQUENCES)
_MAKES: dict[str, dict[str, tuple[str, ...]]] = {
    "session_traces": {
        "created_at": ("created_at",),
        "counters": ("num_timesteps", "num_events", "num_messages"),
    },
    "session_timesteps": {"timestamp": ("started_at",), "step_metadata": ("step_metadata",)},
    "events": {
        "timestep_id": ("timestep_id",),
        "event_type": ("event_type",),
        "event_time": ("event_time", "created_at"),
        "cost": ("cost_usd",),
        "latency_ms": ("latency_ms",),
        "reward": ("reward",),
        "system_state_before": ("system_state_before",),
        "system_state_after": ("system_state_after",),
        "metadata": ("metadata",),
        "event_metadata": ("event_metadata",),
    },
    "messages": {
        "timestep_id": ("timestep_id",),
        "message_type": ("message_type",),
        "content": ("content",),
        "timestamp": ("timestamp",),
        "event_time": ("event_time",),
    },
}
"""By column of v2 whose original is kept beside v3's row, the columns of v3 that a move makes of it."""


class SynthBackward:
    """Reads a v3 target and gives v2 rows; a context manager, since it may need a throwaway store.

    ``timezone`` is the zone in which the legacy store's program reads its naive times, for sessions that the ledger
    does not know; a moved session has its own. ``reserved`` has by table the ids of all rows in quarantine: they may
    come back any time, so no other row gets one.

    A session that lies in the target as it was moved is given back by the page's rules alone. One that the
    application has written to goes forward once more in the throwaway store: an original that the complement keeps
    counts only where it still leads to the value that v3 holds, and what v3 holds and v2 cannot is kept.
    """

    name = "synth.v3->synth.v2"
    version = 1
    source_generation = "synth.v3"
    target_generation = "synth.v2"

    def __init__(self, timezone: str = "UTC", *, reserved: Mapping[str, Set[int]] | None = None) -> None:
        load_zone(timezone)
        self._timezone = timezone
        self._reserved = dict(reserved or {})
        self._scratch = Scratch()

    def session_ids(self, store: Store) -> list[str]:
        """The sessions that lie in the target, in the order they were written there."""
        return [str(key) for (key,) in store.query("SELECT session_id FROM session_traces ORDER BY rowid")]

    def catalog(self, store: Store, memory: Remembered | None) -> BackwardBatch:
        """The catalog's legacy rows, and the rows in quarantine that belong to no session."""
        return catalog_back(store, memory, self._scratch)

    def beside(
        self, legacy: Store, batch: BackwardBatch, before: Mapping[str, Mapping[Any, str | None]]
    ) -> list[tuple[str, Any]]:
        """See ``converters.Backward``."""
        return leave_what_is_the_old_programs(legacy, batch, before, self._scratch)

    def backward(
        self,
        store: Store,
        ids: Sequence[str],
        memory: Mapping[str, Remembered],
        legacy: tuple[Store, LegacyRows] | None = None,
        there: Mapping[str, str] | None = None,
    ) -> BackwardBatch:
        """The legacy rows of sessions, in the order of ``ids``; an id that nobody knows gives nothing."""
        batch = BackwardBatch(columns={table: V2_COLUMNS[table] for table in V2_SESSION_TABLES})
        made: dict[str, _Made] = {}
        read = _Read(store, ids)
        for session_id in ids:
            digest, known = read.digests[session_id], memory.get(session_id)
            if known is not None and there is not None and known.lies_in_both(digest, there.get(session_id)):
                batch.lying.append(BackUnit(SESSION, session_id, "unchanged", known.source_digest, known.kept))
                continue
            one = self._one(session_id, read.tables(session_id), digest, known)
            if one is not None:
                made[session_id] = one
        written_to = [one for one in made.values() if one.unit.found in ("changed", "new") and one.now]
        if written_to:
            batch.counters = counted_up_to(store)
            self._renumber(store, written_to, legacy)
            self._weigh(written_to, foreign_keys=_has_keys(legacy))
        for one in made.values():
            batch.units.append(one.unit)
            for table, rows in one.rows.items():
                batch.rows.setdefault(table, []).extend(rows)
        batch.losses = as_losses(one.weighed for one in made.values())
        return batch

    # --- one session ------------------------------------------------------------------------------------------

    def _one(self, session_id: str, now: _Tables, digest: str, memory: Remembered | None) -> _Made | None:
        trace = now["session_traces"]
        if memory is None:
            if not trace:
                return None
            return _Made(BackUnit(SESSION, session_id, "new"), now, None)
        apart = _quarantined(memory)
        if not trace or memory.state == "quarantined":
            # rows without a session, and a session that took the id of one in quarantine, have no place in v2
            found = "quarantined" if memory.state == "quarantined" else "gone"
            unit = BackUnit(SESSION, session_id, found)  # type: ignore[arg-type]
            made = _Made(unit, {}, memory, rows=apart if found == "quarantined" else {})
            weighed = weigh({table: by_key(table, rows) for table, rows in now.items()}, {}, {})
            if found == "quarantined":
                # it could not be put back either: the session has not come to lie here since
                weigh_again(weighed, memory.kept, {})
            made.keep(weighed)
            unit.source_digest = memory.source_digest if found == "quarantined" else None
            unit.aside = memory.quarantine if found == "gone" else []
            return made
        if memory.lies_as_moved(digest):
            unit = BackUnit(SESSION, session_id, "unchanged", memory.source_digest)
            rebuilder = Rebuilder(load_zone(memory.complement.get("zone", "UTC")))
            rows = _rebuilt(rebuilder, now, memory.complement, memory.complement.get("metadata"), {})
            return _Made(unit, {}, memory, rows=_merged(rows, apart))
        return _Made(BackUnit(SESSION, session_id, "changed"), now, memory)

    # --- sessions that the application has written to ------------------------------------------------------------

    def _renumber(self, store: Store, made: Sequence[_Made], legacy: tuple[Store, LegacyRows] | None) -> None:
        """Give ids to rows that v2 cannot hold under theirs: another row has it, or it has more than 32 bits.

        From the first such row of a session on, all that the application added get new ones, so that they keep
        their order; rows that the legacy store has in this very session keep theirs.
        """
        for table in _CHILDREN:
            ids = [row["id"] for one in made for row in one.now[table]]
            fitting = [each for each in ids if _FIRST_ID <= each <= _LAST_ID]
            holders = legacy[1].holders(legacy[0], table, fitting) if legacy is not None and fitting else {}
            reserved = self._reserved.get(table, set())
            following: int | None = None
            for one in made:
                apart = {row[0] for row in _quarantined(one.memory).get(table, [])}
                moving = False
                for row in one.now[table]:
                    key, holder = row["id"], holders.get(row["id"])
                    if holder == one.unit.session_id and key not in apart:
                        continue
                    fits = _FIRST_ID <= key <= _LAST_ID
                    moving = moving or holder is not None or key in reserved or key in apart or not fits
                    if moving:
                        if following is None:
                            following = self._first_free(store, table, legacy)
                        one.renumbered[table, key] = following
                        following += 1

    def _first_free(self, store: Store, table: str, legacy: tuple[Store, LegacyRows] | None) -> int:
        """An id above all that v2, v3 and the quarantine have counted up to."""
        (found,) = store.query(
            f"SELECT coalesce(max(id), 0) FROM {quote_identifier(table)} WHERE id <= ?", (GIVEN_BY_HAND,)
        )[0]
        first = legacy[1].next_ids(legacy[0])[table] if legacy is not None else 1
        reserved = (each for each in self._reserved.get(table, set()) if each <= GIVEN_BY_HAND)
        return max(int(found) + 1, first, max(reserved, default=0) + 1)

    def _weigh(self, made: Sequence[_Made], *, foreign_keys: bool) -> None:
        """Make the rows of ``made``, each group by the zone and the mapping of its run, and weigh what they lead to."""
        groups: dict[tuple[str, str], list[_Made]] = {}
        for one in made:
            mapping = one.mapping
            key = (self._zone(one), repr((sorted(mapping.message_types.items()), sorted(mapping.event_types.items()))))
            groups.setdefault(key, []).append(one)
        for (zone, _), members in groups.items():
            rebuilder = Rebuilder(load_zone(zone), self._scratch.is_json)
            links = {one.unit.session_id: {} if foreign_keys else _own_links(one) for one in members}
            for one in members:
                one.make(rebuilder, links[one.unit.session_id])
            again, digests = self._forward(members, zone)
            dropped = []
            for one in members:
                drops = _no_longer_kept(one, again[one.unit.session_id], foreign_keys=foreign_keys)
                if drops:
                    for row, columns in links[one.unit.session_id].items():
                        drops.setdefault(row, set()).update(columns)
                    one.make(rebuilder, drops)
                    dropped.append(one)
            if dropped:
                more, other_digests = self._forward(dropped, zone)
                again.update(more)
                digests.update(other_digests)
            for one in members:
                now = {table: by_key(table, rows) for table, rows in one.now.items()}
                theirs = again[one.unit.session_id]
                _pair_outcomes(now, theirs)
                one.unit.source_digest = digests.get(one.unit.session_id)
                weighed = weigh(now, theirs, one.renumbered_with_rewards())
                if one.memory is not None:
                    weigh_again(weighed, one.memory.kept.get(WAITING, {}), one.renumbered_with_rewards())
                one.keep(weighed)

    def _forward(
        self, members: Sequence[_Made], zone: str
    ) -> tuple[dict[str, dict[str, dict[Any, dict[str, Any]]]], dict[str, str]]:
        rows: dict[str, list[tuple[Any, ...]]] = {}
        for one in members:
            for table, own in one.rows.items():
                rows.setdefault(table, []).extend(own)
        tables, digests = self._scratch.sessions(rows, zone, members[0].mapping)
        found: dict[str, dict[str, dict[Any, dict[str, Any]]]] = {one.unit.session_id: {} for one in members}
        for table, made in tables.items():
            for row in made:
                # the id of an outcome is the target's own
                key = None if table == "outcome_rewards" else row[V3_KEYS[table]]
                found[row["session_id"]].setdefault(table, {})[key] = row
        return found, digests

    def _zone(self, one: _Made) -> str:
        zone: str = one.complement.get("zone", self._timezone)
        return zone

    def close(self) -> None:
        """Take the throwaway store away."""
        self._scratch.__exit__(None, None, None)

    def __enter__(self) -> SynthBackward:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_Tables = dict[str, list[dict[str, Any]]]
_Drops = dict[tuple[str, Any], set[str]]


@dataclass
class _Made:
    """One session on its way: its v3 rows while they are still to be weighed, and its legacy rows."""

    unit: BackUnit
    now: _Tables
    memory: Remembered | None
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    renumbered: dict[tuple[str, int], int] = field(default_factory=dict)
    weighed: Weighed = field(default_factory=Weighed)

    @property
    def complement(self) -> Mapping[str, Any]:
        return {} if self.memory is None else self.memory.complement

    @property
    def mapping(self) -> TypeMapping:
        return TypeMapping() if self.memory is None else self.memory.mapping

    def make(self, rebuilder: Rebuilder, drops: _Drops) -> None:
        (trace,) = self.now["session_traces"]
        metadata = unshape(trace["metadata"], self.complement.get("metadata"))
        rows = _rebuilt(rebuilder, self.now, self.complement, metadata, drops)
        steps = {old: new for (table, old), new in self.renumbered.items() if table == "session_timesteps"}
        for table, own in rows.items():
            if table in _CHILDREN and self.renumbered:
                rows[table] = [self._with_new_ids(table, row, steps) for row in own]
        self.rows = _merged(rows, _quarantined(self.memory))

    def _with_new_ids(self, table: str, row: tuple[Any, ...], steps: Mapping[int, int]) -> tuple[Any, ...]:
        new = (self.renumbered.get((table, row[0]), row[0]), *row[1:])
        if table == "session_timesteps" or new[2] is None:
            return new
        return (*new[:2], steps.get(new[2], new[2]), *new[3:])

    def renumbered_with_rewards(self) -> dict[tuple[str, int], int]:
        """The new ids of rows, and of the rewards whose ids are those of their events."""
        events = {("event_rewards", old): new for (table, old), new in self.renumbered.items() if table == "events"}
        return {**self.renumbered, **events}

    def keep(self, weighed: Weighed) -> None:
        self.weighed = weighed
        if weighed.kept:
            self.unit.kept = weighed.kept


def _no_longer_kept(one: _Made, again: Mapping[str, Mapping[Any, Any]], *, foreign_keys: bool) -> _Drops:
    """By table and row the columns of v2 whose kept original leads elsewhere than to what v3 holds now."""
    drops: _Drops = {}
    for table, makes in _MAKES.items():
        theirs = again.get(table, {})
        for row in one.now[table]:
            key = row[V3_KEYS[table]]
            other = theirs.get(one.renumbered.get((table, key), key))
            if other is None:
                continue
            for column, made in makes.items():
                if all(same(row[name], other[name]) or same_but_ours(name, row[name], other[name]) for name in made):
                    continue
                if column == "timestep_id" and (foreign_keys or not _fits(one, row[column])):
                    # a v2 with foreign keys would refuse the session ever after; its own program writes no timestep
                    continue
                drops.setdefault((table, key), set()).add(column)
    return drops


def _own_links(one: _Made) -> _Drops:
    """The rows of a session that v3 has begun, whose timestep is to be said.

    v2's counts would lead to it too, but only for as long as its program adds nothing without counting it.
    """
    if one.unit.found != "new":
        return {}
    return {
        (table, row[V3_KEYS[table]]): {"timestep_id"}
        for table in ("events", "messages")
        for row in one.now[table]
        if _fits(one, row["timestep_id"])
    }


def _fits(one: _Made, timestep: Any) -> bool:
    """Whether v2 has room for the id of a timestep, as it is there."""
    if not isinstance(timestep, int):
        return False
    return -_LAST_ID <= one.renumbered.get(("session_timesteps", timestep), timestep) <= _LAST_ID


def _rebuilt(
    rebuilder: Rebuilder, now: _Tables, complement: Mapping[str, Any], metadata: str | None, drops: _Drops
) -> dict[str, list[tuple[Any, ...]]]:
    cells = complement.get("cells", {})
    none: set[str] = set()

    def dropped(table: str, key: Any) -> set[str]:
        return drops.get((table, key), none) if drops else none

    (trace,) = now["session_traces"]
    steps, events, messages = (cells.get(table, {}) for table in _CHILDREN)
    return {
        "session_traces": [
            rebuilder.trace(trace, complement, metadata, dropped("session_traces", trace["session_id"]))
        ],
        "session_timesteps": [
            rebuilder.timestep(row, steps, dropped("session_timesteps", row["id"])) for row in now["session_timesteps"]
        ],
        "events": [rebuilder.event(row, events, dropped("events", row["id"])) for row in now["events"]],
        "messages": [rebuilder.message(row, messages, dropped("messages", row["id"])) for row in now["messages"]],
    }


def _quarantined(memory: Remembered | None) -> dict[str, list[tuple[Any, ...]]]:
    """The rows in quarantine, as legacy rows by table."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for table, row in memory.quarantine if memory is not None else ():
        cells = [row.get(column) for column in V2_COLUMNS[table]]
        if table in _CHILDREN:
            cells[0] = int(str(cells[0]))
        found.setdefault(table, []).append(tuple(cells))
    return found


def _merged(
    rows: dict[str, list[tuple[Any, ...]]], apart: Mapping[str, list[tuple[Any, ...]]]
) -> dict[str, list[tuple[Any, ...]]]:
    """Both, by id."""
    for table, own in apart.items():
        rows[table] = sorted([*rows.get(table, []), *own], key=lambda row: row[0])
    return rows


def _has_keys(legacy: tuple[Store, LegacyRows] | None) -> bool:
    return legacy is not None and isinstance(legacy[0], DuckdbStore) and has_foreign_keys(legacy[0].connection)


def _pair_outcomes(now: dict[str, dict[Any, Any]], theirs: dict[str, dict[Any, Any]]) -> None:
    """Give the outcome that a move derives the key of the one that it is, else of the session's first, which is the
    one that readers take. Where it is not the first, its id is kept, which says its place."""
    if theirs.get("outcome_rewards"):
        (outcome,) = theirs["outcome_rewards"].values()
        own = now.get("outcome_rewards", {})
        first = min(own, default=None)
        columns = V3_COLUMNS["outcome_rewards"]
        it = next((key for key, row in own.items() if all(same(row[name], outcome[name]) for name in columns)), first)
        theirs["outcome_rewards"] = {it: {**outcome, "id": it if it == first else None}}


# --- reading v3 -----------------------------------------------------------------------------------------------

_ALSO_READ = {**V3_LEFT_NULL, "outcome_rewards": (*V3_LEFT_NULL.get("outcome_rewards", ()), "id")}
"""By table the columns that no digest covers."""

_READ = {table: (*V3_COLUMNS[table], *_ALSO_READ.get(table, ())) for table in V3_SESSION_TABLES}


class _Read:
    """The v3 rows of sessions with all their columns, in the order of their keys.

    ``digests`` are the target digests of the sessions (docs/digests.md). That of one in which a column is filled
    that a move leaves NULL is the empty text: no digest that the ledger knows.
    """

    def __init__(self, store: Store, ids: Sequence[str]) -> None:
        self._rows: dict[str, dict[str, list[tuple[Any, ...]]]] = {key: {} for key in ids}
        digests, touched = TargetDigests(ids), set[str]()
        for table, key, rows in hashed_rows(store, ids, digests, _ALSO_READ):
            self._rows[key].setdefault(table, []).extend(rows)
            if table in V3_LEFT_NULL:
                width = len(V3_COLUMNS[table])
                filled = slice(width, width + len(V3_LEFT_NULL[table]))
                if any(value is not None for row in rows for value in row[filled]):
                    touched.add(key)
        self.digests = {**digests.hexdigests(), **dict.fromkeys(touched, "")}

    def tables(self, session_id: str) -> _Tables:
        """By table the rows of a session, as dictionaries."""
        rows = self._rows[session_id]
        return {
            table: [dict(zip(columns, row, strict=True)) for row in rows.get(table, ())]
            for table, columns in _READ.items()
        }
