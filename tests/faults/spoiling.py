"""Stores that are spoiled: bytes of their files, or what lies in their cells."""

from __future__ import annotations

import json
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
from hypothesis import strategies as st
from tests.support.made import make_synth_v2

from sessionlift._demo import make_langswarm_dump, make_langswarm_enhanced, make_langswarm_v1, make_session_buddy

_KILLED = """
import duckdb, os, sys
db = duckdb.connect(sys.argv[1])
db.execute("SET checkpoint_threshold = '1TB'")
db.execute("UPDATE session_traces SET metadata = '[]'")
db.execute("INSERT INTO messages SELECT * REPLACE (id + 100000 AS id) FROM messages")
os._exit(0)
"""


def make_with_log(path: Path) -> None:
    """A v2 store whose program was killed: the last that it wrote lies in its log."""
    make_synth_v2(path, sessions=3, traps="usual")
    subprocess.run([sys.executable, "-c", _KILLED, str(path)], check=True)
    assert Path(f"{path}.wal").stat().st_size


@dataclass(frozen=True)
class Kind:
    """A kind of legacy store: its file's name, how it is made, which of its files is spoiled, and the command."""

    name: str
    file: str
    make: Callable[[Path], Any]
    spoiled: str = ""
    checked: bool = False
    """Whether the file's blocks carry checksums, which are set right again for some of the examples."""
    cells: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return self.name


_SYNTH_CELLS = (
    ("session_traces", "metadata"),
    ("session_timesteps", "step_metadata"),
    ("events", "system_state_before"),
    ("events", "metadata"),
    ("events", "event_metadata"),
    ("events", "event_type"),
    ("messages", "content"),
    ("messages", "message_type"),
)
_SWARM_CELLS = (("sessions", "metadata"), ("sessions", "history"), ("sessions", "provider"), ("sessions", "user_id"))
_BUDDY_CELLS = (
    ("skill_invocation", "skill_name"),
    ("skill_invocation", "invoked_at"),
    ("skill_invocation", "session_id"),
    ("skill_invocation", "error_type"),
)
KINDS = (
    Kind("duckdb", "v2.duckdb", lambda path: make_synth_v2(path, sessions=3, traps="usual"), "", True, _SYNTH_CELLS),
    Kind("duckdb-log", "v2.duckdb", make_with_log, ".wal"),
    Kind("v1", "v1.db", lambda path: make_langswarm_v1(path, sessions=8), cells=_SWARM_CELLS),
    Kind("v1-enhanced", "v1.db", lambda path: make_langswarm_enhanced(path, sessions=8), cells=(("memory", "value"),)),
    Kind("v1-dump", "v1.json", lambda path: make_langswarm_dump(path, sessions=8)),
    Kind("session-buddy", "s.db", lambda path: make_session_buddy(path, invocations=20), cells=_BUDDY_CELLS),
)

# --- bytes ------------------------------------------------------------------------------------------------------

Change = tuple[str, float, int, int]
"""What is done, how far into what the file uses, a byte, a length."""


def changes() -> st.SearchStrategy[list[Change]]:
    one = st.tuples(
        st.sampled_from(["flip", "set", "fill", "cut", "copy", "grow"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 255),
        st.sampled_from([1, 2, 8, 100, 4096, 300_000]),
    )
    return st.lists(one, min_size=1, max_size=6)


@dataclass
class Spoiler:
    """The bytes of a store's file, and where in it something lies that is not zero."""

    data: bytes
    checked: bool
    used: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.used = [at for at, byte in enumerate(self.data) if byte] or [0]

    def spoiled(self, asked: list[Change], *, mend: bool) -> bytes:
        data, cut = bytearray(self.data), False
        for what, share, byte, length in asked:
            at = min(self.used[int(share * len(self.used))], len(data) - 1)
            if not data:
                break
            if what == "flip":
                data[at] ^= 1 << byte % 8
            elif what == "set":
                data[at] = byte
            elif what == "fill":
                data[at : at + length] = bytes([byte]) * len(data[at : at + length])
            elif what == "copy":
                start = self.used[byte * len(self.used) // 256]
                piece = self.data[start : start + length]
                data[at : at + len(piece)] = piece[: len(data) - at]
            elif what == "grow":
                data += bytes([byte]) * length
            elif what == "cut" and byte < 64:
                del data[at:]
                cut = True
        if mend and self.checked and not cut:
            _mend_checksums(data)
        return bytes(data)


_HEADERS, _HEADER, _BLOCK = 3, 4096, 256 << 10


def _mend_checksums(data: bytearray) -> None:
    """Give each block of a DuckDB file the checksum of what it holds now, so that it is read for what it says."""
    places = [(at * _HEADER, _HEADER) for at in range(_HEADERS)]
    places += [(at, _BLOCK) for at in range(_HEADERS * _HEADER, len(data) - _BLOCK + 1, _BLOCK)]
    for at, size in places:
        struct.pack_into("<Q", data, at, _checksum(bytes(data[at + 8 : at + size])))


def _checksum(data: bytes) -> int:
    found = 5381
    for word in struct.unpack(f"<{len(data) // 8}Q", data):
        if word:
            found ^= word * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
    return found


# --- cells ------------------------------------------------------------------------------------------------------

_ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "\0", "\ud800", "null", "NaN", "2025-01-01T00:00:00", "9999-99-99", "x" * 70_000]),
)
_NAMES = st.sampled_from(
    ["messages", "content", "role", "metadata", "timestamp", "id", "session_id", "provider", "model", "type",
     "event_type", "created_at", "sessionlift", "text", "payload", ""]
)  # fmt: skip
_JSON = st.recursive(
    _ODD, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_NAMES, inner, max_size=4))
)
_DEEP = st.integers(1, 3_000).map(lambda depth: "[" * depth + "]" * depth)


def cells(kind: Kind) -> st.SearchStrategy[list[tuple[tuple[str, str], int, str | None]]]:
    """Columns, the number of a row, and the text that it gets."""
    text = st.one_of(_JSON.map(json.dumps), _DEEP, st.text(max_size=40), st.none())
    return st.lists(st.tuples(st.sampled_from(kind.cells), st.integers(0, 30), text), min_size=1, max_size=5)


def put(path: Path, asked: list[tuple[tuple[str, str], int, str | None]]) -> None:
    """Put the texts into the store, those that its engine takes; NOT NULL and JSON columns of DuckDB take not all."""
    if path.suffix == ".duckdb":
        with duckdb.connect(str(path)) as db:
            for (table, column), row, text in asked:
                try:
                    db.execute(
                        f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = (SELECT rowid FROM "{table}" '
                        "ORDER BY rowid LIMIT 1 OFFSET ?)",
                        [text, row],
                    )
                except (duckdb.Error, RuntimeError, UnicodeError):
                    continue
        return
    with closing(sqlite3.connect(path, isolation_level=None)) as store:
        for (table, column), row, text in asked:
            try:
                store.execute(
                    f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = (SELECT rowid FROM "{table}" '
                    "ORDER BY rowid LIMIT 1 OFFSET ?)",
                    (text, row),
                )
            except (sqlite3.Error, UnicodeError):
                continue


def lay(folder: Path, pristine: Path) -> Path:
    """A copy of a store's folder, in place of whatever is there; returns the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(pristine, folder, copy_function=shutil.copy)
    return folder
