"""Sessions with texts that the usual memory does not hold: served, compared and moved like any other."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import duckdb
import pytest
from tests.support.laws import TORTURE
from tests.support.made import make_synth_v2
from tests.support.moved import query

from sessionlift.bridge import Rollout, backfill
from sessionlift.bridge._rollout import Mode
from sessionlift.bridge.synth import SyncTraceBridge
from sessionlift.runs import SessionMover, TransferOptions, status, verify

pytestmark = pytest.mark.slow

SIZE = 27_000_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("huge") / "old.duckdb"
    make_synth_v2(path, sessions=3, seed=7)
    told = '[{"metadata_type":"env","data":"' + "x" * SIZE + '","timestamp":"t"}]'
    with duckdb.connect(str(path)) as store:
        for key, metadata in (("told", told), ("said", "[]")):
            store.execute("INSERT INTO session_traces VALUES (?, '2025-05-01', 0, 0, 0, ?, NULL)", [key, metadata])
        said = '"' + "y" * SIZE + '"'
        store.execute("INSERT INTO messages (session_id, message_type, content) VALUES ('said', 'user', ?)", [said])
    return str(path)


@pytest.mark.torture
@pytest.mark.parametrize(
    ("key", "mode"),
    list(product(["told", "said"], ["off", "shadow", "lazy"]))
    if TORTURE
    else [("told", "shadow"), ("said", "shadow"), ("told", "lazy")],
)
def test_a_huge_text_is_served_compared_and_moved(made: str, tmp_path: Path, key: str, mode: Mode) -> None:
    with SyncTraceBridge(made, str(tmp_path / "new.db"), rollout=Rollout(mode=mode)) as bridge:
        trace, core = bridge.get_session_trace(key), bridge.core
        assert trace is not None
        assert core is not None
        assert (trace["session_id"], len(str(trace["metadata"])) > SIZE) == (key, key == "told")
    report = json.loads(core.report.read_text())
    assert report["errors"] == []


def test_a_backfill_moves_huge_texts_among_the_others(made: str, tmp_path: Path) -> None:
    target = str(tmp_path / "new.db")
    found = backfill(made, target)
    assert (found.left, found.report.migrated_sessions) == (0, 5)
    waiting = status(target, made).waiting
    assert waiting is not None
    assert waiting.left == 0
    sizes = query(Path(target), "SELECT length(content) FROM messages WHERE session_id = 'said'")
    assert sizes == [(SIZE,)]
    assert not verify(made, target).report.has_findings


def test_what_has_moved_is_looked_at_again_with_room(made: str, tmp_path: Path) -> None:
    with SessionMover(made, str(tmp_path / "new.db"), TransferOptions()) as mover:
        for key in ("told", "said"):
            assert mover.move(key).now
            digest = dict(mover.ledger.digests("session"))[key]
            assert not mover.changed(key, digest)
            assert mover.changed(key, "another")
