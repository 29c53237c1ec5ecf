"""The Alembic environment: one revision per generation of a store, and one branch for the ledger."""
