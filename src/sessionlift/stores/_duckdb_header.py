"""What a DuckDB file says of itself in its first three blocks, read without DuckDB."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

_HEADER = 4096  # one main header and two database headers of this size
_HEADERS = 3 * _HEADER
_MAGIC_AT, _MAGIC = 8, b"DUCK"
_DEFAULT_BLOCK = 262_144
_LAST_KNOWN_VERSION = 69
_RELEASE = re.compile(rb"v\d+\.\d+\.\d+[-.\w]*")


@dataclass(frozen=True)
class DuckdbHeader:
    """``release`` wrote the file (``v1.1.3``); ``needed`` bytes are what its block count asks for."""

    release: str | None
    needed: int | None


def read_header(path: Path) -> DuckdbHeader | None:
    """The file's header, or None if it is no DuckDB file or too short to have one.

    Do not call it while this process has the file open: closing our handle drops DuckDB's lock.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEADERS)
    except OSError:
        return None
    if head[_MAGIC_AT : _MAGIC_AT + 4] != _MAGIC:
        return None
    match = _RELEASE.search(head[:_HEADER])
    release = match.group().decode("ascii") if match else None
    (version,) = struct.unpack_from("<Q", head.ljust(20, b"\0"), _MAGIC_AT + 4)
    if len(head) < _HEADERS:
        return DuckdbHeader(release, _HEADERS)
    if version > _LAST_KNOWN_VERSION:
        return DuckdbHeader(release, None)
    # checksum, iteration, meta block, free list, block count, block size; the later iteration is in force
    both = [struct.unpack_from("<6Q", head, offset) for offset in (_HEADER, 2 * _HEADER)]
    _checksum, _iteration, _meta, _free, blocks, size = max(both, key=lambda header: header[1])
    return DuckdbHeader(release, _HEADERS + blocks * (size or _DEFAULT_BLOCK))
