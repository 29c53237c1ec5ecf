"""Where a running bridge learns its rollout: a value, a file, a function, or the target's ledger."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

from sessionlift.bridge._rollout import Rollout
from sessionlift.errors import SessionliftError, UsageError

ROLLOUT = "rollout"
"""The name of the rollout in the ledger."""

LOOK_SECONDS = 2.0
"""How often a bridge looks into the ledger."""

Given = Rollout | Path | str | Callable[[], Rollout] | Literal["ledger"]


class RolloutSource(Protocol):
    """Gives the rollout as it is asked for at this moment."""

    def now(self) -> Rollout: ...


class FixedRollout:
    def __init__(self, rollout: Rollout) -> None:
        self._rollout = rollout

    def now(self) -> Rollout:
        return self._rollout


class FileRollout:
    """A JSON file, read again when it has changed. A file that is broken or gone leaves the last good one in force.

    Raises UsageError for a file that is not good at the start.
    """

    def __init__(self, path: Path, told: Callable[[SessionliftError], None]) -> None:
        self._path, self._told = path, told
        self._seen = self._stat()
        self._rollout = self._read()

    def now(self) -> Rollout:
        seen = self._stat()
        if seen != self._seen:
            self._seen = seen
            try:
                self._rollout = self._read()
            except UsageError as error:
                self._told(error)
        return self._rollout

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _read(self) -> Rollout:
        try:
            value = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(
                f"the rollout file {self._path} cannot be read: {error}",
                hint="it must be a JSON object; while it is broken, the last good one stays in force",
                path=str(self._path),
            ) from error
        return Rollout.from_dict(value)


class CalledRollout:
    """A function of the application. If it fails later, the last good answer stays in force."""

    def __init__(self, call: Callable[[], Rollout], told: Callable[[SessionliftError], None]) -> None:
        self._call, self._told = call, told
        self._rollout = self._ask()
        self._failing = False

    def now(self) -> Rollout:
        try:
            self._rollout = self._ask()
            self._failing = False
        except Exception as error:  # noqa: BLE001 - it is the application's own code, and serving goes on
            if not self._failing:
                self._failing = True
                self._told(UsageError(f"the rollout function failed: {type(error).__name__}: {error}"))
        return self._rollout

    def _ask(self) -> Rollout:
        found = self._call()
        if not isinstance(found, Rollout):
            raise UsageError(f"the rollout function gave {type(found).__name__}, not a Rollout")
        return found


class LedgerRollout:
    """The target's ledger, looked at every few seconds; ``sessionlift rollout`` writes it. None there: "off"."""

    def __init__(self, note: Callable[[str], object], told: Callable[[SessionliftError], None]) -> None:
        self._note, self._told = note, told
        self._rollout = Rollout(mode="off")
        self._due = 0.0

    def now(self) -> Rollout:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + LOOK_SECONDS
            try:
                self._rollout = stored_rollout(self._note(ROLLOUT)) or Rollout(mode="off")
            except UsageError as error:
                self._told(error)
        return self._rollout


def stored_rollout(value: object) -> Rollout | None:
    """The rollout that the ledger holds as ``value``; None for none."""
    return None if value is None else Rollout.from_dict(value)


def rollout_source(
    given: Given,
    *,
    note: Callable[[str], object],
    told: Callable[[SessionliftError], None],
) -> RolloutSource:
    """The source for what the application gave; ``note`` reads the ledger by name. Raises UsageError."""
    if isinstance(given, Rollout):
        return FixedRollout(given)
    if given == "ledger":
        return LedgerRollout(note, told)
    if isinstance(given, (str, Path)):
        return FileRollout(Path(given), told)
    if callable(given):
        return CalledRollout(given, told)
    raise UsageError(f"{given!r} is no rollout", hint='give a Rollout, a file, a function, or "ledger"')
