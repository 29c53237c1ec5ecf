"""Made-up legacy stores for ``make demo``, the benchmarks and the tests."""

from sessionlift._demo._store import DemoStore, Dress, Traps, make_synth_v2

__all__ = ["DemoStore", "Dress", "Traps", "make_synth_v2"]
