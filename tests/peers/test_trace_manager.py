"""The bridge's answer for a trace is the real manager's answer for the migrated store, to the last key."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.peers import environments
from tests.peers.environments import Peer
from tests.support.made import make_synth_v2

from sessionlift._demo import Dress
from sessionlift.bridge import Rollout
from sessionlift.bridge.synth import SyncTraceBridge
from sessionlift.runs import TransferOptions

pytestmark = pytest.mark.peers

Texts = dict[str, str]


def typed(value: Any) -> Any:
    assert isinstance(value, datetime), value
    return {"datetime": value.isoformat()}


def texts(answers: dict[str, Any]) -> Texts:
    """Answers as JSON with their keys in order and times told from texts: NaN and 1.0 keep what they are."""
    return {key: json.dumps(trace, default=typed) for key, trace in answers.items()}


def asked(peer: Peer, store: Path, workplace: Path) -> Texts:
    """What the real manager answers for each session, read from a copy."""
    copy = workplace / f"asked-{peer.version}.db"
    shutil.copyfile(store, copy)
    script = environments.HERE / "trace_with.py"
    done = environments.run(peer.python, [str(script), peer.version, str(copy)], workplace)
    assert done.returncode == 0, done.stderr[-4000:]
    return {key: json.dumps(trace) for key, trace in map(json.loads, done.stdout.splitlines())}


def of_bridge(source: Path, target: Path, ids: list[str], rollout: Rollout) -> Texts:
    # the targets were filled from copies of the source
    same = TransferOptions(same_source=True)
    with SyncTraceBridge(str(source), str(target), same, rollout=rollout) as bridge:
        return texts({each: bridge.get_session_trace(each) for each in ids})


@pytest.mark.parametrize("dress", ["final", "mid", "mixed"])
def test_the_bridge_answers_as_the_real_manager(
    peer: Peer, tmp_path: Path, dress: Dress, move: Callable[[Path], tuple[Path, Path]]
) -> None:
    source = tmp_path / "v2.duckdb"
    make_synth_v2(source, sessions=12, seed=11, dress=dress, traps="all")
    _, migrated = move(source)
    wanted = asked(peer, migrated, tmp_path)
    ids = list(wanted)
    first_use = of_bridge(source, tmp_path / "lazy.db", ids, Rollout())
    assert first_use == wanted
    assert of_bridge(source, tmp_path / "off.db", ids, Rollout(mode="off")) == wanted
    assert of_bridge(source, migrated, ids, Rollout(mode="off")) == wanted
    assert asked(peer, tmp_path / "lazy.db", tmp_path) == wanted


def test_rows_that_the_real_programs_may_have_written_are_answered_alike(
    peer: Peer, tmp_path: Path, move: Callable[[Path], tuple[Path, Path]]
) -> None:
    source = tmp_path / "v2.duckdb"
    make_synth_v2(source, sessions=2, seed=11, dress="final", traps="none")
    target = tmp_path / "v3.db"
    shutil.copyfile(move(source)[1], target)
    with closing(sqlite3.connect(target)) as db, db:
        db.execute(
            "INSERT INTO session_traces (session_id, created_at, num_timesteps, num_events, num_messages, metadata) "
            "VALUES ('native', '2025-09-01 08:00:00', 4, 0, 0, '{}')"
        )
        for step_id, index, started, metadata in (
            ("b", 1, "2025-09-01 08:00:01", '{"x": [1, 2.50, null, NaN]}'),
            ("a", 1, "2025-09-01T08:00:01.250000+02:00", "[]"),
            ("é", 0, None, '"text"'),
            ("z", 0, "2025-09-01 08:00:00.000001", "{}"),
        ):
            db.execute(
                "INSERT INTO session_timesteps "
                "(session_id, step_id, step_index, turn_number, started_at, step_metadata) "
                "VALUES ('native', ?, ?, 3, ?, ?)",
                (step_id, index, started, metadata),
            )
    wanted = asked(peer, target, tmp_path)
    assert of_bridge(source, target, list(wanted), Rollout(mode="off")) == wanted


def test_where_the_releases_differ_the_bridge_answers_as_the_later_one(
    synth_0_2_16: Peer, tmp_path: Path, move: Callable[[Path], tuple[Path, Path]]
) -> None:
    source = tmp_path / "v2.duckdb"
    make_synth_v2(source, sessions=2, seed=11, dress="final", traps="none")
    target = tmp_path / "v3.db"
    shutil.copyfile(move(source)[1], target)
    with closing(sqlite3.connect(target)) as db, db:
        # 0.2.8 says None for the first two, and raises for the others
        for name, created_at, metadata in (
            ("null", "2025-09-01 08:00:00", None),
            ("blank", "2025-09-01 08:00:00", "null"),
            ("broken", "2025-09-01 08:00:00", "{broken"),
            ("no time", "yesterday", "{}"),
        ):
            db.execute(
                "INSERT INTO session_traces "
                "(session_id, created_at, num_timesteps, num_events, num_messages, metadata) VALUES (?, ?, 0, 0, 0, ?)",
                (name, created_at, metadata),
            )
    wanted = asked(synth_0_2_16, target, tmp_path)
    assert of_bridge(source, target, list(wanted), Rollout(mode="off")) == wanted
