"""The n-th file operation fails, for each n: an error of ours, whole sessions only, and the same command goes on."""

from __future__ import annotations

import abc
import errno
import itertools
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.support.buddy_stores import invoke
from tests.support.failing_disk import BROKEN, FULL, HICCUP, NAME, UNREADABLE, FailingDisk, Fault, Seen
from tests.support.laws import TORTURE, strided
from tests.support.made import make_moved, make_synth_v2
from tests.support.moved import change, content, difference, query, snapshot, tables
from tests.support.roads_back import SWARM, SYNTH, System
from tests.support.run_fixtures import Legacy
from tests.support.taken_back import ledger, notes
from tests.support.warm import Outcome, Warm

from sessionlift._demo import make_langswarm_v1, make_session_buddy
from sessionlift.reports import check_file

pytestmark = [pytest.mark.torture, pytest.mark.slow]

CODES = {
    # SQLite says of an unreadable page what it says of a damaged one
    "unreadable": {"store", "store_corrupt", "backup"},
    # a file that cannot be made is a store that cannot be opened
    "full": {"store_full", "store", "report"},
    "broken": {"store", "report"},
    "hiccup": {"store", "report"},
}
STRIDES = {"hiccup": 40, "full": 80, "broken": 80, "unreadable": 80}
"""The long form: of the operations each so many-th, divided by TORTURE, fails, from one drawn at random on; every one
of them would take hours."""
LIMITS = {"max_rows": 120}


class Work(abc.ABC):
    """A command that changes stores, its stores before it, and what they may hold when it has failed."""

    well: tuple[int, ...] = (0,)

    def __init__(self, on_disk: Warm, disk: FailingDisk, folder: Path) -> None:
        self.on_disk, self.disk, self.folder = on_disk, disk, folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        with disk.failing(HICCUP, folder / "calm") as seen:
            self.prepare()
        self.operations = seen.operations

    @abc.abstractmethod
    def prepare(self) -> None:
        """Make the stores, and know what a calm run makes of them."""

    @abc.abstractmethod
    def place(self, name: str) -> Path:
        """A folder with the stores in their state before the command."""

    @abc.abstractmethod
    def command(self, place: Path) -> list[object]: ...

    @abc.abstractmethod
    def half_done(self, place: Path, what: str) -> None:
        """Hold what a failed run left against the law: nothing is there in part."""

    @abc.abstractmethod
    def done(self, place: Path, what: str) -> None:
        """Hold what the next run left against a calm run's."""

    def tidy(self, place: Path, what: str) -> None:  # noqa: B027 - most leave nothing else
        """Hold what a run on a sound disk leaves beside its rows; a disk that fails to the end lets nobody tidy up."""

    def reads(self) -> tuple[Path, ...]:
        """What the command only reads; empty where it reads what it writes."""
        return ()

    def run(self, place: Path) -> Outcome:
        return self.on_disk(*self.command(place), "--json", limits=LIMITS, env={"TMPDIR": str(self.temporary)})

    def watched(self, fault: Fault, place: Path) -> tuple[Path, ...]:
        return (self.reads() or (place,)) if fault is UNREADABLE else (place,)

    def count(self, fault: Fault) -> int:
        """How many operations of the fault's classes a calm run makes."""
        place = self.place("count")
        with self.disk.failing(fault, *self.watched(fault, place)) as seen:
            outcome = self.run(place)
        assert outcome.code in self.well, outcome.out + outcome.err
        shutil.rmtree(place)
        return seen.operations

    def check(self, fault: Fault, at: int) -> Seen:
        place = self.place(f"{fault.name}-{at}")
        before = {path: snapshot(path.parent) for path in self.reads()}
        with self.disk.failing(fault, *self.watched(fault, place), at=at) as seen:
            ended = self.run(place)
        what = f"{fault.name} at {at} ({seen.what}): {ended.code} {ended.out}{ended.err}"
        assert "Traceback" not in ended.err, what
        if ended.code in self.well or (ended.code == 5 and "report could not be written" in ended.err):
            self.looked_at(place, lambda copy: self.done(copy, what))
        else:
            self.told(fault, ended, what)
            self.looked_at(place, lambda copy: self.half_done(copy, what))
        again = self.run(place)
        assert again.code in self.well, f"{what}\nthen {again.out}{again.err}"
        self.done(place, what)
        self.tidy(place, what)
        assert list(self.temporary.iterdir()) == [], what
        assert {path: snapshot(path.parent) for path in self.reads()} == before, what
        shutil.rmtree(place)
        return seen

    def looked_at(self, place: Path, look: Callable[[Path], None]) -> None:
        """Look at a copy of what was left, in which a hot journal is rolled back, as whoever opens the store next does
        it. The next run finds its own."""
        copy = place.with_name(f"{place.name}-looked-at")
        shutil.copytree(place, copy)
        for journal in copy.glob("*-journal"):
            with closing(sqlite3.connect(journal.with_name(journal.name.removesuffix("-journal")))) as db:
                db.execute("SELECT count(*) FROM sqlite_master").fetchall()
        look(copy)
        shutil.rmtree(copy)

    def told(self, fault: Fault, ended: Outcome, what: str) -> None:
        """The error is one of ours, of the right kind, says what to do next, and stands in the report."""
        said = json.loads(ended.out)
        assert ended.code in ((5,) if said["code"] == "report" else (3, 4)), what
        assert said["code"] in CODES[fault.name], what
        assert said["hint"], what
        if "report" in said:
            told = json.loads(Path(said["report"]).read_text())
            assert told["status"] == "failed", what
            assert told["errors"][0]["code"] == said["code"], what
            assert check_file(said["report"]) == [], what
        else:
            assert fault.stays, f"{what}: no report"


