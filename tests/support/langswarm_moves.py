"""LangSwarm stores that were moved once, and audits of what hands have changed since."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sessionlift.runs.verifier import Audit, Comparison, open_reader
from sessionlift.runs.verifier.langswarm import LangswarmChecker, LegacyStore
from sessionlift.stores import StoreURL, parse_store_url

Tamper = Callable[[sqlite3.Connection], object]


@dataclass
class Seen:
    """What an audit found, in one place."""

    audit: Audit
    result: Comparison

    @property
    def codes(self) -> set[str]:
        return {finding.code for finding in self.audit.findings}

    @property
    def notes(self) -> dict[tuple[str, str | None], int]:
        return {(note.code, note.table): note.count for note in self.audit.notes}

    @property
    def anything(self) -> bool:
        return bool(self.audit.findings or self.result.differences)


@dataclass
class MovedStore:
    """A source and its target. ``look`` audits copies of them after ``tamper`` changed them."""

    source: Path
    target: Path
    folder: Path
    options: dict[str, Any] = field(default_factory=dict)
    copies: int = field(default=0)

    def look(
        self,
        tamper: Tamper | None = None,
        *,
        in_source: Tamper | None = None,
        only: list[str] | None = None,
    ) -> Seen:
        self.copies += 1
        source = self._changed(self.source, in_source, "legacy")
        target = self._changed(self.target, tamper, "target")
        reader = open_reader(StoreURL("sqlite", target))
        try:
            with LegacyStore(parse_store_url(str(source))) as store:
                checker = LangswarmChecker(store, reader, self.options)
                auditor = checker.auditor(only=only, progress=lambda *_: None)
                return Seen(auditor.run(auditor.ledger()), checker.result)
        finally:
            reader.close()
            for path in {source, target} - {self.source, self.target}:
                path.unlink()

    def _changed(self, path: Path, tamper: Tamper | None, name: str) -> Path:
        if tamper is None:
            return path
        copy = self.folder / f"{name}-{self.copies}.db"
        shutil.copy(path, copy)
        with closing(sqlite3.connect(copy)) as connection:
            # what a hand with a grudge would do
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute("PRAGMA foreign_keys = OFF")
            tamper(connection)
            connection.commit()
        return copy

    def query(self, sql: str, *params: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.target}?mode=ro", uri=True)) as connection:
            return connection.execute(sql, params).fetchall()


def update(table: str, column: str, value: Any, where: str, *params: object) -> Tamper:
    """Set one cell."""
    return lambda db: db.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE {where}', (value, *params))
