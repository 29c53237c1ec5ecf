"""The way back ``langswarm.v2 -> langswarm.v1`` over a store: whole sessions, as V1's rows in the SQLite dress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from sessionlift.converters._backward import KEPT, BackUnit, BackwardBatch, LegacyRows, Refused, Remembered
from sessionlift.converters._batch import CATALOG, SESSION, Loss
from sessionlift.converters.langswarm._backward import backward
from sessionlift.converters.langswarm._columns import V1_COLUMNS, V2_COLUMNS
from sessionlift.converters.langswarm._convert import keep_for_forward
from sessionlift.converters.langswarm._message import Told
from sessionlift.converters.langswarm._row import (
    ODD_VALUES,
    LegacyRow,
    cell_from_json,
    digest_of,
    json_cell,
    source_digest,
)
from sessionlift.converters.langswarm._session import SessionRows
from sessionlift.converters.langswarm._target import LangswarmRows, read_session
from sessionlift.converters.langswarm._zone import zone_named
from sessionlift.errors import ConversionError
from sessionlift.stores import Store

TABLE = "sessions"


class LangswarmBackward:
    """Reads a V2 target and gives V1 rows; see ``converters.Backward``. A context manager, as every way back is.

    ``timezone`` is the zone of V1's naive times, for sessions that the ledger does not know. V1 has one row for a
    session and no ids to run out of, so that a legacy store need not be asked.
    """

    name = "langswarm.v2->langswarm.v1"
    version = 1

    def __init__(self, timezone: str = "UTC") -> None:
        zone_named(timezone)
        self._timezone = timezone

    def session_ids(self, store: Store) -> list[str]:
        """The sessions that lie in the target, in the order they were written there."""
        return [str(key) for (key,) in store.query("SELECT session_id FROM sessions ORDER BY rowid")]

    def catalog(self, store: Store, memory: Remembered | None) -> BackwardBatch:  # noqa: ARG002 - V2 holds none of it
        """V1's rows that no session can be made of, from quarantine; those of another dress stay there."""
        found = [] if memory is None else [row for _, row in memory.quarantine if _is_v1_row(row)]
        rows = [_cells(row) for row in found]
        batch = BackwardBatch(columns={TABLE: V1_COLUMNS}, rows={TABLE: rows} if rows else {})
        if memory is not None:
            batch.units = [BackUnit(CATALOG, "", "unchanged", digest_of(TABLE, rows))]
        return batch

    def beside(
        self,
        legacy: Store,  # noqa: ARG002 - V1 has no catalog
        batch: BackwardBatch,  # noqa: ARG002
        before: Mapping[str, Mapping[Any, str | None]],  # noqa: ARG002
    ) -> list[tuple[str, Any]]:
        """See ``converters.Backward``: neither store has rows of a catalog that could have been changed."""
        return []

    def backward(
        self,
        store: Store,
        ids: Sequence[str],
        memory: Mapping[str, Remembered],
        legacy: tuple[Store, LegacyRows] | None = None,  # noqa: ARG002
        there: Mapping[str, str] | None = None,
    ) -> BackwardBatch:
        """V1's rows of sessions, in the order of ``ids``; an id that nobody knows gives nothing."""
        rows = LangswarmRows()
        digests, touched = rows.digests(store, SESSION, ids), rows.touched(store, ids)
        batch, told = BackwardBatch(columns={TABLE: V1_COLUMNS}), _Losses()
        for key in ids:
            known = memory.get(key)
            # one that was salvaged comes back as it was, from quarantine
            whole = known is not None and known.state == "moved" and key not in touched and not known.kept
            if known is not None and whole and there is not None and known.lies_in_both(digests[key], there.get(key)):
                batch.lying.append(BackUnit(SESSION, key, "unchanged", known.source_digest))
                continue
            now = read_session(store, key)
            try:
                made = self._one(store, key, now, known, digests[key], key in touched)
            except ConversionError as error:
                batch.refused.append(Refused(key, str(error.fields["reason_code"]), error.what))
                continue
            except RecursionError:
                why = "its values are nested more deeply than Python reads"
                batch.refused.append(Refused(key, "nested_too_deeply", why))
                continue
            except ODD_VALUES as error:
                # whatever the application has made of one session must not keep the others from going
                why = f"session {key!r} cannot be taken back: {type(error).__name__}: {error}"
                batch.refused.append(Refused(key, "target_unreadable", why))
                continue
            if made is None:
                continue
            batch.units.append(made.unit)
            if made.row is not None:
                batch.rows.setdefault(TABLE, []).append(made.row)
            told.add(key, made.losses)
        batch.losses = told.counted()
        return batch

    def _one(
        self, store: Store, key: str, now: SessionRows | None, known: Remembered | None, digest: str, touched: bool
    ) -> _Made | None:
        if known is not None and known.state == "quarantined":
            return self._aside(store, key, known)
        if now is None:
            if known is None:
                return None
            return _Made(BackUnit(SESSION, key, "gone", kept=_orphans(store, key), aside=known.quarantine))
        complement = {} if known is None else known.complement
        as_moved = known is not None and digest == known.target_digest and not touched
        aside = known.quarantine if known is not None else []
        salvaged = [row for table, row in aside if table == "history"]
        if as_moved and salvaged and _is_v1_row(salvaged[0]):
            # what V1 could not read comes back as it was, and not as it was salvaged
            made = _of_cells(key, "unchanged", _cells(salvaged[0]))
            made.unit.kept = dict(complement.get(KEPT, {}))
            return made
        back = backward(now, complement if known is not None else None, self._timezone)
        kept: dict[str, Any] | None = None
        if not as_moved or KEPT in complement:
            kept = keep_for_forward(now, complement if known is not None else None, self._timezone)
        found = "new" if known is None else "unchanged" if as_moved else "changed"
        made = _of_cells(key, found, tuple(_held(column, back.cells[column]) for column in V1_COLUMNS))
        made.losses = [] if as_moved and kept is None else list(back.losses)
        if kept is not None:
            made.unit.kept = kept
        made.unit.aside = aside
        return made

    def _aside(self, store: Store, key: str, known: Remembered) -> _Made:
        """A session that lies in quarantine whole; one that took its id since has no place in V1."""
        row = next((row for _, row in known.quarantine if _is_v1_row(row)), None)
        made = _of_cells(key, "quarantined", _cells(row)) if row is not None else _Made(
            BackUnit(SESSION, key, "quarantined")
        )  # fmt: skip
        made.unit.kept = _orphans(store, key)
        if made.unit.kept:
            made.losses.append(Told("no_place_in_v1", "sessions", "session_id"))
        return made

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> LangswarmBackward:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass
class _Made:
    unit: BackUnit
    row: tuple[Any, ...] | None = None
    losses: list[Told] = field(default_factory=list)


