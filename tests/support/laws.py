"""How long, and how, Hypothesis looks for a counterexample.

`make test` tries the same examples each time: a test that passed yesterday and fails today says that the code
changed. `make torture` looks further: other examples each time, and `TORTURE` times as many of them.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

#: How many times the usual effort; set by `make torture`.
TORTURE = int(os.environ.get("SESSIONLIFT_TORTURE", "0"))


def tries(examples: int) -> settings:
    """Settings for a law that `examples` examples should show (in torture: `TORTURE` times as many, never the same)."""
    return settings(
        max_examples=examples * max(1, TORTURE),
        derandomize=not TORTURE,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
