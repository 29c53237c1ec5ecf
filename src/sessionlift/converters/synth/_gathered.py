"""The rows of one group of sessions, gathered in temporary tables that every statement after it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import duckdb

from sessionlift.converters._digest import UnitDigests
from sessionlift.converters._times import LocalTime
from sessionlift.converters.synth import _projection, _sql
from sessionlift.converters.synth._columns import V2_COLUMNS
from sessionlift.converters.synth._inventory import Group
from sessionlift.errors import ConversionError
from sessionlift.stores import literal, quote_identifier

TEMP = {"session_timesteps": "sl_ts", "events": "sl_ev", "messages": "sl_ms"}
"""By legacy table the temporary one that has the group's rows of it; those of session_traces are in ``sl_t``."""

NO_TIME = "1970-01-01T00:00:00.000000+00:00"
"""The time of a session of which no row has one: v3 demands one."""

MAPPED = "r.mapped"
"""The type that an event has in v3, NULL for none; it stands beside each in the temporary table."""

_COUNTERS = {"events": "num_events", "messages": "num_messages"}


class Gathered:
    """The gathered rows of the group that was filled in last; ``sl_b`` names its sessions.

    ``loose`` has by table the sessions with JSON that strict readers may refuse, ``nul`` those with NUL in their
    text; both are known when the digests are.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, times: LocalTime, event_types: Mapping[str, str]) -> None:
        self._db, self._times = connection, times
        # worked out once for each row, since half a dozen statements ask for them
        self._beside = {
            "events": f", {_sql.event_type('r.event_type', event_types)} AS mapped, {times.utc('r.event_time')} AS utc"
        }
        self.loose: dict[str, list[str]] = {}
        self.nul: set[str] = set()

    def fill(self, group: Group) -> None:
        """Copy the group's rows into temporary tables, sorted by session and id.

        Each row gets the place ``n`` of its session. What reads these tables later needs no sort and no join: the
        engine gives the rows of a plain scan in the order they were inserted, and the timesteps that the recorded
        counts give to events and messages lie beside them in the same order.
        """
        db = self._db
        first, last = group.ranges["session_traces"]
        db.execute(
            "CREATE OR REPLACE TEMP TABLE sl_t AS SELECT r.*, b.n, "
            f"{_sql.iso(self._times.utc('r.created_at'))} AS created "
            "FROM session_traces AS r JOIN sl_b AS b ON b.session_id = r.session_id "
            "WHERE r.rowid BETWEEN ? AND ? ORDER BY b.n",
            [first, last],
        )
        for table, temp in TEMP.items():
            low, high = group.ranges[table]
            within = f"r.id BETWEEN {int(low)} AND {int(high)}"
            columns = ", ".join(f"r.{quote_identifier(column)}" for column in V2_COLUMNS[table])
            db.execute(
                f"CREATE OR REPLACE TEMP TABLE {temp} AS SELECT {columns}, b.n{self._beside.get(table, '')} "
                f"FROM {table} AS r "
                f"JOIN sl_b AS b ON b.session_id = r.session_id WHERE {within} ORDER BY b.n, r.id"
            )
        for table, counter in _COUNTERS.items():
            db.execute(
                f"CREATE OR REPLACE TEMP TABLE sl_slot_{table} AS " + _projection.slots(f"{table}_rows", counter)
            )
        self.check_slots()

    def date(self) -> None:
        """Give the sessions without a time that v3 can hold the earliest of those of their rows', or 1970: all that is
        dated by its session then reads one and the same time.

        Earliest in UTC, which is not the order of local times where a clock is set back or leaves hours out; and a time
        that v3 cannot hold is none, or it would hide the others."""
        row = self._db.execute("SELECT count(*) FROM sl_t WHERE created IS NULL").fetchone()
        if row is None or not row[0]:
            return
        moments = " UNION ALL ".join(
            f"SELECT r.n, {self._times.utc('r.' + column)} AS moment FROM {TEMP[table]} AS r "
            f"WHERE r.n IN (SELECT n FROM sl_t WHERE created IS NULL)"
            for table, column in (
                ("session_timesteps", "timestamp"),
                ("events", "event_time"),
                ("messages", "timestamp"),
            )
        )
        self._db.execute(
            f"CREATE OR REPLACE TEMP TABLE sl_earliest AS SELECT n, {_sql.iso('min(moment)')} AS created "
            f"FROM ({moments}) WHERE {_sql.in_text('moment')} GROUP BY n"
        )
        self._db.execute(
            f"UPDATE sl_t SET created = coalesce((SELECT e.created FROM sl_earliest AS e WHERE e.n = sl_t.n), "
            f"{literal(NO_TIME)}) WHERE created IS NULL"
        )

    def check_slots(self) -> None:
        """Hold what the positional joins stand on: each row's timestep lies beside it."""
        for table in _COUNTERS:
            row = self._db.execute(
                f"SELECT count(*) FROM {TEMP[table]} AS r POSITIONAL JOIN sl_slot_{table} AS s "
                f"WHERE r.n IS DISTINCT FROM s.n"
            ).fetchone()
            if row is None or row[0]:
                raise ConversionError(
                    f"{table} and their timesteps do not lie side by side", hint="this is a defect of the tool"
                )

    def envelopes(self) -> int:
        """How many of the group's messages wear the early or the middle dress."""
        row = self._db.execute(f"SELECT count(*) FROM sl_ms AS r WHERE {_sql.is_envelope('r')}").fetchone()
        return int(row[0]) if row is not None else 0

    def is_finite(self) -> bool:
        """Whether no infinity is among the group's numbers: v3's come from these columns, and no other value of a
        target row can be one."""
        infinite = " OR ".join(f"isinf(r.{column})" for column in ("cost", "latency_ms", "reward"))
        return not self._db.execute(f"SELECT 1 FROM sl_ev AS r WHERE {infinite} LIMIT 1").fetchall()

    def digests(self, group: Group) -> dict[str, str]:
        """The SHA-256 of each session's source rows: by table its name, a line feed, and the text of each row.

        On the way, note which sessions hold JSON that strict readers may refuse, and NUL in their text.
        """
        ids = [row[0] for row in self._db.execute("SELECT session_id FROM sl_b ORDER BY n").fetchall()]
        digests = UnitDigests(ids)
        self.loose = {}
        self.nul = set()
        for table, temp in (("session_traces", "sl_t"), *TEMP.items()):
            digests.table(table)
            lines = f"SELECT r.session_id, r.rowid AS pos, {_sql.source_text(table, 'r')} AS line FROM {temp} AS r"
            marks = f"{_sql.looks_loose('line')}, (contains(line, '\\u0000') OR contains(line, chr(0)))"
            if group.is_large:
                found = self._in_parts(f"SELECT session_id, line, {marks} FROM ({lines}) ORDER BY pos")
            else:
                found = self._together(lines, marks)
            for session_id, line, loose, nul in found:
                digests.add(session_id, line.encode())
                if loose:
                    self.loose.setdefault(table, []).append(session_id)
                if nul:
                    self.nul.add(session_id)
        return digests.hexdigests()

    def _together(self, lines: str, marks: str) -> Iterator[tuple[str, str, bool, bool]]:
        """The lines of each session put together, in their order.

        Sorting inside the aggregate takes twice the time, and the rows come sorted already. Nothing promises that
        order, though, so the places are looked at, and a session that came otherwise is put together again.
        """
        grouped = (
            f"SELECT session_id, line, {marks}, places = range(places[1], places[1] + len(places)) FROM "
            f"(SELECT session_id, string_agg(line, '') AS line, list(pos) AS places FROM ({lines}) GROUP BY session_id)"
        )
        otherwise = []
        for session_id, line, loose, nul, in_order in self._in_parts(grouped):
            if in_order:
                yield session_id, line, loose, nul
            else:
                otherwise.append((session_id, loose, nul))
        for session_id, loose, nul in otherwise:
            row = self._db.execute(
                f"SELECT string_agg(line, '' ORDER BY pos) FROM ({lines}) WHERE session_id = ?", [session_id]
            ).fetchone()
            assert row is not None  # noqa: S101 - an aggregate always gives a row
            yield session_id, row[0], loose, nul

    def _in_parts(self, query: str) -> Iterator[tuple[Any, ...]]:
        result = self._db.execute(query)
        while part := result.fetchmany(64):
            yield from part
