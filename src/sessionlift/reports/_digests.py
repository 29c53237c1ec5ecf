"""The digests of single sessions: a file of JSON lines beside the report, which vouches for it by its digest.

Session ids stand here exactly as the stores have them: this file is for re-checking, so nothing is redacted.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sessionlift.errors import ReportError
from sessionlift.reports._files import write_atomically
from sessionlift.reports._model import Digests

_CHUNK = 1 << 20
_text = json.encoder.encode_basestring_ascii


@dataclass(frozen=True)
class Digest:
    """What one unit was when it was read and when it was written. The catalog is a unit without a session."""

    session_id: str
    source_digest: str
    target_digest: str
    unit: Literal["session", "catalog"] = "session"


def digests_path(report_path: str | os.PathLike[str]) -> Path:
    """Where the digests of the report at ``report_path`` go: ``run.digests.jsonl`` beside ``run.json``."""
    path = Path(report_path)
    return path.with_name(f"{path.stem}.digests.jsonl")


def write_digests(path: str | os.PathLike[str], digests: Iterable[Digest], *, algorithm: str) -> Digests:
    """Write one line per unit, in the given order, and return what the report has to say about the file.

    ``digests`` is read once and never held as a whole. ``algorithm`` names how the single digests were made;
    the file's own digest is SHA-256. The file takes its name only when it is complete.
    """
    whole = hashlib.sha256()
    sessions = 0

    def lines() -> Iterator[bytes]:
        nonlocal sessions
        for entry in digests:
            line = (
                # a third of what making an object and dumping it takes, for as many lines as sessions
                f'{{"unit":{_text(entry.unit)},"session_id":{_text(entry.session_id)},'
                f'"source_digest":{_text(entry.source_digest)},"target_digest":{_text(entry.target_digest)}}}\n'
            ).encode("ascii")
            whole.update(line)
            sessions += entry.unit == "session"
            yield line

    target = write_atomically(Path(path), lines())
    return Digests(path=target.name, sha256=whole.hexdigest(), algorithm=algorithm, sessions=sessions)


def read_digests(report_path: str | os.PathLike[str], digests: Digests) -> Iterator[Digest]:
    """The lines of the digests file that the report at ``report_path`` speaks of.

    The whole file is hashed before the first line is given out. Raises
    :class:`~sessionlift.errors.ReportError` if it is missing, is not the file that the report vouches for, or
    cannot be understood.
    """
    path = Path(report_path).with_name(digests.path)
    try:
        found = file_sha256(path)
    except OSError as error:
        raise ReportError(
            f"cannot read the digests file {path}: {error.strerror or error}",
            hint="keep it in the directory of the report",
            path=str(path),
        ) from error
    if found != digests.sha256:
        raise ReportError(
            f"{path} is not the digests file of this report: its SHA-256 is {found}, the report says {digests.sha256}",
            hint="the file was changed, or belongs to another run",
            path=str(path),
            expected=digests.sha256,
            found=found,
        )
    return _lines(path)


def _lines(path: Path) -> Iterator[Digest]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                entry = Digest(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise ReportError(f"line {number} of {path} is not a digest: {error}", path=str(path)) from error
            yield entry


def file_sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, in hexadecimal; the file is read in pieces."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
