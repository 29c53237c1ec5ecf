"""Which batches of a run give an example of a loss: the first few, since each that looks for one takes longer."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Place = TypeVar("Place", int, tuple[str, int])


class Examples(Generic[Place]):
    """For each kind of loss the first ``most`` batches that may give an example.

    A batch can be begun again: with more memory, or because the writer wants it otherwise. What an attempt has found is
    thrown away with it. So each batch is known by its first and last place, and one that lies there again may, too.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._batches: dict[Hashable, list[tuple[Place, Place]]] = {}

    def wanted(self, kind: Hashable, first: Place, last: Place) -> bool:
        """Whether the batch between these places, which has the loss ``kind``, gives an example of it."""
        batches = self._batches.setdefault(kind, [])
        if any(low <= last and first <= high for low, high in batches):
            return True
        if len(batches) >= self._most:
            return False
        batches.append((first, last))
        return True
