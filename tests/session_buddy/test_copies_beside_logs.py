"""Copies of a chain's store, and what lies beside the names of both: logs of other stores, links, the journal of a
killed program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.buddy_stores import ask, rows
from tests.support.moved import snapshot as snapshot_of

from sessionlift._demo import make_session_buddy
from sessionlift.errors import StoreNotFoundError, StoreReadOnlyError, UsageError
from sessionlift.runs import InPlaceOptions, TransferOptions, _in_place_copy, _snapshot, change_in_place, migrate
from sessionlift.runs._in_place_history import history
from sessionlift.runs._in_place_verify import verify_in_place
from sessionlift.stores import open_store


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return make_session_buddy(tmp_path / "old.db", generation="session_buddy.v3").path


@pytest.mark.parametrize(("end", "meanwhile"), [("-wal", False), ("-journal", False), ("-wal", True)])
def test_a_copy_gets_no_name_that_logs_of_another_store_wait_for(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, meanwhile: bool
) -> None:
    new, left = tmp_path / "new.db", tmp_path / f"new.db{end}"
    plain, begun = _snapshot.snapshot, []

    def snapshot(*arguments: Any) -> None:
        begun.append(True)
        left.write_bytes(b"log")
        plain(*arguments)

    monkeypatch.setattr(_in_place_copy, "snapshot", snapshot)
    if not meanwhile:
        left.write_bytes(b"log")
    with pytest.raises(UsageError, match=f"^{left} is there already, without its store"):
        migrate(str(old), str(new), TransferOptions())
    assert bool(begun) is meanwhile, "refused before any work where that can be"
    assert sorted(path.name for path in tmp_path.iterdir()) == [left.name, "old.db"]


def test_a_copy_is_made_where_a_link_leads_that_leads_to_no_file_yet(old: Path, tmp_path: Path) -> None:
    link, real = tmp_path / "new.db", tmp_path / "real" / "s.db"
    link.symlink_to("real/s.db")
    with pytest.raises(StoreNotFoundError, match=f"there is no directory {real.parent}"):
        migrate(str(old), str(link), TransferOptions())
    real.parent.mkdir()
    assert migrate(str(old), str(link), TransferOptions()).report.status == "completed"
    assert link.is_symlink()
    assert ask(real, "SELECT version_num FROM sessionlift_version") == [("session_buddy_v4",)]


HALF_DONE = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA journal_mode = DELETE")
db.execute("PRAGMA cache_size = 2")
db.execute("BEGIN")
db.execute("UPDATE skill_invocation SET user_query = hex(randomblob(2000))")
os._exit(9)
"""


def test_a_store_that_a_killed_program_left_half_changed_is_recovered_in_a_copy_only(old: Path, tmp_path: Path) -> None:
    was = rows(old)["skill_invocation"]
    old.chmod(0o640)
    subprocess.run([sys.executable, "-c", HALF_DONE, str(old)], check=False)
    before = snapshot_of(tmp_path)
    assert set(before) == {"old.db", "old.db-journal"}
    assert change_in_place(str(old), "upgrade", InPlaceOptions(dry_run=True)).report.status == "completed"
    assert verify_in_place(str(old), str(old)).report.verification.status == "passed"
    assert history(str(old)).steps == []
    new = tmp_path / "new.db"
    for _ in range(2):
        assert migrate(str(old), str(new), TransferOptions()).report.status == "completed"
    assert {name: state for name, state in snapshot_of(tmp_path).items() if name in before} == before
    width = len(was[0])
    assert [row[:width] for row in rows(new)["skill_invocation"]] == was
    assert new.stat().st_mode & 0o777 == 0o640
    with pytest.raises(StoreReadOnlyError, match=r"was left half-changed: old\.db-journal must be rolled back"):
        open_store(f"sqlite://{old}", mode="ro", role="source")
