"""Which sources are led up in place. Apart from what does so: that takes long to load, and most runs do without."""

from __future__ import annotations

from sessionlift import generations
from sessionlift.errors import SessionliftError
from sessionlift.stores import parse_store_url, sniff


def is_of_a_chain(source: str) -> bool:
    """Whether the store holds a generation of a chain, which is copied and led up rather than converted."""
    where = parse_store_url(source)
    if where.engine not in ("sqlite", "libsql") or where.path is None or sniff(where.path) != "sqlite":
        return False
    try:
        return bool(generations.chain_of(generations.detect(where).generation))
    except SessionliftError:
        return False  # what is wrong with it is told by the run
