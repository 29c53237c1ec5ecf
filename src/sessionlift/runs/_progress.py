"""Progress on standard error: one line that is rewritten on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Progress:
    """Tells how far a run is: done, rate, and the time that is left at that rate."""

    def __init__(self, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._quiet = quiet
        self._terminal = self._stream.isatty()
        self._begun = time.monotonic()
        self._told = self._begun
        self._open = False

    def step(self, what: str) -> None:
        """Say what begins now."""
        if not self._quiet:
            self._end_line()
            self._stream.write(f"{what}\n")
            self._stream.flush()

    def count(self, verb: str, done: int, total: int, rows: int) -> None:
        """Sessions and rows done; tells at most five times a second on a terminal, every five seconds in a pipe.

        Nothing is said of rows while there are none, nor of the time left while nothing is done that it could rest on.
        """
        now = time.monotonic()
        if self._quiet or (now - self._told < (0.2 if self._terminal else 5.0) and done < total):
            return
        if not self._terminal and done >= total and now - self._begun < 5.0:
            return
        self._told = now
        seconds = max(now - self._begun, 1e-6)
        text = f"{verb} {done:,} of {total:,} sessions"
        if rows:
            text += f", {rows:,} rows, {rows / seconds:,.0f} rows/s"
        if 0 < done < total:
            text += f", about {(total - done) * seconds / done:.0f} s left"
        if self._terminal:
            self._stream.write(f"\r\x1b[K{text}")
            self._open = True
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()

    def done(self) -> None:
        self._end_line()

    def _end_line(self) -> None:
        if self._open:
            self._stream.write("\n")
            self._open = False
