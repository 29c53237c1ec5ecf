"""The one format of times in a report."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?\+00:00\Z", re.ASCII)


def moment(text: str) -> datetime | None:
    """The time that a report gives as ISO 8601 in UTC, without its offset; None when the text is no such time."""
    if not _TIME.match(text):
        return None
    # older versions of fromisoformat read three or six digits of a second, nothing between
    whole, dot, rest = text[:-6].partition(".")
    try:
        found = datetime.fromisoformat(whole)
    except ValueError:
        return None
    return found + timedelta(microseconds=int(rest.ljust(6, "0"))) if dot else found