class Migrate(Work):
    def __init__(self, on_disk: Warm, disk: FailingDisk, folder: Path, make: Callable[[Path], Any], system: System):
        self.make, self.system = make, system
        super().__init__(on_disk, disk, folder)

    def prepare(self) -> None:
        self.source = self.folder / "source" / "legacy.db"
        self.source.parent.mkdir()
        self.make(self.source)
        calm = self.place("calm")
        outcome = self.run(calm)
        assert outcome.code in (0, 1), outcome.err
        self.well = (outcome.code,)
        self.living = self.system.living(calm / "new.db")
        self.expected = self.all_of(calm / "new.db")

    def all_of(self, target: Path) -> dict[str, Any]:
        if self.system is SYNTH:
            return content(target)
        return {"sessions": sorted(self.system.living(target).items()), "ledger": sorted(ledger(target).items())}

    def place(self, name: str) -> Path:
        made = self.folder / name
        made.mkdir()
        return made

    def reads(self) -> tuple[Path, ...]:
        return (self.source,)

    def command(self, place: Path) -> list[object]:
        return ["migrate", self.source, place / "new.db"]

    def half_done(self, place: Path, what: str) -> None:
        target = place / "new.db"
        if not target.exists() or not query(target, "SELECT 1 FROM sqlite_master WHERE name = 'sessionlift_runs'"):
            return
        assert query(target, "PRAGMA integrity_check") == [("ok",)], what
        moved = {key for key, state in ledger(target).items() if state in ("moved", "partial")}
        living = self.system.living(target)
        living = {key: rows for key, rows in living.items() if key is not None}  # others are no session's
        assert living.keys() == moved, f"{what}: the ledger does not name the sessions that are there"
        for key, rows in living.items():
            assert sorted(map(repr, rows)) == sorted(map(repr, self.living[key])), f"{what}: {key} is there in part"
        assert ("completed",) not in query(target, "SELECT status FROM sessionlift_runs"), what

    def done(self, place: Path, what: str) -> None:
        assert difference(self.expected, self.all_of(place / "new.db")) == "", what
        assert query(place / "new.db", "PRAGMA integrity_check") == [("ok",)], what

    def tidy(self, place: Path, what: str) -> None:
        assert query(place / "new.db", "PRAGMA journal_mode") == [("delete",)], what
        assert {path.name for path in place.iterdir()} <= {"new.db", "new.db.reports"}, what


