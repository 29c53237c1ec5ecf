"""Copies of a chain's store, and what lies beside the names of both: logs of other stores, links, the journal of a
killed program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.buddy_stores import ask

from sessionlift._demo import make_session_buddy
from sessionlift.errors import StoreNotFoundError, UsageError
from sessionlift.runs import TransferOptions, _in_place_copy, migrate


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return make_session_buddy(tmp_path / "old.db", generation="session_buddy.v3").path


@pytest.mark.parametrize(("end", "meanwhile"), [("-wal", False), ("-journal", False), ("-wal", True)])
def test_a_copy_gets_no_name_that_logs_of_another_store_wait_for(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, meanwhile: bool
) -> None:
    new, left = tmp_path / "new.db", tmp_path / f"new.db{end}"
    plain, begun = _in_place_copy.snapshot, []

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
