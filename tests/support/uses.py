"""What an application does through our functions, as one call for a process that is killed in it."""

from __future__ import annotations

from sessionlift.bridge import BridgeCore
from sessionlift.bridge._core import Conflicts
from sessionlift.generations import prepare_target


def use_all(source: str, target: str, conflicts: Conflicts = "raise") -> None:
    """Open a bridge, use every session, and close it."""
    with BridgeCore(source, target, conflicts=conflicts) as core:
        for each in list(core.session_ids()):
            place = core.ensure(each)
            assert (place.where, place.error) == ("new", None), place


def prepare(target: str, generation: str) -> None:
    """Make the target's schema and the ledger's, as a run does before it moves anything."""
    prepare_target(target, generation)


def alembic(*arguments: str) -> None:
    """Run Alembic's own command line, as its program does."""
    from alembic.config import main

    main(argv=list(arguments))
