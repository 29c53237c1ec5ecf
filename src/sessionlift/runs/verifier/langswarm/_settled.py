"""A session that both sides went on with, and of which a catch-up kept the new store's side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sessionlift.runs.verifier.langswarm._ledger import Aside, Entry
from sessionlift.runs.verifier.langswarm._rules import MESSAGES, SESSION, Expected, Row

CANNOT_SEE = (
    "of a session in which a catch-up kept the new store's side: its own values and metrics, which the legacy store's "
    "no longer lead to; its messages, and what is in quarantine of it, are compared"
)
_TAIL, _VALUES = "legacy_tail", "legacy_values"


def is_kept_new(entry: Entry) -> bool:
    """Whether all that is in quarantine of the session is what a catch-up left out of it."""
    return bool(entry.aside) and all(each.code in (_TAIL, _VALUES) for each in entry.aside)


def without_tail(made: Expected, aside: Sequence[Aside]) -> tuple[list[Row], list[Aside]]:
    """The messages of V1 that the target must have, and those rows in quarantine that are none of V1's."""
    left, kept = list(made.messages), set[Row]()
    strange = []
    for each in aside:
        if each.code != _TAIL:
            continue
        row = _row(each, MESSAGES)
        if row in left:
            left.remove(row)
            kept.add(row)
        elif row not in kept:
            # one that was kept by two catch-ups is there twice
            strange.append(each)
    values = [each for each in aside if each.code == _VALUES]
    # V1 may have gone on after the earlier ones
    strange += [each for each in values[-1:] if _row(each, SESSION) != tuple(made.session)]
    return left, strange


def _row(aside: Aside, columns: Iterable[str]) -> Row:
    value = aside.value()
    return tuple(value.get(column) for column in columns) if isinstance(value, dict) else ()
