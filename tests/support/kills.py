"""Operations killed at their boundaries: one way for all of them.

An operation is run once undisturbed, which counts its boundaries (see ``boundaries``). Then, from the same start, it is
killed by SIGKILL at one after the other. Three laws must hold for each kill:

- every *unit* (a session with its rows in both stores and its state in the ledger, or a store as a whole) is as it was
  before, or as it is after the undisturbed run, or in one of the states between that the operation names;
- what was done at a boundary is done at every later one;
- the same command ends as the undisturbed run did, with the same stores, and every report keeps its own laws.

What lies there after a kill is read from a copy, by other libraries than those that wrote it, so that the second run
meets what the kill left.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.laws import TORTURE
from tests.support.moved import query, snapshot
from tests.support.warm import Outcome, Warm

from sessionlift.reports import check_file

COUNTED = "write boundaries"
"""The property of a test's report that holds what was counted."""

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
_ROW = re.compile(r"^\| (?P<name>[^|]+?) \| (?P<count>[\d,]+) \|", re.MULTILINE)

State = dict[str, Any]
"""By unit what lies there of it; a unit that is nowhere is not in it."""


def _never(_left: Any, _old: Any, _new: Any) -> bool:
    return False


def _nothing(_folder: Path, _old: State) -> None:
    pass


def _itself(state: State) -> Any:
    return state


@dataclass(frozen=True)
class Operation:
    """``name`` is the one in docs/reliability.md. ``make`` makes the stores in an empty folder, in which ``command`` is
    then run (``call``: the function that is called with it instead) and must end with ``code``.

    ``look`` gives the units that lie in a folder, ``final`` what of them must be the same in the end. ``between`` says
    whether a unit may be found so, given how it was and shall be. ``also`` looks at a folder after the second run,
    given the state of the start. No run may change a byte of the files in ``intact``. ``reader`` is a command that
    must succeed on whatever a kill leaves. ``short``: how many kills `make test` has, the fewer the more of its way it
    shares with another operation.
    """

    name: str
    make: Callable[[Path], None]
    command: Sequence[str]
    look: Callable[[Path], State]
    call: str | None = None
    code: int = 0
    limits: dict[str, int] | None = None
    intact: Sequence[str] = ()
    reader: Sequence[str] = ()
    final: Callable[[State], Any] = _itself
    between: Callable[[Any, Any, Any], bool] = _never
    also: Callable[[Path, State], None] = _nothing
    short: int = 2


class Sweep:
    """An operation, how it ends undisturbed, and the boundaries of that."""

    def __init__(self, operation: Operation, sessionlift: Warm, folder: Path) -> None:
        self.operation, self._sessionlift = operation, sessionlift
        self._start, self._work, self._copy = folder / "start", folder / "work", folder / "copy"
        self._start.mkdir()
        # the stores lie at one place all the time: ledgers and backups name it
        self._work.mkdir()
        operation.make(self._work)
        self._work.rename(self._start)
        self._begin()
        self.old = self._look()
        self._intact = self._bytes()
        calm = self._run()
        assert calm.code == operation.code, calm.out + calm.err
        self.boundaries = calm.boundaries
        self.new = self._look()
        self._names = self._visible()
        self._done: frozenset[str] = frozenset()
        self._sound("undisturbed")
        assert self.new != self.old, "the operation changes nothing: there is nothing to kill"

    def chosen(self) -> list[int]:
        """The boundaries at which this process is to kill: all in torture, else a few, always the same."""
        return list(range(1, len(self.boundaries) + 1)) if TORTURE else sample(self.boundaries, self.operation.short)

    def check(self, boundary: int) -> None:
        """Kill at one boundary, look, run again, look. Boundaries must come in their order."""
        operation = self.operation
        what = f"{operation.name}, boundary {boundary} ({self.boundaries[boundary - 1]})"
        self._begin()
        killed = self._run(at=boundary)
        assert killed.code == -signal.SIGKILL, f"{what}: the run ended with {killed.code}: {killed.err}"
        left = self._look()
        for unit in {**self.old, **self.new, **left}:
            found, old, new = left.get(unit), self.old.get(unit), self.new.get(unit)
            right = found in (old, new) or operation.between(found, old, new)
            assert right, f"{what}: {unit} is neither as it was nor as it shall be: {found!r:.2000}"
        done = frozenset(unit for unit, new in self.new.items() if left.get(unit) == new != self.old.get(unit))
        assert done >= self._done, f"{what}: {self._done - done} was done at an earlier boundary"
        self._done = done
        if operation.reader:
            reader = self._sessionlift(*operation.reader, cwd=self._work)
            assert reader.code == 0, f"{what}: who only looks is refused: {reader.err}"
        again = self._run()
        assert again.code == operation.code, f"{what}: the second run ended with {again.code}: {again.out}{again.err}"
        ended = self._look()
        same = operation.final(ended) == operation.final(self.new)
        assert same, f"{what}: the second run ended otherwise: {_difference(ended, self.new)}"
        others = self._visible() ^ self._names
        assert not others, f"{what}: other files than those of an undisturbed run: {others}"
        self._sound(what)

    def _begin(self) -> None:
        shutil.rmtree(self._work, ignore_errors=True)
        shutil.copytree(self._start, self._work)
        (self._work / "tmp").mkdir()

    def _run(self, at: int = 0) -> Outcome:
        operation = self.operation
        return self._sessionlift(
            *operation.command,
            call=operation.call,
            at=at,
            limits=operation.limits,
            cwd=self._work,
            env={"TMPDIR": str(self._work / "tmp")},
        )

    def _look(self) -> State:
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._work, self._copy, ignore=shutil.ignore_patterns("tmp"))
        return self.operation.look(self._copy)

    def _bytes(self) -> dict[str, Any]:
        found = snapshot(self._work)
        return {name: found[name] for name in self.operation.intact}

    def _visible(self) -> set[str]:
        """The names of what lies beside the stores, without times and the parts that are drawn.

        Backups do not count: a second run finds something to back up where the first found nothing. Nor do the empty
        side files that SQLite makes for whoever reads a store in WAL mode, and a killed reader cannot remove.
        """
        sides = {f"{name}{end}" for name in self.operation.intact for end in ("-wal", "-shm")}
        logs = [self._work / name for name in sides if name.endswith("-wal")]
        assert not any(log.stat().st_size for log in logs if log.exists()), "a log beside a store that is only read"
        names = (path.name for path in _owned(self._work) if path.suffix != ".backups" and path.name not in sides)
        return {re.sub(r"\d{8}T\d{6}Z-\w{4,8}", "TIME", name) for name in names}

    def _sound(self, what: str) -> None:
        """What holds for every folder in which a run has ended."""
        assert self._bytes() == self._intact, f"{what}: a file was written to that must not be"
        for path in self._work.glob("*.db"):
            assert query(path, "PRAGMA integrity_check") == [("ok",)], what
            assert query(path, "PRAGMA foreign_key_check") == [], what
        for path in self._work.glob("*.reports/*.json"):
            assert check_file(path) == [], f"{what}: {path.name}"
        # a worker of the killed run tidies up on its own
        deadline = time.monotonic() + 20
        while (left := _owned(self._work / "tmp")) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not left, f"{what}: temporary files stay: {left}"
        self.operation.also(self._work, self.old)


