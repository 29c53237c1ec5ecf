"""Killed at every write boundary, a change in place leaves the old generation whole, or the new one whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.buddy_stores import invoke, shift
from tests.support.servers import REPOSITORY

from sessionlift._demo import make_session_buddy

KILLER = Path(__file__).with_name("in_place_killer.py")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
]


@pytest.mark.parametrize(
    ("generation", "kept", "verb", "to", "least"),
    [
        ("session_buddy.v1", False, "upgrade", "session_buddy.v4", 85),
        ("session_buddy.v4", False, "downgrade", "session_buddy.v1", 140),
        ("session_buddy.v4", True, "upgrade", "session_buddy.v4", 120),
    ],
)
def test_the_store_is_the_old_generation_whole_or_the_new_one_whole(
    tmp_path: Path, generation: str, kept: bool, verb: str, to: str, least: int
) -> None:
    start = tmp_path / "start.db"
    make_session_buddy(start, generation=generation, invocations=30, filled=True)
    if kept:  # the way up brings back what a way down kept, and counts in what was written since
        shift(start, "session_buddy_v3")
        invoke(start, 7)

    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(KILLER), str(start), verb, to],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *killed, finished = [json.loads(line) for line in done.stdout.splitlines()]

    assert len(killed) >= least, f"only {len(killed)} boundaries were seen"
    assert not finished["killed"]
    old, new = killed[0]["left"], finished["left"]
    assert old != new
    committed = [run["boundary"] for run in killed if run["left"] == new]
    for run in killed:
        assert run["killed"]
        assert run["left"] in (old, new), f"boundary {run['boundary']} left half of it"
        assert run["again"] in (None, new), f"boundary {run['boundary']}: the same command did not end the same"
        assert all(backup == old for backup in run["backups"]), f"boundary {run['boundary']}: a backup is not the store"
        if run["boundary"] not in committed and run["again"] is not None:
            assert run["backups"], "before the change was committed a backup was there, or was made again"
    # once it was committed it stays so: only the files beside the store came after
    assert committed == list(range(len(killed) - len(committed) + 1, len(killed) + 1))
