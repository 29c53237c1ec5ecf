"""What goes into a row of V2's store, in the forms that the real V2 writes and reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sessionlift.errors import StoreFormatError, UsageError

_SURROGATE = re.compile("[\ud800-\udfff]")
_TICK = timedelta(microseconds=1)


def time_text(time: datetime) -> str:
    """A naive UTC time as the real V2's driver writes it: no fraction where it is zero."""
    return time.isoformat(" ")


def read_time(text: Any, *, session_id: str, column: str) -> datetime:
    """A time column as the real V2 reads it. Raises StoreFormatError where the real V2 could not either."""
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise StoreFormatError(
            f"session {session_id!r}: {column} is no time that V2 reads: {text!r}",
            hint="the application wrote it; mend the row",
            role="target",
            session_id=session_id,
        ) from None


def next_time(now: datetime, last: str | None, *, session_id: str) -> str:
    """The time of a message to be appended: ``now``, but later than ``last``, also as the text that V2 sorts by."""
    text = time_text(now)
    if last is None or text > last:
        return text
    try:
        text = time_text(max(now, read_time(last, session_id=session_id, column="timestamp") + _TICK))
    except (OverflowError, TypeError):
        text = ""  # the end of time, or a time with a zone
    if text <= last:
        text = text.replace(" ", "T", 1)  # written by hand with a T, which sorts behind the space
    if text <= last:
        raise StoreFormatError(
            f"session {session_id!r}: no message can follow the one at {last!r}, which V2 sorts by its text",
            hint="mend that message's timestamp",
            role="target",
            session_id=session_id,
        )
    return text


def storable(value: Any, what: str) -> str:
    """``value`` if V2's store can hold it as text. Raises UsageError before anything is written."""
    if not isinstance(value, str):
        raise UsageError(f"{what} must be text, not {type(value).__name__}", hint="nothing was stored")
    if not value.isascii() and _SURROGATE.search(value):
        raise UsageError(f"{what} holds half a surrogate pair, which UTF-8 cannot hold", hint="nothing was stored")
    return value


def json_text(value: Any, what: str) -> str:
    """``value`` as V2 writes JSON. Raises UsageError for what JSON cannot hold."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{what} cannot be stored as JSON: {error}", hint="nothing was stored") from error


def json_object(text: Any, *, session_id: str, column: str) -> dict[str, Any]:
    """A JSON column that V2 needs to be an object. Raises StoreFormatError."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        reason = str(error)
    else:
        if isinstance(found, dict):
            return found
        reason = f"it is a JSON {type(found).__name__}"
    raise StoreFormatError(
        f"session {session_id!r}: {column} cannot be read: {reason}",
        hint="the application cannot read it either; mend the row",
        role="target",
        session_id=session_id,
    )


def context_text(context: Mapping[str, Any]) -> str:
    """``context_data``, with the keys in the order in which V2 writes them."""
    return json_text(dict(context), "the context")
