"""Which of the user's own views, triggers, tables and indexes need what a step is about to take away.

Found by doing it: the store's schema is built again in a private database in memory, the step's statements are run
there, and SQLite is asked before and after whether it can still compile each of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sessionlift.generations._structure import Query
from sessionlift.stores import quote_identifier


@dataclass(frozen=True)
class Dependent:
    """One object of the user's. ``goes``: it cannot stay; otherwise it stays and leads nowhere. ``needs``: why."""

    kind: str
    name: str
    table: str
    sql: str
    goes: bool
    needs: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.needs}"


def dependents(query: Query, names: Collection[str], drops: Sequence[str]) -> list[Dependent]:
    """The objects that are not in ``names`` (ours) and that ``drops`` would break or take along. Read-only."""
    objects = [
        (str(kind), str(name), str(table), str(sql))
        for kind, name, table, sql in query(
            "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL "
            "AND name NOT LIKE 'sqlite^_%' ESCAPE '^' ORDER BY rowid"
        )
    ]
    mine = [one for one in objects if one[1] not in names and not _is_shadow(one[1], names)]
    ours = [one for one in objects if one[1] in names]
    if not mine:
        return []
    found = []
    before, after = _Copy(ours, mine, ()), _Copy(ours, mine, drops)
    for kind, name, table, sql in mine:
        if kind == "table":
            if links := sorted(after.lost_parents(name) - before.lost_parents(name)):
                found.append(Dependent(kind, name, table, sql, False, f"refers to {', '.join(links)}"))
        elif kind != "view" and table not in after.tables and table in before.tables:
            found.append(Dependent(kind, name, table, sql, True, f"is on {table}"))
        else:
            was, now = before.faults(kind, name, table, sql), after.faults(kind, name, table, sql)
            new = [said for tried, said in now.items() if tried not in was]
            if new:
                # a view that dangles harms nobody until it is asked; a trigger stops every write to its table
                found.append(Dependent(kind, name, table, sql, kind != "view", new[0]))
    return found


class _Copy:
    """A store's tables and views without rows, after the statements of a step."""

    def __init__(
        self, ours: Sequence[tuple[str, str, str, str]], mine: Sequence[tuple[str, str, str, str]], drops: Sequence[str]
    ) -> None:
        self._memory = sqlite3.connect(":memory:", isolation_level=None)
        for kind, _, _, sql in (*ours, *mine):
            if kind == "table":
                self._try(sql)  # a virtual table of a module that is not here is left out
        for kind, _, _, sql in ours:
            if kind != "table":
                self._try(sql)
        for statement in drops:
            self._memory.execute(statement)
        for kind, _, _, sql in mine:
            if kind == "view":
                self._try(sql)
        self.tables = {
            str(name)
            for (name,) in self._memory.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        }

    def _try(self, sql: str) -> str | None:
        try:
            self._memory.execute(sql)
        except sqlite3.Error as error:
            return str(error)
        return None

    def faults(self, kind: str, name: str, table: str, sql: str) -> dict[str, str]:
        """What SQLite says against it, by what was tried."""
        at = quote_identifier(name if kind == "view" else table)
        if kind == "view":
            return self._said(f"EXPLAIN SELECT * FROM {at}")
        said = self._said(sql)
        if said:
            return said
        if kind == "trigger":
            # SQLite compiles a table's triggers with the statements that fire them
            rows: list[Any] = self._memory.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()
            columns = ", ".join(f"{quote_identifier(column)} = {quote_identifier(column)}" for (column,) in rows)
            said |= self._said(f"EXPLAIN INSERT INTO {at} DEFAULT VALUES")
            said |= self._said(f"EXPLAIN DELETE FROM {at}")
            said |= self._said(f"EXPLAIN UPDATE {at} SET {columns}")
            self._memory.execute(f"DROP TRIGGER {quote_identifier(name)}")
        else:
            self._memory.execute(f"DROP INDEX {quote_identifier(name)}")
        return said

    def _said(self, sql: str) -> dict[str, str]:
        said = self._try(sql)
        return {} if said is None else {sql.split(" ")[1]: said}

    def lost_parents(self, table: str) -> set[str]:
        """What ``table`` refers to and is not there; SQLite takes no heed of the case of a name."""
        parents = self._memory.execute('SELECT DISTINCT "table" FROM pragma_foreign_key_list(?)', (table,))
        there = {name.lower() for name in self.tables}
        return {str(parent) for (parent,) in parents if str(parent).lower() not in there}


def _is_shadow(name: str, names: Collection[str]) -> bool:
    """Tables that SQLite keeps behind a virtual table of ours, and our own."""
    return name.startswith("sessionlift_") or any(
        name.startswith(f"{ours}_") for ours in names if ours.endswith("_fts")
    )
