"""The verifier: separate code, in a process of its own, that compares every value of both stores.

Nothing here imports the converters or the writer. What the new store must hold is worked out again from the rows
of the legacy store and from the rules in docs/; the target is read through another driver than the one that wrote
it (apsw for files, plain HTTP for a server). What all systems share: the target's readers,
the comparison, the audit of a ledger or a report; each system brings a ``Checker`` and an ``Auditor``.
"""

from sessionlift.runs.verifier._audit import Audit
from sessionlift.runs.verifier._auditor import Auditor, Checker
from sessionlift.runs.verifier._compare import Comparison, Found
from sessionlift.runs.verifier._readers import TargetReader, open_reader
from sessionlift.runs.verifier._synth import CANNOT_SEE, METHOD, SynthVerifier
from sessionlift.runs.verifier._systems import System, system_of
from sessionlift.runs.verifier._taken_back import open_legacy_reader

__all__ = [
    "CANNOT_SEE",
    "METHOD",
    "Audit",
    "Auditor",
    "Checker",
    "Comparison",
    "Found",
    "SynthVerifier",
    "System",
    "TargetReader",
    "open_legacy_reader",
    "open_reader",
    "system_of",
]
