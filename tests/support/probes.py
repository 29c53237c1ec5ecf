"""The probe of the drivers, made once in a process instead of once for each run and each bridge.

Three quarters of a run over a small store are its probe, and a driver does not change while the tests run. What the
probe finds, and that runs and bridges refuse by it, has tests of its own; a server is asked each time.
"""

from __future__ import annotations

from sessionlift.runs import _migrate, _mover
from sessionlift.stores import Fidelity, StoreURL, parse_store_url, probe_fidelity

_found: dict[str, Fidelity] = {}


def _remembered(url: StoreURL) -> Fidelity:
    if url.engine == "sqld":
        return probe_fidelity(url)
    if url.engine not in _found:
        _found[url.engine] = probe_fidelity(url)
    return _found[url.engine]


def probe_once() -> None:
    """From now on the drivers of files are probed at their first use in this process, and not again."""
    for module in (_migrate, _mover):
        setattr(module, "probe_fidelity", _remembered)  # noqa: B010 - not exported from there


def probe_now(*engines: str) -> None:
    """Probe at once, for processes that are forked from this one."""
    for engine in engines:
        _remembered(parse_store_url(f"{engine}:///probe"))
