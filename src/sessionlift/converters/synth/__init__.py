"""Synth-AI's tracing stores."""

from sessionlift.converters.synth._columns import DERIVED_TABLES, V3_KEYS, V3_SESSION_TABLES
from sessionlift.converters.synth._forward import SynthForward, SynthOptions
from sessionlift.converters.synth._inventory import Group, Inventory
from sessionlift.converters.synth._target import remove_units, target_digests, touched_sessions

__all__ = [
    "DERIVED_TABLES",
    "V3_KEYS",
    "V3_SESSION_TABLES",
    "Group",
    "Inventory",
    "SynthForward",
    "SynthOptions",
    "remove_units",
    "target_digests",
    "touched_sessions",
]
