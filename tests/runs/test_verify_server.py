"""Verify against a real server: read over HTTP, by nothing that the writer uses."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.made import make_synth_v2

from sessionlift.runs import TransferOptions, migrate, verify
from sessionlift.stores import open_store

pytestmark = [pytest.mark.slow, pytest.mark.sqld]


def test_a_server_is_verified_like_a_file(sqld: str, tmp_path: Path) -> None:
    source = tmp_path / "legacy.duckdb"
    make_synth_v2(source, sessions=15, dress="mixed", traps="all")
    moved = migrate(str(source), sqld, TransferOptions(), report_file=tmp_path)
    assert verify(str(source), sqld, out=tmp_path).report.errors == []
    assert verify(None, None, report_file=moved.path, out=tmp_path).report.errors == []
    with open_store(sqld, mode="rw", role="target") as store:
        store.execute("UPDATE messages SET content = content || ' ' WHERE id = 3")
        store.execute("DELETE FROM events WHERE id = 5")
    report = verify(str(source), sqld, out=tmp_path).report
    assert {line.code for line in report.errors} == {"changed_in_target"}
    assert {(each.table, each.row, each.column) for each in report.verification.differences} == {
        ("messages", "3", "content"),
        ("events", "5", None),
    }