class _Losses:
    def __init__(self) -> None:
        self._found: dict[Told, list[Any]] = {}

    def add(self, key: str, told: Sequence[Told]) -> None:
        for each in told:
            self._found.setdefault(each, [0, {"session_id": key}])[0] += 1

    def counted(self) -> list[Loss]:
        return [Loss(*each, count, example) for each, (count, example) in sorted(self._found.items())]


def _of_cells(key: str, found: Any, cells: tuple[Any, ...]) -> _Made:
    digest = source_digest(LegacyRow(key, dict(zip(V1_COLUMNS, cells, strict=True))))
    return _Made(BackUnit(SESSION, key, found, digest), cells)


def _held(column: str, cell: Any) -> Any:
    """The cell as V1's table can hold it: only one column may be NULL there. A dump may say null for others, which
    stays in the JSON."""
    return "" if cell is None and column != "last_activity" else cell


def _is_v1_row(row: Mapping[str, Any]) -> bool:
    """Whether a row in quarantine is one of V1's table, and not of a dump or an enhanced store."""
    return set(V1_COLUMNS) <= row.keys()


def _cells(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(cell_from_json(row[column]) for column in V1_COLUMNS)


def _orphans(store: Store, key: str) -> dict[str, Any]:
    """The rows that are left of a session which V2 has deleted: it leaves its messages and its metrics."""
    found: dict[str, Any] = {}
    for table, columns in V2_COLUMNS.items():
        rows = store.read_table(table, columns, where="session_id = ?", params=(key,), order_by=("rowid",))
        left = [[json_cell(cell) for cell in row] for row in rows]
        if left:
            found[table] = left
    return {"left": found} if found else {}
