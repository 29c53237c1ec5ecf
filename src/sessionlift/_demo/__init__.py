"""Made-up legacy stores for ``make demo``, the benchmarks and the tests."""

from sessionlift._demo._buddy_store import BuddyStore, BuddyTraps, make_session_buddy
from sessionlift._demo._store import DemoStore, Dress, Traps, make_synth_v2
from sessionlift._demo._swarm_store import (
    SwarmDress,
    SwarmStore,
    SwarmTraps,
    make_langswarm,
    make_langswarm_dump,
    make_langswarm_enhanced,
    make_langswarm_v1,
)

__all__ = [
    "BuddyStore",
    "BuddyTraps",
    "DemoStore",
    "Dress",
    "SwarmDress",
    "SwarmStore",
    "SwarmTraps",
    "Traps",
    "make_langswarm",
    "make_langswarm_dump",
    "make_langswarm_enhanced",
    "make_langswarm_v1",
    "make_session_buddy",
    "make_synth_v2",
]
