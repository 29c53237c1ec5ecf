"""V2's rows of sessions as the target has them now, and their digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sessionlift.runs.verifier._readers import TargetReader, id_list
from sessionlift.runs.verifier._row_text import row_text
from sessionlift.runs.verifier.langswarm._rules import MESSAGES, METRICS, OURS, SESSION, Row

TABLES = ("sessions", "session_messages", "session_metrics")
"""In the order of the digest."""
_TIMESTAMP, _METADATA = MESSAGES.index("timestamp"), MESSAGES.index("metadata")


@dataclass
class Found:
    """The rows of one session; ``ids`` are those that the target gave its messages."""

    sessions: list[Row] = field(default_factory=list)
    messages: list[Row] = field(default_factory=list)
    ids: list[Any] = field(default_factory=list)
    metrics: list[Row] = field(default_factory=list)

    def digest(self) -> str:
        return digest_of(self.sessions, self.messages, self.metrics)

    def size(self) -> int:
        return len(self.sessions) + len(self.messages) + len(self.metrics)

    def continued(self, moved: Sequence[Row], *, laid_after: bool) -> int:
        """How many messages of the application stand beside ``moved``, which is all there and in order; 0 for none.

        Those that a move made have our key, and stand unchanged before the application's. What the old program added
        later may have been ``laid_after`` these, with times of its own then. Both go by id and by time, which is what
        V2 reads by; among the application's own, ids and times may go different ways, as those of two processes do.
        """
        ours = [_is_ours(row) for row in self.messages]
        new = ours.count(False)
        if not new or ours.count(True) != len(moved):
            return 0
        times = [row[_TIMESTAMP] for row in self.messages]
        if not all(isinstance(each, str) for each in times):
            return 0
        first = ours.index(False)
        if not laid_after and first < len(moved):
            return 0
        own = [time for time, is_ours in zip(times, ours, strict=True) if is_ours]
        if own != sorted(own) or min(times[first:]) < max(times[:first], default=""):
            return 0
        later = [row for row, is_ours in zip(self.messages[first:], ours[first:], strict=True) if is_ours]
        if self.messages[:first] != list(moved[:first]):
            return 0
        return new if list(map(_timeless, later)) == list(map(_timeless, moved[first:])) else 0


def with_room(want: Row, found: Sequence[Row], continued: int) -> Row:
    """The session's row that must be there, with the room for messages that a catch-up may have made.

    A send through a provider deletes the messages above ``max_messages``, so a catch-up counts the application's, too.
    """
    at = SESSION.index("context_data")
    if not continued or not found:
        return want
    try:
        context, there = json.loads(str(want[at])), json.loads(str(found[0][at]))
        room, least = there["max_messages"], context["max_messages"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return want
    if type(room) is not int or not least < room <= least + continued:
        return want
    return (*want[:at], json.dumps({**context, "max_messages": room}), *want[at + 1 :])


def _timeless(row: Row) -> Row:
    """A moved message without the time that it got."""
    members = json.loads(row[_METADATA])
    if isinstance(members[OURS], dict):
        members[OURS].pop("moved_to", None)
    return (*row[:_TIMESTAMP], *row[_TIMESTAMP + 1 : _METADATA], json.dumps(members), *row[_METADATA + 1 :])


def _is_ours(row: Row) -> bool:
    """True for a message that a move made; what cannot be read is not held for the application's either."""
    if row[_METADATA] is None:
        return False
    try:
        value = json.loads(row[_METADATA])
    except (TypeError, ValueError, RecursionError):
        return True
    return isinstance(value, dict) and OURS in value


def found_of(target: TargetReader, ids: Sequence[str]) -> dict[str, Found]:
    """The rows of sessions; an id that the target does not have has none."""
    found = {key: Found() for key in ids}
    some, params = id_list(ids)
    mine = f"session_id IN ({some})"
    for row in target.read("sessions", SESSION, mine, params):
        found[row[0]].sessions.append(row)
    for row in target.read("session_messages", (*MESSAGES, "id"), mine, params, ("session_id", "id")):
        found[row[0]].messages.append(row[:-1])
        found[row[0]].ids.append(row[-1])
    for row in target.read("session_metrics", METRICS, mine, params):
        found[row[0]].metrics.append(row)
    return found


def digest_of(sessions: Iterable[Row], messages: Iterable[Row], metrics: Iterable[Row]) -> str:
    """The target digest of a session."""
    digest = hashlib.sha256()
    for table, rows in zip(TABLES, (sessions, messages, metrics), strict=True):
        digest.update(f"{table}\n".encode())
        for row in rows:
            digest.update(row_text(row))
    return digest.hexdigest()
