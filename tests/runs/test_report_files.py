"""Where a report may be written: over an earlier report, and over nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.made import make_synth_v2

from sessionlift.errors import UsageError
from sessionlift.reports import Report, write
from sessionlift.runs import TransferOptions, plan
from sessionlift.runs._report_files import report_path
from sessionlift.stores import parse_store_url


@pytest.mark.parametrize("end", ["", ".wal", "-wal", "-journal"])
def test_a_report_never_takes_the_place_of_a_store_or_its_log(tmp_path: Path, end: str) -> None:
    source = parse_store_url(f"duckdb://{tmp_path / 'old.duckdb'}")
    target = parse_store_url(f"libsql://{tmp_path / 'new.db'}")
    for name in ("old.duckdb", "new.db"):
        with pytest.raises(UsageError, match="take the place of the store"):
            report_path(target, "run", tmp_path / f"{name}{end}", source=source)


def test_a_report_never_takes_the_place_of_another_file(tmp_path: Path) -> None:
    target = parse_store_url(f"libsql://{tmp_path / 'new.db'}")
    mine = tmp_path / "mine.json"
    mine.write_text('{"message_types": {}}')
    with pytest.raises(UsageError, match="is no report"):
        report_path(target, "run", mine)
    assert mine.read_text() == '{"message_types": {}}'


def test_an_earlier_report_may_be_written_again(tmp_path: Path) -> None:
    target = parse_store_url(f"libsql://{tmp_path / 'new.db'}")
    path = write(Report(kind="plan", run_id="plan-1"), tmp_path / "report.json")
    assert report_path(target, "run", path) == path


def test_digests_that_belong_to_no_report_are_left_alone(tmp_path: Path) -> None:
    target = parse_store_url(f"libsql://{tmp_path / 'new.db'}")
    (tmp_path / "report.digests.jsonl").write_text("mine")
    with pytest.raises(UsageError, match="belongs to no report"):
        report_path(target, "run", tmp_path / "report.json")


def test_a_plan_does_not_write_over_its_source_either(tmp_path: Path) -> None:
    source = tmp_path / "old.duckdb"
    make_synth_v2(source, sessions=1)
    before = source.read_bytes()
    with pytest.raises(UsageError, match="take the place of the store"):
        plan(str(source), None, TransferOptions(), report_file=source)
    assert source.read_bytes() == before
