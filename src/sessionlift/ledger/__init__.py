"""What was moved, from where, by which run, with which digests; and everything the target cannot hold."""

from sessionlift.ledger._ledger import Ledger, LedgerRun, LedgerUnit
from sessionlift.ledger._rows import LEDGER_TABLES, STAGED_COLUMNS, ledger_rows, to_json

__all__ = ["LEDGER_TABLES", "STAGED_COLUMNS", "Ledger", "LedgerRun", "LedgerUnit", "ledger_rows", "to_json"]
