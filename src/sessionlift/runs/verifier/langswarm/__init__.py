"""The verifier of LangSwarm's sessions: V1's store in its three dresses against V2's rows, by code of its own."""

from sessionlift.runs.verifier.langswarm._checker import CANNOT_SEE, METHOD, Checked, LangswarmChecker, open_langswarm
from sessionlift.runs.verifier.langswarm._store import LegacyStore

__all__ = ["CANNOT_SEE", "METHOD", "Checked", "LangswarmChecker", "LegacyStore", "open_langswarm"]
