"""What the target says of one session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sessionlift.stores import Store, quote_identifier


@dataclass(frozen=True)
class Known:
    """The session's row, its state in the ledger, and its last failed move, all of it read at one moment."""

    present: bool = False
    state: str | None = None
    digest: str = ""
    run_id: str = ""
    failed: int = 0
    failed_at: str = ""
    failed_code: str = ""
    failed_error: str = ""

    @property
    def lives(self) -> bool:
        """Its rows are there and stand: moved here, or made here."""
        return self.present and self.state != "rolled_back"

    @property
    def moved(self) -> bool:
        """It lives here and came from the legacy store, which may have gone on with it."""
        return self.present and self.state in ("moved", "partial")

    @property
    def native(self) -> bool:
        """It was begun here, and the ledger knows nothing of it."""
        return self.present and self.state is None

    @property
    def gone(self) -> bool:
        """It was here, and was deleted: by the bridge, or by a program that knows no ledger."""
        return not self.present and self.state in ("deleted", "moved", "partial")


def known_in(store: Store, home: str, session_id: str) -> Known:
    """What ``store`` says of the session; ``home`` is its table with one row for each."""
    (row,) = store.query(
        f"SELECT (SELECT count(*) FROM {quote_identifier(home)} WHERE session_id = ?), u.state, u.source_digest, "
        "u.run_id, a.count, a.at, a.code, a.error FROM (SELECT 1) "
        "LEFT JOIN sessionlift_units AS u ON u.unit = 'session' AND u.session_id = ? "
        "LEFT JOIN sessionlift_attempts AS a ON a.session_id = ?",
        (session_id, session_id, session_id),
    )
    present, state, digest, run_id, failed, at, code, error = row
    unit = (bool(present), _text(state), str(digest or ""), str(run_id or ""))
    if failed is None:
        return Known(*unit)
    return Known(*unit, int(str(failed)), str(at), str(code), str(error))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
