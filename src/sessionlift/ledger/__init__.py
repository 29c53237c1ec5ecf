"""What was moved, from where, by which run, with which digests; and everything the target cannot hold."""

from sessionlift.ledger._attempts import CONFLICT, Attempt, Attempts
from sessionlift.ledger._intents import Intents
from sessionlift.ledger._ledger import Ledger
from sessionlift.ledger._notes import Notes
from sessionlift.ledger._records import LedgerRun, LedgerUnit, TakenBack
from sessionlift.ledger._retry import Retry
from sessionlift.ledger._rows import LEDGER_TABLES, STAGED_COLUMNS, ledger_rows, to_json
from sessionlift.ledger._shadow import COMPARED, ShadowCounts

__all__ = [
    "COMPARED",
    "CONFLICT",
    "LEDGER_TABLES",
    "STAGED_COLUMNS",
    "Attempt",
    "Attempts",
    "Intents",
    "Ledger",
    "LedgerRun",
    "LedgerUnit",
    "Notes",
    "Retry",
    "ShadowCounts",
    "TakenBack",
    "ledger_rows",
    "to_json",
]
