"""Whatever lies in a legacy store: an error of ours or an account of every row, no traceback, no hang, no change."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.faults.spoiling import KINDS, Change, Kind, Spoiler, cells, changes, lay, put
from tests.support.laws import TORTURE, tries
from tests.support.moved import snapshot
from tests.support.warm import Outcome, Warm

from sessionlift.reports import check_file

pytestmark = [pytest.mark.torture, pytest.mark.slow]

BYTES = tries(6 if not TORTURE else 20)
CELLS = tries(4 if not TORTURE else 20)
SECONDS = 60


@dataclass
class Bench:
    """One store of a kind, and what is done with its spoiled copies."""

    sessionlift: Warm
    kind: Kind
    folder: Path

    def __post_init__(self) -> None:
        self.pristine = self.folder / "pristine"
        self.pristine.mkdir()
        self.kind.make(self.pristine / self.kind.file)
        spoiled = self.pristine / (self.kind.file + self.kind.spoiled)
        self.spoiler = Spoiler(spoiled.read_bytes(), self.kind.checked)
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()

    def run(self, *command: object) -> Outcome:
        env = {"TMPDIR": str(self.temporary)}
        ended = self.sessionlift(*command, "--json", env=env, cwd=self.folder, seconds=SECONDS)
        what = f"{command[0]}: {ended.code} {ended.out[:1500]}{ended.err[:3000]}"
        assert "Traceback" not in ended.err, what
        assert "panicked" not in ended.err, what
        assert ended.code in (0, 1, 3), what
        if ended.code == 3:
            assert json.loads(ended.out)["hint"], what
        assert list(self.temporary.iterdir()) == [], what
        return ended

    def hold(self) -> None:
        """All commands over the store that lies there now."""
        place, target = self.folder / "source", lay(self.folder / "target", self.empty()) / "new.db"
        source = place / self.kind.file
        before = snapshot(place)
        found = self.run("detect", source)
        planned = self.run("plan", source) if TORTURE else None
        moved = self.run("migrate", source, target)
        assert snapshot(place) == before, "the source was changed"
        if planned is not None and found.code == 3:
            assert planned.code == 3
        if moved.code == 3:
            said = json.loads(moved.out)
            assert check_file(said["report"]) == [] if "report" in said else True
            return
        told = json.loads(moved.out)
        assert check_file(told["path"]) == []
        balanced(told["report"])
        if self.kind.name != "session-buddy":
            assert told["report"]["verification"]["status"] == "passed"
            if TORTURE:
                assert self.run("verify", source, target).code == 0
        assert snapshot(place) == before, "the source was changed"

    def empty(self) -> Path:
        made = self.folder / "empty"
        made.mkdir(exist_ok=True)
        return made


def balanced(report: dict[str, Any]) -> None:
    for name, table in report["tables"].items():
        assert table["read"] == table["written"] + table["quarantined"] + table["excluded"], f"{name}: {table}"


@pytest.fixture(scope="module")
def bench(request: pytest.FixtureRequest, sessionlift: Warm, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(sessionlift, request.param, tmp_path_factory.mktemp(str(request.param)))


@pytest.mark.parametrize("bench", KINDS, ids=str, indirect=True)
@BYTES
@given(asked=changes(), mend=st.booleans())
def test_spoiled_bytes_are_an_error_or_accounted_for(bench: Bench, asked: list[Change], mend: bool) -> None:
    place = lay(bench.folder / "source", bench.pristine)
    (place / (bench.kind.file + bench.kind.spoiled)).write_bytes(bench.spoiler.spoiled(asked, mend=mend))
    bench.hold()


@pytest.mark.parametrize("bench", [kind for kind in KINDS if kind.cells], ids=str, indirect=True)
@CELLS
@given(data=st.data())
def test_spoiled_cells_are_moved_or_accounted_for(bench: Bench, data: st.DataObject) -> None:
    asked = data.draw(cells(bench.kind))
    place = lay(bench.folder / "source", bench.pristine)
    put(place / bench.kind.file, asked)
    bench.hold()