def _owned(folder: Path) -> list[Path]:
    """What lies there, but for a run's directory that was never more than made: that goes after an hour."""
    return [path for path in sorted(folder.iterdir()) if not (path.match("*sessionlift-*") and _unmarked(path))]


def _unmarked(directory: Path) -> bool:
    return directory.is_dir() and {path.name for path in directory.iterdir()} <= {"new"}


def _difference(one: State, other: State) -> str:
    found = []
    for unit in {**one, **other}:
        here, there = ([*map(repr, state.get(unit) or ())] for state in (one, other))
        if here != there:
            alone = [part for part in here if part not in there], [part for part in there if part not in here]
            found.append(f"{unit}: {[part[:500] for part in alone[0][:3]]} for {[part[:500] for part in alone[1][:3]]}")
    return "\n".join(found)


def sample(boundaries: Sequence[str], size: int) -> list[int]:
    """The numbers of ``size`` boundaries, of two at least: before the last commit, after the middle one, after the last
    into DuckDB's log, before the middle one, the last boundary; what of ``size`` is left, and one in any case, evenly
    between."""
    last = len(boundaries)
    commits = [number for number, what in enumerate(boundaries, 1) if what in ("COMMIT", "COMMIT in DuckDB")]
    middle = commits[len(commits) // 2 :][:1]
    logged = [number + 1 for number, what in enumerate(boundaries, 1) if what == "COMMIT in DuckDB"]
    told = [*commits[-1:], *(number + 1 for number in middle), *logged[-1:], *middle, last]
    found = set(list(dict.fromkeys(told))[: size - 1])
    free = [number for number in range(1, last + 1) if number not in found]
    wanted = size - len(found)
    found.update(free[(2 * n + 1) * len(free) // (2 * wanted)] for n in range(wanted if free else 0))
    return sorted(found)


def documented() -> dict[str, int]:
    """By operation the count of boundaries that the documentation states."""
    return {match["name"]: int(match["count"].replace(",", "")) for match in _ROW.finditer(PAGE.read_text("utf-8"))}


def table(counted: dict[str, tuple[int, int]]) -> list[str]:
    """The lines of the page's table, from what was counted and killed by operation."""
    lines = [f"| {name} | {boundaries:,} |" for name, (boundaries, _) in counted.items()]
    total, killed = (sum(each[place] for each in counted.values()) for place in (0, 1))
    return [*lines, f"{total:,} write boundaries in {len(counted)} operations, killed at {killed:,} of them"]


def told(operation: str, boundaries: int, killed: int) -> str:
    """What a test's report carries from its process to the one that prints the table."""
    return json.dumps([operation, boundaries, killed])
