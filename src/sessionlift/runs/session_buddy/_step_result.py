"""What one of the optional steps did, as its report tells it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sessionlift.generations import Oddity


@dataclass
class StepResult:
    """``written``: rows added or changed by table. ``found``: figures and rows for the report's options.

    ``oddities``: what was left out and why. ``wrong``: what a second look at the rows contradicts. ``looked``: rows
    that this second look went over.
    """

    written: dict[str, int] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)
    oddities: list[Oddity] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    looked: int = 0
