"""A rollback that is asked to end, by Ctrl-C or a signal, ends in order; the same command goes on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from tests.support.laws import TORTURE
from tests.support.moved import change, query
from tests.support.roads_back import SWARM, SYNTH, System
from tests.support.taken_back import ledger, notes
from tests.support.warm import Warm

from sessionlift.reports import check_file
from sessionlift.stores import quote_identifier

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

Boundaries = list[str]
PLACES: dict[str, Callable[[Boundaries], int]] = {
    "while the target is copied": lambda seen: first(seen, "copy a store"),
    "as the run begins": lambda seen: first(seen, "INSERT INTO sessionlift_runs"),
    "as the legacy store is written": lambda seen: seen.index("COMMIT", first(seen, "INSERT INTO sessionlift_rollout")),
    "as sessions leave": lambda seen: first(seen, 'DELETE FROM "'),
    "as the ledger is closed": lambda seen: first(seen, "UPDATE sessionlift_runs SET status"),
}
SYSTEMS = {"langswarm": SWARM, "synth": SYNTH}
CASES = (
    list(product(SYSTEMS, ("SIGINT", "SIGTERM", "SIGHUP"), PLACES))
    if TORTURE
    else [
        ("langswarm", "SIGINT", "while the target is copied"),
        ("langswarm", "SIGTERM", "as sessions leave"),
        ("langswarm", "SIGINT", "as the ledger is closed"),
        ("synth", "SIGINT", "as the legacy store is written"),
    ]
)


def first(seen: Boundaries, start: str) -> int:
    return next(number for number, what in enumerate(seen) if what.startswith(start))


@dataclass
class Moved:
    """A moved store with new writes, and what a calm rollback makes of it."""

    system: System
    source: Path
    target: Path
    seen: Boundaries
    end: dict[str, object]

    def copy(self, folder: Path) -> tuple[Path, Path]:
        source, target = folder / "legacy.db", folder / "new.db"
        shutil.copy(self.source, source)
        shutil.copy(self.target, target)
        change(target, "UPDATE sessionlift_runs SET source = replace(source, ?, ?)", str(self.source), str(source))
        return source, target


@pytest.fixture(scope="module")
def moves(sessionlift: Warm, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Moved]:
    """Gives the moved store of a system, made once."""

    @cache
    def make(name: str) -> Moved:
        system, folder = SYSTEMS[name], tmp_path_factory.mktemp(f"interrupts-{name}")
        source, target = folder / "legacy.db", folder / "new.db"
        system.make(source)
        assert sessionlift("migrate", source, target, "--quiet").code == 0
        system.change(target)
        found = Moved(system, source, target, [], {})
        (folder / "calm").mkdir()
        source, target = found.copy(folder / "calm")
        calm = sessionlift("rollback", target, "--all", "--json")
        assert calm.code == 0, calm.err
        found.seen, found.end = calm.boundaries, system.legacy(source)
        return found

    return make


@pytest.mark.slow
@pytest.mark.torture
@pytest.mark.parametrize(("system", "name", "place"), CASES)
def test_an_interrupted_rollback_ends_in_order(
    sessionlift: Warm, moves: Callable[[str], Moved], tmp_path: Path, system: str, name: str, place: str
) -> None:
    moved = moves(system)
    source, target = moved.copy(tmp_path)
    before = moved.system.living(target)

    ended = sessionlift("rollback", target, "--all", "--json", at=PLACES[place](moved.seen) + 1, do=name)

    assert "Traceback" not in ended.err
    # all is done when the ledger is about to say so: then it ends as it would have. (Which of two runs makes the more
    # temporary files moves the place by one.)
    done = ended.code == 0 and place == "as the ledger is closed"
    assert done or ended.code == 130, ended.out + ended.err
    assert done or "Run the same command again" in ended.err
    (path,) = target.with_name("new.db.reports").glob("rollback-*Z-????????.json")
    assert check_file(path) == []
    status = "completed" if done else "interrupted"
    assert json.loads(path.read_text())["status"] == status
    runs = query(target, "SELECT status FROM sessionlift_runs WHERE kind = 'rollback'")
    assert runs in ([], [(status,)]), "no run is left running"
    living = moved.system.living(target)
    for key, state in ledger(target).items():
        if state in ("rolled_back", "deleted"):
            assert key not in living
            assert moved.system.legacy(source).get(key) == moved.end.get(key)
        else:
            assert living.get(key) == before.get(key)
    assert query(target, "PRAGMA integrity_check") == [("ok",)]
    assert not [file.name for file in tmp_path.rglob("*.partial")]

    again = sessionlift("rollback", target, "--all", "--json")

    assert again.code == 0, again.out + again.err
    assert moved.system.legacy(source) == moved.end
    assert notes(target) == []
    left = sum(count for table in moved.system.tables for (count,) in query(target, counting(table)))
    assert left == 0


def counting(table: str) -> str:
    return f"SELECT count(*) FROM {quote_identifier(table)}"
