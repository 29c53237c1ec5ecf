"""Runs the verifier's process beside a run, or alone over everything that the ledger names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from sessionlift.converters import CATALOG, UnitKind
from sessionlift.reports import Difference, Verification
from sessionlift.runs._options import TransferOptions
from sessionlift.runs._protocol import Message, Worker
from sessionlift.stores import StoreURL

_MANY = 1_000
"""Sessions that are told of at once."""


class Verifier:
    """One verifier process for moves from the generation ``road``: it loads what it needs from the start.

    Tell it of the stores with ``begin``, and then of units as they are committed; ``finish`` waits for the result.
    """

    def __init__(self, road: str, *, temporary: Path | None = None) -> None:
        self._worker = Worker(
            "sessionlift.runs._verify_worker", {"road": road}, name="verifier", role="target", temporary=temporary
        )
        self.peak_memory_mb = 0.0
        self.changed_since = 0

    def begin(self, source: StoreURL, target_text: str, options: TransferOptions, *, late: bool = False) -> Verifier:
        """Let it open both stores; ``options`` are those of the run that moved, or is about to. ``late``: some indexes
        of the target will be there by ``finish``, and not before."""
        told = {"source": source.redacted, "target": target_text, "options": options.to_message(), "late": late}
        self._worker.tell(told)
        return self

    def catalog(self) -> None:
        self._worker.tell({"kind": "catalog"})

    def sessions(self, ids: Sequence[str]) -> None:
        if ids:
            self._worker.tell({"kind": "session", "ids": list(ids)})

    def earlier(self, units: Iterable[tuple[UnitKind, str, str, str, str]]) -> None:
        """Units of an earlier run, as the ledger has them, each with its source and target digest of then: those are
        compared that neither program has changed since, the others count as ``changed_since``."""
        some: list[list[str]] = []
        for kind, session_id, source_digest, target_digest, state in units:
            if kind == CATALOG:
                self.catalog()
            elif state in ("moved", "partial"):
                some.append([session_id, source_digest, target_digest])
            if len(some) == _MANY:
                self._worker.tell({"kind": "earlier", "units": some})
                some = []
        if some:
            self._worker.tell({"kind": "earlier", "units": some})

    def audit(self, *, only: Sequence[str] | None, run_id: str | None = None, digests: Path | None = None) -> None:
        """Check everything that the ledger names; or, with ``run_id``, everything that its report claims."""
        self._worker.tell(
            {
                "kind": "audit",
                "only": None if only is None else list(only),
                "run_id": run_id,
                "digests": None if digests is None else str(digests),
            }
        )
        self._worker.no_more()

    def heard(self) -> Message:
        """The next message, which the caller waits for. Raises what the verifier reports as an error."""
        return self._worker.answer()

    def progress(self) -> int | None:
        """Sessions checked by now, None if nothing new was said. Raises the verifier's error, if any."""
        said = [message for message in self._worker.waiting() if message["type"] == "checked"]
        return said[-1]["sessions"] if said else None

    def finish(self, heard: Sequence[Message] = ()) -> Verification:
        """Wait until everything is compared."""
        self._worker.no_more()
        for message in heard:
            if message["type"] == "verified":
                return self.result(message)
        while (message := self._worker.answer())["type"] != "verified":
            continue
        return self.result(message)

    def result(self, message: Message) -> Verification:
        """What the verifier's last message says, in the form that reports have."""
        self.peak_memory_mb = message["peak_memory_mb"]
        self.changed_since = message["changed_since"]
        return Verification(
            status="failed" if message["differences"] else "passed",
            checked_sessions=message["sessions"],
            checked_rows=message["rows"],
            checked_values=message["values"],
            differences=differences_of(message),
            differences_truncated=message["more"],
            method=message["method"],
            cannot_see=message["cannot_see"],
        )

    def stop(self) -> None:
        self._worker.stop()


def differences_of(message: Message) -> list[Difference]:
    """The differences that a process has named, in the form that reports have."""
    return [
        Difference(
            session_id=each["session_id"],
            table=each["table"],
            row=each["row"],
            column=each["column"],
            expected=each["expected"],
            found=each["found"],
            message=each["message"],
        )
        for each in message["differences"]
    ]


def with_token(url: StoreURL) -> str:
    """The target's URL for the verifier's process, token included: it goes through a pipe, never into a report."""
    if url.engine == "sqld" and url.token:
        return f"libsql+{url.url}?authToken={quote(url.token, safe='')}"
    return url.redacted