class Rollback(Work):
    def __init__(self, on_disk: Warm, disk: FailingDisk, folder: Path, system: System):
        self.system = system
        super().__init__(on_disk, disk, folder)

    def prepare(self) -> None:
        self.source, self.target = self.folder / "legacy.db", self.folder / "new.db"
        make_moved(self.source, self.target, make=self.system.make)
        self.system.change(self.target)
        self.before, self.old = self.system.living(self.target), self.system.legacy(self.source)
        calm = self.place("calm")
        outcome = self.run(calm)
        assert outcome.code == 0, outcome.out + outcome.err
        self.new, self.after = self.system.legacy(calm / "legacy.db"), ledger(calm / "new.db")
        assert self.new != self.old

    def place(self, name: str) -> Path:
        made = self.folder / name
        made.mkdir()
        shutil.copy(self.source, made)
        shutil.copy(self.target, made)
        change(
            made / "new.db",
            "UPDATE sessionlift_runs SET source = replace(source, ?, ?)",
            str(self.source),
            str(made / "legacy.db"),
        )
        return made

    def command(self, place: Path) -> list[object]:
        return ["rollback", place / "new.db", "--all"]

    def half_done(self, place: Path, what: str) -> None:
        legacy, living = self.system.legacy(place / "legacy.db"), self.system.living(place / "new.db")
        for key, state in ledger(place / "new.db").items():
            if state in ("rolled_back", "deleted"):
                assert legacy.get(key) == self.new.get(key), f"{what}: {key} is not whole in the legacy store"
                assert key not in living, f"{what}: {key} is in both stores"
            else:
                assert living.get(key) == self.before.get(key), f"{what}: {key} is not whole in the target"
                assert legacy.get(key) in (self.old.get(key), self.new.get(key)), f"{what}: {key} lies there in part"

    def done(self, place: Path, what: str) -> None:
        assert self.system.legacy(place / "legacy.db") == self.new, what
        assert self.system.living(place / "new.db") == {}, what
        assert ledger(place / "new.db") == self.after, what
        assert notes(place / "new.db") == [], what
        assert query(place / "new.db", "PRAGMA integrity_check") == [("ok",)], what


class InPlace(Work):
    def __init__(self, on_disk: Warm, disk: FailingDisk, folder: Path, verb: str, generation: str, to: str):
        self.verb, self.generation, self.to = verb, generation, to
        super().__init__(on_disk, disk, folder)

    def prepare(self) -> None:
        self.start = self.folder / "s.db"
        make_session_buddy(self.start, generation=self.generation, invocations=30, filled=True)
        invoke(self.start, 3)
        self.old = self.rows(self.start)
        calm = self.place("calm")
        outcome = self.run(calm)
        assert outcome.code == 0, outcome.out + outcome.err
        self.new = self.rows(calm / "s.db")
        assert self.new != self.old

    def rows(self, path: Path) -> dict[str, Any]:
        """Every row of every table, but for what differs between two runs that do the same: our own account, times."""
        names = sorted(name for name in tables(path) if not name.startswith("sessionlift"))
        found: dict[str, Any] = {}
        for name in names:
            listed = [str(row[1]) for row in query(path, f'PRAGMA table_info("{name}")')]
            kept = [each for each in listed if each not in ("last_updated", "applied_at")]
            columns = ", ".join(f'"{each}"' for each in kept)
            found[name] = query(path, f'SELECT {columns} FROM "{name}" ORDER BY {columns}')
        return found

    def place(self, name: str) -> Path:
        made = self.folder / name
        made.mkdir()
        shutil.copy(self.start, made)
        return made

    def command(self, place: Path) -> list[object]:
        return [self.verb, place / "s.db", "--to", self.to]

    def half_done(self, place: Path, what: str) -> None:
        assert query(place / "s.db", "PRAGMA integrity_check") == [("ok",)], what
        assert self.rows(place / "s.db") in (self.old, self.new), f"{what}: the store is neither of both"
        backups = place / "s.db.backups"
        for backup in backups.glob("*.backup/*.db") if backups.is_dir() else ():
            assert self.rows(backup) == self.old, f"{what}: a backup is not the store"

    def done(self, place: Path, what: str) -> None:
        assert self.rows(place / "s.db") == self.new, what
        assert query(place / "s.db", "PRAGMA integrity_check") == [("ok",)], what


