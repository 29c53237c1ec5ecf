"""How what looks at an open store asks it, whichever engine it is on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Query = Callable[[str], Sequence[Sequence[Any]]]
