"""What v3 must hold for the source's values under the options of a run; the source's engine is asked where Python reads
a value otherwise than it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import duckdb

from sessionlift.runs.verifier import _rules
from sessionlift.runs.verifier._links import turn_of
from sessionlift.runs.verifier._tables import micros

_MOMENTS = 2_000
"""How many times of a session without one are read at once."""


class Expected:
    """The values that follow from those of an opened source. ``aside`` is a cursor of its own for questions."""

    def __init__(
        self,
        aside: duckdb.DuckDBPyConnection,
        *,
        zone: str,
        message_types: Mapping[str, str],
        event_types: Mapping[str, str],
    ) -> None:
        self._aside = aside
        self.clock = _rules.Clock(zone)
        self.is_local = zone != "UTC"
        self.message_types = _Memo(lambda kind: _rules.message_type_of(kind, message_types))
        self.event_types = _Memo(lambda kind: _rules.event_type_of(kind, event_types))
        self.is_json = lru_cache(maxsize=4_000)(self._ask_engine)

    def utc(self, local: Sequence[int | None]) -> Sequence[int | None]:
        """Microseconds of local time as those of UTC."""
        if not self.is_local:
            return local
        convert = self.clock.utc
        return [None if moment is None else convert(moment) for moment in local]

    def texts(self, local: Sequence[int | None]) -> list[str | None]:
        """v3's texts of microseconds of local time."""
        return self.clock.texts(self.utc(local))

    def turn(self, text: str, place: int) -> int:
        """The turn that a timestep's metadata names, or else its place."""
        try:
            return turn_of(text, place)
        except (ValueError, RecursionError):
            row = self._aside.execute(
                "SELECT TRY_CAST(d ->> '$.turn_number' AS BIGINT) FROM (SELECT ?::JSON AS d) "
                "WHERE json_type(d, '$.turn_number') IN ('UBIGINT', 'BIGINT')",
                [text],
            ).fetchone()
            return place if row is None or row[0] is None else int(row[0])

    def bound(self, text: str) -> str | None:
        """The text of the time that an envelope names."""
        row = self._aside.execute(
            "SELECT d ->> '$.time_record.event_time' FROM (SELECT ?::JSON AS d) WHERE json_exists(d, '$.content')",
            [text],
        ).fetchone()
        return None if row is None or row[0] is None else str(row[0])

    def created(self, session: str) -> str:
        """The text of the session's time, for rewards of events that have none."""
        row = self._aside.execute(
            f"SELECT {micros('created_at')} FROM session_traces WHERE session_id = ?", [session]
        ).fetchone()
        return self.texts([row[0] if row else None])[0] or self.earliest(session)

    def earliest(self, session: str) -> str:
        """The text of the first moment that the target can hold of the session's rows.

        Each is converted before it is compared: local times have another order than the moments they stand for. Of
        those texts the first in order is the earliest.
        """
        parts = " UNION ALL ".join(
            f"SELECT {micros(column)} AS m FROM {table} WHERE session_id = $1 AND isfinite({column})"
            for table, column in (
                ("session_timesteps", "timestamp"),
                ("events", "event_time"),
                ("messages", "timestamp"),
            )
        )
        found = None
        cursor = self._aside.execute(parts, [session])
        while rows := cursor.fetchmany(_MOMENTS):
            texts = self.texts([row[0] for row in rows])
            found = min((text for text in (*texts, found) if text is not None), default=None)
        return found or "1970-01-01T00:00:00.000000+00:00"

    def _ask_engine(self, text: str) -> bool:
        row = self._aside.execute("SELECT json_valid(?)", [text]).fetchone()
        return row is not None and bool(row[0])


class _Memo(dict[str, Any]):
    def __init__(self, rule: Any) -> None:
        self._rule = rule

    def __missing__(self, key: str) -> Any:
        if len(self) > 10_000:
            self.clear()
        value = self[key] = self._rule(key)
        return value
