"""How long, and how, Hypothesis looks for a counterexample.

`make test` tries the same examples each time: a test that passed yesterday and fails today says that the code
changed. `make torture` looks further: other examples each time, and twice `TORTURE` times as many of them.
"""

from __future__ import annotations

import os
import random

from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

#: How many times the usual effort; set by `make torture`.
TORTURE = int(os.environ.get("SESSIONLIFT_TORTURE", "0"))


def tries(examples: int, calm: int | None = None) -> settings:
    """Settings for a law that `examples` examples should show: half of them each time (or `calm`, where each takes
    long), which are the same, and in torture `TORTURE` times as many, never the same."""
    return settings(
        max_examples=examples * TORTURE or calm or (examples + 1) // 2,
        derandomize=not TORTURE,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def strided(count: int, stride: int) -> range:
    """Of the numbers 1 to ``count`` each ``stride / TORTURE``-th, from a random one on: further runs meet others."""
    step = max(1, stride // max(1, TORTURE))
    first = random.randint(1, max(1, min(step, count)))  # noqa: S311 - a sample; a failure names its number
    return range(first, count + 1, step)


if not TORTURE and hasattr(providers, "_get_local_constants"):
    from hypothesis.internal.constants_ast import Constants

    # Hypothesis tries constants of the modules that are loaded: in a worker those of whatever tests it has run before,
    # so that the examples would be others from one run to the next
    providers._get_local_constants = Constants  # none of them
