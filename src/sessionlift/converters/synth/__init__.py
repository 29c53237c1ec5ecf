"""Synth-AI's tracing stores."""

from sessionlift.converters.synth._backward import SynthBackward
from sessionlift.converters.synth._columns import DERIVED_TABLES, V3_KEYS, V3_SESSION_TABLES
from sessionlift.converters.synth._forward import SynthForward, SynthOptions
from sessionlift.converters.synth._inventory import Group
from sessionlift.converters.synth._legacy import SynthLegacyRows
from sessionlift.converters.synth._put_back import SynthPutBack
from sessionlift.converters.synth._target import SynthRows

__all__ = [
    "DERIVED_TABLES",
    "V3_KEYS",
    "V3_SESSION_TABLES",
    "Group",
    "SynthBackward",
    "SynthForward",
    "SynthLegacyRows",
    "SynthOptions",
    "SynthPutBack",
    "SynthRows",
]