WORKS: dict[str, Callable[[Warm, FailingDisk, Path], Work]] = {
    "migrate-synth": lambda run, disk, folder: Migrate(
        run, disk, folder, lambda path: make_synth_v2(path, sessions=4, traps="all"), SYNTH
    ),
    "migrate-langswarm": lambda run, disk, folder: Migrate(
        run, disk, folder, lambda path: make_langswarm_v1(path, sessions=4), SWARM
    ),
    "rollback-synth": lambda run, disk, folder: Rollback(run, disk, folder, SYNTH),
    "rollback-langswarm": lambda run, disk, folder: Rollback(run, disk, folder, SWARM),
    "upgrade": lambda run, disk, folder: InPlace(run, disk, folder, "upgrade", "session_buddy.v1", "session_buddy.v4"),
    "downgrade": lambda run, disk, folder: InPlace(
        run, disk, folder, "downgrade", "session_buddy.v4", "session_buddy.v1"
    ),
}


FAULTS = {fault.name: fault for fault in (FULL, BROKEN, HICCUP, UNREADABLE)}
SHORT = {
    ("migrate-synth", "full"): 0.4,
    ("migrate-langswarm", "unreadable"): 0.15,
    ("rollback-synth", "hiccup"): 0.6,
    ("rollback-langswarm", "full"): 0.6,
    ("upgrade", "hiccup"): 0.7,
}
"""The short form: one operation that fails, so far into the command's writes."""
CASES = list(itertools.product(WORKS, FAULTS)) if TORTURE else list(SHORT)


@pytest.fixture(scope="module")
def work(
    request: pytest.FixtureRequest, on_disk: Warm, disk: FailingDisk, tmp_path_factory: pytest.TempPathFactory
) -> Work:
    return WORKS[request.param](on_disk, disk, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize(("work", "name"), CASES, indirect=["work"])
def test_an_operation_that_fails_spoils_nothing(request: pytest.FixtureRequest, work: Work, name: str) -> None:
    fault = FAULTS[name]
    if not TORTURE:
        share = SHORT[request.node.callspec.params["work"], name]
        assert work.check(fault, int(work.operations * share)).failed
        return
    count = work.count(fault)
    numbers = strided(count, STRIDES[name])
    print(f"\n{count} operations, {len(numbers)} of them fail")  # noqa: T201 - the number that the docs tell
    failed = sum(bool(work.check(fault, at).failed) for at in numbers)
    assert failed >= int(len(numbers) * 0.9), "the operations that were to fail hardly came"


def test_a_report_that_cannot_be_written_is_told(
    on_disk: Warm, disk: FailingDisk, legacy_store: Legacy, target: Path
) -> None:
    reports = target.with_name("v3.db.reports")
    source = legacy_store(sessions=4, traps="usual")
    # the digests take their name before the report does
    first = (1, "--quiet", "Error [report]: cannot write", "failed")
    for at, how, said, status in (first, (2, "--json", "could not be written", "completed")):
        with disk.failing(Fault("name", NAME, errno.EIO, stays=False), reports / "migrate-", at=at):
            ended = on_disk("migrate", source, target, how)
        assert ended.code == 5, ended.err
        assert said in ended.err
        assert "next: " in ended.err
        assert query(target, "SELECT status FROM sessionlift_runs ORDER BY rowid DESC LIMIT 1") == [(status,)]
    # the run was completed, but nothing is well whose report is nowhere
    assert json.loads(ended.out)["ok"] is False
    assert on_disk("migrate", source, target, "--quiet").code == 0
