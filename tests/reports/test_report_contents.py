"""Report files are whole or not there, and reading says what is wrong."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from sessionlift.errors import EXIT_OUTPUT, ReportError
from sessionlift.reports import Loss, Report, find_reports, load, load_raw, write


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_written_report_is_read_back(sound: Report, tmp_path: Path) -> None:
    path = write(sound, tmp_path / "run.json")
    assert load(path) == sound
    assert names(tmp_path) == ["run.json"], "no other file may be left"


def test_keys_stand_in_the_order_of_the_contract(sound: Report, tmp_path: Path) -> None:
    data = load_raw(write(sound, tmp_path / "run.json"))
    assert list(data) == list(sound.to_dict())
    assert next(iter(data)) == "report_version"


def test_missing_folders_are_made(sound: Report, tmp_path: Path) -> None:
    assert load(write(sound, tmp_path / "a" / "b" / "run.json")) == sound


def test_a_report_is_replaced_whole(sound: Report, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write(Report(kind="migrate", run_id="old"), path)
    write(sound, path)
    assert load(path).run_id == "run-1"


def test_a_write_that_fails_leaves_the_old_report_and_nothing_else(
    sound: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    write(Report(kind="migrate", run_id="old"), path)

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ReportError, match="No space left on device"):
        write(sound, path)
    monkeypatch.undo()
    assert load(path).run_id == "old"
    assert names(tmp_path) == ["run.json"]


def test_an_interrupted_write_leaves_nothing(sound: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(sound, tmp_path / "run.json")
    assert names(tmp_path) == []


def test_a_place_that_cannot_be_written_is_told(sound: Report, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="cannot write") as caught:
        write(sound, tmp_path / "file" / "run.json")
    assert caught.value.exit_code == EXIT_OUTPUT
    assert "mend what is in the way" in caught.value.hint
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(ReportError, match="cannot write"):
        write(sound, tmp_path / "folder.json")
    assert names(tmp_path) == ["file", "folder.json"]


def test_a_full_disk_is_told_with_the_way_on(sound: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ReportError, match="No space left") as caught:
        write(sound, tmp_path / "run.json")
    assert "make room there" in caught.value.hint
    assert names(tmp_path) == []


def test_awkward_texts_come_back_the_same(sound: Report, tmp_path: Path) -> None:
    texts = ["\x00", "é𝄞", "half \ud834", "\udd1e half", 'quote " \\', "line\nbreak\u2028", "\x1b[31m"]
    sound.losses = [
        Loss(
            code="c",
            table="t",
            count=9,
            meaning="m",
            original_kept_in="o",
            examples=[*texts, 2**80, 0.1 + 0.2],
        )
    ]
    path = write(sound, tmp_path / "run.json")
    path.read_bytes().decode("utf-8")
    assert load(path).losses[0].examples == [*texts, 2**80, 0.1 + 0.2]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"SQLite format 3\x00", "is not JSON"),
        (b'{"report_version": "1.0", "run_id": NaN}', "is not JSON"),
        (b"[1]", "is JSON, but not a report"),
        (b'{"name": "x"}', "is JSON, but not a report"),
        (b'{"report_version": "2.0", "run_id": "r"}', "has report version 2.0; this build reads 1.1"),
        (b'{"report_version": "1.0", "run_id": "r"}', "is not a valid report: kind is missing"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_what_is_no_report_is_refused_with_what_it_is(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(ReportError, match=told):
        load(path)


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="there is no report at"):
        load(tmp_path / "none.json")
    with pytest.raises(ReportError, match="cannot read"):
        load(tmp_path)


def test_reports_are_found_in_the_order_they_began(sound: Report, tmp_path: Path) -> None:
    for name, began in (("b", "2026-01-03"), ("a", "2026-01-04"), ("c", "2026-01-02")):
        sound.run_id, sound.started_at = name, f"{began}T00:00:00+00:00"
        write(sound, tmp_path / f"{name}.json")
    (tmp_path / "other.json").write_text('{"name": "not a report"}')
    (tmp_path / "torn.json").write_text('{"report_version": "1.0", "run')
    (tmp_path / "broken.json").write_text(json.dumps({"report_version": "1.0", "run_id": "x"}))
    (tmp_path / "newer.json").write_text(json.dumps({"report_version": "7.0", "run_id": "x"}))
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "run.digests.jsonl").write_text("{}")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}

    found = find_reports(tmp_path)

    assert [item.path.name for item in found] == ["c.json", "b.json", "a.json", "broken.json", "newer.json"]
    assert [item.report.run_id for item in found if item.report] == ["c", "b", "a"]
    assert "kind is missing" in found[3].problem
    assert "7.0" in found[4].problem
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_a_folder_without_reports_is_empty_and_a_file_is_no_folder(tmp_path: Path) -> None:
    assert find_reports(tmp_path) == []
    with pytest.raises(ReportError, match="is not a directory"):
        find_reports(tmp_path / "none")
