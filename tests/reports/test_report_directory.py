"""The directory of a report is made for it, and not without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionlift.errors import ReportError
from sessionlift.reports import Digest, directory_for, write_digests


def test_a_directory_that_something_was_put_into_stays(tmp_path: Path) -> None:
    with directory_for(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
    assert (tmp_path / "a" / "b" / "file").exists()


def test_nothing_stays_of_directories_that_stayed_empty(tmp_path: Path) -> None:
    with directory_for(tmp_path / "a" / "b"):
        pass
    assert not list(tmp_path.iterdir())


def test_an_error_goes_on_and_takes_the_empty_directories_with_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), directory_for(tmp_path / "a" / "b"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_what_was_there_before_stays_though_it_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with directory_for(tmp_path / "a" / "b"):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]


def test_directories_go_as_far_as_they_are_empty(tmp_path: Path) -> None:
    with directory_for(tmp_path / "a" / "b"):
        (tmp_path / "a" / "file").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "file"]


def test_a_directory_that_cannot_be_made_takes_back_those_above_it(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="name too long"), directory_for(tmp_path / "a" / ("b" * 300)):
        pass
    assert not list(tmp_path.iterdir())


def test_digests_that_cannot_be_written_leave_no_directory(tmp_path: Path) -> None:
    def broken() -> Iterator[Digest]:
        yield Digest("one", "0" * 64, "1" * 64)
        raise OSError(28, "No space left on device")

    with pytest.raises(ReportError, match="No space left"):
        write_digests(tmp_path / "new.db.reports" / "run.digests.jsonl", broken(), algorithm="sha256")
    assert not list(tmp_path.iterdir())
