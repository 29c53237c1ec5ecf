"""The answer of the bridge: where a session lives now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sessionlift.errors import SessionliftError

Where = Literal["new", "legacy", "absent", "deleted"]


@dataclass(frozen=True)
class Place:
    """Where a session lives. ``moved_now`` is true where this very call moved it there.

    ``error`` says why it is not where the rollout wants it: a move that failed, rows that cannot be converted, or
    a conflict that stands (then the session lives in the new store).
    """

    session_id: str
    where: Where
    moved_now: bool = False
    error: SessionliftError | None = None
