"""How a run meets the signals that ask it to end: between two steps, and once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupts:
    """Turns the first signal into one KeyboardInterrupt; the ones after it may not disturb the tidying up.

    Inside ``held()`` the interrupt waits for the block's end, so that no step that writes is cut in half.
    """

    def __init__(self) -> None:
        self._held = 0
        self._asked = False
        self._raised = False

    @contextmanager
    def listening(self) -> Iterator[Interrupts]:
        """Listen to the signals within the block, but for those that the caller's surroundings ignore (nohup).

        Outside the main thread nothing can listen; the block runs as it would without.
        """
        before = {}
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in SIGNALS if hasattr(signal, name)):
                if signal.getsignal(number) != signal.SIG_IGN:
                    before[number] = signal.signal(number, self._heard)
        try:
            yield self
        finally:
            for number, handler in before.items():
                with suppress(TypeError):  # a handler that was not set from Python cannot be set again
                    signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the block come to its end first. Blocks may be nested."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        self._raise_if_due()

    def over(self) -> None:
        """Nothing is left to interrupt: signals that come from now on are passed over."""
        self._raised = True

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
        self._raise_if_due()

    def _raise_if_due(self) -> None:
        if self._asked and not self._held and not self._raised:
            self._raised = True
            raise KeyboardInterrupt
