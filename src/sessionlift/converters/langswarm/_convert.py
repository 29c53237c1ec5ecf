"""``forward``: a legacy row to everything that its move consists of, as a pure function."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sessionlift.converters._batch import SESSION, Quarantined
from sessionlift.converters._jsontext import is_strict
from sessionlift.converters.langswarm._backward import backward, keep_cells
from sessionlift.converters.langswarm._kept import Kept, give_back, kept_of
from sessionlift.converters.langswarm._reading import Parsed, read, read_metadata
from sessionlift.converters.langswarm._row import (
    ODD_VALUES,
    LegacyRow,
    Unreadable,
    raw_row,
    source_digest,
    texts_of,
)
from sessionlift.converters.langswarm._salvage import salvage
from sessionlift.converters.langswarm._session import Aside, Moved, SessionRows, disagreeing, make_rows
from sessionlift.converters.langswarm._zone import Zone, zone_named


@dataclass(frozen=True)
class LangswarmOptions:
    """``timezone`` is the zone of the legacy store's naive times; ``only`` picks sessions (None: all).

    ``salvage``: move what can be read of a session whose history cannot be read as a whole.
    """

    timezone: str = "UTC"
    only: tuple[str, ...] | None = None
    salvage: bool = False


def forward(row: LegacyRow, options: LangswarmOptions, kept: Kept | None = None) -> Moved | Aside:
    """V2's rows for ``row``, or why it goes to quarantine whole.

    ``kept`` is what ``keep_for_forward`` gave when the session was taken back to V1: what V1 has not changed since
    becomes what it was in V2.
    """
    zone = zone_named(options.timezone)
    try:
        try:
            parsed = read(row)
        except Unreadable as unreadable:
            if unreadable.code != "history_unreadable" or not options.salvage:
                raise
            return _salvaged(row, zone, unreadable, kept)
        return _whole(row, parsed, zone, kept)
    except Unreadable as unreadable:
        return Aside(unreadable.code, unreadable.reason)
    except RecursionError:
        # V2 puts V1's values a few levels deeper than V1 had them
        return Aside("nested_too_deeply", "its values are nested as deeply as Python reads, and V2 nests them deeper")


def _whole(row: LegacyRow, parsed: Parsed, zone: Zone, kept: Kept | None) -> Moved:
    moved = make_rows(row.key, parsed, zone)
    _give_back(moved, row, parsed, kept, zone)
    texts = texts_of(row)
    documents = {"metadata": texts.metadata, "history": texts.history}
    keep_cells(moved.rows, moved.complement, row.cells if row.dress == "sqlite" else documents)
    columns = disagreeing(row, parsed.metadata)
    if columns:
        moved.facts.append(("columns_disagree", "sessions", 1, columns))
    if not all(_is_strict(text) for text in documents.values()):
        moved.facts.append(("json_not_strict", "sessions", 1, None))
    return moved


def _give_back(moved: Moved, row: LegacyRow, parsed: Parsed, kept: Kept | None, zone: Zone) -> None:
    if kept is None or "made" not in kept:  # it is of rows without a session
        return
    plain = moved.rows, {**moved.complement}, [*moved.losses]
    try:
        give_back(moved, parsed, kept, zone, as_made=source_digest(row) == kept["made"])
    except ODD_VALUES:
        # whatever is kept of one session must not keep the others from moving: it stays kept, and the run says so
        moved.rows, moved.complement, moved.losses = plain
        moved.given = None


def _is_strict(cell: Any) -> bool:
    text = cell if isinstance(cell, str) else bytes(cell).decode(json.detect_encoding(cell), "surrogatepass")
    return not ("NaN" in text or "Infinity" in text) or is_strict(text.removeprefix("\ufeff"))


def _salvaged(row: LegacyRow, zone: Zone, unreadable: Unreadable, kept: Kept | None) -> Moved:
    texts = texts_of(row)
    metadata = read_metadata(texts.metadata)
    found = salvage(texts.history)
    history = {"session_id": row.key, "messages": found.messages, **found.history}
    parsed = Parsed(metadata, history, found.messages)
    moved = make_rows(row.key, parsed, zone)
    _give_back(moved, row, parsed, kept, zone)
    # its keys are those that could be read: what comes back is written as V1 writes it
    moved.complement.pop("history", None)
    original = {**row.cells} if row.dress == "sqlite" else {"metadata": texts.metadata}
    original.pop("history", None)
    keep_cells(moved.rows, moved.complement, original)
    moved.quarantine = [
        Quarantined(SESSION, row.key, "session_messages", str(place), "message_unreadable", reason, {"entry": text})
        for place, reason, text in found.entries
    ]
    moved.quarantine.append(
        Quarantined(SESSION, row.key, "history", "history", "history_salvaged", unreadable.reason, raw_row(row))
    )
    moved.facts.append(("history_salvaged", "history", 1, {"moved": len(found.messages)}))
    columns = disagreeing(row, metadata)
    if columns:
        moved.facts.append(("columns_disagree", "sessions", 1, columns))
    return moved


# --- what the way back keeps for the next move forward


def keep_for_forward(
    rows: SessionRows, complement: Mapping[str, Any] | None, zone: str = "UTC"
) -> dict[str, Any] | None:
    """What of ``rows`` would not come again if V1's row, as ``backward`` makes it, were moved; None if all would.

    JSON-ready. Raises ConversionError where V2 itself could not read the session.
    """
    before = complement or {}
    cells = backward(rows, complement, zone).cells
    row = LegacyRow(rows.session[0], cells)
    again = forward(row, LangswarmOptions(timezone=before.get("zone") or zone))
    # V1 need not have the list, nor need it be one where it is empty
    messages = json.loads(cells["history"]).get("messages") or []
    return kept_of(rows, again.rows if isinstance(again, Moved) else None, messages, source_digest(row), before)
