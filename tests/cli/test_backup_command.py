"""``sessionlift backup`` and ``sessionlift restore``, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest
from tests.support.run_fixtures import Legacy
from tests.support.warm import Warm


@pytest.mark.slow
def test_there_and_back(sessionlift: Warm, legacy: Legacy, tmp_path: Path) -> None:
    path = legacy(sessions=4)
    taken = sessionlift("backup", path, "--to", tmp_path / "kept")
    assert taken.code == 0, taken.err
    (place,) = (tmp_path / "kept").iterdir()
    assert taken.out.startswith(f"Backup: {place}\n  synth.v2, ")
    refused = sessionlift("restore", place)
    assert refused.code == 2
    assert "is there already" in refused.err
    assert "--replace" in refused.err
    with duckdb.connect(str(path)) as db:
        count = db.execute("SELECT count(*) FROM events").fetchone()
        db.execute("DELETE FROM events")
    done = json.loads(sessionlift("restore", place, "--replace", "--json").out)
    assert done["ok"]
    with duckdb.connect(str(path)) as db, duckdb.connect(done["aside"]) as old:
        assert db.execute("SELECT count(*) FROM events").fetchone() == count
        assert old.execute("SELECT count(*) FROM events").fetchone() == (0,)


def test_a_spoiled_backup_is_an_error_with_a_next_step(sessionlift: Warm, legacy: Legacy, tmp_path: Path) -> None:
    told = json.loads(sessionlift("backup", legacy(sessions=4), "--to", tmp_path / "kept", "--json").out)
    (Path(told["path"]) / "store.duckdb").write_bytes(b"")
    outcome = sessionlift("restore", told["path"], "--to", tmp_path / "new.duckdb")
    assert outcome.code == 3
    assert "Error [backup]" in outcome.err
    assert not (tmp_path / "new.duckdb").exists()
