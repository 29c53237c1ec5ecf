"""The digests file is vouched for by its own digest, and read back exactly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.laws import tries

from sessionlift.errors import ReportError
from sessionlift.reports import Digest, digests_path, file_sha256, read_digests, write_digests

ENTRIES = [Digest("", "c1", "c2", "catalog"), Digest("s-1", "a", "b"), Digest("s\n2\ud800é", "c", "d")]


def test_digests_are_read_back_as_they_were(tmp_path: Path) -> None:
    report = tmp_path / "run.json"
    said = write_digests(digests_path(report), iter(ENTRIES), algorithm="blake2b-256")
    assert (said.path, said.sessions, said.algorithm) == ("run.digests.jsonl", 2, "blake2b-256")
    assert list(read_digests(report, said)) == ENTRIES
    content = (tmp_path / "run.digests.jsonl").read_bytes()
    assert said.sha256 == hashlib.sha256(content).hexdigest() == file_sha256(tmp_path / "run.digests.jsonl")
    assert [p.name for p in tmp_path.iterdir()] == ["run.digests.jsonl"]


def test_there_is_one_line_of_json_per_unit(tmp_path: Path) -> None:
    path = tmp_path / "run.digests.jsonl"
    write_digests(path, ENTRIES, algorithm="x")
    lines = [json.loads(line) for line in path.read_text("ascii").splitlines()]
    assert lines[1] == {"unit": "session", "session_id": "s-1", "source_digest": "a", "target_digest": "b"}
    assert len(lines) == 3


def test_no_sessions_make_an_empty_file(tmp_path: Path) -> None:
    said = write_digests(tmp_path / "d.jsonl", [], algorithm="x")
    assert said.sessions == 0
    assert said.sha256 == hashlib.sha256(b"").hexdigest()
    assert list(read_digests(tmp_path / "r.json", said)) == []


def test_a_changed_file_is_refused_before_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    said = write_digests(path, ENTRIES, algorithm="x")
    path.write_bytes(path.read_bytes().replace(b"s-1", b"s-3"))
    with pytest.raises(ReportError, match="is not the digests file of this report"):
        read_digests(tmp_path / "r.json", said)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    said = write_digests(tmp_path / "d.jsonl", ENTRIES, algorithm="x")
    (tmp_path / "d.jsonl").unlink()
    with pytest.raises(ReportError, match="cannot read the digests file"):
        read_digests(tmp_path / "r.json", said)


@pytest.mark.parametrize("line", [b"nonsense\n", b"[1]\n", b'{"session_id": "x"}\n', b'{"mood": 1}\n'])
def test_a_line_that_is_no_digest_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "d.jsonl"
    said = write_digests(path, ENTRIES, algorithm="x")
    path.write_bytes(path.read_bytes() + line)
    said.sha256 = file_sha256(path)
    with pytest.raises(ReportError, match="line 4 of"):
        list(read_digests(tmp_path / "r.json", said))


def test_a_source_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def failing() -> Iterator[Digest]:
        yield ENTRIES[0]
        raise RuntimeError("the ledger went away")

    with pytest.raises(RuntimeError):
        write_digests(tmp_path / "d.jsonl", failing(), algorithm="x")
    assert list(tmp_path.iterdir()) == []


@tries(50)
@given(
    st.lists(
        st.builds(Digest, st.text(), st.text(), st.text(), st.sampled_from(["session", "catalog"])),
        max_size=5,
    )
)
def test_any_ids_survive(tmp_path: Path, entries: list[Digest]) -> None:
    said = write_digests(tmp_path / "d.jsonl", entries, algorithm="x")
    assert list(read_digests(tmp_path / "r.json", said)) == entries
