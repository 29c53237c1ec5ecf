"""Why rows lie in quarantine, as the ledger says it, for both systems."""

from __future__ import annotations

from collections.abc import Sequence

from sessionlift.runs.verifier._readers import TargetReader, id_list

REFUSED = "target_refused"
"""The code of what the target did not take, which no rule of the source foresees."""


def codes(target: TargetReader, ids: Sequence[str]) -> dict[str, set[str]]:
    """By session the codes of its rows in quarantine."""
    found: dict[str, set[str]] = {}
    some, params = id_list(ids)
    where = f"unit = 'session' AND session_id IN ({some})"
    for session, code in target.read("sessionlift_quarantine", ("session_id", "code"), where, params):
        found.setdefault(str(session), set()).add(str(code))
    return found
