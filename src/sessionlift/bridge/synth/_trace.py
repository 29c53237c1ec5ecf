"""A session's trace as the real v3 manager gives it: from the rows of the new store, or from those that a move would
write there.

Measured with synth-ai 0.2.16 and 0.2.8: seven keys, the last one the list of steps with six keys each. Times are
``datetime`` where the text is one, JSON is decoded, and what is NULL or no JSON is ``{}``. The list is in the order
of ``step_index``, and for equal ones of ``step_id``, in which the real store's index gives them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sessionlift.errors import StoreFormatError
from sessionlift.runs import Converted
from sessionlift.stores import Store

_HEAD = ("session_id", "created_at", "num_timesteps", "num_events", "num_messages", "metadata")
_STEP = ("step_id", "step_index", "turn_number", "started_at", "completed_at", "step_metadata")
_ROLLED_BACK = "rolled_back"

# one statement is one snapshot: the session, its steps and what the ledger says of it belong together
_READ = (
    "SELECT 0 AS part, s.session_id AS a, s.created_at AS b, s.num_timesteps AS c, s.num_events AS d, "
    "s.num_messages AS e, s.metadata AS f, u.state AS g "
    "FROM session_traces AS s LEFT JOIN sessionlift_units AS u ON u.unit = 'session' AND u.session_id = s.session_id "
    "WHERE s.session_id = ? "
    "UNION ALL "
    "SELECT 1, t.step_id, t.step_index, t.turn_number, t.started_at, t.completed_at, t.step_metadata, t.id "
    "FROM session_timesteps AS t WHERE t.session_id = ? "
    "ORDER BY part, b, a, g"
)


@dataclass(frozen=True)
class Stored:
    """A session's cells and its steps', undecoded; ``state`` is the ledger's, None for one that v3 began itself."""

    head: tuple[Any, ...]
    steps: Sequence[tuple[Any, ...]]
    state: str | None = None

    @property
    def lives(self) -> bool:
        """Whether these rows count: a session that was taken back lives in the legacy store."""
        return self.state != _ROLLED_BACK

    def trace(self) -> dict[str, Any]:
        """The manager's answer, made anew at each call. Raises StoreFormatError for JSON that is too deep to read."""
        session_id, created_at, num_timesteps, num_events, num_messages, metadata = self.head
        return {
            "session_id": session_id,
            "created_at": _time(created_at),
            "num_timesteps": num_timesteps,
            "num_events": num_events,
            "num_messages": num_messages,
            "metadata": self._json(metadata),
            "timesteps": [
                {
                    "step_id": step_id,
                    "step_index": step_index,
                    "turn_number": turn_number,
                    "started_at": _time(started_at),
                    "completed_at": _time(completed_at),
                    "metadata": self._json(step_metadata),
                }
                for step_id, step_index, turn_number, started_at, completed_at, step_metadata in self.steps
            ],
        }

    def _json(self, cell: Any) -> Any:
        if cell is None:
            return {}
        if not isinstance(cell, str):
            return cell
        try:
            return json.loads(cell)
        except ValueError:
            return {}
        except RecursionError as error:
            raise StoreFormatError(
                f"session {self.head[0]!r} has metadata that is nested too deep to be decoded",
                hint="the real manager cannot read it either; the store still has its text",
                session_id=self.head[0],
            ) from error


def read(store: Store, session_id: str) -> Stored | None:
    """The session as one snapshot of the new store; None where it has no row."""
    rows = store.query(_READ, (session_id, session_id))
    if not rows or rows[0][0] != 0:
        return None
    head = rows[0]
    return Stored(head[1:7], [row[1:7] for row in rows[1:]], None if head[7] is None else str(head[7]))


def of_converted(converted: Converted) -> Stored | None:
    """The session as a move would write it now; None where it cannot be converted."""
    heads = converted.rows.get("session_traces")
    if not heads:
        return None
    steps = sorted(
        converted.rows.get("session_timesteps", []),
        key=lambda row: (row["step_index"], row["step_id"].encode(), row["id"]),
    )
    return Stored(tuple(heads[0][name] for name in _HEAD), [tuple(row[name] for name in _STEP) for row in steps])


def _time(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    try:
        return datetime.fromisoformat(cell)
    except ValueError:
        return cell
