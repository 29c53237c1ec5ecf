"""Report files: written whole or not at all, read with errors that say what is wrong."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sessionlift.errors import EXIT_OUTPUT, ReportError
from sessionlift.reports._model import REPORT_VERSION, Report
from sessionlift.reports._redact import redact_tree


def write(report: Report, path: str | os.PathLike[str], *, secrets: Iterable[str] = ()) -> Path:
    """Write ``report`` to ``path`` as JSON and return the path.

    Credentials are taken out first: the ``secrets`` given (the token in use) and what has the form of one.
    A reader sees the old file or the new one, never a part: the text goes to a temporary file in the same
    directory, is synced, and takes the name. Raises :class:`~sessionlift.errors.ReportError` if it cannot be
    written.
    """
    data = redact_tree(report.to_dict(), tuple(secrets))
    text = json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    # half a surrogate pair cannot be UTF-8; written as an escape it is valid JSON and the same string again
    return write_atomically(Path(path), [text.encode("utf-8", "backslashreplace")])


@contextmanager
def directory_for(directory: Path) -> Iterator[None]:
    """Make ``directory``, and those above it, for what is put into it inside.

    Of those that were made none stays that is empty afterwards. Raises OSError.
    """
    made = [each for each in (directory, *directory.parents) if not each.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for each in made:
            # the system removes none in which something lies
            with suppress(OSError):
                each.rmdir()


def write_atomically(path: Path, chunks: Iterable[bytes]) -> Path:
    """Make ``path`` a file of ``chunks``, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with directory_for(path.parent):
            try:
                with temporary.open("wb") as file:
                    for chunk in chunks:
                        file.write(chunk)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            _sync_directory(path.parent)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise ReportError(
            f"cannot write {path}: {error.strerror or error}",
            hint=f"{'make room there' if full else 'mend what is in the way'}, or give another path with "
            "--report-file; then run the same command again",
            exit_code=EXIT_OUTPUT,
            path=str(path),
        ) from error
    return path


def _sync_directory(directory: Path) -> None:
    """Make the new name itself durable, where the system lets a directory be opened."""
    if os.name != "posix":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def load_raw(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON object in ``path``: a report of a version that this build reads, but not checked further."""
    file = Path(path)
    try:
        data = json.loads(file.read_bytes(), parse_constant=_no_json_number)
    except FileNotFoundError:
        raise ReportError(
            f"there is no report at {file}",
            hint="`sessionlift report list DIR` shows the reports in a directory",
            path=str(file),
        ) from None
    except OSError as error:
        raise ReportError(f"cannot read {file}: {error.strerror or error}", path=str(file)) from error
    except (ValueError, RecursionError) as error:
        raise ReportError(
            f"{file} is not JSON: {error}", hint="give the JSON report of a run", path=str(file)
        ) from error
    if not isinstance(data, dict) or not isinstance(data.get("report_version"), str) or "run_id" not in data:
        raise ReportError(
            f"{file} is JSON, but not a report: it has no report_version and run_id",
            hint="give the JSON report of a run",
            path=str(file),
        )
    version = data["report_version"]
    if version.partition(".")[0] != REPORT_VERSION.partition(".")[0]:
        raise ReportError(
            f"{file} has report version {version}; this build reads {REPORT_VERSION}",
            hint="use the version of sessionlift that wrote it",
            path=str(file),
            report_version=version,
        )
    return data


def load(path: str | os.PathLike[str]) -> Report:
    """The report in ``path``. Raises :class:`~sessionlift.errors.ReportError` if it is not a valid one."""
    data = load_raw(path)
    try:
        return Report.from_dict(data)
    except ReportError as error:
        raise ReportError(f"{path}: {error.what}", hint=error.hint, path=str(path), **error.fields) from None


def _no_json_number(name: str) -> NoReturn:
    """Python reads NaN and Infinity; JSON has no such numbers, and other readers would refuse the file."""
    raise ValueError(f"{name} is not a number that JSON has")


@dataclass(frozen=True)
class ReportFile:
    """A file that says it is a report: with the report, or with what is wrong with it."""

    path: Path
    report: Report | None
    problem: str = ""


def find_reports(directory: str | os.PathLike[str]) -> list[ReportFile]:
    """The reports among the ``*.json`` files of ``directory``, oldest first, the broken ones at the end.

    Other JSON files are passed over. Read-only; directories below are not searched.
    """
    root = Path(directory)
    if not root.is_dir():
        raise ReportError(f"{root} is not a directory", hint="give the directory of the reports", path=str(root))
    found: list[ReportFile] = []
    for path in sorted(root.glob("*.json")):
        if not path.is_file():
            continue
        try:
            found.append(ReportFile(path, load(path)))
        except ReportError as error:
            if "problems" in error.fields or "report_version" in error.fields:
                found.append(ReportFile(path, None, error.what))
    return sorted(found, key=lambda f: (f.report is None, f.report.started_at if f.report else "", f.path.name))
