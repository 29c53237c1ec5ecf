"""The verifier: separate code, in a process of its own, that compares every value of both stores.

Nothing here imports the converters or the writer. What v3 must hold is worked out again from the v2 rows, as
the source's engine gives them, and from the rules in docs/synth.md; the target is read through another driver
than the one that wrote it (the standard library's sqlite3 for files, plain HTTP for a server).
"""

from sessionlift.runs.verifier._audit import Audit, Auditor
from sessionlift.runs.verifier._compare import Comparison, Found
from sessionlift.runs.verifier._losses import NOT_COUNTED
from sessionlift.runs.verifier._readers import TargetReader, open_reader
from sessionlift.runs.verifier._synth import CANNOT_SEE, METHOD, SynthVerifier

__all__ = [
    "CANNOT_SEE",
    "METHOD",
    "NOT_COUNTED",
    "Audit",
    "Auditor",
    "Comparison",
    "Found",
    "SynthVerifier",
    "TargetReader",
    "open_reader",
]
