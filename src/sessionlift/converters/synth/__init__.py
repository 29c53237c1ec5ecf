"""Synth-AI's tracing stores."""

from sessionlift.converters.synth._columns import DERIVED_TABLES, V3_KEYS, V3_SESSION_TABLES
from sessionlift.converters.synth._forward import SynthForward, SynthOptions
from sessionlift.converters.synth._inventory import Group
from sessionlift.converters.synth._target import SynthRows

__all__ = [
    "DERIVED_TABLES",
    "V3_KEYS",
    "V3_SESSION_TABLES",
    "Group",
    "SynthForward",
    "SynthOptions",
    "SynthRows",
]
