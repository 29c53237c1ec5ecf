"""What a file is, by its first bytes."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import duckdb
import pytest

from sessionlift.stores import sniff


def test_each_kind_of_file_is_known(tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "d")).close()
    connection = sqlite3.connect(tmp_path / "s")
    connection.execute("CREATE TABLE t (a)")
    connection.close()
    (tmp_path / "e").touch()
    (tmp_path / "t").write_text("é {'a': 1}\n" * 200, encoding="utf-8")
    (tmp_path / "u").write_bytes(bytes(range(256)) * 4)
    (tmp_path / "j").write_text('{"é": [1]}', encoding="utf-8")
    found = {name: sniff(tmp_path / name) for name in "dsetuj"}
    assert found == {"d": "duckdb", "s": "sqlite", "e": "empty", "t": "text", "u": "unknown", "j": "json"}
    assert sniff(tmp_path) == "directory"
    assert sniff(tmp_path / "none") == "missing"
    assert sniff(tmp_path / "t" / "below-a-file") == "missing"


@pytest.mark.parametrize("cut", range(505, 516))
def test_text_is_text_wherever_a_letter_is_cut(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "t"
    path.write_bytes(("漢字" * 400).encode("utf-8")[:cut])
    assert sniff(path) in {"text", "unknown"}
    path.write_bytes(("漢字" * 400).encode("utf-8"))
    assert sniff(path) == "text"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{}", "json"),
        (b" \r\n\t [1]", "json"),
        (b"\xef\xbb\xbf{}", "json"),
        (b'{"a": "' + b"x" * 2000, "json"),
        (b" " * 600 + b"{}", "text"),
        (b"\xef\xbb\xbf", "text"),
        (b'"only a string"', "text"),
        (b"{\0}", "unknown"),
        (b"{\xff                  }", "unknown"),
    ],
)
def test_json_is_a_text_that_begins_like_an_object_or_a_list(tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "f").write_bytes(content)
    assert sniff(tmp_path / "f") == kind


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert sniff(tmp_path / "pipe") == "unknown"


@pytest.mark.fixtures
def test_real_stores_are_known(real_stores: Path) -> None:
    for path in (real_stores / "synth").iterdir():
        if path.suffix in {".duckdb", ".db"}:
            assert sniff(path) == ("duckdb" if path.suffix == ".duckdb" else "sqlite"), path.name
