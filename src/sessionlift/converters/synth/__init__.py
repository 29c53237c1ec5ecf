"""Synth-AI's tracing stores."""

from sessionlift.converters.synth._forward import SynthForward, SynthOptions

__all__ = ["SynthForward", "SynthOptions"]
