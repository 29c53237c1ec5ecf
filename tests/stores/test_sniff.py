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
    found = {name: sniff(tmp_path / name) for name in "dsetu"}
    assert found == {"d": "duckdb", "s": "sqlite", "e": "empty", "t": "text", "u": "unknown"}
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


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert sniff(tmp_path / "pipe") == "unknown"


@pytest.mark.fixtures
def test_real_stores_are_known(real_stores: Path) -> None:
    for path in (real_stores / "synth").iterdir():
        if path.suffix in {".duckdb", ".db"}:
            assert sniff(path) == ("duckdb" if path.suffix == ".duckdb" else "sqlite"), path.name
