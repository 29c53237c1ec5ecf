"""Digests of sessions some of which no driver gives as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sessionlift.errors import StoreTextError

UNREADABLE = ""
"""What stands for the digest of a session with a text that is not UTF-8: it is like no other, nor like itself."""


def digests_apart(make: Callable[[Sequence[str]], Mapping[str, str]], ids: Sequence[str]) -> dict[str, str]:
    """``make`` of all ``ids``; a session that cannot be read is ``UNREADABLE``, and takes no other with it."""
    try:
        return dict(make(ids))
    except StoreTextError:
        if len(ids) == 1:
            return {ids[0]: UNREADABLE}
        return {key: digest for each in ids for key, digest in digests_apart(make, [each]).items()}
