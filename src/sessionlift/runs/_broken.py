"""How a run that does not come to its end gets its report all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from sessionlift.errors import InterruptedRunError, MemoryShortError, SessionliftError
from sessionlift.stores import no_room

Ending = Literal["failed", "interrupted"]


@contextmanager
def told_when_broken(tell: Callable[[Ending, SessionliftError], None], interrupted: str) -> Iterator[None]:
    """Call ``tell`` with whatever ends the block early, and let it go on: an error of our tree, or a KeyboardInterrupt,
    which is told as ``interrupted`` and goes on with what was told as its cause. An OSError, and memory that is short,
    go on as the error of ours that they mean."""
    try:
        yield
    except SessionliftError as error:
        tell("failed", error)
        raise
    except KeyboardInterrupt as stopped:
        told = InterruptedRunError(interrupted)
        tell("interrupted", told)
        # with what was told of it, for whoever prints it
        raise stopped from told
    except Exception as error:
        ours = MemoryShortError.of(error) or (no_room(error) if isinstance(error, OSError) else None)
        if ours is not None:
            tell("failed", ours)
            raise ours from error
        # a fault of our own: it goes on as what it is, but not without a report
        tell("failed", SessionliftError(f"a fault in this tool: {type(error).__name__}: {error}"))
        raise
