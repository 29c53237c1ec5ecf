"""The other kind of road: generations that follow each other in one file, which is changed where it is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from sessionlift.generations import Oddity, chain_of
from sessionlift.runs import session_buddy
from sessionlift.stores import Store


@dataclass(frozen=True)
class InPlaceRoad:
    """One system whose store is changed in place, and can be taken back.

    The steps are Alembic's revisions (``generations.chain_of``); here stands what only the system knows.
    """

    system: str
    sessions: Callable[[Store], int]
    oddities: Callable[[Store, Collection[str]], list[Oddity]]
    works: Callable[[Store, int], list[session_buddy.Check]]
    """what the program does with a store of the generation of this number, tried and taken back"""

    @staticmethod
    def number(generation: str) -> int:
        """Which of the chain's generations it is, from 1 on."""
        return [info.generation for info in chain_of(generation)].index(generation) + 1


_ROADS = {
    "session_buddy": InPlaceRoad("session_buddy", session_buddy.sessions, session_buddy.oddities, session_buddy.works),
}


def in_place_road(system: str) -> InPlaceRoad | None:
    """The road of a system whose stores are changed in place; None for the others."""
    return _ROADS.get(system)
