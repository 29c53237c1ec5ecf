"""The units that are audited, beside an index of the source's sessions, in temporary tables of an engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from sessionlift.runs.verifier._audit import Unit
from sessionlift.stores import quote_identifier

CHUNK = 1_000
EXAMPLES = 3
THERE = "u.state NOT IN ('quarantined', 'deleted', 'rolled_back') AND i.session_id IS NOT NULL"
LOST = "u.state NOT IN ('quarantined', 'deleted', 'rolled_back') AND i.session_id IS NULL"
"""Sessions that were moved, and that the source still has or no longer has."""
ASIDE = "u.state = 'quarantined'"
AWAY = "u.state IN ('deleted', 'rolled_back')"

_UNNAMED = "session_id NOT IN (SELECT session_id FROM v_units)"


class Cursor(Protocol):
    """What an engine answers."""

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...


class Engine(Protocol):
    """A connection whose temporary tables may be used."""

    def execute(self, query: str, parameters: Any = ..., /) -> Cursor: ...


class UnitTable(ABC):
    """``v_units`` (the units), beside the system's own ``v_index`` (n, session_id: its sessions in their order)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._make("v_units", "session_id", "run_id", "source_digest", "target_digest", "state")
        self._make("v_later", "unit", "session_id", "state", "run_id")
        self._make("v_target", "session_id")

    @abstractmethod
    def listed(self, ids: Sequence[str]) -> tuple[str, list[Any]]:
        """A subquery that gives ``ids``, and its parameters."""

    @abstractmethod
    def insert(self, table: str, rows: Sequence[tuple[str, ...]]) -> None:
        """Add rows of texts to a temporary table."""

    def _make(self, table: str, *columns: str) -> None:
        name = quote_identifier(table)
        self._engine.execute(f"DROP TABLE IF EXISTS {name}")
        self._engine.execute(f"CREATE TEMP TABLE {name} ({', '.join(f'{each} VARCHAR' for each in columns)})")

    def count(self, sql: str, params: Sequence[Any] = ()) -> int:
        row = self._engine.execute(sql, list(params)).fetchone()
        return 0 if row is None else int(row[0])

    # --- the units --------------------------------------------------------------------------------------------

    def load(self, units: Iterable[Unit]) -> Unit | None:
        """Fill ``v_units``; returns the catalog's unit."""
        catalog = None
        some: list[tuple[str, ...]] = []
        for unit in units:
            if unit.kind == "catalog":
                catalog = unit
                continue
            some.append((unit.session_id, unit.run_id, unit.source_digest, unit.target_digest, unit.state))
            if len(some) == 5_000:
                self.insert("v_units", some)
                some = []
        if some:
            self.insert("v_units", some)
        return catalog

    def keep(self, only: Sequence[str]) -> None:
        """Drop all units but these."""
        some, params = self.listed(only)
        self._engine.execute(f"DELETE FROM v_units WHERE session_id NOT IN ({some})", params)

    def leave_out(self, ids: Sequence[str]) -> None:
        """Drop these units."""
        some, params = self.listed(ids)
        self._engine.execute(f"DELETE FROM v_units WHERE session_id IN ({some})", params)

    def unknown(self, only: Sequence[str]) -> list[str]:
        """Those of ``only`` that neither the source nor the ledger has."""
        known: set[str] = set()
        some, params = self.listed(only)
        for table in ("v_index", "v_units"):
            rows = self._engine.execute(
                f"SELECT session_id FROM {table} WHERE session_id IN ({some})", params
            ).fetchall()
            known.update(row[0] for row in rows)
        return sorted(set(only) - known)

    def sessions(self) -> int:
        return self.count("SELECT count(*) FROM v_units")

    def in_source(self) -> int:
        return self.count("SELECT count(*) FROM v_index")

    def aside(self) -> int:
        return self.count(f"SELECT count(*) FROM v_units AS u WHERE {ASIDE}")

    def live(self, run_id: str) -> int:
        """Sessions that a run has moved, or put into quarantine, and that did not leave the target since."""
        return self.count(f"SELECT count(*) FROM v_units AS u WHERE run_id = ? AND NOT ({AWAY})", [run_id])

    def lost(self) -> int:
        """Sessions in the target, or in quarantine, that the source no longer has."""
        return self.count(
            f"SELECT count(*) FROM v_units AS u WHERE NOT ({AWAY}) "
            "AND session_id NOT IN (SELECT session_id FROM v_index)"
        )

    def not_in_source(self, ids: Sequence[str]) -> int:
        """How many of ``ids`` the source does not have."""
        some, params = self.listed(ids)
        return len(set(ids)) - self.count(f"SELECT count(*) FROM v_index WHERE session_id IN ({some})", params)

    def runs(self) -> list[str]:
        return [row[0] for row in self._engine.execute("SELECT DISTINCT run_id FROM v_units ORDER BY 1").fetchall()]

    def of_run(self, run_id: str) -> int:
        return self.count("SELECT count(*) FROM v_units WHERE run_id = ?", [run_id])

    def chunks(self, run_id: str, which: str) -> Iterator[list[str]]:
        """Session ids of a run in the order in which the source has them. ``which`` is one of the names above."""
        yield from self._listed(
            "SELECT row_number() OVER (ORDER BY i.n, u.session_id) AS place, u.session_id FROM v_units AS u "
            f"LEFT JOIN v_index AS i ON i.session_id = u.session_id WHERE u.run_id = ? AND {which}",
            [run_id],
        )

    def _listed(self, query: str, params: Sequence[Any]) -> Iterator[list[str]]:
        """The session ids that ``query`` gives, each with its place."""
        self._engine.execute("DROP TABLE IF EXISTS v_todo")
        self._engine.execute(f"CREATE TEMP TABLE v_todo AS {query}", params)
        at = 0
        while rows := self._engine.execute(
            "SELECT session_id FROM v_todo WHERE place > ? AND place <= ? ORDER BY place", [at, at + CHUNK]
        ).fetchall():
            yield [row[0] for row in rows]
            at += CHUNK

    def known(self, ids: Sequence[str]) -> dict[str, Unit]:
        """What the ledger, or the report, says of sessions."""
        some, params = self.listed(ids)
        rows = self._engine.execute(
            f"SELECT session_id, run_id, source_digest, target_digest, state FROM v_units WHERE session_id IN ({some})",
            params,
        ).fetchall()
        return {row[0]: Unit("session", *row) for row in rows}

    # --- what the ledger says besides a report ----------------------------------------------------------------

    def remember(self, rows: Sequence[tuple[str, ...]]) -> None:
        """Keep (kind, session id, state, run) of units that are not just as a report's run moved them."""
        self.insert("v_later", rows)

    def remembered(self, ids: Sequence[str]) -> dict[tuple[str, str], tuple[str, str]]:
        """(state, run) of those of ``ids`` that were remembered, by kind and session id."""
        some, params = self.listed(ids)
        rows = self._engine.execute(
            f"SELECT unit, session_id, state, run_id FROM v_later WHERE session_id IN ({some})", params
        ).fetchall()
        return {(unit, key): (state, run) for unit, key, state, run in rows}

    def remembered_by_run(self) -> list[tuple[str, int]]:
        """(run, sessions) of what was remembered."""
        return self._engine.execute("SELECT run_id, count(*) FROM v_later WHERE unit = 'session' GROUP BY 1").fetchall()

    # --- who else there is ------------------------------------------------------------------------------------

    def meet(self, ids: Iterable[Sequence[str]]) -> None:
        """Take the target's sessions (``ids``, block by block)."""
        for block in ids:
            self.insert("v_target", [(key,) for key in block])

    def unmoved(self, only: Sequence[str] | None) -> tuple[int, list[Any]]:
        """How many sessions of the source neither the ledger names nor the target has, and some of them."""
        rest = (
            "FROM v_index WHERE session_id NOT IN (SELECT session_id FROM v_units) "
            "AND session_id NOT IN (SELECT session_id FROM v_target)"
        )
        params: list[Any] = []
        if only is not None:
            some, params = self.listed(only)
            rest += f" AND session_id IN ({some})"
        return self._some(rest, params)

    def native(self) -> tuple[int, list[Any]]:
        """How many of the target's sessions neither the source has nor the ledger names, and some of them."""
        return self._some(f"FROM v_target WHERE {_UNNAMED} AND session_id NOT IN (SELECT session_id FROM v_index)", [])

    def unnamed(self) -> Iterator[list[str]]:
        """The sessions that both stores have and the ledger does not name."""
        yield from self._listed(
            "SELECT row_number() OVER (ORDER BY session_id) AS place, session_id FROM v_target "
            f"WHERE {_UNNAMED} AND session_id IN (SELECT session_id FROM v_index)",
            [],
        )

    def in_state(self, state: str) -> tuple[int, list[Any]]:
        """How many sessions are in a state, and some of them."""
        return self._some("FROM v_units WHERE state = ?", [state])

    def _some(self, rest: str, params: Sequence[Any]) -> tuple[int, list[Any]]:
        count = self.count(f"SELECT count(*) {rest}", params)
        if not count:
            return 0, []
        rows = self._engine.execute(f"SELECT session_id {rest} ORDER BY 1 LIMIT {EXAMPLES}", list(params)).fetchall()
        return count, [{"session_id": row[0]} for row in rows]
